//! Cases about what is known of a guest that does not run.

use super::{Fixture, Temper, assert_not_found, assert_not_running, define, graceful, power};
use crate::{DriverError, Ensured, ExecRequest, Power, StopMethod};
use stampo_agent_protocol::Request;
use stampo_core::size::ByteSize;
use std::time::Duration;

const SHORT: Duration = Duration::from_secs(1);

fn exec() -> ExecRequest {
    ExecRequest {
        argv: vec!["/bin/true".to_owned()],
        input: Vec::new(),
        timeout: SHORT,
    }
}

pub(super) fn unknown(place: &dyn Fixture) {
    let driver = place.open();
    let id = place.guest(Temper::Deaf).id;
    assert_eq!(power(&*driver, id), Power::Undefined);
    assert_eq!(driver.list().expect("list answers"), []);
    assert_not_found(id, driver.definition(id));
    assert_not_found(id, driver.ensure_running(id));
    assert_not_found(id, driver.ensure_stopped(id, StopMethod::Kill));
    assert_not_found(id, driver.ensure_stopped(id, graceful()));
    assert_not_found(id, driver.listening(id));
    assert_not_found(id, driver.agent_ping(id, SHORT));
    assert_not_found(id, driver.agent_exec(id, &exec()));
    assert_not_found(id, driver.agent_read_file(id, "/etc/hostname", 10, SHORT));
    assert_not_found(id, driver.agent_write_file(id, "/tmp/x", b"x", SHORT));
    assert_not_found(id, driver.ask_agent(id, &Request::Hello, SHORT));
    assert_not_found(id, driver.console_socket(id));
    assert_not_found(id, driver.console_log(id));
    assert_eq!(
        driver
            .ensure_undefined(id)
            .expect("forgetting nothing is fine"),
        Ensured::Unchanged
    );
}

pub(super) fn twice(place: &dyn Fixture) {
    let driver = place.open();
    let guest = place.guest(Temper::Deaf);
    assert_eq!(
        driver.ensure_defined(&guest).expect("first"),
        Ensured::Changed
    );
    assert_eq!(power(&*driver, guest.id), Power::Stopped);
    assert_eq!(
        driver.ensure_defined(&guest).expect("second"),
        Ensured::Unchanged
    );
    assert_eq!(power(&*driver, guest.id), Power::Stopped);
    assert_eq!(driver.list().expect("list answers"), [guest.id]);
    let stopped = driver
        .ensure_stopped(guest.id, StopMethod::Kill)
        .expect("stopping a stopped guest");
    assert_eq!(stopped, crate::StoppedBy::Already);
    assert_not_running(guest.id, driver.listening(guest.id));
    assert_not_running(guest.id, driver.agent_ping(guest.id, SHORT));
    assert_not_running(guest.id, driver.agent_exec(guest.id, &exec()));
    assert_not_running(guest.id, driver.ask_agent(guest.id, &Request::Hello, SHORT));
    assert_not_running(guest.id, driver.console_socket(guest.id));
}

pub(super) fn replaced(place: &dyn Fixture) {
    let driver = place.open();
    let mut guest = define(place, &*driver, Temper::Deaf);
    assert_eq!(driver.definition(guest.id).expect("it is defined"), guest);
    guest.name = "renamed".to_owned();
    guest.hardware.memory = ByteSize::mib(80);
    assert_eq!(
        driver.ensure_defined(&guest).expect("replacing"),
        Ensured::Changed
    );
    assert_eq!(
        driver.ensure_defined(&guest).expect("repeating"),
        Ensured::Unchanged
    );
    assert_eq!(
        place
            .open()
            .definition(guest.id)
            .expect("another driver sees it"),
        guest
    );
    assert_eq!(driver.list().expect("list answers"), [guest.id]);
}

pub(super) fn directory(place: &dyn Fixture) {
    let driver = place.open();
    let mut guest = place.guest(Temper::Deaf);
    guest.directory = guest.directory.with_file_name("elsewhere");
    match driver.ensure_defined(&guest) {
        Err(DriverError::Unsupported { .. }) => {}
        other => panic!("expected a refusal, got {other:?}"),
    }
    assert_eq!(power(&*driver, guest.id), Power::Undefined);
}
