//! `evidence …`.

mod page;

use super::Session;
use super::sign;
use crate::args::{EvidenceArgs, EvidenceCommand, Format};
use crate::output;
use stampo_api::{Class, Evidence, Problem};
use std::path::Path;
use std::process::ExitCode;

/// `evidence`.
pub fn run(session: &Session, args: &EvidenceArgs) -> Result<ExitCode, Problem> {
    match &args.command {
        // Done before anything is opened.
        Some(EvidenceCommand::Verify { bundle, key }) => {
            return verify(session.global.output, bundle, key);
        }
        Some(EvidenceCommand::Key) => {
            output::print(&session.api.site_key()?)?;
            return Ok(ExitCode::SUCCESS);
        }
        None => {}
    }
    let evidence = session.api.evidence()?;
    if let Some(path) = &args.html {
        output::write_new(path, page::of(&evidence).as_bytes(), 0o600)?;
        session.note(&format!("{} is a page", path.display()));
    }
    if let Some(path) = &args.bundle {
        output::write_new(path, session.api.evidence_bundle()?.as_bytes(), 0o600)?;
        session.note(&format!(
            "{0} is signed; check it anywhere: stampo evidence verify {0} --key KEY.pub, with the key that \
             this prints: stampo evidence key",
            path.display()
        ));
    }
    print(session.global.output, &evidence)?;
    for unknown in &evidence.unknowns {
        session.note(&format!("not known: {unknown}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// `evidence verify`. Needs no home.
pub fn verify(form: Format, bundle: &Path, key: &Path) -> Result<ExitCode, Problem> {
    let key = sign::read_public(key)?;
    let evidence = stampo_server::verify_evidence(bundle, &key)?;
    print(form, &evidence)?;
    if matches!(form, Format::Table | Format::Wide) {
        output::print(&format!(
            "signed on {} at {}, by the key that was given",
            evidence.host,
            output::time(evidence.at_ms)
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(form: Format, evidence: &Evidence) -> Result<(), Problem> {
    match form {
        Format::Json | Format::Yaml => output::value(form, evidence),
        Format::Name => {
            let bad = evidence
                .machines
                .iter()
                .filter(|machine| machine.standing != Class::Current);
            let names: Vec<&str> = bad.map(|machine| machine.name.as_str()).collect();
            output::print(&names.join("\n"))
        }
        Format::Table | Format::Wide => {
            output::print(&in_words(evidence))?;
            let rows = evidence.controls.iter().map(|control| {
                vec![
                    control.id.clone(),
                    control.shown.as_str().to_owned(),
                    control.what.clone(),
                ]
            });
            output::print(&output::grid(&["CONTROL", "SHOWN", "WHAT IS"], rows))?;
            let strangers = evidence.strangers.iter().map(|one| {
                let reads = one.reads.as_deref().map(|v| format!(", reads {v}"));
                vec![
                    "process".to_owned(),
                    one.pid.to_string(),
                    format!("{}{}", one.name, reads.unwrap_or_default()),
                    one.disks.join(" "),
                ]
            });
            let bad = evidence
                .machines
                .iter()
                .filter(|machine| machine.standing != Class::Current);
            let bad = bad.map(|machine| {
                vec![
                    machine.standing.as_str().to_owned(),
                    machine.name.clone(),
                    machine.version.clone(),
                    String::new(),
                ]
            });
            let rows: Vec<_> = bad.chain(strangers).collect();
            match rows.is_empty() {
                true => Ok(()),
                false => output::print(&output::grid(
                    &["STANDING", "MACHINE", "VERSION", "DISKS"],
                    rows.into_iter(),
                )),
            }
        }
    }
}

fn in_words(evidence: &Evidence) -> String {
    let s = &evidence.summary;
    format!(
        "{} machines: {} current, {} outdated, {} withdrawn, {} unapproved, {} revoked, {} of unknown origin",
        s.machines, s.current, s.outdated, s.withdrawn, s.unapproved, s.revoked, s.unknown_origin
    )
}
