//! Removing guests, for good or with a grace time, and bringing them back.
//!
//! ```text
//! held (one commit) ─→ none of them runs? ─→ doomed: the rows say so (one commit) ─→ settled
//! forced:                                    held and doomed in one commit
//! ```
//!
//! A guest that an operation holds can't be started, so what is seen after that stays so.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::guest_op::Ask;
use crate::work::{Unwatched, Work};
use stampo_core::guest::GuestState;
use stampo_core::ids::OperationId;
use stampo_core::names::GuestName;
use stampo_driver::Power;
use stampo_store::{GuestRow, OperationRow, OperationState, StoreError, Tx};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

/// How guests are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removal {
    /// They are stopped and can be brought back for that long; `None`: they go for good.
    pub keep: Option<Duration>,
    /// Those that run, or of which nothing tells whether they do, go too.
    pub force: bool,
}

impl Removal {
    fn verb(self) -> &'static str {
        match self.keep {
            Some(_) => "trash",
            None => "remove",
        }
    }
}

impl Engine {
    /// Removes a guest, even one that runs. With `keep` it can be brought back for that long.
    pub fn remove(&self, name: &GuestName, keep: Option<Duration>) -> Result<(), EngineError> {
        let removal = Removal { keep, force: true };
        self.remove_all(std::slice::from_ref(name), removal)
    }

    /// Removes guests, with one operation: all of them, or none when one is not there, runs, or
    /// something else works on it.
    ///
    /// The rows say that they are gone before anything goes, so a removal that is half done is
    /// finished by recovery.
    pub fn remove_all(&self, names: &[GuestName], removal: Removal) -> Result<(), EngineError> {
        self.know_all(names)?;
        let verb = removal.verb();
        self.faults.reach(&format!("{verb}.begun"));
        let operation = self.new_operation(verb, &subject(names), serde_json::Value::Null);
        let different: BTreeSet<&GuestName> = names.iter().collect();
        let mut rows = self.store.write_durably(|tx| {
            tx.insert_operation(&operation)?;
            let claim = |name| self.claim_to_remove(tx, operation.id, name, removal);
            different
                .into_iter()
                .map(claim)
                .collect::<Result<Vec<_>, _>>()
        })?;
        self.faults.reach(&format!("{verb}.claimed"));
        if !removal.force {
            let doomed = self.doom_stopped(operation.id, &mut rows, removal);
            self.end_if_refused(operation.id, doomed)?;
            self.faults.reach(&format!("{verb}.doomed"));
        }
        self.settle_claimed(operation.id, &rows)
    }

    /// Claims a guest; with force, its row says at once that it is removed.
    fn claim_to_remove(
        &self,
        tx: &Tx<'_>,
        operation: OperationId,
        name: &GuestName,
        removal: Removal,
    ) -> Result<GuestRow, EngineError> {
        let found = tx.guest_named(name)?;
        let mut row = found.ok_or_else(|| EngineError::NotFound {
            what: "guest",
            name: name.to_string(),
        })?;
        self.refuse_to_remove(tx, &mut row, removal)?;
        if removal.force {
            self.doom(tx, operation, &mut row, removal)?;
        } else {
            self.refuse_outdated(tx, &row, "remove")?;
            row.operation = Some(operation);
            tx.update_guest(&row)?;
        }
        Ok(row)
    }

    /// Refuses a guest that something works on, and one that can't be kept. It is taken out of what
    /// was interrupted where it goes for good.
    fn refuse_to_remove(
        &self,
        tx: &Tx<'_>,
        row: &mut GuestRow,
        removal: Removal,
    ) -> Result<(), EngineError> {
        if removal.keep.is_none() {
            self.take_from_interrupted(tx, row)?;
        }
        self.refuse_if_guest_busy(tx, row, removal.verb())?;
        if removal.keep.is_some() && row.state != GuestState::Ready {
            return Err(EngineError::Conflict {
                act: format!("remove {}", row.name),
                why: format!("it is {}, not ready", row.state),
            });
        }
        Ok(())
    }

    /// Claims the guest of a row that was read in this transaction, for a removal that nobody asked
    /// for now: not by its name, which may be another guest's, and not on the word of an older
    /// catalog.
    pub(crate) fn claim_unasked(
        &self,
        tx: &Tx<'_>,
        row: &mut GuestRow,
        removal: Removal,
    ) -> Result<OperationId, EngineError> {
        self.refuse_to_remove(tx, row, removal)?;
        self.refuse_outdated(tx, row, "end the lease of")?;
        let subject = row.name.to_string();
        let operation = self.new_operation(removal.verb(), &subject, serde_json::Value::Null);
        tx.insert_operation(&operation)?;
        self.doom(tx, operation.id, row, removal)?;
        Ok(operation.id)
    }

