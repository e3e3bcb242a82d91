//! Table `channels`: pointers from a name to one version of a template.

use crate::connection::{StoreError, Tx};
use crate::convert::{collect, parsed};
use rusqlite::{Row, params};
use stampo_core::ids::{TemplateId, VersionId};
use stampo_core::lifecycle::State;
use stampo_core::names::{ChannelName, TemplateName};

/// One channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRow {
    /// The template.
    pub template_id: TemplateId,
    /// The template's name.
    pub template: TemplateName,
    /// The channel's name.
    pub name: ChannelName,
    /// The version that it points to.
    pub version: VersionId,
    /// When it was moved there, in milliseconds since 1970.
    pub moved_ms: i64,
}

fn read(row: &Row<'_>) -> Result<ChannelRow, StoreError> {
    const TABLE: &str = "channels";
    Ok(ChannelRow {
        template_id: parsed(row, TABLE, "template_id")?,
        template: parsed(row, TABLE, "template")?,
        name: parsed(row, TABLE, "name")?,
        version: parsed(row, TABLE, "version_id")?,
        moved_ms: row.get("moved_ms")?,
    })
}

const SELECT: &str = "SELECT channels.*, templates.name AS template FROM channels
     JOIN templates ON templates.id = channels.template_id";

impl Tx<'_> {
    /// Points a channel to a version, making it if it is missing.
    pub fn put_channel(&self, row: &ChannelRow) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO channels (template_id, name, version_id, moved_ms)
             VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (template_id, name) DO UPDATE SET
             version_id = excluded.version_id, moved_ms = excluded.moved_ms",
            params![
                row.template_id.to_string(),
                row.name.as_str(),
                row.version.to_string(),
                row.moved_ms
            ],
        )?;
        Ok(())
    }

    /// The channel of this name of a template.
    pub fn channel(
        &self,
        template: TemplateId,
        name: &ChannelName,
    ) -> Result<Option<ChannelRow>, StoreError> {
        let sql = format!("{SELECT} WHERE channels.template_id = ?1 AND channels.name = ?2");
        let mut statement = self.sql.prepare_cached(&sql)?;
        let mut rows = statement.query(params![template.to_string(), name.as_str()])?;
        rows.next()?.map(read).transpose()
    }

    /// Every channel, by template and name.
    pub fn channels(&self) -> Result<Vec<ChannelRow>, StoreError> {
        let sql = format!("{SELECT} ORDER BY templates.name, channels.name");
        collect(&mut self.sql.prepare_cached(&sql)?, [], read)
    }

    /// The channels that point to a version.
    pub fn channels_to(&self, version: VersionId) -> Result<Vec<ChannelRow>, StoreError> {
        let sql = format!("{SELECT} WHERE channels.version_id = ?1 ORDER BY channels.name");
        let mut statement = self.sql.prepare_cached(&sql)?;
        collect(&mut statement, [version.to_string()], read)
    }

    /// How many channels there are.
    pub fn channel_count(&self) -> Result<u32, StoreError> {
        let sql = "SELECT COUNT(*) FROM channels";
        Ok(self.sql.query_row(sql, [], |row| row.get(0))?)
    }

    /// The versions in one of these states that channels point to.
    pub fn pointed_versions(&self, states: &[State]) -> Result<Vec<VersionId>, StoreError> {
        // The names of states are ours: nothing in them needs quoting.
        let states: Vec<String> = states.iter().map(|state| format!("'{state}'")).collect();
        let sql = format!(
            "SELECT DISTINCT versions.id FROM channels
             JOIN versions ON versions.id = channels.version_id
             WHERE versions.state IN ({})",
            states.join(", ")
        );
        let mut statement = self.sql.prepare_cached(&sql)?;
        collect(&mut statement, [], |row| parsed(row, "versions", "id"))
    }

    /// Forgets a channel. Whether it was there.
    pub fn delete_channel(
        &self,
        template: TemplateId,
        name: &ChannelName,
    ) -> Result<bool, StoreError> {
        let sql = "DELETE FROM channels WHERE template_id = ?1 AND name = ?2";
        let key = params![template.to_string(), name.as_str()];
        Ok(self.sql.execute(sql, key)? > 0)
    }
}
