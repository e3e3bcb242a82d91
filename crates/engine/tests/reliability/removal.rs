//! What `rm` may take away: without force nothing that runs, or of which nothing tells; and always
//! what recovery can't finish.

use crate::clean::assert_clean;
use crate::home::*;
use crate::instant::sim;
use stampo_core::guest::GuestState;
use stampo_core::plan::CloneSpec;
use stampo_driver::Power;
use stampo_driver::sim::{Failure, Step, When};
use stampo_engine::{Engine, EngineError, Faults, Removal};
use stampo_store::{OperationState, StoreError};
use std::sync::atomic::{AtomicBool, Ordering};

/// `app-1` to `app-3`, none of which runs.
fn three() -> Home {
    let home = Home::published();
    let spec = CloneSpec {
        count: Some(3),
        ..spec()
    };
    clone(&home.engine(), "app-{n}", &spec).expect("clones");
    home
}

fn remove(engine: &Engine, removal: Removal) -> Result<(), EngineError> {
    engine.remove_all(&["app-1", "app-2", "app-3"].map(name), removal)
}

fn power(engine: &Engine, guest: &str) -> Power {
    engine.power(&engine.guest_row(&name(guest)).expect("a guest"))
}

/// Nothing of the three has changed.
fn assert_all_there(home: &Home, what: &str) {
    let engine = home.engine();
    for guest in ["app-1", "app-2", "app-3"] {
        let row = engine.guest_row(&name(guest)).expect(guest);
        assert_eq!(row.state, GuestState::Ready, "{what}: {guest}");
        assert_eq!(row.operation, None, "{what}: {guest} is held");
    }
    drop(engine);
    assert_clean(&home.path(), what);
}

const KEPT: [Option<std::time::Duration>; 2] = [None, Some(std::time::Duration::from_secs(3600))];

/// All or none, whichever of them runs, and whether they go for good.
pub fn of_several_guests_none_goes_when_one_runs() {
    for (keep, running) in KEPT.into_iter().zip(["app-2", "app-3"]) {
        let home = three();
        let engine = home.engine();
        engine.start(&name(running)).expect("started");
        let stopped = Removal { keep, force: false };
        let error = remove(&engine, stopped).expect_err("one runs");
        assert!(error.chain().contains("it runs"), "{}", error.chain());
        assert!(matches!(power(&engine, running), Power::Running { .. }));
        drop(engine);
        assert_all_there(&home, running);
        let engine = home.engine();
        remove(&engine, Removal { keep, force: true }).expect("with force all go");
        drop(engine);
        assert_clean(&home.path(), "forced");
    }
}

/// Another process starts one when the removal begins; and, once they are held, can't.
pub fn a_guest_that_is_started_during_a_removal_is_not_killed() {
    for (point, starts) in [("remove.begun", true), ("remove.claimed", false)] {
        let home = three();
        let path = home.path();
        let faults = Faults::new(move |reached| {
            if reached == point {
                let started = recovered(&path).start(&name("app-1"));
                assert_eq!(started.is_ok(), starts, "at {point}");
            }
        });
        let result = remove(&open(&home.path(), faults), Removal::default());
        assert_eq!(result.is_err(), starts, "at {point}");
        if starts {
            let running = power(&home.engine(), "app-1");
            assert!(matches!(running, Power::Running { .. }), "{running:?}");
            assert_all_there(&home, point);
        }
        assert_clean(&home.path(), point);
    }
}

/// *Unknown* is not *stopped*.
pub fn a_guest_that_may_run_goes_with_force_only() {
    let home = three();
    let engine = home.engine();
    let id = engine.guest_row(&name("app-2")).expect("a guest").id;
    engine.start(&name("app-2")).expect("started");
    sim(&home).blind(id, Some("no answer")).expect("blinded");
    let error = remove(&engine, Removal::default()).expect_err("it may run");
    assert!(error.chain().contains("it may run: no answer"));
    sim(&home).blind(id, None).expect("sight again");
    assert!(matches!(power(&engine, "app-2"), Power::Running { .. }));
    drop(engine);
    assert_all_there(&home, "out of sight");
}

