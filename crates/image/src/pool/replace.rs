//! The disk of an image whose bytes come a second time.
//!
//! An image-id names content, so whoever has just made a disk with the id of an image holds good
//! bytes for it. The ones in the pool may have changed since they were published, or be lost: they
//! are read, and a disk that is wrong or missing is replaced. Linked clones then read good bytes
//! again; one that runs goes on with the file that it has open. States of versions are not known
//! here: what is in quarantine stays there.

use super::images::DISK_MODE;
use super::{Pool, PoolError};
use crate::durable::{DurableError, fsync_file, rename_durably};
use crate::identity::{IdentityError, LeafIndex, verify};
use crate::progress::Progress;
use crate::regular;
use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What was found of an image whose bytes came again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Again {
    /// The pool does not have it.
    New,
    /// Its disk is right.
    Right,
    /// Its disk was not right, for this reason, and is now.
    Replaced(String),
}

impl Pool {
    /// Makes the disk of an image in the pool right, if the pool has the image. Reads all of it.
    ///
    /// `staged` lies in the pool's staging, and `index` was taken of it as it is now; it is moved
    /// when it is needed. This is followed by [`Pool::publish_image`], whichever answer it gives.
    pub fn ensure_right(
        &self,
        staged: &Path,
        index: &LeafIndex,
        progress: &dyn Progress,
    ) -> Result<Again, PoolError> {
        let id = index.image_id();
        if !self.image_dir(&id).is_dir() {
            return Ok(Again::New);
        }
        let disk = self.image_disk(&id);
        let Some(why) = what_is_wrong(&disk, index, progress)? else {
            return Ok(Again::Right);
        };
        super::images::check_size(staged, index)?;
        std::fs::set_permissions(staged, Permissions::from_mode(DISK_MODE))
            .map_err(DurableError::while_doing("set the mode of", staged))?;
        fsync_file(staged)?;
        rename_durably(staged, &disk)?;
        if self.leaf_index(&id).is_err() {
            self.restore_leaf_index(&id, index)?;
        }
        Ok(Again::Replaced(why))
    }
}

/// Why a disk is not the one that `index` describes; `None` when it is. An error when that can't be
/// told.
fn what_is_wrong(
    disk: &Path,
    index: &LeafIndex,
    progress: &dyn Progress,
) -> Result<Option<String>, PoolError> {
    match regular::open(disk) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Some("it was missing".to_owned()));
        }
        Err(error) if regular::is_not_one(&error) => {
            return Ok(Some("it was no regular file".to_owned()));
        }
        Err(error) => return Err(PoolError::while_doing("read", disk)(error)),
    }
    match verify(disk, index, progress) {
        Ok(()) => Ok(None),
        Err(IdentityError::Corrupt { offset, .. }) => Ok(Some(format!(
            "it had changed, first in the MiB at byte {offset}"
        ))),
        Err(IdentityError::Size { .. }) => Ok(Some("it had another size".to_owned())),
        Err(IdentityError::Read { offset, .. }) => {
            Ok(Some(format!("it could not be read at byte {offset}")))
        }
        Err(source) => Err(PoolError::Identity {
            id: index.image_id(),
            source,
        }),
    }
}
