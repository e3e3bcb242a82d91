//! `retention …`.

use super::Session;
use crate::args::{Format, RetentionApplyArgs, RetentionCommand, RetentionSetArgs};
use crate::output;
use serde::Serialize;
use stampo_api::{Problem, RetainedVersion};
use std::process::ExitCode;

/// What the settings are where nobody has set any.
const NONE: &str = "schema: stampo.retention/1\nrules:\n  keep-all: true";

/// A version and what becomes of it, as a line.
#[derive(Serialize)]
#[serde(transparent)]
struct Line(RetainedVersion);

impl output::Row for Line {
    const COLUMNS: &'static [&'static str] = &["VERSION", "STATE", "WHAT", "WHY"];
    const NARROW: usize = 4;

    fn cells(&self) -> Vec<String> {
        let RetainedVersion {
            version,
            state,
            what,
            why,
            failed,
        } = &self.0;
        let why = match failed {
            Some(failed) => format!("it could not be done: {failed}"),
            None => why.clone(),
        };
        vec![version.clone(), state.clone(), what.clone(), why]
    }

    fn name(&self) -> String {
        self.0.version.clone()
    }
}

/// `retention`.
pub fn run(session: &Session, command: &RetentionCommand) -> Result<ExitCode, Problem> {
    match command {
        RetentionCommand::Show => show(session),
        RetentionCommand::Set(args) => set(session, args),
        RetentionCommand::Apply(args) => apply(session, args),
    }
}

fn show(session: &Session) -> Result<ExitCode, Problem> {
    let text = session.api.retention()?;
    if text.is_none() {
        session.note("nothing is set: everything stays");
    }
    match session.global.output {
        form @ (Format::Json | Format::Yaml) => output::value(form, &text)?,
        _ => output::print(text.as_deref().unwrap_or(NONE).trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn set(session: &Session, args: &RetentionSetArgs) -> Result<ExitCode, Problem> {
    let text = args
        .file
        .as_deref()
        .map(crate::spec::read_text)
        .transpose()?;
    session.api.set_retention(text.as_deref())?;
    session.note(match text {
        Some(_) => {
            "applied once a day from tomorrow on; see what it will do: \
             stampo retention apply --dry-run"
        }
        None => "everything stays",
    });
    Ok(ExitCode::SUCCESS)
}

fn apply(session: &Session, args: &RetentionApplyArgs) -> Result<ExitCode, Problem> {
    let report = session.api.apply_retention(!args.dry_run)?;
    let is_change = |one: &&RetainedVersion| !matches!(one.what.as_str(), "stays" | "goes");
    let changes = report.versions.iter().filter(is_change);
    let (failed, done): (Vec<_>, Vec<_>) = changes.partition(|one| one.failed.is_some());
    let (failed, done) = (failed.len(), done.len());
    match session.global.output {
        form @ (Format::Json | Format::Yaml) => output::value(form, &report)?,
        form => {
            let lines: Vec<Line> = report.versions.into_iter().map(Line).collect();
            output::rows(form, &lines)?;
        }
    }
    let would = if args.dry_run { "would be " } else { "" };
    let versions = if done == 1 { "version" } else { "versions" };
    session.note(&format!("{done} {versions} {would}changed"));
    if failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    session.note(&format!("{failed} could not be changed"));
    Ok(ExitCode::from(6))
}
