//! `template channel`.

use super::Session;
use crate::args::ChannelCommand;
use crate::output;
use serde::Serialize;
use stampo_api::{Channel, Problem};
use std::process::ExitCode;

/// A channel as a line.
#[derive(Serialize)]
#[serde(transparent)]
struct ChannelLine(Channel);

impl output::Row for ChannelLine {
    const COLUMNS: &'static [&'static str] = &["CHANNEL", "VERSION", "STATE"];
    const NARROW: usize = 3;

    fn cells(&self) -> Vec<String> {
        let Channel {
            name,
            version,
            state,
            ..
        } = &self.0;
        vec![name.clone(), version.clone(), state.clone()]
    }

    fn name(&self) -> String {
        self.0.name.clone()
    }
}

/// `template channel`.
pub fn run(session: &Session, command: ChannelCommand) -> Result<ExitCode, Problem> {
    match command {
        ChannelCommand::Set { channel, version } => {
            let moved = session.api.set_channel(&channel, &version)?;
            output::rows(session.global.output, &[ChannelLine(moved)])?;
        }
        ChannelCommand::Ls => {
            let channels: Vec<_> = session
                .api
                .channels()?
                .into_iter()
                .map(ChannelLine)
                .collect();
            if channels.is_empty() {
                session.note("no channels; make one: stampo template channel set web:stable web@1");
            }
            output::rows(session.global.output, &channels)?;
        }
        ChannelCommand::Rm { channels } => {
            for channel in &channels {
                session.api.remove_channel(channel)?;
                session.note(&format!("channel {channel} removed"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
