//! Removing guests, for good or with a grace time, and bringing them back.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::guest_op::Ask;
use stampo_core::guest::GuestState;
use stampo_core::ids::OperationId;
use stampo_core::names::GuestName;
use stampo_store::{GuestRow, StoreError, Tx};
use std::collections::BTreeSet;
use std::time::Duration;

impl Engine {
    /// Removes a guest. With `keep` it is stopped and can be brought back for that long.
    pub fn remove(&self, name: &GuestName, keep: Option<Duration>) -> Result<(), EngineError> {
        self.remove_all(std::slice::from_ref(name), keep)
    }

    /// Removes guests, with one operation: all of them, or none when one is not there or something
    /// else works on it. With `keep` they are stopped and can be brought back for that long.
    ///
    /// The rows say that they are gone before anything goes, so a removal that is half done is
    /// finished by recovery.
    pub fn remove_all(
        &self,
        names: &[GuestName],
        keep: Option<Duration>,
    ) -> Result<(), EngineError> {
        self.know_all(names)?;
        let verb = if keep.is_some() { "trash" } else { "remove" };
        let operation = self.new_operation(verb, &subject(names), serde_json::Value::Null);
        let different: BTreeSet<&GuestName> = names.iter().collect();
        let rows = self.store.write_durably(|tx| {
            tx.insert_operation(&operation)?;
            let claim = |name| self.claim_to_remove(tx, operation.id, name, keep);
            different
                .into_iter()
                .map(claim)
                .collect::<Result<Vec<_>, _>>()
        })?;
        self.faults.reach(&format!("{verb}.claimed"));
        self.settle_claimed(operation.id, &rows)
    }

    fn claim_to_remove(
        &self,
        tx: &Tx<'_>,
        operation: OperationId,
        name: &GuestName,
        keep: Option<Duration>,
    ) -> Result<GuestRow, EngineError> {
        let ask = |verb, from, detail| Ask {
            verb,
            name,
            from,
            request: serde_json::Value::Null,
            detail,
        };
        let Some(keep) = keep else {
            return self.claim_in(tx, operation, &ask("remove", None, ""), |_, row| {
                row.state = GuestState::Destroying;
                Ok(())
            });
        };
        let keep_ms = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let ask = ask("trash", Some(GuestState::Ready), "kept for a grace time");
        self.claim_in(tx, operation, &ask, |_, row| {
            row.state = GuestState::Trashed;
            row.keep_until_ms = Some(self.now_ms().saturating_add(keep_ms));
            Ok(())
        })
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
fn subject(names: &[GuestName]) -> String {
    match names {
        [name] => name.to_string(),
        names => format!("{} guests", names.len()),
    }
}
