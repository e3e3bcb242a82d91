//! The identity of a disk: hashing its leaves, verifying them, hashing again what changed.
//!
//! [`index`] defines the image-id and the leaf index; this file reads disks, on all processors.
//! It does not decide what happens to an image that fails: the caller quarantines or reports it.

mod index;
mod medium;

pub use index::{IndexError, LEAF_BYTES, LeafHash, LeafIndex};
pub use medium::Pace;

use crate::device::BlockDevice;
use crate::progress::Progress;
use crate::raw::RawFile;
use crate::sparse::{data_ranges, is_zero};
use medium::Medium;
use stampo_core::ids::ImageId;
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// More threads than this gain nothing: memory bandwidth is the limit.
const MAX_THREADS: usize = 16;

/// Why a disk was not hashed or does not match its record.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file can't be opened or is not a disk.
    #[error("open the image {path}", path = path.display())]
    Open {
        /// The image.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The device can't be read.
    #[error("read a disk at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// What went wrong.
        source: io::Error,
    },
    /// The caller's progress asked to stop.
    #[error("hash a disk: it was cancelled")]
    Cancelled,
    /// The disk has another size than recorded.
    #[error("verify a disk: it has {found_bytes} bytes, its record says {recorded_bytes}")]
    Size {
        /// What its record says.
        recorded_bytes: u64,
        /// What it has.
        found_bytes: u64,
    },
    /// The content differs from the record.
    #[error(
        "verify a disk: the content at byte {offset} (1 MiB leaf {leaf}) is not what was recorded"
    )]
    Corrupt {
        /// Number of the first leaf that differs.
        leaf: u64,
        /// Where it begins.
        offset: u64,
    },
}

/// The image-id of the raw disk at `path`.
pub fn image_id(path: &Path, progress: &dyn Progress) -> Result<ImageId, IdentityError> {
    Ok(leaf_index(path, progress)?.image_id())
}

/// The leaf index of the raw disk at `path`. Holes are skipped.
pub fn leaf_index(path: &Path, progress: &dyn Progress) -> Result<LeafIndex, IdentityError> {
    let (raw, data) = open_with_data(path)?;
    let leaves = hash_leaves(&raw, &data, progress)?;
    Ok(LeafIndex::new(raw.size_bytes(), leaves))
}

/// As [`leaf_index`], read from the medium as far as the system lets one, at the `pace` given.
pub fn leaf_index_of_medium(
    path: &Path,
    pace: &Pace,
    progress: &dyn Progress,
) -> Result<LeafIndex, IdentityError> {
    let (raw, data) = open_with_data(path)?;
    let leaves = hash_leaves(&Medium::new(&raw, pace), &data, progress)?;
    Ok(LeafIndex::new(raw.size_bytes(), leaves))
}

/// The raw disk at `path`, and the numbers of the leaves that may hold data.
fn open_with_data(path: &Path) -> Result<(RawFile, Vec<u64>), IdentityError> {
    let open = || {
        let raw = RawFile::open_read_only(path)?;
        let data = data_ranges(raw.file(), raw.size_bytes())?;
        Ok((raw, touched_leaves(&data)))
    };
    open().map_err(|source| IdentityError::Open {
        path: path.to_owned(),
        source,
    })
}

/// The leaf index of any device, an overlay for example. Everything is read.
pub fn leaf_index_of_device(
    device: &dyn BlockDevice,
    progress: &dyn Progress,
) -> Result<LeafIndex, IdentityError> {
    let all = 0..device.size_bytes();
    let leaves = hash_leaves(device, &touched_leaves(&[all]), progress)?;
    Ok(LeafIndex::new(device.size_bytes(), leaves))
}

/// Compares the raw disk at `path` with its record; `Corrupt` names the first leaf that differs.
pub fn verify(
    path: &Path,
    record: &LeafIndex,
    progress: &dyn Progress,
) -> Result<(), IdentityError> {
    let found = leaf_index(path, progress)?;
    if found.size_bytes() != record.size_bytes() {
        return Err(IdentityError::Size {
            recorded_bytes: record.size_bytes(),
            found_bytes: found.size_bytes(),
        });
    }
    match record.first_difference(&found) {
        None => Ok(()),
        Some(leaf) => Err(IdentityError::Corrupt {
            leaf,
            offset: leaf * LEAF_BYTES,
        }),
    }
}

