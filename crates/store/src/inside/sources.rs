//! Tables `sources` and `covered`: what was imported, when, and which releases it speaks of.

use super::{InsideError, InsideTx};
use rusqlite::{OptionalExtension, params};

/// Something that was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRow {
    /// Its number, given when it is put.
    pub number: i64,
    /// `osv`, `debian-tracker`, `csaf`, `kev` or `index`.
    pub kind: String,
    /// Its name: a file's, or a suite's.
    pub name: String,
    /// The date that it has by its own words.
    pub as_of_ms: Option<i64>,
    /// When it was imported.
    pub imported_ms: i64,
    /// Entries that were taken.
    pub entries: u64,
    /// Entries that were not: of other systems, or that make no sense.
    pub skipped: u64,
}

impl InsideTx<'_> {
    /// Begins anew with a source: what it brought before is forgotten. Its number.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn begin_source(&self, row: &SourceRow) -> Result<i64, InsideError> {
        let sql = &self.sql;
        let old: Option<i64> = sql
            .query_row(
                "SELECT number FROM sources WHERE kind = ?1 AND name = ?2",
                [&row.kind, &row.name],
                |row| row.get(0),
            )
            .optional()?;
        if let Some(old) = old {
            for table in ["advisories", "exploited", "available", "covered"] {
                sql.execute(&format!("DELETE FROM {table} WHERE source = ?1"), [old])?;
            }
            sql.execute("DELETE FROM sources WHERE number = ?1", [old])?;
        }
        sql.execute(
            "INSERT INTO sources (kind, name, as_of_ms, imported_ms, entries, skipped)
             VALUES (?1, ?2, ?3, ?4, 0, 0)",
            params![row.kind, row.name, row.as_of_ms, row.imported_ms],
        )?;
        Ok(sql.last_insert_rowid())
    }

    /// Records how a source's import ended, and which releases it speaks of.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn end_source<'e>(
        &self,
        row: &SourceRow,
        covered: impl Iterator<Item = &'e str>,
    ) -> Result<(), InsideError> {
        self.sql.execute(
            "UPDATE sources SET as_of_ms = ?2, entries = ?3, skipped = ?4 WHERE number = ?1",
            params![
                row.number,
                row.as_of_ms,
                row.entries.cast_signed(),
                row.skipped.cast_signed()
            ],
        )?;
        for ecosystem in covered {
            self.sql.execute(
                "INSERT OR IGNORE INTO covered (source, ecosystem) VALUES (?1, ?2)",
                params![row.number, ecosystem],
            )?;
        }
        Ok(())
    }

    /// Every source.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn sources(&self) -> Result<Vec<SourceRow>, InsideError> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT * FROM sources ORDER BY kind, name")?;
        let rows = statement.query_map([], |row| {
            Ok(SourceRow {
                number: row.get("number")?,
                kind: row.get("kind")?,
                name: row.get("name")?,
                as_of_ms: row.get("as_of_ms")?,
                imported_ms: row.get("imported_ms")?,
                entries: row.get::<_, i64>("entries")?.cast_unsigned(),
                skipped: row.get::<_, i64>("skipped")?.cast_unsigned(),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The releases that a source speaks of.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn covered(&self, source: i64) -> Result<Vec<String>, InsideError> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT ecosystem FROM covered WHERE source = ?1 ORDER BY ecosystem")?;
        let rows = statement.query_map([source], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
