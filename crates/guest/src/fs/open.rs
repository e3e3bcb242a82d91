//! Finding the guest's system on a disk, and opening it.
//!
//! The root is the ext filesystem with an `os-release` in it, in a partition or on the bare disk.
//! A disk whose root is of another kind is refused by name, with what can be done about it. Other
//! partitions (EFI, /boot, data) are not opened.

use super::features::check_readable;
use super::layout::{Superblock, damaged};
use super::{Ext4Reader, Ext4Writer, FsError, GuestFs, GuestRead};
use stampo_image::device::{BlockDevice, Window};
use stampo_image::filesystem::{FilesystemKind, identify};
use stampo_image::partition::{Layout, PartitionError, Table};
use std::sync::Arc;

/// Where the guest's system is on its disk.
pub struct RootPartition {
    /// The partition's number as Linux counts, `None` for a filesystem on the bare disk.
    pub number: Option<u32>,
    /// Where it begins on the disk.
    pub start_bytes: u64,
    /// How long it is.
    pub size_bytes: u64,
    /// The partition as a device of its own.
    pub device: Arc<dyn BlockDevice>,
}

impl std::fmt::Debug for RootPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RootPartition")
            .field("number", &self.number)
            .field("start_bytes", &self.start_bytes)
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

/// Finds the partition that holds the guest's system.
///
/// # Errors
/// [`FsError::Unsupported`] when the root is on something else than ext2, ext3 or ext4;
/// [`FsError::NoSystem`] when there is no sign of a Linux system; [`FsError::Partitions`] for a
/// table that contradicts itself.
pub fn find_root(disk: Arc<dyn BlockDevice>) -> Result<RootPartition, FsError> {
    locate(disk).map(|(root, _)| root)
}

/// Opens the guest's system for reading.
pub fn open_read(disk: Arc<dyn BlockDevice>) -> Result<Box<dyn GuestRead>, FsError> {
    locate(disk).map(|(_, reader)| reader)
}

/// Opens the guest's system for editing, replaying an unclean journal.
pub fn open_write(disk: Arc<dyn BlockDevice>) -> Result<Box<dyn GuestFs>, FsError> {
    Ext4Writer::open(find_root(disk)?.device)
}

/// [`open_write`] with every time stamp at `now_s`, for reproducible images.
pub fn open_write_at(disk: Arc<dyn BlockDevice>, now_s: i64) -> Result<Box<dyn GuestFs>, FsError> {
    Ext4Writer::with_clock(find_root(disk)?.device, now_s)
}

/// The partitions of the disk, or the whole disk when it has no table.
fn candidates(disk: &Arc<dyn BlockDevice>) -> Result<Vec<RootPartition>, FsError> {
    let layout = Layout::read(disk.as_ref()).map_err(table_error)?;
    if matches!(layout.table, Table::None) {
        return Ok(vec![RootPartition {
            number: None,
            start_bytes: 0,
            size_bytes: disk.size_bytes(),
            device: disk.clone(),
        }]);
    }
    let mut found = Vec::new();
    for partition in layout.partitions {
        let (start_bytes, size_bytes) = (partition.start_bytes, partition.size_bytes);
        let device = Arc::new(Window::new(disk.clone(), start_bytes, size_bytes)?);
        let number = Some(partition.index);
        found.push(RootPartition {
            number,
            start_bytes,
            size_bytes,
            device,
        });
    }
    Ok(found)
}

fn table_error(error: PartitionError) -> FsError {
    match error {
        PartitionError::Io { source, .. } => FsError::Device(source),
        other => FsError::Partitions(other),
    }
}

/// How much a filesystem looks like a system: 0 not at all, 2 entirely.
fn resemblance(fs: &dyn GuestRead) -> Result<u8, FsError> {
    let release = fs.exists("/etc/os-release")? || fs.exists("/usr/lib/os-release")?;
    let programs = fs.exists("/usr")? || fs.exists("/sbin")?;
    Ok(u8::from(release) + u8::from(release && programs))
}

fn locate(disk: Arc<dyn BlockDevice>) -> Result<(RootPartition, Box<dyn GuestRead>), FsError> {
    let mut best: Option<(u8, RootPartition, Box<dyn GuestRead>)> = None;
    let mut refusal = None;
    let mut others = Vec::new();
    for candidate in candidates(&disk)? {
        let kind = identify(candidate.device.as_ref())?.kind;
        if !matches!(kind, FilesystemKind::Ext(_)) {
            others.push(kind);
            continue;
        }
        let opened = Ext4Reader::open(candidate.device.clone())
            .and_then(|reader| Ok((resemblance(reader.as_ref())?, reader)));
        match opened {
            Ok((rank, reader)) if rank > best.as_ref().map_or(0, |(best, ..)| *best) => {
                best = Some((rank, candidate, reader));
            }
            Ok(_) => {}
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    match (best, refusal) {
        (Some((_, root, reader)), _) => Ok((root, reader)),
        (None, Some(refusal)) => Err(refusal),
        (None, None) => Err(nothing_found(&others)),
    }
}

/// What to say about a disk on which no ext filesystem holds a system.
fn nothing_found(kinds: &[FilesystemKind]) -> FsError {
    let advice = |kind: &FilesystemKind| match kind {
        FilesystemKind::Xfs | FilesystemKind::Btrfs => Some(
            "only ext4 can be changed offline so far; install the guest on ext4, or move its \
             root to an ext4 partition",
        ),
        FilesystemKind::Lvm => Some(
            "logical volumes can't be opened offline yet; install the guest with its root on a \
             plain ext4 partition",
        ),
        FilesystemKind::Luks => Some(
            "an encrypted disk can't be opened without its key; make the template from an \
             unencrypted disk",
        ),
        FilesystemKind::MdRaid => Some("make the template from a disk without software RAID"),
        FilesystemKind::Ntfs => Some("Windows guests can't be changed offline yet"),
        _ => None,
    };
    match kinds
        .iter()
        .find_map(|kind| advice(kind).map(|why| (kind, why)))
    {
        Some((kind, why)) => FsError::Unsupported {
            filesystem: kind.name().into(),
            why: why.into(),
        },
        None => FsError::NoSystem,
    }
}

/// Checks without opening anything that the filesystem on `device` is one that can be written.
///
/// # Errors
/// Those of [`Ext4Writer::open`].
pub fn check_writable(device: &dyn BlockDevice) -> Result<(), FsError> {
    let kind = identify(device)?.kind;
    if !matches!(kind, FilesystemKind::Ext(_)) {
        return Err(nothing_found(&[kind]));
    }
    let superblock = Superblock::read(device)?;
    check_readable(&superblock)?;
    super::features::check_writable(&superblock)
}

/// Refuses a device that does not hold a filesystem in one piece; for callers of `super::wipe`.
pub(crate) fn check_clean(superblock: &Superblock) -> Result<(), FsError> {
    if superblock.has_incompat(super::layout::incompat::RECOVER) {
        return Err(damaged("its journal has not been replayed"));
    }
    Ok(())
}
