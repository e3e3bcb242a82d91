//! The journal of an unclean filesystem, replayed in memory.
//!
//! It finds the transactions that were committed but not yet put in their place, and offers the
//! filesystem as it will be after a replay. It writes nothing: the writer's replay is another
//! program's code, and this one is how its result is checked.
//!
//! Source: Linux `Documentation/filesystems/ext4/journal.rst` and `include/linux/jbd2.h`. All
//! fields are big-endian.

use super::FsError;
use super::blocks::Run;
use super::layout::{Superblock, compat, crc, damaged};
use super::volume::Volume;
use stampo_image::device::BlockDevice;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

const MAGIC: u32 = 0xC03B_3998;
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const SUPERBLOCK_V2: u32 = 4;
const REVOKE: u32 = 5;
/// `s_feature_incompat` of the journal.
const HAS_REVOKE: u32 = 0x1;
const HAS_64BIT: u32 = 0x2;
const HAS_CSUM_V2: u32 = 0x8;
const HAS_CSUM_V3: u32 = 0x10;
const HAS_FAST_COMMIT: u32 = 0x20;
const KNOWN: u32 = HAS_REVOKE | HAS_64BIT | 0x4 | HAS_CSUM_V2 | HAS_CSUM_V3 | HAS_FAST_COMMIT;
/// Flags of a tag.
const ESCAPED: u32 = 0x1;
const SAME_UUID: u32 = 0x2;
const LAST_TAG: u32 = 0x8;
/// First tag of a block of fast commits (`EXT4_FC_TAG_HEAD`, little-endian, `fs/ext4/fast_commit.h`).
const FAST_COMMIT_HEAD: u16 = 0x9;
/// Blocks for fast commits when the journal does not say (`JBD2_DEFAULT_FAST_COMMIT_BLOCKS`).
const DEFAULT_FAST_COMMIT_BLOCKS: u32 = 256;
/// Most blocks of a log that are looked at (4 GiB at 4 KiB blocks).
const MAX_LOG_BLOCKS: u32 = 1 << 20;

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The journal of a filesystem and where it lies.
pub(crate) struct Journal<'a> {
    volume: &'a Volume,
    /// The pieces of the journal's file.
    pub(crate) runs: Vec<Run>,
    head: Vec<u8>,
}

/// A copy of a block in the log: where it is, and whether its first word was taken out.
#[derive(Debug, Clone, Copy)]
struct Copied {
    block: u64,
    escaped: bool,
}

/// The newest committed copy of each block.
type Copies = BTreeMap<u64, Copied>;

/// One transaction while the log is read.
#[derive(Default)]
struct Transaction {
    copies: Vec<(u64, Copied)>,
    revoked: Vec<u64>,
}

impl<'a> Journal<'a> {
    /// The journal inside of a filesystem, `None` when it has none.
    pub(crate) fn find(volume: &'a Volume) -> Result<Option<Self>, FsError> {
        let superblock = &volume.superblock;
        if superblock.compat & compat::HAS_JOURNAL == 0 || superblock.journal_inode == 0 {
            return Ok(None);
        }
        let inode = volume.inode(superblock.journal_inode)?;
        let runs = volume.runs(&inode)?;
        let mut journal = Journal {
            volume,
            runs,
            head: Vec::new(),
        };
        journal.head = journal.block(0)?;
        let head = &journal.head;
        if be32(head, 0) != MAGIC || !matches!(be32(head, 4), 3 | SUPERBLOCK_V2) {
            return Err(damaged("its journal has no superblock"));
        }
        if u64::from(be32(head, 0xc)) != superblock.block_size
            || be32(head, 0x10) > MAX_LOG_BLOCKS
            || be32(head, 0x14) == 0
            || be32(head, 0x14) >= journal.log_end()
        {
            return Err(damaged("its journal makes no sense"));
        }
        if be32(head, 4) == SUPERBLOCK_V2 && be32(head, 0x28) & !KNOWN != 0 {
            return Err(super::features::unsupported(
                "its journal has unknown features".into(),
            ));
        }
        Ok(Some(journal))
    }

    fn features(&self) -> u32 {
        if be32(&self.head, 4) == SUPERBLOCK_V2 {
            be32(&self.head, 0x28)
        } else {
            0
        }
    }

    fn has_checksums(&self) -> bool {
        self.features() & (HAS_CSUM_V2 | HAS_CSUM_V3) != 0
    }

    /// Start value of the checksums: the journal's own UUID.
    fn seed(&self) -> u32 {
        crc(!0, &self.head[0x30..0x40])
    }

    fn fast_commit_blocks(&self) -> u32 {
        match (
            self.features() & HAS_FAST_COMMIT != 0,
            be32(&self.head, 0x54),
        ) {
            (false, _) => 0,
            (true, 0) => DEFAULT_FAST_COMMIT_BLOCKS,
            (true, blocks) => blocks,
        }
    }

