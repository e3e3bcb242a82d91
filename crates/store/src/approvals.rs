//! Table `approvals`: what people said about versions, as they signed it. Rows are only ever added.
//!
//! Who said what, about what and when is in the statement alone; what it comes to now is nowhere.

use crate::connection::{StoreError, Tx};
use crate::convert::{collect, parsed};
use rusqlite::{OptionalExtension, params};
use stampo_core::ids::VersionId;

/// One thing that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRow {
    /// A random UUID.
    pub id: String,
    /// The version.
    pub version: VersionId,
    /// Its place among what was said about the version, from 1.
    pub sequence: u32,
    /// The statement, to the byte.
    pub statement: String,
    /// The signature over it; empty where nobody had to sign.
    pub signature: String,
    /// The public key; empty where nobody had to sign.
    pub key: String,
    /// The conformity report that the statement names, as it was written; empty where another
    /// statement of the version brought it.
    pub report: String,
    /// The provenance that the statement names; empty where it names none.
    pub provenance: String,
    /// Who ran the command, as the audit names them.
    pub actor: String,
}

impl Tx<'_> {
    /// Adds what somebody said. One of this id that is there already stays.
    pub fn add_approval(&self, row: &ApprovalRow) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO approvals
             (id, version_id, sequence, statement, signature, public_key, report, provenance, actor)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO NOTHING",
            params![
                row.id,
                row.version.to_string(),
                row.sequence,
                row.statement,
                row.signature,
                row.key,
                row.report,
                row.provenance,
                row.actor
            ],
        )?;
        Ok(())
    }

    /// What was said about a version, in order.
    pub fn approvals(&self, version: VersionId) -> Result<Vec<ApprovalRow>, StoreError> {
        let sql = "SELECT * FROM approvals WHERE version_id = ?1 ORDER BY sequence, id";
        let mut statement = self.sql.prepare_cached(sql)?;
        collect(&mut statement, [version.to_string()], |row| {
            Ok(ApprovalRow {
                id: row.get("id")?,
                version: parsed(row, "approvals", "version_id")?,
                sequence: row.get("sequence")?,
                statement: row.get("statement")?,
                signature: row.get("signature")?,
                key: row.get("public_key")?,
                report: row.get("report")?,
                provenance: row.get("provenance")?,
                actor: row.get("actor")?,
            })
        })
    }

    /// The version that a row is about, if it can still be read.
    pub fn version_of_approval(&self, id: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT version_id FROM approvals WHERE id = ?1";
        Ok(self.sql.query_row(sql, [id], |row| row.get(0)).optional()?)
    }

    /// Who did something of this kind to it, as the audit has it.
    pub fn actors_of(&self, resource: &str, actions: &[&str]) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT DISTINCT actor, action FROM audit WHERE resource = ?1 AND outcome = 'ok'
             ORDER BY actor";
        let mut statement = self.sql.prepare_cached(sql)?;
        let found = collect(&mut statement, [resource], |row| {
            Ok((
                row.get::<_, String>("actor")?,
                row.get::<_, String>("action")?,
            ))
        })?;
        let mut actors: Vec<String> = found
            .into_iter()
            .filter(|(_, action)| actions.contains(&action.as_str()))
            .map(|(actor, _)| actor)
            .collect();
        actors.dedup();
        Ok(actors)
    }
}
