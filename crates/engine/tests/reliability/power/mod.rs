//! Power loss: every state that the medium may be in is one from which the next command recovers.
//!
//! ```text
//! command under strace ─→ log of changes and syncs ─→ cut + legal subset, by seed ─→ a home again
//!                                                                                      │
//!                  invariants of `clean.rs`, done or absent, repeatable  ←── recovery ─┘
//! ```
//!
//! `trace.rs` reads strace's output, `follow/` makes a `log.rs` of changes from it, `disk.rs` holds
//! inodes, `legal.rs` knows what may be lost, `outcome.rs` opens what is left. The design and its
//! limits are in docs/adr/0007-power-loss-log.md.

mod disk;
mod follow;
mod legal;
mod log;
mod more;
mod outcome;
mod record;
mod rules;
mod trace;

use crate::cases::Case;
use crate::home;
use crate::home::Home;
use crate::seed::is_long;
use libtest_mimic::{Completion, Failed, Trial};
use log::Log;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use outcome::Expected;
pub use record::run_child_if_asked;

/// How many states a run looks at, over all cases.
const STATES: u64 = 1_000;
const STATES_LONG: u64 = 20_000;
/// At how many places of each command the worst states are looked at besides, and at its end.
const WORST: usize = 4;
const WORST_LONG: usize = usize::MAX;

/// One test for each command, and those of the rules themselves.
pub fn trials() -> Vec<Trial> {
    let cases = more::all();
    let count = cases.len() as u64;
    let mut trials = rules::trials();
    for (number, case) in (0..).zip(cases) {
        let seeds: Vec<u64> = seeds().filter(|seed| seed % count == number).collect();
        if seeds.is_empty() {
            continue; // STAMPO_SEED belongs to another command.
        }
        trials.push(Trial::ignorable_test(
            format!("power_lost_during_{}", case.name),
            move || {
                if reads_hostile_image(&case) && !rustix::process::geteuid().is_root() {
                    return Ok(Completion::ignored_with(FOR_ROOT));
                }
                home::in_memory(|| lose_power(&case, &seeds, count))?;
                Ok(Completion::Completed)
            },
        ));
    }
    trials
}

/// Why a case is left out.
const FOR_ROOT: &str = "only root's strace may see what the sandboxed reader writes";

/// Whether the sandboxed reader makes a disk in this case.
fn reads_hostile_image(case: &Case) -> bool {
    case.name.starts_with("import")
}

/// The seeds of this run: `STAMPO_SEED` alone, or as many as asked for.
fn seeds() -> std::ops::RangeInclusive<u64> {
    if let Ok(seed) = std::env::var("STAMPO_SEED") {
        let seed = seed.parse().expect("STAMPO_SEED is a number");
        return seed..=seed;
    }
    1..=if is_long() { STATES_LONG } else { STATES }
}

/// Of so many states of a command, the last ones are of a run that was killed, and its recovery.
const ROUND: u64 = 20;
const KILLED: u64 = 8;
/// From one kill to the next; a prime, so that all places are visited.
const STEP: u64 = 37;

/// Looks at the state of each seed of this case; `count` is the number of cases.
fn lose_power(case: &Case, seeds: &[u64], count: u64) -> Result<(), Failed> {
    let home = (case.prepare)();
    let expected = outcome::Expected::of(&home);
    let log = record::record(case, &home);
    let turning = log.turning();
    let mut failed: Vec<u64> = Vec::new();
    let (plain, killed): (Vec<u64>, Vec<u64>) = seeds
        .iter()
        .partition(|seed| *seed / count % ROUND < ROUND - KILLED);
    let mut look = |log: &Log, seeds: &[u64], how: &str| {
        let (name, length) = (case.name, log.entries.len());
        eprintln!("{name}{how}: {length} changes and syncs, seeds {seeds:?}");
        failed.extend(seeds.iter().filter(|seed| {
            let what = format!("{name}{how}, STAMPO_SEED={seed}");
            let state = legal::state(log, **seed);
            !survives(case, &home, &expected, log, &state, **seed, &what)
        }));
    };
    look(&log, &plain, "");
    let worst = lose_most(case, &home, &expected, &log);
    for group in killed.chunk_by(|a, b| a / count / ROUND == b / count / ROUND) {
        let (round, number) = (group[0] / count / ROUND, group[0] % count);
        let place = (round + number) * STEP % turning.len() as u64;
        let at = turning[usize::try_from(place).expect("a few hundred")] + 1;
        let how = format!(" killed before entry {at} and recovered");
        look(&record::record_recovery(&log, &home, at), group, &how);
    }
    match failed.is_empty() && worst.is_empty() {
        true => Ok(()),
        false => {
            let name = case.name;
            Err(format!("{name}: lost or half after seeds {failed:?}, and {worst:?}").into())
        }
    }
}

/// Looks at the worst states, which no seed chooses; those that were not survived.
fn lose_most(case: &Case, home: &Home, expected: &outcome::Expected, log: &Log) -> Vec<String> {
    if std::env::var_os("STAMPO_SEED").is_some() {
        return Vec::new();
    }
    let most = if is_long() { WORST_LONG } else { WORST };
    let cuts = legal::worst_cuts(log, most);
    eprintln!(
        "{}: the worst states before the entries {cuts:?}",
        case.name
    );
    let sorts = [legal::Worst::Names, legal::Worst::Bytes];
    let states = cuts.iter().flat_map(|cut| sorts.map(|sort| (*cut, sort)));
    let failed = states.filter_map(|(cut, sort)| {
        let what = format!("{}, {sort:?} alone before entry {cut}", case.name);
        let state = legal::worst(log, cut, sort);
        let is_sound = survives(case, home, expected, log, &state, 1, &what);
        (!is_sound).then_some(what)
    });
    failed.collect()
}

/// Looks at a state; says what was lost when it is not what it should be.
fn survives(
    case: &Case,
    home: &Home,
    expected: &outcome::Expected,
    log: &Log,
    state: &legal::State,
    seed: u64,
    what: &str,
) -> bool {
    let seen = catch_unwind(AssertUnwindSafe(|| {
        outcome::check(case, home, expected, state, seed, what);
    }));
    if seen.is_err() {
        outcome::report(log, state, what);
    }
    seen.is_ok()
}
