//! How large a guest's directories are, and how many files of which kind it has.
//!
//! Sizes are of content as files report it (a sparse file counts in full), each inode once.

use super::look::Look;
use super::walk::{Found, Step, walk};
use crate::fs::FileKind;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// Directories of this depth are told apart: `/usr/lib` is 2.
const DEPTH: usize = 2;
/// Most directories that are kept.
const MAX_DIRECTORIES: usize = 40;
/// Most paths of files with special rights that are kept.
const MAX_PATHS: usize = 1000;

/// One directory with everything below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectorySize {
    /// Its path.
    pub path: String,
    /// The content below it, in bytes.
    pub size_bytes: u64,
    /// The files below it.
    pub files: u64,
}

/// How much of what a guest's tree holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// All content, in bytes.
    pub size_bytes: u64,
    /// Regular files; several names of one inode are one file.
    pub files: u64,
    /// Directories, the root not counted.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Devices, FIFOs and sockets.
    pub special: u64,
    /// Files that run as their owner.
    pub setuid: Vec<String>,
    /// Files that run as their group.
    pub setgid: Vec<String>,
    /// Files, not links, that everyone may write, and such directories without the sticky bit.
    pub world_writable: Vec<String>,
    /// The largest directories of the first two levels, the largest first.
    pub directory_sizes: Vec<DirectorySize>,
}

/// Goes over the whole tree, and shows every entry to `visit` as well.
pub fn read(look: &mut Look<'_>, visit: &mut dyn FnMut(&Found<'_>)) -> Contents {
    let mut count = Count::default();
    let gaps = walk(look.fs(), "/", &mut |found| {
        count.add(found);
        visit(found);
        Step::Into
    });
    for gap in gaps {
        look.unknown(format!("{}: {}", gap.path, gap.why));
    }
    count.finish()
}

#[derive(Default)]
struct Count {
    contents: Contents,
    /// Inodes with several names that were counted.
    counted: HashSet<u64>,
    sizes: HashMap<String, (u64, u64)>,
}

impl Count {
    fn add(&mut self, found: &Found<'_>) {
        self.note_rights(found);
        let metadata = found.metadata;
        match metadata.kind {
            FileKind::Directory => self.contents.directories += 1,
            FileKind::Symlink => self.contents.symlinks += 1,
            FileKind::Special => self.contents.special += 1,
            FileKind::File => {
                if metadata.links > 1 && !self.counted.insert(metadata.inode) {
                    return;
                }
                self.contents.files += 1;
                // A damaged inode may claim any size; a sum must not overflow.
                let size = metadata.size_bytes;
                self.contents.size_bytes = self.contents.size_bytes.saturating_add(size);
                for directory in ancestors(found.path) {
                    self.add_to(directory, size);
                }
            }
        }
    }

    fn add_to(&mut self, directory: &str, size_bytes: u64) {
        // Allocates a key only once for each directory.
        match self.sizes.get_mut(directory) {
            Some((size, files)) => {
                *size = size.saturating_add(size_bytes);
                *files += 1;
            }
            None => {
                self.sizes.insert(directory.to_owned(), (size_bytes, 1));
            }
        }
    }

    fn note_rights(&mut self, found: &Found<'_>) {
        let mode = found.metadata.mode;
        let contents = &mut self.contents;
        let is_file = found.metadata.kind == FileKind::File;
        let is_open = match found.metadata.kind {
            FileKind::File => mode & 0o002 != 0,
            FileKind::Directory => mode & 0o1002 == 0o002,
            _ => false,
        };
        let notes = [
            (is_file && mode & 0o4000 != 0, &mut contents.setuid),
            (is_file && mode & 0o2000 != 0, &mut contents.setgid),
            (is_open, &mut contents.world_writable),
        ];
        for (applies, paths) in notes {
            if applies && paths.len() < MAX_PATHS {
                paths.push(found.path.to_owned());
            }
        }
    }

    fn finish(mut self) -> Contents {
        let size = |(path, (size_bytes, files))| DirectorySize {
            path,
            size_bytes,
            files,
        };
        let mut sizes: Vec<DirectorySize> = self.sizes.into_iter().map(size).collect();
        sizes.sort_by(|a, b| {
            b.size_bytes
                .cmp(&a.size_bytes)
                .then_with(|| a.path.cmp(&b.path))
        });
        sizes.truncate(MAX_DIRECTORIES);
        self.contents.directory_sizes = sizes;
        self.contents
    }
}

/// The directories above `path`, the root left out, down to [`DEPTH`].
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let slashes = path.bytes().enumerate().filter(|(_, byte)| *byte == b'/');
    slashes.skip(1).take(DEPTH).map(move |(at, _)| &path[..at])
}
