//! One suite for all drivers: the rules of the [`Driver`] trait, each as a case.
//!
//! A driver's tests give a [`Fixture`] and call [`run`]; a failed rule panics with its name. Cases
//! need no operating system in the guest. What only a guest with an agent can show is tested on
//! real guests elsewhere.

mod definition;
mod memory;
mod power;
mod prepared;
mod sharing;

use crate::{Driver, DriverError, GuestDefinition, Power, StopMethod};
use stampo_core::ids::GuestId;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How a fixture's guest takes a request to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temper {
    /// It obeys the power button.
    Polite,
    /// It hears nothing, and has no agent.
    Deaf,
}

/// A place where a driver can be tested: one guests' directory, empty at first.
pub trait Fixture {
    /// A driver on this place's directory; each call gives a new one, as a new process would have.
    fn open(&self) -> Box<dyn Driver>;

    /// A guest that can be defined and started, and is not yet. Each call gives another one.
    fn guest(&self, temper: Temper) -> GuestDefinition;

    /// Tells the place how the guest behaves; called after it was defined.
    fn settle(&self, _id: GuestId, _temper: Temper) {}

    /// Ends a running guest from outside, as a crash would.
    fn crash(&self, id: GuestId);

    /// Where a memory image can be made; nothing is there yet. Each call gives another one.
    fn image_dir(&self) -> PathBuf;

    /// Whether the cable of the running guest's first interface is plugged in, as its guest sees
    /// it.
    fn links_are_up(&self, id: GuestId) -> bool;
}

/// A rule, and the case that checks it.
type Case = (&'static str, fn(&dyn Fixture));

const CASES: &[Case] = &[
    (
        "an unknown guest is undefined, and nothing can be done with it",
        definition::unknown,
    ),
    ("defining twice changes once", definition::twice),
    (
        "a definition is kept as given and can be replaced",
        definition::replaced,
    ),
    (
        "a guest's directory is the one named by its id",
        definition::directory,
    ),
    ("starting twice starts once", power::start_twice),
    ("killing twice kills once", power::kill_twice),
    (
        "a polite guest is stopped by the power button",
        power::polite,
    ),
    (
        "a deaf guest is killed in the end, within the limits",
        power::deaf,
    ),
    (
        "a guest that ended by itself is stopped and starts again",
        power::crashed,
    ),
    (
        "a new definition of a running guest waits for the next start",
        power::redefined,
    ),
    ("a silent agent is given up in time", power::silent_agent),
    (
        "undefining kills, forgets, and may be repeated",
        power::undefined,
    ),
    (
        "a taken port is named, and free again later",
        sharing::port_of_a_guest,
    ),
    (
        "a port of another program is named",
        sharing::port_of_a_program,
    ),
    ("a reopened driver finds running guests", sharing::reopened),
    (
        "two drivers starting one guest start it once",
        sharing::two_starts,
    ),
    ("two drivers may stop one guest at once", sharing::two_stops),
    (
        "only a running guest that was started for it is frozen",
        memory::not_frozen,
    ),
    (
        "freezing twice freezes once, and the guest never runs on",
        memory::freeze_twice,
    ),
    (
        "many guests start from one memory image, which stays as it was",
        memory::resume_many,
    ),
    (
        "a resumed guest's links are down until they are plugged in",
        memory::links,
    ),
    (
        "another machine than the frozen one is refused by name",
        memory::unfit,
    ),
    (
        "a memory image that is not whole is refused",
        memory::damaged,
    ),
    (
        "a memory image is good for one start of a guest",
        memory::resume_once,
    ),
    ("what can't be copied is not frozen", memory::not_copied),
    (
        "a guest is prepared in two depths, and goes on from either",
        prepared::depths,
    ),
    (
        "only a stopped guest that resumes is prepared",
        prepared::refused,
    ),
    (
        "a prepared guest has executed nothing, and none of it can be reached",
        prepared::unreachable,
    ),
    (
        "a prepared guest ends at once, and can be prepared again",
        prepared::ended,
    ),
    (
        "a prepared guest that was defined anew is begun anew",
        prepared::redefined,
    ),
    (
        "a guest that is started once by two is prepared once",
        prepared::two_at_once,
    ),
    (
        "a paused guest goes on where it was, in the same process",
        prepared::paused,
    ),
    (
        "a paused guest is stopped as a running one is",
        prepared::paused_and_stopped,
    ),
];

/// Runs every case, each in a place of its own; panics at the first rule that is broken.
pub fn run(make: &dyn Fn() -> Box<dyn Fixture>) {
    for (rule, case) in CASES {
        eprintln!("conformance: {rule}");
        case(make().as_ref());
    }
}

/// Defines the guest and settles its temper.
fn define(place: &dyn Fixture, driver: &dyn Driver, temper: Temper) -> GuestDefinition {
    let guest = place.guest(temper);
    driver
        .ensure_defined(&guest)
        .expect("a valid definition is taken");
    place.settle(guest.id, temper);
    guest
}

/// Limits that keep a test short and are still long enough for a slow machine's guest to react.
fn graceful() -> StopMethod {
    StopMethod::Graceful {
        agent: Duration::from_millis(500),
        acpi: Duration::from_secs(10),
    }
}

fn power(driver: &dyn Driver, id: GuestId) -> Power {
    driver.observe(id).expect("observe answers")
}

/// The process id of a guest that must be running.
fn pid(driver: &dyn Driver, id: GuestId) -> u32 {
    match power(driver, id) {
        Power::Running { pid, .. } => pid,
        other => panic!("the guest must be running, but is {other:?}"),
    }
}

/// The process id of a guest whose process must be there and execute nothing.
fn paused_pid(driver: &dyn Driver, id: GuestId) -> u32 {
    match power(driver, id) {
        Power::Paused { pid, .. } => pid,
        other => panic!("the guest must be paused, but is {other:?}"),
    }
}

/// Asserts that `act` takes at most `limit`.
fn within<T>(limit: Duration, act: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let done = act();
    assert!(
        started.elapsed() <= limit,
        "took {:?}, allowed {limit:?}",
        started.elapsed()
    );
    done
}

fn assert_not_found<T>(id: GuestId, outcome: Result<T, DriverError>) {
    match outcome {
        Err(DriverError::NotFound(named)) => assert_eq!(named, id),
        Err(other) => panic!("expected 'not found', got {other:?}"),
        Ok(_) => panic!("expected 'not found', got success"),
    }
}

fn assert_not_running<T>(id: GuestId, outcome: Result<T, DriverError>) {
    match outcome {
        Err(DriverError::NotRunning(named)) => assert_eq!(named, id),
        Err(other) => panic!("expected 'not running', got {other:?}"),
        Ok(_) => panic!("expected 'not running', got success"),
    }
}
