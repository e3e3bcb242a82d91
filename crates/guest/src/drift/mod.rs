//! What a guest's files have become, against those of the version that it came from.
//!
//! ```text
//! walk both trees → candidates by metadata → read only those, and a sample → class by path and package
//! ```
//! A clone inherits its version's inode numbers and times. Whatever writes a file through a
//! filesystem changes its ctime, so an entry of which nothing has changed in the metadata was not
//! written to. What is written past the filesystem is found by the blocks that the guest's own overlay
//! holds, where there is one, and else by a random sample or by reading everything.
//!
//! What stampo wrote before the guest first ran is the [`Baseline`], and no drift. What could not be
//! read is told by name: it is never "no drift".

mod baseline;
mod class;
mod disk;
mod entry;
mod owners;
mod tree;

pub use baseline::{Baseline, Recorder};
pub use class::{Class, guide_table};
pub use disk::{OtherPart, compare_rest};

use crate::fs::{FileKind, GuestRead, Metadata};
use class::{Facts, Judge};
use entry::Difference;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Range;
use tree::Tree;

/// Most files that are told as unreadable one by one.
const MAX_UNKNOWNS: usize = 50;

/// How a comparison is made.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Read every file of both sides, whatever the metadata says.
    pub paranoid: bool,
    /// Where the random sample begins; a new one for each comparison.
    pub seed: u64,
    /// The parts of the guest's filesystem that may be other bytes than the version's, in order,
    /// where that is known. A file in none of them has the version's content.
    pub touched: Option<Vec<Range<u64>>>,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another one.
    Changed,
}

impl Change {
    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Changed => "changed",
        }
    }
}

/// One entry that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its path in the guest.
    pub path: String,
    /// What it means.
    pub class: Class,
    /// What became of it.
    pub change: Change,
    /// What is different, in words.
    pub what: Vec<String>,
    /// The package that it belongs to, by the package database.
    pub package: Option<String>,
    /// Why it has this class.
    pub why: String,
}

/// A package that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PackageChange {
    /// Its name, with the architecture.
    pub name: String,
    /// The version that it had; `None` where it is new.
    pub before: Option<String>,
    /// The version that it has; `None` where it is gone.
    pub after: Option<String>,
}

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drift {
    /// Every entry that is not as it was, by path.
    pub findings: Vec<Finding>,
    /// Every package that is not as it was.
    pub packages: Vec<PackageChange>,
    /// What could not be found out.
    pub unknowns: Vec<String>,
    /// Entries of the guest.
    pub entries: usize,
    /// Entries that were looked at more closely than by their metadata.
    pub candidates: usize,
    /// Of the others, files that were read all the same.
    pub sampled: usize,
}

/// Compares a guest's files with its version's.
pub fn compare(
    version: &dyn GuestRead,
    guest: &dyn GuestRead,
    baseline: &Baseline,
    options: &Options,
) -> Drift {
    // Each walk keeps one processor busy, and neither needs the other.
    let (before, after) = std::thread::scope(|scope| {
        let before = scope.spawn(|| Tree::read(version));
        let after = Tree::read(guest);
        let before = before.join();
        (
            before.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            after,
        )
    });
    let mut comparison = Comparison {
        version,
        guest,
        before: &before,
        after: &after,
        baseline,
        options,
        found: Vec::new(),
        drift: Drift::default(),
        hidden_unknowns: 0,
    };
    comparison.walk();
    comparison.judge()
}

/// An entry that is not as it was, before it is known what that means.
struct Found<'a> {
    path: &'a str,
    change: Change,
    differences: Vec<Difference>,
}

struct Comparison<'a> {
    version: &'a dyn GuestRead,
    guest: &'a dyn GuestRead,
    before: &'a Tree,
    after: &'a Tree,
    baseline: &'a Baseline,
    options: &'a Options,
    found: Vec<Found<'a>>,
    drift: Drift,
    hidden_unknowns: usize,
}

impl<'a> Comparison<'a> {
    fn walk(&mut self) {
        for (of, tree) in [("its version", self.before), ("the guest", self.after)] {
            for gap in &tree.gaps {
                self.unknown(format!("{of}: {gap}"));
            }
        }
        self.drift.entries = self.after.entries.len();
        let (before, after) = (self.before, self.after);
        for (path, metadata) in &after.entries {
            if let Some(recorded) = self.baseline.get(path) {
                self.against_baseline(path, Some(metadata), recorded);
            } else if let Some(old) = before.entries.get(path) {
                self.against_version(path, old, metadata);
            } else {
                let differences = entry::of_new(self.guest, path, metadata);
                self.push(path, Change::Added, differences);
            }
        }
        for path in before.entries.keys() {
            let is_gone = !after.entries.contains_key(path);
            if is_gone && self.baseline.get(path).is_none() && !after.hides(path) {
                self.push(path, Change::Removed, Ok(Vec::new()));
            }
        }
        for (path, recorded) in self.baseline.iter() {
            if recorded.is_some() && !after.entries.contains_key(path) && !after.hides(path) {
                self.push(path, Change::Removed, Ok(Vec::new()));
            }
        }
    }

