//! Leases that have rotted, guests that are slow to be warned, and commands that were killed before
//! their guest was made.

use crate::cases::{Case, ready, state};
use crate::clean::assert_clean;
use crate::crash::run_child;
use crate::home::*;
use crate::pools::{agreed, all, leased};
use crate::rot::scrub;
use crate::rotten_rows::rot;
use libtest_mimic::Trial;
use stampo_core::lease::{Ending, Span};
use stampo_core::names::NamePattern;
use stampo_driver::sim::{Manners, SimDriver};
use stampo_engine::{Agreed, DamageOutcome, Engine, EngineError, Faults, Unwatched};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("a_lease_that_has_rotted_ends_nothing", rotten),
        trial("a_lease_that_has_rotted_is_taken_away", rotten_and_scrubbed),
        trial("a_guest_that_is_slow_to_be_warned_delays_no_other", slow),
        trial("a_clone_whose_client_was_killed_is_not_finished", killed),
    ]
}

/// What `killed` runs in a child: a clone that goes with its process.
pub const TIED: Case = Case {
    name: "clone_tied",
    prepare: Home::published,
    act: clone_tied,
    done: |engine| ready(engine).len() == 2,
};

fn clone_tied(engine: &Engine) -> Result<(), EngineError> {
    let hour = Agreed {
        tied: true,
        ..agreed(3600, Ending::Remove)
    };
    let pattern = NamePattern::new("run-{n}");
    let two = stampo_core::plan::CloneSpec {
        count: Some(2),
        ..spec()
    };
    let submitted = engine.submit_leased(&reference("web"), &pattern, &two, Some(hour));
    engine.clone_guests(submitted?.0.id, &Unwatched).map(drop)
}

/// What is wrong with its row, each in a way that would end the guest if it were believed.
const ROTTEN: [&str; 3] = [
    "until_ms = 1",
    "ending = 'semove', until_ms = 1",
    "tied_to = 'nobody'",
];

/// A home with `app`, whose lease is not over, and `other`, whose lease is.
fn two_leases() -> Home {
    let home = leased();
    let engine = home.engine();
    clone(&engine, "other", &spec()).expect("cloned");
    for (guest, seconds) in [("app", 3600), ("other", 0)] {
        let lease = agreed(seconds, Ending::Remove);
        engine.set_lease(&name(guest), lease).expect("a lease");
    }
    home
}

fn rot_app(home: &Home, change: &str) {
    let sql = format!("UPDATE leases SET {change} WHERE span_s = 3600");
    rot(&home.path(), "leases", &sql);
}

fn rotten() {
    for change in ROTTEN {
        let home = two_leases();
        rot_app(&home, change);
        let engine = home.engine();
        assert!(engine.needs_tending().expect("asked"));
        let failures = engine.tend_one().expect("tended").failures;
        let told = |why: &String| why.contains("damaged") && why.contains("stampo lease set app");
        assert!(failures.len() == 1 && told(&failures[0]), "{failures:?}");
        assert_eq!(ready(&engine), ["app"], "{change}: the other one ended");
        let leases = engine.leases().expect("read");
        assert_eq!(leases.right, []);
        assert_eq!(leases.damaged, [name("app")]);
        // One that is given anew counts.
        let now = agreed(0, Ending::Remove);
        engine.set_lease(&name("app"), now).expect("a lease");
        assert_eq!(engine.tend_one().expect("tended").failures, [""; 0]);
        assert!(ready(&engine).is_empty(), "{change}");
    }
}

/// A scrub takes no rotten end for right.
fn rotten_and_scrubbed() {
    for change in ROTTEN {
        let home = two_leases();
        rot_app(&home, change);
        let engine = home.engine();
        let report = scrub(&engine).expect("a scrub");
        let [damage] = &report.damage[..] else {
            panic!("{change}: {report:?}");
        };
        assert_eq!(damage.outcome, DamageOutcome::Kept, "{damage:?}");
        assert!(damage.why.contains("stampo lease set app"), "{damage:?}");
        assert_eq!(scrub(&engine).expect("a scrub").damage, []);
        assert_eq!(engine.tend_one().expect("tended").failures, [""; 0]);
        assert_eq!(ready(&engine), ["app"], "{change}");
        assert!(!engine.needs_tending().expect("asked"), "it has none");
    }
}

/// A guest without an agent is waited for, and nobody waits with it.
fn slow() {
    let home = leased();
    let engine = home.engine();
    let running = stampo_core::plan::CloneSpec {
        start: Some(true),
        ..spec()
    };
    let slow = clone(&engine, "slow", &running).expect("cloned").remove(0);
    let sim = SimDriver::open(&home.path().join("guests")).expect("a simulated driver");
    let deaf = Manners {
        agent: false,
        acpi: false,
    };
    sim.set_manners(slow.id, deaf).expect("steered");
    let hour = agreed(3600, Ending::Remove);
    let mut row = engine.set_lease(&slow.name, hour).expect("a lease");
    // Its end is near, and nobody was told.
    row.lease.until_ms -= Span::of_seconds(3540).ms();
    let put = |tx: &stampo_store::Tx<'_>| tx.put_lease(&row);
    engine.store().write(put).expect("written");
    let begun = Instant::now();
    let none = engine.tend_leases(0).expect("tended");
    assert!(none.warnings.is_empty() && none.failures.is_empty());
    assert_eq!(state(&engine, "app"), None, "its time was over");
    let one = engine.tend_leases(16).expect("tended");
    assert_eq!(one.warnings.len(), 1, "it is warned at the next look");
    assert_eq!(engine.tend_leases(16).expect("tended").warnings.len(), 0);
    assert!(begun.elapsed() < Duration::from_secs(5), "nobody waits");
    engine.say_in_guest(&one.warnings[0]);
    assert!(begun.elapsed() > Duration::from_secs(5), "but who says it");
}

/// Recovery takes the guests of a killed command away, and makes nothing of them before.
fn killed() {
    for at in ["clone.disk_ready", "clone.defined", "clone.verified"] {
        let home = (TIED.prepare)();
        let ended = run_child(TIED.name, &home.path(), at);
        assert!(!ended.success(), "{at}: {ended}");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = seen.clone();
        let faults = Faults::new(move |point| {
            record.lock().expect("nobody panics").push(point.to_owned());
        });
        let engine = open(&home.path(), faults);
        assert!(!all(&engine).is_empty(), "{at}: the guests were planned");
        let recovered = engine.recover().expect("recovered");
        assert_eq!(recovered.len(), 1, "{at}: {recovered:?}");
        assert_eq!(all(&engine), [], "{at}");
        let made: Vec<String> = seen.lock().expect("nobody panics").clone();
        assert!(
            made.iter().all(|point| !point.starts_with("clone.")),
            "{at}: {made:?}"
        );
        drop(engine);
        assert_clean(&home.path(), at);
    }
}
