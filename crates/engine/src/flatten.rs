//! Making a linked clone independent of its version: the same bytes in a disk of its own.

use crate::clone::disk_name;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::guest_op::{Ask, WORKING};
use crate::work::{PhaseProgress, Watch, Work};
use stampo_core::goal::CloneKind;
use stampo_core::guest::GuestState;
use stampo_core::ids::{GuestId, OperationId};
use stampo_core::names::GuestName;
use stampo_image::durable;
use stampo_store::{GuestRow, OperationState};

/// A flattening that was accepted.
pub struct Flatten {
    /// The operation.
    pub operation: OperationId,
    /// The guest.
    pub guest: GuestRow,
}

impl Engine {
    /// Claims a stopped linked clone for flattening.
    pub fn submit_flatten(&self, name: &GuestName) -> Result<Flatten, EngineError> {
        self.refuse_unless_stopped(&self.guest_row(name)?, "flatten")?;
        let ask = Ask {
            verb: "flatten",
            name,
            from: Some(GuestState::Ready),
            request: serde_json::Value::Null,
            detail: "begun",
        };
        let (operation, guest) = self.claim_guest(&ask, |_, row| {
            if row.kind == CloneKind::Full {
                let why = "it is a full clone already".to_owned();
                return Err(EngineError::Conflict {
                    act: format!("flatten {name}"),
                    why,
                });
            }
            Ok(())
        })?;
        Ok(Flatten { operation, guest })
    }

    /// Carries out an accepted flattening.
    pub fn run_flatten(
        &self,
        flatten: Flatten,
        watch: &dyn Watch,
    ) -> Result<GuestRow, EngineError> {
        let work = Work::new(self, flatten.operation, watch);
        let mut row = flatten.guest;
        let Err(error) = self.caught(|| self.flatten_disk(&work, &mut row)) else {
            row.operation = None;
            return Ok(row);
        };
        let state = if matches!(error, EngineError::Cancelled) {
            OperationState::Undone
        } else {
            OperationState::Failed
        };
        let ended = self
            .settle_again(row.id)
            .and_then(|()| work.end(state, Some(&error.chain()), |_| Ok(())));
        if let Err(undone) = ended {
            tracing::warn!(error = %undone.chain(), "a flattening is undone at the next start");
            work.release(&undone);
        }
        Err(error)
    }

    /// Settles a guest as its row is in the catalog, whatever was about to become of it.
    fn settle_again(&self, id: GuestId) -> Result<(), EngineError> {
        match self.store.read(|tx| tx.guest(id))? {
            Some(row) => self.settle_guest(&row),
            None => Ok(()),
        }
    }

    /// New disk → its name → row (the switch) → definition → old disk gone. Before the row changes,
    /// the old disk is the guest's; after it, the new one is.
    fn flatten_disk(&self, work: &Work<'_>, row: &mut GuestRow) -> Result<(), EngineError> {
        // Asked again: it may have been started before the claim.
        self.refuse_unless_stopped(row, "flatten")?;
        let dir = self.guest_dir(row.id);
        let overlay = dir.join(disk_name(CloneKind::Linked));
        let raw = dir.join(disk_name(CloneKind::Full));
        let working = dir.join(format!("{WORKING}{}", disk_name(CloneKind::Full)));
        for unfinished in [&working, &raw] {
            durable::ensure_removed(unfinished)
                .map_err(EngineError::room("remove an unfinished disk"))?;
        }
        work.phase(row.name.as_str(), "flatten", || {
            let progress = PhaseProgress {
                work,
                phase: "flatten",
            };
            let base = self.pool.image_disk(&row.image);
            let flattened = stampo_image::flatten::flatten(&overlay, &base, &working, &progress);
            work.not_cancelled()?;
            flattened.map_err(|error| not_flattened(row, error))?;
            Ok(((), String::new()))
        })?;
        self.faults.reach("flatten.made");
        durable::rename_durably(&working, &raw)
            .map_err(EngineError::room("name the guest's disk"))?;
        self.faults.reach("flatten.named");
        row.kind = CloneKind::Full;
        row.plan.kind = CloneKind::Full;
        self.save_claimed(row)?;
        self.settle_guest(row)?;
        work.end(OperationState::Done, None, |tx| {
            self.audit(tx, "flatten", row.name.as_str(), "")
        })
    }
}

/// A disk may be larger than any file of the host can be; most of it is a hole, but a file's end is
/// its size.
fn not_flattened<E>(row: &GuestRow, error: E) -> EngineError
where
    E: std::error::Error + Send + Sync + 'static,
{
    let act = format!("flatten {}", row.name);
    let first: &(dyn std::error::Error + 'static) = &error;
    let is_too_large = std::iter::successors(Some(first), |error| error.source())
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::FileTooLarge);
    if !is_too_large {
        return EngineError::room(act)(error);
    }
    let size = row.plan.disk_size;
    let why = format!(
        "its disk of {size} is larger than a file of this file system can be; it stays linked: keep \
         its version, or have the home on a file system with larger files (xfs)"
    );
    EngineError::Conflict { act, why }
}
