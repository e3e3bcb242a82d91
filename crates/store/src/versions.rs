//! Table `versions`: each `name@N`, its state, image and evidence.

use crate::connection::{StoreError, Tx};
use crate::convert::{collect, json, parsed, parsed_option, to_json, unique};
use rusqlite::{Row, params};
use stampo_core::hardware::Hardware;
use stampo_core::ids::{ImageId, OperationId, TemplateId, VersionId};
use stampo_core::lifecycle::{Governance, State, next_due_ms};
use stampo_core::names::TemplateName;
use stampo_core::size::ByteSize;
use std::collections::BTreeSet;

/// One version.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionRow {
    /// Its id.
    pub id: VersionId,
    /// Its template.
    pub template_id: TemplateId,
    /// Its template's name.
    pub template: TemplateName,
    /// Its number, from 1.
    pub number: u32,
    /// Where it is in its life.
    pub state: State,
    /// Its image, once the bytes exist.
    pub image: Option<ImageId>,
    /// The size that guests see.
    pub virtual_size: ByteSize,
    /// The bytes that hold data.
    pub data: ByteSize,
    /// Hardware defaults for clones.
    pub hardware: Hardware,
    /// Where its bytes come from, as JSON.
    pub origin: serde_json::Value,
    /// The seal proof, as JSON.
    pub proof: Option<serde_json::Value>,
    /// Reasons, dates, a hold.
    pub governance: Governance,
    /// The operation that is working on it.
    pub operation: Option<OperationId>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub changed_ms: i64,
    /// When its bytes were last read and found right.
    pub verified_ms: Option<i64>,
}

impl VersionRow {
    /// `name@N`.
    pub fn label(&self) -> String {
        format!("{}@{}", self.template, self.number)
    }
}

const SELECT: &str = "SELECT versions.*, templates.name AS template FROM versions
    JOIN templates ON templates.id = versions.template_id";

pub(crate) fn read(row: &Row<'_>) -> Result<VersionRow, StoreError> {
    const TABLE: &str = "versions";
    let proof: Option<String> = row.get("proof")?;
    Ok(VersionRow {
        id: parsed(row, TABLE, "id")?,
        template_id: parsed(row, TABLE, "template_id")?,
        template: parsed(row, TABLE, "template")?,
        number: row.get("number")?,
        state: parsed(row, TABLE, "state")?,
        image: parsed_option(row, TABLE, "image_id")?,
        virtual_size: ByteSize(row.get::<_, i64>("virtual_bytes")?.cast_unsigned()),
        data: ByteSize(row.get::<_, i64>("data_bytes")?.cast_unsigned()),
        hardware: json(row, TABLE, "hardware")?,
        origin: json(row, TABLE, "origin")?,
        proof: proof.map(|_| json(row, TABLE, "proof")).transpose()?,
        governance: json(row, TABLE, "governance")?,
        operation: parsed_option(row, TABLE, "operation_id")?,
        created_ms: row.get("created_ms")?,
        changed_ms: row.get("changed_ms")?,
        verified_ms: row.get("verified_ms")?,
    })
}

