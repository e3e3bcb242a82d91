//! Changing a guest that is complete: claimed by an operation, changed, settled, let go of.
//!
//! ```text
//! claim: operation + row (one durable commit) ─→ act ─→ settle ─→ end of the operation
//! ```
//!
//! *Settling* brings everything outside of the catalog to where the row says it is: the driver's
//! definition, the sidecar, the files in the guest's directory. It looks only at the row and can
//! be repeated, so recovery of every such operation is: settle, then end it. While an operation
//! holds a guest, no other can begin, in any process.

use crate::clone::disk_name;
use crate::engine::{Engine, in_pool};
use crate::error::EngineError;
use crate::work::{Unwatched, Work};
use stampo_core::goal::CloneKind;
use stampo_core::guest::GuestState;
use stampo_core::ids::OperationId;
use stampo_core::names::GuestName;
use stampo_driver::{DriverError, StopMethod};
use stampo_image::durable;
use stampo_store::{GuestRow, OperationRow, OperationState, Tx};

/// In front of the name of a file that is being made in a guest's directory.
pub(crate) const WORKING: &str = "new-";

/// What is asked of a guest.
pub(crate) struct Ask<'a> {
    /// The verb: the operation's kind and the audit's action.
    pub verb: &'a str,
    /// The guest.
    pub name: &'a GuestName,
    /// The state that it has to be in; `None`: any.
    pub from: Option<GuestState>,
    /// What recovery needs to go on.
    pub request: serde_json::Value,
    /// For the audit.
    pub detail: &'a str,
}

