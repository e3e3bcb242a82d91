//! Editing an ext4 filesystem in this process, without mounting it.
//!
//! The changes are made by the third-party writer `rust-fs-ext4`, which is used here and nowhere
//! else. Around it: our own path resolution by inode numbers, feature refusals before the first
//! byte, memory pages so that nothing reaches the disk before [`GuestFs::finish`]
//! (`super::pages`), and a net under its panics. See `docs/adr/0002-ext4-writer.md`.
//!
//! It does not use the filesystem's journal for its own edits: an edit that fails is thrown away
//! with its overlay, and a journal would keep copies of what was written. An unclean journal is
//! replayed on opening. It does not grow, defragment or repair.

use super::ext4_library::{FixedClock, caught, failure};
use super::features::{check_writable, unsupported};
use super::layout::{Superblock, damaged};
use super::name_cache::NameCache;
use super::pages::Pages;
use super::resolve::{Nodes, Place, ROOT_INODE, find, not_found, resolve, unsuitable};
use super::{
    Entry, FileKind, FsError, GuestFs, GuestRead, MAX_DEPTH, Metadata, Owner, journal, set_uuid,
    summary,
};
use fs_ext4::Filesystem;
use fs_ext4::runtime::{Runtime, SystemRuntime};
use stampo_image::device::BlockDevice;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use uuid::Uuid;

/// How much of a file is written in one transaction of the library.
const WRITE_CHUNK: usize = 4 << 20;
/// Most entries of one tree that [`GuestFs::remove_all`] removes.
const MAX_REMOVED: usize = 5_000_000;
/// The attribute that SELinux needs on every file.
const SELINUX: &str = "security.selinux";

/// An ext4 filesystem that is being edited. Dropped without [`GuestFs::finish`] it leaves the disk
/// as it was (up to an edit of 64 MiB; see `super::pages`).
///
/// A file that is written again gets a new inode, so other names of the old one keep the old
/// content. Of its extended attributes only `security.selinux` is kept; a new entry gets the one
/// of its directory.
pub struct Ext4Writer {
    fs: Filesystem,
    pages: Arc<Pages>,
    /// What is known of names and inodes; every change of a directory goes through
    /// [`Ext4Writer::change_entry`], which keeps it true.
    names: NameCache,
    /// Set when the library panicked: what it holds in memory is no longer trusted.
    broken: AtomicBool,
    new_uuid: Option<Uuid>,
}

/// The filesystem as the library sees it at this moment.
pub(super) struct Uncached<'a>(pub(super) &'a Ext4Writer);

/// Where a new entry goes.
struct Vacancy {
    place: Place,
    name: Vec<u8>,
    /// The SELinux label that it should get.
    label: Option<Vec<u8>>,
}

impl Ext4Writer {
    /// Opens the filesystem that fills `device` for editing, replaying an unclean journal.
    ///
    /// # Errors
    /// [`FsError::Unsupported`] for features that we don't keep correct, [`FsError::Damaged`] when
    /// its structures make no sense, [`FsError::Device`]. The device is untouched then.
    pub fn open(device: Arc<dyn BlockDevice>) -> Result<Box<dyn GuestFs>, FsError> {
        Ok(Box::new(Self::open_as(device, Arc::new(SystemRuntime))?))
    }

    /// [`Ext4Writer::open`] with every time stamp at `now_s` (seconds since 1970), so that the
    /// same edits of the same image give the same bytes.
    pub fn with_clock(
        device: Arc<dyn BlockDevice>,
        now_s: i64,
    ) -> Result<Box<dyn GuestFs>, FsError> {
        let clock = FixedClock::at(now_s);
        Ok(Box::new(Self::open_as(device, Arc::new(clock))?))
    }

