//! Several processes on one home, some of which die.

use crate::clean::assert_clean;
use crate::home::*;
use crate::seed::seed;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rustix::process::{Signal, getpid, kill_process};
use stampo_core::goal::CloneKind;
use stampo_core::lifecycle::Verb;
use stampo_core::names::GuestName;
use stampo_core::plan::CloneSpec;
use stampo_engine::{Engine, EngineError, Faults, Resize, Unwatched};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const HOME: &str = "STAMPO_RACE_HOME";
const SEED: &str = "STAMPO_RACE_SEED";
const STEPS: usize = 40;
const PROCESSES: u64 = 8;

/// As a child: works on the home at random.
pub fn run_child_if_asked() -> Option<ExitCode> {
    let home = std::env::var_os(HOME)?;
    let seed = std::env::var(SEED)
        .expect("a seed")
        .parse()
        .expect("a number");
    let mut random = StdRng::seed_from_u64(seed);
    // Every other process dies somewhere on its way.
    let dies_at = (seed % 2 == 0).then(|| random.random_range(20..200));
    let reached = AtomicUsize::new(0);
    let faults = Faults::new(move |_| {
        if Some(reached.fetch_add(1, Ordering::SeqCst)) == dies_at {
            kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
        }
    });
    let engine = open(Path::new(&home), faults);
    for step in 0..STEPS {
        // As every command does.
        if let Err(error) = engine.recover() {
            eprintln!("seed {seed} step {step}: recovery: {}", error.chain());
            return Some(ExitCode::FAILURE);
        }
        match one_step(&engine, &mut random) {
            Ok(()) => {}
            Err(error) if is_refusal(&error) => {}
            Err(error) => {
                eprintln!("seed {seed} step {step}: {} ({error:?})", error.chain());
                return Some(ExitCode::FAILURE);
            }
        }
    }
    Some(ExitCode::SUCCESS)
}

/// What another process may bring about at any time.
fn is_refusal(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::NotFound { .. }
            | EngineError::Conflict { .. }
            | EngineError::Refused { .. }
            | EngineError::Plan(_)
            | EngineError::HasLinkedClones { .. }
    )
}

fn any_guest(engine: &Engine, random: &mut StdRng) -> GuestName {
    let rows = engine.store().read(|tx| tx.guests()).expect("rows");
    let found = rows.choose(random).map(|row| row.name.clone());
    found.unwrap_or_else(|| name("nobody"))
}

fn one_step(engine: &Engine, random: &mut StdRng) -> Result<(), EngineError> {
    let guest = any_guest(engine, random);
    match random.random_range(0..16) {
        0..4 => clone(engine, "g-{n}", &any_clones(random)).map(drop),
        4 => engine.remove(&guest, None),
        5 => engine.remove(&guest, Some(Duration::from_secs(60))),
        6 => engine.restore_guest(&guest).map(drop),
        7 => {
            let to = format!("r-{}", random.random_range(0..1000));
            engine.rename(&guest, &name(&to)).map(drop)
        }
        8 => {
            let flatten = engine.submit_flatten(&guest)?;
            engine.run_flatten(flatten, &Unwatched).map(drop)
        }
        9 => {
            let to = Resize {
                cpus: Some(random.random_range(1..5)),
                ..Resize::default()
            };
            engine.resize(&guest, to).map(drop)
        }
        10 => engine.start(&guest).map(drop),
        11 => engine.stop(&guest, true).map(drop),
        12 => engine.gc(random.random()).map(drop),
        13 => engine.write_file(&guest, "/root/x", b"y"),
        14 => new_version(engine),
        _ => {
            let versions = engine.store().read(|tx| tx.versions())?;
            let Some(row) = versions.choose(random) else {
                return Ok(());
            };
            let verb = [Verb::Publish, Verb::Retire, Verb::Restore][random.random_range(0..3)];
            engine
                .change_version(&reference(&row.label()), verb)
                .map(drop)
        }
    }
}

fn any_clones(random: &mut StdRng) -> CloneSpec {
    CloneSpec {
        count: Some(random.random_range(1..4)),
        kind: random.random_bool(0.3).then_some(CloneKind::Full),
        start: Some(random.random()),
        ..spec()
    }
}

/// All import the same bytes, so that they meet at one image.
fn new_version(engine: &Engine) -> Result<(), EngineError> {
    let source = std::env::var_os("STAMPO_RACE_SOURCE").expect("a source");
    let row = import(engine, "web", Path::new(&source))?;
    seal(engine, &row.label())?;
    publish(engine, &row.label()).map(drop)
}

fn start(home: &Path, seed: u64) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .env(HOME, home)
        .env(SEED, seed.to_string())
        .env("STAMPO_RACE_SOURCE", source())
        .spawn()
        .expect("this program starts")
}

/// Eight processes, forty steps each; half of them die on their way.
pub fn several_processes_may_work_and_die_on_one_home() {
    // How the processes interleave differs at every run.
    let seed = seed();
    eprintln!("repeat with STAMPO_SEED={seed}");
    let home = Home::published();
    let children: Vec<Child> = (0..PROCESSES)
        .map(|number| start(&home.path(), seed * PROCESSES + number))
        .collect();
    for mut child in children {
        let ended = child.wait().expect("a child");
        assert!(
            ended.success() || ended.signal() == Some(9),
            "STAMPO_SEED={seed}: {ended}"
        );
    }
    drop(home.engine());
    assert_clean(&home.path(), &format!("STAMPO_SEED={seed}"));
}
