//! Records in a guest's directory that are damaged, or no files at all: the guest is never stuck.

use crate::support::{Ground, await_that, pid, started};
use stampo_core::ids::GuestId;
use stampo_driver::conformance::{Fixture, Temper};
use stampo_driver::{Driver, Ensured, GuestDefinition, Power, StopMethod, StoppedBy};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// No call here starts a machine that takes longer.
const LIMIT: Duration = Duration::from_secs(30);

type Damage = fn(&Path);

const DAMAGES: [(&str, Damage); 4] = [
    ("empty", |path| fs::write(path, "").expect("written")),
    ("torn", |path| {
        fs::write(path, "{\"id\": \"01").expect("written");
    }),
    ("of another form", |path| {
        fs::write(path, "[]").expect("written");
    }),
    ("a FIFO", |path| {
        fs::remove_file(path).expect("removed");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).expect("a FIFO");
    }),
];

/// Runs `act` in a thread of its own, since what it calls may wait for ever.
fn in_time<T: Send + 'static>(what: &str, act: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || send.send(act()));
    let answer = receive.recv_timeout(LIMIT);
    answer.unwrap_or_else(|_| panic!("{what}: no answer in {LIMIT:?}"))
}

fn definition(guest: &GuestDefinition) -> PathBuf {
    guest.directory.join("definition.json")
}

#[test]
fn a_guest_without_a_definition_of_use_is_defined_again() {
    for (what, damage) in DAMAGES {
        let ground = Ground::new();
        let (driver, guest) = (ground.driver(), ground.guest(Temper::Deaf));
        driver.ensure_defined(&guest).expect("defined");
        damage(&definition(&guest));
        in_time(what, move || {
            let id = guest.id;
            assert_eq!(driver.observe(id).expect(what), Power::Undefined, "{what}");
            driver.definition(id).expect_err("it is not known");
            driver.ensure_running(id).expect_err("it is not known");
            assert_eq!(
                driver.ensure_defined(&guest).expect(what),
                Ensured::Changed,
                "{what}"
            );
            assert_eq!(driver.definition(id).expect(what), guest, "{what}");
            assert_eq!(driver.observe(id).expect(what), Power::Stopped, "{what}");
        });
    }
}

#[test]
fn a_running_guest_without_a_definition_of_use_is_seen_and_stopped() {
    let ground = Ground::new();
    let guest = started(&ground, Temper::Deaf);
    let running = pid(&ground.driver(), &guest);
    for (what, damage) in DAMAGES {
        damage(&definition(&guest));
        let (driver, id) = (ground.driver(), guest.id);
        let seen = in_time(what, move || (driver.observe(id), driver.console_log(id)));
        assert!(
            matches!(seen.0, Ok(Power::Running { pid, .. }) if pid == running),
            "{what}: {seen:?}"
        );
        assert!(seen.1.expect(what).exists(), "{what}");
    }
    let (driver, id) = (ground.driver(), guest.id);
    let by = in_time("stop", move || driver.ensure_stopped(id, StopMethod::Kill));
    assert_eq!(by.expect("stopped"), StoppedBy::Kill);
    await_gone(running);
}

#[test]
fn a_running_guest_without_a_definition_of_use_is_forgotten() {
    for (what, damage) in DAMAGES {
        let ground = Ground::new();
        let guest = started(&ground, Temper::Deaf);
        let running = pid(&ground.driver(), &guest);
        damage(&definition(&guest));
        let (driver, id) = (ground.driver(), guest.id);
        let forgotten = in_time(what, move || driver.ensure_undefined(id));
        assert_eq!(forgotten.expect(what), Ensured::Changed, "{what}");
        await_gone(running);
        assert!(fs::symlink_metadata(definition(&guest)).is_err(), "{what}");
    }
}

#[test]
fn a_record_of_the_process_that_is_no_file_says_nothing() {
    let ground = Ground::new();
    let guest = started(&ground, Temper::Deaf);
    let running = pid(&ground.driver(), &guest);
    let (_, fifo) = DAMAGES[3];
    let record = RemovedAtLast(guest.directory.join("process.json"));
    fifo(&record.0);
    let (driver, id) = (ground.driver(), guest.id);
    let seen = in_time("observe", move || power(&driver, id));
    assert!(
        matches!(seen, Power::Running { pid, .. } if pid == running),
        "{seen:?}"
    );
}

/// A file that must be gone before the ground ends its guests, or a driver that waits for a FIFO
/// would wait there too.
struct RemovedAtLast(PathBuf);

impl Drop for RemovedAtLast {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn power(driver: &dyn Driver, id: GuestId) -> Power {
    driver.observe(id).expect("observed")
}

/// Gone, or dead and not waited for yet: it is a child of this program.
fn await_gone(pid: u32) {
    await_that("its process to end", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z "))
    });
}
