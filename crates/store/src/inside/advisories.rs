//! Tables `advisories` and `exploited`: what sources say about a vulnerability.

use super::{InsideError, InsideTx};
use rusqlite::params;

/// What one source says about one package of one release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdvisoryRow {
    /// The source's number.
    pub source: i64,
    /// The vulnerability.
    pub cve: String,
    /// The source's own name for what it says.
    pub id: String,
    /// `debian:12`.
    pub ecosystem: String,
    /// The package.
    pub package: String,
    /// `source` or `binary`: which kind of package it is.
    pub subject: String,
    /// `affected`, `not-affected` or `unknown`.
    pub status: String,
    /// The first version that has it.
    pub introduced: Option<String>,
    /// The first version that does not have it any more.
    pub fixed: Option<String>,
    /// The last version that has it.
    pub last_affected: Option<String>,
}

/// That a vulnerability is known to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExploitedRow {
    /// The source's number.
    pub source: i64,
    /// The vulnerability.
    pub cve: String,
    /// The day it was listed.
    pub added: String,
    /// The day by which it is to be mended.
    pub due: String,
}

impl InsideTx<'_> {
    /// Adds what a source says.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn insert_advisory(&self, row: &AdvisoryRow) -> Result<(), InsideError> {
        self.sql
            .prepare_cached(
                "INSERT INTO advisories (source, cve, id, ecosystem, package, subject, status,
                 introduced, fixed, last_affected) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                row.source,
                row.cve,
                row.id,
                row.ecosystem,
                row.package,
                row.subject,
                row.status,
                row.introduced,
                row.fixed,
                row.last_affected
            ])?;
        Ok(())
    }

    /// Everything that is said about a vulnerability.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn advisories(&self, cve: &str) -> Result<Vec<AdvisoryRow>, InsideError> {
        let mut statement = self.sql.prepare_cached(
            "SELECT * FROM advisories WHERE cve = ?1 ORDER BY ecosystem, package, source, id",
        )?;
        let rows = statement.query_map([cve], |row| {
            Ok(AdvisoryRow {
                source: row.get("source")?,
                cve: row.get("cve")?,
                id: row.get("id")?,
                ecosystem: row.get("ecosystem")?,
                package: row.get("package")?,
                subject: row.get("subject")?,
                status: row.get("status")?,
                introduced: row.get("introduced")?,
                fixed: row.get("fixed")?,
                last_affected: row.get("last_affected")?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Adds that a vulnerability is used.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn insert_exploited(&self, row: &ExploitedRow) -> Result<(), InsideError> {
        self.sql
            .prepare_cached(
                "INSERT OR REPLACE INTO exploited (cve, source, added, due) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![row.cve, row.source, row.added, row.due])?;
        Ok(())
    }

    /// Whether a vulnerability is known to be used.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn exploited(&self, cve: &str) -> Result<Option<ExploitedRow>, InsideError> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT * FROM exploited WHERE cve = ?1 ORDER BY added")?;
        let mut rows = statement.query_map([cve], |row| {
            Ok(ExploitedRow {
                cve: row.get("cve")?,
                source: row.get("source")?,
                added: row.get("added")?,
                due: row.get("due")?,
            })
        })?;
        Ok(rows.next().transpose()?)
    }
}
