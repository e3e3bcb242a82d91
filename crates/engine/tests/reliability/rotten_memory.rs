//! A memory image that has changed: a scrub finds it, nobody goes on from it where that is seen, and
//! it is not taken from under those who went on from it.

use crate::cases::{forks, freeze, frozen_home};
use crate::home::*;
use crate::rot::scrub;
use libtest_mimic::Trial;
use stampo_core::plan::PlanRefusal;
use stampo_engine::{DamageOutcome, DamagedThing, EngineError};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("a_changed_memory_image_is_found", found),
        trial("nobody_goes_on_from_changed_devices", devices),
        trial("what_a_scrub_found_damaged_is_frozen_again", again),
        trial("a_damaged_memory_image_is_kept_while_it_is_used", used),
    ]
}

/// A file of the only memory image of a home.
fn file(home: &Home, name: &str) -> PathBuf {
    let images = fs::read_dir(home.path().join("images")).expect("images");
    images
        .flatten()
        .flat_map(|image| fs::read_dir(image.path()).expect("listed").flatten())
        .map(|entry| entry.path().join(name))
        .find(|path| path.exists() && path.parent().is_some_and(is_memory))
        .expect("a memory image")
}

fn is_memory(path: &std::path::Path) -> bool {
    let name = path.file_name().expect("a name").to_string_lossy();
    name.starts_with("memory-")
}

fn flip(path: &PathBuf) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("its mode");
    let mut bytes = fs::read(path).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("written");
}

fn found() {
    for name in ["memory", "state", "disk.qcow2"] {
        let home = frozen_home();
        let engine = home.engine();
        let report = scrub(&engine).expect("scrubbed");
        assert!(report.damage.is_empty(), "{report:?}");
        clone(&engine, "ci", &forks(1)).expect("cloned");
        let path = file(&home, name);
        flip(&path);
        let report = scrub(&engine).expect("scrubbed");
        let [damage] = report.damage.as_slice() else {
            panic!("{name}: {report:?}");
        };
        assert_eq!(damage.what, DamagedThing::MemoryImage, "{name}");
        assert_eq!(damage.outcome, DamageOutcome::Open, "{name}");
        assert_eq!(Some(damage.path.as_path()), path.parent(), "{name}");
        assert_eq!(damage.subjects, ["web@1"], "{name}");
        assert_eq!(damage.clones, ["ci"], "{name}");
    }
}

/// Only a scrub reads all of it. From then on nobody goes on from it, and it can be made again.
fn again() {
    let home = frozen_home();
    let engine = home.engine();
    flip(&file(&home, "memory"));
    clone(&engine, "ci-1", &forks(1)).expect("nobody knows yet");
    assert_eq!(scrub(&engine).expect("scrubbed").damage.len(), 1);
    let error = clone(&engine, "ci-2", &forks(1)).expect_err("it is known");
    let why = error.chain();
    assert!(why.contains("a scrub found that it has changed"), "{why}");
    assert_eq!(scrub(&engine).expect("scrubbed").damage.len(), 1, "still");
    let why = freeze(&engine).expect_err("it is used").chain();
    assert!(why.contains("ci-1 goes on from it"), "{why}");
    engine.stop(&name("ci-1"), true).expect("stopped");
    freeze(&engine).expect("frozen again");
    clone(&engine, "ci-2", &forks(1)).expect("cloned");
    assert!(scrub(&engine).expect("scrubbed").damage.is_empty());
}

fn devices() {
    let home = frozen_home();
    flip(&file(&home, "state"));
    let engine = home.engine();
    let error = clone(&engine, "ci", &forks(1)).expect_err("only instant ones");
    assert!(
        matches!(&error, EngineError::Plan(PlanRefusal::MemoryUnfit { why, .. }) if why.contains("its devices have changed")),
        "{}",
        error.chain()
    );
    freeze(&engine).expect("frozen again");
    clone(&engine, "ci", &forks(1)).expect("cloned");
    let report = scrub(&engine).expect("scrubbed");
    assert!(report.damage.is_empty(), "{report:?}");
}

fn used() {
    let home = frozen_home();
    let engine = home.engine();
    clone(&engine, "ci", &forks(1)).expect("cloned");
    flip(&file(&home, "state"));
    let why = freeze(&engine).expect_err("refused").chain();
    assert!(
        why.contains("damaged") && why.contains("ci goes on from it"),
        "{why}"
    );
    engine.stop(&name("ci"), true).expect("stopped");
    freeze(&engine).expect("frozen again");
}
