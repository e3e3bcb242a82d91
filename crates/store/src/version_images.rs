//! Which image each version has, and who was cloned from it: without the proofs and plans that make
//! whole rows long, so that very many can be asked at once.

use crate::connection::{StoreError, Tx};
use crate::convert::{collect, parsed};
use stampo_core::ids::{ImageId, VersionId};
use stampo_core::lifecycle::State;
use stampo_core::names::{GuestName, TemplateName};
use std::collections::HashMap;

/// A version that has, or had, bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionImage {
    /// Its id.
    pub id: VersionId,
    /// Its template's name.
    pub template: TemplateName,
    /// Its number.
    pub number: u32,
    /// Where it is in its life.
    pub state: State,
    /// Its image.
    pub image: ImageId,
}

impl VersionImage {
    /// `name@N`.
    pub fn label(&self) -> String {
        format!("{}@{}", self.template, self.number)
    }
}

impl Tx<'_> {
    /// Every version with an image, purged or not, by template and number.
    pub fn version_images(&self) -> Result<Vec<VersionImage>, StoreError> {
        const TABLE: &str = "versions";
        let sql = "SELECT versions.id AS id, templates.name AS template, number, state, image_id
             FROM versions JOIN templates ON templates.id = versions.template_id
             WHERE image_id IS NOT NULL ORDER BY templates.name, number";
        let mut statement = self.sql.prepare_cached(sql)?;
        collect(&mut statement, [], |row| {
            Ok(VersionImage {
                id: parsed(row, TABLE, "id")?,
                template: parsed(row, TABLE, "template")?,
                number: row.get("number")?,
                state: parsed(row, TABLE, "state")?,
                image: parsed(row, TABLE, "image_id")?,
            })
        })
    }

    /// The names of the guests of each version: those that are ready, that a pool keeps, and that can be restored.
    pub fn guest_names(&self) -> Result<HashMap<VersionId, Vec<GuestName>>, StoreError> {
        let sql =
            "SELECT version_id, name FROM guests WHERE state IN ('ready', 'pooled', 'trashed')
             ORDER BY length(name), name";
        let mut statement = self.sql.prepare_cached(sql)?;
        let rows: Vec<(VersionId, GuestName)> = collect(&mut statement, [], |row| {
            Ok((
                parsed(row, "guests", "version_id")?,
                parsed(row, "guests", "name")?,
            ))
        })?;
        let mut names: HashMap<VersionId, Vec<GuestName>> = HashMap::new();
        for (version, name) in rows {
            names.entry(version).or_default().push(name);
        }
        Ok(names)
    }
}
