//! Images in the pool: published whole, never modified, removed whole.

use super::{DIR_MODE, Grave, Pool, PoolError, allocated_bytes, list};
use crate::durable::{
    DurableError, ensure_dir, ensure_removed, fsync_dir, fsync_file, fsync_parent, rename_durably,
    write_file_durably,
};
use crate::identity::{LeafIndex, verify};
use crate::lock::is_in_use;
use crate::progress::Progress;
use crate::regular;
use stampo_core::ids::ImageId;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Name of an image's disk.
const DISK: &str = "disk.raw";
/// Name of an image's leaf index.
const LEAVES: &str = "leaves.bin";
/// Permission bits of a published disk: nobody writes to it.
pub(super) const DISK_MODE: u32 = 0o444;
/// Permission bits of the files beside it.
const SIDECAR_MODE: u32 = 0o600;
/// A sidecar that is larger was not written by stampo.
const MAX_SIDECAR_BYTES: u64 = 256 << 20;

/// What publishing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// The image is new; the path of its disk.
    Created(PathBuf),
    /// An image with the same id was there; its disk stays, sidecars were added. Whether that is
    /// right is the question of [`Pool::ensure_right`].
    Unchanged(PathBuf),
}

impl Published {
    /// Where the disk is now.
    pub fn disk(&self) -> &Path {
        match self {
            Published::Created(path) | Published::Unchanged(path) => path,
        }
    }
}

/// One image in the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id, which is the name of its directory.
    pub id: ImageId,
    /// Its disk.
    pub disk: PathBuf,
    /// The size that a guest sees.
    pub size_bytes: u64,
    /// The space that it takes, sidecars included.
    pub allocated_bytes: u64,
    /// The names of its sidecars, sorted.
    pub sidecars: Vec<String>,
}

/// What is in the pool, for rebuilding a catalog.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The images, by id.
    pub images: Vec<Image>,
    /// What lies among them and is none, with the reason.
    pub strange: Vec<(PathBuf, String)>,
}

impl Pool {
    /// The directory of an image, whether it exists or not.
    pub fn image_dir(&self, id: &ImageId) -> PathBuf {
        self.images_dir().join(id.as_str())
    }

    /// The disk of an image, whether it exists or not.
    pub fn image_disk(&self, id: &ImageId) -> PathBuf {
        self.image_dir(id).join(DISK)
    }

    /// Moves the disk `staged` into the pool as the image that `index` describes, with sidecars
    /// (name and content) beside it.
    ///
    /// `staged` lies in the pool's staging, and `index` was taken of it as it is now. It can be
    /// repeated after a crash at any point, `staged` being gone then or not: the image is there
    /// whole or not at all.
    pub fn publish_image(
        &self,
        staged: &Path,
        index: &LeafIndex,
        sidecars: &[(&str, &[u8])],
    ) -> Result<Published, PoolError> {
        sidecars
            .iter()
            .try_for_each(|(name, _)| check_sidecar_name(name))?;
        let id = index.image_id();
        let disk = self.image_disk(&id);
        if !disk.exists() && self.publish_new(staged, index, sidecars)? {
            return Ok(Published::Created(disk));
        }
        for (name, bytes) in sidecars {
            self.write_sidecar(&id, name, bytes)?;
        }
        // Whoever moved it here may have died before its name was durable.
        fsync_parent(&self.image_dir(&id))?;
        ensure_removed(staged)?;
        Ok(Published::Unchanged(disk))
    }

