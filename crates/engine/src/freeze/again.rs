//! Freezing a version again: what becomes of the memory image that is there.
//!
//! One that fits this host is kept, and the freeze is refused. One that does not, after an upgrade of
//! QEMU for example, goes when the new one is complete; not while guests that went on from it are there.

use super::image::{FrozenSidecar, SIDECAR};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::sidecar::read_sidecar;
use stampo_core::guest::GuestState;
use stampo_core::ids::ImageId;
use stampo_core::plan::CloneSpec;
use stampo_driver::Power;
use stampo_store::{GuestRow, Tx, VersionRow};
use std::path::Path;

impl Engine {
    /// Refuses to freeze a version whose memory image is of use, or is used.
    pub(super) fn refuse_freeze_again(
        &self,
        tx: &Tx<'_>,
        row: &VersionRow,
    ) -> Result<(), EngineError> {
        let refused = |why: String| {
            Err(EngineError::Conflict {
                act: format!("freeze {}", row.label()),
                why,
            })
        };
        let whole = self.memory_images(row)?;
        for kept in &whole {
            if self.useless(row, &CloneSpec::default(), kept)?.is_none() {
                return refused(format!(
                    "it is frozen, and its memory image fits this host; clone it: stampo clone \
                     --instant {} NAME",
                    row.label()
                ));
            }
            if let Some(guest) = self.goes_on_from(tx, &kept.directory)? {
                return refused(format!(
                    "its memory image does not fit this host any more, and {} goes on from it; {}",
                    guest.name,
                    way_out(&guest)
                ));
            }
        }
        let Some(image) = row.image.as_ref().filter(|_| whole.is_empty()) else {
            return Ok(());
        };
        // One that can't be read goes too, and guests may still go on from it.
        for directory in self.memory_dirs(image)? {
            if self.is_of_another(row, &directory) {
                continue;
            }
            if let Some(guest) = self.goes_on_from(tx, &directory)? {
                return refused(format!(
                    "its memory image is damaged, and {} goes on from it; {}",
                    guest.name,
                    way_out(&guest)
                ));
            }
        }
        Ok(())
    }

    /// Whether a memory image says that it is another version's, whose bytes are the same.
    fn is_of_another(&self, row: &VersionRow, directory: &Path) -> bool {
        let sidecar = read_sidecar::<FrozenSidecar>(&directory.join(SIDECAR));
        sidecar.is_ok_and(|(sidecar, _)| sidecar.version != row.id)
    }

    /// A guest that went on from this memory image and still runs, or waits to go on.
    fn goes_on_from(&self, tx: &Tx<'_>, directory: &Path) -> Result<Option<GuestRow>, EngineError> {
        let name = directory.file_name().and_then(|name| name.to_str());
        let found = tx.guests()?.into_iter().find(|row| {
            let fork = row.plan.fork.as_ref();
            fork.is_some_and(|fork| Some(fork.origin.memory.as_str()) == name)
                && self.may_use_memory(row)
        });
        Ok(found)
    }

    fn may_use_memory(&self, row: &GuestRow) -> bool {
        match self.driver.observe(row.id) {
            Ok(Power::Stopped | Power::Undefined) => {
                row.state.is_in_transit() && row.state != GuestState::Destroying
            }
            // What can't be seen may run.
            Ok(Power::Running { .. } | Power::Paused { .. } | Power::Unknown { .. }) | Err(_) => {
                true
            }
        }
    }

    /// Makes room for a version's new memory image: those that were of no use go, and whatever lies
    /// where it will be.
    pub(super) fn replace_memory(
        &self,
        row: &VersionRow,
        base: &ImageId,
        directory: &Path,
    ) -> Result<(), EngineError> {
        self.remove_memory_images(base, row)?;
        // One that could not be read has no sidecar that says whose it is.
        self.pool
            .remove_beside_image(directory)
            .map_err(EngineError::room("replace the memory image"))?;
        self.faults.reach("freeze.replaced");
        Ok(())
    }
}

/// How a guest lets go of its memory image.
fn way_out(guest: &GuestRow) -> String {
    match &guest.plan.member {
        Some(member) if guest.state == GuestState::Pooled => {
            format!("let its pool go first: stampo pool rm {}", member.pool)
        }
        _ => format!("stop it first: stampo stop {}", guest.name),
    }
}
