//! Table `audit`: who did what to what, and how it ended. Rows are only ever added.
//!
//! Each record has a link: BLAKE3 over the link of the record before it and over all of its own
//! fields. So a record that was changed, taken away from the middle or put elsewhere does not fit its
//! neighbours. That records were cut off at the end only a checkpoint tells; see
//! `audit_checkpoints.rs`.

use crate::connection::{StoreError, Tx};
use crate::convert::collect;
use rusqlite::{OptionalExtension, Row, params};
use std::collections::HashMap;

/// What to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry<'a> {
    /// Who, for example `local:anna`.
    pub actor: &'a str,
    /// The verb, for example `publish`.
    pub action: &'a str,
    /// What it was done to, for example `web@3`.
    pub resource: &'a str,
    /// `ok`, `refused` or `failed`; `begun` where nothing but the record holds what is done.
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
    /// What ties it to the record before it, in hex.
    pub link: String,
}

impl AuditRow {
    /// The link that a record has after one with the link `before`; the first has none before it.
    pub fn link_after(&self, before: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        let sequence = self.sequence.to_string();
        let at_ms = self.at_ms.to_string();
        for part in [
            before,
            &sequence,
            &at_ms,
            &self.actor,
            &self.action,
            &self.resource,
            &self.outcome,
            &self.detail,
        ] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// Which records are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only by this actor.
    pub actor: Option<String>,
    /// Only with this verb.
    pub action: Option<String>,
    /// Only about this.
    pub resource: Option<String>,
    /// Only with this outcome.
    pub outcome: Option<String>,
    /// Only from this moment on, in milliseconds since 1970.
    pub since_ms: Option<i64>,
}

fn read(row: &Row<'_>) -> Result<AuditRow, StoreError> {
    Ok(AuditRow {
        sequence: row.get::<_, i64>("sequence")?.cast_unsigned(),
        at_ms: row.get("at_ms")?,
        actor: row.get("actor")?,
        action: row.get("action")?,
        resource: row.get("resource")?,
        outcome: row.get("outcome")?,
        detail: row.get("detail")?,
        link: row.get("link")?,
    })
}

/// Links records that have none yet: those of a catalog of before.
pub(crate) fn ensure_links(tx: &Tx<'_>) -> Result<(), StoreError> {
    let has_all: bool = tx.sql.query_row(
        "SELECT NOT EXISTS (SELECT 1 FROM audit WHERE link = '')",
        [],
        |row| row.get(0),
    )?;
    if has_all {
        return Ok(());
    }
    let (mut before, mut last) = (String::new(), 0);
    loop {
        let rows = tx.audit_after(last, 1000)?;
        let Some(end) = rows.last() else {
            return Ok(());
        };
        last = end.sequence;
        for row in rows {
            let link = row.link_after(&before);
            tx.sql.execute(
                "UPDATE audit SET link = ?2 WHERE sequence = ?1",
                params![row.sequence.cast_signed(), link],
            )?;
            before = link;
        }
    }
}

impl Tx<'_> {
    /// Adds a record. Call it in the transaction that makes the change.
    pub fn insert_audit(&self, entry: &AuditEntry<'_>, now_ms: i64) -> Result<(), StoreError> {
        let (last, before) = self.last_audit()?.unwrap_or_default();
        let mut row = AuditRow {
            sequence: last + 1,
            at_ms: now_ms,
            actor: entry.actor.to_owned(),
            action: entry.action.to_owned(),
            resource: entry.resource.to_owned(),
            outcome: entry.outcome.to_owned(),
            detail: entry.detail.to_owned(),
            link: String::new(),
        };
        row.link = row.link_after(&before);
        self.sql.execute(
            "INSERT INTO audit (sequence, at_ms, actor, action, resource, outcome, detail, link)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                row.sequence.cast_signed(),
                row.at_ms,
                row.actor,
                row.action,
                row.resource,
                row.outcome,
                row.detail,
                row.link
            ],
        )?;
        Ok(())
    }

    /// The place and the link of the newest record.
    pub fn last_audit(&self) -> Result<Option<(u64, String)>, StoreError> {
        let sql = "SELECT sequence, link FROM audit ORDER BY sequence DESC LIMIT 1";
        let mut statement = self.sql.prepare_cached(sql)?;
        let found = statement.query_row([], |row| {
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?))
        });
        Ok(found.optional()?)
    }

    /// When the first record after a place was made, in milliseconds since 1970.
    pub fn first_audit_after(&self, sequence: u64) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT at_ms FROM audit WHERE sequence > ?1 ORDER BY sequence LIMIT 1";
        let mut statement = self.sql.prepare_cached(sql)?;
        let found = statement.query_row([sequence.cast_signed()], |row| row.get(0));
        Ok(found.optional()?)
    }

    /// How many acts ended so.
    pub fn audit_count(&self, outcome: &str) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM audit WHERE outcome = ?1";
        let mut statement = self.sql.prepare_cached(sql)?;
        let count: i64 = statement.query_row([outcome], |row| row.get(0))?;
        Ok(count.cast_unsigned())
    }

    /// When something was last done to a resource, in milliseconds since 1970.
    pub fn last_done_ms(&self, action: &str, resource: &str) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT max(at_ms) FROM audit
             WHERE resource = ?2 AND action = ?1 AND outcome = 'ok'";
        let mut statement = self.sql.prepare_cached(sql)?;
        Ok(statement.query_row([action, resource], |row| row.get(0))?)
    }

    /// When something was last done to each resource, in milliseconds since 1970.
    pub fn all_last_done_ms(&self, action: &str) -> Result<HashMap<String, i64>, StoreError> {
        let sql = "SELECT resource, max(at_ms) FROM audit
             WHERE action = ?1 AND outcome = 'ok' GROUP BY resource";
        let mut statement = self.sql.prepare_cached(sql)?;
        let rows = statement.query_map([action], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The records after a place, the oldest first, at most `limit`.
    pub fn audit_after(&self, sequence: u64, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        let sql = "SELECT * FROM audit WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
        let mut statement = self.sql.prepare_cached(sql)?;
        collect(&mut statement, params![sequence.cast_signed(), limit], read)
    }

    /// The newest records that pass a filter, newest first.
    pub fn audit_where(
        &self,
        filter: &AuditFilter,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let sql = "SELECT * FROM audit WHERE (?1 IS NULL OR actor = ?1)
             AND (?2 IS NULL OR action = ?2) AND (?3 IS NULL OR resource = ?3)
             AND (?4 IS NULL OR outcome = ?4) AND (?5 IS NULL OR at_ms >= ?5)
             ORDER BY sequence DESC LIMIT ?6";
        let mut statement = self.sql.prepare_cached(sql)?;
        let AuditFilter {
            actor,
            action,
            resource,
            outcome,
            since_ms,
        } = filter;
        let wanted = params![actor, action, resource, outcome, since_ms, limit];
        collect(&mut statement, wanted, read)
    }

    /// The newest records, newest first.
    pub fn audit(&self, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        self.audit_where(&AuditFilter::default(), limit)
    }
}
