//! An ext4 filesystem as blocks and inodes, read from scratch and never written.
//!
//! It is the floor under our own reader (`super::ext4_read`) and under everything that has to know
//! where bytes lie on the disk. It checks what it can: bounds, checksums, sizes; everything else
//! in it is the guest's word. It knows no paths.

use super::FileKind;
use super::FsError;
use super::layout::{Group, Superblock, crc, damaged, inode_offset, le16, le32};
use stampo_image::device::BlockDevice;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Metadata is read in pieces of this size, because inode tables and directories lie together.
const PIECE: u64 = 32 << 10;
/// Most pieces that are kept (64 MiB).
const MAX_PIECES: usize = 2048;

/// `i_flags`
pub(crate) mod inode_flags {
    pub(crate) const INDEX: u32 = 0x1000;
    pub(crate) const ENCRYPT: u32 = 0x800;
    pub(crate) const EXTENTS: u32 = 0x8_0000;
    pub(crate) const INLINE_DATA: u32 = 0x1000_0000;
}

/// An opened filesystem.
pub(crate) struct Volume {
    pub(crate) device: Arc<dyn BlockDevice>,
    pub(crate) superblock: Superblock,
    pub(crate) groups: Vec<Group>,
    pieces: Mutex<HashMap<u64, Arc<[u8]>>>,
}

/// One inode, as the disk has it.
#[derive(Debug, Clone)]
pub(crate) struct Inode {
    pub(crate) number: u32,
    pub(crate) raw: Vec<u8>,
    pub(crate) mode: u16,
    pub(crate) size: u64,
    pub(crate) flags: u32,
    /// Start value of the checksums of the blocks that belong to this inode.
    pub(crate) seed: u32,
}

impl Volume {
    /// Reads superblock and group descriptors. An unclean journal is not looked at.
    pub(crate) fn open(device: Arc<dyn BlockDevice>) -> Result<Self, FsError> {
        let superblock = Superblock::read(device.as_ref())?;
        let groups = Group::read_all(device.as_ref(), &superblock)?;
        Ok(Volume {
            device,
            superblock,
            groups,
            pieces: Mutex::default(),
        })
    }

    /// Fills `buf` from `offset` through the cache.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), FsError> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let piece = self.piece(at / PIECE)?;
            let inside = (at % PIECE) as usize;
            let take = piece.len().saturating_sub(inside).min(buf.len() - done);
            if take == 0 {
                return Err(damaged("something in it lies past its end"));
            }
            buf[done..done + take].copy_from_slice(&piece[inside..inside + take]);
            done += take;
        }
        Ok(())
    }

    fn piece(&self, number: u64) -> Result<Arc<[u8]>, FsError> {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(piece) = pieces.get(&number) {
            return Ok(piece.clone());
        }
        let start = number * PIECE;
        let length = PIECE.min(self.device.size_bytes().saturating_sub(start));
        let mut bytes = vec![0; length as usize];
        self.device.read_at(start, &mut bytes)?;
        let piece: Arc<[u8]> = bytes.into();
        if pieces.len() >= MAX_PIECES {
            pieces.clear();
        }
        pieces.insert(number, piece.clone());
        Ok(piece)
    }

    /// One block of metadata.
    pub(crate) fn block(&self, number: u64) -> Result<Vec<u8>, FsError> {
        self.check_blocks(number, 1)?;
        let mut bytes = vec![0; self.superblock.block_size as usize];
        self.read(number * self.superblock.block_size, &mut bytes)?;
        Ok(bytes)
    }

    /// Refuses blocks outside of the filesystem, and the one that holds the superblock.
    pub(crate) fn check_blocks(&self, first: u64, count: u64) -> Result<(), FsError> {
        match first.checked_add(count) {
            Some(end)
                if end <= self.superblock.blocks && first > self.superblock.first_data_block =>
            {
                Ok(())
            }
            _ => Err(damaged(format!("block {first} is not a place for data"))),
        }
    }

    /// Reads and checks an inode. One that is not in use is damage: something pointed at it.
    pub(crate) fn inode(&self, number: u32) -> Result<Inode, FsError> {
        let inode = self.inode_slot(number)?;
        if inode.mode == 0 || inode.links() == 0 {
            return Err(damaged(format!("inode {number} is not in use")));
        }
        Ok(inode)
    }

    /// Reads and checks an inode, in use or not.
    pub(crate) fn inode_slot(&self, number: u32) -> Result<Inode, FsError> {
        let offset = inode_offset(&self.superblock, &self.groups, number)?;
        let mut raw = vec![0; self.superblock.inode_size];
        self.read(offset, &mut raw)?;
        let inode = Inode::parse(&self.superblock, number, raw);
        if self.superblock.has_checksums()
            && inode.stored_checksum() != inode.checksum(&self.superblock)
        {
            return Err(damaged(format!("the checksum of inode {number} is wrong")));
        }
        Ok(inode)
    }
}

