//! The edges of the third-party ext4 writer: its clock, its errors and its panics as ours.

use super::FsError;
use super::features::unsupported;
use fs_ext4::Error;
use fs_ext4::runtime::Runtime;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};

/// A clock that stands still, and inode generations that repeat, for reproducible images.
pub(crate) struct FixedClock {
    now_s: i64,
    generation: AtomicU32,
}

impl FixedClock {
    pub(crate) fn at(now_s: i64) -> Self {
        FixedClock {
            now_s,
            generation: AtomicU32::new(now_s as u32),
        }
    }
}

impl Runtime for FixedClock {
    fn now_unix_seconds(&self) -> i64 {
        self.now_s
    }
    fn next_inode_generation(&self) -> u32 {
        self.generation.fetch_add(1, Ordering::Relaxed)
    }
}

/// Runs `act`; a panic in it is the error, as text.
pub(crate) fn caught<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        format!(
            "the ext4 writer gave up: {}",
            text.unwrap_or("for no stated reason")
        )
    })
}

/// What an error of the library means for `path`.
pub(crate) fn failure(path: &str, error: Error) -> FsError {
    let path = path.to_owned();
    match error {
        Error::NotFound => FsError::NotFound { path },
        Error::Io(error) => FsError::Device(error),
        Error::NoSpaceLeftOnDevice => FsError::Device(std::io::ErrorKind::StorageFull.into()),
        Error::ReadOnly => FsError::Device(std::io::ErrorKind::PermissionDenied.into()),
        Error::NotADirectory => FsError::Unsuitable {
            path,
            why: "it is not a directory",
        },
        Error::IsADirectory => FsError::Unsuitable {
            path,
            why: "it is a directory",
        },
        Error::AlreadyExists => FsError::Unsuitable {
            path,
            why: "something is in the way",
        },
        Error::DirectoryNotEmpty => FsError::Unsuitable {
            path,
            why: "it is not empty",
        },
        Error::NameTooLong => FsError::Unsuitable {
            path,
            why: "its name or target is too long",
        },
        Error::TooManyLinks => FsError::Unsuitable {
            path,
            why: "it has too many links",
        },
        Error::InvalidArgument(why) => FsError::Unsuitable { path, why },
        error @ (Error::UnsupportedIncompat(_)
        | Error::UnsupportedRoCompat(_)
        | Error::Unsupported(_)) => unsupported(error.to_string()),
        other => FsError::Damaged {
            path,
            why: other.to_string(),
        },
    }
}