impl Engine {
    /// Claims a guest for an operation, with a first change of its row in the same commit.
    pub(crate) fn claim_guest(
        &self,
        ask: &Ask<'_>,
        change: impl FnOnce(&Tx<'_>, &mut GuestRow) -> Result<(), EngineError>,
    ) -> Result<(OperationId, GuestRow), EngineError> {
        let operation = self.new_operation(ask.verb, ask.name.as_str(), ask.request.clone());
        let row = self.store.write_durably(|tx| {
            tx.insert_operation(&operation)?;
            self.claim_in(tx, operation.id, ask, change)
        })?;
        self.faults.reach(&format!("{}.claimed", ask.verb));
        Ok((operation.id, row))
    }

    /// Claims a guest for an operation that is recorded in the same transaction.
    pub(crate) fn claim_in(
        &self,
        tx: &Tx<'_>,
        operation: OperationId,
        ask: &Ask<'_>,
        change: impl FnOnce(&Tx<'_>, &mut GuestRow) -> Result<(), EngineError>,
    ) -> Result<GuestRow, EngineError> {
        let found = tx.guest_named(ask.name)?;
        let mut row = found.ok_or_else(|| EngineError::NotFound {
            what: "guest",
            name: ask.name.to_string(),
        })?;
        self.refuse_if_guest_busy(tx, &row, ask.verb)?;
        self.refuse_outdated(tx, &row, &words(ask.verb))?;
        if let Some(from) = ask.from.filter(|from| *from != row.state) {
            return Err(EngineError::Conflict {
                act: format!("{} {}", words(ask.verb), ask.name),
                why: in_pool(&row).unwrap_or_else(|| format!("it is {}, not {from}", row.state)),
            });
        }
        change(tx, &mut row)?;
        self.hold(tx, operation, &mut row, (ask.verb, ask.detail))?;
        Ok(row)
    }

    /// Saves a changed row as the operation's, with the audit of it: its action and a detail.
    pub(crate) fn hold(
        &self,
        tx: &Tx<'_>,
        operation: OperationId,
        row: &mut GuestRow,
        (action, detail): (&str, &str),
    ) -> Result<(), EngineError> {
        row.operation = Some(operation);
        row.changed_ms = self.now_ms();
        tx.update_guest(row)?;
        self.audit(tx, action, row.name.as_str(), detail)?;
        Ok(())
    }

    /// Refuses to touch a guest that an operation works on.
    pub(crate) fn refuse_if_guest_busy(
        &self,
        tx: &Tx<'_>,
        row: &GuestRow,
        verb: &str,
    ) -> Result<(), EngineError> {
        let Some(id) = row.operation else {
            return Ok(());
        };
        let running = |operation: &OperationRow| operation.state == OperationState::Running;
        let Some(operation) = tx.operation(id)?.filter(running) else {
            return Ok(());
        };
        let kind = &operation.kind;
        let why = match &operation.error {
            Some(error) if !self.is_claimed(&operation) => format!(
                "its {kind} was interrupted, and recovery can't finish it: {error}; mend that, or \
                 remove it: stampo rm {}",
                row.name
            ),
            _ => format!("its {kind} is going on; wait for it, or cancel it"),
        };
        Err(EngineError::Conflict {
            act: format!("{} {}", words(verb), row.name),
            why,
        })
    }

    /// Runs `act` on a claimed guest, settles the guest whatever came of it, and ends the operation.
    pub(crate) fn with_claimed<T>(
        &self,
        id: OperationId,
        row: GuestRow,
        act: impl FnOnce(&Work<'_>, &mut GuestRow) -> Result<T, EngineError>,
    ) -> Result<(T, GuestRow), EngineError> {
        let work = Work::new(self, id, &Unwatched);
        let mut changed = row;
        let result = act(&work, &mut changed);
        if work.is_left_open()
            && let Err(error) = result
        {
            work.release(&error);
            return Err(error);
        }
        // After a failure the row in the catalog counts, not what `act` was about to make of it.
        if result.is_err()
            && let Some(row) = self.store.read(|tx| tx.guest(changed.id))?
        {
            changed = row;
        }
        let (state, why) = match &result {
            Ok(_) => (OperationState::Done, None),
            Err(error) => (OperationState::Failed, Some(error.chain())),
        };
        let ended = self
            .settle_guest(&changed)
            .and_then(|()| work.end(state, why.as_deref(), |_| Ok(())));
        if let Err(error) = ended {
            work.release(&error);
            return Err(error);
        }
        self.faults.reach("guest.ended");
        changed.operation = None;
        Ok((result?, changed))
    }

    /// As [`Engine::with_claimed`], of many guests, which are only settled.
    pub(crate) fn settle_claimed(
        &self,
        id: OperationId,
        rows: &[GuestRow],
    ) -> Result<(), EngineError> {
        let work = Work::new(self, id, &Unwatched);
        let ended = self
            .settle_guests(rows)
            .and_then(|()| work.end(OperationState::Done, None, |_| Ok(())));
        match &ended {
            Ok(()) => self.faults.reach("guest.ended"),
            Err(error) => work.release(error),
        }
        ended
    }

    /// Saves the row of a claimed guest.
    pub(crate) fn save_claimed(&self, row: &mut GuestRow) -> Result<(), EngineError> {
        row.changed_ms = self.now_ms();
        self.store.write_durably(|tx| tx.update_guest(row))?;
        self.faults.reach("guest.saved");
        Ok(())
    }

    /// Settles many guests; those that are to be destroyed, together.
    fn settle_guests(&self, rows: &[GuestRow]) -> Result<(), EngineError> {
        let (going, staying): (Vec<GuestRow>, Vec<GuestRow>) = rows
            .iter()
            .cloned()
            .partition(|row| row.state == GuestState::Destroying);
        self.destroy_all(&going)?;
        let failures = self.on_each(&staying, |row| self.settle_guest(row));
        EngineError::of_some("settle", failures, staying.len())
    }

    /// Brings the driver, the sidecar and the guest's directory to where the row says it is.
    pub(crate) fn settle_guest(&self, row: &GuestRow) -> Result<(), EngineError> {
        match row.state {
            GuestState::Destroying => return self.destroy(row),
            GuestState::Trashed => match self.driver.ensure_stopped(row.id, StopMethod::Kill) {
                Ok(_) | Err(DriverError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            },
            GuestState::Ready => self.settle_ready(row)?,
            // The steps of its clone operation see to it.
            _ => return Ok(()),
        }
        self.faults.reach("settle.driver");
        self.write_guest_sidecar(row)?;
        self.faults.reach("settle.sidecar");
        Ok(())
    }

    fn settle_ready(&self, row: &GuestRow) -> Result<(), EngineError> {
        self.driver.ensure_defined(&self.definition(row)?)?;
        self.faults.reach("settle.defined");
        let dir = self.guest_dir(row.id);
        // The disk of the other kind: the old one of a finished flattening, the new one of an
        // unfinished one.
        let other = match row.kind {
            CloneKind::Full => CloneKind::Linked,
            CloneKind::Linked => CloneKind::Full,
        };
        let own = dir.join(disk_name(row.kind));
        if !own.exists() {
            // An older catalog was put back: what is there may be the guest's only disk.
            tracing::warn!(guest = %row.name, disk = %own.display(), "missing, so nothing is removed");
            return Ok(());
        }
        for name in [
            disk_name(other).to_owned(),
            format!("{WORKING}{}", disk_name(row.kind)),
            format!("{WORKING}{}", disk_name(other)),
        ] {
            for path in [dir.join(&name), durable::partial_path(&dir.join(&name))] {
                durable::ensure_removed(&path)
                    .map_err(EngineError::room("remove an unfinished disk"))?;
            }
        }
        Ok(())
    }

    /// Recovery of an operation on complete guests.
    pub(crate) fn recover_guest_op(
        &self,
        work: &Work<'_>,
        verb: &str,
        request: &serde_json::Value,
    ) -> Result<(), EngineError> {
        let mut state = OperationState::Done;
        let mut failure = None;
        let mut rows = self.store.read(|tx| tx.guests_of_operation(work.id))?;
        for row in &mut rows {
            let is_undone = match verb {
                // It was refused, or had not yet come to the change.
                "remove" => row.state != GuestState::Destroying,
                "trash" => row.state != GuestState::Trashed,
                "flatten" => row.kind == CloneKind::Linked,
                "write_file" | "start" => true,
                _ => false,
            };
            if is_undone {
                state = OperationState::Undone;
            }
            if verb == "resize"
                && let Err(error) = self.resize_again(work, row, request)
            {
                if work.is_left_open() {
                    return Err(error);
                }
                state = OperationState::Failed;
                failure = Some(error.chain());
            }
        }
        match self.settle_guests(&rows) {
            // It has changed nothing that would have to be finished, so it holds nobody up.
            Err(error) if matches!(verb, "define" | "start") => {
                state = OperationState::Failed;
                failure = Some(error.chain());
            }
            other => other?,
        }
        let why = match state {
            OperationState::Undone => Some("interrupted".to_owned()),
            _ => failure,
        };
        work.end(state, why.as_deref(), |_| Ok(()))
    }
}

/// A verb as a sentence has it.
fn words(verb: &str) -> String {
    match verb {
        "restore_guest" => "bring back".to_owned(),
        "trash" => "remove".to_owned(),
        other => other.replace('_', " "),
    }
}
