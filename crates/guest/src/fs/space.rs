//! How full an ext4 filesystem is, whether it was left in order, and what its free space holds.
//!
//! Reads only. Removed files stay readable in free blocks until those are discarded; this counts
//! the free blocks that are not zero. It does not say what is in them.

use super::FsError;
use super::layout::incompat;
use super::volume::Volume;
use serde::{Deserialize, Serialize};
use stampo_image::device::BlockDevice;
use stampo_image::sparse::is_zero;
use std::sync::Arc;

/// `s_state`: unmounted in order; errors were seen.
const STATE_CLEAN: u16 = 1;
const STATE_ERRORS: u16 = 2;
/// How much is read at once.
const PIECE_BYTES: u64 = 1 << 20;
/// Most free bytes with data that are read; more are not looked at.
const MAX_READ_BYTES: u64 = 2 << 30;

/// The space of a filesystem.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// The whole filesystem in bytes.
    pub size_bytes: u64,
    /// What is free, in bytes, as its groups say.
    pub free_bytes: u64,
    /// Whether it was unmounted in order.
    pub is_clean: bool,
    /// Whether its journal still holds changes.
    pub needs_recovery: bool,
    /// Whether the kernel saw errors in it.
    pub has_errors: bool,
    /// Free bytes that are not zero, in whole blocks; `None` when that could not be found out.
    pub left_over_bytes: Option<u64>,
    /// Why it could not be found out.
    pub why_unknown: Option<String>,
}

/// Reads the space of the filesystem on `device`, a partition.
///
/// # Errors
/// When the filesystem's structures can't be read.
pub fn space(device: Arc<dyn BlockDevice>) -> Result<Space, FsError> {
    let volume = Volume::open(device)?;
    let superblock = &volume.superblock;
    let free: u64 = volume
        .groups
        .iter()
        .map(|group| u64::from(group.free_blocks))
        .sum();
    let needs_recovery = superblock.has_incompat(incompat::RECOVER);
    let left_over = if needs_recovery {
        // The bitmaps are not those that the journal leads to.
        Err("the filesystem was not unmounted: its journal holds changes".to_owned())
    } else {
        left_over_bytes(&volume)
    };
    Ok(Space {
        size_bytes: superblock.blocks.saturating_mul(superblock.block_size),
        free_bytes: free.saturating_mul(superblock.block_size),
        is_clean: superblock.state & STATE_CLEAN != 0,
        needs_recovery,
        has_errors: superblock.state & STATE_ERRORS != 0,
        left_over_bytes: left_over.as_ref().ok().copied(),
        why_unknown: left_over.err(),
    })
}

fn left_over_bytes(volume: &Volume) -> Result<u64, String> {
    let block_size = volume.superblock.block_size;
    let text = |error: &dyn std::error::Error| format!("failed to {error}");
    let (mut found, mut read) = (0u64, 0u64);
    let mut buffer = vec![0; PIECE_BYTES as usize];
    for range in volume.free_blocks().map_err(|e| text(&e))? {
        let end = range.end * block_size;
        let mut at = range.start * block_size;
        while at < end {
            // A hole reads as zeros.
            let next = volume.device.next_data(at);
            match next.map_err(|e| format!("failed to read the disk: {e}"))? {
                Some(next) if next < end => at = next / block_size * block_size,
                _ => break,
            }
            let length = PIECE_BYTES.min(end - at);
            let piece = &mut buffer[..length as usize];
            let done = volume.device.read_at(at, piece);
            done.map_err(|e| format!("failed to read the disk: {e}"))?;
            let blocks = piece.chunks(block_size as usize);
            found += blocks.filter(|block| !is_zero(block)).count() as u64 * block_size;
            at += length;
            read += length;
            if read >= MAX_READ_BYTES {
                return Err(format!("only the first {read} bytes of it were read"));
            }
        }
    }
    Ok(found)
}
