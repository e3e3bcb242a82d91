//! `drift`.

use super::Session;
use crate::args::{DriftArgs, Format};
use crate::output;
use stampo_api::{DriftFinding, DriftRequest, GuestDrift, Problem};
use stampo_core::size::ByteSize;
use std::process::ExitCode;

/// The exit code when somebody has to look at a guest.
const NOT_PASSED: u8 = 4;
/// How many paths, or packages, one line shows.
const SHOWN: usize = 3;

/// Prints what guests have become; exit code 4 when somebody has to look at one of them.
pub fn run(session: &Session, args: &DriftArgs) -> Result<ExitCode, Problem> {
    let found = session.api.drift(DriftRequest {
        guests: args.guests.clone(),
        paranoid: args.paranoid,
        accept: args.accept.clone(),
    })?;
    match session.global.output {
        form @ (Format::Json | Format::Yaml) => output::value(form, &found)?,
        Format::Name => {
            let names = found.iter().filter(|one| is_bad(one));
            let names: Vec<&str> = names.map(|one| one.guest.as_str()).collect();
            output::print(&names.join("\n"))?;
        }
        form => {
            let all = args.all_findings || form == Format::Wide;
            found.iter().try_for_each(|one| print_one(one, all))?;
        }
    }
    for one in &found {
        for why in &one.unknown {
            session.note(&format!("{}: unknown: {why}", one.guest));
        }
    }
    if args.accept.is_some() {
        session.note("what was found is accepted, and no drift from now on");
        return Ok(ExitCode::SUCCESS);
    }
    let bad = found.iter().filter(|one| is_bad(one)).count();
    session.note(&format!("{} guests, {bad} to be looked at", found.len()));
    Ok(match bad {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(NOT_PASSED),
    })
}

fn is_bad(one: &GuestDrift) -> bool {
    one.is_alarming || matches!(one.verdict.as_str(), "security" | "unknown")
}

fn print_one(one: &GuestDrift, all: bool) -> Result<(), Problem> {
    let behind = match one.behind {
        0 => String::new(),
        behind => format!(", {behind} behind"),
    };
    let blocks = one.blocks.as_ref().map_or_else(String::new, |blocks| {
        format!(
            "; {} of its own in {} pieces",
            ByteSize(blocks.bytes),
            blocks.extents
        )
    });
    output::print(&format!(
        "{}: drift {}; from {} ({}{behind}){blocks}",
        one.guest, one.verdict, one.version, one.lineage
    ))?;
    if all {
        return print_findings(one);
    }
    for part in &one.parts {
        let what = match part.is_changed {
            Some(true) => "has changed",
            _ => "is not known",
        };
        output::print(&format!("  disk      {} {what}", part.name))?;
    }
    for (class, count) in [
        ("security", one.counts.security),
        ("foreign", one.counts.foreign),
        ("config", one.counts.config),
    ] {
        if count > 0 {
            let of = one.findings.iter().filter(|found| found.class == class);
            let shown: Vec<String> = of.take(SHOWN).map(brief).collect();
            output::print(&line(class, count, &shown))?;
        }
    }
    if !one.packages.is_empty() {
        let shown: Vec<String> = one.packages.iter().take(SHOWN).map(package).collect();
        output::print(&line("packages", one.packages.len(), &shown))?;
    }
    let (package, expected) = (one.counts.package, one.counts.expected);
    if package + expected > 0 {
        let words = format!("{package} files came with packages, {expected} are as expected");
        output::print(&format!("  others    {words}"))?;
    }
    Ok(())
}

fn line(what: &str, count: usize, shown: &[String]) -> String {
    let more = match count - shown.len() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    output::one_line(&format!("  {what:<9} {count}: {}{more}", shown.join(", ")))
}

fn brief(found: &DriftFinding) -> String {
    let what = match found.what.is_empty() {
        true => found.change.clone(),
        false => found.what.join(", "),
    };
    format!("{} ({what})", found.path)
}

fn package(one: &stampo_api::DriftPackage) -> String {
    match (&one.before, &one.after) {
        (Some(before), Some(after)) => format!("{} {before} → {after}", one.name),
        (None, Some(after)) => format!("+{} {after}", one.name),
        (Some(before), None) => format!("-{} {before}", one.name),
        (None, None) => one.name.clone(),
    }
}

fn print_findings(one: &GuestDrift) -> Result<(), Problem> {
    let rows = one.findings.iter().map(|found| {
        vec![
            format!("  {}", found.class),
            found.change.clone(),
            found.path.clone(),
            found.what.join(", "),
            found.package.clone().unwrap_or_else(|| "-".to_owned()),
            found.why.clone(),
        ]
    });
    let columns = ["  CLASS", "CHANGE", "PATH", "WHAT", "PACKAGE", "WHY"];
    output::print(&output::grid(&columns, rows))?;
    let rows = one
        .packages
        .iter()
        .map(|one| vec![format!("  {}", package(one))]);
    output::print(&output::grid(&["  PACKAGES"], rows))
}
