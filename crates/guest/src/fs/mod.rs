//! A guest's filesystem as an object: paths are inside the image, always.
//!
//! Every path is absolute in the guest (`/etc/hostname`) and is resolved inside the image: `..`
//! stops at the root, a symbolic link is followed inside the image only, at most
//! [`MAX_LINKS`] of them, and no path has more than [`MAX_DEPTH`] components. There is no way
//! from here to a file of the host.
//!
//! Operations that end in a name (`metadata`, `read_link`, `remove`, `write`…) never follow a link
//! in the last component; [`GuestFs::read`] follows it.

mod attributes;
mod blocks;
pub mod check;
mod directory;
mod ext4_library;
mod ext4_read;
mod ext4_write;
mod features;
mod free_space;
mod journal;
mod layout;
mod name_cache;
#[cfg(test)]
mod name_cache_tests;
mod open;
mod pages;
pub mod residue;
mod resolve;
mod set_uuid;
mod space;
mod summary;
pub mod tree;
mod volume;
mod wipe;

pub use ext4_read::Ext4Reader;
pub use ext4_write::Ext4Writer;
pub use open::{RootPartition, check_writable, find_root, open_read, open_write, open_write_at};
pub use space::{Space, space};
pub use wipe::{Discarded, discard_free};

use std::collections::BTreeMap;
use std::ops::Range;

/// Most symbolic links that one path may go through.
pub const MAX_LINKS: usize = 40;
/// Most components of a path, before and after links are followed.
pub const MAX_DEPTH: usize = 255;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A FIFO, socket or device: never opened.
    Special,
}

impl FileKind {
    /// The kind that the file type bits of a `st_mode` stand for.
    pub const fn of_mode(mode: u32) -> Self {
        match mode & 0o170_000 {
            0o100_000 => FileKind::File,
            0o040_000 => FileKind::Directory,
            0o120_000 => FileKind::Symlink,
            _ => FileKind::Special,
        }
    }
}

/// What is known of an entry without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: FileKind,
    /// Its inode number.
    pub inode: u64,
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Content in bytes.
    pub size_bytes: u64,
    /// Seconds since 1970.
    pub mtime_s: i64,
    /// Seconds since 1970.
    pub ctime_s: i64,
    /// What [`Metadata::ctime_s`] leaves out, in nanoseconds; 0 where that is not kept, or not asked
    /// for. Nobody can write at the very nanosecond of another write.
    pub ctime_ns: u32,
    /// Names that this inode has.
    pub links: u32,
}

/// One entry of a directory; `.` and `..` are never listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The raw name. It may hold any byte but `/` and NUL.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: FileKind,
}

/// An entry with what is known of it, or why nothing is.
pub type Listed = (Entry, Result<Metadata, FsError>);

/// Who owns a new entry and what may be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

impl Owner {
    /// root:root with this mode.
    pub const fn root(mode: u32) -> Self {
        Owner {
            uid: 0,
            gid: 0,
            mode,
        }
    }
}

