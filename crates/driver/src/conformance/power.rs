//! Cases about starting and stopping, in one process.

use super::{Fixture, Temper, define, graceful, pid, power, within};
use crate::{DriverError, Ensured, Listening, Power, StopMethod, StoppedBy};
use stampo_agent_protocol::Request;
use stampo_core::size::ByteSize;
use std::time::{Duration, Instant};

pub(super) fn start_twice(place: &dyn Fixture) {
    let driver = place.open();
    let id = define(place, &*driver, Temper::Deaf).id;
    assert_eq!(driver.ensure_running(id).expect("first"), Ensured::Changed);
    let first = pid(&*driver, id);
    assert_eq!(
        driver.ensure_running(id).expect("second"),
        Ensured::Unchanged
    );
    assert_eq!(
        pid(&*driver, id),
        first,
        "the second start must not start another process"
    );
    assert!(
        driver
            .console_log(id)
            .expect("a running guest has a log")
            .exists()
    );
    driver.ensure_undefined(id).expect("clean up");
}

pub(super) fn kill_twice(place: &dyn Fixture) {
    let driver = place.open();
    let id = define(place, &*driver, Temper::Polite).id;
    driver.ensure_running(id).expect("it starts");
    assert_eq!(
        driver.ensure_stopped(id, StopMethod::Kill).expect("first"),
        StoppedBy::Kill
    );
    assert_eq!(power(&*driver, id), Power::Stopped);
    assert_eq!(
        driver.ensure_stopped(id, StopMethod::Kill).expect("second"),
        StoppedBy::Already
    );
    assert_eq!(
        driver.ensure_running(id).expect("it starts again"),
        Ensured::Changed
    );
    driver.ensure_undefined(id).expect("clean up");
}

pub(super) fn polite(place: &dyn Fixture) {
    let driver = place.open();
    let id = define(place, &*driver, Temper::Polite).id;
    driver.ensure_running(id).expect("it starts");
    // The guest needs a moment until it listens; a press of the button before that is lost, and
    // a driver that presses once would then have to kill.
    let stopped = driver.ensure_stopped(id, graceful()).expect("it stops");
    assert_eq!(stopped, StoppedBy::Acpi);
    assert_eq!(power(&*driver, id), Power::Stopped);
    assert_eq!(
        driver.ensure_stopped(id, graceful()).expect("again"),
        StoppedBy::Already
    );
}

pub(super) fn deaf(place: &dyn Fixture) {
    let driver = place.open();
    let id = define(place, &*driver, Temper::Deaf).id;
    driver.ensure_running(id).expect("it starts");
    let limits = StopMethod::Graceful {
        agent: Duration::from_millis(300),
        acpi: Duration::from_millis(700),
    };
    let stopped = within(Duration::from_secs(8), || {
        driver.ensure_stopped(id, limits).expect("it stops")
    });
    assert_eq!(stopped, StoppedBy::Kill);
    assert_eq!(power(&*driver, id), Power::Stopped);
}

pub(super) fn crashed(place: &dyn Fixture) {
    let driver = place.open();
    let id = define(place, &*driver, Temper::Deaf).id;
    driver.ensure_running(id).expect("it starts");
    place.crash(id);
    let started = Instant::now();
    while power(&*driver, id) != Power::Stopped {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "a crashed guest must be seen as stopped"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(
        driver
            .ensure_stopped(id, StopMethod::Kill)
            .expect("stopping it"),
        StoppedBy::Already
    );
    assert_eq!(
        driver.ensure_running(id).expect("starting it again"),
        Ensured::Changed
    );
    driver.ensure_undefined(id).expect("clean up");
}

pub(super) fn redefined(place: &dyn Fixture) {
    let driver = place.open();
    let mut guest = define(place, &*driver, Temper::Deaf);
    driver.ensure_running(guest.id).expect("it starts");
    let first = pid(&*driver, guest.id);
    guest.hardware.memory = ByteSize::mib(96);
    assert_eq!(
        driver.ensure_defined(&guest).expect("redefining"),
        Ensured::Changed
    );
    assert_eq!(
        pid(&*driver, guest.id),
        first,
        "redefining must not touch the running guest"
    );
    assert_eq!(
        driver.ensure_running(guest.id).expect("it still runs"),
        Ensured::Unchanged
    );
    assert_eq!(driver.definition(guest.id).expect("the new one"), guest);
    driver
        .ensure_stopped(guest.id, StopMethod::Kill)
        .expect("it stops");
    driver
        .ensure_running(guest.id)
        .expect("it starts with the new definition");
    driver.ensure_undefined(guest.id).expect("clean up");
}

pub(super) fn silent_agent(place: &dyn Fixture) {
    let driver = place.open();
    let id = define(place, &*driver, Temper::Deaf).id;
    driver.ensure_running(id).expect("it starts");
    let limit = Duration::from_millis(600);
    match within(Duration::from_secs(5), || driver.agent_ping(id, limit)) {
        Err(DriverError::AgentSilent { guest, waited }) => {
            assert_eq!(guest, id);
            assert_eq!(waited, limit);
        }
        other => panic!("expected a silent agent, got {other:?}"),
    }
    let nobody = Listening {
        own: false,
        qemu: false,
    };
    assert_eq!(driver.listening(id).expect("the machine tells"), nobody);
    let asked = within(Duration::from_secs(5), || {
        driver.ask_agent(id, &Request::Hello, limit)
    });
    match asked {
        Err(DriverError::AgentSilent { waited, .. }) => assert_eq!(waited, limit),
        other => panic!("expected a silent agent, got {other:?}"),
    }
    driver.ensure_undefined(id).expect("clean up");
}

pub(super) fn undefined(place: &dyn Fixture) {
    let driver = place.open();
    let guest = define(place, &*driver, Temper::Deaf);
    driver.ensure_running(guest.id).expect("it starts");
    assert_eq!(
        driver.ensure_undefined(guest.id).expect("first"),
        Ensured::Changed
    );
    assert_eq!(power(&*driver, guest.id), Power::Undefined);
    assert_eq!(
        driver.ensure_undefined(guest.id).expect("second"),
        Ensured::Unchanged
    );
    assert_eq!(driver.list().expect("list answers"), []);
    assert_eq!(
        driver.ensure_defined(&guest).expect("it may come back"),
        Ensured::Changed
    );
    assert_eq!(power(&*driver, guest.id), Power::Stopped);
}
