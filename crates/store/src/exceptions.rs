//! Table `exceptions`: findings of a seal proof that someone accepted, and why.

use crate::connection::{StoreError, Tx};
use crate::convert::collect;
use rusqlite::params;
use stampo_core::ids::VersionId;

/// One accepted finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceptionRow {
    /// The finding's id; `*` at its end stands for any rest.
    pub finding: String,
    /// The path in the guest; empty for any.
    pub path: String,
    /// Why it is accepted. Never empty.
    pub reason: String,
    /// Who accepted it.
    pub actor: String,
    /// Milliseconds since 1970.
    pub created_ms: i64,
}

impl Tx<'_> {
    /// Records an exception; an earlier one for the same finding and path is replaced.
    pub fn put_exception(&self, version: VersionId, row: &ExceptionRow) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO exceptions (version_id, finding, path, reason, actor, created_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (version_id, finding, path) DO UPDATE SET
             reason = excluded.reason, actor = excluded.actor, created_ms = excluded.created_ms",
            params![
                version.to_string(),
                row.finding,
                row.path,
                row.reason,
                row.actor,
                row.created_ms
            ],
        )?;
        Ok(())
    }

    /// Replaces all exceptions of a version.
    pub fn replace_exceptions(
        &self,
        version: VersionId,
        rows: &[ExceptionRow],
    ) -> Result<(), StoreError> {
        self.sql.execute(
            "DELETE FROM exceptions WHERE version_id = ?1",
            [version.to_string()],
        )?;
        rows.iter()
            .try_for_each(|row| self.put_exception(version, row))
    }

    /// The exceptions of a version.
    pub fn exceptions(&self, version: VersionId) -> Result<Vec<ExceptionRow>, StoreError> {
        let sql = "SELECT * FROM exceptions WHERE version_id = ?1 ORDER BY finding, path";
        collect(
            &mut self.sql.prepare_cached(sql)?,
            [version.to_string()],
            |row| {
                Ok(ExceptionRow {
                    finding: row.get("finding")?,
                    path: row.get("path")?,
                    reason: row.get("reason")?,
                    actor: row.get("actor")?,
                    created_ms: row.get("created_ms")?,
                })
            },
        )
    }
}
