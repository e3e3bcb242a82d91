//! A catalog from a backup, older than the disks: nothing that it does not know is taken away.

use crate::clean::assert_clean;
use crate::home::*;
use crate::rot::scrub;
use stampo_core::goal::CloneKind;
use stampo_core::guest::GuestState;
use stampo_core::ids::ImageId;
use stampo_core::lifecycle::{State, Verb};
use stampo_core::plan::CloneSpec;
use stampo_driver::Power;
use stampo_engine::{DamageOutcome, DamagedThing, Engine, Removal, Unwatched};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Copies the catalog out of a home that nothing works on.
pub fn back_up(home: &Path, to: &Path) {
    for name in CATALOG.iter().filter(|name| home.join(name).exists()) {
        fs::copy(home.join(name), to.join(name)).expect("copied");
    }
}

/// Puts a copy in the place of the home's catalog.
pub fn put_back(from: &Path, home: &Path) {
    lose_catalog(home);
    back_up(from, home);
}

/// The disks of all images and guests.
fn disks(home: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for place in ["images", "guests"] {
        let entries = fs::read_dir(home.join(place)).expect("listed").flatten();
        for dir in entries.filter(|entry| entry.path().is_dir()) {
            for file in fs::read_dir(dir.path()).expect("listed").flatten() {
                let path = file.path();
                let name = path.strip_prefix(home).expect("inside").display();
                let name = name.to_string();
                if name.contains("/disk.") {
                    found.insert(name);
                }
            }
        }
    }
    found
}

fn kind(engine: &Engine, guest: &str) -> CloneKind {
    engine.guest_row(&name(guest)).expect("a guest").kind
}

/// Another template with bytes of its own, published, and two clones; then a backup is put back
/// that knows none of them.
pub fn what_an_older_catalog_does_not_know_stays() {
    let home = Home::published();
    let backup = tempfile::tempdir().expect("a directory");
    back_up(&home.path(), backup.path());
    let engine = home.engine();
    let other = home.path().with_file_name("other.raw");
    make_filesystem(&other, &[("etc/other", "yes")]);
    import(&engine, "web", &other).expect("imported");
    seal(&engine, "web").expect("sealed");
    publish(&engine, "web@2").expect("published");
    let kinds = [("app", None), ("db", Some(CloneKind::Full))];
    for (guest, kind) in kinds {
        clone(&engine, guest, &CloneSpec { kind, ..spec() }).expect("cloned");
    }
    // And one that no guest reads: only its sidecar speaks for it.
    let lone = home.path().with_file_name("lone.raw");
    make_filesystem(&lone, &[("etc/lone", "yes")]);
    let lone = import(&engine, "lone", &lone).expect("imported");
    let guests = engine.store().read(|tx| tx.guests()).expect("rows");
    let known = [Some(guests[0].image.clone()), lone.image];
    drop(engine);
    let before = disks(&home.path());
    put_back(backup.path(), &home.path());
    let engine = home.engine();
    assert!(engine.guest_row(&name("app")).is_err(), "it is older");
    engine.gc(true).expect("collected");
    // Not even when its only known version goes.
    for verb in [Verb::Retire, Verb::Purge] {
        let gone = engine.change_version(&reference("web@1"), verb);
        gone.expect("nothing known reads it");
    }
    let after = disks(&home.path());
    let lost: Vec<_> = before
        .difference(&after)
        .filter(|name| {
            let has = |image: &ImageId| name.contains(image.as_str());
            name.contains("guests/") || known.iter().flatten().any(has)
        })
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
    let found = engine.rescan().expect("a rescan");
    let versions: BTreeSet<_> = found.versions.iter().map(String::as_str).collect();
    assert_eq!(versions, BTreeSet::from(["lone@1", "web@2"]), "{found:?}");
    assert_eq!(found.guests.len(), 2, "{found:?}");
    drop(engine);
    assert_clean(&home.path(), "after an older catalog");
}

/// A version changes its state, and a linked guest becomes a full one, after the backup.
pub fn an_older_catalog_learns_newer_states() {
    let home = one_guest();
    let backup = tempfile::tempdir().expect("a directory");
    back_up(&home.path(), backup.path());
    let engine = home.engine();
    let flatten = engine.submit_flatten(&name("app")).expect("submitted");
    engine.run_flatten(flatten, &Unwatched).expect("flattened");
    std::thread::sleep(Duration::from_millis(2));
    engine
        .change_version(&reference("web@1"), Verb::Retire)
        .expect("retired");
    drop(engine);
    let before = disks(&home.path());
    put_back(backup.path(), &home.path());
    let engine = home.engine();
    assert_eq!(kind(&engine, "app"), CloneKind::Linked, "it is older");
    assert_outdated(&engine);
    assert_eq!(disks(&home.path()), before);
    let found = engine.rescan().expect("a rescan");
    assert_eq!(found.guests, ["app"], "{found:?}");
    let row = engine.version_row(&reference("web@1")).expect("a version");
    assert_eq!(row.state, State::Retired);
    assert_eq!(kind(&engine, "app"), CloneKind::Full);
    engine
        .rename(&name("app"), &name("db"))
        .expect("now its row is the newest");
    assert_eq!(disks(&home.path()), before);
    assert_eq!(scrub(&engine).expect("a scrub").damage, []);
    drop(engine);
    assert_clean(&home.path(), "after a rescan of what is newer");
}

