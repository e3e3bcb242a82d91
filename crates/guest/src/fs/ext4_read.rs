//! Reading an ext4 filesystem with code of our own, which shares nothing with the writer.
//!
//! It is the second reader behind every proof, and the fast one: a whole system is walked with all
//! its metadata in a fraction of a second. An unclean journal is replayed in memory
//! (`super::journal`). The library `ext4-view` checks it in the tests; it could not take its place
//! because it tells neither inode numbers, change times, link counts nor extended attributes.

use super::blocks::Run;
use super::directory::RawEntry;
use super::features::check_readable;
use super::journal::open_replayed;
use super::layout::{Superblock, damaged};
use super::name_cache::NameCache;
use super::resolve::{Nodes, find, unsuitable};
use super::volume::{Inode, Volume, inode_flags};
use super::{Entry, FileKind, FsError, GuestRead, Metadata};
use stampo_image::device::BlockDevice;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// Largest content that is given in one piece, whatever a caller allows.
const MAX_CONTENT: u64 = 4 << 30;
/// Longest target of a link (`PATH_MAX`).
const MAX_TARGET: u64 = 4096;
/// Most entries of directories that are kept in memory.
const MAX_KEPT_ENTRIES: usize = 200_000;

/// An ext4 filesystem, read-only.
pub struct Ext4Reader {
    volume: Volume,
    kept: Mutex<Kept>,
    /// Never has to forget: nothing changes while it is read.
    names: NameCache,
}

/// Directories that were read, so that paths through them are cheap.
#[derive(Default)]
struct Kept {
    directories: HashMap<u32, Arc<Vec<RawEntry>>>,
    entries: usize,
}

impl Ext4Reader {
    /// Opens the filesystem that fills `device`. The device is only read, also when its journal
    /// is unclean.
    ///
    /// # Errors
    /// [`FsError::Unsupported`] for features that change where bytes lie in a way unknown to us,
    /// [`FsError::Damaged`], [`FsError::Device`].
    pub fn open(device: Arc<dyn BlockDevice>) -> Result<Box<dyn GuestRead>, FsError> {
        check_readable(&Superblock::read(device.as_ref())?)?;
        let volume = open_replayed(device)?;
        Ok(Box::new(Ext4Reader {
            volume,
            kept: Mutex::default(),
            names: NameCache::default(),
        }))
    }

    fn directory(&self, inode: &Inode) -> Result<Arc<Vec<RawEntry>>, FsError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entries) = kept.directories.get(&inode.number) {
            return Ok(entries.clone());
        }
        let entries = Arc::new(self.volume.directory(inode)?);
        if kept.entries + entries.len() > MAX_KEPT_ENTRIES {
            *kept = Kept::default();
        }
        kept.entries += entries.len();
        kept.directories.insert(inode.number, entries.clone());
        Ok(entries)
    }

    /// The inode that `path` leads to, errors naming the path.
    fn find(&self, path: &str, follow_last: bool) -> Result<Inode, FsError> {
        at(
            path,
            find(self, path, follow_last).and_then(|number| self.volume.inode(number)),
        )
    }

    fn find_directory(&self, path: &str) -> Result<Arc<Vec<RawEntry>>, FsError> {
        let inode = self.find(path, true)?;
        if inode.kind() != FileKind::Directory {
            return Err(unsuitable(path, "it is not a directory"));
        }
        at(path, self.directory(&inode))
    }
}

/// Names the path in an error that only knows of the filesystem.
fn at<T>(path: &str, result: Result<T, FsError>) -> Result<T, FsError> {
    result.map_err(|error| match error {
        FsError::Damaged { why, .. } => FsError::Damaged {
            path: path.to_owned(),
            why,
        },
        other => other,
    })
}

fn metadata(inode: &Inode) -> Metadata {
    Metadata {
        kind: inode.kind(),
        inode: inode.number.into(),
        mode: u32::from(inode.mode) & 0o7777,
        uid: inode.uid(),
        gid: inode.gid(),
        size_bytes: inode.size,
        mtime_s: inode.mtime_s(),
        ctime_s: inode.ctime_s(),
        ctime_ns: inode.ctime_ns(),
        links: inode.links().into(),
    }
}

impl Volume {
    /// The whole content of an inode, which the caller has found small enough.
    pub(crate) fn content(&self, inode: &Inode) -> Result<Vec<u8>, FsError> {
        let length = usize::try_from(inode.size.min(MAX_CONTENT + 1)).unwrap_or(usize::MAX);
        if inode.size > MAX_CONTENT {
            return Err(damaged(format!(
                "inode {} is too large to read at once",
                inode.number
            )));
        }
        if inode.has_flag(inode_flags::INLINE_DATA) {
            let mut content = self.inline_content(inode)?;
            if content.len() < length {
                return Err(damaged(format!(
                    "inode {} is shorter than it says",
                    inode.number
                )));
            }
            content.truncate(length);
            return Ok(content);
        }
        let mut content = vec![0; length];
        let block_size = self.superblock.block_size;
        for run in self.runs(inode)?.into_iter().filter(|run| run.written) {
            let start = run.logical * block_size;
            let end = inode.size.min((run.logical + run.count) * block_size);
            if start < end {
                let part = &mut content[start as usize..end as usize];
                self.device.read_at(run.physical * block_size, part)?;
            }
        }
        Ok(content)
    }

