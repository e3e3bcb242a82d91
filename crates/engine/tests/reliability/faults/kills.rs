//! SIGKILL at system calls: a command dies in the middle, its recovery may die, too, and the next
//! command finds nothing lost and nothing half.

use super::child::{RECOVER, command};
use super::points::{Points, report};
use super::stage::Stage;
use super::tracer::{self, Fault, Traced};
use crate::cases::Case;
use crate::crash::settle;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use rand::Rng;

/// Kills the case's command at its points.
pub fn kill_at_calls(case: &Case) {
    let stage = Stage::of(case);
    let all = stage.undisturbed(case);
    let mut points = Points::of(case.name, "kill", all.count);
    let mut hit = 0;
    let mut failures = Vec::new();
    for at in points.chosen() {
        stage.reset();
        let again = points.random().random_range(1..=2 * RECOVERY_CALLS);
        match kill_once(case, &stage, at, again) {
            Ok(reached) => hit += usize::from(reached),
            Err(why) => failures.push(why),
        }
    }
    report(case.name, "killed", hit, all.count, &failures);
}

/// About how many calls a recovery makes: half of the recoveries die, half come to their end.
const RECOVERY_CALLS: usize = 40;

/// One point; whether it was reached at all.
fn kill_once(case: &Case, stage: &Stage, at: usize, again: usize) -> Result<bool, String> {
    let first = killed_at(stage, case.name, at);
    let Some(call) = first.calls.first() else {
        // Threads may make a call less than in the run that counted.
        return if first.succeeded() {
            Ok(false)
        } else {
            Err(format!("{}: {}", case.name, first.said))
        };
    };
    let what = format!("{} killed at {call}", case.name);
    check_end(&first, &what)?;
    let second = killed_at(stage, RECOVER, again);
    let what = match second.calls.first() {
        Some(call) => format!("{what}, its recovery killed at {call}"),
        None => what,
    };
    check_end(&second, &what)?;
    let is_told_done = first.succeeded();
    super::points::caught(|| {
        settle(case, &stage.home, &what, |is_done| {
            assert!(
                is_done || !is_told_done,
                "{what}: it says it is done and is not"
            );
            stage.check_absent(case, is_done, &what);
        });
    })?;
    Ok(true)
}

fn killed_at(stage: &Stage, case: &str, at: usize) -> Traced {
    let fault = |number| (number == at).then_some(Fault::Kill);
    tracer::run(
        &mut command(case, &stage.home.path()),
        &stage.said(),
        &fault,
        false,
    )
}

/// The command was killed; or a process that it started was, and it noticed or did not need it.
fn check_end(traced: &Traced, what: &str) -> Result<(), String> {
    match traced.ended {
        WaitStatus::Signaled(_, Signal::SIGKILL, _) | WaitStatus::Exited(_, 0 | 1) => Ok(()),
        other => Err(format!("{what}: {other:?}: {}", traced.said)),
    }
}
