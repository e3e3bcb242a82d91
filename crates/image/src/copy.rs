//! Copying a disk image: sharing its blocks where the file system can, sparsely where it can't.
//!
//! The copy appears under its name whole, or not at all. It is not durable: every copy is edited
//! before it is given its last name, and waiting for its bytes twice would gain nothing. This file does not interpret
//! the bytes; an overlay is made independent by [`crate::flatten`].

use crate::durable::{DurableError, create_partial, ensure_removed, partial_path};
use crate::progress::Progress;
use crate::regular;
use crate::sparse::data_ranges;
use rustix::fs::{copy_file_range, ioctl_ficlone};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How much is copied between two reports of progress.
const STEP_BYTES: u64 = 8 << 20;

/// How an image may be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By reflink where the file system has it, otherwise sparsely.
    Auto,
    /// By reflink or not at all.
    Reflink,
    /// Byte by byte, holes left out, even where a reflink could be made.
    Sparse,
}

/// How an image was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Used {
    /// Both files share their blocks until one of them is written to.
    Reflink,
    /// The data was copied, holes were left out.
    Sparse,
}

/// What a copy did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// How.
    pub used: Used,
    /// The size of the image.
    pub size_bytes: u64,
    /// How much was really copied; 0 for a reflink.
    pub copied_bytes: u64,
}

/// Why an image was not copied. Nothing is left under the final name.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Something is there already.
    #[error("copy an image to {path}: it exists already", path = .0.display())]
    Exists(PathBuf),
    /// The source can't be opened or is not a regular file.
    #[error("open the image {path}", path = path.display())]
    Source {
        /// The source.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// [`Method::Reflink`] was asked for and the file system has none.
    #[error("reflink {path}: its file system can't share blocks between files", path = .0.display())]
    NoReflink(PathBuf),
    /// Reading or writing failed; often the disk is full.
    #[error("copy an image to {path}", path = path.display())]
    Transfer {
        /// The target.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The copy could not be begun.
    #[error("begin the copy of an image")]
    Begin(#[source] DurableError),
    /// The caller's progress asked to stop.
    #[error("copy an image to {path}: it was cancelled", path = .0.display())]
    Cancelled(PathBuf),
}

/// Copies the regular file `from` to the new file `to`, mode 0600.
///
/// What a crashed copy left under `to`'s partial name is replaced. On an error it is removed.
pub fn copy_image(
    from: &Path,
    to: &Path,
    method: Method,
    progress: &dyn Progress,
) -> Result<Copied, CopyError> {
    if to.symlink_metadata().is_ok() {
        return Err(CopyError::Exists(to.to_owned()));
    }
    let partial = partial_path(to);
    let result = copy_to_partial(from, to, &partial, method, progress).and_then(|copied| {
        std::fs::rename(&partial, to)
            .map(|()| copied)
            .map_err(|source| CopyError::Transfer {
                path: to.to_owned(),
                source,
            })
    });
    if result.is_err() {
        // The first error is the one to report.
        let _ = ensure_removed(&partial);
    }
    result
}

/// Fills the partial file.
fn copy_to_partial(
    from: &Path,
    to: &Path,
    partial: &Path,
    method: Method,
    progress: &dyn Progress,
) -> Result<Copied, CopyError> {
    let source = |source| CopyError::Source {
        path: from.to_owned(),
        source,
    };
    let transfer = |source| CopyError::Transfer {
        path: to.to_owned(),
        source,
    };
    let reader = regular::open(from).map_err(source)?;
    let size_bytes = reader.metadata().map_err(source)?.len();
    let writer = create_partial(partial).map_err(CopyError::Begin)?;
    let shared = method != Method::Sparse && reflink(&reader, &writer).map_err(transfer)?;
    if shared {
        Ok(Copied {
            used: Used::Reflink,
            size_bytes,
            copied_bytes: 0,
        })
    } else if method == Method::Reflink {
        Err(CopyError::NoReflink(to.to_owned()))
    } else {
        let copied_bytes = copy_sparse(&reader, &writer, size_bytes, progress)
            .map_err(transfer)?
            .ok_or_else(|| CopyError::Cancelled(to.to_owned()))?;
        Ok(Copied {
            used: Used::Sparse,
            size_bytes,
            copied_bytes,
        })
    }
}

/// Lets `to` share all blocks of `from`; false when the file system can't (ioctl_ficlone(2)).
pub(crate) fn reflink(from: &File, to: &File) -> io::Result<bool> {
    match ioctl_ficlone(to, from) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::INVAL | Errno::NOSYS) => {
            Ok(false)
        }
        Err(e) => Err(e.into()),
    }
}

/// Copies the data of `from`, leaving holes; the bytes copied, or `None` when cancelled.
pub(crate) fn copy_sparse(
    from: &File,
    to: &File,
    size_bytes: u64,
    progress: &dyn Progress,
) -> io::Result<Option<u64>> {
    to.set_len(size_bytes)?;
    let ranges = data_ranges(from, size_bytes)?;
    let total: u64 = ranges.iter().map(|r| r.end - r.start).sum();
    let mut in_kernel = true;
    let mut done = 0;
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            let step = STEP_BYTES.min(range.end - at);
            let copied = copy_step(from, to, at, step, &mut in_kernel)?;
            at += copied;
            done += copied;
            if progress.advance(done, total).is_break() {
                return Ok(None);
            }
        }
    }
    Ok(Some(done))
}

/// Copies up to `length` bytes at `at`, in the kernel where that works; how many were copied.
fn copy_step(
    from: &File,
    to: &File,
    at: u64,
    length: u64,
    in_kernel: &mut bool,
) -> io::Result<u64> {
    if *in_kernel {
        let (mut from_at, mut to_at) = (at, at);
        let copied = copy_file_range(
            from,
            Some(&mut from_at),
            to,
            Some(&mut to_at),
            length as usize,
        );
        match copied {
            // The source became shorter, or a file system that pretends (copy_file_range(2), BUGS):
            // plain reading tells which.
            Ok(0) => *in_kernel = false,
            Ok(copied) => return Ok(copied as u64),
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => *in_kernel = false,
            Err(Errno::INTR) => return Ok(0),
            Err(e) => return Err(e.into()),
        }
    }
    let mut buf = vec![0; length as usize];
    from.read_exact_at(&mut buf, at)?;
    to.write_all_at(&buf, at)?;
    Ok(length)
}

/// Whether files in `dir` can share blocks: tried for real with two small files.
pub fn probe_reflink(dir: &Path) -> io::Result<bool> {
    let from = tempfile::tempfile_in(dir)?;
    let to = tempfile::tempfile_in(dir)?;
    from.write_all_at(&[1; 4096], 0)?;
    reflink(&from, &to)
}
