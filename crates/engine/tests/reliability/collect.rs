//! What others do while a collection runs: it has judged the guests, and nothing is claimed yet.

use crate::clean::assert_clean;
use crate::home::*;
use stampo_core::plan::CloneSpec;
use stampo_driver::Power;
use stampo_engine::{Engine, Faults, Subject};
use std::path::Path;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// Three guests, of which two are trashed and `app-3` runs.
fn two_trashed() -> Home {
    let home = Home::published();
    let engine = home.engine();
    let three = CloneSpec {
        count: Some(3),
        ..spec()
    };
    clone(&engine, "app-{n}", &three).expect("clones");
    engine.start(&name("app-3")).expect("started");
    for trashed in ["app-1", "app-2"] {
        engine.remove(&name(trashed), Some(HOUR)).expect("trashed");
    }
    home
}

/// Collects everything, with `act` in the middle: what became of `app-2`.
fn collect_while(home: &Home, act: fn(&Engine)) -> Subject {
    let path = home.path();
    let faults = Faults::new(move |point| {
        if point == "gc.judged" {
            act(&recovered(&path));
        }
    });
    let subjects = open(&home.path(), faults).gc(true).expect("a collection");
    let found = |wanted: &str| subjects.iter().find(|subject| subject.name == wanted);
    assert!(found("app-1").expect("judged").goes, "{subjects:?}");
    assert!(!found("app-3").expect("judged").goes, "{subjects:?}");
    found("app-2").expect("judged").clone()
}

fn assert_runs(home: &Path, guest: &str) {
    let engine = recovered(home);
    let row = engine.guest_row(&name(guest)).expect("it is there");
    let power = engine.power(&row);
    assert!(matches!(power, Power::Running { .. }), "{guest}: {power:?}");
    drop(engine);
    assert_clean(home, guest);
}

/// It is judged again when it is claimed.
pub fn a_guest_that_is_brought_back_during_a_collection_stays() {
    let home = two_trashed();
    let app_2 = collect_while(&home, |engine| {
        engine.restore_guest(&name("app-2")).expect("back");
        engine.start(&name("app-2")).expect("started");
    });
    assert!(!app_2.goes && app_2.reason.ends_with("by now it is ready"));
    assert_runs(&home.path(), "app-2");
}

/// A guest is its id and not its name.
pub fn a_new_guest_of_the_name_of_a_collected_one_stays() {
    let home = two_trashed();
    let app_2 = collect_while(&home, |engine| {
        engine.remove(&name("app-2"), None).expect("removed");
        clone(engine, "app-2", &spec()).expect("cloned");
        engine.start(&name("app-2")).expect("started");
    });
    assert!(!app_2.goes && app_2.reason.contains("find guest app-2"));
    assert_runs(&home.path(), "app-2");
}

/// Even one that is trashed as well.
pub fn a_new_guest_that_is_trashed_too_stays_for_its_own_time() {
    let home = two_trashed();
    let app_2 = collect_while(&home, |engine| {
        engine.remove(&name("app-2"), None).expect("removed");
        clone(engine, "app-2", &spec()).expect("cloned");
        engine.remove(&name("app-2"), Some(HOUR)).expect("trashed");
    });
    assert!(!app_2.goes, "{app_2:?}");
    let back = home.engine().restore_guest(&name("app-2"));
    back.expect("it can be brought back");
    assert_clean(&home.path(), "brought back");
}

/// As an older catalog has it that was put back: trashed, and the guest runs.
pub fn a_trashed_guest_that_runs_is_not_collected() {
    let home = two_trashed();
    let engine = home.engine();
    let row = engine.guest_row(&name("app-2")).expect("a guest");
    engine.driver().ensure_running(row.id).expect("it runs");
    let subjects = engine.gc(true).expect("a collection");
    let app_2 = subjects.iter().find(|subject| subject.name == "app-2");
    let app_2 = app_2.expect("judged");
    assert!(!app_2.goes && app_2.reason.contains("it runs"), "{app_2:?}");
    engine.restore_guest(&name("app-2")).expect("brought back");
    drop(engine);
    assert_runs(&home.path(), "app-2");
}
