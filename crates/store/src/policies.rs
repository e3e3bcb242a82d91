//! Tables `policy_inputs`, `policy_reports`, `policy_exceptions` and `policy_decisions`: what was
//! judged, by which rules, with which result, which findings somebody accepted, and what followed.
//!
//! A report keeps everything that it was made of, so that it can be made again: evidence and packs
//! are kept once, under their digests. Rows are only added, but for exceptions that are taken back.

use crate::connection::{StoreError, Tx};
use crate::convert::{collect, parsed, to_json};
use rusqlite::{OptionalExtension, Row, params};
use stampo_core::ids::VersionId;
use std::collections::HashMap;

/// A report as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyReportRow {
    /// A random UUID.
    pub id: String,
    /// The version.
    pub version: VersionId,
    /// The version as people name it, `name@N`.
    pub subject: String,
    /// The id of its image.
    pub image: String,
    /// The moment for which it was judged, in seconds since 1970.
    pub at_s: i64,
    /// The digest of the pack.
    pub pack: String,
    /// The digest of the evidence.
    pub evidence: String,
    /// The exceptions of the catalog that were looked at, as JSON.
    pub exceptions: serde_json::Value,
    /// The digest of the report.
    pub digest: String,
    /// How it ended.
    pub verdict: String,
    /// Whether what was asked for had to be refused.
    pub refused: bool,
    /// The report as JSON.
    pub report: serde_json::Value,
    /// Who asked.
    pub actor: String,
}

/// An accepted finding of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyExceptionRow {
    /// A random UUID.
    pub id: String,
    /// The exception as JSON.
    pub exception: serde_json::Value,
    /// Who recorded it.
    pub actor: String,
    /// Milliseconds since 1970.
    pub created_ms: i64,
}

/// How the newest report of a version ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    /// The id of the image that was judged.
    pub image: String,
    /// The moment for which it was judged, in seconds since 1970.
    pub at_s: i64,
    /// The digest of the pack.
    pub pack: String,
    /// The digest of the report.
    pub digest: String,
    /// How it ended.
    pub verdict: String,
}