    pub(super) fn open_as(
        device: Arc<dyn BlockDevice>,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Self, FsError> {
        if !device.is_writable() {
            return Err(FsError::Device(std::io::ErrorKind::PermissionDenied.into()));
        }
        let superblock = Superblock::read(device.as_ref())?;
        check_writable(&superblock)?;
        journal::refuse_fast_commits(device.clone(), &superblock)?;
        let pages = Arc::new(Pages::new(device));
        let mount = || Filesystem::mount_with_runtime(pages.clone(), runtime);
        let mut fs = caught(mount)
            .map_err(damaged)?
            .map_err(|error| failure("/", error))?;
        fs.journal = None;
        // The replay may have brought a newer superblock.
        check_writable(&Superblock::read(pages.as_ref())?)?;
        Ok(Ext4Writer {
            fs,
            pages,
            names: NameCache::default(),
            broken: AtomicBool::new(false),
            new_uuid: None,
        })
    }

    /// Runs one call of the library; a panic in it makes the whole editor unusable.
    fn call<T>(
        &self,
        path: &str,
        act: impl FnOnce(&Filesystem) -> fs_ext4::Result<T>,
    ) -> Result<T, FsError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(damaged("an earlier operation on it failed half-way"));
        }
        match caught(|| act(&self.fs)) {
            Ok(result) => result.map_err(|error| failure(path, error)),
            Err(why) => {
                self.broken.store(true, Ordering::Relaxed);
                self.names.clear();
                Err(FsError::Damaged {
                    path: path.to_owned(),
                    why,
                })
            }
        }
    }

    /// Runs one call of the library that makes or removes the entry `name` of `directory`; `removed`
    /// is the inode that loses this name.
    fn change_entry<T>(
        &self,
        path: &str,
        (directory, name): (u32, &[u8]),
        removed: Option<u32>,
        act: impl FnOnce(&Filesystem) -> fs_ext4::Result<T>,
    ) -> Result<T, FsError> {
        let result = self.call(path, act);
        match result {
            Ok(_) => self.names.forget(directory, name, removed),
            // Nobody knows how far it came.
            Err(_) => self.names.clear(),
        }
        result
    }

    fn stat(&self, path: &str, inode: u32) -> Result<Metadata, FsError> {
        let found = self.call(path, |fs| fs.stat_ino(inode))?;
        Ok(Metadata {
            kind: FileKind::of_mode(found.mode.into()),
            inode: inode.into(),
            mode: u32::from(found.mode) & 0o7777,
            uid: found.uid,
            gid: found.gid,
            size_bytes: found.size,
            mtime_s: found.mtime,
            ctime_s: found.ctime,
            ctime_ns: 0,
            links: found.links_count.into(),
        })
    }

    /// The raw entries of a directory, in the order of the disk, without `.` and `..`.
    fn entries(&self, path: &str, inode: u32) -> Result<Vec<(Vec<u8>, u32)>, FsError> {
        let entries = self.call(path, |fs| {
            let (directory, _) = fs.read_inode_verified(inode)?;
            if directory.has_extents() || directory.has_inline_data() {
                return fs.read_dir_ino(inode);
            }
            // The library lists only extent-mapped directories; ext3 has none.
            let mut entries = Vec::new();
            for logical in 0..directory.size.div_ceil(fs.sb.block_size().into()) {
                if let Some(block) = fs.map_inode_logical(&directory, logical)? {
                    entries.extend(fs_ext4::dir::parse_block(&fs.read_block(block)?, true)?);
                }
            }
            Ok(entries)
        })?;
        Ok(entries
            .into_iter()
            .filter(|entry| entry.name != b"." && entry.name != b"..")
            .map(|entry| (entry.name, entry.inode))
            .collect())
    }

    /// The entries of the directory at `path`, sorted by name.
    fn listed(&self, path: &str) -> Result<Vec<(Vec<u8>, u32)>, FsError> {
        let inode = find(self, path, true)?;
        if self.kind(inode)? != FileKind::Directory {
            return Err(unsuitable(path, "it is not a directory"));
        }
        let mut entries = self.entries(path, inode)?;
        entries.sort();
        Ok(entries)
    }

    fn attributes(&self, path: &str, inode: u32) -> Result<BTreeMap<String, Vec<u8>>, FsError> {
        let entries = self.call(path, |fs| {
            let (found, raw) = fs.read_inode_verified(inode)?;
            fs_ext4::xattr::read_all_resolved(fs, &found, &raw)
        })?;
        let named = entries.into_iter().map(|entry| (entry.name, entry.value));
        // The rest of an inline file is kept as an attribute; it is content, not an attribute.
        Ok(named.filter(|(name, _)| name != "system.data").collect())
    }

    /// Takes one entry that is not a directory out of its directory.
    fn unlink(&self, path: &str, directory: u32, name: &[u8], inode: u32) -> Result<(), FsError> {
        let elsewhere = self.call(path, |fs| {
            let (found, raw) = fs.read_inode_verified(inode)?;
            let all = fs_ext4::xattr::read_all(
                fs.dev.as_ref(),
                &found,
                &raw,
                fs.sb.inode_size,
                fs.sb.block_size(),
            )?;
            Ok(found.links_count == 1 && all.iter().any(|entry| entry.value_inum != 0))
        })?;
        if elsewhere {
            // The library would leave the inode that holds the value behind.
            return Err(unsupported(format!(
                "{path} has an attribute in an inode of its own"
            )));
        }
        self.change_entry(path, (directory, name), Some(inode), |fs| {
            fs.apply_unlink_at(directory, name)
        })
    }

    /// Makes room for a new entry at `path`.
    fn vacate(&self, path: &str) -> Result<Vacancy, FsError> {
        let place = resolve(self, path, false)?;
        let Some(name) = place.name.clone() else {
            return Err(unsuitable(path, "it has no name of its own"));
        };
        let labelled = place.inode.unwrap_or(place.directory());
        let label = self.attributes(path, labelled)?.remove(SELINUX);
        if let Some(inode) = place.inode {
            if self.kind(inode)? == FileKind::Directory {
                return Err(unsuitable(path, "a directory is in the way"));
            }
            self.unlink(path, place.directory(), &name, inode)?;
        }
        Ok(Vacancy { place, name, label })
    }

    fn label(&self, path: &str, place: &Place, label: Option<Vec<u8>>) -> Result<(), FsError> {
        let (Some(label), Some(real)) = (label, place.real_path()) else {
            return Ok(());
        };
        self.call(path, |fs| fs.apply_setxattr(&real, SELINUX, &label))
    }

    fn fill(&self, path: &str, place: &Place, inode: u32, content: &[u8]) -> Result<(), FsError> {
        if content.is_empty() {
            return Ok(());
        }
        let found = self.call(path, |fs| fs.stat_ino(inode))?;
        if !found.has_extents() && !found.has_inline_data() {
            // Block-mapped (ext3): the library can only write the whole file, by its path.
            let real = place.real_path().ok_or_else(|| {
                unsupported("a file below a name that is not text can't be written on ext3".into())
            })?;
            return self
                .call(path, |fs| fs.apply_replace_file_content(&real, content))
                .map(drop);
        }
        for (index, chunk) in content.chunks(WRITE_CHUNK).enumerate() {
            let offset = (index * WRITE_CHUNK) as u64;
            self.call(path, |fs| fs.apply_pwrite_ino(inode, offset, chunk))?;
        }
        Ok(())
    }

    fn own(&self, path: &str, inode: u32, owner: Owner) -> Result<(), FsError> {
        self.call(path, |fs| fs.apply_chown_ino(inode, owner.uid, owner.gid))
    }

    /// Makes `name` in `directory`, or finds it as a directory.
    fn ensure_dir(&self, path: &str, place: &Place, owner: Owner) -> Result<u32, FsError> {
        match (place.inode, &place.name) {
            (Some(inode), _) if self.kind(inode)? == FileKind::Directory => Ok(inode),
            (None, Some(name)) => {
                let parent = place.directory();
                let label = self.attributes(path, parent)?.remove(SELINUX);
                let mode = (owner.mode & 0o7777) as u16;
                let inode = self.change_entry(path, (parent, name), None, |fs| {
                    fs.apply_mkdir_at(parent, name, mode)
                })?;
                self.own(path, inode, owner)?;
                self.label(path, place, label)?;
                Ok(inode)
            }
            _ => Err(unsuitable(
                path,
                "something that is not a directory is in the way",
            )),
        }
    }

    /// Empties and removes directory `inode`, without recursion on the stack.
    fn remove_tree(
        &self,
        path: &str,
        directory: u32,
        name: &[u8],
        inode: u32,
    ) -> Result<(), FsError> {
        // Directories to remove, parents before their children.
        let mut found = vec![(directory, name.to_vec(), inode)];
        let mut seen = BTreeSet::from([directory, inode, ROOT_INODE]);
        let mut next = 0;
        while let Some(&(_, _, here)) = found.get(next) {
            next += 1;
            for (name, child) in self.entries(path, here)? {
                if self.kind(child)? != FileKind::Directory {
                    self.unlink(path, here, &name, child)?;
                } else if !seen.insert(child) || found.len() >= MAX_REMOVED {
                    return Err(FsError::Damaged {
                        path: path.to_owned(),
                        why: "a directory is reached twice".into(),
                    });
                } else {
                    found.push((here, name, child));
                }
            }
        }
        for (parent, name, inode) in found.iter().rev() {
            self.change_entry(path, (*parent, name), Some(*inode), |fs| {
                fs.apply_rmdir_at(*parent, name)
            })?;
        }
        Ok(())
    }
}

