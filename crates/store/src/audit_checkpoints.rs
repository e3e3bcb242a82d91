//! Table `audit_checkpoints`: what the audit was at a moment, signed with the site's key. Rows are
//! only ever added.

use crate::connection::{StoreError, Tx};
use crate::convert::collect;
use rusqlite::{OptionalExtension, params};

/// One checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRow {
    /// The newest record that it covers.
    pub sequence: u64,
    /// When it was made, in milliseconds since 1970.
    pub at_ms: i64,
    /// What is signed.
    pub text: String,
    /// The signature over it.
    pub signature: String,
    /// The public key.
    pub key: String,
}

impl Tx<'_> {
    /// Adds a checkpoint; one of the same place stays.
    pub fn add_checkpoint(&self, row: &CheckpointRow) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO audit_checkpoints (sequence, at_ms, body, signature, public_key)
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (sequence) DO NOTHING",
            params![
                row.sequence.cast_signed(),
                row.at_ms,
                row.text,
                row.signature,
                row.key
            ],
        )?;
        Ok(())
    }

    /// The place that the newest checkpoint covers, and when it was made.
    pub fn last_checkpoint(&self) -> Result<Option<(u64, i64)>, StoreError> {
        let sql = "SELECT sequence, at_ms FROM audit_checkpoints ORDER BY sequence DESC LIMIT 1";
        let mut statement = self.sql.prepare_cached(sql)?;
        let found = statement.query_row([], |row| {
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?))
        });
        Ok(found.optional()?)
    }

    /// Every checkpoint, the oldest first.
    pub fn checkpoints(&self) -> Result<Vec<CheckpointRow>, StoreError> {
        let sql = "SELECT * FROM audit_checkpoints ORDER BY sequence";
        let mut statement = self.sql.prepare_cached(sql)?;
        collect(&mut statement, [], |row| {
            Ok(CheckpointRow {
                sequence: row.get::<_, i64>("sequence")?.cast_unsigned(),
                at_ms: row.get("at_ms")?,
                text: row.get("body")?,
                signature: row.get("signature")?,
                key: row.get("public_key")?,
            })
        })
    }
}
