//! `stampo clone` and `stampo clone flatten`.

use super::Session;
use super::guests::GuestLine;
use super::wait;
use crate::args::{CloneArgs, CloneCommand, Format, Sign};
use crate::output;
use crate::progress::Show;
use crate::spec::clone_spec;
use serde::Serialize;
use stampo_api::{
    Boot, CloneRequest, Event, Guest, Kind, LeaseRequest, Problem, Progress, Reply, Watch,
};
use stampo_core::lease::Ending;
use stampo_core::names::{GuestName, NamePattern};
use stampo_core::plan::ClonePlan;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;

/// The phases of a clone, in order, as the columns of the table.
const PHASES: [&str; 5] = ["disk", "define", "verify", "start", "ssh"];

/// The phases of an instant clone, in order.
const INSTANT_PHASES: [&str; 5] = ["disk", "resume", "identify", "connect", "ssh"];

/// A guest with the time of each of its phases.
#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    guest: Guest,
    /// Milliseconds of each phase.
    phases_ms: BTreeMap<String, u64>,
    /// What an agent in it said of its start when the waiting ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    boot: Option<Boot>,
}

impl output::Row for Made {
    const COLUMNS: &'static [&'static str] = &[
        "NAME", "ADDRESS", "VERSION", "KIND", "BYTES", "DISK", "DEFINE", "VERIFY", "START", "SSH",
        "ID",
    ];
    const NARROW: usize = 10;

    fn cells(&self) -> Vec<String> {
        self.cells_with(&PHASES)
    }

    fn name(&self) -> String {
        self.guest.name.clone()
    }
}

impl Made {
    fn cells_with(&self, phases: &[&str]) -> Vec<String> {
        let mut cells = vec![
            self.guest.name.clone(),
            self.guest.address.clone().unwrap_or_else(|| "-".to_owned()),
            self.guest.version.clone(),
            self.guest.kind.clone(),
            self.guest.disk_used.to_string(),
        ];
        cells.extend(phases.iter().map(|phase| match self.phases_ms.get(*phase) {
            Some(ms) => duration(*ms),
            None => "-".to_owned(),
        }));
        cells.push(self.guest.id.clone());
        cells
    }
}

/// The same of an instant clone, which goes through other phases.
#[derive(Serialize)]
#[serde(transparent)]
struct Forked(Made);

impl output::Row for Forked {
    const COLUMNS: &'static [&'static str] = &[
        "NAME", "ADDRESS", "VERSION", "KIND", "BYTES", "DISK", "RESUME", "IDENTIFY", "CONNECT",
        "SSH", "ID",
    ];
    const NARROW: usize = 10;

    fn cells(&self) -> Vec<String> {
        self.0.cells_with(&INSTANT_PHASES)
    }

    fn name(&self) -> String {
        self.0.guest.name.clone()
    }
}

fn duration(ms: u64) -> String {
    if ms >= 1000 {
        format!("{}.{} s", ms / 1000, ms % 1000 / 100)
    } else {
        format!("{ms} ms")
    }
}

/// Shows an operation and keeps the times of its phases.
struct Timed {
    show: Show,
    phases: Mutex<BTreeMap<String, BTreeMap<String, u64>>>,
    many: bool,
}

impl Watch for Timed {
    fn event(&self, event: &Event) {
        if let (Ok(mut phases), Some(ms)) = (self.phases.lock(), event.duration_ms) {
            phases
                .entry(event.subject.clone())
                .or_default()
                .insert(event.phase.clone(), ms);
        }
        // With many guests a line for each phase of each would bury everything else.
        if !self.many || ["start", "connect"].contains(&event.phase.as_str()) {
            self.show.event(event);
        }
    }

    fn progress(&self, progress: &Progress) {
        self.show.progress(progress);
    }

    fn is_cancelled(&self) -> bool {
        self.show.is_cancelled()
    }
}