    /// Publishes an image that is not there; false when another process was faster.
    fn publish_new(
        &self,
        staged: &Path,
        index: &LeafIndex,
        sidecars: &[(&str, &[u8])],
    ) -> Result<bool, PoolError> {
        check_size(staged, index)?;
        let birth = self.stage()?;
        let born = birth.path().join("image");
        ensure_dir(&born, DIR_MODE)?;
        std::fs::set_permissions(staged, Permissions::from_mode(DISK_MODE))
            .map_err(DurableError::while_doing("set the mode of", staged))?;
        fsync_file(staged)?;
        write_file_durably(&born.join(LEAVES), &index.encode(), SIDECAR_MODE)?;
        for (name, bytes) in sidecars {
            write_file_durably(&born.join(name), bytes, SIDECAR_MODE)?;
        }
        // A second name, not a move: a crash before the rename below leaves the staged disk where
        // the repeated publication looks for it.
        let linked = born.join(DISK);
        std::fs::hard_link(staged, &linked)
            .map_err(DurableError::while_doing("link the disk to", &linked))?;
        fsync_dir(&born)?;
        let target = self.image_dir(&index.image_id());
        match rename_durably(&born, &target) {
            Ok(()) => ensure_removed(staged)
                .map(|()| true)
                .map_err(PoolError::from),
            // Only the name is taken: another failure, such as of the fsync after it, is one.
            Err(error) if error.is_taken() && target.join(DISK).exists() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes one sidecar of an image, in place of the one with that name.
    pub fn write_sidecar(&self, id: &ImageId, name: &str, bytes: &[u8]) -> Result<(), PoolError> {
        check_sidecar_name(name)?;
        self.find_image(id)?;
        Ok(write_file_durably(
            &self.image_dir(id).join(name),
            bytes,
            SIDECAR_MODE,
        )?)
    }

    /// Reads one sidecar of an image.
    pub fn read_sidecar(&self, id: &ImageId, name: &str) -> Result<Vec<u8>, PoolError> {
        check_sidecar_name(name)?;
        read_limited(&self.image_dir(id).join(name))
    }

    /// Removes one sidecar of an image; it is fine when there is none.
    pub fn ensure_sidecar_removed(&self, id: &ImageId, name: &str) -> Result<(), PoolError> {
        check_sidecar_name(name)?;
        Ok(ensure_removed(&self.image_dir(id).join(name))?)
    }

    /// The leaf index that was stored with an image, checked to be its own.
    pub fn leaf_index(&self, id: &ImageId) -> Result<LeafIndex, PoolError> {
        self.find_image(id)?;
        let bytes = read_limited(&self.image_dir(id).join(LEAVES))?;
        let index = LeafIndex::decode(&bytes).map_err(|source| PoolError::Index {
            id: id.clone(),
            source,
        })?;
        if index.image_id() == *id {
            Ok(index)
        } else {
            Err(PoolError::ForeignIndex(id.clone()))
        }
    }

    /// Reads the whole disk of an image and compares it with its index.
    pub fn verify_image(&self, id: &ImageId, progress: &dyn Progress) -> Result<(), PoolError> {
        let index = self.leaf_index(id)?;
        verify(&self.image_disk(id), &index, progress).map_err(|source| PoolError::Identity {
            id: id.clone(),
            source,
        })
    }

    /// Writes the leaf index of an image again, after its stored one was found damaged. `index` was
    /// taken of the disk, and is refused unless it is that of this image.
    pub fn restore_leaf_index(&self, id: &ImageId, index: &LeafIndex) -> Result<(), PoolError> {
        self.find_image(id)?;
        if index.image_id() != *id {
            return Err(PoolError::ForeignIndex(id.clone()));
        }
        // Two processes may find the same damage, and would share the name that is written first.
        // The lock ends with the descriptor.
        let dir = self.image_dir(id);
        let lock = File::open(&dir).map_err(PoolError::while_doing("open", &dir))?;
        lock.lock().map_err(PoolError::while_doing("lock", &dir))?;
        let path = dir.join(LEAVES);
        Ok(write_file_durably(&path, &index.encode(), SIDECAR_MODE)?)
    }

    /// The leaf index file of an image, whether it exists or not.
    pub fn image_leaves(&self, id: &ImageId) -> PathBuf {
        self.image_dir(id).join(LEAVES)
    }

    /// Removes an image, unless a process has its disk open; it is fine when there is none.
    ///
    /// Whether clones need it is the catalog's question. A stopped guest does not show here.
    pub fn remove_image(&self, id: &ImageId) -> Result<(), PoolError> {
        match self.bury_image(id)? {
            Some(grave) => self.erase(&grave),
            None => Ok(()),
        }
    }

    /// The first half of [`Pool::remove_image`]: durably, the image is in the pool no more. Its
    /// bytes lie in the grave, if there were any, until [`Pool::erase`] or until the trash is
    /// emptied. This takes a few milliseconds whatever the image's size.
    pub fn bury_image(&self, id: &ImageId) -> Result<Option<Grave>, PoolError> {
        match regular::open(&self.image_disk(id)) {
            Ok(disk) if is_in_use(&disk)? => Err(PoolError::InUse(id.clone())),
            _ => self.bury(&self.image_dir(id)),
        }
    }

    /// Lists the images with their sidecars.
    pub fn scan(&self) -> Result<Scan, PoolError> {
        let mut scan = Scan::default();
        for dir in list(&self.images_dir())? {
            let name = dir
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            match name.parse::<ImageId>() {
                Err(_) => scan
                    .strange
                    .push((dir, "its name is not an image id".to_owned())),
                Ok(id) => match self.image(id) {
                    Ok(image) => scan.images.push(image),
                    Err(error) => scan.strange.push((dir, error.to_string())),
                },
            }
        }
        Ok(scan)
    }

    /// One image; an error when it is not in the pool.
    pub fn image(&self, id: ImageId) -> Result<Image, PoolError> {
        let disk = self.find_image(&id)?;
        let size_bytes = std::fs::metadata(&disk)
            .map_err(PoolError::while_doing("measure", &disk))?
            .len();
        let dir = self.image_dir(&id);
        let sidecars = list(&dir)?
            .iter()
            .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
            .filter(|name| check_sidecar_name(name).is_ok())
            .collect();
        let allocated_bytes = allocated_bytes(&dir)?;
        Ok(Image {
            id,
            disk,
            size_bytes,
            allocated_bytes,
            sidecars,
        })
    }

    /// The disk of an image that must be there.
    fn find_image(&self, id: &ImageId) -> Result<PathBuf, PoolError> {
        let disk = self.image_disk(id);
        let is_file = std::fs::symlink_metadata(&disk).is_ok_and(|metadata| metadata.is_file());
        if is_file {
            Ok(disk)
        } else {
            Err(PoolError::NoImage(id.clone()))
        }
    }
}

/// Refuses a staged disk that is not as long as its index says.
pub(super) fn check_size(staged: &Path, index: &LeafIndex) -> Result<(), PoolError> {
    let found_bytes = std::fs::metadata(staged)
        .map_err(PoolError::while_doing("measure", staged))?
        .len();
    let index_bytes = index.size_bytes();
    if found_bytes == index_bytes {
        Ok(())
    } else {
        Err(PoolError::Size {
            path: staged.to_owned(),
            found_bytes,
            index_bytes,
        })
    }
}

/// Refuses names that could leave the directory or hide, and those of the image itself.
fn check_sidecar_name(name: &str) -> Result<(), PoolError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let good = (1..=100).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('.')
        && ![DISK, LEAVES].contains(&name);
    if good {
        Ok(())
    } else {
        Err(PoolError::SidecarName(name.to_owned()))
    }
}

/// Reads a small file of the pool.
fn read_limited(path: &Path) -> Result<Vec<u8>, PoolError> {
    regular::read(path, MAX_SIDECAR_BYTES).map_err(PoolError::while_doing("read", path))
}
