//! Opening what a power loss left, and asking for what was promised.

use super::disk::Disk;
use super::legal::State;
use super::log::Log;
use crate::cases::Case;
use crate::clean::assert_clean;
use crate::home::{Home, open, recovered};
use serde_json::Value;
use stampo_core::guest::GuestState;
use stampo_engine::{Engine, Faults};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Commands whose effect is a guest that runs. No process outlives the power, so it is started
/// again before the effect is asked for.
const RUNNING: [&str; 5] = [
    "clone_linked",
    "clone_instant",
    "start",
    "start_instant",
    "rename",
];
/// Commands that do several things, each on its own: one may be done and the next not. Who takes a
/// member of a pool was told nothing of one that is gone again.
const MANY: [&str; 5] = [
    "gc",
    "pool_fill",
    "pool_fill_loaded",
    "pool_take",
    "pool_take_spawned",
];
/// A clone that was about to be cancelled is gone on with: nobody recorded the wish.
const GOES_ON: &str = "clone_cancelled";
/// The command that makes a catalog where there is none: until it has begun, every image lies
/// there unknown, and has to.
const REBUILD: &str = "rescan";
/// One state in so many is asked to take the command again.
const REPEATED: u64 = 4;

/// What the catalog said before the command.
pub struct Expected(BTreeSet<String>);

impl Expected {
    pub fn of(home: &Home) -> Expected {
        if !home.path().join("catalog.db").exists() {
            return Expected(BTreeSet::new());
        }
        Expected(brief(&open(&home.path(), Faults::default())))
    }

    /// Fails unless all versions and guests are what they were: the command is not done.
    pub fn check_absent(&self, case: &Case, engine: &Engine, what: &str) {
        if MANY.contains(&case.name) || [GOES_ON, REBUILD].contains(&case.name) {
            return;
        }
        assert_eq!(brief(engine), self.0, "{what}: neither done nor absent");
    }
}

/// Versions and guests, as far as a command may change them.
fn brief(engine: &Engine) -> BTreeSet<String> {
    let (versions, guests) = engine
        .store()
        .read(|tx| Ok::<_, stampo_store::StoreError>((tx.versions()?, tx.guests()?)))
        .expect("rows");
    let version = |row: stampo_store::VersionRow| {
        format!("{} {} {} {:?}", row.label(), row.id, row.state, row.image)
    };
    let guest = |row: stampo_store::GuestRow| {
        let (size, hardware) = (row.plan.disk_size, &row.plan.hardware);
        format!(
            "{} {} {} {} {size} {hardware:?}",
            row.name, row.id, row.kind, row.state
        )
    };
    let versions = versions.into_iter().map(version);
    versions.chain(guests.into_iter().map(guest)).collect()
}

/// Puts the state where the home was, recovers, and fails unless the command is done or absent,
/// and done when its caller had been told so.
pub fn check(case: &Case, home: &Home, expected: &Expected, state: &State, seed: u64, what: &str) {
    let path = home.path();
    put(&state.disk, home);
    end_processes(&path.join("guests"));
    let engine = recovered(&path);
    if case.name == REBUILD && !state.is_acknowledged && !(case.done)(&engine) {
        return repeat(case, engine, &path, what);
    }
    drop(engine);
    assert_clean(&path, what);
    let engine = open(&path, Faults::default());
    if RUNNING.contains(&case.name) {
        start_all(&engine);
    }
    let is_done = (case.done)(&engine);
    assert!(
        is_done || !state.is_acknowledged,
        "{what}: it was done, and is not"
    );
    if is_done || case.name == GOES_ON {
        return;
    }
    expected.check_absent(case, &engine, what);
    if seed.is_multiple_of(REPEATED) {
        repeat(case, engine, &path, what);
    }
}

/// The command can be given again, and does its work.
fn repeat(case: &Case, engine: Engine, home: &Path, what: &str) {
    if let Err(error) = (case.act)(&engine) {
        panic!("{what}: the repeated command failed: {}", error.chain());
    }
    assert!((case.done)(&engine), "{what}: repeated, yet not done");
    drop(engine);
    assert_clean(home, &format!("{what}, repeated"));
}

fn start_all(engine: &Engine) {
    for row in engine.store().read(|tx| tx.guests()).expect("rows") {
        if row.state == GuestState::Ready
            && let Err(error) = engine.start(&row.name)
        {
            panic!("{} does not start: {}", row.name, error.chain());
        }
    }
}

/// Puts this in place of the home and all beside it.
pub fn put(disk: &Disk, home: &Home) {
    let ground = home.ground();
    for entry in fs::read_dir(ground).expect("readable") {
        let path = entry.expect("an entry").path();
        let removed = match path.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        removed.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    disk.save(ground);
}

/// The simulated driver keeps its processes in a file; a power loss ends all processes.
fn end_processes(guests: &Path) {
    let Ok(entries) = fs::read_dir(guests) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("an entry").path().join("simulated.json");
        let Ok(text) = fs::read(&path) else { continue };
        let mut guest: Value = serde_json::from_slice(&text)
            .unwrap_or_else(|e| panic!("{}: a half definition: {e}", path.display()));
        guest["run"] = Value::Null;
        fs::write(&path, guest.to_string()).expect("written");
    }
}

/// Says which operations a failing state had lost.
pub fn report(log: &Log, state: &State, what: &str) {
    eprintln!(
        "-- {what}: power lost after {} of {} operations",
        state.cut,
        log.entries.len()
    );
    let from = state.cut.saturating_sub(12);
    for (number, entry) in log.entries[from..state.cut].iter().enumerate() {
        eprintln!("   done {} {}", from + number, entry.words);
    }
    for words in &state.lost {
        eprintln!("   lost {words}");
    }
}
