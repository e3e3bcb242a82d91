//! Every entry of a tree with its metadata, and what of that must be the same.

use crate::fs::{FileKind, GuestRead, Metadata};
use crate::inspect::walk::{Step, walk};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// Most entries that are kept of a tree.
const MAX_ENTRIES: usize = 1_000_000;
/// Of so many files whose metadata has not changed one is read all the same.
const SAMPLE_ONE_IN: u64 = 100;

/// A tree.
pub(super) struct Tree {
    /// Every entry by its path.
    pub(super) entries: BTreeMap<String, Metadata>,
    /// What could not be seen, in words.
    pub(super) gaps: Vec<String>,
    /// Where something could not be seen: what is missing below may be there.
    unseen: Vec<String>,
}

impl Tree {
    pub(super) fn read(fs: &dyn GuestRead) -> Tree {
        let mut entries = BTreeMap::new();
        let mut is_full = false;
        let gaps = walk(fs, "/", &mut |found| {
            if entries.len() >= MAX_ENTRIES {
                is_full = true;
                return Step::Over;
            }
            entries.insert(found.path.to_owned(), found.metadata.clone());
            Step::Into
        });
        let mut unseen: Vec<String> = gaps.iter().map(|gap| gap.path.clone()).collect();
        let mut gaps: Vec<String> = gaps
            .into_iter()
            .map(|gap| format!("{}: {}", gap.path, gap.why))
            .collect();
        if is_full {
            gaps.push(format!(
                "only the first {MAX_ENTRIES} entries were compared"
            ));
            unseen.push("/".to_owned());
        }
        Tree {
            entries,
            gaps,
            unseen,
        }
    }

    /// Whether a path that was not seen may be there.
    pub(super) fn hides(&self, path: &str) -> bool {
        self.unseen.iter().any(|gap| {
            let gap = gap.trim_end_matches('/');
            path.strip_prefix(gap)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// The paths of every file with more than one name, by inode.
    pub(super) fn shared_inodes(&self) -> HashMap<u64, Vec<&str>> {
        let mut shared: HashMap<u64, Vec<&str>> = HashMap::new();
        for (path, metadata) in &self.entries {
            if metadata.links > 1 && metadata.kind == FileKind::File {
                shared.entry(metadata.inode).or_default().push(path);
            }
        }
        shared
    }
}

/// Another path of the same file.
pub(super) fn twin<'a>(
    shared: &HashMap<u64, Vec<&'a str>>,
    path: &str,
    metadata: &Metadata,
) -> Option<&'a str> {
    let paths = shared.get(&metadata.inode)?;
    paths.iter().copied().find(|other| *other != path)
}

/// Whether nothing was written to an entry, as far as its metadata tells. Times of directories
/// change with their entries, which are compared themselves.
pub(super) fn is_same(old: &Metadata, new: &Metadata) -> bool {
    match (old.kind, new.kind) {
        (FileKind::Directory, FileKind::Directory) => {
            (old.mode, old.uid, old.gid) == (new.mode, new.uid, new.gid)
        }
        _ => old == new,
    }
}

/// Whether chance has chosen a file: another choice for each seed, which nobody can foresee.
pub(super) fn is_sampled(path: &str, seed: u64) -> bool {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(path.as_bytes());
    let bytes = hasher.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&bytes.as_bytes()[..8]);
    u64::from_le_bytes(first).is_multiple_of(SAMPLE_ONE_IN)
}

/// Whether a range shares a byte with one of these, which are in order and apart.
pub(super) fn overlaps(ranges: &[Range<u64>], range: &Range<u64>) -> bool {
    let next = ranges.partition_point(|one| one.end <= range.start);
    ranges.get(next).is_some_and(|one| one.start < range.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_only_touch_share_nothing() {
        let ranges = [10..20, 30..40];
        for (range, expected) in [
            (0..10, false),
            (0..11, true),
            (19..20, true),
            (20..30, false),
            (25..35, true),
            (40..50, false),
            (0..100, true),
        ] {
            assert_eq!(overlaps(&ranges, &range), expected, "{range:?}");
        }
    }

    #[test]
    fn a_sample_is_about_one_in_a_hundred_and_another_one_each_time() {
        let chosen = |seed| {
            let paths = (0..20_000).map(|n| format!("/usr/share/file-{n}"));
            paths
                .filter(|path| is_sampled(path, seed))
                .collect::<Vec<_>>()
        };
        let (one, other) = (chosen(1), chosen(2));
        assert!((120..=280).contains(&one.len()), "{}", one.len());
        assert_ne!(one, other);
    }
}
