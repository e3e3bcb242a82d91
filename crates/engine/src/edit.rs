//! Editing the disk of a guest that is complete and stopped: on a copy, which then takes its place.
//!
//! An ext4 filesystem that is edited in place and whose editor dies half-way is damaged. So the
//! disk file is copied (a reflink where the file system has it), the copy is edited, and a rename
//! makes it the guest's disk. Only a guest that an operation has claimed is edited, so nothing can
//! start it or edit it meanwhile.

use crate::clone::{disk_name, grow_partition};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::guest_op::{Ask, WORKING};
use stampo_core::goal::CloneKind;
use stampo_core::guest::GuestState;
use stampo_core::names::GuestName;
use stampo_core::size::ByteSize;
use stampo_guest::fs::{FsError, Owner, open_write};
use stampo_image::copy::{Method, copy_image};
use stampo_image::durable;
use stampo_image::progress::Unwatched;
use stampo_store::GuestRow;
use std::path::Path;

impl Engine {
    /// Runs `edit` on a copy of a claimed guest's disk file and puts the copy in its place.
    fn edit_disk(
        &self,
        row: &GuestRow,
        edit: impl FnOnce(&Path) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let dir = self.guest_dir(row.id);
        let disk = dir.join(disk_name(row.kind));
        let working = dir.join(format!("{WORKING}{}", disk_name(row.kind)));
        durable::ensure_removed(&working)
            .map_err(EngineError::room("remove an unfinished disk"))?;
        copy_image(&disk, &working, Method::Auto, &Unwatched)
            .map_err(EngineError::room(format!("copy the disk of {}", row.name)))?;
        self.faults.reach("edit.copied");
        edit(&working).map_err(EngineError::editing(&working))?;
        durable::fsync_file(&working).map_err(EngineError::room("write the edited disk"))?;
        self.faults.reach("edit.edited");
        durable::rename_durably(&working, &disk)
            .map_err(EngineError::room("put the edited disk in place"))?;
        self.faults.reach("edit.renamed");
        Ok(())
    }

    /// Makes a claimed guest's disk larger: the file, its last partition, and the filesystem at
    /// the next boot. It can be repeated.
    pub(crate) fn grow_disk(&self, row: &GuestRow, size: ByteSize) -> Result<(), EngineError> {
        if self.has_size(row, size)? {
            // An earlier try put the whole edited disk in place; its name may not be durable yet.
            let disk = self.guest_dir(row.id).join(disk_name(row.kind));
            return durable::fsync_parent(&disk)
                .map_err(EngineError::room("put the edited disk in place"));
        }
        self.edit_disk(row, |path| {
            match row.kind {
                CloneKind::Full => {
                    let file = std::fs::File::options().write(true).open(path);
                    file.and_then(|file| file.set_len(size.bytes()))
                        .map_err(EngineError::io("set the size of", path))?;
                }
                CloneKind::Linked => {
                    stampo_image::resize::grow_overlay(path, size.bytes())
                        .map_err(EngineError::room("grow the overlay"))?;
                }
            }
            let disk = self.open_guest_disk(row, path, true)?;
            grow_partition(disk.as_ref())?;
            let act = || format!("grow the filesystem of {}", row.name);
            let mut fs = open_write(disk.clone()).map_err(EngineError::room(act()))?;
            stampo_guest::personalise::grow_root_at_boot(fs.as_mut())
                .map_err(EngineError::room(act()))?;
            fs.finish().map_err(EngineError::room(act()))?;
            disk.flush().map_err(EngineError::io("write", path))
        })
    }

    /// Whether a claimed guest's disk is so large.
    pub(crate) fn has_size(&self, row: &GuestRow, size: ByteSize) -> Result<bool, EngineError> {
        Ok(self.open_disk(row, false)?.size_bytes() == size.bytes())
    }

    /// Writes a regular file on a stopped guest's disk. An existing file keeps its owner and mode.
    pub(crate) fn write_on_disk(
        &self,
        name: &GuestName,
        path: &str,
        content: &[u8],
    ) -> Result<(), EngineError> {
        let ask = Ask {
            verb: "write_file",
            name,
            from: Some(GuestState::Ready),
            request: serde_json::Value::Null,
            detail: path,
        };
        let (id, row) = self.claim_guest(&ask, |_, _| Ok(()))?;
        self.with_claimed(id, row, |_, row| {
            self.refuse_unless_stopped(row, "write a file of")?;
            self.edit_disk(row, |disk| {
                self.write_one(row, disk, path, content)
                    .map_err(EngineError::room(format!("write {path} of {name}")))
            })
        })?;
        Ok(())
    }

    fn write_one(
        &self,
        row: &GuestRow,
        disk: &Path,
        path: &str,
        content: &[u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut fs = open_write(self.open_guest_disk(row, disk, true)?)?;
        let owner = match fs.metadata(path) {
            Ok(meta) => Owner {
                uid: meta.uid,
                gid: meta.gid,
                mode: meta.mode,
            },
            Err(FsError::NotFound { .. }) => Owner::root(0o644),
            Err(error) => return Err(error.into()),
        };
        fs.write(path, content, owner)?;
        Ok(fs.finish()?)
    }
}
