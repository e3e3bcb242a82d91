//! The fixed structures of an ext4 filesystem: superblock, group descriptors, where an inode is.
//!
//! Ours, because the free-space, UUID and reading code has to agree with the disk and not with a
//! library's view of it. It parses and checks; it follows no path and reads no file.
//!
//! Source: Linux `Documentation/filesystems/ext4/{super,group_descr,blockgroup,checksums}.rst`.
//! All fields are little-endian.

use super::FsError;
use stampo_image::device::BlockDevice;

/// Where the superblock is, and how long it is.
pub(crate) const SUPERBLOCK_OFFSET: u64 = 1024;
pub(crate) const SUPERBLOCK_BYTES: usize = 1024;
const MAGIC: u16 = 0xEF53;
/// More groups than this (16 TiB at 4 KiB blocks, 8 million descriptors' worth) are refused.
const MAX_GROUPS: u64 = 1 << 17;

/// `s_feature_compat`
pub(crate) mod compat {
    pub(crate) const HAS_JOURNAL: u32 = 0x4;
    pub(crate) const SPARSE_SUPER2: u32 = 0x200;
}
/// `s_feature_incompat`
pub(crate) mod incompat {
    pub(crate) const COMPRESSION: u32 = 0x1;
    pub(crate) const FILETYPE: u32 = 0x2;
    pub(crate) const RECOVER: u32 = 0x4;
    pub(crate) const JOURNAL_DEV: u32 = 0x8;
    pub(crate) const META_BG: u32 = 0x10;
    pub(crate) const EXTENTS: u32 = 0x40;
    pub(crate) const BIT64: u32 = 0x80;
    pub(crate) const MMP: u32 = 0x100;
    pub(crate) const FLEX_BG: u32 = 0x200;
    pub(crate) const EA_INODE: u32 = 0x400;
    pub(crate) const DIRDATA: u32 = 0x1000;
    pub(crate) const CSUM_SEED: u32 = 0x2000;
    pub(crate) const LARGEDIR: u32 = 0x4000;
    pub(crate) const INLINE_DATA: u32 = 0x8000;
    pub(crate) const ENCRYPT: u32 = 0x1_0000;
    pub(crate) const CASEFOLD: u32 = 0x2_0000;
}
/// `s_feature_ro_compat`
pub(crate) mod ro_compat {
    pub(crate) const SPARSE_SUPER: u32 = 0x1;
    pub(crate) const LARGE_FILE: u32 = 0x2;
    pub(crate) const HUGE_FILE: u32 = 0x8;
    pub(crate) const GDT_CSUM: u32 = 0x10;
    pub(crate) const DIR_NLINK: u32 = 0x20;
    pub(crate) const EXTRA_ISIZE: u32 = 0x40;
    pub(crate) const QUOTA: u32 = 0x100;
    pub(crate) const BIGALLOC: u32 = 0x200;
    pub(crate) const METADATA_CSUM: u32 = 0x400;
    pub(crate) const READONLY: u32 = 0x1000;
    pub(crate) const PROJECT: u32 = 0x2000;
    pub(crate) const VERITY: u32 = 0x8000;
    pub(crate) const ORPHAN_PRESENT: u32 = 0x1_0000;
}
/// `bg_flags`
pub(crate) mod group_flags {
    pub(crate) const INODE_UNINIT: u16 = 0x1;
    pub(crate) const BLOCK_UNINIT: u16 = 0x2;
}

