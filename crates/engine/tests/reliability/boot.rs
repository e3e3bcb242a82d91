//! How far a guest has started: who is asked, what is said when nobody answers, and how long is
//! waited.

use crate::home::*;
use stampo_agent_protocol::{SystemState, Timings};
use stampo_core::ids::GuestId;
use stampo_driver::ExecOutcome;
use stampo_driver::sim::{ForkManners, Manners, SimDriver};
use stampo_engine::{Engine, Teller};
use std::time::{Duration, Instant};

/// What stampo's agent says in the middle of a start, and at its end.
fn timings(system: SystemState) -> Timings {
    Timings {
        uptime_ms: 7,
        system,
        jobs: Some(0),
        failed_units: Some(0),
        initrd_ms: Some(2),
        userspace_ms: Some(3),
        agent_ms: Some(4),
        finished_ms: Some(6),
    }
}

/// A guest that runs, with the simulation of it.
fn running() -> (Home, Engine, SimDriver, GuestId) {
    let home = one_guest();
    let engine = home.engine();
    let id = engine.start(&name("app")).expect("started").id;
    let sim = SimDriver::open(&home.path().join("guests")).expect("a simulated driver");
    (home, engine, sim, id)
}

/// What QEMU's agent prints, word for word from a Debian 12.
const SHOWN: &[u8] = b"41.07 60.11\nUserspaceTimestampMonotonic=12345678\n\
    FinishTimestampMonotonic=40000000\nInitRDTimestampMonotonic=0\nNFailedUnits=1\nNJobs=0\n\
    SystemState=degraded\n";

pub fn stampos_agent_is_asked_before_qemus() {
    let (_home, engine, sim, id) = running();
    let outcome = ExecOutcome {
        exit_code: 0,
        stdout: SHOWN.to_vec(),
        stderr: Vec::new(),
    };
    sim.script_exec(id, "/bin/sh", &outcome).expect("scripted");
    sim.set_fork_manners(ForkManners::Silent).expect("set");
    let told = engine.boot(&name("app")).expect("QEMU's agent tells");
    assert_eq!(told.told_by, Teller::QemuAgent);
    assert_eq!(told.timings.uptime_ms, 41_070);
    assert_eq!(told.timings.userspace_ms, Some(12_345));
    assert!(told.timings.is_settled());
    // Its kernel says that it is older than its machine: nothing can be said of what was before.
    assert_eq!(told.before_kernel_ms, None);

    let own = timings(SystemState::Running);
    sim.script_timings(id, &own).expect("scripted");
    sim.set_fork_manners(ForkManners::Honest).expect("set");
    std::thread::sleep(Duration::from_millis(20));
    let told = engine.boot(&name("app")).expect("stampo's agent tells");
    assert_eq!((told.told_by, &told.timings), (Teller::Agent, &own));
    assert!(told.before_kernel_ms.is_some_and(|ms| ms >= 13));
}

pub fn a_guest_that_nobody_speaks_for_is_said_to_be_so() {
    let (_home, engine, sim, id) = running();
    let agent = false;
    let acpi = true;
    sim.set_manners(id, Manners { agent, acpi }).expect("set");
    let refused = engine.boot(&name("app")).expect_err("nobody");
    assert!(
        refused.chain().contains("no guest agent listens"),
        "{refused}"
    );
    engine.stop(&name("app"), true).expect("stopped");
    let refused = engine.boot(&name("app")).expect_err("stopped");
    assert!(refused.chain().contains("stampo start app"), "{refused}");
}

pub fn the_system_is_waited_for_no_longer_than_asked() {
    let (home, engine, sim, id) = running();
    let app = name("app");
    sim.script_timings(id, &timings(SystemState::Starting))
        .expect("scripted");
    let begun = Instant::now();
    let late = engine.wait_system(&app, Duration::from_millis(400));
    let late = late.expect_err("it never starts").chain();
    assert!(late.contains("its system is starting"), "{late}");
    assert!(begun.elapsed() >= Duration::from_millis(400));

    let boot = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let minute = Duration::from_secs(60);
            home.engine().wait_system(&app, minute)
        });
        std::thread::sleep(Duration::from_millis(300));
        assert!(!waiting.is_finished(), "it has not started yet");
        sim.script_timings(id, &timings(SystemState::Degraded))
            .expect("scripted");
        waiting.join().expect("no panic").expect("started")
    });
    assert_eq!(boot.timings.system, SystemState::Degraded);
    engine.stop(&name("app"), true).expect("stopped");
    let gone = engine.wait_system(&name("app"), Duration::from_secs(60));
    assert!(gone.expect_err("stopped").chain().contains("does not run"));
}
