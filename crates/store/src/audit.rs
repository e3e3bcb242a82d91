//! Table `audit`: who did what to what, and how it ended. Rows are only ever added.

use crate::connection::{StoreError, Tx};
use crate::convert::collect;
use rusqlite::params;

/// What to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry<'a> {
    /// Who, for example `local:anna`.
    pub actor: &'a str,
    /// The verb, for example `publish`.
    pub action: &'a str,
    /// What it was done to, for example `web@3`.
    pub resource: &'a str,
    /// `ok`, `refused` or `failed`.
    pub outcome: &'a str,
    /// A sentence, without secrets.
    pub detail: &'a str,
}

/// A record with its place and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its place, from 1.
    pub sequence: u64,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// Who.
    pub actor: String,
    /// The verb.
    pub action: String,
    /// What it was done to.
    pub resource: String,
    /// `ok`, `refused` or `failed`.
    pub outcome: String,
    /// A sentence.
    pub detail: String,
}

impl Tx<'_> {
    /// Adds a record. Call it in the transaction that makes the change.
    pub fn insert_audit(&self, entry: &AuditEntry<'_>, now_ms: i64) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO audit (at_ms, actor, action, resource, outcome, detail)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                now_ms,
                entry.actor,
                entry.action,
                entry.resource,
                entry.outcome,
                entry.detail
            ],
        )?;
        Ok(())
    }

    /// The newest records, newest first.
    pub fn audit(&self, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        let sql = "SELECT * FROM audit ORDER BY sequence DESC LIMIT ?1";
        collect(&mut self.sql.prepare_cached(sql)?, [limit], |row| {
            Ok(AuditRow {
                sequence: row.get::<_, i64>("sequence")?.cast_unsigned(),
                at_ms: row.get("at_ms")?,
                actor: row.get("actor")?,
                action: row.get("action")?,
                resource: row.get("resource")?,
                outcome: row.get("outcome")?,
                detail: row.get("detail")?,
            })
        })
    }
}
