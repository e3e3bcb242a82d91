//! `template …`.

use super::{Session, approval, channel, diff, govern, inside};
use crate::args::{
    AcceptArgs, BuildArgs, CaptureArgs, DiskBusArg, FirmwareArg, Format, ImportArgs, PsArgs,
    SealArgs, TemplateCommand,
};
use crate::output;
use serde::Serialize;
use stampo_api::{
    AcceptRequest, BuildRequest, CaptureRequest, ImportRequest, Kind, Operation, Problem, Reply,
    SealRequest, Verification, Version,
};
use stampo_core::approval::Said;
use stampo_core::hardware::{DiskBus, Firmware, Hardware};
use stampo_core::names::VersionRef;
use std::path::Path;
use std::process::ExitCode;

/// A version as a line.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Line(pub Version);

impl output::Row for Line {
    const COLUMNS: &'static [&'static str] = &[
        "VERSION", "STATE", "SIZE", "DATA", "GUESTS", "FINDINGS", "CREATED", "VERIFIED", "IMAGE",
    ];
    const NARROW: usize = 7;

    fn cells(&self) -> Vec<String> {
        let version = &self.0;
        vec![
            version.label(),
            version.state.clone(),
            version.virtual_size.to_string(),
            version.data.to_string(),
            version.guests.to_string(),
            version
                .open_findings
                .map_or_else(|| "-".to_owned(), |count| count.to_string()),
            output::time(version.created_ms),
            version.verified_ms.map(output::time).unwrap_or_default(),
            version.image.clone().unwrap_or_default(),
        ]
    }

    fn name(&self) -> String {
        self.0.label()
    }
}

