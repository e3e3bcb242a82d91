//! `policy …`: conformity of versions.

use super::Session;
use crate::args::{
    Format, PolicyAcceptArgs, PolicyCheckArgs, PolicyCommand, PolicyFormArg, PolicySetArgs,
};
use crate::output::{self, Row};
use stampo_api::{
    Kind, PolicyAcceptRequest, PolicyCheck, PolicyException, PolicyForm, PolicyOutcome, PolicyPack,
    PolicyRecheck, PolicyReport, Problem,
};
use std::path::Path;
use std::process::ExitCode;

/// Longest pack that is read, in bytes: one that is longer is refused anyway.
const MAX_PACK_BYTES: u64 = 2 << 20;

/// Runs the verb.
pub fn run(session: &Session, command: PolicyCommand) -> Result<ExitCode, Problem> {
    let done = match command {
        PolicyCommand::Check(args) => return check(session, &args),
        PolicyCommand::Recheck { fresh } => return recheck(session, fresh),
        PolicyCommand::Replay { id } => return replay(session, &id),
        PolicyCommand::Checks { check } => checks(session, check.as_deref()),
        PolicyCommand::Reports { version, limit } => {
            let reports = session.api.policy_reports(version.as_ref(), limit)?;
            output::rows(session.global.output, &reports)
        }
        PolicyCommand::Report { id, all, form } => {
            print(session, &session.api.policy_report(&id)?, all, form)
        }
        PolicyCommand::Pack => print_pack(session, &session.api.policy_pack()?, true),
        PolicyCommand::Set(args) => set(session, &args),
        PolicyCommand::Accept(args) => accept(session, args),
        PolicyCommand::Unaccept { id } => session.api.policy_unaccept(&id),
        PolicyCommand::Exceptions => {
            output::rows(session.global.output, &session.api.policy_exceptions()?)
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn check(session: &Session, args: &PolicyCheckArgs) -> Result<ExitCode, Problem> {
    let pack = args.pack.as_deref().map(read_pack).transpose()?;
    let report = session.api.policy_check(&args.version, pack.as_deref())?;
    print(session, &report, args.all, args.form)?;
    Ok(exit_code(report.refused))
}

fn recheck(session: &Session, is_fresh: bool) -> Result<ExitCode, Problem> {
    let all = session.api.policy_recheck(is_fresh)?;
    output::rows(session.global.output, &all)?;
    for one in &all {
        for line in one.changes.iter().chain(&one.failed) {
            session.note(&output::one_line(&format!("{}: {line}", one.version)));
        }
    }
    Ok(exit_code(all.iter().any(|one| one.refused)))
}

/// 4 where a rule forbids it.
fn exit_code(is_refused: bool) -> ExitCode {
    match is_refused {
        true => ExitCode::from(Kind::Denied.exit_code()),
        false => ExitCode::SUCCESS,
    }
}

fn print(
    session: &Session,
    report: &PolicyReport,
    all: bool,
    form: Option<PolicyFormArg>,
) -> Result<(), Problem> {
    if let Some(form) = form {
        let form = match form {
            PolicyFormArg::Sarif => PolicyForm::Sarif,
            PolicyFormArg::Junit => PolicyForm::Junit,
        };
        return output::print(session.api.policy_export(&report.id, form)?.trim_end());
    }
    match session.global.output {
        form @ (Format::Json | Format::Yaml) => output::value(form, report)?,
        Format::Name => output::print(&report.id)?,
        Format::Table | Format::Wide => print_table(report, all)?,
    }
    session.note(&summary(report));
    Ok(())
}

/// What is not as it should be; for each check what, where, why and what mends it.
fn print_table(report: &PolicyReport, all: bool) -> Result<(), Problem> {
    let is_open =
        |outcome: &&PolicyOutcome| matches!(outcome.verdict.as_str(), "fail" | "unknown" | "warn");
    for outcome in report
        .outcomes
        .iter()
        .filter(|outcome| all || is_open(outcome))
    {
        let marks = format!("{}, {}", outcome.severity, outcome.mode);
        let head = format!(
            "{:<8} {} ({marks}): {}",
            outcome.verdict, outcome.check, outcome.title
        );
        output::print(&output::one_line(&head))?;
        for line in lines(outcome) {
            output::print(&format!("         {}", output::one_line(&line)))?;
        }
    }
    Ok(())
}

fn lines(outcome: &PolicyOutcome) -> Vec<String> {
    let mut lines: Vec<String> = outcome
        .findings
        .iter()
        .map(|finding| match &finding.accepted {
            Some(why) => format!("{}: {}; accepted: {why}", finding.path, finding.what),
            None => format!("{}: {}", finding.path, finding.what),
        })
        .collect();
    lines.extend(outcome.why.iter().cloned());
    lines.extend(
        outcome
            .ended_exceptions
            .iter()
            .map(|text| format!("an exception has ended: {text}")),
    );
    if matches!(outcome.verdict.as_str(), "fail" | "warn") {
        lines.push(format!("why: {}", outcome.rationale));
        lines.push(format!("to mend it: {}", outcome.remedy));
    }
    lines
}

fn summary(report: &PolicyReport) -> String {
    let counts: Vec<String> = report
        .counts
        .iter()
        .map(|(verdict, n)| format!("{n} {verdict}"))
        .collect();
    let refused = if report.refused {
        "; it is refused"
    } else {
        ""
    };
    format!(
        "{} by {}: {} ({}){refused}; report {}",
        report.version,
        report.pack,
        report.verdict,
        counts.join(", "),
        report.id
    )
}

fn replay(session: &Session, id: &str) -> Result<ExitCode, Problem> {
    let replay = session.api.policy_replay(id)?;
    let report = &replay.recorded;
    match session.global.output {
        form @ (Format::Json | Format::Yaml) => output::value(form, &replay)?,
        _ => {
            let same = if replay.is_same {
                "the same report"
            } else {
                "another report"
            };
            output::print(&format!(
                "{} of {}: {same}, {}",
                report.id, report.version, report.verdict
            ))?;
            let image = match replay.is_same_evidence {
                Some(true) => "the image tells the same",
                Some(false) => "the image does not tell the same any more",
                None => "the image could not be looked into again",
            };
            output::print(image)?;
            for line in &replay.differences {
                output::print(&output::one_line(line))?;
            }
        }
    }
    Ok(exit_code(
        !replay.is_same || replay.is_same_evidence == Some(false),
    ))
}

fn checks(session: &Session, id: Option<&str>) -> Result<(), Problem> {
    let all = session.api.policy_checks()?;
    let Some(id) = id else {
        return output::rows(session.global.output, &all);
    };
    let found = all
        .into_iter()
        .find(|check| check.id == id)
        .ok_or_else(|| {
            Problem::new(Kind::NotFound, format!("find check {id}")).hint("stampo policy checks")
        })?;
    output::value(session.global.output, &found)
}

fn set(session: &Session, args: &PolicySetArgs) -> Result<(), Problem> {
    let text = args.pack.as_deref().map(read_pack).transpose()?;
    let pack = session.api.set_policy_pack(text.as_deref())?;
    print_pack(session, &pack, false)
}

fn print_pack(session: &Session, pack: &PolicyPack, with_text: bool) -> Result<(), Problem> {
    match session.global.output {
        form @ (Format::Json | Format::Yaml) => output::value(form, pack)?,
        Format::Name => output::print(&pack.name)?,
        Format::Table | Format::Wide if with_text => output::print(pack.text.trim_end())?,
        Format::Table | Format::Wide => {}
    }
    let whose = if pack.is_of_site {
        "the site's"
    } else {
        "the built-in one"
    };
    session.note(&format!(
        "{} {} ({whose}), {} checks, digest {}",
        pack.name, pack.version, pack.checks, pack.digest
    ));
    Ok(())
}

fn accept(session: &Session, args: PolicyAcceptArgs) -> Result<(), Problem> {
    let exception = session.api.policy_accept(PolicyAcceptRequest {
        check: args.check,
        subject: args.version,
        path: args.path,
        owner: args.owner,
        reason: args.reason,
        expires: args.until,
    })?;
    output::rows(session.global.output, &[exception])
}

fn read_pack(path: &Path) -> Result<String, Problem> {
    use std::io::Read;
    let failed = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            _ => Kind::Usage,
        };
        Problem::new(kind, format!("read {}: {error}", path.display()))
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_PACK_BYTES)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
}

impl Row for PolicyCheck {
    const COLUMNS: &'static [&'static str] =
        &["CHECK", "SEVERITY", "TITLE", "APPLIES TO", "MAPS TO"];
    const NARROW: usize = 3;

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.severity.clone(),
            self.title.clone(),
            self.applies_to.clone(),
            self.refs.join(", "),
        ]
    }

    fn name(&self) -> String {
        self.id.clone()
    }
}