pub(crate) fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn wide(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// The kernel's CRC-32C: started with `seed`, and not inverted at the end.
pub(crate) fn crc(seed: u32, bytes: &[u8]) -> u32 {
    // The crate inverts before and after; undo both to continue from a raw state.
    !crc32c::crc32c_append(!seed, bytes)
}

/// A [`FsError::Damaged`] of the filesystem as a whole.
pub(crate) fn damaged(why: impl Into<String>) -> FsError {
    FsError::Damaged {
        path: "/".into(),
        why: why.into(),
    }
}

/// A superblock that passed its checks.
#[derive(Debug, Clone)]
pub(crate) struct Superblock {
    pub(crate) raw: Vec<u8>,
    pub(crate) block_size: u64,
    pub(crate) blocks: u64,
    pub(crate) inodes: u32,
    pub(crate) first_data_block: u64,
    pub(crate) blocks_per_group: u64,
    pub(crate) inodes_per_group: u32,
    pub(crate) inode_size: usize,
    pub(crate) descriptor_size: usize,
    pub(crate) compat: u32,
    pub(crate) incompat: u32,
    pub(crate) ro_compat: u32,
    pub(crate) uuid: uuid::Uuid,
    /// Start value of every metadata checksum.
    pub(crate) seed: u32,
    pub(crate) journal_inode: u32,
    pub(crate) state: u16,
}

impl Superblock {
    /// Reads and checks the primary superblock.
    pub(crate) fn read(device: &dyn BlockDevice) -> Result<Self, FsError> {
        if device.size_bytes() < SUPERBLOCK_OFFSET + SUPERBLOCK_BYTES as u64 {
            return Err(damaged("it is too small to be a filesystem"));
        }
        let mut raw = vec![0; SUPERBLOCK_BYTES];
        device.read_at(SUPERBLOCK_OFFSET, &mut raw)?;
        let superblock = Self::parse(raw)?;
        match superblock.blocks.checked_mul(superblock.block_size) {
            Some(bytes) if bytes <= device.size_bytes() => Ok(superblock),
            _ => Err(damaged("it is larger than its partition")),
        }
    }

    fn parse(raw: Vec<u8>) -> Result<Self, FsError> {
        if le16(&raw, 0x38) != MAGIC {
            return Err(damaged("there is no ext4 superblock"));
        }
        let incompat = le32(&raw, 0x60);
        let ro_compat = le32(&raw, 0x64);
        if ro_compat & ro_compat::METADATA_CSUM != 0 && le32(&raw, 0x3fc) != crc(!0, &raw[..0x3fc])
        {
            return Err(damaged("the checksum of the superblock is wrong"));
        }
        let log_block_size = le32(&raw, 0x18);
        if log_block_size > 6 {
            return Err(damaged("its block size is impossible"));
        }
        let uuid = uuid::Uuid::from_slice(&raw[0x68..0x78]).map_err(|e| damaged(e.to_string()))?;
        let seed = if incompat & incompat::CSUM_SEED != 0 {
            le32(&raw, 0x270)
        } else {
            crc(!0, uuid.as_bytes())
        };
        let has_64bit = incompat & incompat::BIT64 != 0;
        let dynamic = le32(&raw, 0x4c) >= 1;
        let superblock = Superblock {
            block_size: 1024 << log_block_size,
            blocks: wide(
                le32(&raw, 0x4),
                if has_64bit { le32(&raw, 0x150) } else { 0 },
            ),
            inodes: le32(&raw, 0x0),
            first_data_block: u64::from(le32(&raw, 0x14)),
            blocks_per_group: u64::from(le32(&raw, 0x20)),
            inodes_per_group: le32(&raw, 0x28),
            inode_size: if dynamic {
                usize::from(le16(&raw, 0x58))
            } else {
                128
            },
            descriptor_size: if has_64bit {
                usize::from(le16(&raw, 0xfe))
            } else {
                32
            },
            compat: le32(&raw, 0x5c),
            incompat,
            ro_compat,
            uuid,
            seed,
            journal_inode: le32(&raw, 0xe0),
            state: le16(&raw, 0x3a),
            raw,
        };
        superblock.check_geometry()?;
        Ok(superblock)
    }

    /// Whether its journal is said to be on another device: no inode, or the id of that device.
    pub(crate) fn has_outer_journal(&self) -> bool {
        const HAS_JOURNAL: u32 = 0x4;
        let named = self.raw[0xd0..0xe0].iter().any(|byte| *byte != 0);
        self.compat & HAS_JOURNAL != 0 && (self.journal_inode == 0 || named)
    }

    fn check_geometry(&self) -> Result<(), FsError> {
        let bits_per_block = self.block_size * 8;
        // With bigalloc a bit stands for a cluster, so a group may have more blocks than bits.
        let most_blocks = if self.has_ro_compat(ro_compat::BIGALLOC) {
            bits_per_block << 16
        } else {
            bits_per_block
        };
        let sound = self.blocks > self.first_data_block
            && (1..=most_blocks).contains(&self.blocks_per_group)
            && (1..=bits_per_block).contains(&u64::from(self.inodes_per_group))
            && self.inode_size.is_power_of_two()
            && (128..=self.block_size as usize).contains(&self.inode_size)
            && (32..=self.block_size as usize).contains(&self.descriptor_size)
            && self.group_count() <= MAX_GROUPS
            && u64::from(self.inodes) <= self.group_count() * u64::from(self.inodes_per_group);
        if sound {
            Ok(())
        } else {
            Err(damaged("its geometry makes no sense"))
        }
    }

    pub(crate) fn has_incompat(&self, bits: u32) -> bool {
        self.incompat & bits != 0
    }

    pub(crate) fn has_ro_compat(&self, bits: u32) -> bool {
        self.ro_compat & bits != 0
    }

    pub(crate) fn has_checksums(&self) -> bool {
        self.has_ro_compat(ro_compat::METADATA_CSUM)
    }

    pub(crate) fn group_count(&self) -> u64 {
        (self.blocks - self.first_data_block).div_ceil(self.blocks_per_group)
    }

    /// The blocks of a group; the last one may be shorter.
    pub(crate) fn group_blocks(&self, group: u64) -> std::ops::Range<u64> {
        let start = self.first_data_block + group * self.blocks_per_group;
        start..(start + self.blocks_per_group).min(self.blocks)
    }

    /// Whether a group begins with a copy of the superblock (and of the descriptors).
    pub(crate) fn group_has_superblock(&self, group: u64) -> bool {
        let power_of = |base: u64| {
            let mut power = base;
            while power < group {
                power *= base;
            }
            power == group
        };
        if group == 0 {
            true
        } else if self.compat & compat::SPARSE_SUPER2 != 0 {
            [0x24c, 0x250]
                .iter()
                .any(|&at| u64::from(le32(&self.raw, at)) == group)
        } else {
            !self.has_ro_compat(ro_compat::SPARSE_SUPER)
                || group == 1
                || [3, 5, 7].into_iter().any(power_of)
        }
    }

    /// Blocks of the descriptor table, with those reserved for its growth.
    pub(crate) fn descriptor_blocks(&self) -> u64 {
        let table = (self.group_count() * self.descriptor_size as u64).div_ceil(self.block_size);
        table + u64::from(le16(&self.raw, 0xce))
    }

    /// Where the descriptor of a group is, in bytes.
    pub(crate) fn descriptor_offset(&self, group: u64) -> u64 {
        let per_block = self.block_size / self.descriptor_size as u64;
        let table_block = group / per_block;
        let inside = group % per_block * self.descriptor_size as u64;
        let first_meta = u64::from(le32(&self.raw, 0x104));
        let block = if self.has_incompat(incompat::META_BG) && table_block >= first_meta {
            let first_group = table_block * per_block;
            let start = self.group_blocks(first_group).start;
            start + u64::from(self.group_has_superblock(first_group))
        } else {
            self.first_data_block + 1 + table_block
        };
        block * self.block_size + inside
    }

    /// Gives the superblock its checksum again after a change of `raw`.
    pub(crate) fn stamp(raw: &mut [u8]) {
        if le32(raw, 0x64) & ro_compat::METADATA_CSUM != 0 {
            let sum = crc(!0, &raw[..0x3fc]);
            raw[0x3fc..0x400].copy_from_slice(&sum.to_le_bytes());
        }
    }
}

/// One block group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    pub(crate) block_bitmap: u64,
    pub(crate) inode_bitmap: u64,
    pub(crate) inode_table: u64,
    pub(crate) free_blocks: u32,
    pub(crate) free_inodes: u32,
    pub(crate) flags: u16,
}

