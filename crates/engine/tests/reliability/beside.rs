//! Commands that look at many guests, while another process removes one of them.

use crate::clean::assert_clean;
use crate::home::*;
use stampo_core::plan::CloneSpec;
use stampo_driver::sim::{Failure, SimDriver, Step, When};
use stampo_engine::{Engine, EngineError, Faults};

/// A home with `app-1` and `app-2`.
fn two() -> Home {
    let home = Home::published();
    let spec = CloneSpec {
        count: Some(2),
        ..spec()
    };
    clone(&home.engine(), "app-{n}", &spec).expect("clones");
    home
}

/// An engine whose other process removes `app-1` at this point.
fn while_one_goes(home: &Home, at: &'static str) -> Engine {
    let path = home.path();
    let faults = Faults::new(move |point| {
        if point == at {
            // It may be gone already: some points are passed for each guest.
            drop(recovered(&path).remove(&name("app-1"), None));
        }
    });
    open(&home.path(), faults)
}

pub fn the_passports_of_all_are_those_of_the_guests_that_stay() {
    let home = two();
    let engine = while_one_goes(&home, "passport.listed");
    let all = engine.passports(&[]).expect("of the other one");
    let names: Vec<_> = all.iter().map(|passport| passport.guest.as_str()).collect();
    assert_eq!(names, ["app-2"]);
    drop(engine);
    assert_clean(&home.path(), "passports");
    // Of one that was asked for by its name it is an error.
    let home = two();
    let engine = while_one_goes(&home, "passport.listed");
    let named = engine.passports(&["app-1", "app-2"].map(name));
    named.expect_err("it is gone");
}

pub fn a_guest_that_is_removed_during_a_rescan_does_not_come_back() {
    let home = two();
    let engine = while_one_goes(&home, "rescan.read");
    let found = engine.rescan().expect("a rescan");
    assert_eq!(found.guests, [""; 0]);
    assert_eq!(found.refused, []);
    let gone = engine.guest_row(&name("app-1"));
    assert!(matches!(gone, Err(EngineError::NotFound { .. })));
    drop(engine);
    assert_clean(&home.path(), "rescan");
}

/// It is in the catalog, so it was brought back; it can't run yet, and that is told.
pub fn a_guest_that_a_rescan_can_not_define_is_brought_back_with_a_warning() {
    let home = two();
    let sim = SimDriver::open(&home.path().join("guests")).expect("a simulated driver");
    lose_catalog(&home.path());
    let engine = home.engine();
    sim.fail_at(Step::Define, When::Before, Failure::Error)
        .expect("an order");
    let found = engine.rescan().expect("a rescan");
    assert_eq!(found.guests.len(), 2, "{found:?}");
    assert_eq!(found.refused, [], "it is taken in");
    let [(guest, why)] = found.undefined.as_slice() else {
        panic!("{found:?}");
    };
    assert!(found.guests.contains(guest) && why.contains("ordered to fail"));
    drop(engine);
    assert_clean(&home.path(), "brought back");
}
