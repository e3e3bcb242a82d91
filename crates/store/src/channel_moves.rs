//! Table `channel_moves`: where channels pointed, when and why. Rows are only ever added.

use crate::connection::{StoreError, Tx};
use crate::convert::{collect, parsed};
use rusqlite::{Row, params};
use stampo_core::channel::{Move, MoveKind};
use stampo_core::ids::TemplateId;
use stampo_core::names::ChannelName;

/// One move of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelMoveRow {
    /// The template.
    pub template_id: TemplateId,
    /// The channel.
    pub channel: ChannelName,
    /// Its place in the channel's history, from 1.
    pub sequence: u32,
    /// Why it was moved.
    pub kind: MoveKind,
    /// The number of the version that it pointed to before.
    pub from: Option<u32>,
    /// The number of the version that it points to since.
    pub to: Option<u32>,
    /// Who.
    pub actor: String,
    /// What was said, or what happened.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

impl ChannelMoveRow {
    /// What decides where the channel can go back to.
    pub fn as_move(&self) -> Move {
        Move {
            kind: self.kind,
            from: self.from,
            to: self.to,
        }
    }
}

fn read(row: &Row<'_>) -> Result<ChannelMoveRow, StoreError> {
    const TABLE: &str = "channel_moves";
    Ok(ChannelMoveRow {
        template_id: parsed(row, TABLE, "template_id")?,
        channel: parsed(row, TABLE, "channel")?,
        sequence: row.get("sequence")?,
        kind: parsed(row, TABLE, "kind")?,
        from: row.get("from_number")?,
        to: row.get("to_number")?,
        actor: row.get("actor")?,
        reason: row.get("reason")?,
        at_ms: row.get("at_ms")?,
    })
}

impl Tx<'_> {
    /// Adds a move. Whether it was added: one of this place that is there already stays.
    pub fn add_channel_move(&self, row: &ChannelMoveRow) -> Result<bool, StoreError> {
        let added = self.sql.execute(
            "INSERT INTO channel_moves
             (template_id, channel, sequence, kind, from_number, to_number, actor, reason, at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (template_id, channel, sequence) DO NOTHING",
            params![
                row.template_id.to_string(),
                row.channel.as_str(),
                row.sequence,
                row.kind.as_str(),
                row.from,
                row.to,
                row.actor,
                row.reason,
                row.at_ms
            ],
        )?;
        Ok(added > 0)
    }

    /// The history of a channel, the oldest move first.
    pub fn channel_moves(
        &self,
        template: TemplateId,
        channel: &ChannelName,
    ) -> Result<Vec<ChannelMoveRow>, StoreError> {
        let sql = "SELECT * FROM channel_moves WHERE template_id = ?1 AND channel = ?2
             ORDER BY sequence";
        let mut statement = self.sql.prepare_cached(sql)?;
        let key = params![template.to_string(), channel.as_str()];
        collect(&mut statement, key, read)
    }

    /// The moves of a template's channels to or from one of its versions.
    pub fn moves_of_version(
        &self,
        template: TemplateId,
        number: u32,
    ) -> Result<Vec<ChannelMoveRow>, StoreError> {
        let sql = "SELECT * FROM channel_moves
             WHERE template_id = ?1 AND (from_number = ?2 OR to_number = ?2)
             ORDER BY channel, sequence";
        let mut statement = self.sql.prepare_cached(sql)?;
        collect(&mut statement, params![template.to_string(), number], read)
    }

    /// An error when a row can't be read.
    pub fn check_channel_moves(&self) -> Result<(), StoreError> {
        let mut statement = self.sql.prepare_cached("SELECT * FROM channel_moves")?;
        collect(&mut statement, [], read).map(drop)
    }

    /// The newest move of every channel of a template.
    pub fn last_channel_moves(
        &self,
        template: TemplateId,
    ) -> Result<Vec<ChannelMoveRow>, StoreError> {
        let sql = "SELECT * FROM channel_moves AS one WHERE template_id = ?1 AND sequence =
             (SELECT MAX(sequence) FROM channel_moves
              WHERE template_id = one.template_id AND channel = one.channel)
             ORDER BY channel";
        let mut statement = self.sql.prepare_cached(sql)?;
        collect(&mut statement, [template.to_string()], read)
    }
}