impl Group {
    /// Reads and checks every descriptor.
    pub(crate) fn read_all(
        device: &dyn BlockDevice,
        superblock: &Superblock,
    ) -> Result<Vec<Group>, FsError> {
        let mut groups = Vec::new();
        let mut block = (u64::MAX, vec![0; superblock.block_size as usize]);
        for number in 0..superblock.group_count() {
            let offset = superblock.descriptor_offset(number);
            let start = offset - offset % superblock.block_size;
            if block.0 != start {
                device.read_at(start, &mut block.1)?;
                block.0 = start;
            }
            let inside = (offset - start) as usize;
            let raw = &block.1[inside..inside + superblock.descriptor_size];
            groups.push(Self::parse(superblock, number as u32, raw)?);
        }
        Ok(groups)
    }

    fn parse(superblock: &Superblock, number: u32, raw: &[u8]) -> Result<Group, FsError> {
        if superblock.has_checksums() && le16(raw, 0x1e) != Self::checksum(superblock, number, raw)
        {
            return Err(damaged(format!(
                "the checksum of block group {number} is wrong"
            )));
        }
        let high = |at: usize| if raw.len() >= 64 { le32(raw, at) } else { 0 };
        let high16 = |at: usize| {
            if raw.len() >= 64 {
                u32::from(le16(raw, at)) << 16
            } else {
                0
            }
        };
        let group = Group {
            block_bitmap: wide(le32(raw, 0x0), high(0x20)),
            inode_bitmap: wide(le32(raw, 0x4), high(0x24)),
            inode_table: wide(le32(raw, 0x8), high(0x28)),
            free_blocks: u32::from(le16(raw, 0xc)) | high16(0x2c),
            free_inodes: u32::from(le16(raw, 0xe)) | high16(0x2e),
            flags: le16(raw, 0x12),
        };
        let table_end = group
            .inode_table
            .checked_add(inode_table_blocks(superblock));
        let inside = |block: u64| block >= superblock.first_data_block && block < superblock.blocks;
        let sound = inside(group.block_bitmap)
            && inside(group.inode_bitmap)
            && inside(group.inode_table)
            && table_end.is_some_and(|end| end <= superblock.blocks);
        if sound {
            Ok(group)
        } else {
            Err(damaged(format!("block group {number} is elsewhere")))
        }
    }