/// Why an operation on a guest's filesystem failed.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// No such entry.
    #[error("find {path} in the guest")]
    NotFound {
        /// The path in the guest.
        path: String,
    },
    /// The entry is of another kind than the operation needs, or is in the way.
    #[error("use {path} in the guest: {why}")]
    Unsuitable {
        /// The path in the guest.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The filesystem, or a feature of it, is not one that we can write.
    #[error("write the {filesystem} filesystem of the guest: {why}")]
    Unsupported {
        /// Its name, for example `xfs`.
        filesystem: String,
        /// What is missing.
        why: String,
    },
    /// The filesystem's own structures make no sense.
    #[error("read {path} in the guest: its filesystem is damaged: {why}")]
    Damaged {
        /// The path in the guest, or `/` for the filesystem as a whole.
        path: String,
        /// What the reader said.
        why: String,
    },
    /// No partition of the disk holds a Linux system.
    #[error("find a Linux system on the guest's disk: no partition has an os-release file")]
    NoSystem,
    /// The partition table can't be used.
    #[error("find the partitions of the guest's disk")]
    Partitions(#[source] stampo_image::partition::PartitionError),
    /// The disk could not be read or written.
    #[error("reach the guest's disk")]
    Device(#[from] std::io::Error),
}

/// Reading a guest's filesystem.
pub trait GuestRead: Send + Sync {
    /// What is at `path`, without following a link in its last component.
    fn metadata(&self, path: &str) -> Result<Metadata, FsError>;

    /// The whole content of a regular file, links followed. More than `limit_bytes` is
    /// [`FsError::Unsuitable`], and so is anything but a regular file.
    fn read(&self, path: &str, limit_bytes: u64) -> Result<Vec<u8>, FsError>;

    /// The entries of a directory, sorted by name, links followed.
    fn read_dir(&self, path: &str) -> Result<Vec<Entry>, FsError>;

    /// [`GuestRead::read_dir`] with the metadata of each entry, for walks over whole trees. A
    /// filesystem that knows inodes overrides it, so that no path is resolved for each entry.
    fn read_dir_with_metadata(&self, path: &str) -> Result<Vec<Listed>, FsError> {
        let parent = path.trim_end_matches('/');
        let known = |entry: Entry| {
            let metadata = match std::str::from_utf8(&entry.name) {
                Ok(name) => self.metadata(&format!("{parent}/{name}")),
                Err(_) => Err(FsError::Unsuitable {
                    path: format!("{parent}/{}", String::from_utf8_lossy(&entry.name)),
                    why: "its name is not text",
                }),
            };
            (entry, metadata)
        };
        Ok(self.read_dir(path)?.into_iter().map(known).collect())
    }

    /// Where a symbolic link points to, as raw text.
    fn read_link(&self, path: &str) -> Result<Vec<u8>, FsError>;

    /// The filesystem's UUID.
    fn uuid(&self) -> Result<uuid::Uuid, FsError>;

    /// Extended attributes of the entry, by full name (`security.capability`); links not followed.
    fn xattrs(&self, path: &str) -> Result<BTreeMap<String, Vec<u8>>, FsError>;

    /// Where on the filesystem's device the content of a regular file lies, in bytes; links not
    /// followed. `None` where that is not known: the content is part of something else.
    fn places(&self, _path: &str) -> Result<Option<Vec<Range<u64>>>, FsError> {
        Ok(None)
    }

    /// Whether something is at `path`. A damaged filesystem is an error, not `false`.
    fn exists(&self, path: &str) -> Result<bool, FsError> {
        match self.metadata(path) {
            Ok(_) => Ok(true),
            Err(FsError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Reading and writing a guest's filesystem. Nothing is durable before [`GuestFs::finish`].
pub trait GuestFs: GuestRead {
    /// Makes a regular file of this content. An existing file *or link* of that name is replaced,
    /// never written through. The parent directory must exist. A replaced regular file keeps
    /// its inode's extended attributes only if the implementation says so.
    fn write(&mut self, path: &str, content: &[u8], owner: Owner) -> Result<(), FsError>;

    /// Makes a directory and its missing parents (those root:root 0755). An existing directory
    /// is left as it is.
    fn create_dir_all(&mut self, path: &str, owner: Owner) -> Result<(), FsError>;

    /// Makes a symbolic link; an existing file or link of that name is replaced.
    fn symlink(&mut self, path: &str, target: &str) -> Result<(), FsError>;

    /// Removes a file, link or special file. `false` when nothing was there. A directory is
    /// [`FsError::Unsuitable`].
    fn remove(&mut self, path: &str) -> Result<bool, FsError>;

    /// Removes a whole tree. `false` when nothing was there. Never leaves the tree by a link.
    fn remove_all(&mut self, path: &str) -> Result<bool, FsError>;

    /// Sets owner and permission bits, without following a link.
    fn set_owner(&mut self, path: &str, owner: Owner) -> Result<(), FsError>;

    /// Gives the filesystem another UUID, where its features make that safe without rewriting
    /// every checksum; `Ok(false)` when they do not.
    fn set_uuid(&mut self, uuid: uuid::Uuid) -> Result<bool, FsError>;

    /// Writes everything, leaves the journal clean, flushes the device.
    fn finish(self: Box<Self>) -> Result<(), FsError>;
}
