//! Cases about guests that are brought part of the way, and guests that are paused.

use super::memory::{files, fork, frozen};
use super::{
    Fixture, Temper, assert_not_found, assert_not_running, define, graceful, paused_pid, pid,
    power, within,
};
use crate::{
    Driver, DriverError, Ensured, ExecRequest, GuestDefinition, Listening, Power, Readiness, Start,
    StopMethod, StoppedBy,
};
use stampo_core::ids::GuestId;
use stampo_core::network::Mac;
use std::time::Duration;

const DEPTHS: [Readiness; 2] = [Readiness::Spawned, Readiness::Loaded];

fn assert_unsupported<T: std::fmt::Debug>(what: &str, outcome: Result<T, DriverError>) {
    match outcome {
        Err(DriverError::Unsupported { .. }) => {}
        other => panic!("{what}: expected a refusal, got {other:?}"),
    }
}

fn prepared(driver: &dyn Driver, id: GuestId, readiness: Readiness) -> Ensured {
    let outcome = driver.ensure_prepared(id, readiness);
    outcome.unwrap_or_else(|error| panic!("{readiness:?}: {error}"))
}

pub(super) fn depths(place: &dyn Fixture) {
    let driver = place.open();
    let (_, dir, _) = frozen(place, &*driver);
    let before = files(&dir);
    for from in DEPTHS {
        for to in DEPTHS {
            let guest = fork(place, &*driver, &dir);
            assert_eq!(prepared(&*driver, guest.id, from), Ensured::Changed);
            let there = paused_pid(&*driver, guest.id);
            // Another process of ours finds it as far as it was brought.
            let other = place.open();
            let expected = match to > from {
                true => Ensured::Changed,
                false => Ensured::Unchanged,
            };
            assert_eq!(prepared(&*other, guest.id, to), expected, "{from:?} {to:?}");
            assert_eq!(prepared(&*driver, guest.id, to), Ensured::Unchanged);
            assert_eq!(paused_pid(&*other, guest.id), there, "the same process");
            assert_eq!(other.list().expect("listed"), [guest.id]);
            let went = other.ensure_running(guest.id).expect("it goes on");
            assert_eq!(went, Ensured::Changed);
            assert_eq!(pid(&*driver, guest.id), there, "from where it was");
            assert!(!place.links_are_up(guest.id), "nobody has plugged it in");
            let again = driver.ensure_running(guest.id).expect("it runs");
            assert_eq!(again, Ensured::Unchanged);
            driver.ensure_undefined(guest.id).expect("clean up");
        }
    }
    assert_eq!(files(&dir), before, "the image is as it was");
}

pub(super) fn refused(place: &dyn Fixture) {
    let driver = place.open();
    let unknown = place.guest(Temper::Deaf).id;
    assert_not_found(unknown, driver.ensure_prepared(unknown, Readiness::Loaded));
    assert_not_found(unknown, driver.ensure_paused(unknown));
    let ordinary = define(place, &*driver, Temper::Deaf);
    let (_, dir, _) = frozen(place, &*driver);
    let mut guest = fork(place, &*driver, &dir);
    for readiness in DEPTHS {
        let ready = |id| driver.ensure_prepared(id, readiness);
        assert_unsupported("one that boots", ready(ordinary.id));
        assert_eq!(power(&*driver, ordinary.id), Power::Stopped);
        driver.ensure_running(guest.id).expect("it resumes");
        let there = pid(&*driver, guest.id);
        assert_unsupported("one that runs", ready(guest.id));
        assert_eq!(pid(&*driver, guest.id), there);
        driver.ensure_paused(guest.id).expect("paused");
        assert_unsupported("one that ran", ready(guest.id));
        assert_eq!(paused_pid(&*driver, guest.id), there);
        driver
            .ensure_stopped(guest.id, StopMethod::Kill)
            .expect("it stops");
        assert_unsupported("a second start", ready(guest.id));
        assert_eq!(power(&*driver, guest.id), Power::Stopped);
        driver.ensure_undefined(guest.id).expect("forgotten");
        guest = fork(place, &*driver, &dir);
    }
    let mut unfit = guest.clone();
    unfit.hardware.cpus = 2;
    driver.ensure_defined(&unfit).expect("valid by itself");
    match driver.ensure_prepared(unfit.id, Readiness::Spawned) {
        Err(DriverError::Unfit { .. }) => {}
        other => panic!("another machine: {other:?}"),
    }
    assert_eq!(power(&*driver, unfit.id), Power::Stopped);
}