    /// One past the last block of the log; fast commits follow it.
    fn log_end(&self) -> u32 {
        be32(&self.head, 0x10).saturating_sub(self.fast_commit_blocks())
    }

    /// The place on the disk of a block of the journal.
    fn place(&self, logical: u32) -> Result<u64, FsError> {
        let logical = u64::from(logical);
        let after = self.runs.partition_point(|run| run.logical <= logical);
        match after.checked_sub(1).map(|index| self.runs[index]) {
            Some(run) if logical < run.logical + run.count => {
                Ok(run.physical + (logical - run.logical))
            }
            _ => Err(damaged("its journal has a hole")),
        }
    }

    fn block(&self, logical: u32) -> Result<Vec<u8>, FsError> {
        self.volume.block(self.place(logical)?)
    }

    /// Whether the log holds anything that has to be replayed.
    pub(crate) fn is_dirty(&self) -> bool {
        be32(&self.head, 0x1c) != 0
    }

    /// Whether there is a fast commit after the log's last transaction: those are not replayed.
    fn has_fast_commits(&self) -> Result<bool, FsError> {
        if self.fast_commit_blocks() == 0 {
            return Ok(false);
        }
        let first = self.block(self.log_end())?;
        let head = u16::from_le_bytes([first[0], first[1]]);
        Ok(head == FAST_COMMIT_HEAD)
    }

    /// Refuses a log with fast commits, which neither the writer nor the reader replays.
    pub(crate) fn refuse_fast_commits(&self) -> Result<(), FsError> {
        let unclean = self.is_dirty()
            || self
                .volume
                .superblock
                .has_incompat(super::layout::incompat::RECOVER);
        if unclean && self.has_fast_commits()? {
            return Err(super::features::unsupported(
                "it was not unmounted and its journal holds fast commits; start the guest once \
                 and shut it down, or run e2fsck -f on a copy of the disk"
                    .into(),
            ));
        }
        Ok(())
    }

    /// Reads the log from its start to the last complete transaction.
    fn committed(&self) -> Result<Copies, FsError> {
        let mut copies: BTreeMap<u64, (u32, Copied)> = BTreeMap::new();
        let mut revoked: BTreeMap<u64, u32> = BTreeMap::new();
        let first_sequence = be32(&self.head, 0x18);
        let mut sequence = first_sequence;
        let mut position = be32(&self.head, 0x1c);
        let mut open = Transaction::default();
        for _ in 0..self.log_end() {
            let block = self.block(position)?;
            if be32(&block, 0) != MAGIC || be32(&block, 8) != sequence {
                break;
            }
            position = self.next(position);
            match be32(&block, 4) {
                DESCRIPTOR if self.tail_is_right(&block) => {
                    position = self.descriptor(&block, sequence, position, &mut open)?;
                }
                REVOKE if self.tail_is_right(&block) => open.revoked.extend(self.revokes(&block)),
                COMMIT if self.commit_is_right(&block) => {
                    // Age counts from the first transaction, because sequences wrap.
                    let age = sequence.wrapping_sub(first_sequence);
                    let done = std::mem::take(&mut open);
                    copies.extend(done.copies.into_iter().map(|(at, copy)| (at, (age, copy))));
                    revoked.extend(done.revoked.into_iter().map(|at| (at, age)));
                    sequence = sequence.wrapping_add(1);
                }
                _ => break,
            }
        }
        copies.retain(|at, (age, _)| revoked.get(at).is_none_or(|revoked| revoked < age));
        for &at in copies.keys() {
            // Block 0 (or 1) is the superblock's, which a journal may well hold.
            if at >= self.volume.superblock.blocks {
                return Err(damaged("its journal names a block that does not exist"));
            }
        }
        Ok(copies
            .into_iter()
            .map(|(at, (_, copy))| (at, copy))
            .collect())
    }

    /// The block after `position`; the log is a ring.
    fn next(&self, position: u32) -> u32 {
        if position + 1 >= self.log_end() {
            be32(&self.head, 0x14)
        } else {
            position + 1
        }
    }

    /// Takes the tags of a descriptor block; the position after its copies.
    fn descriptor(
        &self,
        block: &[u8],
        sequence: u32,
        mut position: u32,
        open: &mut Transaction,
    ) -> Result<u32, FsError> {
        let features = self.features();
        let (v3, wide) = (features & HAS_CSUM_V3 != 0, features & HAS_64BIT != 0);
        // Version 2 of the checksums made the tag two bytes longer than its fields.
        let v2_bytes = if features & HAS_CSUM_V2 != 0 { 2 } else { 0 };
        let tag_bytes = match (v3, wide) {
            (true, _) => 16,
            (false, true) => 12 + v2_bytes,
            (false, false) => 8 + v2_bytes,
        };
        let end = block.len() - if self.has_checksums() { 4 } else { 0 };
        let mut at = 12;
        while at + tag_bytes <= end {
            let flags = if v3 {
                be32(block, at + 4)
            } else {
                u32::from(be16(block, at + 6))
            };
            let high = if wide {
                u64::from(be32(block, at + 8)) << 32
            } else {
                0
            };
            let copy = Copied {
                block: self.place(position)?,
                escaped: flags & ESCAPED != 0,
            };
            self.check_copy(block, at, sequence, copy)?;
            open.copies.push((high | u64::from(be32(block, at)), copy));
            position = self.next(position);
            at += tag_bytes + if flags & SAME_UUID != 0 { 0 } else { 16 };
            if flags & LAST_TAG != 0 {
                break;
            }
        }
        Ok(position)
    }

