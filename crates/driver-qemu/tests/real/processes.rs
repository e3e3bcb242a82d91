//! What the suite of all drivers can't ask about processes: records that lie, starters that died at
//! a bad moment, directories that are too deep, starts that fail.

use crate::monitor;
use crate::support::{self, Ground, await_that, pid, signal, started};
use stampo_driver::conformance::{Fixture, Temper};
use stampo_driver::{Driver, DriverError, Ensured, Power, StopMethod, StoppedBy, socket};
use std::fs;
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn graceful() -> StopMethod {
    StopMethod::Graceful {
        agent: Duration::ZERO,
        acpi: Duration::from_secs(10),
    }
}

#[test]
fn a_guest_whose_record_was_never_written_is_adopted() {
    let ground = Ground::new();
    let guest = started(&ground, Temper::Deaf);
    let before = pid(&ground.driver(), &guest);
    for lost in [
        "",
        "{",
        "{\"pid\": 1, \"start_ticks\": 1, \"boot_id\": \"x\"}",
    ] {
        fs::write(guest.directory.join("process.json"), lost).expect("written");
        assert_eq!(pid(&ground.driver(), &guest), before, "record {lost:?}");
    }
    fs::remove_file(guest.directory.join("process.json")).expect("removed");
    assert_eq!(
        ground.driver().ensure_running(guest.id).expect("it runs"),
        Ensured::Unchanged
    );
    assert!(
        guest.directory.join("process.json").exists(),
        "the adopted guest is recorded"
    );
}

#[test]
fn a_record_that_names_a_reused_process_id_hits_nobody() {
    let ground = Ground::new();
    let driver = ground.driver();
    let guest = started(&ground, Temper::Deaf);
    let record = fs::read_to_string(guest.directory.join("process.json")).expect("recorded");
    let old_pid = pid(&driver, &guest).to_string();
    driver
        .ensure_stopped(guest.id, StopMethod::Kill)
        .expect("stopped");
    let mut bystander = Command::new("sleep")
        .arg("60")
        .stdout(Stdio::null())
        .spawn()
        .expect("sleep starts");
    let lie = record.replace(&old_pid, &bystander.id().to_string());
    fs::write(guest.directory.join("process.json"), lie).expect("written");
    assert_eq!(driver.observe(guest.id).expect("observe"), Power::Stopped);
    assert_eq!(
        driver
            .ensure_stopped(guest.id, StopMethod::Kill)
            .expect("stop"),
        StoppedBy::Already
    );
    driver.ensure_undefined(guest.id).expect("forgotten");
    let unhurt = bystander.try_wait().expect("waited").is_none();
    bystander.kill().expect("ended");
    bystander.wait().expect("reaped");
    assert!(unhurt, "the bystander must live");
}

#[test]
fn a_stranger_on_the_monitors_socket_makes_the_state_unknown() {
    let ground = Ground::new();
    let (driver, guest) = (ground.driver(), ground.guest(Temper::Deaf));
    driver.ensure_defined(&guest).expect("defined");
    let stranger = UnixListener::bind(guest.directory.join("qmp.sock")).expect("a socket");
    assert!(matches!(
        driver.observe(guest.id).expect("observe"),
        Power::Unknown { .. }
    ));
    driver
        .ensure_running(guest.id)
        .expect_err("unknown is not stopped");
    drop(stranger);
    assert_eq!(
        driver.observe(guest.id).expect("observe"),
        Power::Stopped,
        "nobody listens any more"
    );
    assert_eq!(
        driver.ensure_running(guest.id).expect("it starts"),
        Ensured::Changed
    );
}

#[test]
fn a_guest_survives_the_process_that_started_it() {
    const HOME: &str = "STAMPO_QEMU_TEST_GUESTS";
    if let Ok(dir) = std::env::var(HOME) {
        let driver = support::open(Path::new(&dir));
        let id = driver.list().expect("listed")[0];
        driver.ensure_running(id).expect("started");
        signal("KILL", std::process::id());
        unreachable!("this process is dead");
    }
    let ground = Ground::new();
    let (driver, guest) = (ground.driver(), ground.guest(Temper::Polite));
    driver.ensure_defined(&guest).expect("defined");
    let child = Command::new(std::env::current_exe().expect("a path"))
        .args([
            "--exact",
            "processes::a_guest_survives_the_process_that_started_it",
        ])
        .env(HOME, driver.guests_dir())
        .output()
        .expect("the child runs");
    assert_eq!(
        child.status.code(),
        None,
        "it was killed: {}",
        String::from_utf8_lossy(&child.stdout)
    );
    pid(&driver, &guest);
    assert_eq!(
        driver.ensure_running(guest.id).expect("it runs"),
        Ensured::Unchanged
    );
    assert_eq!(
        driver
            .ensure_stopped(guest.id, graceful())
            .expect("it stops"),
        StoppedBy::Acpi
    );
}

