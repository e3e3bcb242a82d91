//! Making an overlay independent: overlay and base become one raw file.
//!
//! The base is shared by reflink where the file system can, otherwise copied without its holes;
//! then only what the overlay holds itself is written over it. The file appears under its name
//! whole and durable, or not at all. The overlay and its base stay as they are.

use crate::copy::{Used, copy_sparse, reflink};
use crate::device::BlockDevice;
use crate::durable::{DurableError, create_partial, ensure_removed, partial_path, rename_durably};
use crate::overlay::{Overlay, OverlayError, OwnRange};
use crate::progress::Progress;
use crate::raw::RawFile;
use crate::regular;
use crate::sparse::is_zero;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How much is written between two reports of progress.
const STEP_BYTES: u64 = 1 << 20;
/// Zeros are left out in pieces of this size, a block of most file systems.
const BLOCK_BYTES: usize = 4096;

/// What flattening did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flattened {
    /// How the base's part was made.
    pub base: Used,
    /// The size of the disk.
    pub size_bytes: u64,
    /// How much was copied from base and overlay.
    pub copied_bytes: u64,
}

/// Why an overlay was not flattened. Nothing is left under the final name.
#[derive(Debug, thiserror::Error)]
pub enum FlattenError {
    /// Something is there already.
    #[error("flatten to {path}: it exists already", path = .0.display())]
    Exists(PathBuf),
    /// The overlay can't be opened; a running machine has it, for example.
    #[error("open the overlay to flatten it")]
    Overlay(#[from] OverlayError),
    /// Reading or writing failed; often the disk is full.
    #[error("flatten to {path}", path = path.display())]
    Transfer {
        /// The target.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The file could not be made durable under its name.
    #[error("finish a flattened disk")]
    Durable(#[from] DurableError),
    /// The caller's progress asked to stop.
    #[error("flatten to {path}: it was cancelled", path = .0.display())]
    Cancelled(PathBuf),
}

/// Writes the disk that a guest sees through `overlay` and `base` to the new raw file `to`, mode
/// 0600. What a crash left under `to`'s partial name is replaced.
pub fn flatten(
    overlay: &Path,
    base: &Path,
    to: &Path,
    progress: &dyn Progress,
) -> Result<Flattened, FlattenError> {
    if to.symlink_metadata().is_ok() {
        return Err(FlattenError::Exists(to.to_owned()));
    }
    let overlay = Overlay::open_read_only(overlay, base)?;
    let partial = partial_path(to);
    let result = match fill(&overlay, base, &partial, progress) {
        Ok(Some(flattened)) => rename_durably(&partial, to)
            .map(|()| flattened)
            .map_err(FlattenError::from),
        Ok(None) => Err(FlattenError::Cancelled(to.to_owned())),
        Err(source) => Err(FlattenError::Transfer {
            path: to.to_owned(),
            source,
        }),
    };
    if result.is_err() {
        // The first error is the one to report.
        let _ = ensure_removed(&partial);
    }
    result
}

/// Fills the partial file and makes its bytes durable; `None` when cancelled.
fn fill(
    overlay: &Overlay,
    base: &Path,
    partial: &Path,
    progress: &dyn Progress,
) -> io::Result<Option<Flattened>> {
    let own = overlay.own_ranges()?;
    let own_bytes: u64 = own.iter().map(|range| length(data_of(range))).sum();
    let base = regular::open(base)?;
    let file = create_partial(partial).map_err(|error| error.source)?;
    let (used, base_bytes) = if reflink(&base, &file)? {
        (Used::Reflink, 0)
    } else {
        let base_progress =
            |done: u64, total: u64| progress.advance(done, total.saturating_add(own_bytes));
        match copy_sparse(&base, &file, base.metadata()?.len(), &base_progress)? {
            Some(copied) => (Used::Sparse, copied),
            None => return Ok(None),
        }
    };
    file.set_len(overlay.size_bytes())?;
    let target = RawFile::from_file(file, true)?;
    let total = base_bytes + own_bytes;
    let mut done = base_bytes;
    for range in &own {
        if let OwnRange::Zeros(range) = range {
            target.discard(range.start, length(Some(range)))?;
        } else if let Some(range) = data_of(range) {
            for at in range.clone().step_by(STEP_BYTES as usize) {
                let step = STEP_BYTES.min(range.end - at);
                write_over(overlay, &target, at, step)?;
                done += step;
                if progress.advance(done, total).is_break() {
                    return Ok(None);
                }
            }
        }
    }
    target.flush()?;
    Ok(Some(Flattened {
        base: used,
        size_bytes: overlay.size_bytes(),
        copied_bytes: total,
    }))
}

/// The range, if it holds data.
fn data_of(range: &OwnRange) -> Option<&Range<u64>> {
    match range {
        OwnRange::Data(range) => Some(range),
        OwnRange::Zeros(_) => None,
    }
}

fn length(range: Option<&Range<u64>>) -> u64 {
    range.map_or(0, |range| range.end - range.start)
}

/// Writes one piece of the overlay; blocks of zeros become holes.
fn write_over(overlay: &Overlay, target: &RawFile, at: u64, length: u64) -> io::Result<()> {
    let mut buf = vec![0; length as usize];
    overlay.read_at(at, &mut buf)?;
    let same = |a: &[u8], b: &[u8]| is_zero(a) == is_zero(b);
    let blocks: Vec<&[u8]> = buf.chunks(BLOCK_BYTES).collect();
    let mut offset = at;
    for run in blocks.chunk_by(|a, b| same(a, b)) {
        let bytes: usize = run.iter().map(|block| block.len()).sum();
        let from = (offset - at) as usize;
        if is_zero(run[0]) {
            target.discard(offset, bytes as u64)?;
        } else {
            target.write_at(offset, &buf[from..from + bytes])?;
        }
        offset += bytes as u64;
    }
    Ok(())
}
