//! Making removed things unreadable: what a filesystem still remembers of what is gone.
//!
//! Removing a file only forgets where it was. Its bytes stay in free blocks, its name in the slack
//! of its directory, both in the journal's log, and ends of older content behind the ends of
//! files. After [`discard_free`] all of these read as zeros, and [`super::residue`] can prove it.
//!
//! It does not touch what is in use: not the unused parts of extended attribute blocks, nor of
//! directories that live inside their inode (`inline_data`). It needs a clean journal, so it comes
//! after [`super::GuestFs::finish`]. It is for full images; on an overlay every discarded range
//! costs metadata.

use super::blocks::Run;
use super::directory::{BlockUse, Entries};
use super::features::check_writable;
use super::free_space::clear_bits;
use super::journal::Journal;
use super::layout::{crc, damaged, group_flags, inode_offset, le16, le32};
use super::volume::{Inode, Volume, inode_flags};
use super::{FileKind, FsError};
use stampo_image::device::BlockDevice;
use std::sync::Arc;

/// Bytes of the entry that ends a checksummed directory block.
const TAIL: usize = 12;
/// The file type that marks it.
const TAIL_TYPE: u8 = 0xde;
/// The inode of the root directory; lower and other reserved ones have no names or content.
const ROOT: u32 = 2;

/// What was made to read as zeros.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Discarded {
    /// Free blocks, in bytes.
    pub free_bytes: u64,
    /// Preallocated space of files that was never written, in bytes.
    pub unwritten_bytes: u64,
    /// The journal's log, in bytes.
    pub journal_bytes: u64,
    /// Slots of inodes that are not in use, in bytes.
    pub inode_bytes: u64,
    /// Blocks of directories in which removed names were overwritten.
    pub directory_blocks: u64,
    /// Files behind whose end something was left.
    pub file_ends: u64,
}

/// Makes everything that the filesystem on `device` does not use any more read as zeros, and
/// frees its space where the device can.
///
/// # Errors
/// [`FsError::Unsupported`] for filesystems that can't be written; [`FsError::Damaged`], also
/// when the journal is not clean.
pub fn discard_free(device: Arc<dyn BlockDevice>) -> Result<Discarded, FsError> {
    let volume = Volume::open(device)?;
    check_writable(&volume.superblock)?;
    super::open::check_clean(&volume.superblock)?;
    let mut wipe = Wipe {
        volume: &volume,
        done: Discarded::default(),
    };
    wipe.journal()?;
    wipe.inodes()?;
    wipe.free_blocks()?;
    volume.device.flush()?;
    Ok(wipe.done)
}

struct Wipe<'a> {
    volume: &'a Volume,
    done: Discarded,
}

