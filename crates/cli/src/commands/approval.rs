//! `approval …`, and the verbs of `template` that people sign.

use super::Session;
use super::sign;
use super::template::Line;
use crate::args::{
    ApprovalCommand, ApprovalSetArgs, BundleArgs, Format, KeyArg, PresetArg, VerifyBundleArgs,
};
use crate::output;
use stampo_api::{ApprovalSettings, BundleProof, Problem, SayRequest, Spoken, StatementRequest};
use stampo_core::approval::{Preset, Said};
use stampo_core::names::VersionRef;
use std::process::ExitCode;

/// `approval`.
pub fn run(session: &Session, command: &ApprovalCommand) -> Result<ExitCode, Problem> {
    match command {
        ApprovalCommand::Show => print(session, &session.api.approval_settings()?)?,
        ApprovalCommand::Set(args) => {
            let settings = set(session, args)?;
            session.note(&in_words(&settings));
            if !matches!(session.global.output, Format::Table | Format::Wide) {
                print(session, &settings)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn set(session: &Session, args: &ApprovalSetArgs) -> Result<ApprovalSettings, Problem> {
    if let Some(file) = &args.file {
        return session.api.set_approval(&crate::spec::read_text(file)?);
    }
    session.api.set_approval_preset(match args.preset {
        Some(PresetArg::Team) => Preset::Team,
        Some(PresetArg::Regulated) => Preset::Regulated,
        Some(PresetArg::Solo) | None => Preset::Solo,
    })
}

fn print(session: &Session, settings: &ApprovalSettings) -> Result<(), Problem> {
    match session.global.output {
        Format::Table | Format::Wide => {
            output::print(settings.text.trim_end())?;
            session.note(&in_words(settings));
            Ok(())
        }
        Format::Name => output::print(&settings.preset),
        form => output::value(form, settings),
    }
}

fn in_words(settings: &ApprovalSettings) -> String {
    let ApprovalSettings {
        preset,
        needed,
        expires_days,
        ..
    } = settings;
    let clones = match settings.verify_at_clone {
        true => "; asked for again at each clone",
        false => "",
    };
    match needed {
        0 => format!("{preset}: whoever publishes has approved"),
        1 => format!("{preset}: 1 approval, for {expires_days} days{clones}"),
        _ => format!("{preset}: {needed} approvals, for {expires_days} days{clones}"),
    }
}

/// `template submit`, `approve`, `reject` and `break-glass`.
pub fn say(
    session: &Session,
    version: &VersionRef,
    said: Said,
    comment: &str,
    key: &KeyArg,
) -> Result<ExitCode, Problem> {
    let key = sign::key(key.key.as_deref())?;
    let settings = session.api.approval_settings()?;
    // Where nobody has to sign and nobody is named, a key that happens to be there says nothing.
    let key = key.filter(|_| settings.needed > 0 || settings.signers > 0);
    let made = session.api.statement(StatementRequest {
        version: version.clone(),
        said,
        key: key.as_ref().map(|key| key.line.clone()),
        comment: comment.to_owned(),
    })?;
    let (signature, line) = match &key {
        Some(key) => {
            session.note(&format!("signing as {}", made.by));
            let signature = sign::sign(key, &made.namespace, &made.statement)?;
            (signature, key.line.clone())
        }
        None => (String::new(), String::new()),
    };
    let spoken = session.api.say(SayRequest {
        version: version.clone(),
        statement: made.statement,
        signature,
        key: line,
    })?;
    print_spoken(session, spoken)
}

fn print_spoken(session: &Session, spoken: Spoken) -> Result<ExitCode, Problem> {
    let label = spoken.version.label();
    let next = match spoken.version.state.as_str() {
        "in_review" => format!("; next: stampo template approve {label}"),
        "approved" => format!("; next: stampo template publish {label}"),
        _ => String::new(),
    };
    session.note(&format!("{label}: {}{next}", spoken.standing));
    match session.global.output {
        form @ (Format::Json | Format::Yaml) => output::value(form, &spoken)?,
        form => output::rows(form, &[Line(spoken.version)])?,
    }
    Ok(ExitCode::SUCCESS)
}

/// `template bundle`.
pub fn bundle(session: &Session, args: &BundleArgs) -> Result<ExitCode, Problem> {
    let text = session.api.bundle(&args.version)?;
    output::write_new(&args.to, text.as_bytes(), 0o644)?;
    session.note(&format!(
        "check it anywhere: stampo verify-bundle {} --signer KEY.pub",
        args.to.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// `verify-bundle`. Needs no home.
pub fn verify(form: Format, args: &VerifyBundleArgs) -> Result<ExitCode, Problem> {
    let keys = args.signer.iter().map(|path| sign::read_public(path));
    let keys: Vec<String> = keys.collect::<Result<_, _>>()?;
    let proof = stampo_server::verify_bundle(&args.bundle, args.image.as_deref(), &keys)?;
    match form {
        Format::Json | Format::Yaml => output::value(form, &proof)?,
        Format::Name => output::print(&proof.version)?,
        Format::Table | Format::Wide => print_proof(&proof)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print_proof(proof: &BundleProof) -> Result<(), Problem> {
    let rows = proof.said.iter().map(|one| {
        let trusted = match (one.is_trusted, one.said.key.is_empty()) {
            (true, _) => "yes",
            (false, false) => "no",
            (false, true) => "not signed",
        };
        vec![
            one.said.said.clone(),
            one.said.by.clone(),
            output::time(one.said.at_ms),
            trusted.to_owned(),
            one.said.key.clone(),
            one.said.comment.clone(),
        ]
    });
    let headings = ["SAID", "BY", "AT", "TRUSTED", "KEY", "COMMENT"];
    output::print(&output::grid(&headings, rows))?;
    let disk = match proof.is_disk_compared {
        true => "the disk is the one that was approved",
        false => "no disk was compared; name it: --image DISK",
    };
    output::print(&format!(
        "{}, image {}: approved by every key that was given; {disk}",
        proof.version, proof.image
    ))
}
