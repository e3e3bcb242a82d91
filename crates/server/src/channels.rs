//! The API's part about channels, over an engine in this process.

use crate::local::Local;
use crate::problem::problem;
use stampo_api::{Channel, ChannelApi, Reply};
use stampo_core::names::VersionRef;
use stampo_store::{ChannelRow, VersionRow};

impl ChannelApi for Local {
    fn set_channel(&self, channel: &VersionRef, version: &VersionRef) -> Reply<Channel> {
        let (row, version) = self
            .engine
            .set_channel(channel, version)
            .map_err(self.refuse("channel set", &channel.to_string()))?;
        Ok(wire(&row, &version))
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
