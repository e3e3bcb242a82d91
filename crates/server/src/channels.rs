//! The API's part about channels, over an engine in this process.

use crate::local::Local;
use crate::problem::problem;
use stampo_api::{Channel, ChannelApi, ChannelMove, Reply};
use stampo_core::names::VersionRef;
use stampo_store::{ChannelMoveRow, ChannelRow, VersionRow};

impl ChannelApi for Local {
    fn set_channel(
        &self,
        channel: &VersionRef,
        version: &VersionRef,
        reason: Option<&str>,
    ) -> Reply<Channel> {
        let (row, version) = self
            .engine
            .set_channel(channel, version, reason)
            .map_err(self.refuse("channel set", &channel.to_string()))?;
        Ok(wire(&row, &version))
    }

    fn roll_back_channel(&self, channel: &VersionRef, reason: Option<&str>) -> Reply<Channel> {
        let (row, version) = self
            .engine
            .roll_back_channel(channel, reason)
            .map_err(self.refuse("channel rollback", &channel.to_string()))?;
        Ok(wire(&row, &version))
    }

    fn channel_history(&self, channel: &VersionRef) -> Reply<Vec<ChannelMove>> {
        let moves = self
            .engine
            .channel_history(channel)
            .map_err(|error| problem(&error))?;
        let label = |number: u32| format!("{}@{number}", channel.template);
        let wire = |row: ChannelMoveRow| ChannelMove {
            sequence: row.sequence,
            kind: row.kind.to_string(),
            from: row.from.map(label),
            to: row.to.map(label),
            actor: row.actor,
            reason: row.reason,
            at_ms: row.at_ms,
        };
        Ok(moves.into_iter().map(wire).collect())
    }

    fn channels(&self) -> Reply<Vec<Channel>> {
        let found = self.engine.channels().map_err(|error| problem(&error))?;
        Ok(found
            .iter()
            .map(|(row, version)| wire(row, version))
            .collect())
    }

    fn remove_channel(&self, channel: &VersionRef) -> Reply<()> {
        self.engine
            .remove_channel(channel)
            .map_err(self.refuse("channel remove", &channel.to_string()))
    }
}

fn wire(row: &ChannelRow, version: &VersionRow) -> Channel {
    Channel {
        name: format!("{}:{}", row.template, row.name),
        version: version.label(),
        state: version.state.to_string(),
        moved_ms: row.moved_ms,
    }
}
