//! `operation`.

use super::Session;
use crate::args::OperationCommand;
use crate::output;
use serde::Serialize;
use stampo_api::{Operation, Problem};
use std::process::ExitCode;

/// An operation as a line.
#[derive(Serialize)]
#[serde(transparent)]
struct Line(Operation);

impl output::Row for Line {
    const COLUMNS: &'static [&'static str] =
        &["STARTED", "KIND", "SUBJECT", "STATE", "ERROR", "ID"];
    const NARROW: usize = 5;

    fn cells(&self) -> Vec<String> {
        vec![
            output::time(self.0.created_ms),
            self.0.kind.clone(),
            self.0.subject.clone(),
            self.0.state.clone(),
            self.0.error.clone().unwrap_or_default(),
            self.0.id.clone(),
        ]
    }

    fn name(&self) -> String {
        self.0.id.clone()
    }
}

/// `operation`.
pub fn run(session: &Session, command: OperationCommand) -> Result<ExitCode, Problem> {
    match command {
        OperationCommand::Ls(args) => {
            let lines: Vec<Line> = session
                .api
                .operations(args.limit)?
                .into_iter()
                .map(Line)
                .collect();
            output::rows(session.global.output, &lines)?;
        }
        OperationCommand::Cancel { id } => session.api.cancel(&id)?,
    }
    Ok(ExitCode::SUCCESS)
}
