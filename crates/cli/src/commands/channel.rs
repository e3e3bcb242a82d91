//! `template channel`.

use super::Session;
use crate::args::ChannelCommand;
use crate::output;
use serde::Serialize;
use stampo_api::{Channel, ChannelMove, Problem};
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

/// A move as a line.
#[derive(Serialize)]
#[serde(transparent)]
struct MoveLine(ChannelMove);

impl output::Row for MoveLine {
    const COLUMNS: &'static [&'static str] = &["AT", "WHAT", "FROM", "TO", "WHY", "WHO", "NUMBER"];
    const NARROW: usize = 6;

    fn cells(&self) -> Vec<String> {
        let of = |label: &Option<String>| label.clone().unwrap_or_else(|| "-".to_owned());
        let one = &self.0;
        vec![
            output::time(one.at_ms),
            one.kind.clone(),
            of(&one.from),
            of(&one.to),
            one.reason.clone(),
            one.actor.clone(),
            one.sequence.to_string(),
        ]
    }

    fn name(&self) -> String {
        self.0.to.clone().unwrap_or_else(|| "-".to_owned())
    }
}

/// `template channel`.
pub fn run(session: &Session, command: ChannelCommand) -> Result<ExitCode, Problem> {
    match command {
        ChannelCommand::Set {
            channel,
            version,
            reason,
        } => {
            let moved = session
                .api
                .set_channel(&channel, &version, reason.as_deref())?;
            output::rows(session.global.output, &[ChannelLine(moved)])?;
        }
        ChannelCommand::Rollback { channel, reason } => {
            let moved = session.api.roll_back_channel(&channel, reason.as_deref())?;
            output::rows(session.global.output, &[ChannelLine(moved)])?;
        }
        ChannelCommand::History { channel } => {
            let moves = session.api.channel_history(&channel)?;
            let lines: Vec<_> = moves.into_iter().map(MoveLine).collect();
            output::rows(session.global.output, &lines)?;
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
