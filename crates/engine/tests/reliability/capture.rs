//! Captured guests: what is in the new version, and what becomes of the guest.

use crate::cases::{forks, frozen_home, one_running};
use crate::clean::assert_clean;
use crate::crash::run_child;
use crate::home::*;
use libtest_mimic::Trial;
use stampo_core::goal::CloneKind;
use stampo_core::identity::Verdict;
use stampo_core::lifecycle::{State, Statement, Verb};
use stampo_core::plan::CloneSpec;
use stampo_driver::Power;
use stampo_engine::{Engine, Faults, Unwatched};
use stampo_store::VersionRow;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("a_captured_guest_is_a_version", stopped),
        trial("a_running_guest_is_captured_and_goes_on", running),
        trial("a_full_clone_is_captured", full),
        trial("a_captured_fork_is_frozen_again", fork),
        trial("revoking_takes_along_what_was_captured_of_clones", revoked),
        trial("a_guest_that_is_captured_is_busy", busy),
        trial("a_guest_whose_capture_was_killed_goes_on", killed),
    ]
}

/// A file of a version's disk.
fn content(engine: &Engine, version: &VersionRow, path: &str) -> Option<Vec<u8>> {
    let image = version.image.as_ref().expect("an image");
    let disk = engine
        .home()
        .join("images")
        .join(image.as_str())
        .join("disk.raw");
    let device = stampo_image::raw::RawFile::open_read_only(&disk).expect("a disk");
    let guest = stampo_guest::fs::open_read(std::sync::Arc::new(device)).expect("readable");
    guest.read(path, 1 << 20).ok()
}

/// `app`, not started, in which a file was written.
fn written(spec: &CloneSpec) -> Home {
    let home = Home::published();
    let engine = home.engine();
    clone(&engine, "app", spec).expect("cloned");
    engine
        .write_file(&name("app"), "/root/notes", b"ours")
        .expect("written");
    home
}

fn stopped() {
    let home = written(&spec());
    let engine = home.engine();
    let version = capture(&engine, "app").expect("captured");
    assert_eq!(version.label(), "golden@1");
    assert_eq!(version.state, State::Draft);
    assert_eq!(
        content(&engine, &version, "/root/notes").as_deref(),
        Some(&b"ours"[..])
    );
    assert_eq!(version.origin["kind"], "capture");
    assert_eq!(version.origin["guest"], "app");
    assert_eq!(version.origin["parent"], "web@1");
    let guest = engine.guest_row(&name("app")).expect("it stays");
    assert_eq!(version.hardware, guest.plan.hardware);
    assert_eq!(version.virtual_size, guest.plan.disk_size);
    // It is whole by itself: nothing of the guest or its version is needed.
    engine.remove(&name("app"), None).expect("removed");
    seal(&engine, "golden").expect("sealed");
    drop(engine);
    assert_clean(&home.path(), "captured");
}

fn running() {
    let home = written(&spec());
    let engine = home.engine();
    engine.start(&name("app")).expect("started");
    let before = engine.power(&engine.guest_row(&name("app")).expect("a guest"));
    let version = capture(&engine, "app").expect("captured");
    assert_eq!(
        content(&engine, &version, "/root/notes").as_deref(),
        Some(&b"ours"[..])
    );
    let after = engine.power(&engine.guest_row(&name("app")).expect("a guest"));
    let process = |power: &Power| match power {
        Power::Running { pid, .. } => *pid,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        process(&before),
        process(&after),
        "it was not started again"
    );
    drop(engine);
    assert_clean(&home.path(), "captured while it ran");
}

fn full() {
    let home = written(&CloneSpec {
        kind: Some(CloneKind::Full),
        ..spec()
    });
    let engine = home.engine();
    engine.start(&name("app")).expect("started");
    let version = capture(&engine, "app").expect("captured");
    assert_eq!(
        content(&engine, &version, "/root/notes").as_deref(),
        Some(&b"ours"[..])
    );
    drop(engine);
    assert_clean(&home.path(), "captured a full clone");
}

/// The version that a fork has become has a memory image of its own, and forks of it are unlike.
fn fork() {
    let home = frozen_home();
    let engine = home.engine();
    clone(&engine, "ci", &forks(1)).expect("forked");
    let version = capture(&engine, "ci").expect("captured");
    assert_eq!(version.origin["parent"], "web@1");
    seal(&engine, "golden").expect("sealed");
    let submitted = engine.submit_freeze(&reference("golden")).expect("sealed");
    engine.run_freeze(submitted, &Unwatched).expect("frozen");
    publish(&engine, "golden").expect("published");
    clone_of(&engine, "golden", "next-{n}", &forks(2), &Unwatched).expect("forked again");
    let passports = engine.passports(&[]).expect("passports");
    assert_eq!(passports.len(), 3);
    for (fact, verdict) in passports.iter().flat_map(|passport| &passport.items) {
        assert!(
            !matches!(verdict, Verdict::Duplicated(_)),
            "{fact:?}: {verdict:?}"
        );
    }
}

fn revoked() {
    let home = written(&spec());
    let engine = home.engine();
    capture(&engine, "app").expect("captured");
    seal(&engine, "golden").expect("sealed");
    let said = Statement {
        reason: Some("keys leak".to_owned()),
        cascade: true,
        ..Statement::default()
    };
    let revoked = engine.govern(&reference("web@1"), Verb::Revoke, &said);
    revoked.expect("revoked");
    let row = engine
        .version_row(&reference("golden@1"))
        .expect("a version");
    assert_eq!(row.state, State::Revoked);
}

/// While its disk is read, nobody starts it.
fn busy() {
    let home = written(&spec());
    let other = home.path();
    let engine = open(
        &home.path(),
        Faults::new(move |point| {
            if point == "capture.staged" {
                let engine = open(&other, Faults::default());
                let refused = engine.start(&name("app")).expect_err("it is captured");
                assert!(
                    refused.to_string().contains("its capture is going on"),
                    "{refused}"
                );
            }
        }),
    );
    capture(&engine, "app").expect("captured");
    engine.start(&name("app")).expect("free again");
}

/// Whoever captured it died while it stood still: the next command lets it go on.
fn killed() {
    for at in [
        "capture.begun",
        "capture.paused",
        "capture.resumed",
        "born.pending",
    ] {
        let home = one_running();
        let ended = run_child("capture_running", &home.path(), at);
        assert!(!ended.success(), "{at}: {ended}");
        let engine = recovered(&home.path());
        let guest = engine.guest_row(&name("app")).expect("it stays");
        let power = engine.power(&guest);
        assert!(matches!(power, Power::Running { .. }), "{at}: {power:?}");
        drop(engine);
        assert_clean(&home.path(), at);
    }
}
