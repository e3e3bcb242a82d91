//! A clone's disk: made and personalised under a working name, then renamed.
//!
//! The whole step is repeated when it did not come to its rename: whatever lies under the working
//! name is thrown away first. So no half-edited disk can ever be taken for a good one.
//!
//! The bytes of each file are durable before it gets its name; the names are made durable together,
//! with the guest's sidecar. So after a power loss the disk may be missing again, see
//! `super::steps`.

use super::{disk_name, extra_disk_name};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::guest_op::WORKING;
use crate::sidecar;
use serde::{Deserialize, Serialize};
use stampo_core::goal::CloneKind;
use stampo_core::personalisation::Personalisation;
use stampo_core::size::ByteSize;
use stampo_guest::drift::{Baseline, Recorder};
use stampo_guest::fs::{GuestFs as _, open_write};
use stampo_guest::personalise::{FilesystemUuid, GuestSecrets, partition_ids_in_use, personalise};
use stampo_image::copy::{Method, Used, copy_image};
use stampo_image::device::{BlockDevice, Unflushed};
use stampo_image::durable;
use stampo_image::overlay::Overlay;
use stampo_image::partition::{Layout, Table, grow_last, renew_guids, renew_signature};
use stampo_image::progress::Unwatched;
use stampo_image::raw::RawFile;
use stampo_image::regular;
use stampo_store::GuestRow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// What personalisation made, kept beside the disk so that a repeated step finds it. Without a
/// file nothing was made.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    /// Public ssh host keys, `type base64`.
    pub host_keys: Vec<String>,
    /// Items that stay as the template's on purpose, with the reason.
    pub kept: BTreeMap<String, String>,
    /// Remarks for the user.
    pub notes: Vec<String>,
    /// What is not as in the version on purpose: no drift.
    #[serde(default, skip_serializing_if = "Baseline::is_empty")]
    pub baseline: Baseline,
}

impl Engine {
    /// Makes the guest's disk, with everything personal in it, unless it is there.
    pub(super) fn ensure_disk(&self, row: &mut GuestRow) -> Result<String, EngineError> {
        let dir = self.guest_dir(row.id);
        let disk = dir.join(disk_name(row.kind));
        if disk.exists() {
            if row.plan.fork.is_none() {
                // A fork's come from the running guest, and are in its row by then.
                row.host_keys = self.made(row)?.host_keys;
            }
            return Ok("was there".to_owned());
        }
        let working = dir.join(format!("{WORKING}{}", disk_name(row.kind)));
        durable::ensure_removed(&working)
            .map_err(EngineError::room("remove an unfinished disk"))?;
        let (device, how) = self.create_disk(row, &working)?;
        let made = self
            .write_identity(row, &device, &dir)
            .map_err(EngineError::editing(&working))?;
        // Nothing of the working disk is of use before it is whole, so it is made durable once.
        device.flush().map_err(EngineError::io("write", &working))?;
        drop(device);
        for (number, size) in (1..).zip(&row.plan.extra_disks) {
            create_extra_disk(&dir.join(extra_disk_name(number)), *size)?;
        }
        if made != Made::default() {
            let text =
                serde_json::to_vec(&made).map_err(EngineError::room("record what was made"))?;
            write(&dir.join("made.json"), &text)?;
        }
        self.faults.reach("clone.disk.before-rename");
        durable::rename(&working, &disk).map_err(EngineError::room("name the guest's disk"))?;
        row.host_keys = made.host_keys;
        let notes: String = made.notes.iter().map(|note| format!("; {note}")).collect();
        Ok(format!("{how}{notes}"))
    }