    /// Says of guests that are held, and so can't be started, that they are removed: of all or, when
    /// one runs or may run, of none.
    fn doom_stopped(
        &self,
        operation: OperationId,
        rows: &mut [GuestRow],
        removal: Removal,
    ) -> Result<(), EngineError> {
        for row in rows.iter() {
            let why = match self.power(row) {
                Power::Stopped | Power::Undefined => continue,
                Power::Running { .. } => format!(
                    "it runs; stop it first: stampo stop {0}, or: stampo rm --force {0}",
                    row.name
                ),
                Power::Paused { .. } if row.state == GuestState::Pooled => format!(
                    "it waits in a pool; to remove it all the same: stampo rm --force {}",
                    row.name
                ),
                Power::Paused { .. } => format!(
                    "it is paused; end it first: stampo stop {0}, or: stampo rm --force {0}",
                    row.name
                ),
                Power::Unknown { reason } => format!(
                    "it may run: {reason}; to remove it all the same: stampo rm --force {}",
                    row.name
                ),
            };
            return Err(EngineError::Conflict {
                act: format!("remove {}", row.name),
                why,
            });
        }
        self.store.write_durably(|tx| {
            let doom = |row| self.doom(tx, operation, row, removal);
            rows.iter_mut().try_for_each(doom)
        })
    }

    /// Says in a guest's row that it is removed.
    fn doom(
        &self,
        tx: &Tx<'_>,
        operation: OperationId,
        row: &mut GuestRow,
        removal: Removal,
    ) -> Result<(), EngineError> {
        let Some(keep) = removal.keep else {
            row.state = GuestState::Destroying;
            // Of a clone that was never finished; some of it is secret.
            row.plan.personalisation = None;
            return self.hold(tx, operation, row, ("remove", ""));
        };
        let keep_ms = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        row.state = GuestState::Trashed;
        row.keep_until_ms = Some(self.now_ms().saturating_add(keep_ms));
        self.hold(tx, operation, row, ("trash", "kept for a grace time"))
    }

    /// Ends a removal that was refused after its claim. Nothing was changed.
    fn end_if_refused(
        &self,
        operation: OperationId,
        doomed: Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let Err(error) = doomed else {
            return Ok(());
        };
        let work = Work::new(self, operation, &Unwatched);
        if let Err(unended) = work.end(OperationState::Failed, Some(&error.chain()), |_| Ok(())) {
            work.release(&unended);
        }
        Err(error)
    }

    /// Takes a guest that is to go for good out of an operation that nobody works on any more: one
    /// that recovery could not end. A guest that is still being made stays the clone's: without it
    /// nobody would go on with it, if it is not removed after all.
    fn take_from_interrupted(&self, tx: &Tx<'_>, row: &mut GuestRow) -> Result<(), EngineError> {
        let Some(id) = row.operation.filter(|_| row.state.next().is_none()) else {
            return Ok(());
        };
        let running = |operation: &OperationRow| operation.state == OperationState::Running;
        let Some(operation) = tx.operation(id)?.filter(running) else {
            return Ok(());
        };
        if self.is_claimed(&operation) {
            return Ok(());
        }
        row.operation = None;
        tx.update_guest(row)?;
        if tx.guests_of_operation(id)?.is_empty() {
            let why = Some("its guest was removed");
            tx.end_operation(id, OperationState::Undone, why, self.now_ms())?;
        }
        Ok(())
    }

    /// Has the driver know these guests, of those that there are: one that it has lost may run all
    /// the same.
    fn know_all(&self, names: &[GuestName]) -> Result<(), EngineError> {
        let found: Vec<Option<GuestRow>> = self.store.read(|tx| {
            let found = names.iter().map(|name| tx.guest_named(name));
            found.collect::<Result<_, StoreError>>()
        })?;
        for row in found.iter().flatten() {
            self.power(row);
        }
        Ok(())
    }

    /// Brings back a guest that was removed with a grace time.
    pub fn restore_guest(&self, name: &GuestName) -> Result<GuestRow, EngineError> {
        let ask = Ask {
            verb: "restore_guest",
            name,
            from: Some(GuestState::Trashed),
            request: serde_json::Value::Null,
            detail: "",
        };
        let (id, row) = self.claim_guest(&ask, |_, row| {
            row.state = GuestState::Ready;
            row.keep_until_ms = None;
            Ok(())
        })?;
        Ok(self.with_claimed(id, row, |_, _| Ok(()))?.1)
    }
}

/// The guests of an operation, for people.
pub(crate) fn subject<N: Display>(names: &[N]) -> String {
    match names {
        [name] => name.to_string(),
        names => format!("{} guests", names.len()),
    }
}
