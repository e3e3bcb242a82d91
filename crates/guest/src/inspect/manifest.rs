//! Every entry of a guest's tree in short, to be compared with another guest's.
//!
//! Settings are small and matter most: files in a few directories are hashed. Of all others only what
//! the filesystem says of them is looked at: kind, mode, owner, size and time of change.

use super::look::clip;
use super::walk::{Step, walk};
use crate::fs::{FileKind, GuestRead, Metadata};
use std::collections::BTreeMap;

/// Where files are hashed.
const HASHED: &[&str] = &["/etc/", "/boot/", "/root/", "/usr/local/", "/opt/"];
/// Largest file that is hashed, in bytes.
const MAX_HASHED_BYTES: u64 = 4 << 20;
/// Largest sum of what is hashed, in bytes.
const MAX_HASHED_SUM: u64 = 1 << 30;
/// Most entries that are kept.
const MAX_ENTRIES: usize = 1_000_000;

/// What two entries must have in common to be the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sameness {
    /// Its content, or where it points.
    Hash([u8; 32]),
    /// When it was changed, in seconds since 1970.
    Changed(i64),
    /// Nothing more: directories and special files.
    Kind,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Content in bytes; 0 for what has none.
    pub size_bytes: u64,
    /// The rest.
    pub same: Sameness,
}

/// Every entry by its path, and what could not be seen.
pub fn read(fs: &dyn GuestRead) -> (BTreeMap<String, Item>, Vec<String>) {
    let mut items = BTreeMap::new();
    let mut unknowns = Vec::new();
    let mut left = MAX_HASHED_SUM;
    let gaps = walk(fs, "/", &mut |found| {
        if items.len() < MAX_ENTRIES {
            let item = item(fs, found.path, found.metadata, &mut left);
            items.insert(found.path.to_owned(), item);
        }
        Step::Into
    });
    if items.len() >= MAX_ENTRIES {
        unknowns.push(format!("files: only the first {MAX_ENTRIES} were compared"));
    }
    let gap = |gap: super::walk::Gap| clip(&format!("files: {}: {}", gap.path, gap.why));
    unknowns.extend(gaps.into_iter().map(gap));
    (items, unknowns)
}

fn item(fs: &dyn GuestRead, path: &str, metadata: &Metadata, left: &mut u64) -> Item {
    let is_hashed = metadata.kind == FileKind::File
        && metadata.size_bytes <= MAX_HASHED_BYTES.min(*left)
        && HASHED.iter().any(|start| path.starts_with(start));
    let content = match metadata.kind {
        FileKind::Symlink => fs.read_link(path).ok(),
        FileKind::File if is_hashed => {
            *left -= metadata.size_bytes;
            fs.read(path, MAX_HASHED_BYTES).ok()
        }
        _ => None,
    };
    let same = match (content, metadata.kind) {
        (Some(bytes), _) => Sameness::Hash(*blake3::hash(&bytes).as_bytes()),
        (None, FileKind::Directory | FileKind::Special) => Sameness::Kind,
        (None, _) => Sameness::Changed(metadata.mtime_s),
    };
    let has_content = metadata.kind == FileKind::File;
    Item {
        kind: metadata.kind,
        mode: metadata.mode,
        uid: metadata.uid,
        gid: metadata.gid,
        size_bytes: if has_content { metadata.size_bytes } else { 0 },
        same,
    }
}