pub(super) fn unreachable(place: &dyn Fixture) {
    let driver = place.open();
    let (_, dir, _) = frozen(place, &*driver);
    for readiness in DEPTHS {
        let guest = fork(place, &*driver, &dir);
        prepared(&*driver, guest.id, readiness);
        assert_not_running(guest.id, driver.ensure_paused(guest.id));
        assert_all_refused(&*driver, guest.id);
        assert_not_running(guest.id, driver.set_links(guest.id, true));
        assert_unsupported("a fork", driver.ensure_frozen(guest.id));
        // Asked of a prepared guest, it fits: it was not used up.
        driver.check_resume(&guest).expect("it can be resumed");
        paused_pid(&*driver, guest.id);
        driver.ensure_undefined(guest.id).expect("clean up");
        assert_eq!(power(&*driver, guest.id), Power::Undefined);
    }
}

/// What needs a guest that runs refuses one that executes nothing, at once.
fn assert_all_refused(driver: &dyn Driver, id: GuestId) {
    let limit = Duration::from_secs(60);
    let request = ExecRequest {
        argv: vec!["/bin/true".to_owned()],
        input: Vec::new(),
        timeout: limit,
    };
    within(Duration::from_secs(10), || {
        assert_not_running(id, driver.listening(id));
        assert_not_running(id, driver.agent_ping(id, limit));
        assert_not_running(id, driver.agent_exec(id, &request));
        let hello = stampo_agent_protocol::Request::Hello;
        assert_not_running(id, driver.ask_agent(id, &hello, limit));
    });
}

pub(super) fn ended(place: &dyn Fixture) {
    let driver = place.open();
    let (_, dir, _) = frozen(place, &*driver);
    for readiness in DEPTHS {
        let guest = fork(place, &*driver, &dir);
        prepared(&*driver, guest.id, readiness);
        // Nothing of it runs that could be asked to end.
        let stopped = within(Duration::from_secs(5), || {
            driver.ensure_stopped(guest.id, graceful())
        });
        assert_eq!(stopped.expect("it stops"), StoppedBy::Kill);
        assert_eq!(power(&*driver, guest.id), Power::Stopped);
        prepared(&*driver, guest.id, readiness);
        place.crash(guest.id);
        await_stopped(&*driver, guest.id);
        driver.check_resume(&guest).expect("it was not used up");
        prepared(&*driver, guest.id, readiness);
        driver.ensure_running(guest.id).expect("it goes on");
        place.crash(guest.id);
        await_stopped(&*driver, guest.id);
        assert_unsupported("it ran", driver.ensure_running(guest.id));
        assert_unsupported("it ran", driver.ensure_prepared(guest.id, readiness));
        driver.ensure_undefined(guest.id).expect("clean up");
    }
}

