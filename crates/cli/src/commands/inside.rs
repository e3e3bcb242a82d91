//! `sbom`, `template updates`, `vulndb`, `cve`.

use super::Session;
use crate::args::{BomArg, CveArgs, Format, SbomArgs, VulndbCommand};
use crate::output;
use serde::Serialize;
use stampo_api::{
    BomForm, CveReport, CveVersion, MissingUpdate, Problem, RecordedPackages, Updates,
    VulnerabilitySource,
};
use stampo_core::names::VersionRef;
use std::process::ExitCode;

/// `sbom`: the document and nothing else.
pub fn sbom(session: &Session, args: &SbomArgs) -> Result<ExitCode, Problem> {
    let form = match args.format {
        BomArg::CycloneDx => BomForm::CycloneDx,
        BomArg::Spdx => BomForm::Spdx,
    };
    let document = session.api.bill_of_materials(&args.version, form)?;
    output::value(Format::Json, &document)?;
    Ok(ExitCode::SUCCESS)
}

/// A missing update as a line.
#[derive(Serialize)]
#[serde(transparent)]
struct UpdateLine<'a>(&'a MissingUpdate);

impl output::Row for UpdateLine<'_> {
    const COLUMNS: &'static [&'static str] = &[
        "PACKAGE",
        "INSTALLED",
        "AVAILABLE",
        "SOURCE",
        "ARCHITECTURE",
    ];
    const NARROW: usize = 4;

    fn cells(&self) -> Vec<String> {
        let one = self.0;
        [
            &one.package,
            &one.installed,
            &one.available,
            &one.source,
            &one.architecture,
        ]
        .map(Clone::clone)
        .into()
    }

    fn name(&self) -> String {
        self.0.package.clone()
    }
}

