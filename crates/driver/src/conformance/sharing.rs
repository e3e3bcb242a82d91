//! Cases about several users of one host: ports, other drivers on the same directory.

use super::{Fixture, Temper, define, pid, power};
use crate::{Driver, DriverError, Ensured, GuestDefinition, Link, Power, StopMethod, StoppedBy};
use std::net::TcpListener;

/// Gives the guest's first interface this forwarded port.
fn forward(guest: &mut GuestDefinition, port: u16) {
    let nic = guest
        .nics
        .first_mut()
        .expect("the fixture's guest has an interface");
    nic.link = Link::User {
        ssh_port: Some(port),
        guest_address: None,
    };
}

/// A port that is free now. Another program may take it before the test does; the range of
/// ephemeral ports is large enough for that not to matter.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("some port is free");
    listener.local_addr().expect("it has an address").port()
}

fn assert_port_busy(driver: &dyn Driver, guest: &GuestDefinition, port: u16) {
    match driver.ensure_running(guest.id) {
        Err(DriverError::Busy { resource, .. }) => assert_eq!(resource, format!("port {port}")),
        other => panic!("expected a busy port, got {other:?}"),
    }
    assert_eq!(
        power(driver, guest.id),
        Power::Stopped,
        "a start that failed leaves nothing running"
    );
}

pub(super) fn port_of_a_guest(place: &dyn Fixture) {
    let driver = place.open();
    let port = free_port();
    let (mut first, mut second) = (place.guest(Temper::Deaf), place.guest(Temper::Deaf));
    for guest in [&mut first, &mut second] {
        forward(guest, port);
        driver.ensure_defined(guest).expect("it is valid");
        place.settle(guest.id, Temper::Deaf);
    }
    driver
        .ensure_running(first.id)
        .expect("the first gets the port");
    assert_port_busy(&*driver, &second, port);
    driver
        .ensure_stopped(first.id, StopMethod::Kill)
        .expect("the first stops");
    assert_eq!(
        driver
            .ensure_running(second.id)
            .expect("the port is free again"),
        Ensured::Changed
    );
    driver.ensure_undefined(second.id).expect("clean up");
}

pub(super) fn port_of_a_program(place: &dyn Fixture) {
    let driver = place.open();
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("some port is free");
    let port = listener.local_addr().expect("it has an address").port();
    let mut guest = place.guest(Temper::Deaf);
    forward(&mut guest, port);
    driver.ensure_defined(&guest).expect("it is valid");
    assert_port_busy(&*driver, &guest, port);
}

pub(super) fn reopened(place: &dyn Fixture) {
    let driver = place.open();
    let guest = define(place, &*driver, Temper::Deaf);
    driver.ensure_running(guest.id).expect("it starts");
    let before = pid(&*driver, guest.id);
    drop(driver);
    let driver = place.open();
    assert_eq!(driver.list().expect("list answers"), [guest.id]);
    assert_eq!(pid(&*driver, guest.id), before);
    assert_eq!(
        driver.ensure_running(guest.id).expect("it runs"),
        Ensured::Unchanged
    );
    let stopped = driver
        .ensure_stopped(guest.id, StopMethod::Kill)
        .expect("it stops");
    assert_eq!(stopped, StoppedBy::Kill);
}

pub(super) fn two_starts(place: &dyn Fixture) {
    let drivers = [place.open(), place.open()];
    let id = define(place, &*drivers[0], Temper::Deaf).id;
    let outcomes = at_once(&drivers, |driver| {
        driver.ensure_running(id).expect("both succeed")
    });
    let changed = outcomes
        .iter()
        .filter(|outcome| **outcome == Ensured::Changed)
        .count();
    assert_eq!(
        changed, 1,
        "one of them starts it, the other sees it running: {outcomes:?}"
    );
    assert_eq!(pid(&*drivers[0], id), pid(&*drivers[1], id));
    drivers[0].ensure_undefined(id).expect("clean up");
}

pub(super) fn two_stops(place: &dyn Fixture) {
    let drivers = [place.open(), place.open()];
    let id = define(place, &*drivers[0], Temper::Deaf).id;
    drivers[0].ensure_running(id).expect("it starts");
    let stop = |driver: &dyn Driver| {
        driver
            .ensure_stopped(id, StopMethod::Kill)
            .expect("both succeed")
    };
    at_once(&drivers, stop);
    assert_eq!(power(&*drivers[1], id), Power::Stopped);
}

/// Runs `act` on both drivers at the same time.
fn at_once<T: Send>(
    drivers: &[Box<dyn Driver>; 2],
    act: impl Fn(&dyn Driver) -> T + Sync,
) -> Vec<T> {
    std::thread::scope(|scope| {
        let act = &act;
        let threads = drivers
            .each_ref()
            .map(|driver| scope.spawn(move || act(&**driver)));
        threads
            .map(|thread| thread.join().expect("no panic"))
            .into_iter()
            .collect()
    })
}