    /// What personalisation made, as recorded beside the disk.
    pub(crate) fn made(&self, row: &GuestRow) -> Result<Made, EngineError> {
        let path = self.guest_dir(row.id).join("made.json");
        let text = match regular::read(&path, sidecar::LIMIT_BYTES) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Made::default());
            }
            other => other.map_err(EngineError::io("read", &path))?,
        };
        serde_json::from_slice(&text).map_err(EngineError::room(format!("read {}", path.display())))
    }

    /// Replaces what is recorded beside a guest's disk.
    pub(crate) fn write_made(&self, row: &GuestRow, made: &Made) -> Result<(), EngineError> {
        let text = serde_json::to_vec(made).map_err(EngineError::room("record what was made"))?;
        let path = self.guest_dir(row.id).join("made.json");
        durable::write_file_durably(&path, &text, 0o600)
            .map_err(EngineError::room(format!("write {}", path.display())))
    }

    /// Makes the disk as the version's is, and leaves it open.
    fn create_disk(
        &self,
        row: &GuestRow,
        working: &Path,
    ) -> Result<(Arc<dyn BlockDevice>, String), EngineError> {
        let base = self.pool.image_disk(&row.image);
        let size_bytes = row.plan.disk_size.bytes();
        if let Some(fork) = &row.plan.fork {
            let frozen = self.frozen_disk(&row.image, &fork.origin);
            let copied = copy_image(&frozen, working, Method::Auto, &Unwatched)
                .map_err(EngineError::room("copy the frozen guest's disk"))?;
            let how = match copied.used {
                Used::Reflink => "reflink".to_owned(),
                Used::Sparse => format!("copy of {}", ByteSize(copied.copied_bytes)),
            };
            return Ok((self.open_guest_disk(row, working, true)?, how));
        }
        match row.kind {
            CloneKind::Linked => {
                let overlay = Overlay::create(working, &base, size_bytes)
                    .map_err(EngineError::room("make the overlay"))?;
                Ok((Arc::new(overlay.under_working_name()), "overlay".to_owned()))
            }
            CloneKind::Full => {
                let copied = copy_image(&base, working, Method::Auto, &Unwatched)
                    .map_err(EngineError::room("copy the image"))?;
                let file = std::fs::File::options().write(true).open(working);
                file.and_then(|file| file.set_len(size_bytes))
                    .map_err(EngineError::io("set the size of", working))?;
                let how = match copied.used {
                    Used::Reflink => "reflink".to_owned(),
                    Used::Sparse => format!("copy of {}", ByteSize(copied.copied_bytes)),
                };
                Ok((self.open_guest_disk(row, working, true)?, how))
            }
        }
    }

    /// Opens a guest's boot disk; QEMU's locks keep a running guest's disk from being opened.
    pub(crate) fn open_disk(
        &self,
        row: &GuestRow,
        writable: bool,
    ) -> Result<Arc<dyn BlockDevice>, EngineError> {
        let path = self.guest_dir(row.id).join(disk_name(row.kind));
        self.open_guest_disk(row, &path, writable)
    }

    pub(crate) fn open_guest_disk(
        &self,
        row: &GuestRow,
        path: &Path,
        writable: bool,
    ) -> Result<Arc<dyn BlockDevice>, EngineError> {
        let act = || format!("open the disk of {}", row.name);
        match row.kind {
            CloneKind::Linked => {
                let base = self.pool.image_disk(&row.image);
                let overlay = if writable {
                    Overlay::open_writable(path, &base)
                } else {
                    Overlay::open_read_only(path, &base)
                };
                Ok(Arc::new(overlay.map_err(EngineError::room(act()))?))
            }
            CloneKind::Full => {
                let file = if writable {
                    RawFile::open_writable(path)
                } else {
                    RawFile::open_read_only(path)
                };
                Ok(Arc::new(file.map_err(EngineError::io("open", path))?))
            }
        }
    }

    /// Everything of a clone that differs from its version, written into its working disk.
    fn write_identity(
        &self,
        row: &GuestRow,
        disk: &Arc<dyn BlockDevice>,
        dir: &Path,
    ) -> Result<Made, EngineError> {
        let mut made = Made::default();
        if row.plan.fork.is_some() {
            // Its guest has the disk open: what is personal goes through the guest agent.
            return Ok(made);
        }
        let disk: Arc<dyn BlockDevice> = Arc::new(Unflushed::new(disk.clone()));
        if row.plan.grow {
            grow_partition(disk.as_ref())?;
        }
        if let Some(request) = &row.plan.personalisation {
            let in_use = self.personalise_disk(row, request, &disk, dir, &mut made)?;
            renew_table(row, disk.as_ref(), in_use, &mut made)?;
        }
        Ok(made)
    }

    /// Edits the guest's files. The answer is why the ids in the partition table must stay, if they
    /// must.
    fn personalise_disk(
        &self,
        row: &GuestRow,
        request: &Personalisation,
        disk: &Arc<dyn BlockDevice>,
        dir: &Path,
        made: &mut Made,
    ) -> Result<Option<String>, EngineError> {
        let act = || format!("personalise {}", row.name);
        let fs = open_write(disk.clone()).map_err(EngineError::room(act()))?;
        let mut fs = Recorder::new(fs);
        let secrets = GuestSecrets::generate(&mut rand::rng()).map_err(EngineError::room(act()))?;
        let label = self.store.read(|tx| tx.version_label(row.version))?;
        let label = label.unwrap_or_default();
        let context = self.context(&row.plan, label, &row.image, self.elsewhere(&row.image)?);
        let report =
            personalise(&mut fs, request, &secrets, &context).map_err(EngineError::room(act()))?;
        // Asked of the files as they are now.
        let in_use = partition_ids_in_use(&fs).map_err(EngineError::room(act()))?;
        made.baseline = fs.baseline().map_err(EngineError::room(act()))?;
        Box::new(fs).finish().map_err(EngineError::room(act()))?;
        if let Some(seed) = &report.seed {
            write(&dir.join("seed.iso"), seed)?;
        }
        made.host_keys = report.host_keys.into_iter().map(|key| key.public).collect();
        made.notes = report.notes;
        if let FilesystemUuid::Kept(why) = report.filesystem_uuid {
            made.kept.insert("filesystem.uuid".to_owned(), why);
        }
        Ok(in_use)
    }
}