fn await_stopped(driver: &dyn Driver, id: GuestId) {
    within(Duration::from_secs(10), || {
        while power(driver, id) != Power::Stopped {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
}

pub(super) fn redefined(place: &dyn Fixture) {
    let driver = place.open();
    let (_, dir, _) = frozen(place, &*driver);
    for readiness in DEPTHS {
        let mut guest = fork(place, &*driver, &dir);
        prepared(&*driver, guest.id, readiness);
        let mut there = paused_pid(&*driver, guest.id);
        let define = |guest: &GuestDefinition| {
            let ensured = driver.ensure_defined(guest).expect("redefined");
            assert_eq!(ensured, Ensured::Changed);
        };
        guest.name = "another-name".to_owned();
        define(&guest);
        let again = prepared(&*driver, guest.id, readiness);
        assert_eq!(again, Ensured::Unchanged, "a name is only shown");
        guest.nics[0].mac = Mac::from_random([9, 9, 9, readiness as u8]);
        define(&guest);
        assert_eq!(
            prepared(&*driver, guest.id, readiness),
            Ensured::Changed,
            "what was prepared has another address"
        );
        assert_ne!(paused_pid(&*driver, guest.id), there);
        there = paused_pid(&*driver, guest.id);
        guest.start = Start::BootResumed;
        define(&guest);
        driver.ensure_running(guest.id).expect("it boots");
        assert_ne!(pid(&*driver, guest.id), there);
        driver.ensure_undefined(guest.id).expect("clean up");
    }
}

pub(super) fn two_at_once(place: &dyn Fixture) {
    let driver = place.open();
    let (_, dir, _) = frozen(place, &*driver);
    let guest = fork(place, &*driver, &dir);
    let drivers = [place.open(), place.open()];
    let done = std::thread::scope(|scope| {
        let starts = drivers
            .each_ref()
            .map(|driver| scope.spawn(|| driver.ensure_prepared(guest.id, Readiness::Loaded)));
        starts.map(|start| start.join().expect("no panic").expect("prepared"))
    });
    let changed = done.iter().filter(|done| **done == Ensured::Changed);
    assert_eq!(changed.count(), 1);
    let done = std::thread::scope(|scope| {
        let starts = drivers
            .each_ref()
            .map(|driver| scope.spawn(|| driver.ensure_running(guest.id)));
        starts.map(|start| start.join().expect("no panic").expect("it goes on"))
    });
    let changed = done.iter().filter(|done| **done == Ensured::Changed);
    assert_eq!(changed.count(), 1);
    driver.ensure_undefined(guest.id).expect("clean up");
}

pub(super) fn paused(place: &dyn Fixture) {
    let driver = place.open();
    let (_, dir, _) = frozen(place, &*driver);
    let ordinary = define(place, &*driver, Temper::Deaf);
    for guest in [ordinary, fork(place, &*driver, &dir)] {
        assert_not_running(guest.id, driver.ensure_paused(guest.id));
        driver.ensure_running(guest.id).expect("it starts");
        let there = pid(&*driver, guest.id);
        for _ in 0..2 {
            let pause = || driver.ensure_paused(guest.id).expect("paused");
            assert_eq!(pause(), Ensured::Changed);
            assert_eq!(pause(), Ensured::Unchanged);
            assert_eq!(paused_pid(&*place.open(), guest.id), there);
            assert_all_refused(&*driver, guest.id);
            driver.set_links(guest.id, true).expect("plugged in");
            let other = place.open();
            let went = other.ensure_running(guest.id).expect("it goes on");
            assert_eq!(went, Ensured::Changed);
            assert_eq!(pid(&*driver, guest.id), there);
            // One that just boots may not have found its interfaces yet.
            if guest.start != Start::Boot {
                assert!(place.links_are_up(guest.id), "they stay as they were set");
            }
            let again = driver.ensure_running(guest.id).expect("it runs");
            assert_eq!(again, Ensured::Unchanged);
            let nobody = Listening {
                own: false,
                qemu: false,
            };
            assert_eq!(driver.listening(guest.id).expect("it runs"), nobody);
        }
        driver.ensure_paused(guest.id).expect("paused");
        assert_eq!(
            driver.ensure_undefined(guest.id).expect("forgotten"),
            Ensured::Changed
        );
        assert_eq!(power(&*driver, guest.id), Power::Undefined);
    }
}

pub(super) fn paused_and_stopped(place: &dyn Fixture) {
    let driver = place.open();
    let polite = define(place, &*driver, Temper::Polite);
    for (method, by) in [
        (graceful(), StoppedBy::Acpi),
        (StopMethod::Kill, StoppedBy::Kill),
    ] {
        driver.ensure_running(polite.id).expect("it starts");
        driver.ensure_paused(polite.id).expect("paused");
        let stopped = driver.ensure_stopped(polite.id, method);
        assert_eq!(stopped.expect("it stops"), by);
        assert_eq!(power(&*driver, polite.id), Power::Stopped);
    }
    driver.ensure_running(polite.id).expect("it starts again");
    pid(&*driver, polite.id);
    driver.ensure_undefined(polite.id).expect("clean up");
}