/// Nothing is done to `app` by its row, and its sidecar stays; each says what to do.
fn assert_outdated(engine: &Engine) {
    let told = |why: &str| assert!(why.contains("stampo store rescan"), "{why}");
    let refused = [
        engine.rename(&name("app"), &name("db")).map(drop),
        engine.start(&name("app")).map(drop),
        engine.remove_all(&[name("app")], Removal::default()),
    ];
    for refused in refused {
        told(&refused.expect_err("its row is older").chain());
    }
    let report = scrub(engine).expect("a scrub");
    let guest = report
        .damage
        .iter()
        .find(|damage| damage.what == DamagedThing::GuestSidecar)
        .expect("found");
    assert_eq!(guest.outcome, DamageOutcome::Open, "{guest:?}");
    told(&guest.remedy);
}

/// A guest is brought back and runs; then a backup is put back from when it was removed.
pub fn an_older_catalog_collects_no_guest_that_was_brought_back() {
    let home = one_guest();
    let backup = tempfile::tempdir().expect("a directory");
    let engine = home.engine();
    let kept = engine.remove(&name("app"), Some(Duration::ZERO));
    kept.expect("trashed");
    drop(engine);
    back_up(&home.path(), backup.path());
    std::thread::sleep(Duration::from_millis(2));
    let engine = home.engine();
    engine.restore_guest(&name("app")).expect("brought back");
    engine.start(&name("app")).expect("started");
    drop(engine);
    put_back(backup.path(), &home.path());
    for now in [false, true] {
        let engine = home.engine();
        let subjects = engine.gc(now).expect("collected");
        let app = subjects.iter().find(|s| s.name == "app").expect("listed");
        assert!(
            !app.goes && app.reason.contains("stampo store rescan"),
            "{app:?}"
        );
    }
    let engine = home.engine();
    engine.rescan().expect("a rescan");
    let row = engine.guest_row(&name("app")).expect("a guest");
    assert_eq!(row.state, GuestState::Ready);
    assert!(matches!(engine.power(&row), Power::Running { .. }));
    drop(engine);
    assert_clean(&home.path(), "after a rescan of what was brought back");
}

/// Purges the only version, loses the catalog, and has `app` brought back from what is on disk.
fn purge_lose_and_rescan(home: &Home, engine: Engine) -> Engine {
    for verb in [Verb::Retire, Verb::Purge] {
        let changed = engine.change_version(&reference("web@1"), verb);
        changed.expect("nothing else needs it");
    }
    drop(engine);
    lose_catalog(&home.path());
    let engine = home.engine();
    let found = engine.rescan().expect("a rescan");
    let app = vec!["app".to_owned()];
    assert_eq!((found.guests, found.refused), (app, vec![]));
    engine
}

/// A full clone outlives its version; after the loss of the catalog both are known again.
pub fn a_full_clone_of_a_purged_version_comes_back() {
    let home = Home::published();
    let engine = home.engine();
    let full = CloneSpec {
        kind: Some(CloneKind::Full),
        ..spec()
    };
    clone(&engine, "app", &full).expect("cloned");
    let engine = purge_lose_and_rescan(&home, engine);
    let row = engine.version_row(&reference("web@1")).expect("a version");
    assert_eq!((row.state, row.image), (State::Purged, None));
    drop(engine);
    assert_clean(&home.path(), "a full clone of a purged version");
}

/// A linked clone whose version was purged, which it may be while another version has its image.
pub fn a_linked_clone_of_a_purged_version_comes_back() {
    let home = Home::published();
    let engine = home.engine();
    clone(&engine, "app", &spec()).expect("cloned");
    let app = engine.guest_row(&name("app")).expect("a guest");
    // Sealing the same bytes later gives other times in them, so they are taken in as they are.
    let image = home.path().join("images").join(app.image.as_str());
    let twin = import(&engine, "web", &image.join("disk.raw")).expect("imported");
    assert_eq!(Some(&app.image), twin.image.as_ref(), "the same bytes");
    let engine = purge_lose_and_rescan(&home, engine);
    let purged = engine.change_version(&reference("web@2"), Verb::Purge);
    purged.expect_err("app reads its image");
    drop(engine);
    assert_clean(&home.path(), "a linked clone of a purged version");
}
