//! The leaf index of an image, the image-id that follows from it, and its form on disk.
//!
//! # The image-id
//!
//! It names a disk's logical content: what a guest reads, not how it is stored. The disk is cut
//! into leaves of 1 MiB; the last one is as short as the disk makes it and is not padded. The id
//! is BLAKE3 (256 bits, no key) over this byte string, all integers little-endian:
//!
//! | bytes | content |
//! |---|---|
//! | 16 | `stampo image v1` and a line feed |
//! | 8 | size of the disk in bytes |
//! | 40 × n | for each leaf that has a non-zero byte, in rising order: its number (8 bytes), BLAKE3 of its bytes (32) |
//!
//! A leaf of zeros is left out, whether it is a hole, zeros that use space, or past the end of
//! a base. So the id does not depend on format, holes, compression or packing.
//!
//! This file reads no disk.

use stampo_core::ids::ImageId;
use std::collections::BTreeSet;
use std::ops::Range;

/// Bytes of a leaf.
pub const LEAF_BYTES: u64 = 1 << 20;
/// What an image-id's byte string begins with.
const ID_TAG: &[u8; 16] = b"stampo image v1\n";
/// What an index on disk begins with.
const INDEX_TAG: &[u8; 16] = b"stampo leaves 1\n";
/// Bytes of one entry on disk: a leaf's number and its hash.
const ENTRY_BYTES: usize = 40;
/// Bytes before the entries on disk: tag, size, number of entries.
const HEAD_BYTES: usize = 32;

/// BLAKE3 of a leaf's bytes.
pub type LeafHash = [u8; 32];

/// The hash of each non-zero leaf of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafIndex {
    size_bytes: u64,
    /// Leaf numbers rise strictly.
    leaves: Vec<(u64, LeafHash)>,
}

/// Bytes that are not a leaf index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Not an index, or one of a later form.
    #[error("read a leaf index: it does not begin with the tag of one")]
    Tag,
    /// Cut short or with something behind it.
    #[error("read a leaf index: its length does not fit its number of leaves")]
    Length,
    /// Some byte has changed.
    #[error("read a leaf index: its own checksum does not match")]
    Checksum,
    /// Leaves out of order or past the end of the disk.
    #[error("read a leaf index: entry {0} is out of order or past the end of the disk")]
    Order(usize),
}

impl LeafIndex {
    /// An index of a disk of `size_bytes`; `leaves` in any order, without leaves of zeros.
    pub(super) fn new(size_bytes: u64, mut leaves: Vec<(u64, LeafHash)>) -> Self {
        leaves.sort_unstable_by_key(|(number, _)| *number);
        LeafIndex { size_bytes, leaves }
    }

    /// The disk's size.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Number and hash of each leaf that is not zero, in rising order.
    pub fn leaves(&self) -> &[(u64, LeafHash)] {
        &self.leaves
    }

    /// The id of the image with this content.
    pub fn image_id(&self) -> ImageId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(ID_TAG);
        hasher.update(&self.size_bytes.to_le_bytes());
        for (number, hash) in &self.leaves {
            hasher.update(&number.to_le_bytes());
            hasher.update(hash);
        }
        ImageId::from_bytes(*hasher.finalize().as_bytes())
    }

    /// The number of the first leaf in which `self` and `other` differ.
    pub fn first_difference(&self, other: &LeafIndex) -> Option<u64> {
        let pairs = self.leaves.iter().zip(&other.leaves);
        if let Some((a, b)) = pairs.into_iter().find(|(a, b)| a != b) {
            return Some(a.0.min(b.0));
        }
        let common = self.leaves.len().min(other.leaves.len());
        let longer = if self.leaves.len() > common {
            self
        } else {
            other
        };
        longer.leaves.get(common).map(|(number, _)| *number)
    }

    /// The bytes of the disk in which `self` and `other` differ: whole leaves, neighbours joined,
    /// rising. Of disks of different sizes also what only the longer one has.
    pub fn differences(&self, other: &LeafIndex) -> Vec<Range<u64>> {
        let end = self.size_bytes.max(other.size_bytes);
        let common = self.size_bytes.min(other.size_bytes);
        let (mine, others): (BTreeSet<_>, BTreeSet<_>) =
            (self.leaves.iter().collect(), other.leaves.iter().collect());
        let leaves = mine.symmetric_difference(&others);
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let tail = (common < end).then_some(common..end);
        let changed = leaves.map(|(number, _)| {
            let start = number * LEAF_BYTES;
            start..(start + LEAF_BYTES).min(end)
        });
        for range in changed.chain(tail) {
            match ranges.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => ranges.push(range),
            }
        }
        ranges
    }

    /// The index as bytes: tag (16), disk size (8), number of entries (8), the entries (40 each:
    /// leaf number 8, hash 32), and BLAKE3 of all that (32). Integers are little-endian.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.leaves.len() * ENTRY_BYTES + 32);
        bytes.extend_from_slice(INDEX_TAG);
        bytes.extend_from_slice(&self.size_bytes.to_le_bytes());
        bytes.extend_from_slice(&(self.leaves.len() as u64).to_le_bytes());
        for (number, hash) in &self.leaves {
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.extend_from_slice(hash);
        }
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        bytes
    }

    /// Reads what [`LeafIndex::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, IndexError> {
        if !bytes.starts_with(INDEX_TAG) {
            return Err(IndexError::Tag);
        }
        let body_length = bytes.len().checked_sub(32).ok_or(IndexError::Length)?;
        let (body, checksum) = bytes.split_at(body_length);
        let entries = body.get(HEAD_BYTES..).ok_or(IndexError::Length)?;
        let (size_bytes, count) = (le_u64(&body[16..24]), le_u64(&body[24..32]));
        let fits = count.checked_mul(ENTRY_BYTES as u64) == Some(entries.len() as u64);
        if !fits {
            return Err(IndexError::Length);
        }
        if blake3::hash(body).as_bytes() != checksum {
            return Err(IndexError::Checksum);
        }
        let leaves = decode_entries(entries, size_bytes)?;
        Ok(LeafIndex { size_bytes, leaves })
    }
}