#[test]
fn a_home_deeper_than_a_socket_address_works_in_full() {
    let ground = Ground::below(Path::new(&"deep,er".repeat(12)).join("d".repeat(60)));
    let guest = started(&ground, Temper::Polite);
    let driver = ground.driver();
    let path = driver.console_socket(guest.id).expect("it runs");
    assert!(path.as_os_str().len() > socket::LONGEST_PATH);
    socket::connect(&path, Duration::from_secs(5)).expect("the console answers");
    fs::remove_file(guest.directory.join("process.json")).expect("removed");
    pid(&ground.driver(), &guest);
    assert_eq!(
        driver
            .ensure_stopped(guest.id, graceful())
            .expect("it stops"),
        StoppedBy::Acpi
    );
}

#[test]
fn what_the_guest_writes_is_in_the_log_and_on_the_console() {
    let ground = Ground::new();
    let guest = started(&ground, Temper::Polite);
    let driver = ground.driver();
    let log = driver.console_log(guest.id).expect("known");
    await_that("the guest says that it is ready", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("ready"))
    });
    // The guest starts again while we watch: the firmware's words come over the socket too.
    let path = driver.console_socket(guest.id).expect("it runs");
    let mut console = socket::connect(&path, Duration::from_secs(5)).expect("the console answers");
    console
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("set");
    monitor::qmp(&guest, "system_reset");
    let mut seen = Vec::new();
    while !seen.windows(5).any(|window| window == b"ready") {
        let mut chunk = [0; 4096];
        let read = console.read(&mut chunk).expect("the guest writes");
        assert!(read > 0, "the console was closed");
        seen.extend_from_slice(&chunk[..read]);
    }
    driver
        .ensure_stopped(guest.id, StopMethod::Kill)
        .expect("stopped");
    assert!(
        fs::read_to_string(&log).expect("kept").contains("ready"),
        "the log outlives the guest"
    );
}

#[test]
fn a_qemu_that_hangs_is_still_seen_and_killed_in_time() {
    let ground = Ground::new();
    let guest = started(&ground, Temper::Polite);
    let driver = ground.driver();
    let before = pid(&driver, &guest);
    signal("STOP", before);
    assert_eq!(pid(&driver, &guest), before);
    let limits = StopMethod::Graceful {
        agent: Duration::from_millis(300),
        acpi: Duration::from_millis(300),
    };
    let begun = Instant::now();
    assert_eq!(
        driver.ensure_stopped(guest.id, limits).expect("stopped"),
        StoppedBy::Kill
    );
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "took {:?}",
        begun.elapsed()
    );
}

#[test]
fn a_start_that_fails_says_why_and_leaves_nothing() {
    let ground = Ground::new();
    let driver = ground.driver();
    let guest = ground.guest(Temper::Deaf);
    driver.ensure_defined(&guest).expect("defined");
    fs::remove_file(&guest.disks[0].path).expect("removed");
    match driver.ensure_running(guest.id) {
        Err(DriverError::Program { why, .. }) => assert!(why.contains("No such file"), "{why}"),
        other => panic!("expected QEMU's own words, got {other:?}"),
    }
    assert_eq!(driver.observe(guest.id).expect("observe"), Power::Stopped);
}

#[test]
fn a_disk_that_another_guest_has_open_is_not_opened_twice() {
    let ground = Ground::new();
    let first = started(&ground, Temper::Deaf);
    let driver = ground.driver();
    let mut second = ground.guest(Temper::Deaf);
    second.disks = first.disks.clone();
    driver.ensure_defined(&second).expect("defined");
    match driver.ensure_running(second.id) {
        Err(DriverError::Program { why, .. }) => assert!(
            why.starts_with("another program has the disk open"),
            "{why}"
        ),
        other => panic!("expected a lock, got {other:?}"),
    }
    pid(&driver, &first);
}

#[test]
fn qemu_runs_under_its_seccomp_filter_in_a_session_of_its_own() {
    let ground = Ground::new();
    let guest = started(&ground, Temper::Deaf);
    let pid = pid(&ground.driver(), &guest);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("readable");
    assert!(status.contains("\nSeccomp:\t2\n"), "{status}");
    assert!(status.contains("\nNoNewPrivs:\t1\n"), "{status}");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("readable");
    let session = stat
        .rsplit_once(") ")
        .expect("a name")
        .1
        .split(' ')
        .nth(3)
        .expect("a session")
        .to_owned();
    assert_eq!(session, pid.to_string());
}