/// Gives the last partition the rest of the disk. A disk without a table has nothing to grow but
/// its filesystem, which the guest does.
pub(crate) fn grow_partition(disk: &dyn BlockDevice) -> Result<(), EngineError> {
    let layout = Layout::read(disk).map_err(EngineError::room("read the partition table"))?;
    if layout.table == Table::None {
        return Ok(());
    }
    grow_last(disk)
        .map(drop)
        .map_err(EngineError::room("grow the last partition"))
}

/// Gives the partition table ids of its own, unless the guest finds its partitions by them, which
/// `in_use` says.
fn renew_table(
    row: &GuestRow,
    disk: &dyn BlockDevice,
    in_use: Option<String>,
    made: &mut Made,
) -> Result<(), EngineError> {
    let act = || EngineError::room(format!("renew the partition table of {}", row.name));
    let layout = Layout::read(disk).map_err(act())?;
    if let Some(why) = in_use {
        made.kept.insert("disk.guid".to_owned(), why.clone());
        for partition in &layout.partitions {
            made.kept
                .insert(format!("partition.{}.guid", partition.index), why.clone());
        }
        return Ok(());
    }
    match layout.table {
        Table::Gpt { .. } => {
            let own = |index: u32| partition_guid(row.plan.disk_guid, index);
            renew_guids(disk, row.plan.disk_guid, &mut |partition| {
                own(partition.index)
            })
            .map_err(act())
        }
        Table::Mbr { .. } => {
            let bytes = row.plan.disk_guid.as_bytes();
            let signature = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            renew_signature(disk, signature.max(1)).map_err(act())
        }
        Table::None => Ok(()),
    }
}

/// The GUID of a partition: derived from the disk's, which is random, so that a repeated step
/// gives the same.
fn partition_guid(disk: Uuid, index: u32) -> Uuid {
    let mut hasher = blake3::Hasher::new();
    hasher.update(disk.as_bytes()).update(&index.to_le_bytes());
    let digest = hasher.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_bytes()[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

fn create_extra_disk(path: &PathBuf, size: ByteSize) -> Result<(), EngineError> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|file| {
        file.set_len(size.bytes())?;
        file.sync_all()
    })
    .map_err(EngineError::io("make", path))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), EngineError> {
    durable::write_file_whole(path, bytes, 0o600)
        .map_err(EngineError::room(format!("write {}", path.display())))
}
