//! Tables `operations` and `events`: every request that changes something, from intent to end.
//!
//! ```text
//! running ──→ done | failed | undone
//! ```
//!
//! An operation is claimed by a process with a lease. A process that died leaves its operations
//! claimable at once on the same host (its identity is checked), elsewhere when the lease ends.

use crate::connection::{StoreError, Tx};
use crate::convert::{collect, json, parsed};
use rusqlite::{OptionalExtension, Row, params};
use stampo_core::ids::OperationId;
use std::fmt;
use std::str::FromStr;

/// Where an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationState {
    /// Accepted; work is or will be going on.
    Running,
    /// Everything asked for is there.
    Done,
    /// It could not be done; what it made is gone.
    Failed,
    /// It was cancelled or interrupted; what it made is gone, but for what a scrub has mended.
    Undone,
}

impl OperationState {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            OperationState::Running => "running",
            OperationState::Done => "done",
            OperationState::Failed => "failed",
            OperationState::Undone => "undone",
        }
    }
}

impl fmt::Display for OperationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OperationState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "running" => Ok(OperationState::Running),
            "done" => Ok(OperationState::Done),
            "failed" => Ok(OperationState::Failed),
            "undone" => Ok(OperationState::Undone),
            _ => Err(text.to_owned()),
        }
    }
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationRow {
    /// Its id.
    pub id: OperationId,
    /// The verb, as it is typed.
    pub kind: String,
    /// What it works on, for people.
    pub subject: String,
    /// What is needed to go on with it, as JSON. Secrets of guests are in their plans, not here.
    pub request: serde_json::Value,
    /// Where it is.
    pub state: OperationState,
    /// Someone asked for it to stop.
    pub cancel: bool,
    /// The process that works on it, as JSON.
    pub owner: Option<String>,
    /// Until when the claim holds without being renewed, milliseconds since 1970.
    pub lease_until_ms: i64,
    /// Why it failed; of one that is running and that nobody works on, why it could not be ended.
    pub error: Option<String>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub ended_ms: Option<i64>,
}

/// One thing that happened in an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// From 1, without gaps.
    pub sequence: u64,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// The guest or version.
    pub subject: String,
    /// The phase that ended, for example `disk`.
    pub phase: String,
    /// A sentence, may be empty.
    pub detail: String,
    /// How long the phase took.
    pub duration_ms: Option<u64>,
}

pub(crate) fn read(row: &Row<'_>) -> Result<OperationRow, StoreError> {
    Ok(OperationRow {
        id: parsed(row, "operations", "id")?,
        kind: row.get("kind")?,
        subject: row.get("subject")?,
        request: json(row, "operations", "request")?,
        state: parsed(row, "operations", "state")?,
        cancel: row.get("cancel")?,
        owner: row.get("owner")?,
        lease_until_ms: row.get("lease_until_ms")?,
        error: row.get("error")?,
        created_ms: row.get("created_ms")?,
        ended_ms: row.get("ended_ms")?,
    })
}

