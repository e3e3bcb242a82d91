//! A qcow2 overlay over a raw base: a guest's own writes, everything else read from the base.
//!
//! Every use of the library `imago` is in this file. An overlay names its base by an absolute
//! path and always states the base's format, so that nothing ever guesses it. While it is open
//! here it is locked as QEMU locks it ([`crate::lock`]), and so is its base, against writers.
//!
//! Nothing is durable before [`BlockDevice::flush`], the overlay's creation included; but an
//! overlay never appears under its name half made. It does not read compressed or encrypted
//! images, and does not keep a chain: the base is a raw file, always.

use crate::device::BlockDevice;
use crate::durable::{DurableError, create_partial, ensure_removed, fsync_parent, partial_path};
use crate::lock::{ImageLock, LockError, lock_exclusive, lock_shared};
use crate::regular;
use imago::file::File as Storage;
use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::{
    DenyImplicitOpenGate, FormatAccess, FormatCreateBuilder, FormatDriverBuilder, ShallowMapping,
};
use std::fs::File;
use std::io;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

/// The format of every base.
const BASE_FORMAT: &str = "raw";
/// What the first write to a place allocates and copies from the base. A clone's files are small and
/// scattered; with qcow2's usual 64 KiB, a personalised clone took nearly three times as much.
const CLUSTER_BYTES: usize = 16 << 10;
/// Longest name of a base that the format can hold (docs/interop/qcow2.txt, "Backing file name").
const MAX_BASE_NAME_BYTES: usize = 1023;
/// A disk is a whole number of these.
const SECTOR_BYTES: u64 = 512;

/// Why an overlay was not made or opened.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// Something is there already.
    #[error("create the overlay {path}: it exists already", path = .0.display())]
    Exists(PathBuf),
    /// The base can't be named in an overlay.
    #[error("use the base {path}: its path must be absolute, UTF-8 and at most 1023 bytes long", path = .0.display())]
    BasePath(PathBuf),
    /// The base can't be opened or is not a regular file.
    #[error("open the base {path}", path = path.display())]
    Base {
        /// The base.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The wanted size is not one that an overlay of this base can have.
    #[error(
        "make an overlay of {wanted_bytes} bytes: it must be a multiple of 512 and not less than the {base_bytes} bytes of its base"
    )]
    Size {
        /// The wanted size.
        wanted_bytes: u64,
        /// The size of the base.
        base_bytes: u64,
    },
    /// The overlay can't be made, or the file is not a sound overlay.
    #[error("{act} the overlay {path}", path = path.display())]
    Overlay {
        /// `create` or `open`.
        act: &'static str,
        /// The overlay.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The overlay belongs to another base than the caller believes.
    #[error("open the overlay {path}: it belongs to {found}, not to {expected}; if the image was moved or copied there: qemu-img rebase -u -f qcow2 -F raw -b {expected} {path}", path = path.display(), expected = expected.display())]
    OtherBase {
        /// The overlay.
        path: PathBuf,
        /// The base that the caller named.
        expected: PathBuf,
        /// The base that the overlay names, in words.
        found: String,
    },
    /// Another process has the overlay or its base open.
    #[error("lock {path}", path = path.display())]
    Lock {
        /// The overlay or the base.
        path: PathBuf,
        /// Why.
        source: LockError,
    },
    /// The partial file can't be made or renamed.
    #[error("finish an overlay")]
    Durable(#[from] DurableError),
}

/// An open overlay.
pub struct Overlay {
    path: PathBuf,
    size_bytes: u64,
    writable: bool,
    /// Whether [`BlockDevice::flush`] waits for the overlay's name, too.
    flush_name: bool,
    /// Reading and writing share it; discarding breaks mappings and needs it alone.
    access: RwLock<FormatAccess<Storage>>,
    /// Given back after `access` has written what it still held: fields are dropped in order.
    _locks: [ImageLock; 2],
}

/// A base that is open for reading, and locked against writers.
struct Base {
    access: FormatAccess<Storage>,
    size_bytes: u64,
    lock: ImageLock,
}

/// What an overlay holds itself, see [`Overlay::own_ranges`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnRange {
    /// Data.
    Data(Range<u64>),
    /// Zeros that hide what the base has there.
    Zeros(Range<u64>),
}

impl std::fmt::Debug for Overlay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overlay")
            .field("path", &self.path)
            .field("size_bytes", &self.size_bytes)
            .field("writable", &self.writable)
            .finish_non_exhaustive()
    }
}

/// Makes the overlay `path` of `size_bytes` over the raw file `base`, mode 0600.
///
/// What lies between the end of the base and `size_bytes` reads as zeros.
pub fn create_overlay(path: &Path, base: &Path, size_bytes: u64) -> Result<(), OverlayError> {
    Overlay::create(path, base, size_bytes).map(drop)
}