/// Runs the verb.
pub fn run(session: &Session, command: TemplateCommand) -> Result<ExitCode, Problem> {
    let api = &session.api;
    match command {
        TemplateCommand::Build(args) => build(session, &args),
        TemplateCommand::Import(args) => import(session, args),
        TemplateCommand::Capture(args) => capture(session, args),
        TemplateCommand::Seal(args) => seal(session, args),
        TemplateCommand::Verify(args) => {
            let operation = api.verify(&args.version)?;
            session.follow(&operation)?;
            let version = api.version(&args.version)?;
            if version.state == "draft" {
                session.note(&format!(
                    "{}: every byte is as it was recorded; a draft has no proof yet",
                    version.label()
                ));
                next_step(session, &version);
                return Ok(ExitCode::SUCCESS);
            }
            print_verification(session, &api.verification(&args.version)?)
        }
        TemplateCommand::Freeze(args) => {
            let operation = api.freeze(&args.version)?;
            follow_version(session, &operation)
        }
        TemplateCommand::Accept(args) => accept(session, args),
        TemplateCommand::Submit(args) => approval::say(
            session,
            &args.version,
            Said::Submitted,
            &args.comment,
            &args.key,
        ),
        TemplateCommand::Approve(args) => approval::say(
            session,
            &args.version,
            Said::Approved,
            &args.comment,
            &args.key,
        ),
        TemplateCommand::Reject(args) => approval::say(
            session,
            &args.version,
            Said::Rejected,
            &args.reason,
            &args.key,
        ),
        TemplateCommand::BreakGlass(args) => approval::say(
            session,
            &args.version,
            Said::BrokeGlass,
            &args.reason,
            &args.key,
        ),
        TemplateCommand::Bundle(args) => approval::bundle(session, &args),
        TemplateCommand::Publish(args) => govern::print(session, api.publish(&args.version)),
        TemplateCommand::Deprecate(args) => govern::deprecate(session, args),
        TemplateCommand::Obsolete(args) => govern::obsolete(session, args),
        TemplateCommand::Reinstate(args) => govern::reinstate(session, &args),
        TemplateCommand::Revoke(args) => govern::revoke(session, args),
        TemplateCommand::Hold(args) => govern::hold(session, &args),
        TemplateCommand::Release(args) => govern::print_one(session, api.release(&args.version)?),
        TemplateCommand::EndOfLife(args) => govern::end_of_life(session, &args),
        TemplateCommand::Retire(args) => govern::print(session, api.retire(&args.version)),
        TemplateCommand::Restore(args) => {
            govern::print(session, api.restore_version(&args.version))
        }
        TemplateCommand::Purge(args) => govern::print(session, api.purge(&args.version)),
        TemplateCommand::Channel(command) => channel::run(session, command),
        TemplateCommand::Ls(args) => list(session, &args),
        TemplateCommand::Show(args) => {
            let version = api.version(&args.version)?;
            match session.global.output {
                Format::Name => output::print(&version.label())?,
                form => output::value(form, &version)?,
            }
            Ok(ExitCode::SUCCESS)
        }
        TemplateCommand::Diff(args) => diff::run(session, &args),
        TemplateCommand::Updates(args) => inside::updates(session, &args.version),
        TemplateCommand::Inspect(args) => {
            output::value(session.global.output, &api.inspect(&args.version)?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn list(session: &Session, args: &PsArgs) -> Result<ExitCode, Problem> {
    let lines: Vec<Line> = session
        .api
        .versions(args.all)?
        .into_iter()
        .map(Line)
        .collect();
    if lines.is_empty() && session.global.output == Format::Table {
        session.note("no templates; make one: stampo template build NAME -f recipe.toml");
        return Ok(ExitCode::SUCCESS);
    }
    output::rows(session.global.output, &lines)?;
    Ok(ExitCode::SUCCESS)
}

/// Follows an operation that makes a version, and prints the version.
fn follow_version(session: &Session, operation: &Operation) -> Result<ExitCode, Problem> {
    let version = session.api.version(&followed(session, operation)?)?;
    next_step(session, &version);
    output::rows(session.global.output, &[Line(version)])?;
    Ok(ExitCode::SUCCESS)
}

/// Waits until an operation on a version has ended; which version.
fn followed(session: &Session, operation: &Operation) -> Result<VersionRef, Problem> {
    let outcome = session.follow(operation)?;
    let label = outcome.version.unwrap_or_else(|| operation.subject.clone());
    label
        .parse()
        .map_err(|error| Problem::from_error(Kind::Failed, &error))
}

/// What a guest has become; with `--freeze` as far as a version that instant clones are made of.
fn capture(session: &Session, args: CaptureArgs) -> Result<ExitCode, Problem> {
    let request = CaptureRequest {
        name: args.name,
        guest: args.guest,
    };
    let operation = session.api.capture(request)?;
    if !args.freeze {
        return follow_version(session, &operation);
    }
    let version = followed(session, &operation)?;
    let operation = session.api.seal(SealRequest {
        version: version.clone(),
        only: Vec::new(),
        except: Vec::new(),
        also: Vec::new(),
        keep: Vec::new(),
    })?;
    session.follow(&operation)?;
    let verification = session.api.verification(&version)?;
    if is_open(&verification) {
        next_step(session, &session.api.version(&version)?);
        session.note("it is not frozen: its findings come first, then: stampo template freeze");
        return print_verification(session, &verification);
    }
    let operation = session.api.freeze(&version)?;
    follow_version(session, &operation)
}

fn is_open(verification: &Verification) -> bool {
    let mut findings = verification.findings.iter();
    findings.any(|finding| finding.accepted.is_none())
}

fn print_changed(session: &Session, reply: Reply<Version>) -> Result<ExitCode, Problem> {
    let version = reply?;
    next_step(session, &version);
    output::rows(session.global.output, &[Line(version)])?;
    Ok(ExitCode::SUCCESS)
}

/// Says what can be done with a version now.
pub(super) fn next_step(session: &Session, version: &Version) {
    let label = version.label();
    let next = match (version.state.as_str(), version.open_findings) {
        ("draft", _) => format!("stampo template seal {label}"),
        ("sealed", Some(0)) => format!("stampo template publish {label}"),
        ("sealed", _) => format!("stampo template verify {label}"),
        ("published", _) => format!("stampo clone {label} 'app-{{n}}' --count 3"),
        _ => return,
    };
    session.note(&format!("next: {next}"));
}

fn build(session: &Session, args: &BuildArgs) -> Result<ExitCode, Problem> {
    let unreadable = |error: std::io::Error| {
        Problem::new(
            Kind::Usage,
            format!("read {}: {error}", args.recipe.display()),
        )
    };
    let recipe = crate::spec::read_text(&args.recipe)?;
    let path = args.recipe.canonicalize().map_err(unreadable)?;
    let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
    let request = BuildRequest {
        name: args.name.clone(),
        recipe,
        directory,
    };
    let operation = session.api.build(request)?;
    follow_version(session, &operation)
}

fn import(session: &Session, args: ImportArgs) -> Result<ExitCode, Problem> {
    let default = Hardware::default();
    let hardware = Hardware {
        cpus: args.cpus.unwrap_or(default.cpus),
        memory: args.memory.unwrap_or(default.memory),
        disk_bus: match args.disk_bus {
            DiskBusArg::Virtio => DiskBus::Virtio,
            DiskBusArg::Scsi => DiskBus::Scsi,
            DiskBusArg::Sata => DiskBus::Sata,
            DiskBusArg::Nvme => DiskBus::Nvme,
        },
        firmware: match args.firmware {
            FirmwareArg::Bios => Firmware::Bios,
            FirmwareArg::Uefi => Firmware::Uefi,
        },
        tpm: args.tpm,
        nics: default.nics,
    };
    let request = ImportRequest {
        name: args.name,
        source: args.source,
        format: args.format,
        sha256: args.sha256,
        hardware,
    };
    let operation = session.api.import(request)?;
    follow_version(session, &operation)
}

fn seal(session: &Session, args: SealArgs) -> Result<ExitCode, Problem> {
    let request = SealRequest {
        version: args.version,
        only: args.only,
        except: args.except,
        also: args.also,
        keep: args.keep,
    };
    if args.dry_run {
        let plan = session.api.seal_plan(request)?;
        if !matches!(session.global.output, Format::Table | Format::Wide) {
            output::value(session.global.output, &plan)?;
            return Ok(ExitCode::SUCCESS);
        }
        let rows = plan.changes.iter().map(|change| {
            vec![
                change.action.clone(),
                change.path.clone(),
                change.item.clone(),
                change.detail.clone(),
            ]
        });
        output::print(&output::grid(&["ACTION", "PATH", "ITEM", "CHANGE"], rows))?;
        session.note(&format!(
            "{} changes; nothing was changed",
            plan.changes.len()
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let version = request.version.clone();
    let operation = session.api.seal(request)?;
    session.follow(&operation)?;
    let verification = session.api.verification(&version)?;
    next_step(session, &session.api.version(&version)?);
    print_verification(session, &verification)
}

fn accept(session: &Session, args: AcceptArgs) -> Result<ExitCode, Problem> {
    let request = AcceptRequest {
        version: args.version,
        finding: args.finding,
        path: args.path,
        reason: args.reason,
    };
    print_changed(session, session.api.accept(request))
}

/// Prints the evidence; exit code 4 when findings are open.
fn print_verification(session: &Session, verification: &Verification) -> Result<ExitCode, Problem> {
    let open = verification
        .findings
        .iter()
        .filter(|finding| finding.accepted.is_none())
        .count();
    match session.global.output {
        Format::Table | Format::Wide => {
            let rows = verification.findings.iter().map(|finding| {
                let accepted = finding.accepted.as_ref();
                vec![
                    finding.id.clone(),
                    finding.path.clone(),
                    finding.what.clone(),
                    accepted
                        .map_or_else(|| finding.remedy.clone(), |why| format!("accepted: {why}")),
                ]
            });
            if !verification.findings.is_empty() {
                output::print(&output::grid(
                    &["FINDING", "PATH", "WHAT", "WHAT TO DO"],
                    rows,
                ))?;
            }
            output::print(&format!(
                "{}: {} checks by {}, {open} open findings, {} accepted",
                verification.version,
                verification.checks,
                verification.reader,
                verification.findings.len() - open,
            ))?;
        }
        Format::Name => output::print(&verification.version)?,
        form => output::value(form, verification)?,
    }
    Ok(ExitCode::from(if open == 0 { 0 } else { 4 }))
}
