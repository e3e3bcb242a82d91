//! Power loss: every state that the medium may be in is one from which the next command recovers.
//!
//! ```text
//! command under strace ─→ log of changes and syncs ─→ cut + legal subset, by seed ─→ a home again
//!                                                                                      │
//!                  invariants of `clean.rs`, done or absent, repeatable  ←── recovery ─┘
//! ```
//!
//! `trace.rs` reads strace's output, `log.rs` makes changes of inodes from it, `disk.rs` holds
//! them, `legal.rs` knows what may be lost, `outcome.rs` opens what is left. The design and its
//! limits are in docs/adr/0007-power-loss-log.md.

mod disk;
mod legal;
mod log;
mod outcome;
mod record;
mod rules;
mod trace;

use crate::cases::{self, Case};
use libtest_mimic::{Failed, Trial};
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use record::run_child_if_asked;

/// How many states a run looks at, over all cases.
const STATES: u64 = 1_000;
const STATES_LONG: u64 = 20_000;

/// One test for each command, and those of the rules themselves.
pub fn trials() -> Vec<Trial> {
    let cases = cases::all();
    let count = cases.len() as u64;
    let mut trials = rules::trials();
    for (number, case) in (0..).zip(cases) {
        let seeds: Vec<u64> = seeds().filter(|seed| seed % count == number).collect();
        trials.push(Trial::test(
            format!("power_lost_during_{}", case.name),
            move || lose_power(&case, &seeds),
        ));
    }
    trials
}

/// The seeds of this run: `STAMPO_SEED` alone, or as many as asked for.
fn seeds() -> std::ops::RangeInclusive<u64> {
    if let Ok(seed) = std::env::var("STAMPO_SEED") {
        let seed = seed.parse().expect("STAMPO_SEED is a number");
        return seed..=seed;
    }
    let is_long = std::env::var_os("STAMPO_LONG").is_some_and(|value| value == "1");
    1..=if is_long { STATES_LONG } else { STATES }
}

/// Records the case's command, then looks at the state of each seed.
fn lose_power(case: &Case, seeds: &[u64]) -> Result<(), Failed> {
    let (Some(first), Some(last)) = (seeds.first(), seeds.last()) else {
        return Ok(()); // STAMPO_SEED belongs to another command.
    };
    let home = (case.prepare)();
    let expected = outcome::Expected::of(&home);
    let log = record::record(case, &home);
    eprintln!(
        "{}: {} changes and syncs, {} states, seeds {first} to {last}",
        case.name,
        log.entries.len(),
        seeds.len()
    );
    let mut failed = Vec::new();
    for &seed in seeds {
        let state = legal::state(&log, seed);
        let what = format!("{}, STAMPO_SEED={seed}", case.name);
        let seen = catch_unwind(AssertUnwindSafe(|| {
            outcome::check(case, &home, &expected, &state, seed, &what);
        }));
        if seen.is_err() {
            outcome::report(&log, &state, &what);
            failed.push(seed);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!("{}: lost or half after seeds {failed:?}", case.name).into())
}