/// Runs the verb.
pub fn run(session: &Session, args: &CloneArgs) -> Result<ExitCode, Problem> {
    if let Some(CloneCommand::Flatten { guests }) = &args.command {
        return flatten(session, guests);
    }
    let (Some(version), Some(name)) = (args.version.clone(), args.name.clone()) else {
        return Err(Problem::new(
            Kind::Usage,
            "clone: name a version and a guest",
        ));
    };
    let (spec, notes) = clone_spec(args)?;
    let request = CloneRequest {
        version,
        name: NamePattern::new(name),
        spec,
        lease: args.ttl.map(|span| LeaseRequest {
            span,
            ending: Ending::Trash,
            tied: false,
        }),
    };
    let plan = session.api.clone_plan(request.clone())?;
    if args.dry_run {
        return print_plan(session, &plan);
    }
    for note in notes.iter().chain(&plan.warnings) {
        session.note(&format!("note: {note}"));
    }
    session.note(&headline(&plan));
    let operation = session.api.clone_guests(request)?;
    let timed = Timed {
        show: Show::new(session.global.quiet),
        phases: Mutex::default(),
        many: plan.guests.len() > 10,
    };
    let outcome = session.api.follow(&operation.id, &timed)?;
    let mut made = Vec::new();
    let phases = timed
        .phases
        .lock()
        .map(|phases| phases.clone())
        .unwrap_or_default();
    for guest in outcome.guests {
        let phases_ms = phases.get(&guest.name).cloned().unwrap_or_default();
        made.push(Made {
            guest,
            phases_ms,
            boot: None,
        });
    }
    let waited = if args.no_wait || args.no_start {
        Ok(())
    } else {
        wait_all(session, &timed.show, &mut made, args)
    };
    drop(timed);
    // Also when one does not answer: the guests are there, and their addresses are wanted.
    if plan.kind_name() == "instant" {
        let forked: Vec<Forked> = made.into_iter().map(Forked).collect();
        output::rows(session.global.output, &forked)?;
    } else {
        output::rows(session.global.output, &made)?;
    }
    waited.map(|()| ExitCode::SUCCESS)
}

/// Waits for every guest that was started; for ssh only where its address is known.
fn wait_all(session: &Session, show: &Show, made: &mut [Made], args: &CloneArgs) -> Reply<()> {
    let sign = args.wait_for;
    let mut failed = Vec::new();
    let known = |one: &Made| sign == Sign::System || one.guest.address.is_some();
    let running = made.iter_mut().filter(|one| one.guest.power == "running");
    for one in running.filter(|one| known(one)) {
        let name = wait::name_of(&one.guest)?;
        match wait::wait(session, show, &name, sign, args.timeout) {
            Ok((phase, ms)) => {
                one.phases_ms.insert(phase.to_owned(), ms);
                one.guest = session.api.guest(&name)?;
                // A fork did not boot: its kernel's start was the template's.
                if one.guest.kind != "instant" {
                    one.boot = session.api.boot(&name).ok();
                }
            }
            Err(problem) => failed.push((one.guest.name.clone(), problem)),
        }
    }
    let Some((name, problem)) = failed.into_iter().next() else {
        return Ok(());
    };
    Err(Problem {
        kind: Kind::Partial,
        ..problem
    }
    .hint(format!("stampo logs {name}")))
}

/// The kind of clones, and why it is that one.
fn headline(plan: &ClonePlan) -> String {
    format!(
        "{} clones of {}: {}",
        plan.kind_name(),
        plan.version_label,
        plan.choice.reason
    )
}

fn print_plan(session: &Session, plan: &ClonePlan) -> Result<ExitCode, Problem> {
    if session.global.output != Format::Table && session.global.output != Format::Wide {
        // Password hashes and file contents are not for a terminal's history.
        let mut plan = plan.clone();
        for guest in &mut plan.guests {
            guest.personalisation = None;
        }
        output::value(session.global.output, &plan)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::print(&headline(plan))?;
    for warning in &plan.warnings {
        output::print(&format!("note: {warning}"))?;
    }
    let rows = plan.guests.iter().map(|guest| {
        let nic = guest.nics.first();
        vec![
            guest.name.to_string(),
            nic.map(|nic| nic.mac.to_string()).unwrap_or_default(),
            nic.and_then(|nic| nic.ssh_port)
                .map(|port| format!("127.0.0.1:{port}"))
                .unwrap_or_default(),
            guest.hardware.cpus.to_string(),
            guest.hardware.memory.to_string(),
            guest.disk_size.to_string(),
        ]
    });
    output::print(&output::grid(
        &["NAME", "MAC", "SSH", "CPUS", "MEMORY", "DISK"],
        rows,
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn flatten(session: &Session, guests: &[GuestName]) -> Result<ExitCode, Problem> {
    for guest in guests {
        let operation = session.api.flatten(guest)?;
        session.follow(&operation)?;
    }
    let mut lines = Vec::new();
    for guest in guests {
        lines.push(GuestLine(session.api.guest(guest)?));
    }
    output::rows(session.global.output, &lines)?;
    Ok(ExitCode::SUCCESS)
}