impl Overlay {
    /// Makes an overlay as [`create_overlay`] does and keeps it open, writable and locked.
    pub fn create(path: &Path, base: &Path, size_bytes: u64) -> Result<Self, OverlayError> {
        let name = base_name(base)?;
        let base = Base::open(base)?;
        if size_bytes < base.size_bytes || !size_bytes.is_multiple_of(SECTOR_BYTES) {
            return Err(OverlayError::Size {
                wanted_bytes: size_bytes,
                base_bytes: base.size_bytes,
            });
        }
        if path.symlink_metadata().is_ok() {
            return Err(OverlayError::Exists(path.to_owned()));
        }
        let partial = partial_path(path);
        let result = Self::create_partial(path, &partial, &name, base, size_bytes);
        if result.is_err() {
            // The first error is the one to report.
            let _ = ensure_removed(&partial);
        }
        result
    }

    /// Makes the overlay under its partial name and renames it.
    fn create_partial(
        path: &Path,
        partial: &Path,
        base_name: &str,
        base: Base,
        size_bytes: u64,
    ) -> Result<Self, OverlayError> {
        let create = |source| OverlayError::Overlay {
            act: "create",
            path: path.to_owned(),
            source,
        };
        let file = create_partial(partial)?;
        let lock = lock_exclusive(&file).map_err(|source| OverlayError::Lock {
            path: path.to_owned(),
            source,
        })?;
        let storage = Storage::try_from(file).map_err(create)?;
        let qcow2 = Qcow2::<Storage>::create_builder(storage)
            .size(size_bytes)
            .cluster_size(CLUSTER_BYTES)
            .backing(base_name.to_owned(), BASE_FORMAT.to_owned())
            .create_open(DenyImplicitOpenGate::default(), |storage| {
                Ok(Qcow2::builder(storage)
                    .write(true)
                    .backing(Some(base.access)))
            })
            .map_err(create)?;
        let access = FormatAccess::new(qcow2);
        // Its header and tables must be in the file before it gets its name.
        access.flush().map_err(create)?;
        std::fs::rename(partial, path).map_err(create)?;
        Ok(Overlay {
            path: path.to_owned(),
            size_bytes,
            writable: true,
            flush_name: true,
            access: RwLock::new(access),
            _locks: [lock, base.lock],
        })
    }

    /// From now on a flush waits for the bytes only: for an overlay that gets its true name, and
    /// that made durable, when it is complete.
    #[must_use]
    pub fn under_working_name(mut self) -> Self {
        self.flush_name = false;
        self
    }

    /// Opens the overlay `path` of the raw file `base` for reading and writing.
    ///
    /// [`OverlayError::Lock`] when a virtual machine or another process has it open.
    pub fn open_writable(path: &Path, base: &Path) -> Result<Self, OverlayError> {
        Self::open(path, base, true)
    }

    /// Opens the overlay `path` of the raw file `base` for reading; others may read it, too.
    pub fn open_read_only(path: &Path, base: &Path) -> Result<Self, OverlayError> {
        Self::open(path, base, false)
    }

    fn open(path: &Path, base: &Path, writable: bool) -> Result<Self, OverlayError> {
        let open = |source| OverlayError::Overlay {
            act: "open",
            path: path.to_owned(),
            source,
        };
        let expected = base_name(base)?;
        let opened = Base::open(base)?;
        let (file, lock) = open_locked(path, writable)?;
        let qcow2 = Qcow2::<Storage>::builder(Storage::try_from(file).map_err(open)?)
            .write(writable)
            .backing(Some(opened.access))
            .data_file(None)
            .open(DenyImplicitOpenGate::default())
            .map_err(open)?;
        let found = qcow2.implicit_backing_file().cloned();
        let found = found.zip(qcow2.implicit_backing_format().cloned());
        let named = |(name, format): &(String, String)| *name == expected && format == BASE_FORMAT;
        if !found.as_ref().is_some_and(named) || qcow2.requires_external_data_file() {
            let (path, expected) = (path.to_owned(), base.to_owned());
            let found = match found {
                Some((name, format)) if format == BASE_FORMAT => name,
                Some((name, format)) => format!("{name} as {format}"),
                None => "no image".to_owned(),
            };
            return Err(OverlayError::OtherBase {
                path,
                expected,
                found,
            });
        }
        let access = FormatAccess::new(qcow2);
        let size_bytes = access.size();
        let (access, _locks) = (RwLock::new(access), [lock, opened.lock]);
        Ok(Overlay {
            path: path.to_owned(),
            size_bytes,
            writable,
            flush_name: true,
            access,
            _locks,
        })
    }

