//! Tables `systems`, `packages` and `contains`: which image has which packages.
//!
//! A package that many images have is one row, so that a question about it looks at it once.

use super::{InsideError, InsideTx};
use rusqlite::{OptionalExtension, params};
use serde_json::Value;
use stampo_core::ids::ImageId;
use std::collections::HashSet;

/// The system of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemRow {
    /// The image.
    pub image: ImageId,
    /// When it was read, in milliseconds since 1970.
    pub at_ms: i64,
    /// `debian:12`; empty when the system does not say.
    pub ecosystem: String,
    /// Whether all its packages are known.
    pub is_complete: bool,
    /// Everything else about it, as JSON.
    pub system: Value,
}

/// A package of an image. Empty texts for what there is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageRow {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
    /// What it was built from; its own name where the database says nothing.
    pub source: String,
    /// The version of that.
    pub source_version: String,
    /// Why it is not fully installed.
    pub problem: String,
}

/// A package, and the images that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The package.
    pub package: PackageRow,
    /// The images.
    pub images: Vec<ImageId>,
}

fn package(row: &rusqlite::Row<'_>) -> Result<PackageRow, rusqlite::Error> {
    Ok(PackageRow {
        name: row.get("name")?,
        version: row.get("version")?,
        architecture: row.get("architecture")?,
        source: row.get("source")?,
        source_version: row.get("source_version")?,
        problem: row.get("problem")?,
    })
}

fn image(text: String) -> Result<ImageId, InsideError> {
    text.parse().map_err(|_| InsideError::Damaged {
        table: "systems",
        text,
    })
}

impl InsideTx<'_> {
    /// Records an image's system and packages, in place of what was recorded of it.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn put_system(&self, row: &SystemRow, packages: &[PackageRow]) -> Result<(), InsideError> {
        let sql = &self.sql;
        let id = row.image.as_str();
        sql.execute(
            "DELETE FROM contains WHERE system = (SELECT number FROM systems WHERE image_id = ?1)",
            [id],
        )?;
        sql.execute("DELETE FROM systems WHERE image_id = ?1", [id])?;
        sql.prepare_cached(
            "INSERT INTO systems (image_id, at_ms, ecosystem, complete, system)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            id,
            row.at_ms,
            row.ecosystem,
            row.is_complete,
            row.system.to_string()
        ])?;
        let system = sql.last_insert_rowid();
        for one in packages {
            let number = self.package_number(&row.ecosystem, one)?;
            sql.prepare_cached("INSERT OR IGNORE INTO contains (package, system) VALUES (?1, ?2)")?
                .execute([number, system])?;
        }
        Ok(())
    }

    fn package_number(&self, ecosystem: &str, row: &PackageRow) -> Result<i64, InsideError> {
        let values = params![
            ecosystem,
            row.name,
            row.version,
            row.architecture,
            row.source,
            row.source_version,
            row.problem
        ];
        let mut find = self.sql.prepare_cached(
            "SELECT number FROM packages WHERE ecosystem = ?1 AND name = ?2 AND version = ?3
             AND architecture = ?4 AND source = ?5 AND source_version = ?6 AND problem = ?7",
        )?;
        if let Some(number) = find.query_row(values, |row| row.get(0)).optional()? {
            return Ok(number);
        }
        self.sql
            .prepare_cached(
                "INSERT INTO packages (ecosystem, name, version, architecture, source,
                 source_version, problem) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(values)?;
        Ok(self.sql.last_insert_rowid())
    }

    /// What was recorded of an image.
    ///
    /// # Errors
    /// When the file can't be read, or holds what it should not.
    pub fn system(
        &self,
        id: &ImageId,
    ) -> Result<Option<(SystemRow, Vec<PackageRow>)>, InsideError> {
        let found = self
            .sql
            .query_row(
                "SELECT number, at_ms, ecosystem, complete, system FROM systems WHERE image_id = ?1",
                [id.as_str()],
                |row| {
                    let system: String = row.get(4)?;
                    Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?, row.get(3)?, system))
                },
            )
            .optional()?;
        let Some((number, at_ms, ecosystem, is_complete, text)) = found else {
            return Ok(None);
        };
        let system = serde_json::from_str(&text).map_err(|_| InsideError::Damaged {
            table: "systems",
            text,
        })?;
        let row = SystemRow {
            image: id.clone(),
            at_ms,
            ecosystem,
            is_complete,
            system,
        };
        let mut statement = self.sql.prepare_cached(
            "SELECT packages.* FROM contains JOIN packages ON packages.number = contains.package
             WHERE contains.system = ?1 ORDER BY name, architecture, version",
        )?;
        let packages = statement.query_map([number], package)?;
        Ok(Some((row, packages.collect::<Result<_, _>>()?)))
    }

    /// Every image that is recorded, with its ecosystem and whether all its packages are known.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn systems(&self) -> Result<Vec<(ImageId, String, bool)>, InsideError> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT image_id, ecosystem, complete FROM systems")?;
        let rows = statement.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?))
        })?;
        rows.map(|row| {
            let (id, ecosystem, complete) = row?;
            Ok((image(id)?, ecosystem, complete))
        })
        .collect()
    }

    /// The packages of this name, or with `of_source` those built from it, and who has them.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn holdings(
        &self,
        ecosystem: &str,
        name: &str,
        of_source: bool,
    ) -> Result<Vec<Holding>, InsideError> {
        let column = if of_source { "source" } else { "name" };
        let mut statement = self.sql.prepare_cached(&format!(
            "SELECT * FROM packages WHERE ecosystem = ?1 AND {column} = ?2 ORDER BY number"
        ))?;
        let found = statement.query_map([ecosystem, name], |row| {
            Ok((row.get::<_, i64>("number")?, package(row)?))
        })?;
        let mut holdings = Vec::new();
        for row in found {
            let (number, package) = row?;
            let mut images = self.sql.prepare_cached(
                "SELECT image_id FROM contains JOIN systems ON systems.number = contains.system
                 WHERE contains.package = ?1",
            )?;
            let images = images.query_map([number], |row| row.get::<_, String>(0))?;
            let images = images.map(|id| image(id?)).collect::<Result<_, _>>()?;
            holdings.push(Holding { package, images });
        }
        Ok(holdings)
    }

    /// Forgets packages that no image has any more, and images that are not in `kept`.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn keep_systems(&self, kept: &HashSet<ImageId>) -> Result<(), InsideError> {
        for (image, ..) in self.systems()? {
            if !kept.contains(&image) {
                let number = "(SELECT number FROM systems WHERE image_id = ?1)";
                let of = [image.as_str()];
                self.sql
                    .execute(&format!("DELETE FROM contains WHERE system = {number}"), of)?;
                self.sql
                    .execute("DELETE FROM systems WHERE image_id = ?1", of)?;
            }
        }
        self.sql.execute(
            "DELETE FROM packages WHERE number NOT IN (SELECT package FROM contains)",
            [],
        )?;
        Ok(())
    }
}