    /// An entry that stampo wrote, or removed, is compared with that.
    fn against_baseline(
        &mut self,
        path: &'a str,
        metadata: Option<&Metadata>,
        recorded: &Option<entry::State>,
    ) {
        self.drift.candidates += 1;
        let (Some(metadata), Some(recorded)) = (metadata, recorded) else {
            let differences = metadata.map_or(Ok(Vec::new()), |metadata| {
                entry::of_new(self.guest, path, metadata)
            });
            return self.push(path, Change::Added, differences);
        };
        match entry::State::read(self.guest, path, metadata) {
            Ok(now) if now == *recorded => {}
            Ok(now) => self.push(path, Change::Changed, Ok(recorded.differences(&now))),
            Err(why) => self.unknown(format!("{path}: {why}")),
        }
    }

    fn against_version(&mut self, path: &'a str, old: &Metadata, new: &Metadata) {
        let is_candidate = !tree::is_same(old, new);
        if !is_candidate && !self.is_read_anyway(path, new) {
            return;
        }
        match is_candidate {
            true => self.drift.candidates += 1,
            false => self.drift.sampled += 1,
        }
        let differences = entry::differences(self.version, self.guest, path, old, new);
        match differences {
            Ok(mut differences) if !differences.is_empty() => {
                if !is_candidate {
                    differences.push(Difference::Forged);
                }
                self.push(path, Change::Changed, Ok(differences));
            }
            Ok(_) => {}
            Err(why) => self.unknown(format!("{path}: {why}")),
        }
    }

    /// Whether an entry is read although its metadata is the version's.
    fn is_read_anyway(&self, path: &str, metadata: &Metadata) -> bool {
        match metadata.kind {
            // Nearly free: most targets lie in the inode.
            FileKind::Symlink => true,
            FileKind::File if metadata.size_bytes == 0 => false,
            FileKind::File => {
                self.options.paranoid
                    || tree::is_sampled(path, self.options.seed)
                    || self.is_touched(path)
            }
            FileKind::Directory | FileKind::Special => false,
        }
    }

    /// Whether the bytes of a file may be others than the version's, as far as blocks tell.
    fn is_touched(&self, path: &str) -> bool {
        let Some(touched) = &self.options.touched else {
            return false;
        };
        match self.guest.places(path) {
            Ok(Some(places)) => places.iter().any(|place| tree::overlaps(touched, place)),
            // Reading it says more.
            Ok(None) | Err(_) => true,
        }
    }

    fn push(
        &mut self,
        path: &'a str,
        change: Change,
        differences: Result<Vec<Difference>, String>,
    ) {
        let differences = differences.unwrap_or_else(|why| {
            self.unknown(format!("{path}: {why}"));
            Vec::new()
        });
        self.found.push(Found {
            path,
            change,
            differences,
        });
    }

    fn unknown(&mut self, what: String) {
        if self.drift.unknowns.len() < MAX_UNKNOWNS {
            self.drift.unknowns.push(crate::inspect::look::clip(&what));
        } else {
            self.hidden_unknowns += 1;
        }
    }

    /// Gives every entry that was found its class.
    fn judge(mut self) -> Drift {
        let found = std::mem::take(&mut self.found);
        let (judge, packages, unknowns) = Judge::new(self.version, self.guest, &found);
        for unknown in unknowns {
            self.unknown(unknown);
        }
        let shared = self.after.shared_inodes();
        for Found {
            path,
            change,
            differences,
        } in found
        {
            let metadata = self.after.entries.get(path);
            let facts = Facts {
                path,
                change,
                differences: &differences,
                metadata,
                kind: metadata
                    .or_else(|| self.before.entries.get(path))
                    .map(|one| one.kind),
                target: self.target(path, metadata),
                twin: metadata
                    .filter(|_| change == Change::Added)
                    .and_then(|metadata| tree::twin(&shared, path, metadata)),
            };
            let verdict = judge.class(&facts);
            let what = differences.iter().map(ToString::to_string).collect();
            self.drift.findings.push(Finding {
                path: path.to_owned(),
                class: verdict.class,
                change,
                what,
                package: judge.owner(path, change).map(str::to_owned),
                why: verdict.why,
            });
        }
        self.drift.findings.sort_by(|a, b| a.path.cmp(&b.path));
        self.drift.packages = packages;
        if self.hidden_unknowns > 0 {
            let more = format!("{} more could not be read", self.hidden_unknowns);
            self.drift.unknowns.push(more);
        }
        self.drift
    }

    fn target(&self, path: &str, metadata: Option<&Metadata>) -> Option<String> {
        metadata.filter(|metadata| metadata.kind == FileKind::Symlink)?;
        let target = self.guest.read_link(path).ok()?;
        Some(String::from_utf8_lossy(&target).into_owned())
    }
}

impl Drift {
    /// How many findings there are of a class.
    pub fn count(&self, class: Class) -> usize {
        self.findings
            .iter()
            .filter(|one| one.class == class)
            .count()
    }

    /// The paths of a class.
    pub fn paths(&self, class: Class) -> BTreeSet<&str> {
        let of_class = self.findings.iter().filter(|one| one.class == class);
        of_class.map(|one| one.path.as_str()).collect()
    }
}
