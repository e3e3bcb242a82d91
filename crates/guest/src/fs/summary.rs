//! The free-block and free-inode counts of an ext4 superblock, brought up to date.
//!
//! While a filesystem is mounted the kernel keeps these two numbers in memory and writes them on
//! unmounting, so after the replay of an unclean journal they are stale. The group descriptors
//! are right then; this adds them up. It changes nothing else.

use super::FsError;
use super::layout::{Group, SUPERBLOCK_OFFSET, Superblock, incompat, le32};
use stampo_image::device::BlockDevice;

/// `s_free_blocks_count_lo`, `s_free_inodes_count`, `s_free_blocks_count_hi`.
const FREE_BLOCKS_LOW: usize = 0xc;
const FREE_INODES: usize = 0x10;
const FREE_BLOCKS_HIGH: usize = 0x158;

/// Makes the superblock's counts the sum of the groups' counts. Unchanged counts write nothing.
pub(crate) fn refresh(device: &dyn BlockDevice) -> Result<(), FsError> {
    let mut superblock = Superblock::read(device)?;
    let groups = Group::read_all(device, &superblock)?;
    let blocks: u64 = groups
        .iter()
        .map(|group| u64::from(group.free_blocks))
        .sum();
    let inodes: u32 = groups
        .iter()
        .map(|group| group.free_inodes)
        .fold(0, u32::wrapping_add);
    let wanted = [
        (FREE_BLOCKS_LOW, blocks as u32),
        (FREE_INODES, inodes),
        (FREE_BLOCKS_HIGH, (blocks >> 32) as u32),
    ];
    let has_high = superblock.has_incompat(incompat::BIT64);
    let mut changed = false;
    for (at, value) in wanted {
        if (at != FREE_BLOCKS_HIGH || has_high) && le32(&superblock.raw, at) != value {
            superblock.raw[at..at + 4].copy_from_slice(&value.to_le_bytes());
            changed = true;
        }
    }
    if changed {
        Superblock::stamp(&mut superblock.raw);
        device.write_at(SUPERBLOCK_OFFSET, &superblock.raw)?;
    }
    Ok(())
}