/// The index of the raw disk at `path`, given `before`, its index from before the bytes in
/// `changed` changed.
///
/// Reads only the leaves that `changed` touches and what a new size adds, holes left out. The caller
/// vouches that nothing else changed; [`verify`] finds out.
pub fn update(
    before: &LeafIndex,
    path: &Path,
    changed: &[Range<u64>],
    progress: &dyn Progress,
) -> Result<LeafIndex, IdentityError> {
    let (raw, data) = open_with_data(path)?;
    let size_bytes = raw.size_bytes();
    let mut ranges: Vec<Range<u64>> = changed
        .iter()
        .map(|r| r.start..r.end.min(size_bytes))
        .filter(|r| !r.is_empty())
        .collect();
    if size_bytes != before.size_bytes() {
        // The leaf that held the old end has another length now; a new end may cut one short.
        let from = size_bytes.min(before.size_bytes()) / LEAF_BYTES * LEAF_BYTES;
        ranges.push(from..size_bytes);
    }
    let touched = touched_leaves(&ranges);
    let end = size_bytes.div_ceil(LEAF_BYTES);
    let stays = |number: &u64| *number < end && touched.binary_search(number).is_err();
    let is_data = |number: &&u64| data.binary_search(number).is_ok();
    let to_read: Vec<u64> = touched.iter().filter(is_data).copied().collect();
    let mut leaves = hash_leaves(&raw, &to_read, progress)?;
    leaves.extend(before.leaves().iter().filter(|(number, _)| stays(number)));
    Ok(LeafIndex::new(size_bytes, leaves))
}

/// The numbers of all leaves that share a byte with `ranges`, rising.
fn touched_leaves(ranges: &[Range<u64>]) -> Vec<u64> {
    let numbers: BTreeSet<u64> = ranges
        .iter()
        .filter(|r| !r.is_empty())
        .flat_map(|r| r.start / LEAF_BYTES..r.end.div_ceil(LEAF_BYTES))
        .collect();
    numbers.into_iter().collect()
}

/// What the threads of one job share.
struct Job<'a> {
    device: &'a dyn BlockDevice,
    numbers: &'a [u64],
    progress: &'a dyn Progress,
    next: AtomicUsize,
    done_bytes: AtomicU64,
    total_bytes: u64,
    stop: AtomicBool,
}

/// The hashes of those leaves among `numbers` that are not zero, in no order.
fn hash_leaves(
    device: &dyn BlockDevice,
    numbers: &[u64],
    progress: &dyn Progress,
) -> Result<Vec<(u64, LeafHash)>, IdentityError> {
    let total_bytes = numbers.iter().map(|n| leaf_length(device, *n)).sum();
    let job = Job {
        device,
        numbers,
        progress,
        next: AtomicUsize::new(0),
        done_bytes: AtomicU64::new(0),
        total_bytes,
        stop: AtomicBool::new(false),
    };
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
    let threads = processors.min(MAX_THREADS).min(numbers.len());
    let results: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| job.work())).collect();
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|e| std::panic::resume_unwind(e))
            })
            .collect()
    });
    let mut leaves = Vec::with_capacity(numbers.len());
    for result in results {
        leaves.extend(result?);
    }
    Ok(leaves)
}

/// The length of a leaf: 1 MiB but for the last.
fn leaf_length(device: &dyn BlockDevice, number: u64) -> u64 {
    LEAF_BYTES.min(device.size_bytes().saturating_sub(number * LEAF_BYTES))
}

impl Job<'_> {
    /// Takes leaves until none is left; what one thread does.
    fn work(&self) -> Result<Vec<(u64, LeafHash)>, IdentityError> {
        let mut buf = vec![0; LEAF_BYTES as usize];
        let mut leaves = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(number) = self.numbers.get(at) else {
                break;
            };
            let hash = self.hash_leaf(*number, &mut buf);
            if hash.is_err() {
                self.stop.store(true, Ordering::Relaxed);
            }
            leaves.extend(hash?.map(|hash| (*number, hash)));
        }
        Ok(leaves)
    }

    /// The hash of one leaf; `None` when it is zero.
    fn hash_leaf(&self, number: u64, buf: &mut [u8]) -> Result<Option<LeafHash>, IdentityError> {
        let offset = number * LEAF_BYTES;
        let length = leaf_length(self.device, number);
        let buf = &mut buf[..length as usize];
        self.device
            .read_at(offset, buf)
            .map_err(|source| IdentityError::Read { offset, source })?;
        let hash = (!is_zero(buf)).then(|| *blake3::hash(buf).as_bytes());
        let done = self.done_bytes.fetch_add(length, Ordering::Relaxed) + length;
        if self.progress.advance(done, self.total_bytes).is_break() {
            return Err(IdentityError::Cancelled);
        }
        Ok(hash)
    }
}
