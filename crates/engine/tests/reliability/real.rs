//! The same on real QEMU, for a sample: a process that runs outlives its engine and is found again.
//!
//! The guests have nothing to boot: their firmware says so and waits, which is all that is needed.

use crate::cases::{Case, ready};
use crate::clean::assert_clean;
use crate::crash::run_child;
use crate::home::*;
use stampo_core::identity::Verdict;
use stampo_core::plan::CloneSpec;
use stampo_core::size::ByteSize;
use stampo_driver::{Driver, DriverError, Power};
use stampo_driver_qemu::{AccelerationChoice, Options, QemuDriver};
use stampo_engine::{Engine, Source};
use std::path::Path;

/// The driver of a home with real guests.
pub fn driver(guests: &Path) -> Result<QemuDriver, DriverError> {
    let options = Options {
        acceleration: AccelerationChoice::Tcg,
        ..Options::default()
    };
    QemuDriver::open(guests, options)
}

/// Ends every guest of the home when the test ends, however it ends.
struct Ground(Home);

impl Drop for Ground {
    fn drop(&mut self) {
        let driver = driver(&self.0.path().join("guests")).expect("a driver");
        for id in driver.list().unwrap_or_default() {
            if let Err(error) = driver.ensure_undefined(id) {
                eprintln!("guest {id} may still run: {error}");
            }
        }
    }
}

fn ground() -> Ground {
    Ground(marked())
}

/// The commands that are killed, fail and lose power on the real driver: its own files, without a
/// process. They tie the simulated driver's promises to its own.
pub fn cases() -> Vec<Case> {
    let case = |name, prepare, act, done| Case {
        name,
        prepare,
        act,
        done,
    };
    vec![
        case(
            "real_clone",
            marked,
            |e| clone(e, "app", &spec()).map(drop),
            |e| ready(e) == ["app"],
        ),
        case(
            "real_rename",
            marked_with_guest,
            |e| e.rename(&name("app"), &name("db")).map(drop),
            |e| ready(e) == ["db"],
        ),
        case(
            "real_resize",
            marked_with_guest,
            |e| {
                let larger = stampo_engine::Resize {
                    memory: Some(ByteSize::mib(256)),
                    ..stampo_engine::Resize::default()
                };
                e.resize(&name("app"), larger).map(drop)
            },
            |e| {
                let row = e.guest_row(&name("app")).expect("a guest");
                row.plan.hardware.memory == ByteSize::mib(256)
            },
        ),
        case(
            "real_remove",
            marked_with_guest,
            |e| e.remove(&name("app"), None),
            |e| ready(e).is_empty(),
        ),
    ]
}

/// A home on the real driver.
fn marked() -> Home {
    let home = Home::published();
    std::fs::write(home.path().with_file_name(REAL), "").expect("marked");
    home
}

fn marked_with_guest() -> Home {
    let home = marked();
    clone(&home.engine(), "app", &spec()).expect("cloned");
    home
}

/// A small machine that is started.
pub fn small() -> CloneSpec {
    CloneSpec {
        memory: Some(ByteSize::mib(128)),
        start: Some(true),
        ..spec()
    }
}

fn pid(engine: &Engine, guest: &str) -> u32 {
    let row = engine.guest_row(&name(guest)).expect("a guest");
    match engine.power(&row) {
        Power::Running { pid, .. } => pid,
        other => panic!("{guest}: {other:?}"),
    }
}

/// The processes whose command line names this home's guests.
fn processes(home: &Path) -> usize {
    let needle = home.join("guests").display().to_string();
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(&needle))
        .count()
}