    fn target(&self, inode: &Inode) -> Result<Vec<u8>, FsError> {
        if inode.has_flag(inode_flags::ENCRYPT) {
            return Err(super::features::unsupported(
                "an encrypted link can't be read".into(),
            ));
        }
        if inode.size > MAX_TARGET {
            return Err(damaged(format!(
                "the link {} is longer than any path",
                inode.number
            )));
        }
        if inode.size < 60 && !inode.has_flag(inode_flags::INLINE_DATA) {
            return Ok(inode.block_area()[..inode.size as usize].to_vec());
        }
        self.content(inode)
    }
}

impl Nodes for Ext4Reader {
    fn lookup(&self, directory: u32, name: &[u8]) -> Result<Option<u32>, FsError> {
        self.names.lookup(directory, name, || {
            let entries = self.directory(&self.volume.inode(directory)?)?;
            let index = entries.partition_point(|entry| entry.name.as_slice() < name);
            let found = entries.get(index).filter(|entry| entry.name == name);
            Ok(found.map(|entry| entry.inode))
        })
    }

    fn kind(&self, inode: u32) -> Result<FileKind, FsError> {
        self.names
            .kind(inode, || Ok(self.volume.inode(inode)?.kind()))
    }

    fn link_target(&self, inode: u32) -> Result<Vec<u8>, FsError> {
        self.names
            .link_target(inode, || self.volume.target(&self.volume.inode(inode)?))
    }
}

impl GuestRead for Ext4Reader {
    fn metadata(&self, path: &str) -> Result<Metadata, FsError> {
        Ok(metadata(&self.find(path, false)?))
    }

    fn read(&self, path: &str, limit_bytes: u64) -> Result<Vec<u8>, FsError> {
        let inode = self.find(path, true)?;
        if inode.kind() != FileKind::File {
            return Err(unsuitable(path, "it is not a regular file"));
        }
        if inode.has_flag(inode_flags::ENCRYPT) {
            return Err(unsuitable(path, "it is encrypted"));
        }
        if inode.size > limit_bytes.min(MAX_CONTENT) {
            return Err(unsuitable(path, "it is larger than expected"));
        }
        at(path, self.volume.content(&inode))
    }

    fn read_dir(&self, path: &str) -> Result<Vec<Entry>, FsError> {
        let listed = self.find_directory(path)?;
        let known = |entry: &RawEntry| {
            let kind = self.kind(entry.inode)?;
            Ok(Entry {
                name: entry.name.clone(),
                kind,
            })
        };
        at(path, listed.iter().map(known).collect())
    }

    fn read_dir_with_metadata(
        &self,
        path: &str,
    ) -> Result<Vec<(Entry, Result<Metadata, FsError>)>, FsError> {
        let listed = self.find_directory(path)?;
        let known = |entry: &RawEntry| {
            let found = self.volume.inode(entry.inode).map(|inode| metadata(&inode));
            // An entry whose inode can't be read is listed, with the reason in place of metadata.
            let kind = found
                .as_ref()
                .map_or(FileKind::Special, |metadata| metadata.kind);
            (
                Entry {
                    name: entry.name.clone(),
                    kind,
                },
                at(path, found),
            )
        };
        Ok(listed.iter().map(known).collect())
    }

    fn read_link(&self, path: &str) -> Result<Vec<u8>, FsError> {
        let inode = self.find(path, false)?;
        if inode.kind() != FileKind::Symlink {
            return Err(unsuitable(path, "it is not a symbolic link"));
        }
        at(path, self.volume.target(&inode))
    }

    fn uuid(&self) -> Result<Uuid, FsError> {
        Ok(self.volume.superblock.uuid)
    }

    fn xattrs(&self, path: &str) -> Result<BTreeMap<String, Vec<u8>>, FsError> {
        let inode = self.find(path, false)?;
        at(path, self.volume.attributes(&inode))
    }

    fn places(&self, path: &str) -> Result<Option<Vec<Range<u64>>>, FsError> {
        let inode = self.find(path, false)?;
        if inode.kind() != FileKind::File || inode.has_flag(inode_flags::INLINE_DATA) {
            return Ok(None);
        }
        let block_size = self.volume.superblock.block_size;
        let runs = at(path, self.volume.runs(&inode))?;
        let place = |run: Run| run.physical * block_size..(run.physical + run.count) * block_size;
        Ok(Some(runs.into_iter().map(place).collect()))
    }
}
