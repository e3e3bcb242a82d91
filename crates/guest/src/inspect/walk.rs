//! Going over every entry of a guest's tree once, whatever the tree does against it.
//!
//! Links are reported and never followed. A directory that is its own descendant (a damaged or
//! hostile filesystem) is entered once. Depth and number of entries are limited; whatever is not
//! reached is returned as a [`Gap`], because "not seen" must not look like "not there".

use crate::fs::{FileKind, FsError, GuestRead, MAX_DEPTH, Metadata};
use std::collections::HashSet;

/// Most entries that one walk looks at. A guest with more has gaps.
pub const MAX_ENTRIES: u64 = 5_000_000;
/// Most gaps that are told one by one.
const MAX_GAPS: usize = 100;

/// One entry on the way.
#[derive(Debug)]
pub struct Found<'a> {
    /// Its absolute path in the guest.
    pub path: &'a str,
    /// Components of the path; an entry of the root directory has 1.
    pub depth: usize,
    /// What it is.
    pub metadata: &'a Metadata,
}

/// Whether the walk goes into a directory. For anything else it means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Look inside.
    Into,
    /// Leave it out.
    Over,
}

/// What a walk could not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The path in the guest; bytes that are not text are replaced.
    pub path: String,
    /// Why it was not seen.
    pub why: String,
}

/// Calls `visit` for every entry below `root`, parents before children, names in order.
pub fn walk(fs: &dyn GuestRead, root: &str, visit: &mut dyn FnMut(&Found<'_>) -> Step) -> Vec<Gap> {
    let mut walker = Walker {
        fs,
        gaps: Vec::new(),
        hidden_gaps: 0,
        entries: 0,
        entered: HashSet::new(),
    };
    let mut to_do = vec![(root.trim_end_matches('/').to_owned(), 0)];
    while let Some((directory, depth)) = to_do.pop() {
        let mut below = walker.look_into(&directory, depth, visit);
        below.reverse();
        to_do.extend(below.into_iter().map(|path| (path, depth + 1)));
    }
    walker.finish()
}

struct Walker<'a> {
    fs: &'a dyn GuestRead,
    gaps: Vec<Gap>,
    hidden_gaps: u64,
    entries: u64,
    entered: HashSet<u64>,
}

impl Walker<'_> {
    /// Visits the entries of one directory and returns the directories among them to enter.
    fn look_into(
        &mut self,
        directory: &str,
        depth: usize,
        visit: &mut dyn FnMut(&Found<'_>) -> Step,
    ) -> Vec<String> {
        let shown = if directory.is_empty() { "/" } else { directory };
        if depth >= MAX_DEPTH {
            self.gap(shown, "it is nested too deeply");
            return Vec::new();
        }
        let entries = match self.fs.read_dir_with_metadata(shown) {
            Ok(entries) => entries,
            Err(FsError::NotFound { .. }) if depth == 0 => return Vec::new(),
            Err(error) => {
                self.gap(shown, &explain(&error));
                return Vec::new();
            }
        };
        let mut below = Vec::new();
        for (entry, metadata) in entries {
            if self.entries >= MAX_ENTRIES {
                self.gap(shown, "the guest has too many files");
                break;
            }
            self.entries += 1;
            let Ok(name) = std::str::from_utf8(&entry.name) else {
                let name = String::from_utf8_lossy(&entry.name);
                self.gap(&format!("{directory}/{name}"), "its name is not text");
                continue;
            };
            let path = format!("{directory}/{name}");
            let metadata = match metadata {
                Ok(metadata) => metadata,
                Err(error) => {
                    self.gap(&path, &explain(&error));
                    continue;
                }
            };
            let found = Found {
                path: &path,
                depth: depth + 1,
                metadata: &metadata,
            };
            let step = visit(&found);
            let is_new =
                metadata.kind == FileKind::Directory && self.entered.insert(metadata.inode);
            if is_new && step == Step::Into {
                below.push(path);
            }
        }
        below
    }

    fn gap(&mut self, path: &str, why: &str) {
        if self.gaps.len() < MAX_GAPS {
            self.gaps.push(Gap {
                path: path.to_owned(),
                why: why.to_owned(),
            });
        } else {
            self.hidden_gaps += 1;
        }
    }

    fn finish(mut self) -> Vec<Gap> {
        if self.hidden_gaps > 0 {
            let why = format!("{} more could not be read", self.hidden_gaps);
            self.gaps.push(Gap {
                path: "/".into(),
                why,
            });
        }
        self.gaps
    }
}

/// The error and its causes in one line.
pub(crate) fn explain(error: &dyn std::error::Error) -> String {
    let mut text = format!("failed to {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
