//! What walks have learned of an ext4 filesystem: names, kinds and link targets, kept in memory.
//!
//! Inspecting or personalising a guest walks through `/etc` and `/usr` dozens of times, and each
//! step reads, checks and parses a directory and an inode again. Here every step is done once. The
//! disk stays the truth: what changes an entry must say so with [`NameCache::forget`], and nothing
//! is kept of what failed. It knows no paths and reads nothing itself.

use super::{FileKind, FsError};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most memory that is kept, by [`COST`] and the length of names and targets: a hostile filesystem
/// has as many names as it likes. What is kept is dropped as a whole then.
const MAX_BYTES: usize = 4 << 20;
/// What one entry takes beside its text, roughly.
const COST: usize = 96;

/// Answers of a filesystem, see [`super::resolve::Nodes`].
#[derive(Default)]
pub(crate) struct NameCache(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// By directory: the inode of a name, or that there is no such name.
    names: HashMap<u32, HashMap<Box<[u8]>, Option<u32>>>,
    kinds: HashMap<u32, FileKind>,
    targets: HashMap<u32, Box<[u8]>>,
    bytes: usize,
}

impl NameCache {
    /// The map. A panic of another holder leaves whole entries behind, so it stays usable.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The inode of `name` in `directory`; `read` tells it the first time.
    pub(crate) fn lookup(
        &self,
        directory: u32,
        name: &[u8],
        read: impl FnOnce() -> Result<Option<u32>, FsError>,
    ) -> Result<Option<u32>, FsError> {
        if let Some(inode) = self.known().inode_of(directory, name) {
            return Ok(inode);
        }
        let inode = read()?;
        let mut known = self.known();
        known.make_room(name.len());
        let names = known.names.entry(directory).or_default();
        names.insert(name.into(), inode);
        Ok(inode)
    }

    /// The kind of an inode; `read` tells it the first time.
    pub(crate) fn kind(
        &self,
        inode: u32,
        read: impl FnOnce() -> Result<FileKind, FsError>,
    ) -> Result<FileKind, FsError> {
        if let Some(kind) = self.known().kinds.get(&inode) {
            return Ok(*kind);
        }
        let kind = read()?;
        let mut known = self.known();
        known.make_room(0);
        known.kinds.insert(inode, kind);
        Ok(kind)
    }

    /// Where a symbolic link points to; `read` tells it the first time.
    pub(crate) fn link_target(
        &self,
        inode: u32,
        read: impl FnOnce() -> Result<Vec<u8>, FsError>,
    ) -> Result<Vec<u8>, FsError> {
        if let Some(target) = self.known().targets.get(&inode) {
            return Ok(target.to_vec());
        }
        let target = read()?;
        let mut known = self.known();
        known.make_room(target.len());
        known.targets.insert(inode, target.as_slice().into());
        Ok(target)
    }

    /// Forgets the entry `name` of `directory`, and everything about the inode that it named: its
    /// number may be given to something else. (Names in a directory that goes were forgotten one by
    /// one before; a damaged filesystem may have more.)
    pub(crate) fn forget(&self, directory: u32, name: &[u8], inode: Option<u32>) {
        let mut known = self.known();
        if let Some(names) = known.names.get_mut(&directory) {
            names.remove(name);
        }
        if let Some(inode) = inode {
            known.names.remove(&inode);
            known.kinds.remove(&inode);
            known.targets.remove(&inode);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        *self.known() = Known::default();
    }
}

impl Known {
    /// What is known of a name, if anything is.
    fn inode_of(&self, directory: u32, name: &[u8]) -> Option<Option<u32>> {
        self.names.get(&directory)?.get(name).copied()
    }

    /// Counts an entry with so much text; forgotten entries stay counted until all are dropped.
    fn make_room(&mut self, text: usize) {
        if self.bytes + COST + text > MAX_BYTES {
            *self = Known::default();
        }
        self.bytes += COST + text;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded() {
        let cache = NameCache::default();
        let name = [b'n'; 255];
        for directory in 0..100_000 {
            cache.lookup(directory, &name, || Ok(None)).expect("lookup");
            let known = cache.known();
            assert!(known.bytes <= MAX_BYTES && known.names.len() <= MAX_BYTES / (COST + 255));
        }
    }

    #[test]
    fn failures_are_not_kept() {
        let cache = NameCache::default();
        let failed = cache.lookup(2, b"etc", || Err(super::super::layout::damaged("x")));
        assert!(failed.is_err());
        let found = cache.lookup(2, b"etc", || Ok(Some(3)));
        assert_eq!(found.expect("lookup"), Some(3));
        let kept = cache.lookup(2, b"etc", || Err(super::super::layout::damaged("x")));
        assert_eq!(kept.expect("kept"), Some(3));
    }
}
