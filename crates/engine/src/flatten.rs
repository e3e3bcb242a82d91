//! Making a linked clone independent of its version: the same bytes in a disk of its own.

use crate::clone::disk_name;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::work::{PhaseProgress, Watch, Work};
use stampo_core::goal::CloneKind;
use stampo_core::ids::OperationId;
use stampo_core::names::GuestName;
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
        let act = || format!("flatten {name}");
        let id = self.ready_guest(name, "flatten")?.id;
        let found = self.guest_row(name)?;
        self.refuse_unless_stopped(&found, "flatten")?;
        self.store.write(|tx| {
            let missing = || EngineError::NotFound {
                what: "guest",
                name: name.to_string(),
            };
            let mut row = tx.guest(id)?.ok_or_else(missing)?;
            if row.kind == CloneKind::Full {
                let why = "it is a full clone already".to_owned();
                return Err(EngineError::Conflict { act: act(), why });
            }
            if let Some(id) = row.operation
                && tx
                    .operation(id)?
                    .is_some_and(|o| o.state == OperationState::Running)
            {
                let why = "an operation works on it; wait for it, or cancel it".to_owned();
                return Err(EngineError::Conflict { act: act(), why });
            }
            let operation = self.new_operation("flatten", name.as_str(), serde_json::json!({}));
            row.operation = Some(operation.id);
            tx.insert_operation(&operation)?;
            tx.update_guest(&row)?;
            self.audit(tx, "flatten", name.as_str(), "begun")?;
            Ok(Flatten {
                operation: operation.id,
                guest: row,
            })
        })
    }

    /// Carries out an accepted flattening.
    pub fn run_flatten(
        &self,
        flatten: Flatten,
        watch: &dyn Watch,
    ) -> Result<GuestRow, EngineError> {
        let work = Work::new(self, flatten.operation, watch);
        match self.flatten_disk(&work, flatten.guest) {
            Ok(row) => Ok(row),
            Err(error) => self.give_up(&work, error),
        }
    }

    /// New disk → its name → row (the switch) → definition → old disk gone. Before the row changes,
    /// the old disk is the guest's; after it, the new one is.
    fn flatten_disk(&self, work: &Work<'_>, mut row: GuestRow) -> Result<GuestRow, EngineError> {
        let dir = self.guest_dir(row.id);
        let overlay = dir.join(disk_name(CloneKind::Linked));
        let raw = dir.join(disk_name(CloneKind::Full));
        // From an earlier try that did not come to its row: the overlay is still the guest's disk.
        stampo_image::durable::ensure_removed(&raw)
            .map_err(EngineError::room("remove an unfinished disk"))?;
        work.phase(row.name.as_str(), "flatten", || {
            let progress = PhaseProgress {
                work,
                phase: "flatten",
            };
            let base = self.pool.image_disk(&row.image);
            stampo_image::flatten::flatten(&overlay, &base, &raw, &progress)
                .map_err(EngineError::room(format!("flatten {}", row.name)))?;
            Ok(((), String::new()))
        })?;
        self.faults.reach("flatten.disk");
        row.kind = CloneKind::Full;
        row.plan.kind = CloneKind::Full;
        row.operation = None;
        row.changed_ms = self.now_ms();
        work.end(OperationState::Done, None, |tx| {
            tx.update_guest(&row)?;
            self.audit(tx, "flatten", row.name.as_str(), "")
        })?;
        self.faults.reach("flatten.committed");
        self.settle_flattened(&row)?;
        Ok(row)
    }

    /// The part after the commit; recovery and the next start repeat it.
    pub(crate) fn settle_flattened(&self, row: &GuestRow) -> Result<(), EngineError> {
        self.driver.ensure_defined(&self.definition(row)?)?;
        self.write_guest_sidecar(row)?;
        let overlay = self.guest_dir(row.id).join(disk_name(CloneKind::Linked));
        stampo_image::durable::ensure_removed(&overlay)
            .map_err(EngineError::room("remove the overlay"))
    }
}
