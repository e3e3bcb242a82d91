//! Table `templates`: names under which versions are kept.

use crate::connection::{StoreError, Tx};
use crate::convert::{collect, parsed, unique};
use crate::sums::DamagedRow;
use rusqlite::{OptionalExtension, Row, params};
use stampo_core::ids::TemplateId;
use stampo_core::names::TemplateName;
use uuid::Uuid;

/// One template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateRow {
    /// Its id.
    pub id: TemplateId,
    /// Its name, unique.
    pub name: TemplateName,
    /// Milliseconds since 1970.
    pub created_ms: i64,
}

fn read(row: &Row<'_>) -> Result<TemplateRow, StoreError> {
    Ok(TemplateRow {
        id: parsed(row, "templates", "id")?,
        name: parsed(row, "templates", "name")?,
        created_ms: row.get("created_ms")?,
    })
}

impl Tx<'_> {
    /// The template of this name, made if it is missing.
    pub fn ensure_template(
        &self,
        name: &TemplateName,
        now_ms: i64,
    ) -> Result<TemplateRow, StoreError> {
        if let Some(found) = self.template(name)? {
            return Ok(found);
        }
        let row = TemplateRow {
            id: TemplateId(Uuid::now_v7()),
            name: name.clone(),
            created_ms: now_ms,
        };
        self.sql.execute(
            "INSERT INTO templates (id, name, created_ms) VALUES (?1, ?2, ?3)",
            params![row.id.to_string(), name.as_str(), now_ms],
        )?;
        Ok(row)
    }

    /// Gives a template whose row is damaged its name back. Whether the row is then as it was when
    /// its checksum was made.
    pub fn mend_template(&self, row: &DamagedRow, name: &TemplateName) -> Result<bool, StoreError> {
        let sum = || -> rusqlite::Result<Option<i64>> {
            let sql = "SELECT row_sum FROM templates WHERE rowid = ?1";
            self.sql.query_row(sql, [row.rowid], |row| row.get(0))
        };
        let before = sum()?;
        self.sql
            .execute(
                "UPDATE templates SET name = ?2 WHERE rowid = ?1",
                params![row.rowid, name.as_str()],
            )
            .map_err(unique(|| name.to_string()))?;
        Ok(sum()? == before)
    }

    /// The template of this name.
    pub fn template(&self, name: &TemplateName) -> Result<Option<TemplateRow>, StoreError> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT * FROM templates WHERE name = ?1")?;
        let mut rows = statement.query([name.as_str()])?;
        rows.next()?.map(read).transpose()
    }

    /// Whether there is any template.
    pub fn has_templates(&self) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM templates)";
        Ok(self.sql.query_row(sql, [], |row| row.get(0))?)
    }

    /// Every template, by name.
    pub fn templates(&self) -> Result<Vec<TemplateRow>, StoreError> {
        let mut statement = self
            .sql
            .prepare_cached("SELECT * FROM templates ORDER BY name")?;
        collect(&mut statement, [], read)
    }

    /// Forgets a template that has no version: its only one could not be made.
    pub fn delete_template_if_bare(&self, template: TemplateId) -> Result<(), StoreError> {
        self.sql.execute(
            "DELETE FROM templates WHERE id = ?1
             AND NOT EXISTS (SELECT 1 FROM versions WHERE template_id = ?1)",
            [template.to_string()],
        )?;
        Ok(())
    }

    /// The highest version number that the template ever had; 0 when it had none.
    pub fn last_number(&self, template: TemplateId) -> Result<u32, StoreError> {
        let sql = "SELECT max(number) FROM versions WHERE template_id = ?1";
        let last: Option<Option<u32>> = self
            .sql
            .query_row(sql, [template.to_string()], |row| row.get(0))
            .optional()?;
        Ok(last.flatten().unwrap_or(0))
    }
}
