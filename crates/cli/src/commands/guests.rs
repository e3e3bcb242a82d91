//! `ps`, `show`, `rm`, `undelete`, `rename`, `resize`.

use super::Session;
use super::wait::shown;
use crate::args::{Format, PsArgs, RenameArgs, ResizeArgs, RmArgs};
use crate::output;
use serde::Serialize;
use stampo_api::{Guest, Kind, Problem, Reply, ResizeRequest};
use stampo_core::lease::Span;
use stampo_core::names::GuestName;
use std::collections::BTreeMap;
use std::process::ExitCode;

/// A guest as a line.
#[derive(Serialize)]
#[serde(transparent)]
pub struct GuestLine(pub Guest);

impl output::Row for GuestLine {
    const COLUMNS: &'static [&'static str] = &[
        "NAME", "POWER", "ADDRESS", "VERSION", "KIND", "CPUS", "MEMORY", "DISK", "STATE", "PID",
        "MAC", "ID",
    ];
    const NARROW: usize = 8;

    fn cells(&self) -> Vec<String> {
        let guest = &self.0;
        vec![
            guest.name.clone(),
            guest.power.clone(),
            guest.address.clone().unwrap_or_else(|| "-".to_owned()),
            origin(guest),
            guest.kind.clone(),
            guest.cpus.to_string(),
            guest.memory.to_string(),
            guest.disk_used.to_string(),
            guest.state.clone(),
            guest.pid.map(|pid| pid.to_string()).unwrap_or_default(),
            guest.macs.join(" "),
            guest.id.clone(),
        ]
    }

    fn name(&self) -> String {
        self.0.name.clone()
    }
}

/// What a guest was cloned from, and whether something speaks against that.
fn origin(guest: &Guest) -> String {
    match guest.standing.as_str() {
        "current" => guest.version.clone(),
        standing => format!("{} ({standing})", guest.version),
    }
}

/// Tells which guests come from revoked versions, and why that is.
fn note_revoked(session: &Session, guests: &[GuestLine]) {
    let mut seen: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    let revoked = guests.iter().map(|line| &line.0);
    for guest in revoked.filter(|guest| guest.standing == "revoked") {
        let of = seen.entry((&guest.version, &guest.advice)).or_default();
        of.push(&guest.name);
    }
    for ((version, advice), names) in seen {
        let names = names.join(", ");
        session.note(&format!(
            "{version} is revoked: {advice}. Cloned from it: {names}"
        ));
    }
}

/// `ps`.
pub fn ps(session: &Session, args: &PsArgs) -> Result<ExitCode, Problem> {
    let guests: Vec<GuestLine> = session
        .api
        .guests(args.all)?
        .into_iter()
        .map(GuestLine)
        .collect();
    if guests.is_empty() && session.global.output == Format::Table {
        session.note(match args.all || session.api.guests(true)?.is_empty() {
            true => "no guests; make one: stampo clone VERSION NAME",
            false => "no guests but removed or unfinished ones: stampo ps --all",
        });
        return Ok(ExitCode::SUCCESS);
    }
    output::rows(session.global.output, &guests)?;
    note_revoked(session, &guests);
    Ok(ExitCode::SUCCESS)
}

/// `show`.
pub fn show(session: &Session, guest: &GuestName) -> Result<ExitCode, Problem> {
    let found = session.api.guest(guest)?;
    match session.global.output {
        Format::Name => output::print(&found.name)?,
        form => output::value(form, &shown(session, guest, found))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// `rm`.
pub fn rm(session: &Session, args: &RmArgs) -> Result<ExitCode, Problem> {
    let keep_s = args.keep.as_deref().map(seconds).transpose()?;
    if let Err(problem) = session.api.remove(&args.guests, keep_s, args.force) {
        if problem.kind == Kind::Partial {
            note_gone(session, &args.guests);
        }
        return Err(problem);
    }
    for name in &args.guests {
        match keep_s {
            Some(_) => session.note(&format!(
                "{name} removed; bring it back: stampo undelete {name}"
            )),
            None => session.note(&format!("{name} removed")),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells which guests a removal that failed for some took away.
fn note_gone(session: &Session, names: &[GuestName]) {
    for name in names {
        let found = session.api.guest(name);
        if found.is_err_and(|problem| problem.kind == Kind::NotFound) {
            session.note(&format!("{name} removed"));
        }
    }
}

/// A time as in `90s`, `30m`, `12h` or `7d`.
pub(super) fn seconds(text: &str) -> Reply<u64> {
    let span: Result<Span, _> = text.parse();
    span.map(Span::seconds)
        .map_err(|error| Problem::from_error(Kind::Usage, &error))
}

/// `undelete`.
pub fn undelete(session: &Session, guest: &GuestName) -> Result<ExitCode, Problem> {
    session.api.restore_guest(guest)?;
    session.note(&format!("{guest} is back; start it: stampo start {guest}"));
    Ok(ExitCode::SUCCESS)
}

/// `rename`.
pub fn rename(session: &Session, args: &RenameArgs) -> Result<ExitCode, Problem> {
    session.api.rename(&args.guest, &args.name)?;
    session.note(&format!(
        "{} is now {}; its host name inside is unchanged",
        args.guest, args.name
    ));
    Ok(ExitCode::SUCCESS)
}

/// `resize`.
pub fn resize(session: &Session, args: &ResizeArgs) -> Result<ExitCode, Problem> {
    if args.cpus.is_none() && args.memory.is_none() && args.disk_size.is_none() {
        let what = format!(
            "resize {}: give --cpus, --memory or --disk-size",
            args.guest
        );
        return Err(Problem::new(Kind::Usage, what));
    }
    let request = ResizeRequest {
        guest: args.guest.clone(),
        cpus: args.cpus,
        memory: args.memory,
        disk_size: args.disk_size,
    };
    let guest = session.api.resize(request)?;
    output::rows(session.global.output, &[GuestLine(guest)])?;
    Ok(ExitCode::SUCCESS)
}