impl Row for PolicyRecheck {
    const COLUMNS: &'static [&'static str] = &[
        "VERSION", "VERDICT", "BEFORE", "REFUSED", "CHANGES", "REPORT",
    ];
    const NARROW: usize = 5;

    fn cells(&self) -> Vec<String> {
        let refused = if self.refused { "yes" } else { "no" };
        vec![
            self.version.clone(),
            self.verdict.clone(),
            self.was.clone().unwrap_or_default(),
            refused.to_owned(),
            self.changes.len().to_string(),
            self.report.clone().unwrap_or_default(),
        ]
    }

    fn name(&self) -> String {
        self.version.clone()
    }
}

impl Row for PolicyReport {
    const COLUMNS: &'static [&'static str] = &[
        "REPORT", "VERSION", "VERDICT", "REFUSED", "PACK", "AT", "BY", "DIGEST",
    ];
    const NARROW: usize = 6;

    fn cells(&self) -> Vec<String> {
        let refused = if self.refused { "yes" } else { "no" };
        vec![
            self.id.clone(),
            self.version.clone(),
            self.verdict.clone(),
            refused.to_owned(),
            self.pack.clone(),
            self.at.clone(),
            self.actor.clone(),
            self.report_digest.clone(),
        ]
    }

    fn name(&self) -> String {
        self.id.clone()
    }
}

impl Row for PolicyException {
    const COLUMNS: &'static [&'static str] = &[
        "EXCEPTION",
        "CHECK",
        "VERSIONS",
        "UNTIL",
        "OWNER",
        "REASON",
        "PATH",
        "BY",
    ];
    const NARROW: usize = 6;

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.accepted.check.clone(),
            self.accepted.subject.clone(),
            self.accepted.expires.clone(),
            self.accepted.owner.clone(),
            self.accepted.reason.clone(),
            self.accepted.path.clone().unwrap_or_default(),
            self.actor.clone(),
        ]
    }

    fn name(&self) -> String {
        self.id.clone()
    }
}