/// `template updates`.
pub fn updates(session: &Session, version: &VersionRef) -> Result<ExitCode, Problem> {
    let found = session.api.updates(version)?;
    match session.global.output {
        form @ (Format::Json | Format::Yaml) => output::value(form, &found)?,
        form => {
            let lines: Vec<_> = found.missing.iter().map(UpdateLine).collect();
            if !lines.is_empty() {
                output::rows(form, &lines)?;
            }
            note_updates(session, &found);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn note_updates(session: &Session, found: &Updates) {
    let count = found.missing.len();
    let label = &found.version;
    session.note(&match found.status.as_str() {
        "current" => format!("{label}: no security update is missing"),
        "outdated" => format!("{label}: {count} packages have security updates"),
        _ => format!("{label}: whether updates are missing is unknown"),
    });
    for why in &found.unknown {
        session.note(&format!("unknown: {why}"));
    }
    for index in &found.indexes {
        session.note(&format!("compared with {}, {}", index.name, age(index)));
    }
    let end = &found.end_of_life;
    for date in &end.dates {
        let is = if date.is_over { "ended" } else { "ends" };
        session.note(&format!("{} support {is} on {}", date.support, date.day));
    }
    if let Some(why) = &end.unknown {
        session.note(&format!("end of life unknown: {why}"));
    } else {
        session.note(&format!("(dates of {}, as of {})", end.source, end.as_of));
    }
}

/// How old a source is, in words: what its own date says, and when it was imported.
fn age(source: &VulnerabilitySource) -> String {
    let imported = output::time(source.imported_ms);
    match source.as_of_ms {
        Some(ms) => format!("as of {}, imported {imported}", output::time(ms)),
        None => format!("of an unknown date, imported {imported}"),
    }
}

/// A source as a line.
#[derive(Serialize)]
#[serde(transparent)]
struct SourceLine(VulnerabilitySource);

impl output::Row for SourceLine {
    const COLUMNS: &'static [&'static str] = &[
        "KIND", "NAME", "AS OF", "AGE", "IMPORTED", "ENTRIES", "SKIPPED", "RELEASES",
    ];
    const NARROW: usize = 7;

    fn cells(&self) -> Vec<String> {
        let one = &self.0;
        let unknown = || "unknown".to_owned();
        vec![
            one.kind.clone(),
            one.name.clone(),
            one.as_of_ms.map_or_else(unknown, output::time),
            one.as_of_ms.map_or_else(unknown, days_ago),
            output::time(one.imported_ms),
            one.entries.to_string(),
            one.skipped.to_string(),
            one.releases.join(", "),
        ]
    }

    fn name(&self) -> String {
        format!("{}/{}", self.0.kind, self.0.name)
    }
}

/// Whole days from a moment until now.
fn days_ago(ms: i64) -> String {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let days = now_ms.saturating_sub(ms) / (24 * 3600 * 1000);
    format!("{days} d")
}

/// `vulndb`.
pub fn vulndb(session: &Session, command: VulndbCommand) -> Result<ExitCode, Problem> {
    let sources = match command {
        VulndbCommand::Import { path, suite } => session
            .api
            .import_vulnerabilities(&path, suite.as_deref())?,
        VulndbCommand::Status => {
            let sources = session.api.vulnerability_sources()?;
            if sources.is_empty() {
                session.note("nothing was imported yet: stampo vulndb import FILE");
            }
            sources
        }
        VulndbCommand::Scan => return scan(session, &session.api.record_packages()?),
    };
    let lines: Vec<_> = sources.into_iter().map(SourceLine).collect();
    output::rows(session.global.output, &lines)?;
    Ok(ExitCode::SUCCESS)
}

fn scan(session: &Session, recorded: &RecordedPackages) -> Result<ExitCode, Problem> {
    match session.global.output {
        form @ (Format::Json | Format::Yaml) => output::value(form, recorded)?,
        _ => output::print(&recorded.read.join("\n"))?,
    }
    for (label, why) in &recorded.failed {
        session.note(&format!("{label} could not be read: {why}"));
    }
    session.note(&format!(
        "packages of {} versions recorded, of {} they were, {} could not be read",
        recorded.read.len(),
        recorded.recorded,
        recorded.failed.len()
    ));
    Ok(match recorded.failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(stampo_api::Kind::Partial.exit_code()),
    })
}

/// `cve`.
pub fn cve(session: &Session, args: &CveArgs) -> Result<ExitCode, Problem> {
    let report = session.api.cve(&args.cve.to_string())?;
    match session.global.output {
        form @ (Format::Json | Format::Yaml) => output::value(form, &report)?,
        Format::Name => {
            let labels = report.versions.iter().map(|one| one.version.as_str());
            output::print(&labels.collect::<Vec<_>>().join("\n"))?;
        }
        Format::Table | Format::Wide if report.versions.is_empty() => {}
        Format::Table | Format::Wide => {
            let columns = [
                "VERSION",
                "STATE",
                "STATUS",
                "PACKAGE",
                "INSTALLED",
                "FIXED IN",
                "GUESTS",
            ];
            let rows = report.versions.iter().flat_map(cve_cells);
            output::print(&output::grid(&columns, rows))?;
        }
    }
    note_cve(session, &report);
    Ok(ExitCode::SUCCESS)
}

/// A line for each package, and one for what is not known.
fn cve_cells(one: &CveVersion) -> Vec<Vec<String>> {
    let guests = one.guests.join(", ");
    let line = |status: &str, package: &str, installed: &str, fixed: &str| {
        let cells = [
            &one.version,
            &one.state,
            status,
            package,
            installed,
            fixed,
            &guests,
        ];
        cells.map(str::to_owned).into()
    };
    let packages = one.packages.iter().map(|of| {
        let fixed = of.fixed_in.as_deref().or(of.why.as_deref());
        line(
            &of.status,
            &of.package,
            &of.installed,
            fixed.unwrap_or("not fixed"),
        )
    });
    let unknown = one.unknown.iter().map(|why| line("unknown", "-", "-", why));
    packages.chain(unknown).collect()
}

fn note_cve(session: &Session, report: &CveReport) {
    if let Some(used) = &report.exploited {
        let due = match used.due.as_str() {
            "" => String::new(),
            due => format!("; to be mended by {due}"),
        };
        session.note(&format!(
            "{} is known to be used (since {}){due}",
            report.cve, used.added
        ));
    }
    let of = |status: &'static str| {
        report
            .versions
            .iter()
            .filter(move |one| one.status == status)
    };
    let guests: usize = of("affected").map(|one| one.guests.len()).sum();
    session.note(&format!(
        "{} versions affected, with {guests} guests; {} unknown; {} not affected",
        of("affected").count(),
        of("unknown").count(),
        report.not_affected
    ));
    let without_record = |one: &CveVersion| one.unknown.iter().any(|why| why.contains("recorded"));
    if report.versions.iter().any(without_record) {
        session.note("for versions without a record: stampo vulndb scan");
    }
    for source in report
        .sources
        .iter()
        .filter(|source| source.kind != "index")
    {
        session.note(&format!("{} {}: {}", source.kind, source.name, age(source)));
    }
}
