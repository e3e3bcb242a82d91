//! Memory images beside the disks of their versions.
//!
//! ```text
//! images/<image-id>/memory-<hash>/memory, state, image.json   see the driver's `MemoryImageDir`
//!                                 disk.qcow2                  what the guest had written until then
//!                                 frozen.json                 whose it is
//! ```
//! The hash is of the version and of the machine, so that two versions with the same bytes have
//! memory images of their own. The catalog holds nothing of it: what is there is read from here.

use super::Frozen;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::sidecar::{FORMAT, read_sidecar, unusable};
use serde::{Deserialize, Serialize};
use stampo_core::ids::{ImageId, OperationId, VersionId};
use stampo_core::instant::Origin;
use stampo_driver::memory_image::machine_hash;
use stampo_driver::{MemoryImage, MemoryImageDir};
use stampo_image::durable;
use stampo_store::VersionRow;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The disk that belongs to the memory.
pub(super) const DISK: &str = "disk.qcow2";

/// What a scrub leaves in one whose content has changed: nobody goes on from it any more.
const DAMAGED: &str = "damaged";

/// The sidecar's name.
pub(super) const SIDECAR: &str = "frozen.json";

/// How the directories' names begin.
const PREFIX: &str = "memory-";

/// Whose memory image it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FrozenSidecar {
    pub format: u32,
    pub version: VersionId,
    /// `name@N`, for a person who reads this without a catalog.
    pub version_label: String,
    pub image: ImageId,
    pub machine_hash: String,
    pub operation: OperationId,
    pub created_ms: i64,
    /// The version of stampo's agent that answered in the frozen guest. Without one the clones
    /// can't become themselves.
    #[serde(default)]
    pub agent: Option<String>,
    /// The hashes of its files. Those from before there were any are only measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashes: Option<Hashes>,
}

/// BLAKE3 of the files of a memory image, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hashes {
    memory: String,
    state: String,
    disk: String,
}

impl Hashes {
    /// Reads the files in a directory.
    pub fn of(directory: &Path) -> Result<Self, EngineError> {
        let files = MemoryImageDir::at(directory);
        Ok(Hashes {
            memory: hash_of(&files.memory())?,
            state: hash_of(&files.state())?,
            disk: hash_of(&directory.join(DISK))?,
        })
    }
}

fn hash_of(path: &Path) -> Result<String, EngineError> {
    let mut hasher = blake3::Hasher::new();
    File::open(path)
        .and_then(|file| hasher.update_reader(file).map(|_| ()))
        .map_err(EngineError::io("read", path))?;
    Ok(hasher.finalize().to_hex().to_string())
}

impl crate::sidecar::Sidecar for FrozenSidecar {}

impl FrozenSidecar {
    pub fn new(
        row: &VersionRow,
        image: &ImageId,
        memory: &MemoryImage,
        operation: OperationId,
        created_ms: i64,
        agent: Option<String>,
        hashes: Hashes,
    ) -> Self {
        FrozenSidecar {
            format: FORMAT,
            version: row.id,
            version_label: row.label(),
            image: image.clone(),
            machine_hash: memory.machine_hash.clone(),
            operation,
            created_ms,
            agent,
            hashes: Some(hashes),
        }
    }
}

/// A memory image that is in its place.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub directory: PathBuf,
    pub sidecar: FrozenSidecar,
}

/// The name of a memory image's directory.
pub(super) fn name(version: VersionId, machine: &str) -> String {
    let hash = machine_hash(&[version.to_string(), machine.to_owned()]);
    format!("{PREFIX}{}", &hash[..16])
}

/// Makes the frozen guest's disk its owner's alone, never to be written again, and durable.
pub(super) fn seal_disk(disk: &Path) -> Result<(), EngineError> {
    std::fs::set_permissions(disk, Permissions::from_mode(0o400))
        .map_err(EngineError::io("protect", disk))?;
    durable::fsync_file(disk).map_err(EngineError::room("make the frozen disk durable"))
}

impl Engine {
    /// The memory images of a version, for showing.
    pub fn frozen(&self, row: &VersionRow) -> Result<Vec<Frozen>, EngineError> {
        let mut frozen = Vec::new();
        for kept in self.memory_images(row)? {
            let image = MemoryImageDir::at(&kept.directory).complete()?;
            frozen.push(Frozen {
                directory: kept.directory,
                image,
            });
        }
        Ok(frozen)
    }

