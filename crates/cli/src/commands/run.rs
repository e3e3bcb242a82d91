//! `run`: a command in a guest that is thrown away afterwards.
//!
//! ```text
//! a member of a pool, else an instant clone, else a linked clone that boots
//!   ─→ its agent answers ─→ the command ─→ the guest goes
//! ```
//! The guest's lease is tied to this process: whatever ends it, the guest goes within about a second.

use super::Session;
use super::login::{check_command, run_in};
use super::wait::name_of;
use crate::args::RunArgs;
use crate::progress::Show;
use crate::signals;
use stampo_api::{CloneRequest, Guest, Kind, LeaseRequest, Problem, Reply, TakeFrom, TakeRequest};
use stampo_core::instant::Instant as Wanted;
use stampo_core::lease::Ending;
use stampo_core::names::{GuestName, NamePattern};
use stampo_core::plan::CloneSpec;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a guest that boots is asked whether its agent answers.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// How long a guest may take to boot. Emulated ones need a minute.
const BOOT_LIMIT: Duration = Duration::from_secs(600);

/// `run`: the command's exit code is ours.
pub fn run(session: &Session, args: &RunArgs) -> Result<ExitCode, Problem> {
    check_command(&args.command)?;
    signals::install();
    let lease = LeaseRequest {
        span: args.ttl,
        ending: Ending::Remove,
        tied: true,
    };
    let guest = obtain(session, args, lease)?;
    let name = name_of(&guest)?;
    // One that went on from memory has proven itself: its agent answers.
    let is_there = match guest.kind.as_str() {
        "instant" => Ok(()),
        _ => await_agent(session, &name),
    };
    let ended = is_there.and_then(|()| {
        run_in(
            session,
            &name,
            &args.command,
            args.user.as_deref(),
            args.interactive,
            args.ttl.seconds(),
        )
    });
    let failed = ended.as_ref().map_or(true, |code| *code != 0);
    if failed && args.keep_failed && !signals::interrupted() {
        // It is not tied to this process any more, and its time goes on.
        session.api.set_lease(
            &name,
            LeaseRequest {
                tied: false,
                ..lease
            },
        )?;
        session.note(&format!(
            "{name} is kept for {}: stampo ssh {name}, or: stampo rm --force {name}",
            args.ttl
        ));
    } else {
        remove(session, &name, ended.is_err())?;
    }
    let code = ended?;
    if signals::interrupted() {
        return Err(Problem::new(
            Kind::Cancelled,
            format!("run {}", args.command[0]),
        ));
    }
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Removes the guest. Why the command failed is more than that this does, too.
fn remove(session: &Session, name: &GuestName, has_failed: bool) -> Reply<()> {
    match session.api.remove(std::slice::from_ref(name), None, true) {
        // Its time was over.
        Err(problem) if problem.kind == Kind::NotFound => Ok(()),
        Err(problem) if has_failed => {
            session.note(&format!("{name} was not removed: {}", problem.message));
            Ok(())
        }
        other => other,
    }
}

/// A guest for the command.
fn obtain(session: &Session, args: &RunArgs, lease: LeaseRequest) -> Reply<Guest> {
    let request = TakeRequest {
        from: TakeFrom::Version(args.version.clone()),
        lease: Some(lease),
    };
    if let Some(taken) = session.api.take(request)? {
        session.note(&format!(
            "{} from its pool in {} ms",
            taken.guest.name, taken.took_ms
        ));
        return Ok(taken.guest);
    }
    let spec = CloneSpec {
        instant: is_frozen(session, args)?.then_some(Wanted::Prefer),
        overcommit_memory: args.overcommit_memory,
        ..CloneSpec::default()
    };
    let request = CloneRequest {
        version: args.version.clone(),
        name: own_name(),
        spec,
        lease: Some(lease),
    };
    let plan = session.api.clone_plan(request.clone())?;
    let why = plan.choice.reason.as_str();
    session.note(&format!(
        "{} clone of {}: {why}",
        plan.kind_name(),
        plan.version_label
    ));
    for warning in &plan.warnings {
        session.note(warning);
    }
    let operation = session.api.clone_guests(request)?;
    let outcome = session.follow(&operation)?;
    outcome
        .guests
        .into_iter()
        .next()
        .ok_or_else(|| Problem::new(Kind::Failed, format!("make a guest of {}", args.version)))
}

/// A name that no guest had before: when ours is gone because its time was over, what we do next
/// must not reach the guest of somebody who came after us.
fn own_name() -> NamePattern {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    NamePattern::new(format!("run-{:x}", since.unwrap_or_default().as_micros()))
}

/// Whether the version that is meant has a memory image.
fn is_frozen(session: &Session, args: &RunArgs) -> Reply<bool> {
    let mut request = CloneRequest {
        version: args.version.clone(),
        name: NamePattern::new("run-{n}"),
        spec: CloneSpec::default(),
        lease: None,
    };
    // Which version a bare name means, only a plan tells.
    let label = session.api.clone_plan(request.clone())?.version_label;
    request.version = label
        .parse()
        .map_err(|error| Problem::from_error(Kind::Failed, &error))?;
    let version = session.api.version(&request.version)?;
    Ok(!version.memory_images.is_empty())
}

/// Waits until an agent in a guest that boots answers.
fn await_agent(session: &Session, name: &GuestName) -> Reply<()> {
    let show = Show::new(session.global.quiet);
    let begun = Instant::now();
    loop {
        let problem = match session.api.boot(name) {
            Ok(_) => return Ok(()),
            // Its time is over, or somebody has removed it.
            Err(problem) if problem.kind == Kind::NotFound => return Err(problem),
            Err(problem) => problem,
        };
        if signals::interrupted() {
            return Err(Problem::new(Kind::Cancelled, format!("wait for {name}")));
        }
        let has_ended = session.api.guest(name)?.power == "stopped";
        if has_ended || begun.elapsed() > BOOT_LIMIT {
            return Err(problem.hint(format!("stampo logs {name}")));
        }
        show.busy(&format!("waiting until an agent in {name} answers"));
        std::thread::sleep(ASK_EVERY);
    }
}
