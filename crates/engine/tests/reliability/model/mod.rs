//! Several processes on one home against a model: whatever each was told has to be explained.
//!
//! ```text
//! programs (proptest) ─→ 8 processes, each with its log ─→ one history ─→ search ─→ explained
//!        ↑                                                                   │
//!        └───────────────── smaller programs, run again ←────────────────────┘ or not
//! ```
//!
//! Each process writes down when it asked and when it was answered, on one clock. The history is
//! explained when there is an order of all moments, each between its question and its answer, in
//! which the model gives every one of these answers, and at the end the state that the catalog has.
//! So a refusal is right only if it was right at some moment while the command ran.
//!
//! The audit tells the order of the changes, and has to have each of them exactly once.
//!
//! How processes meet differs at each run, so smaller programs are run a few times before they
//! count as harmless. No process dies here: `races.rs` has those that do.

mod answer;
mod apply;
mod audit;
mod decide;
mod pure;
mod report;
mod run;
mod script;
mod search;
mod shrink;
mod state;
mod step;
mod touch;
mod worker;

pub use worker::run_child_if_asked;

use crate::seed::{is_long, seed};
use libtest_mimic::Trial;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use shrink::{AnyPrograms, Begun, Programs};
use std::cell::Cell;

const PROCESSES: usize = 8;
/// Steps of each process; with `STAMPO_LONG=1` the second.
const STEPS: [usize; 2] = [200, 1000];
/// How often smaller programs are run before they count as harmless.
const TRIES: usize = 4;
/// How long smaller programs are looked for.
const SHRINK_MS: u32 = 10 * 60 * 1000;

/// The tests of the model, and the race.
pub fn trials() -> Vec<Trial> {
    let mut trials = pure::trials();
    trials.push(Trial::test(
        "every_answer_of_eight_processes_is_explained",
        || {
            every_answer_is_explained();
            Ok(())
        },
    ));
    trials
}

/// Programs of random steps, all of whose answers the model explains.
fn every_answer_is_explained() {
    let seed = seed();
    let steps = STEPS[usize::from(is_long())];
    eprintln!("{PROCESSES} processes, {steps} steps each; repeat with STAMPO_SEED={seed}");
    let any = AnyPrograms {
        processes: PROCESSES,
        steps,
        begun: Begun::default(),
    };
    let tries = Cell::new(1);
    let checked = runner(seed).run(&any, |programs| {
        let failed = (0..tries.get()).find_map(|_| run::run(&programs).err());
        match failed {
            None => Ok(()),
            Some(failure) => {
                *any.begun.borrow_mut() = failure.begun;
                let steps: usize = programs.iter().map(Vec::len).sum();
                match tries.get() {
                    1 => eprintln!("{steps} steps fail:\n{}", failure.why),
                    _ => eprintln!("{steps} steps fail"),
                }
                tries.set(TRIES);
                Err(TestCaseError::fail(failure.why))
            }
        }
    });
    match checked {
        Ok(()) => {}
        Err(TestError::Abort(why)) => panic!("STAMPO_SEED={seed}: {why}"),
        Err(TestError::Fail(why, programs)) => panic!("{}", failure(seed, &why, &programs)),
    }
}

fn failure(seed: u64, why: &dyn std::fmt::Display, programs: &Programs) -> String {
    let programs = report::programs(programs);
    format!("STAMPO_SEED={seed}\n\nthe smallest programs that fail:\n{programs}\n{why}")
}

fn runner(seed: u64) -> TestRunner {
    let config = Config {
        cases: 1,
        max_shrink_time: SHRINK_MS,
        max_shrink_iters: 1_000_000,
        failure_persistence: None,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    TestRunner::new_with_rng(config, rng)
}