pub fn real_guests_are_found_again() {
    let ground = ground();
    let home = ground.0.path();

    // The guest runs, and its row does not say so yet.
    let ended = run_child("clone_real", &home, "clone.before.ready");
    assert!(!ended.success(), "it was to be killed");
    assert_eq!(processes(&home), 1, "its guest runs on");
    let engine = recovered(&home);
    let first = pid(&engine, "app");
    assert_eq!(processes(&home), 1, "started twice");
    drop(engine);
    assert_clean(&home, "clone killed after its start");

    // A running guest is renamed half-way: it is the same process afterwards.
    let ended = run_child("rename", &home, "rename.claimed");
    assert!(!ended.success(), "it was to be killed");
    let engine = recovered(&home);
    assert_eq!(pid(&engine, "db"), first);
    drop(engine);
    assert_clean(&home, "rename killed");

    // What the driver wrote down of a running guest is lost: it is found, and not taken for stopped.
    let forget = || {
        let engine = recovered(&home);
        let row = engine.guest_row(&name("db")).expect("a guest");
        let definition = home.join("guests").join(row.id.to_string());
        std::fs::remove_file(definition.join("definition.json")).expect("removed");
        recovered(&home)
    };
    assert_eq!(pid(&forget(), "db"), first);
    let refused = forget().resize(&name("db"), Default::default());
    let why = refused.expect_err("it runs").chain();
    assert!(why.contains("it runs"), "{why}");

    // A running guest is removed half-way: nothing of it runs or remains.
    let ended = run_child("remove_db", &home, "remove.claimed");
    assert!(!ended.success(), "it was to be killed");
    assert_eq!(processes(&home), 1);
    drop(recovered(&home));
    assert_eq!(processes(&home), 0, "a process without a guest");
    assert_clean(&home, "remove killed");

    // And one that the driver has lost is removed.
    clone(&recovered(&home), "db", &small()).expect("cloned");
    let engine = forget();
    assert_eq!(processes(&home), 1);
    engine.remove(&name("db"), None).expect("removed");
    assert_eq!(processes(&home), 0, "it runs without a guest");
    drop(engine);
    assert_clean(&home, "a lost guest removed");
}

/// A guest without an agent runs when the catalog is lost: nothing of it can be compared.
pub fn of_a_running_guest_without_records_nothing_passes() {
    let ground = ground();
    let home = ground.0.path();
    clone(&recovered(&home), "app", &small()).expect("cloned");
    let passport = |engine: &Engine| engine.passports(&[]).expect("a passport").remove(0);
    let recorded = passport(&recovered(&home));
    assert_eq!(recorded.source, Source::Catalog);
    let is_unknown = |(_, verdict): &(_, Verdict)| matches!(verdict, Verdict::Unknown(_));
    assert!(!recorded.items.iter().any(is_unknown), "{recorded:?}");

    lose_catalog(&home);
    let engine = recovered(&home);
    engine.rescan().expect("a rescan");
    let nothing = passport(&engine);
    assert_eq!(nothing.source, Source::Catalog);
    assert_eq!(nothing.items.len(), 1, "{nothing:?}");
    assert!(nothing.items.iter().all(is_unknown), "{nothing:?}");

    engine.stop(&name("app"), true).expect("stopped");
    let read = passport(&engine);
    assert_eq!(read.source, Source::Disk);
    assert!(read.items.len() > 5, "{read:?}");
}

/// What the driver wrote down of guests is damaged: each is stopped, started, read and removed.
pub fn guests_with_damaged_definitions_are_not_stuck() {
    let ground = ground();
    let home = ground.0.path();
    clone(&recovered(&home), "app", &small()).expect("cloned");
    let first = pid(&recovered(&home), "app");
    let tear = || {
        let engine = recovered(&home);
        let row = engine.guest_row(&name("app")).expect("a guest");
        let dir = home.join("guests").join(row.id.to_string());
        std::fs::write(dir.join("definition.json"), "{").expect("torn");
        engine
    };
    assert_eq!(pid(&tear(), "app"), first, "it runs on");
    tear().stop(&name("app"), true).expect("stopped");
    assert_eq!(processes(&home), 0);
    tear().start(&name("app")).expect("started");
    assert_clean(&home, "a damaged definition was written anew");
    tear().remove(&name("app"), None).expect("removed");
    assert_eq!(processes(&home), 0);
    assert_clean(&home, "a guest with a damaged definition was removed");
}