    /// The ranges that the overlay holds itself, in order; everything else is the base's.
    pub fn own_ranges(&self) -> io::Result<Vec<OwnRange>> {
        let mut ranges = Vec::new();
        self.each_own(|range| {
            ranges.push(range);
            ControlFlow::Continue(())
        })?;
        Ok(ranges)
    }

    /// Whether every byte is the base's.
    pub fn is_untouched(&self) -> io::Result<bool> {
        let mut is_untouched = true;
        self.each_own(|_| {
            is_untouched = false;
            ControlFlow::Break(())
        })?;
        Ok(is_untouched)
    }

    /// Tells `each` of every range that the overlay holds itself, in order, until it breaks.
    fn each_own(&self, mut each: impl FnMut(OwnRange) -> ControlFlow<()>) -> io::Result<()> {
        let access = self.access.read().unwrap_or_else(PoisonError::into_inner);
        let mut at = 0;
        while at < self.size_bytes {
            let (mapping, length) = access.get_shallow_mapping(at, self.size_bytes - at)?;
            if length == 0 {
                return Err(io::Error::other("the overlay ends before its size"));
            }
            let range = at..at + length;
            let own = match mapping {
                ShallowMapping::Indirect { .. }
                | ShallowMapping::Zero {
                    explicit: false, ..
                } => None,
                ShallowMapping::Zero { .. } => Some(OwnRange::Zeros(range)),
                _ => Some(OwnRange::Data(range)),
            };
            if own.is_some_and(|own| each(own).is_break()) {
                break;
            }
            at += length;
        }
        Ok(())
    }

    /// Refuses an access that is not inside the disk.
    fn check_place(&self, offset: u64, length: u64) -> io::Result<()> {
        match offset.checked_add(length) {
            Some(end) if end <= self.size_bytes => Ok(()),
            _ => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "an access reaches past the end of the disk",
            )),
        }
    }

    fn check_change(&self, offset: u64, length: u64) -> io::Result<()> {
        if !self.writable {
            let what = "the overlay is open for reading only";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        self.check_place(offset, length)
    }
}

impl BlockDevice for Overlay {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.check_place(offset, buf.len() as u64)?;
        self.access
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .read(buf, offset)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.check_change(offset, buf.len() as u64)?;
        self.access
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .write(buf, offset)
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.check_change(offset, length)?;
        let mut access = self.access.write().unwrap_or_else(PoisonError::into_inner);
        access.discard_to_zero(offset, length)
    }

    fn flush(&self) -> io::Result<()> {
        if !self.writable {
            return Ok(());
        }
        let access = self.access.read().unwrap_or_else(PoisonError::into_inner);
        access.flush()?;
        access.sync()?;
        if self.flush_name {
            // It may be as new as its bytes.
            fsync_parent(&self.path).map_err(|error| error.source)?;
        }
        Ok(())
    }

    fn is_writable(&self) -> bool {
        self.writable
    }
}

/// The name under which an overlay refers to `base`.
fn base_name(base: &Path) -> Result<String, OverlayError> {
    let name = base
        .to_str()
        .filter(|name| base.is_absolute() && name.len() <= MAX_BASE_NAME_BYTES);
    name.map(str::to_owned)
        .ok_or_else(|| OverlayError::BasePath(base.to_owned()))
}

/// Opens the file of an overlay and locks it: alone to write, shared to read.
fn open_locked(path: &Path, writable: bool) -> Result<(File, ImageLock), OverlayError> {
    let open = |source| OverlayError::Overlay {
        act: "open",
        path: path.to_owned(),
        source,
    };
    let file = if writable {
        regular::open_writable(path)
    } else {
        regular::open(path)
    };
    let file = file.map_err(open)?;
    let lock = if writable {
        lock_exclusive(&file)
    } else {
        lock_shared(&file)
    };
    let lock = lock.map_err(|source| OverlayError::Lock {
        path: path.to_owned(),
        source,
    })?;
    Ok((file, lock))
}

impl Base {
    fn open(base: &Path) -> Result<Self, OverlayError> {
        let fail = |source| OverlayError::Base {
            path: base.to_owned(),
            source,
        };
        let file = regular::open(base).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        let lock = lock_shared(&file).map_err(|source| OverlayError::Lock {
            path: base.to_owned(),
            source,
        })?;
        let raw = Raw::builder(Storage::try_from(file).map_err(fail)?)
            .open(DenyImplicitOpenGate::default())
            .map_err(fail)?;
        Ok(Base {
            access: FormatAccess::new(raw),
            size_bytes: metadata.len(),
            lock,
        })
    }
}