impl Tx<'_> {
    /// Adds a version. Its number must be free.
    pub fn insert_version(&self, row: &VersionRow) -> Result<(), StoreError> {
        self.sql
            .execute(
                "INSERT INTO versions (id, template_id, number, state, image_id, virtual_bytes,
                 data_bytes, hardware, origin, proof, operation_id, created_ms, changed_ms, verified_ms,
                 governance, due_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
                params![
                    row.id.to_string(),
                    row.template_id.to_string(),
                    row.number,
                    row.state.as_str(),
                    row.image.as_ref().map(ImageId::as_str),
                    row.virtual_size.0.cast_signed(),
                    row.data.0.cast_signed(),
                    to_json(&row.hardware),
                    to_json(&row.origin),
                    row.proof.as_ref().map(to_json),
                    row.operation.map(|id| id.to_string()),
                    row.created_ms,
                    row.changed_ms,
                    row.verified_ms,
                    to_json(&row.governance),
                    next_due_ms(row.state, &row.governance),
                ],
            )
            .map_err(unique(|| row.label()))?;
        Ok(())
    }

    /// Replaces everything of a version but its id, template, number and creation time.
    pub fn update_version(&self, row: &VersionRow) -> Result<(), StoreError> {
        self.sql.execute(
            "UPDATE versions SET state = ?2, image_id = ?3, virtual_bytes = ?4, data_bytes = ?5,
             hardware = ?6, origin = ?7, proof = ?8, operation_id = ?9, changed_ms = ?10,
             verified_ms = ?11, governance = ?12, due_ms = ?13 WHERE id = ?1",
            params![
                row.id.to_string(),
                row.state.as_str(),
                row.image.as_ref().map(ImageId::as_str),
                row.virtual_size.0.cast_signed(),
                row.data.0.cast_signed(),
                to_json(&row.hardware),
                to_json(&row.origin),
                row.proof.as_ref().map(to_json),
                row.operation.map(|id| id.to_string()),
                row.changed_ms,
                row.verified_ms,
                to_json(&row.governance),
                next_due_ms(row.state, &row.governance),
            ],
        )?;
        Ok(())
    }

    /// Replaces everything of a version that is damaged.
    pub fn mend_version(&self, row: &VersionRow) -> Result<(), StoreError> {
        self.sql
            .execute(
                "UPDATE versions SET template_id = ?2, number = ?3, created_ms = ?4 WHERE id = ?1",
                params![
                    row.id.to_string(),
                    row.template_id.to_string(),
                    row.number,
                    row.created_ms
                ],
            )
            .map_err(unique(|| row.label()))?;
        self.update_version(row)
    }

    /// The ids of all versions.
    pub fn version_ids(&self) -> Result<Vec<VersionId>, StoreError> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT id FROM versions ORDER BY id")?;
        collect(&mut statement, [], |row| parsed(row, "versions", "id"))
    }

    /// The ids of a template's versions that have bytes. Read without the template's row.
    pub fn version_ids_of(&self, template: TemplateId) -> Result<Vec<VersionId>, StoreError> {
        let sql = "SELECT id FROM versions WHERE template_id = ?1
             AND image_id IS NOT NULL AND state <> 'purged'";
        let mut statement = self.sql.prepare_cached(sql)?;
        collect(&mut statement, [template.to_string()], |row| {
            parsed(row, "versions", "id")
        })
    }

    /// The version of this id.
    pub fn version(&self, id: VersionId) -> Result<Option<VersionRow>, StoreError> {
        let mut statement = self
            .sql
            .prepare_cached(&format!("{SELECT} WHERE versions.id = ?1"))?;
        let mut rows = statement.query([id.to_string()])?;
        rows.next()?.map(read).transpose()
    }

    /// `name@N` of a version, without reading all of it: a proof is long.
    pub fn version_label(&self, id: VersionId) -> Result<Option<String>, StoreError> {
        let sql = "SELECT templates.name, versions.number FROM versions
             JOIN templates ON templates.id = versions.template_id WHERE versions.id = ?1";
        let mut statement = self.sql.prepare_cached(sql)?;
        let mut rows = statement.query([id.to_string()])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        let name: TemplateName = parsed(row, "templates", "name")?;
        let number: u32 = row.get("number")?;
        Ok(Some(format!("{name}@{number}")))
    }

    /// Every version of a template, newest first.
    pub fn versions_of(&self, template: TemplateId) -> Result<Vec<VersionRow>, StoreError> {
        let sql = format!("{SELECT} WHERE template_id = ?1 ORDER BY number DESC");
        let mut statement = self.sql.prepare_cached(&sql)?;
        collect(&mut statement, [template.to_string()], read)
    }

    /// Every version, by template name, newest first.
    pub fn versions(&self) -> Result<Vec<VersionRow>, StoreError> {
        let sql = format!("{SELECT} ORDER BY templates.name, number DESC");
        let mut statement = self.sql.prepare_cached(&sql)?;
        collect(&mut statement, [], read)
    }

    /// How many published versions of a template have a higher number.
    pub fn newer_published(&self, template: TemplateId, number: u32) -> Result<u32, StoreError> {
        let sql =
            "SELECT count(*) FROM versions WHERE template_id = ?1 AND number > ?2 AND state = ?3";
        let mut statement = self.sql.prepare_cached(sql)?;
        let published = State::Published.as_str();
        let of = params![template.to_string(), number, published];
        Ok(statement.query_row(of, |row| row.get(0))?)
    }

    /// The versions of which a date has come, the one that came first at the head.
    pub fn due_versions(&self, now_ms: i64) -> Result<Vec<VersionId>, StoreError> {
        let sql = "SELECT id FROM versions WHERE due_ms <= ?1 ORDER BY due_ms, id";
        let mut statement = self.sql.prepare_cached(sql)?;
        collect(&mut statement, [now_ms], |row| {
            parsed(row, "versions", "id")
        })
    }

    /// The version of a template with this number.
    pub fn numbered_version(
        &self,
        template: TemplateId,
        number: u32,
    ) -> Result<Option<VersionRow>, StoreError> {
        let sql = format!("{SELECT} WHERE template_id = ?1 AND number = ?2");
        let mut statement = self.sql.prepare_cached(&sql)?;
        let mut rows = statement.query(params![template.to_string(), number])?;
        rows.next()?.map(read).transpose()
    }

    /// The versions that have this image and whose bytes are not purged.
    pub fn versions_with_image(&self, image: &ImageId) -> Result<Vec<VersionRow>, StoreError> {
        let sql = format!("{SELECT} WHERE image_id = ?1 AND state <> 'purged'");
        let mut statement = self.sql.prepare_cached(&sql)?;
        collect(&mut statement, [image.as_str()], read)
    }

    /// The images of all versions that are not purged.
    pub fn images_of_versions(&self) -> Result<BTreeSet<ImageId>, StoreError> {
        let sql = "SELECT DISTINCT image_id FROM versions
             WHERE image_id IS NOT NULL AND state <> 'purged'";
        let mut statement = self.sql.prepare_cached(sql)?;
        let images = collect(&mut statement, [], |row| {
            parsed(row, "versions", "image_id")
        })?;
        Ok(images.into_iter().collect())
    }

    /// The versions that this operation works on.
    pub fn versions_of_operation(
        &self,
        operation: OperationId,
    ) -> Result<Vec<VersionRow>, StoreError> {
        let sql = format!("{SELECT} WHERE operation_id = ?1");
        let mut statement = self.sql.prepare_cached(&sql)?;
        collect(&mut statement, [operation.to_string()], read)
    }

    /// Takes away a version that never had bytes.
    pub fn delete_version(&self, id: VersionId) -> Result<(), StoreError> {
        self.sql.execute(
            "DELETE FROM exceptions WHERE version_id = ?1",
            [id.to_string()],
        )?;
        self.sql
            .execute("DELETE FROM versions WHERE id = ?1", [id.to_string()])?;
        Ok(())
    }
}
