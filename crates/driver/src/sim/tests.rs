//! The simulation runs the suite of all drivers, and its own crash points.

use super::*;
use crate::conformance::{self, Fixture, Temper};
use crate::{Disk, DiskFormat, Link, NicDefinition, Start};
use stampo_core::hardware::{Hardware, NicModel};
use stampo_core::network::Mac;
use std::cell::Cell;
use tempfile::TempDir;
use uuid::Uuid;

struct Place {
    home: TempDir,
    made: Cell<u128>,
}

fn place() -> Place {
    Place {
        home: tempfile::tempdir().expect("a temporary directory"),
        made: Cell::new(1),
    }
}

impl Place {
    fn sim(&self) -> SimDriver {
        SimDriver::open(&self.guests_dir()).expect("the directory is writable")
    }

    fn guests_dir(&self) -> PathBuf {
        self.home.path().join("guests")
    }

    fn number(&self) -> u128 {
        self.made.replace(self.made.get() + 1)
    }
}

impl Fixture for Place {
    fn open(&self) -> Box<dyn Driver> {
        Box::new(self.sim())
    }

    fn guest(&self, _temper: Temper) -> GuestDefinition {
        let number = self.number();
        let id = GuestId(Uuid::from_u128(number));
        let [.., a, b] = *id.0.as_bytes();
        let directory = self.guests_dir().join(id.to_string());
        GuestDefinition {
            id,
            name: format!("guest-{number}"),
            disks: vec![Disk {
                path: directory.join("disk.qcow2"),
                format: DiskFormat::Qcow2,
                backing: None,
                layers: Vec::new(),
                serial: "root".to_owned(),
            }],
            directory,
            hardware: Hardware::default(),
            seed: None,
            nics: vec![NicDefinition {
                mac: Mac::from_random([0, 0, a, b]),
                model: NicModel::Virtio,
                link: Link::User {
                    ssh_port: None,
                    guest_address: None,
                },
            }],
            generation_id: Uuid::from_u128(number + (7 << 64)),
            serial: "S1".to_owned(),
            provenance: "stampo:template=web@1".to_owned(),
            start: Start::Boot,
        }
    }

    fn settle(&self, id: GuestId, temper: Temper) {
        let manners = Manners {
            agent: false,
            acpi: temper == Temper::Polite,
        };
        self.sim()
            .set_manners(id, manners)
            .expect("the guest is defined");
    }

    fn crash(&self, id: GuestId) {
        self.sim().crash_guest(id).expect("the guest is defined");
    }

    fn image_dir(&self) -> PathBuf {
        self.home.path().join(format!("image-{}", self.number()))
    }

    fn links_are_up(&self, id: GuestId) -> bool {
        self.sim().links_are_up(id).expect("the guest runs")
    }
}

#[test]
fn the_simulated_driver_keeps_every_rule() {
    conformance::run(&|| Box::new(place()));
}

/// Takes a step on a guest that is defined and running, and whose agent answers.
fn take(driver: &SimDriver, step: Step, guest: &GuestDefinition) -> Result<(), DriverError> {
    let id = guest.id;
    match step {
        Step::Define => driver.ensure_defined(guest).map(drop),
        Step::Start => driver.ensure_running(id).map(drop),
        Step::Stop => driver.ensure_stopped(id, StopMethod::Kill).map(drop),
        Step::Undefine => driver.ensure_undefined(id).map(drop),
        Step::Observe => driver.observe(id).map(drop),
        Step::Agent => driver.agent_ping(id, Duration::from_secs(1)),
        Step::Freeze => driver.ensure_frozen(id).map(drop),
        Step::Links => driver.set_links(id, false),
        Step::Pause => driver.ensure_paused(id).map(drop),
        Step::Prepare => driver.ensure_prepared(id, Readiness::Loaded).map(drop),
    }
}

#[test]
fn every_crash_point_fails_once_and_the_repeated_step_succeeds() {
    for step in Step::ALL {
        for when in [When::Before, When::After] {
            let place = place();
            let driver = place.sim();
            let mut guest = place.guest(Temper::Polite);
            guest.start = Start::BootToFreeze {
                image: place.image_dir(),
            };
            driver.ensure_defined(&guest).expect("defined");
            driver.ensure_running(guest.id).expect("running");
            if step == Step::Prepare {
                // What runs can't be prepared: one that goes on from its memory is.
                driver.ensure_frozen(guest.id).expect("frozen");
                let Start::BootToFreeze { image } = guest.start else {
                    unreachable!("it was started to be frozen")
                };
                guest = place.guest(Temper::Polite);
                guest.start = Start::Resume { image };
                driver.ensure_defined(&guest).expect("defined");
            }
            driver
                .fail_at(step, when, Failure::Error)
                .expect("the order is left");
            // Another driver on the directory obeys: the order is on disk.
            let failed = take(&place.sim(), step, &guest);
            assert!(
                matches!(failed, Err(DriverError::Program { .. })),
                "{step:?} {when:?}: {failed:?}"
            );
            take(&driver, step, &guest).unwrap_or_else(|e| panic!("repeat {step:?} {when:?}: {e}"));
        }
    }
}

