//! Removing guests, at once or with a grace time, and bringing them back.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::guest_op::Ask;
use stampo_core::guest::GuestState;
use stampo_core::names::GuestName;
use stampo_store::GuestRow;
use std::time::Duration;

impl Engine {
    /// Removes a guest. With `keep` it is stopped and can be brought back for that long.
    pub fn remove(&self, name: &GuestName, keep: Option<Duration>) -> Result<(), EngineError> {
        match keep {
            Some(keep) => self.trash(name, keep),
            None => self.remove_now(name),
        }
    }

    /// The row says it is gone before the guest is stopped: a half-done removal is finished.
    fn trash(&self, name: &GuestName, keep: Duration) -> Result<(), EngineError> {
        let keep_ms = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let ask = Ask {
            verb: "trash",
            name,
            from: Some(GuestState::Ready),
            request: serde_json::Value::Null,
            detail: "kept for a grace time",
        };
        let (id, row) = self.claim_guest(&ask, |_, row| {
            row.state = GuestState::Trashed;
            row.keep_until_ms = Some(self.now_ms().saturating_add(keep_ms));
            Ok(())
        })?;
        self.with_claimed(id, row, |_, _| Ok(())).map(drop)
    }

    fn remove_now(&self, name: &GuestName) -> Result<(), EngineError> {
        let ask = Ask {
            verb: "remove",
            name,
            from: None,
            request: serde_json::Value::Null,
            detail: "",
        };
        let (id, row) = self.claim_guest(&ask, |_, row| {
            row.state = GuestState::Destroying;
            Ok(())
        })?;
        self.with_claimed(id, row, |_, _| Ok(())).map(drop)
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