impl Wipe<'_> {
    fn block_size(&self) -> u64 {
        self.volume.superblock.block_size
    }

    /// Discards blocks; the number of bytes.
    fn discard(&self, first: u64, count: u64) -> Result<u64, FsError> {
        let length = count * self.block_size();
        self.volume
            .device
            .discard(first * self.block_size(), length)?;
        Ok(length)
    }

    fn free_blocks(&mut self) -> Result<(), FsError> {
        for range in self.volume.free_blocks()? {
            self.done.free_bytes += self.discard(range.start, range.end - range.start)?;
        }
        Ok(())
    }

    /// Everything in the journal but its superblock: with a clean journal nobody reads the rest.
    fn journal(&mut self) -> Result<(), FsError> {
        let Some(journal) = Journal::find(self.volume)? else {
            return Ok(());
        };
        if journal.is_dirty() {
            return Err(damaged("its journal has not been replayed"));
        }
        for run in &journal.runs {
            let skip = u64::from(run.logical == 0);
            self.done.journal_bytes += self.discard(run.physical + skip, run.count - skip)?;
        }
        Ok(())
    }

    fn inodes(&mut self) -> Result<(), FsError> {
        let per_group = u64::from(self.volume.superblock.inodes_per_group);
        for (number, group) in self.volume.groups.iter().enumerate() {
            let first = number as u64 * per_group + 1;
            if group.flags & group_flags::INODE_UNINIT != 0 {
                self.unused_inodes(first, per_group)?;
                continue;
            }
            let bitmap = self.volume.block(group.inode_bitmap)?;
            let mut next = 0;
            for unused in clear_bits(&bitmap, per_group) {
                self.used_inodes(first + next..first + unused.start)?;
                self.unused_inodes(first + unused.start, unused.end - unused.start)?;
                next = unused.end;
            }
            self.used_inodes(first + next..first + per_group)?;
        }
        Ok(())
    }

    fn unused_inodes(&mut self, first: u64, count: u64) -> Result<(), FsError> {
        let superblock = &self.volume.superblock;
        let start = inode_offset(superblock, &self.volume.groups, first as u32)?;
        let length = count * superblock.inode_size as u64;
        self.volume.device.discard(start, length)?;
        self.done.inode_bytes += length;
        Ok(())
    }

    fn used_inodes(&mut self, numbers: std::ops::Range<u64>) -> Result<(), FsError> {
        let reserved = le32(&self.volume.superblock.raw, 0x54);
        for number in numbers {
            let number = number as u32;
            if number < reserved && number != ROOT {
                continue;
            }
            let inode = self.volume.inode_slot(number)?;
            if inode.mode == 0 || inode.has_flag(inode_flags::INLINE_DATA | inode_flags::ENCRYPT) {
                continue;
            }
            match inode.kind() {
                FileKind::Directory => self.directory(&inode)?,
                FileKind::File | FileKind::Symlink => self.file(&inode)?,
                FileKind::Special => {}
            }
        }
        Ok(())
    }

    /// Discards what was preallocated and clears what is behind the end of the last block.
    fn file(&mut self, inode: &Inode) -> Result<(), FsError> {
        if inode.kind() == FileKind::Symlink && inode.size < 60 {
            return Ok(());
        }
        let used_blocks = inode.size.div_ceil(self.block_size());
        let inside = (inode.size % self.block_size()) as usize;
        for run in self.volume.runs(inode)? {
            if !run.written {
                self.done.unwritten_bytes += self.discard(run.physical, run.count)?;
            } else if inside != 0
                && (run.logical..run.logical + run.count).contains(&(used_blocks - 1))
            {
                self.file_end(run, used_blocks - 1, inside)?;
            }
        }
        Ok(())
    }

    fn file_end(&mut self, run: Run, logical: u64, inside: usize) -> Result<(), FsError> {
        let length = self.block_size() as usize - inside;
        let offset = (run.physical + (logical - run.logical)) * self.block_size() + inside as u64;
        let mut end = vec![0; length];
        self.volume.device.read_at(offset, &mut end)?;
        if end.iter().any(|byte| *byte != 0) {
            self.volume.device.write_at(offset, &vec![0; length])?;
            self.done.file_ends += 1;
        }
        Ok(())
    }

    /// Overwrites removed names in a directory.
    fn directory(&mut self, inode: &Inode) -> Result<(), FsError> {
        for (logical, physical, block) in self.volume.directory_blocks(inode)? {
            let mut clean = block.clone();
            // Checked first: a new checksum would make damage look like content.
            match self.volume.check_block(inode, logical, &block)? {
                BlockUse::Entries => self.clear_entries(inode, &mut clean)?,
                BlockUse::IndexRoot(table) | BlockUse::IndexNode(table) => {
                    clear_index(&mut clean, table);
                }
            }
            if clean != block {
                self.volume
                    .device
                    .write_at(physical * self.block_size(), &clean)?;
                self.done.directory_blocks += 1;
            }
        }
        Ok(())
    }

    fn clear_entries(&self, inode: &Inode, block: &mut [u8]) -> Result<(), FsError> {
        let places: Result<Vec<_>, ()> = Entries::new(block).collect();
        let places =
            places.map_err(|()| damaged(format!("directory {} makes no sense", inode.number)))?;
        for (at, length) in places {
            let is_used = le32(block, at) != 0;
            let is_tail = !is_used && length == TAIL && block[at + 7] == TAIL_TYPE;
            if is_tail {
                continue;
            }
            if !is_used {
                block[at + 6..at + 8].fill(0);
            }
            let name_end = at + 8 + usize::from(block[at + 6]);
            block[name_end..at + length].fill(0);
        }
        if self.volume.superblock.has_checksums() {
            let end = block.len() - TAIL;
            let sum = crc(inode.seed, &block[..end]);
            block[end + 8..].copy_from_slice(&sum.to_le_bytes());
        }
        Ok(())
    }
}

/// Clears the unused end of a hash table; its checksum covers only what is used.
fn clear_index(block: &mut [u8], table: usize) {
    if table + 8 > block.len() {
        return;
    }
    let (limit, count) = (
        usize::from(le16(block, table)),
        usize::from(le16(block, table + 2)),
    );
    let (from, to) = (table + count * 8, table + limit * 8);
    if from < to && to <= block.len() {
        block[from..to].fill(0);
    }
}