/// The library's own answers, for [`Ext4Writer::names`] to keep.
impl Nodes for Uncached<'_> {
    fn lookup(&self, directory: u32, name: &[u8]) -> Result<Option<u32>, FsError> {
        match self.0.call("/", |fs| fs.lookup_at(directory, name)) {
            Ok(inode) => Ok(Some(inode)),
            Err(FsError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn kind(&self, inode: u32) -> Result<FileKind, FsError> {
        let found = self.0.call("/", |fs| fs.stat_ino(inode))?;
        Ok(FileKind::of_mode(found.mode.into()))
    }

    fn link_target(&self, inode: u32) -> Result<Vec<u8>, FsError> {
        self.0.call("/", |fs| fs.read_link_ino(inode))
    }
}

impl Nodes for Ext4Writer {
    fn lookup(&self, directory: u32, name: &[u8]) -> Result<Option<u32>, FsError> {
        let read = || Uncached(self).lookup(directory, name);
        self.names.lookup(directory, name, read)
    }

    fn kind(&self, inode: u32) -> Result<FileKind, FsError> {
        self.names.kind(inode, || Uncached(self).kind(inode))
    }

    fn link_target(&self, inode: u32) -> Result<Vec<u8>, FsError> {
        let read = || Uncached(self).link_target(inode);
        self.names.link_target(inode, read)
    }
}

impl GuestRead for Ext4Writer {
    fn metadata(&self, path: &str) -> Result<Metadata, FsError> {
        self.stat(path, find(self, path, false)?)
    }

    fn read(&self, path: &str, limit_bytes: u64) -> Result<Vec<u8>, FsError> {
        let inode = find(self, path, true)?;
        let found = self.stat(path, inode)?;
        if found.kind != FileKind::File {
            return Err(unsuitable(path, "it is not a regular file"));
        }
        if found.size_bytes > limit_bytes {
            return Err(unsuitable(path, "it is larger than expected"));
        }
        let mut content = vec![0; found.size_bytes as usize];
        let length = self.call(path, |fs| fs.read_ino(inode, 0, &mut content))?;
        content.truncate(length);
        Ok(content)
    }

    fn read_dir(&self, path: &str) -> Result<Vec<Entry>, FsError> {
        let mut entries = Vec::new();
        for (name, inode) in self.listed(path)? {
            let kind = self.kind(inode)?;
            entries.push(Entry { name, kind });
        }
        Ok(entries)
    }

    fn read_dir_with_metadata(
        &self,
        path: &str,
    ) -> Result<Vec<(Entry, Result<Metadata, FsError>)>, FsError> {
        let known = |(name, inode)| {
            let found = self.stat(path, inode);
            // An entry whose inode can't be read is listed, with the reason in place of metadata.
            let kind = found
                .as_ref()
                .map_or(FileKind::Special, |metadata| metadata.kind);
            (Entry { name, kind }, found)
        };
        Ok(self.listed(path)?.into_iter().map(known).collect())
    }

    fn read_link(&self, path: &str) -> Result<Vec<u8>, FsError> {
        let inode = find(self, path, false)?;
        if self.kind(inode)? != FileKind::Symlink {
            return Err(unsuitable(path, "it is not a symbolic link"));
        }
        self.call(path, |fs| fs.read_link_ino(inode))
    }

    fn uuid(&self) -> Result<Uuid, FsError> {
        Ok(self
            .new_uuid
            .unwrap_or(Superblock::read(self.pages.as_ref())?.uuid))
    }

    fn xattrs(&self, path: &str) -> Result<BTreeMap<String, Vec<u8>>, FsError> {
        self.attributes(path, find(self, path, false)?)
    }
}

impl GuestFs for Ext4Writer {
    fn write(&mut self, path: &str, content: &[u8], owner: Owner) -> Result<(), FsError> {
        let Vacancy { place, name, label } = self.vacate(path)?;
        let directory = place.directory();
        let mode = (owner.mode & 0o7777) as u16;
        let inode = self.change_entry(path, (directory, &name), None, |fs| {
            fs.apply_create_at(directory, &name, mode)
        })?;
        self.fill(path, &place, inode, content)?;
        self.own(path, inode, owner)?;
        self.label(path, &place, label)
    }

    fn create_dir_all(&mut self, path: &str, owner: Owner) -> Result<(), FsError> {
        super::resolve::check_path(path)?;
        let names: Vec<&str> = path
            .split('/')
            .filter(|name| !name.is_empty() && *name != ".")
            .collect();
        if names.len() > MAX_DEPTH {
            return Err(unsuitable(path, "it has too many components"));
        }
        let mut so_far = String::new();
        for (index, name) in names.iter().enumerate() {
            so_far.push('/');
            so_far.push_str(name);
            let mut place = resolve(self, &so_far, false)?;
            if let Some(inode) = place.inode
                && self.kind(inode)? == FileKind::Symlink
            {
                // A link to nothing is in the way; a link to a directory is as good as one.
                let in_the_way = || unsuitable(path, "a link to nothing is in the way");
                place = match resolve(self, &so_far, true) {
                    Err(FsError::NotFound { .. }) => return Err(in_the_way()),
                    followed => followed?,
                };
                if place.inode.is_none() {
                    return Err(in_the_way());
                }
            }
            let last = index + 1 == names.len();
            self.ensure_dir(path, &place, if last { owner } else { Owner::root(0o755) })?;
        }
        Ok(())
    }

    fn symlink(&mut self, path: &str, target: &str) -> Result<(), FsError> {
        let Vacancy { place, name, label } = self.vacate(path)?;
        let directory = place.directory();
        self.change_entry(path, (directory, &name), None, |fs| {
            fs.apply_symlink_at(directory, &name, target.as_bytes())
        })?;
        self.label(path, &place, label)
    }

    fn remove(&mut self, path: &str) -> Result<bool, FsError> {
        let place = match resolve(self, path, false) {
            Err(FsError::NotFound { .. }) => return Ok(false),
            place => place?,
        };
        let Some(inode) = place.inode else {
            return Ok(false);
        };
        match (&place.name, self.kind(inode)?) {
            (_, FileKind::Directory) => Err(unsuitable(path, "it is a directory")),
            (None, _) => Err(not_found(path)),
            (Some(name), _) => {
                self.unlink(path, place.directory(), name, inode)?;
                Ok(true)
            }
        }
    }

    fn remove_all(&mut self, path: &str) -> Result<bool, FsError> {
        let place = match resolve(self, path, false) {
            Err(FsError::NotFound { .. }) => return Ok(false),
            place => place?,
        };
        let Some(inode) = place.inode else {
            return Ok(false);
        };
        let Some(name) = &place.name else {
            return Err(unsuitable(path, "it has no name of its own"));
        };
        if self.kind(inode)? == FileKind::Directory {
            self.remove_tree(path, place.directory(), name, inode)?;
        } else {
            self.unlink(path, place.directory(), name, inode)?;
        }
        Ok(true)
    }

    fn set_owner(&mut self, path: &str, owner: Owner) -> Result<(), FsError> {
        let inode = find(self, path, false)?;
        self.own(path, inode, owner)?;
        if self.kind(inode)? == FileKind::Symlink {
            return Ok(());
        }
        self.call(path, |fs| {
            fs.apply_chmod_ino(inode, (owner.mode & 0o7777) as u16)
        })
    }

    fn set_uuid(&mut self, uuid: Uuid) -> Result<bool, FsError> {
        let possible = set_uuid::is_possible(&Superblock::read(self.pages.as_ref())?);
        if possible {
            self.new_uuid = Some(uuid);
        }
        Ok(possible)
    }

    fn finish(self: Box<Self>) -> Result<(), FsError> {
        let Ext4Writer {
            fs,
            pages,
            broken,
            new_uuid,
            ..
        } = *self;
        if broken.into_inner() {
            return Err(damaged("an earlier operation on it failed half-way"));
        }
        caught(|| fs.finish())
            .map_err(damaged)?
            .map_err(|error| failure("/", error))?;
        summary::refresh(pages.as_ref())?;
        if let Some(uuid) = new_uuid {
            set_uuid::write(pages.as_ref(), uuid)?;
        }
        pages.write_out()?;
        Ok(())
    }
}
