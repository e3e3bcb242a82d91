//! Guests that wait, on the real QEMU: whoever prepares, pauses or wakes one may be killed at any
//! moment, and a guest whose directory was removed under it can still be ended.

use crate::memory::{fork, frozen, killed_at, status};
use crate::support::{Ground, await_that, pid, processes_of};
use stampo_driver::conformance::Fixture;
use stampo_driver::{Driver, Ensured, GuestDefinition, Power, Readiness};
use std::fs;
use std::time::Duration;

const DEPTHS: [(Readiness, &str); 2] = [
    (Readiness::Spawned, "prepare-spawned"),
    (Readiness::Loaded, "prepare-loaded"),
];

/// When a child is killed: densely at first, since its work takes milliseconds where nothing else
/// runs. The last is not.
fn moments() -> impl Iterator<Item = Option<Duration>> {
    let moments = (0..80).step_by(5).chain((80..=400).step_by(40));
    moments.map(Duration::from_millis).map(Some).chain([None])
}

/// As a child of these tests: does the act on the only guest.
pub fn act(driver: &dyn Driver, act: &str) -> Option<bool> {
    let id = driver.list().expect("listed")[0];
    let depth = DEPTHS.iter().find(|(_, name)| *name == act);
    let done = match (act, depth) {
        (_, Some((readiness, _))) => driver.ensure_prepared(id, *readiness).map(drop),
        ("pause", _) => driver.ensure_paused(id).map(drop),
        _ => return None,
    };
    Some(done.is_ok())
}

fn paused_pid(driver: &dyn Driver, guest: &GuestDefinition) -> Option<u32> {
    match driver.observe(guest.id).expect("seen") {
        Power::Paused { pid, .. } => Some(pid),
        _ => None,
    }
}

/// Ends a guest of which a part was killed; nothing is left of it.
fn forget(driver: &dyn Driver, guest: &GuestDefinition) {
    driver.ensure_undefined(guest.id).expect("forgotten");
    await_that("no process is left", || processes_of(guest) == 0);
    for mark in ["resumed", "hold.json"] {
        assert!(!guest.directory.join(mark).exists(), "{mark} is left");
    }
}

/// It goes on, is the one that it was, and nobody has plugged it in.
fn goes_on(ground: &Ground, driver: &dyn Driver, guest: &GuestDefinition, was: u32, what: &str) {
    let went = driver.ensure_running(guest.id);
    went.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(status(guest), "running", "{what}");
    assert_eq!(pid(driver, guest), was, "{what}: from where it was");
    assert!(!ground.links_are_up(guest.id), "{what}");
}

/// How often the next who asked had to do something, and how often all was done.
fn assert_both(what: &str, ends: [usize; 2]) {
    eprintln!("{what}: finished by the next, found done: {ends:?}");
    assert!(
        ends[0] > 0 && ends[1] > 0,
        "{what}: some were killed early, some late: {ends:?}"
    );
}

fn count(ends: &mut [usize; 2], ensured: Ensured) {
    ends[usize::from(ensured == Ensured::Unchanged)] += 1;
}

#[test]
fn whoever_prepares_may_be_killed_at_any_moment() {
    let test = "prepared::whoever_prepares_may_be_killed_at_any_moment";
    crate::memory::act_of_a_child();
    let ground = Ground::new();
    let driver = ground.driver();
    let (dir, _) = frozen(&ground, &driver);
    for (readiness, act) in DEPTHS {
        let mut ends = [0; 2];
        for moment in moments() {
            let what = format!("{act} after {moment:?}");
            let guest = fork(&ground, &driver, &dir);
            killed_at(test, act, &ground, moment);
            // Nothing of it was executed, so it is never spent.
            let prepared = driver.ensure_prepared(guest.id, readiness);
            count(
                &mut ends,
                prepared.unwrap_or_else(|e| panic!("{what}: {e}")),
            );
            let was = paused_pid(&driver, &guest).unwrap_or_else(|| panic!("{what}: it waits"));
            goes_on(&ground, &driver, &guest, was, &what);
            forget(&driver, &guest);
        }
        assert_both(act, ends);
    }
}