impl Tx<'_> {
    /// Records an intent.
    pub fn insert_operation(&self, row: &OperationRow) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO operations (id, kind, subject, request, state, cancel, owner,
             lease_until_ms, error, created_ms, ended_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                row.id.to_string(),
                row.kind,
                row.subject,
                row.request.to_string(),
                row.state.as_str(),
                row.cancel,
                row.owner,
                row.lease_until_ms,
                row.error,
                row.created_ms,
                row.ended_ms,
            ],
        )?;
        Ok(())
    }

    /// The operation of this id.
    pub fn operation(&self, id: OperationId) -> Result<Option<OperationRow>, StoreError> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT * FROM operations WHERE id = ?1")?;
        let mut rows = statement.query([id.to_string()])?;
        rows.next()?.map(read).transpose()
    }

    /// The operations that have not ended, oldest first.
    pub fn running_operations(&self) -> Result<Vec<OperationRow>, StoreError> {
        let sql = "SELECT * FROM operations WHERE state = 'running' ORDER BY created_ms, id";
        collect(&mut self.sql.prepare_cached(sql)?, [], read)
    }

    /// The newest operations, newest first.
    pub fn recent_operations(&self, limit: u32) -> Result<Vec<OperationRow>, StoreError> {
        let sql = "SELECT * FROM operations ORDER BY created_ms DESC, id DESC LIMIT ?1";
        collect(&mut self.sql.prepare_cached(sql)?, [limit], read)
    }

    /// Takes or renews the claim of an operation.
    pub fn claim_operation(
        &self,
        id: OperationId,
        owner: &str,
        until_ms: i64,
    ) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE operations SET owner = ?2, lease_until_ms = ?3 WHERE id = ?1",
            params![id.to_string(), owner, until_ms],
        )?;
        Ok(())
    }

    /// Gives up the claim of a running operation, so that any process may go on with it; `why` is
    /// what kept this one from ending it.
    pub fn release_operation(&self, id: OperationId, why: &str) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE operations SET owner = NULL, lease_until_ms = 0, error = ?2 WHERE id = ?1",
            params![id.to_string(), why],
        )?;
        Ok(())
    }

    /// Replaces what is needed to go on with an operation, or to undo it.
    pub fn set_operation_request(
        &self,
        id: OperationId,
        request: &serde_json::Value,
    ) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE operations SET request = ?2 WHERE id = ?1",
            params![id.to_string(), request.to_string()],
        )?;
        Ok(())
    }

    /// Asks an operation to stop.
    pub fn cancel_operation(&self, id: OperationId) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE operations SET cancel = 1 WHERE id = ?1",
            [id.to_string()],
        )?;
        Ok(())
    }

    /// Whether an operation was asked to stop.
    pub fn is_cancelled(&self, id: OperationId) -> Result<bool, StoreError> {
        let sql = "SELECT cancel FROM operations WHERE id = ?1";
        let cancel = self
            .sql
            .query_row(sql, [id.to_string()], |row| row.get(0))
            .optional()?;
        Ok(cancel.unwrap_or(false))
    }

    /// Ends an operation, and lets go of everything that it held.
    pub fn end_operation(
        &self,
        id: OperationId,
        state: OperationState,
        error: Option<&str>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let key = id.to_string();
        self.sql.execute(
            "UPDATE operations SET state = ?2, error = ?3, ended_ms = ?4, owner = NULL,
             lease_until_ms = 0 WHERE id = ?1",
            params![key, state.as_str(), error, now_ms],
        )?;
        self.sql.execute(
            "UPDATE guests SET operation_id = NULL WHERE operation_id = ?1",
            [&key],
        )?;
        self.sql.execute(
            "UPDATE versions SET operation_id = NULL WHERE operation_id = ?1",
            [&key],
        )?;
        Ok(())
    }

    /// Adds an event; its sequence number is chosen here.
    pub fn insert_event(&self, operation: OperationId, event: &EventRow) -> Result<(), StoreError> {
        let mut statement = self.sql.prepare_cached(
            "INSERT INTO events (operation_id, sequence, at_ms, subject, phase, detail, duration_ms)
             SELECT ?1, coalesce(max(sequence), 0) + 1, ?2, ?3, ?4, ?5, ?6
             FROM events WHERE operation_id = ?1",
        )?;
        statement.execute(params![
            operation.to_string(),
            event.at_ms,
            event.subject,
            event.phase,
            event.detail,
            event.duration_ms.map(u64::cast_signed),
        ])?;
        Ok(())
    }

    /// The events of an operation after this sequence number, in order.
    pub fn events_after(
        &self,
        operation: OperationId,
        after: u64,
    ) -> Result<Vec<EventRow>, StoreError> {
        let sql =
            "SELECT * FROM events WHERE operation_id = ?1 AND sequence > ?2 ORDER BY sequence";
        let key = params![operation.to_string(), after.cast_signed()];
        collect(&mut self.sql.prepare_cached(sql)?, key, |row| {
            Ok(EventRow {
                sequence: row.get::<_, i64>("sequence")?.cast_unsigned(),
                at_ms: row.get("at_ms")?,
                subject: row.get("subject")?,
                phase: row.get("phase")?,
                detail: row.get("detail")?,
                duration_ms: row
                    .get::<_, Option<i64>>("duration_ms")?
                    .map(i64::cast_unsigned),
            })
        })
    }
}
