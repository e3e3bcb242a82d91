//! `store rescan` and `store scrub`.

use super::Session;
use crate::args::{Format, ScrubArgs};
use crate::output;
use stampo_api::{Damage, Kind, Problem, ScrubReport, ScrubRequest};
use std::process::ExitCode;

/// `store rescan`.
pub fn rescan(session: &Session) -> Result<ExitCode, Problem> {
    let report = session.api.rescan()?;
    match session.global.output {
        form @ (Format::Json | Format::Yaml) => output::value(form, &report)?,
        _ => {
            for name in report.versions.iter().chain(&report.guests) {
                output::print(name)?;
            }
        }
    }
    for (name, why) in &report.undefined {
        session.note(&format!("{name} is back, but it can't run yet: {why}"));
    }
    for (path, why) in &report.refused {
        session.note(&format!("not taken in: {path}: {why}"));
    }
    if !report.refused.is_empty() {
        session.note(
            "what was not taken in is left as it was found; of what the catalog knows, it is \
             written anew by: stampo store scrub",
        );
    }
    session.note(&format!(
        "{} versions and {} guests brought back; check their bytes: stampo template verify NAME@N",
        report.versions.len(),
        report.guests.len()
    ));
    Ok(if report.refused.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(6)
    })
}

/// `store scrub`.
pub fn scrub(session: &Session, args: &ScrubArgs) -> Result<ExitCode, Problem> {
    let older_than_s = args.older_than.as_deref().map(super::guests::seconds);
    let request = ScrubRequest {
        older_than_s: older_than_s.transpose()?,
        limit: args.limit,
    };
    let operation = session.api.scrub(request)?;
    let ended = session.follow(&operation);
    // Damage is an error, and there is a report all the same.
    match (ended, session.api.scrub_report(&operation.id)) {
        (Ok(_), report) => {
            print_scrub(session, &report?)?;
            Ok(ExitCode::SUCCESS)
        }
        (Err(problem), Ok(report)) => {
            print_scrub(session, &report)?;
            Err(with_remedies(problem, &report))
        }
        (Err(problem), Err(_)) => Err(problem),
    }
}

/// The problem with what to do about each damaged thing.
fn with_remedies(mut problem: Problem, report: &ScrubReport) -> Problem {
    for damage in report.damage.iter().filter(|d| !d.remedy.is_empty()) {
        if !problem.hints.contains(&damage.remedy) {
            problem.hints.push(damage.remedy.clone());
        }
    }
    if problem.kind == Kind::Cancelled && !report.damage.is_empty() {
        problem.hints.push("stampo store scrub".to_owned());
    }
    problem
}

fn print_scrub(session: &Session, report: &ScrubReport) -> Result<(), Problem> {
    match session.global.output {
        form @ (Format::Json | Format::Yaml) => output::value(form, report)?,
        Format::Name => {
            for damage in &report.damage {
                output::print(&damage.path.display().to_string())?;
            }
        }
        Format::Table | Format::Wide if report.damage.is_empty() => {}
        Format::Table | Format::Wide => {
            let columns = ["WHAT", "OUTCOME", "OF", "READ BY", "WHERE", "WHY"];
            output::print(&output::grid(&columns, report.damage.iter().map(cells)))?;
        }
    }
    for path in &report.protected {
        session.note(&format!(
            "{} had no checksum, and has one now",
            path.display()
        ));
    }
    if !report.busy.is_empty() {
        let names = report.busy.join(", ");
        session.note(&format!("in use, so their sidecars were left out: {names}"));
    }
    session.note(&format!(
        "{} images ({}) and {} sidecars read, {} images left out: {} damaged",
        report.images_read,
        report.read,
        report.sidecars_read,
        report.images_skipped,
        report.damage.len()
    ));
    Ok(())
}

fn cells(damage: &Damage) -> Vec<String> {
    let place = format!("{} {}", damage.path.display(), damage.place);
    vec![
        damage.what.clone(),
        damage.outcome.clone(),
        damage.subjects.join(", "),
        damage.clones.join(", "),
        place.trim_end().to_owned(),
        damage.why.clone(),
    ]
}
