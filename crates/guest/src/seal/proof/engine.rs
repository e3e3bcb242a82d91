//! Goes over a guest's tree once and asks every check about every entry.
//!
//! What is looked for is in the table; this file only matches and keeps count. It reads through
//! [`GuestRead`] alone and never follows a link out of the image, and what it can't read becomes
//! an [`Unknown`]: silence is never taken for cleanness.

use super::glob::{Index, names};
use super::names::{Aliases, expand, homes};
use super::report::{Checked, Finding, Kind, Proof, Unknown};
use super::scan::{Hit, KEY_ID, MAX_FILE_BYTES, MAX_TOTAL_BYTES, Scanner, is_looked_into};
use super::table::{Check, EDITION, Test, checks};
use super::tokens::TOKENS;
use crate::fs::{FileKind, FsError, GuestRead};
use crate::inspect::walk::{Found, Gap, Step, explain, walk};
use std::collections::{HashMap, HashSet};

/// Largest file whose text a check is asked about, in bytes.
const MAX_TEXT_BYTES: u64 = 4 << 20;
/// Most findings of one check that are told one by one.
const MAX_FINDINGS: usize = 200;
/// Most unknowns that are told.
const MAX_UNKNOWN: usize = 1000;
/// The id of unknowns that concern every check.
const TREE_ID: &str = "tree";

/// Looks at everything in the tree of `fs`. `reader` names the code that reads it.
pub fn prove(fs: &dyn GuestRead, reader: &str) -> Proof {
    let (mut run, gaps) = Run::new(fs);
    run.keep_gaps(gaps);
    let gaps = walk(fs, "/", &mut |found| {
        run.look_at(found);
        Step::Into
    });
    run.keep_gaps(gaps);
    run.finish(reader)
}

struct Run<'a> {
    fs: &'a dyn GuestRead,
    checks: Vec<&'static Check>,
    /// Entries that each check looked at.
    entries: Vec<u64>,
    index: Index,
    aliases: Aliases,
    scanner: Scanner,
    /// Inodes with several names that were scanned.
    scanned: HashSet<u64>,
    scanned_files: u64,
    scanned_bytes: u64,
    findings: Vec<Finding>,
    /// Findings of each check.
    told: HashMap<&'static str, usize>,
    unknown: Vec<Unknown>,
}