impl Tx<'_> {
    /// The newest conclusion about each version, without the long reports.
    pub fn policy_conclusions(&self) -> Result<HashMap<VersionId, Conclusion>, StoreError> {
        let sql = "SELECT version_id, image_id, at_s, pack, digest, verdict FROM policy_reports
             ORDER BY at_s, rowid";
        let rows: Vec<(VersionId, Conclusion)> =
            collect(&mut self.sql.prepare_cached(sql)?, [], |row| {
                let conclusion = Conclusion {
                    image: row.get("image_id")?,
                    at_s: row.get("at_s")?,
                    pack: row.get("pack")?,
                    digest: row.get("digest")?,
                    verdict: row.get("verdict")?,
                };
                Ok((parsed(row, "policy_reports", "version_id")?, conclusion))
            })?;
        // Later ones take the places of earlier ones.
        Ok(rows.into_iter().collect())
    }

    /// Keeps an input of reports under its digest. The same input is kept once.
    pub fn put_policy_input(&self, digest: &str, body: &str) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO policy_inputs (digest, body) VALUES (?1, ?2) ON CONFLICT (digest) DO NOTHING",
            [digest, body],
        )?;
        Ok(())
    }

    /// An input of reports.
    pub fn policy_input(&self, digest: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT body FROM policy_inputs WHERE digest = ?1";
        let found = self.sql.query_row(sql, [digest], |row| row.get(0));
        Ok(found.optional()?)
    }

    /// Records a report.
    pub fn insert_policy_report(&self, row: &PolicyReportRow) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO policy_reports (id, version_id, subject, image_id, at_s, pack, evidence,
             exceptions, digest, verdict, refused, report, actor)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![
                row.id,
                row.version.to_string(),
                row.subject,
                row.image,
                row.at_s,
                row.pack,
                row.evidence,
                to_json(&row.exceptions),
                row.digest,
                row.verdict,
                row.refused,
                to_json(&row.report),
                row.actor
            ],
        )?;
        Ok(())
    }

    /// The reports whose id begins with this text, at most two.
    pub fn policy_reports_named(&self, start: &str) -> Result<Vec<PolicyReportRow>, StoreError> {
        let sql = "SELECT * FROM policy_reports WHERE substr(id, 1, length(?1)) = ?1 LIMIT 2";
        collect(&mut self.sql.prepare_cached(sql)?, [start], report_row)
    }

    /// The newest reports, of one version or of all.
    pub fn policy_reports(
        &self,
        version: Option<VersionId>,
        limit: u32,
    ) -> Result<Vec<PolicyReportRow>, StoreError> {
        let sql = "SELECT * FROM policy_reports WHERE ?1 = '' OR version_id = ?1
                   ORDER BY at_s DESC, rowid DESC LIMIT ?2";
        let version = version.map(|id| id.to_string()).unwrap_or_default();
        let mut statement = self.sql.prepare_cached(sql)?;
        collect(&mut statement, params![version, limit], report_row)
    }

    /// The digest of the newest evidence of a version's bytes.
    pub fn newest_policy_evidence(
        &self,
        version: VersionId,
        image: &str,
    ) -> Result<Option<String>, StoreError> {
        let sql = "SELECT evidence FROM policy_reports WHERE version_id = ?1 AND image_id = ?2
                   ORDER BY at_s DESC, rowid DESC LIMIT 1";
        let mut statement = self.sql.prepare_cached(sql)?;
        let found = statement.query_row(params![version.to_string(), image], |row| row.get(0));
        Ok(found.optional()?)
    }

    /// A decision that was remembered, unless it is damaged.
    pub fn policy_decision(&self, key: &str) -> Result<Option<String>, StoreError> {
        let sql = format!(
            "SELECT decision FROM policy_decisions WHERE key = ?1 AND NOT ({})",
            self.damage_of("policy_decisions")?
        );
        let mut statement = self.sql.prepare_cached(&sql)?;
        Ok(statement.query_row([key], |row| row.get(0)).optional()?)
    }

    /// Remembers a decision for its day; those of days before are forgotten.
    pub fn put_policy_decision(
        &self,
        key: &str,
        day_s: i64,
        decision: &str,
    ) -> Result<(), StoreError> {
        let old = "DELETE FROM policy_decisions WHERE day_s < ?1";
        self.sql.execute(old, [day_s])?;
        self.sql.execute(
            "INSERT OR REPLACE INTO policy_decisions (key, day_s, decision) VALUES (?1, ?2, ?3)",
            params![key, day_s, decision],
        )?;
        Ok(())
    }

    /// Records an exception.
    pub fn insert_policy_exception(&self, row: &PolicyExceptionRow) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO policy_exceptions (id, exception, actor, created_ms) VALUES (?1, ?2, ?3, ?4)",
            params![row.id, to_json(&row.exception), row.actor, row.created_ms],
        )?;
        Ok(())
    }

    /// Takes an exception back; how many there were.
    pub fn delete_policy_exception(&self, id: &str) -> Result<usize, StoreError> {
        let sql = "DELETE FROM policy_exceptions WHERE id = ?1";
        Ok(self.sql.execute(sql, [id])?)
    }

    /// Every exception, the oldest first.
    pub fn policy_exceptions(&self) -> Result<Vec<PolicyExceptionRow>, StoreError> {
        let sql = "SELECT * FROM policy_exceptions ORDER BY created_ms, id";
        collect(&mut self.sql.prepare_cached(sql)?, [], |row| {
            Ok(PolicyExceptionRow {
                id: row.get("id")?,
                exception: crate::convert::json(row, "policy_exceptions", "exception")?,
                actor: row.get("actor")?,
                created_ms: row.get("created_ms")?,
            })
        })
    }
}

fn report_row(row: &Row<'_>) -> Result<PolicyReportRow, StoreError> {
    const TABLE: &str = "policy_reports";
    Ok(PolicyReportRow {
        id: row.get("id")?,
        version: parsed(row, TABLE, "version_id")?,
        subject: row.get("subject")?,
        image: row.get("image_id")?,
        at_s: row.get("at_s")?,
        pack: row.get("pack")?,
        evidence: row.get("evidence")?,
        exceptions: crate::convert::json(row, TABLE, "exceptions")?,
        digest: row.get("digest")?,
        verdict: row.get("verdict")?,
        refused: row.get("refused")?,
        report: crate::convert::json(row, TABLE, "report")?,
        actor: row.get("actor")?,
    })
}