    /// The low half of the CRC of the group's number and its descriptor without the checksum.
    fn checksum(superblock: &Superblock, number: u32, raw: &[u8]) -> u16 {
        let mut sum = crc(superblock.seed, &number.to_le_bytes());
        sum = crc(sum, &raw[..0x1e]);
        sum = crc(sum, &[0; 2]);
        crc(sum, &raw[0x20..]) as u16
    }
}

/// Blocks of one group's inode table.
pub(crate) fn inode_table_blocks(superblock: &Superblock) -> u64 {
    (u64::from(superblock.inodes_per_group) * superblock.inode_size as u64)
        .div_ceil(superblock.block_size)
}

/// Where inode `number` is, in bytes.
pub(crate) fn inode_offset(
    superblock: &Superblock,
    groups: &[Group],
    number: u32,
) -> Result<u64, FsError> {
    if number == 0 || number > superblock.inodes {
        return Err(damaged(format!("inode {number} does not exist")));
    }
    let group = (number - 1) / superblock.inodes_per_group;
    let index = (number - 1) % superblock.inodes_per_group;
    let table = groups
        .get(group as usize)
        .ok_or_else(|| damaged(format!("inode {number} is in no block group")))?
        .inode_table;
    Ok(table * superblock.block_size + u64::from(index) * superblock.inode_size as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_kernels() {
        // crc32c("123456789") is 0xE3069283 with both inversions (RFC 3720, appendix B.4).
        assert_eq!(!crc(!0, b"123456789"), 0xE306_9283);
        assert_eq!(crc(crc(!0, b"1234"), b"56789"), crc(!0, b"123456789"));
    }

    #[test]
    fn anything_else_is_no_superblock() {
        assert!(Superblock::parse(vec![0; SUPERBLOCK_BYTES]).is_err());
        assert!(Superblock::parse(vec![0xff; SUPERBLOCK_BYTES]).is_err());
    }
}