    /// The memory images of a version. What can't be read is not among them.
    pub(crate) fn memory_images(&self, row: &VersionRow) -> Result<Vec<Kept>, EngineError> {
        let Some(image) = &row.image else {
            return Ok(Vec::new());
        };
        let mut kept = Vec::new();
        for directory in self.memory_dirs(image)? {
            match self.read_memory(image, &directory) {
                Ok(sidecar) if sidecar.version == row.id => {
                    kept.push(Kept { directory, sidecar });
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(error = %error.chain(), "a strange memory image"),
            }
        }
        Ok(kept)
    }

    /// The directory of a memory image, by its name.
    pub(crate) fn memory_beside(&self, image: &ImageId, name: &str) -> PathBuf {
        self.pool.image_dir(image).join(name)
    }

    /// The disk that belongs to the memory which a fork goes on from.
    pub(crate) fn frozen_disk(&self, image: &ImageId, origin: &Origin) -> PathBuf {
        self.memory_beside(image, &origin.memory).join(DISK)
    }

    /// Everything beside an image that is called a memory image.
    pub(crate) fn memory_dirs(&self, image: &ImageId) -> Result<Vec<PathBuf>, EngineError> {
        let is_memory = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(PREFIX))
        };
        let beside = crate::rescan::list(&self.pool.image_dir(image))?;
        Ok(beside.into_iter().filter(is_memory).collect())
    }

    /// The sidecar of a memory image that is whole and lies where it belongs.
    pub(crate) fn read_memory(
        &self,
        image: &ImageId,
        directory: &Path,
    ) -> Result<FrozenSidecar, EngineError> {
        let (sidecar, _) = read_sidecar::<FrozenSidecar>(&directory.join(SIDECAR))?;
        let memory = MemoryImageDir::at(directory).complete()?;
        let place = self.memory_dir(&sidecar.image, sidecar.version, &sidecar.machine_hash);
        if sidecar.image != *image || place != directory {
            return Err(unusable(directory, "it is another's memory image"));
        }
        if memory.machine_hash != sidecar.machine_hash {
            return Err(unusable(directory, "it is of another machine"));
        }
        let disk = directory.join(DISK);
        let Some(found) = disk.metadata().ok().filter(std::fs::Metadata::is_file) else {
            return Err(unusable(directory, "its disk is missing"));
        };
        if found.permissions().mode() & 0o077 != 0 {
            let disk = disk.display();
            let why = format!("others than its owner may use {disk}: chmod go= {disk}");
            return Err(unusable(directory, &why));
        }
        if directory.join(DAMAGED).exists() {
            return Err(unusable(directory, "a scrub found that it has changed"));
        }
        // The devices are small, and every fork reads all of them.
        if let Some(hashes) = &sidecar.hashes
            && hash_of(&MemoryImageDir::at(directory).state())? != hashes.state
        {
            return Err(unusable(directory, "its devices have changed"));
        }
        Ok(sidecar)
    }

    /// Why a memory image is not as it was made, when all of it is read. It is not used any more then.
    pub(crate) fn memory_damage(
        &self,
        image: &ImageId,
        directory: &Path,
    ) -> Result<(), EngineError> {
        let recorded = self.read_memory(image, directory)?.hashes;
        match recorded {
            Some(recorded) if recorded != Hashes::of(directory)? => {
                durable::write_file_durably(&directory.join(DAMAGED), b"", 0o600)
                    .map_err(EngineError::room("mark a memory image as damaged"))?;
                Err(unusable(directory, "its content is not what was recorded"))
            }
            _ => Ok(()),
        }
    }

    /// Why a memory image that a version seems to have can't be read; those of other versions are
    /// not looked at.
    pub(crate) fn damaged_memory(&self, row: &VersionRow) -> Result<Option<String>, EngineError> {
        let Some(image) = &row.image else {
            return Ok(None);
        };
        for directory in self.memory_dirs(image)? {
            let sidecar = read_sidecar::<FrozenSidecar>(&directory.join(SIDECAR));
            let is_of_another = sidecar.is_ok_and(|(sidecar, _)| sidecar.version != row.id);
            if !is_of_another && let Err(error) = self.read_memory(image, &directory) {
                return Ok(Some(error.chain()));
            }
        }
        Ok(None)
    }

    /// Removes the memory images of a version whose bytes go.
    pub(crate) fn remove_memory_images(
        &self,
        image: &ImageId,
        row: &VersionRow,
    ) -> Result<(), EngineError> {
        for directory in self.memory_dirs(image)? {
            // Whose it is decides, whole or not; one without a readable sidecar goes with the image.
            let sidecar = read_sidecar::<FrozenSidecar>(&directory.join(SIDECAR));
            if sidecar.is_ok_and(|(sidecar, _)| sidecar.version == row.id) {
                self.pool
                    .remove_beside_image(&directory)
                    .map_err(EngineError::room("remove a memory image"))?;
                self.faults.reach("purge.memory");
            }
        }
        Ok(())
    }
}