/// A home whose `app-1` is lost to the driver, which will fail to define it once more.
fn lost() -> (Home, Engine) {
    let home = three();
    let engine = home.engine();
    let id = engine.guest_row(&name("app-1")).expect("a guest").id;
    engine.driver().ensure_undefined(id).expect("undefined");
    refuse_to_define(&home);
    (home, engine)
}

fn refuse_to_define(home: &Home) {
    let order = sim(home).fail_at(Step::Define, When::Before, Failure::Error);
    order.expect("an order");
}

/// A guest that can't be defined is in nobody's way, and nobody says that it does not run.
pub fn a_guest_that_can_not_be_defined_is_unknown_and_free() {
    let (home, engine) = lost();
    let Power::Unknown { reason } = power(&engine, "app-1") else {
        panic!("nothing tells whether it runs");
    };
    assert!(reason.contains("ordered to fail"), "{reason}");
    refuse_to_define(&home);
    let error = remove(&engine, Removal::default()).expect_err("it may run");
    assert!(error.chain().contains("it may run"), "{}", error.chain());
    let running = engine.store().read(|tx| tx.running_operations());
    let running: Vec<_> = running.expect("rows");
    assert!(running.is_empty(), "it is held by {running:?}");
    drop(engine);
    assert_eq!(power(&home.engine(), "app-1"), Power::Stopped);
    assert_all_there(&home, "defined after all");
}

/// The driver fails twice: in the command, and in the recovery of the next one.
pub fn what_recovery_can_not_finish_can_be_removed() {
    let home = three();
    let engine = home.engine();
    refuse_to_define(&home);
    let renamed = engine.rename(&name("app-1"), &name("db"));
    renamed.expect_err("it can't be settled");
    refuse_to_define(&home);
    drop(engine);
    let engine = open(&home.path(), Faults::default());
    let notes = engine.recover().expect("recovery");
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(notes[0].state, OperationState::Running, "{notes:?}");
    let error = engine.start(&name("db")).expect_err("it is not settled");
    let said = error.chain();
    let is_told = said.contains("recovery can't finish it") && said.contains("ordered to fail");
    assert!(is_told && said.contains("stampo rm db"), "{said}");
    engine
        .remove_all(&[name("db")], Removal::default())
        .expect("removed");
    drop(engine);
    assert_clean(&home.path(), "taken over");
}

/// The clone's own failure is told, and what can't be removed yet is removed by the next command.
pub fn a_clone_that_can_not_be_destroyed_yet_is_not_forgotten() {
    let home = Home::published();
    let fails = AtomicBool::new(true);
    let faults = Faults::new(move |point| {
        assert_ne!(point, "clone.defined", "the clone fails");
        if point == "destroy.undefined" && fails.swap(false, Ordering::SeqCst) {
            panic!("the directory stays");
        }
    });
    let engine = open(&home.path(), faults);
    let error = clone(&engine, "app", &spec()).expect_err("it fails");
    let said = error.chain();
    assert!(said.contains("the clone fails"), "{said}");
    assert!(said.contains("the directory stays"), "{said}");
    let row = engine.guest_row(&name("app")).expect("it is there still");
    assert_eq!(row.state, GuestState::Destroying);
    assert_eq!(row.plan.personalisation, None, "its secrets stay");
    let running = engine.store().read(|tx| tx.running_operations());
    let running: Vec<_> = running.expect("rows");
    assert_eq!(running.len(), 1, "nobody goes on with it");
    drop(engine);
    drop(home.engine());
    assert_clean(&home.path(), "the next command");
}

/// As older versions of stampo left some.
pub fn a_guest_whose_removal_was_given_up_is_collected() {
    let home = three();
    let engine = home.engine();
    let mut row = engine.guest_row(&name("app-2")).expect("a guest");
    row.state = GuestState::Destroying;
    let left: Result<_, StoreError> = engine.store().write(|tx| tx.update_guest(&row));
    left.expect("a row");
    let subjects = engine.gc(false).expect("a collection");
    let went: Vec<_> = subjects.iter().filter(|subject| subject.goes).collect();
    assert_eq!(went.len(), 1, "{went:?}");
    assert_eq!(went[0].name, "app-2");
    drop(engine);
    assert_clean(&home.path(), "collected");
}