/// The entries of an index, checked to rise and to lie on the disk.
fn decode_entries(entries: &[u8], size_bytes: u64) -> Result<Vec<(u64, LeafHash)>, IndexError> {
    let end = size_bytes.div_ceil(LEAF_BYTES);
    let mut leaves: Vec<(u64, LeafHash)> = Vec::with_capacity(entries.len() / ENTRY_BYTES);
    for (at, entry) in entries.chunks_exact(ENTRY_BYTES).enumerate() {
        let number = le_u64(&entry[..8]);
        let rises = leaves.last().is_none_or(|(before, _)| *before < number);
        if !rises || number >= end {
            return Err(IndexError::Order(at));
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(&entry[8..]);
        leaves.push((number, hash));
    }
    Ok(leaves)
}

/// Eight little-endian bytes as a number.
fn le_u64(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> LeafIndex {
        LeafIndex::new(
            10 * LEAF_BYTES + 5,
            vec![(10, [3; 32]), (0, [1; 32]), (7, [2; 32])],
        )
    }

    #[test]
    fn the_id_is_the_hash_of_the_documented_bytes() {
        let mut bytes = b"stampo image v1\n".to_vec();
        bytes.extend_from_slice(&(10 * LEAF_BYTES + 5).to_le_bytes());
        for (number, byte) in [(0_u64, 1), (7, 2), (10, 3)] {
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.extend_from_slice(&[byte; 32]);
        }
        assert_eq!(
            sample().image_id(),
            ImageId::from_bytes(*blake3::hash(&bytes).as_bytes())
        );
    }

    #[test]
    fn an_index_survives_its_form_on_disk_and_no_damaged_one_is_read() {
        let bytes = sample().encode();
        assert_eq!(LeafIndex::decode(&bytes), Ok(sample()));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            assert!(LeafIndex::decode(&damaged).is_err(), "byte {at} changed");
            assert!(LeafIndex::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn leaves_out_of_order_or_past_the_end_are_refused() {
        for leaves in [vec![(3, [1; 32]), (3, [1; 32])], vec![(11, [1; 32])]] {
            let index = LeafIndex {
                size_bytes: 10 * LEAF_BYTES + 5,
                leaves,
            };
            assert!(matches!(
                LeafIndex::decode(&index.encode()),
                Err(IndexError::Order(_))
            ));
        }
    }

    #[test]
    fn the_first_difference_is_found_where_a_leaf_changed_appeared_or_went() {
        let with =
            |leaves: &[(u64, LeafHash)]| LeafIndex::new(10 * LEAF_BYTES + 5, leaves.to_vec());
        let changed = with(&[(0, [1; 32]), (7, [9; 32]), (10, [3; 32])]);
        let appeared = with(&[(0, [1; 32]), (4, [9; 32]), (7, [2; 32]), (10, [3; 32])]);
        let gone = with(&[(0, [1; 32]), (7, [2; 32])]);
        for (other, expected) in [(changed, 7), (appeared, 4), (gone, 10)] {
            assert_eq!(sample().first_difference(&other), Some(expected));
            assert_eq!(other.first_difference(&sample()), Some(expected));
        }
        assert_eq!(sample().first_difference(&sample()), None);
    }

    #[test]
    fn differences_are_whole_leaves_joined_and_include_another_size() {
        let leaves =
            |size_bytes, leaves: &[(u64, LeafHash)]| LeafIndex::new(size_bytes, leaves.to_vec());
        let size = 10 * LEAF_BYTES + 5;
        let other = leaves(size, &[(0, [1; 32]), (6, [8; 32]), (7, [9; 32])]);
        let expected = [6 * LEAF_BYTES..8 * LEAF_BYTES, 10 * LEAF_BYTES..size];
        assert_eq!(sample().differences(&other), expected);
        assert_eq!(other.differences(&sample()), expected);
        let longer = leaves(size + 7, sample().leaves());
        assert_eq!(sample().differences(&longer), vec![size..size + 7; 1]);
        assert!(sample().differences(&sample()).is_empty());
    }
}