    fn check_copy(
        &self,
        block: &[u8],
        tag: usize,
        sequence: u32,
        copy: Copied,
    ) -> Result<(), FsError> {
        let features = self.features();
        let (stored, mask) = if features & HAS_CSUM_V3 != 0 {
            (be32(block, tag + 12), u32::MAX)
        } else if features & HAS_CSUM_V2 != 0 {
            (u32::from(be16(block, tag + 4)), 0xffff)
        } else {
            return Ok(());
        };
        let sum = crc(self.seed(), &sequence.to_be_bytes());
        let sum = crc(sum, &self.volume.block(copy.block)?);
        if sum & mask == stored {
            Ok(())
        } else {
            Err(damaged("the checksum of a block in its journal is wrong"))
        }
    }

    fn revokes(&self, block: &[u8]) -> Vec<u64> {
        let wide = self.features() & HAS_64BIT != 0;
        let step = if wide { 8 } else { 4 };
        let end = (be32(block, 12) as usize).clamp(16, block.len());
        let entries = block[16..end].chunks_exact(step);
        entries
            .map(|entry| {
                if wide {
                    u64::from(be32(entry, 0)) << 32 | u64::from(be32(entry, 4))
                } else {
                    be32(entry, 0).into()
                }
            })
            .collect()
    }

    fn tail_is_right(&self, block: &[u8]) -> bool {
        let at = block.len() - 4;
        !self.has_checksums() || self.sum_without(block, at) == be32(block, at)
    }

    fn commit_is_right(&self, block: &[u8]) -> bool {
        !self.has_checksums() || self.sum_without(block, 0x10) == be32(block, 0x10)
    }

    /// The checksum of a block whose four bytes at `at` count as zeros.
    fn sum_without(&self, block: &[u8], at: usize) -> u32 {
        let sum = crc(self.seed(), &block[..at]);
        crc(crc(sum, &[0; 4]), &block[at + 4..])
    }
}

/// A filesystem as it is after the replay of its journal. Read-only.
struct Replayed {
    device: Arc<dyn BlockDevice>,
    block_size: u64,
    copies: Copies,
}

/// Opens a filesystem for reading; an unclean journal is replayed in memory.
pub(crate) fn open_replayed(device: Arc<dyn BlockDevice>) -> Result<Volume, FsError> {
    let volume = Volume::open(device.clone())?;
    let copies = match Journal::find(&volume)? {
        Some(journal) => {
            journal.refuse_fast_commits()?;
            if journal.is_dirty() {
                journal.committed()?
            } else {
                Copies::new()
            }
        }
        None => Copies::new(),
    };
    if copies.is_empty() {
        return Ok(volume);
    }
    let block_size = volume.superblock.block_size;
    Volume::open(Arc::new(Replayed {
        device,
        block_size,
        copies,
    }))
}

/// Refuses a filesystem whose newest changes are in fast commits.
pub(crate) fn refuse_fast_commits(
    device: Arc<dyn BlockDevice>,
    superblock: &Superblock,
) -> Result<(), FsError> {
    // `fast_commit` of `s_feature_compat`.
    if superblock.compat & 0x400 == 0 {
        return Ok(());
    }
    match Journal::find(&Volume::open(device)?)? {
        Some(journal) => journal.refuse_fast_commits(),
        None => Ok(()),
    }
}

impl BlockDevice for Replayed {
    fn size_bytes(&self) -> u64 {
        self.device.size_bytes()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.device.read_at(offset, buf)?;
        let end = offset + buf.len() as u64;
        let blocks = offset / self.block_size..end.div_ceil(self.block_size);
        for (&block, copy) in self.copies.range(blocks) {
            let mut bytes = vec![0; self.block_size as usize];
            self.device
                .read_at(copy.block * self.block_size, &mut bytes)?;
            if copy.escaped {
                bytes[..4].copy_from_slice(&MAGIC.to_be_bytes());
            }
            let start = block * self.block_size;
            let (from, to) = (offset.max(start), end.min(start + self.block_size));
            buf[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&bytes[(from - start) as usize..(to - start) as usize]);
        }
        Ok(())
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn discard(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_writable(&self) -> bool {
        false
    }
}
