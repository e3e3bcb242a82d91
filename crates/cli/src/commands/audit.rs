//! `audit …`.

use super::Session;
use super::govern::date;
use crate::args::{AuditArgs, AuditCommand, AuditFilterArgs, AuditFormArg, AuditListArgs, Format};
use crate::output;
use serde::Serialize;
use stampo_api::{
    AuditCheckpoint, AuditFilter, AuditForm, AuditRecord, AuditVerification, Kind, Problem, Reply,
};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// An audit record as a line.
#[derive(Serialize)]
#[serde(transparent)]
struct Record(AuditRecord);

impl output::Row for Record {
    const COLUMNS: &'static [&'static str] =
        &["TIME", "ACTOR", "ACTION", "RESOURCE", "OUTCOME", "DETAIL"];
    const NARROW: usize = 6;

    fn cells(&self) -> Vec<String> {
        vec![
            output::time(self.0.at_ms),
            self.0.actor.clone(),
            self.0.action.clone(),
            self.0.resource.clone(),
            self.0.outcome.clone(),
            self.0.detail.clone(),
        ]
    }

    fn name(&self) -> String {
        self.0.sequence.to_string()
    }
}

/// `audit`.
pub fn run(session: &Session, args: AuditArgs) -> Result<ExitCode, Problem> {
    match args.command {
        None => list(session, &args.list),
        Some(AuditCommand::List(args)) => list(session, &args),
        Some(AuditCommand::Verify { checkpoint }) => verify(session, &checkpoint),
        Some(AuditCommand::Checkpoint) => {
            let made = session.api.audit_checkpoint()?;
            let Some(made) = made else {
                session.note("there is no record yet");
                return Ok(ExitCode::SUCCESS);
            };
            let form = match session.global.output {
                Format::Yaml => Format::Yaml,
                _ => Format::Json,
            };
            output::value(form, &made)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(AuditCommand::Export { format, filter }) => {
            let form = match format {
                AuditFormArg::Jsonl => AuditForm::Jsonl,
                AuditFormArg::Ocsf => AuditForm::Ocsf,
            };
            let filter = wanted(&filter)?;
            session
                .api
                .audit_export(&filter, form, &mut |line| output::print(line))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn list(session: &Session, args: &AuditListArgs) -> Result<ExitCode, Problem> {
    let filter = wanted(&args.filter)?;
    let found = session.api.audit(&filter, args.limit)?;
    let records: Vec<Record> = found.into_iter().map(Record).collect();
    output::rows(session.global.output, &records)?;
    Ok(ExitCode::SUCCESS)
}

fn wanted(args: &AuditFilterArgs) -> Reply<AuditFilter> {
    Ok(AuditFilter {
        actor: args.actor.clone(),
        action: args.action.clone(),
        resource: args.resource.clone(),
        outcome: args.outcome.clone(),
        since_ms: args.since.as_deref().map(date).transpose()?,
    })
}

fn verify(session: &Session, kept: &[PathBuf]) -> Result<ExitCode, Problem> {
    let kept = kept.iter().map(|path| read(path));
    let kept: Vec<AuditCheckpoint> = kept.collect::<Reply<_>>()?;
    let found = session.api.audit_verify(&kept)?;
    match session.global.output {
        Format::Table | Format::Wide => print(session, &found)?,
        Format::Name => {}
        form => output::value(form, &found)?,
    }
    Ok(match found.is_whole {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(Kind::Denied.exit_code()),
    })
}

fn print(session: &Session, found: &AuditVerification) -> Result<(), Problem> {
    for fault in &found.faults {
        let place = match fault.sequence {
            0 => String::new(),
            at => format!("record {at}: "),
        };
        output::print(&output::one_line(&format!("{place}{}", fault.what)))?;
    }
    let AuditVerification {
        records,
        checkpoints,
        covered,
        ..
    } = found;
    let whole = match found.is_whole {
        true => "all as they were written",
        false => "not as they were written",
    };
    output::print(&format!(
        "{records} records, {whole}; {checkpoints} checkpoints, the last at record {covered}"
    ))?;
    session.note(&found.unseen);
    Ok(())
}

fn read(path: &Path) -> Reply<AuditCheckpoint> {
    let text = crate::spec::read_text(path)?;
    serde_json::from_str(&text).map_err(|error| {
        let what = format!("read {} as a checkpoint: {error}", path.display());
        Problem::new(Kind::Usage, what).hint("stampo audit checkpoint > FILE")
    })
}
