//! The pool: where images, guests and unfinished work lie on disk.
//!
//! ```text
//! $HOME/images/<image-id>/disk.raw      0444, sparse, never modified
//!                        /leaves.bin    its leaf index
//!                        /*.json …      sidecars, so that the catalog can be rebuilt
//!      /guests/<guest-id>/…             overlay, seed, firmware variables, logs of one guest
//!      /staging/<uuid>/…                everything is born here
//!      /staging/<uuid>.owner            who works there
//!      /trash/<uuid>/…                  on its way out
//! ```
//!
//! All lie on one file system, so that a rename moves anything whole. The pool knows files; which
//! image belongs to which version is the catalog's.

mod images;
mod replace;
mod staging;

pub use images::{Image, Published, Scan};
pub use replace::Again;
pub use staging::{Staging, Swept};

use crate::durable::{DurableError, ensure_dir, ensure_removed};
use crate::identity::{IdentityError, IndexError};
use crate::lock::LockError;
use stampo_core::ids::{GuestId, ImageId};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Permission bits of every directory of the pool: guests' secrets lie in there.
const DIR_MODE: u32 = 0o700;

/// Why the pool did not do something.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// A change was not made, or is not durable.
    #[error("change the pool")]
    Durable(#[from] DurableError),
    /// Something in the pool can't be read.
    #[error("{act} {path}", path = path.display())]
    Read {
        /// What was being done.
        act: &'static str,
        /// To what.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A sidecar can't have this name.
    #[error(
        "name a sidecar {0:?}: use 1 to 100 of a-z, 0-9, '.', '_', '-', not first '.', and not disk.raw or leaves.bin"
    )]
    SidecarName(String),
    /// The disk that is to be published is not what its index describes.
    #[error("publish {path}: it has {found_bytes} bytes, its index says {index_bytes}", path = path.display())]
    Size {
        /// The staged disk.
        path: PathBuf,
        /// Its size.
        found_bytes: u64,
        /// The size in the index.
        index_bytes: u64,
    },
    /// There is no such image.
    #[error("find the image {0}: it is not in the pool")]
    NoImage(ImageId),
    /// Some process has the image open.
    #[error("remove the image {0}: a process has its disk open, stop it first")]
    InUse(ImageId),
    /// The image's lock can't be asked.
    #[error("ask who uses an image")]
    Lock(#[from] LockError),
    /// The stored index of an image is damaged.
    #[error("read the leaf index of the image {id}")]
    Index {
        /// The image.
        id: ImageId,
        /// What is wrong.
        source: IndexError,
    },
    /// The stored index is that of another image.
    #[error("read the leaf index of the image {0}: it is the index of another image")]
    ForeignIndex(ImageId),
    /// The image's disk is not what it was.
    #[error("verify the image {id}")]
    Identity {
        /// The image.
        id: ImageId,
        /// What is wrong.
        source: IdentityError,
    },
}

impl PoolError {
    /// A closure for `map_err`: `act` on `path` failed.
    fn while_doing(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PoolError {
        let path = path.to_owned();
        move |source| PoolError::Read { act, path, source }
    }
}

/// Where something lies that is in the pool no more and still takes space.
#[derive(Debug)]
#[must_use = "its bytes take space until they are erased"]
pub struct Grave(PathBuf);

/// The pool in one directory. Several processes may use it at once.
#[derive(Debug, Clone)]
pub struct Pool {
    home: PathBuf,
}

/// Space that the pool takes, and what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Blocks of all images. Blocks that reflinks share are counted for each file.
    pub images_bytes: u64,
    /// Blocks of all guests.
    pub guests_bytes: u64,
    /// Blocks of unfinished work.
    pub staging_bytes: u64,
    /// Blocks of what is about to go.
    pub trash_bytes: u64,
    /// What an ordinary user can still write on the file system.
    pub free_bytes: u64,
}

impl Pool {
    /// The pool in `home`; what is missing of it is made, with mode 0700.
    pub fn open(home: &Path) -> Result<Pool, PoolError> {
        let absolute = std::path::absolute(home).map_err(PoolError::while_doing("find", home))?;
        let pool = Pool { home: absolute };
        for dir in [
            pool.images_dir(),
            pool.guests_dir(),
            pool.staging_dir(),
            pool.trash_dir(),
        ] {
            ensure_dir(&dir, DIR_MODE)?;
        }
        Ok(pool)
    }