impl<'a> Run<'a> {
    fn new(fs: &'a dyn GuestRead) -> (Self, Vec<Gap>) {
        let mut gaps = Vec::new();
        let passwd = match fs.read("/etc/passwd", MAX_TEXT_BYTES) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(FsError::NotFound { .. }) => String::new(),
            Err(error) => {
                gaps.push(Gap {
                    path: "/etc/passwd".into(),
                    why: explain(&error),
                });
                String::new()
            }
        };
        let homes = homes(&passwd);
        let checks: Vec<&'static Check> = checks().collect();
        let mut index = Index::default();
        for (number, check) in checks.iter().enumerate() {
            let patterns = check
                .paths
                .iter()
                .flat_map(|pattern| expand(pattern, &homes));
            patterns.for_each(|pattern| index.add(&pattern, number));
        }
        let (aliases, more_gaps) = Aliases::find(fs, &index);
        gaps.extend(more_gaps);
        let run = Run {
            fs,
            entries: vec![0; checks.len()],
            checks,
            index,
            aliases,
            scanner: Scanner::new(),
            scanned: HashSet::new(),
            scanned_files: 0,
            scanned_bytes: 0,
            findings: Vec::new(),
            told: HashMap::new(),
            unknown: Vec::new(),
        };
        (run, gaps)
    }

    fn look_at(&mut self, found: &Found<'_>) {
        let mut known_as = self.aliases.of(found.path);
        known_as.push(found.path.to_owned());
        let mut numbers: Vec<usize> = known_as
            .iter()
            .flat_map(|path| self.index.find(&names(path).collect::<Vec<_>>()))
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        let mut is_to_go = false;
        for number in numbers {
            let check = self.checks[number];
            self.entries[number] += 1;
            for detail in self.ask(check, found) {
                is_to_go |= check.kind != Kind::Residue && !matches!(check.test, Test::Text(_));
                self.find(
                    check.id,
                    check.kind,
                    check.what,
                    found.path,
                    detail,
                    check.remedy,
                );
            }
        }
        // A file that must go as a whole is not searched for what is in it.
        if !is_to_go && known_as.iter().any(|path| is_looked_into(path)) {
            self.scan(found);
        }
    }

    /// What `check` says about one entry: one detail for each finding.
    fn ask(&mut self, check: &Check, found: &Found<'_>) -> Vec<String> {
        let metadata = found.metadata;
        let one = |is_finding: bool| is_finding.then(String::new).into_iter().collect();
        match (check.test, metadata.kind) {
            (Test::Name(sees), _) => sees(last_name(found.path)).into_iter().collect(),
            (_, FileKind::Directory) => Vec::new(),
            (Test::Absent, _) => one(true),
            (Test::AbsentOrLink, kind) => one(kind != FileKind::Symlink),
            (Test::Empty, kind) => one(kind == FileKind::File && metadata.size_bytes > 0),
            (Test::Text(_), FileKind::Special) => Vec::new(),
            (Test::Text(sees), _) => match self.text(found) {
                Ok(Some(text)) => sees(&text),
                Ok(None) => Vec::new(),
                Err(why) => {
                    self.cannot_tell(check.id, found.path, why);
                    Vec::new()
                }
            },
        }
    }

    /// The text of a file or of what a link leads to; `None` when that is no file.
    fn text(&self, found: &Found<'_>) -> Result<Option<String>, String> {
        if found.metadata.kind == FileKind::Symlink {
            let is_masked = self
                .fs
                .read_link(found.path)
                .is_ok_and(|to| to == b"/dev/null");
            if is_masked || self.fs.read_dir(found.path).is_ok() {
                return Ok(None);
            }
        }
        match self.fs.read(found.path, MAX_TEXT_BYTES) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(FsError::NotFound { .. }) => Ok(None),
            Err(error) => Err(explain(&error)),
        }
    }

    fn scan(&mut self, found: &Found<'_>) {
        let metadata = found.metadata;
        let is_new = metadata.links <= 1 || !self.scanned.contains(&metadata.inode);
        if metadata.kind != FileKind::File || metadata.size_bytes == 0 || !is_new {
            return;
        }
        self.scanned.insert(metadata.inode);
        if self.scanned_bytes.saturating_add(metadata.size_bytes) > MAX_TOTAL_BYTES {
            self.cannot_tell(KEY_ID, found.path, "the guest has too much content".into());
            return;
        }
        if metadata.size_bytes > MAX_FILE_BYTES {
            self.cannot_tell(
                KEY_ID,
                found.path,
                "the file is too large to look into".into(),
            );
            return;
        }
        match self.fs.read(found.path, MAX_FILE_BYTES) {
            Ok(content) => {
                self.scanned_files += 1;
                self.scanned_bytes += content.len() as u64;
                for hit in self.scanner.scan(&content) {
                    self.find_hit(found.path, &hit);
                }
            }
            Err(error) => self.cannot_tell(KEY_ID, found.path, explain(&error)),
        }
    }

    fn find_hit(&mut self, path: &str, hit: &Hit) {
        let detail = match hit.count {
            1 => format!("in line {}", hit.line),
            count => format!("{count} of them, the first in line {}", hit.line),
        };
        self.find(hit.id, Kind::Secret, hit.what, path, detail, "remove it");
    }

    fn find(
        &mut self,
        id: &'static str,
        kind: Kind,
        what: &str,
        path: &str,
        detail: String,
        remedy: &str,
    ) {
        let told = self.told.entry(id).or_default();
        *told += 1;
        if *told > MAX_FINDINGS + 1 {
            return;
        }
        // The last one stands for the rest, at a path that no exception for a single file covers.
        let (path, detail) = if *told > MAX_FINDINGS {
            ("(more)".to_owned(), "there are more of these".to_owned())
        } else {
            (path.to_owned(), detail)
        };
        let (what, remedy) = (what.to_owned(), remedy.to_owned());
        self.findings.push(Finding {
            id: id.to_owned(),
            kind,
            what,
            path,
            detail,
            remedy,
        });
    }

    fn cannot_tell(&mut self, id: &str, path: &str, why: String) {
        if self.unknown.len() < MAX_UNKNOWN {
            self.unknown.push(Unknown {
                id: id.into(),
                path: path.into(),
                why,
            });
        }
    }

    fn keep_gaps(&mut self, gaps: Vec<Gap>) {
        for gap in gaps {
            self.cannot_tell(TREE_ID, &gap.path, gap.why);
        }
    }

    fn finish(mut self, reader: &str) -> Proof {
        self.findings.sort();
        self.unknown.sort();
        // Both walks meet the same gaps.
        self.unknown.dedup();
        let of_table = self.checks.iter().zip(&self.entries);
        let mut checked: Vec<Checked> = of_table
            .map(|(check, entries)| Checked {
                id: check.id.into(),
                entries: *entries,
            })
            .collect();
        let mut scanned: Vec<&str> = TOKENS
            .iter()
            .map(|token| token.id)
            .chain([KEY_ID])
            .collect();
        scanned.sort_unstable();
        scanned.dedup();
        let entries = self.scanned_files;
        checked.extend(scanned.into_iter().map(|id| Checked {
            id: id.into(),
            entries,
        }));
        Proof {
            reader: reader.to_owned(),
            edition: EDITION,
            findings: self.findings,
            checked,
            unknown: self.unknown,
        }
    }
}

fn last_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}