impl Inode {
    pub(crate) fn parse(superblock: &Superblock, number: u32, raw: Vec<u8>) -> Self {
        let sum = crc(superblock.seed, &number.to_le_bytes());
        Inode {
            number,
            mode: le16(&raw, 0x0),
            size: u64::from(le32(&raw, 0x6c)) << 32 | u64::from(le32(&raw, 0x4)),
            flags: le32(&raw, 0x20),
            seed: crc(sum, &raw[0x64..0x68]),
            raw,
        }
    }

    pub(crate) fn kind(&self) -> FileKind {
        FileKind::of_mode(self.mode.into())
    }

    pub(crate) fn has_flag(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn uid(&self) -> u32 {
        u32::from(le16(&self.raw, 0x78)) << 16 | u32::from(le16(&self.raw, 0x2))
    }

    pub(crate) fn gid(&self) -> u32 {
        u32::from(le16(&self.raw, 0x7a)) << 16 | u32::from(le16(&self.raw, 0x18))
    }

    pub(crate) fn links(&self) -> u16 {
        le16(&self.raw, 0x1a)
    }

    /// The 60 bytes that hold the block map, a short link or the begin of inline data.
    pub(crate) fn block_area(&self) -> &[u8] {
        &self.raw[0x28..0x64]
    }

    /// The block of extended attributes, 0 for none.
    pub(crate) fn attribute_block(&self) -> u64 {
        u64::from(le16(&self.raw, 0x76)) << 32 | u64::from(le32(&self.raw, 0x68))
    }

    pub(crate) fn ctime_s(&self) -> i64 {
        self.time(0xc, 0x84)
    }

    pub(crate) fn mtime_s(&self) -> i64 {
        self.time(0x10, 0x88)
    }

    /// The part of [`Inode::ctime_s`] below a second; the low two bits of its field are others'.
    pub(crate) fn ctime_ns(&self) -> u32 {
        match 0x84 + 4 <= self.used_bytes() {
            true => le32(&self.raw, 0x84) >> 2,
            false => 0,
        }
    }

    /// Signed seconds; the low two bits of the extra field add multiples of 2^32.
    fn time(&self, at: usize, extra_at: usize) -> i64 {
        let seconds = i64::from(le32(&self.raw, at) as i32);
        if extra_at + 4 <= self.used_bytes() {
            seconds + (i64::from(le32(&self.raw, extra_at) & 3) << 32)
        } else {
            seconds
        }
    }

    /// Bytes of the inode that have fixed fields; attributes may follow.
    pub(crate) fn used_bytes(&self) -> usize {
        if self.raw.len() <= 128 {
            return 128;
        }
        128 + usize::from(le16(&self.raw, 0x80)).min(self.raw.len() - 128)
    }

    /// Whether the upper half of the checksum has a field.
    fn has_high_checksum(&self) -> bool {
        self.used_bytes() >= 0x84
    }

    fn stored_checksum(&self) -> u32 {
        let high = if self.has_high_checksum() {
            u32::from(le16(&self.raw, 0x82)) << 16
        } else {
            0
        };
        high | u32::from(le16(&self.raw, 0x7c))
    }

    fn checksum(&self, superblock: &Superblock) -> u32 {
        // A slot that was never used is zeros without a checksum.
        if self.raw.iter().all(|byte| *byte == 0) {
            return self.stored_checksum();
        }
        let sum = crc(superblock.seed, &self.number.to_le_bytes());
        let sum = crc(sum, &self.raw[0x64..0x68]);
        let mut bytes = self.raw.clone();
        bytes[0x7c..0x7e].fill(0);
        if self.has_high_checksum() {
            bytes[0x82..0x84].fill(0);
            crc(sum, &bytes)
        } else {
            crc(sum, &bytes) & 0xffff
        }
    }
}
