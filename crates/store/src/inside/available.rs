//! Table `available`: the packages of a security index.

use super::{InsideError, InsideTx};
use rusqlite::params;

/// A package that a security index offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvailableRow {
    /// Its name.
    pub name: String,
    /// Its architecture.
    pub architecture: String,
    /// The newest version of it.
    pub version: String,
}

impl InsideTx<'_> {
    /// Records what a source offers.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn insert_available(&self, source: i64, row: &AvailableRow) -> Result<(), InsideError> {
        self.sql
            .prepare_cached(
                "INSERT OR REPLACE INTO available (source, name, architecture, version)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![source, row.name, row.architecture, row.version])?;
        Ok(())
    }

    /// Everything that a source offers.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn available(&self, source: i64) -> Result<Vec<AvailableRow>, InsideError> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT * FROM available WHERE source = ?1")?;
        let rows = statement.query_map([source], |row| {
            Ok(AvailableRow {
                name: row.get("name")?,
                architecture: row.get("architecture")?,
                version: row.get("version")?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