#[test]
fn a_failure_before_leaves_nothing_and_a_failure_after_leaves_all() {
    let place = place();
    let driver = place.sim();
    let guest = place.guest(Temper::Polite);
    driver.ensure_defined(&guest).expect("defined");
    driver
        .fail_at(Step::Start, When::Before, Failure::Error)
        .expect("the order is left");
    driver
        .ensure_running(guest.id)
        .expect_err("ordered to fail");
    assert_eq!(driver.observe(guest.id).expect("observe"), Power::Stopped);
    driver
        .fail_at(Step::Start, When::After, Failure::Error)
        .expect("the order is left");
    driver
        .ensure_running(guest.id)
        .expect_err("ordered to fail");
    assert!(matches!(
        driver.observe(guest.id).expect("observe"),
        Power::Running { .. }
    ));
}

#[test]
fn a_guest_out_of_sight_is_unknown_and_is_not_touched() {
    let place = place();
    let driver = place.sim();
    let guest = place.guest(Temper::Polite);
    driver.ensure_defined(&guest).expect("defined");
    driver.ensure_running(guest.id).expect("running");
    driver
        .blind(guest.id, Some("the host does not answer"))
        .expect("blinded");
    let reason = "the host does not answer".to_owned();
    assert_eq!(
        driver.observe(guest.id).expect("observe"),
        Power::Unknown { reason }
    );
    driver
        .ensure_running(guest.id)
        .expect_err("unknown is not stopped");
    driver
        .ensure_undefined(guest.id)
        .expect_err("unknown is not stopped");
    driver.blind(guest.id, None).expect("sight again");
    assert_eq!(
        driver.ensure_running(guest.id).expect("it runs"),
        Ensured::Unchanged
    );
}

#[test]
fn the_agent_answers_as_scripted_and_keeps_files_within_the_limit() {
    let place = place();
    let driver = place.sim();
    let guest = place.guest(Temper::Polite);
    driver.ensure_defined(&guest).expect("defined");
    driver.ensure_running(guest.id).expect("running");
    let outcome = ExecOutcome {
        exit_code: 3,
        stdout: b"out".to_vec(),
        stderr: b"err".to_vec(),
    };
    driver
        .script_exec(guest.id, "/bin/x", &outcome)
        .expect("scripted");
    let second = Duration::from_secs(1);
    let request = ExecRequest {
        argv: vec!["/bin/x".to_owned()],
        input: Vec::new(),
        timeout: second,
    };
    assert_eq!(
        driver.agent_exec(guest.id, &request).expect("it answers"),
        outcome
    );
    driver
        .agent_write_file(guest.id, "/etc/x", b"1234", second)
        .expect("written");
    assert_eq!(
        driver
            .agent_read_file(guest.id, "/etc/x", 4, second)
            .expect("read"),
        b"1234"
    );
    driver
        .agent_read_file(guest.id, "/etc/x", 3, second)
        .expect_err("larger than the limit");
}

/// Runs this test program again as a child that obeys the order to die.
#[test]
fn a_killed_process_leaves_a_state_that_the_next_one_continues() {
    const HOME: &str = "STAMPO_SIM_TEST_HOME";
    if let Ok(home) = std::env::var(HOME) {
        let driver = SimDriver::open(Path::new(&home)).expect("the directory exists");
        let id = driver.list().expect("list")[0];
        let _ = driver.ensure_running(id);
        unreachable!("the process was ordered to die");
    }
    let place = place();
    let driver = place.sim();
    let guest = place.guest(Temper::Polite);
    driver.ensure_defined(&guest).expect("defined");
    driver
        .fail_at(Step::Start, When::After, Failure::Die)
        .expect("the order is left");
    let me = std::env::current_exe().expect("this program has a path");
    let child = std::process::Command::new(me)
        .args([
            "--exact",
            "sim::tests::a_killed_process_leaves_a_state_that_the_next_one_continues",
        ])
        .env(HOME, place.guests_dir())
        .output()
        .expect("the child runs");
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(
        child.status.signal(),
        Some(9),
        "{}",
        String::from_utf8_lossy(&child.stdout)
    );
    assert_eq!(
        driver.ensure_running(guest.id).expect("it runs already"),
        Ensured::Unchanged
    );
}
