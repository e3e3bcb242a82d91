//! Removing guests, at once or with a grace time, and bringing them back.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::work::{Unwatched, Work};
use stampo_core::guest::GuestState;
use stampo_core::names::GuestName;
use stampo_driver::StopMethod;
use stampo_store::{GuestRow, OperationState};
use std::time::Duration;

impl Engine {
    /// Removes a guest. With `keep` it is stopped and can be brought back for that long.
    pub fn remove(&self, name: &GuestName, keep: Option<Duration>) -> Result<(), EngineError> {
        match keep {
            Some(keep) => self.trash(name, keep),
            None => self.remove_now(name),
        }
    }

    fn trash(&self, name: &GuestName, keep: Duration) -> Result<(), EngineError> {
        let mut row = self.ready_guest(name, "remove")?;
        self.driver.ensure_stopped(row.id, StopMethod::Kill)?;
        let keep_ms = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        row.state = GuestState::Trashed;
        row.keep_until_ms = Some(self.now_ms().saturating_add(keep_ms));
        row.changed_ms = self.now_ms();
        self.store.write_durably(|tx| {
            tx.update_guest(&row)?;
            self.audit(tx, "remove", name.as_str(), "kept for a grace time")
        })?;
        self.faults.reach("remove.trashed");
        Ok(())
    }

    fn remove_now(&self, name: &GuestName) -> Result<(), EngineError> {
        let operation = self.new_operation("remove", name.as_str(), serde_json::Value::Null);
        let row = self.store.write_durably(|tx| {
            let found = tx.guest_named(name)?;
            let mut row = found.ok_or_else(|| EngineError::NotFound {
                what: "guest",
                name: name.to_string(),
            })?;
            if let Some(id) = row.operation
                && tx
                    .operation(id)?
                    .is_some_and(|o| o.state == OperationState::Running)
            {
                let why = "an operation works on it; wait for it, or cancel it".to_owned();
                return Err(EngineError::Conflict {
                    act: format!("remove {name}"),
                    why,
                });
            }
            row.state = GuestState::Destroying;
            row.operation = Some(operation.id);
            row.changed_ms = self.now_ms();
            tx.insert_operation(&operation)?;
            tx.update_guest(&row)?;
            self.audit(tx, "remove", name.as_str(), "")?;
            Ok(row)
        })?;
        self.faults.reach("remove.intent");
        self.destroy(&row)?;
        Work::new(self, operation.id, &Unwatched).end(OperationState::Done, None, |_| Ok(()))
    }

    /// Recovery: goes on with removals that did not come to their end.
    pub(crate) fn finish_removals(&self, work: &Work<'_>) -> Result<(), EngineError> {
        for row in self.store.read(|tx| tx.guests_of_operation(work.id))? {
            self.destroy(&row)?;
        }
        work.end(OperationState::Done, None, |_| Ok(()))
    }

    /// Brings back a guest that was removed with a grace time.
    pub fn restore_guest(&self, name: &GuestName) -> Result<GuestRow, EngineError> {
        self.store.write_durably(|tx| {
            let found = tx.guest_named(name)?;
            let mut row = found.ok_or_else(|| EngineError::NotFound {
                what: "guest",
                name: name.to_string(),
            })?;
            if row.state != GuestState::Trashed {
                let why = format!("it is {}, not removed", row.state);
                return Err(EngineError::Conflict {
                    act: format!("restore {name}"),
                    why,
                });
            }
            row.state = GuestState::Ready;
            row.keep_until_ms = None;
            row.changed_ms = self.now_ms();
            tx.update_guest(&row)?;
            self.audit(tx, "restore", name.as_str(), "")?;
            Ok(row)
        })
    }
}