    /// The directory that holds it all, absolute.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Where images are.
    pub fn images_dir(&self) -> PathBuf {
        self.home.join("images")
    }

    /// Where guests are.
    pub fn guests_dir(&self) -> PathBuf {
        self.home.join("guests")
    }

    /// Where unfinished work is.
    pub fn staging_dir(&self) -> PathBuf {
        self.home.join("staging")
    }

    /// Where things go before they are deleted.
    pub fn trash_dir(&self) -> PathBuf {
        self.home.join("trash")
    }

    /// The directory of one guest, whether it exists or not.
    pub fn guest_dir(&self, id: GuestId) -> PathBuf {
        self.guests_dir().join(id.to_string())
    }

    /// Makes the directory of one guest, mode 0700, if it is missing.
    pub fn ensure_guest_dir(&self, id: GuestId) -> Result<PathBuf, PoolError> {
        let dir = self.guest_dir(id);
        ensure_dir(&dir, DIR_MODE)?;
        Ok(dir)
    }

    /// Removes the directory of one guest and all in it; it is fine when there is none.
    pub fn ensure_guest_removed(&self, id: GuestId) -> Result<(), PoolError> {
        self.throw_away(&self.guest_dir(id))
    }

    /// Removes a directory that lies beside an image's disk, whole and at once; it is fine when
    /// there is none.
    pub fn remove_beside_image(&self, dir: &Path) -> Result<(), PoolError> {
        self.throw_away(dir)
    }

    /// Renames `path` into the trash, so that it is gone at once and whole, then deletes it.
    fn throw_away(&self, path: &Path) -> Result<(), PoolError> {
        match self.bury(path)? {
            Some(grave) => self.erase(&grave),
            None => Ok(()),
        }
    }

    /// Durably moves what lies at `path` into the trash; `None` when nothing lies there.
    fn bury(&self, path: &Path) -> Result<Option<Grave>, PoolError> {
        let grave = self.trash_dir().join(uuid::Uuid::new_v4().to_string());
        match std::fs::rename(path, &grave) {
            // Durably first: else a power loss could bring back a directory without its files.
            Ok(()) => crate::durable::fsync_parent(path)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(DurableError::while_doing("throw away", path)(e).into()),
        }
        Ok(Some(Grave(grave)))
    }

    /// Deletes what was buried; another process that empties the trash may have been faster.
    pub fn erase(&self, grave: &Grave) -> Result<(), PoolError> {
        Ok(ensure_removed(&grave.0)?)
    }

    /// Deletes what a crash left in the trash.
    pub fn empty_trash(&self) -> Result<(), PoolError> {
        for path in list(&self.trash_dir())? {
            ensure_removed(&path)?;
        }
        Ok(())
    }

    /// Adds up the space that everything takes, in blocks that are really allocated.
    pub fn usage(&self) -> Result<Usage, PoolError> {
        let statistics = rustix::fs::statvfs(&self.home)
            .map_err(io::Error::from)
            .map_err(PoolError::while_doing(
                "ask for the free space of",
                &self.home,
            ))?;
        Ok(Usage {
            images_bytes: allocated_bytes(&self.images_dir())?,
            guests_bytes: allocated_bytes(&self.guests_dir())?,
            staging_bytes: allocated_bytes(&self.staging_dir())?,
            trash_bytes: allocated_bytes(&self.trash_dir())?,
            free_bytes: statistics.f_bavail.saturating_mul(statistics.f_frsize),
        })
    }
}

/// The entries of a directory, sorted. One that does not exist has none.
fn list(dir: &Path) -> Result<Vec<PathBuf>, PoolError> {
    crate::listing::entries(dir).map_err(PoolError::while_doing("list", dir))
}

/// Space that `path` and everything below it take: `st_blocks`, which is 512 bytes each.
///
/// Links are not followed. What vanishes meanwhile counts nothing.
pub fn allocated_bytes(path: &Path) -> Result<u64, PoolError> {
    let mut total = 0;
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) => {
                total += metadata.blocks() * 512;
                if metadata.is_dir() {
                    waiting.extend(list(&path)?);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(PoolError::while_doing("measure", &path)(e)),
        }
    }
    Ok(total)
}