#[test]
fn whoever_wakes_may_be_killed_at_any_moment() {
    let test = "prepared::whoever_wakes_may_be_killed_at_any_moment";
    crate::memory::act_of_a_child();
    let ground = Ground::new();
    let driver = ground.driver();
    let (dir, _) = frozen(&ground, &driver);
    for depth in ["spawned", "loaded", "paused"] {
        let mut ends = [0; 2];
        for moment in moments() {
            let what = format!("woken from {depth} after {moment:?}");
            let guest = fork(&ground, &driver, &dir);
            let led = match depth {
                "spawned" => driver.ensure_prepared(guest.id, Readiness::Spawned),
                "loaded" => driver.ensure_prepared(guest.id, Readiness::Loaded),
                _ => driver
                    .ensure_running(guest.id)
                    .and_then(|_| driver.ensure_paused(guest.id)),
            };
            led.unwrap_or_else(|error| panic!("{what}: {error}"));
            let was = paused_pid(&driver, &guest).unwrap_or_else(|| panic!("{what}: it waits"));
            killed_at(test, "resume", &ground, moment);
            let is_waiting = paused_pid(&driver, &guest).is_some();
            ends[usize::from(!is_waiting)] += 1;
            goes_on(&ground, &driver, &guest, was, &what);
            forget(&driver, &guest);
        }
        assert_both(depth, ends);
    }
}

#[test]
fn whoever_pauses_may_be_killed_at_any_moment() {
    let test = "prepared::whoever_pauses_may_be_killed_at_any_moment";
    crate::memory::act_of_a_child();
    let ground = Ground::new();
    let driver = ground.driver();
    let (dir, _) = frozen(&ground, &driver);
    let mut ends = [0; 2];
    for moment in moments() {
        let what = format!("paused after {moment:?}");
        let guest = fork(&ground, &driver, &dir);
        driver.ensure_running(guest.id).expect("it goes on");
        let was = pid(&driver, &guest);
        killed_at(test, "pause", &ground, moment);
        let paused = driver.ensure_paused(guest.id);
        count(&mut ends, paused.unwrap_or_else(|e| panic!("{what}: {e}")));
        assert_eq!(status(&guest), "paused", "{what}");
        assert_eq!(paused_pid(&driver, &guest), Some(was), "{what}");
        goes_on(&ground, &driver, &guest, was, &what);
        forget(&driver, &guest);
    }
    assert_both("pause", ends);
}

/// Whether a process is there that is more than its remains.
fn is_there(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

#[test]
fn guests_whose_directory_was_removed_can_be_ended_and_no_others() {
    let ground = Ground::new();
    let driver = ground.driver();
    let (dir, _) = frozen(&ground, &driver);
    let waiting = || {
        let guest = fork(&ground, &driver, &dir);
        let ready = driver.ensure_prepared(guest.id, Readiness::Loaded);
        ready.expect("prepared");
        let pid = paused_pid(&driver, &guest).expect("it waits");
        (guest, pid)
    };
    let [removed, moved, untouched, of_another] = [waiting(), waiting(), waiting(), waiting()];
    fs::remove_dir_all(&removed.0.directory).expect("removed");
    fs::remove_dir_all(&of_another.0.directory).expect("removed");
    let elsewhere = ground.home().join("elsewhere");
    fs::rename(&moved.0.directory, &elsewhere).expect("moved");
    let ids = [removed.0.id, moved.0.id, untouched.0.id];
    // Nothing but the process itself tells of it.
    assert!(is_there(removed.1));
    assert_eq!(driver.end_without_directory(&ids).expect("looked"), 1);
    let left = [removed.1, moved.1, untouched.1, of_another.1].map(is_there);
    assert_eq!(left, [false, true, true, true]);
    assert_eq!(driver.end_without_directory(&ids).expect("looked"), 0);
    let ended = driver.end_without_directory(&[of_another.0.id]);
    assert_eq!(ended.expect("looked"), 1);
    fs::rename(&elsewhere, &moved.0.directory).expect("moved back");
}

/// Whoever undoes what he began may come when its directory has been removed.
#[test]
fn a_guest_whose_directory_is_gone_is_ended_by_being_undefined() {
    let ground = Ground::new();
    let driver = ground.driver();
    let (dir, _) = frozen(&ground, &driver);
    let waiting = || {
        let guest = fork(&ground, &driver, &dir);
        let ready = driver.ensure_prepared(guest.id, Readiness::Loaded);
        ready.expect("prepared");
        let pid = paused_pid(&driver, &guest).expect("it waits");
        (guest, pid)
    };
    let [removed, moved] = [waiting(), waiting()];
    fs::remove_dir_all(&removed.0.directory).expect("removed");
    let elsewhere = ground.home().join("elsewhere");
    fs::rename(&moved.0.directory, &elsewhere).expect("moved");
    for (guest, expected) in [
        (&removed.0, Ensured::Changed),
        (&moved.0, Ensured::Unchanged),
    ] {
        let undefined = driver.ensure_undefined(guest.id).expect("undefined");
        assert_eq!(undefined, expected, "{}", guest.name);
    }
    let left = [removed.1, moved.1].map(is_there);
    assert_eq!(left, [false, true]);
    fs::rename(&elsewhere, &moved.0.directory).expect("moved back");
}
