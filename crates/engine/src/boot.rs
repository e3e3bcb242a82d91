//! How far a running guest has started, as an agent in it tells.
//!
//! stampo's own agent is asked where it listens, else QEMU's, which has to start programs in the
//! guest for it. All of it is a claim of the guest: nothing is decided by it but how long a user
//! who asked for that waits. What a guest needs to be *ready* in the catalog is not here
//! (`clone/steps.rs`), and neither is ssh (`power.rs`).

use crate::engine::Engine;
use crate::error::EngineError;
use stampo_agent_protocol::{Request, Response, SystemState, Timings};
use stampo_core::names::GuestName;
use stampo_driver::{ExecRequest, Power};
use stampo_store::GuestRow;
use std::time::{Duration, Instant};

/// How long stampo's agent may take to answer; it starts nothing.
const OWN_LIMIT: Duration = Duration::from_secs(3);
/// How long QEMU's agent may take: it starts two programs in the guest.
const QEMU_LIMIT: Duration = Duration::from_secs(15);
/// The pause between two questions while the system starts.
const PAUSE: Duration = Duration::from_millis(250);

/// What is asked of QEMU's agent: systemctl(1) shows the manager's properties by their names.
const SCRIPT: &str = "cat /proc/uptime && exec systemctl show -p SystemState -p NJobs \
     -p NFailedUnits -p InitRDTimestampMonotonic -p UserspaceTimestampMonotonic \
     -p FinishTimestampMonotonic";

/// Who told how far a guest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Teller {
    /// stampo's own agent.
    Agent,
    /// qemu-guest-agent.
    QemuAgent,
}

/// How far a guest has started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// Who says so.
    pub told_by: Teller,
    /// What it says.
    pub timings: Timings,
    /// How long its machine ran before its kernel, in milliseconds: QEMU's own start, firmware and
    /// boot loader. Nothing for one whose kernel is older than its machine, as after a resume.
    pub before_kernel_ms: Option<u64>,
}

impl Engine {
    /// How far a running guest has started.
    pub fn boot(&self, name: &GuestName) -> Result<Boot, EngineError> {
        self.boot_of(&self.ready_guest(name, "reach")?)
    }

    /// Waits until everything that starts with a running guest's system has started.
    pub fn wait_system(&self, name: &GuestName, timeout: Duration) -> Result<Boot, EngineError> {
        let row = self.ready_guest(name, "reach")?;
        let start = Instant::now();
        loop {
            let told = self.boot_of(&row);
            if told.as_ref().is_ok_and(|boot| boot.timings.is_settled()) {
                return told;
            }
            if !matches!(self.power(&row), Power::Running { .. }) {
                let why = format!("it does not run; see what it said last: stampo logs {name}");
                return Err(unheard(name, why));
            }
            if start.elapsed() > timeout {
                let seen = match told {
                    Ok(boot) => format!("its system is {}", boot.timings.system.as_str()),
                    Err(error) => error.chain(),
                };
                let why = format!("not within {} s: {seen}", timeout.as_secs());
                return Err(EngineError::Conflict {
                    act: format!("wait until the system of {name} has started"),
                    why,
                });
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn boot_of(&self, row: &GuestRow) -> Result<Boot, EngineError> {
        let Power::Running { uptime_ms, .. } = self.power(row) else {
            let why = format!("it does not run; start it: stampo start {}", row.name);
            return Err(unheard(&row.name, why));
        };
        let observed = Instant::now();
        let (told_by, timings) = self.timings(row)?;
        let machine_ms = uptime_ms.saturating_add(millis(observed.elapsed()));
        Ok(Boot {
            told_by,
            before_kernel_ms: machine_ms.checked_sub(timings.uptime_ms),
            timings,
        })
    }

    fn timings(&self, row: &GuestRow) -> Result<(Teller, Timings), EngineError> {
        let listening = self.driver.listening(row.id);
        let listening = listening.map_err(EngineError::in_guest(&row.name))?;
        if listening.own {
            match self.driver.ask_agent(row.id, &Request::Timings, OWN_LIMIT) {
                Ok(Response::Timings(timings)) => return Ok((Teller::Agent, timings)),
                Ok(_) => tracing::debug!("stampo's agent answered something else"),
                Err(error) => tracing::debug!(%error, "stampo's agent does not tell"),
            }
        }
        if listening.qemu {
            return Ok((Teller::QemuAgent, self.timings_of_qemu_agent(row)?));
        }
        let why = "no guest agent listens: it is still starting, or it has none".to_owned();
        Err(unheard(&row.name, why))
    }

    fn timings_of_qemu_agent(&self, row: &GuestRow) -> Result<Timings, EngineError> {
        let request = ExecRequest {
            argv: ["/bin/sh", "-c", SCRIPT].map(str::to_owned).to_vec(),
            input: Vec::new(),
            timeout: QEMU_LIMIT,
        };
        let outcome = self.driver.agent_exec(row.id, &request);
        let outcome = outcome.map_err(EngineError::in_guest(&row.name))?;
        read(&String::from_utf8_lossy(&outcome.stdout)).ok_or_else(|| {
            let why = "qemu-guest-agent tells no uptime".to_owned();
            unheard(&row.name, why)
        })
    }
}

fn unheard(name: &GuestName, why: String) -> EngineError {
    EngineError::Conflict {
        act: format!("ask {name} how far it has started"),
        why,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What [`SCRIPT`] printed: `/proc/uptime`, then `NAME=VALUE` lines, none where there is no systemd.
fn read(text: &str) -> Option<Timings> {
    let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    let value = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    };
    // Microseconds; 0 is "not yet".
    let time = |name| {
        let us: u64 = value(name)?.parse().ok()?;
        (us > 0).then_some(us / 1_000)
    };
    Some(Timings {
        uptime_ms: millis(Duration::try_from_secs_f64(seconds).ok()?),
        system: SystemState::named(value("SystemState").unwrap_or_default()),
        jobs: value("NJobs").and_then(|n| n.parse().ok()),
        failed_units: value("NFailedUnits").and_then(|n| n.parse().ok()),
        initrd_ms: time("InitRDTimestampMonotonic"),
        userspace_ms: time("UserspaceTimestampMonotonic"),
        agent_ms: None,
        finished_ms: time("FinishTimestampMonotonic"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_shows_is_read() {
        let text = "93.41 170.02\nNJobs=2\nNFailedUnits=0\nInitRDTimestampMonotonic=0\n\
            UserspaceTimestampMonotonic=9120345\nFinishTimestampMonotonic=0\nSystemState=starting\n";
        let timings = read(text).expect("timings");
        assert_eq!(timings.uptime_ms, 93_410);
        assert_eq!(timings.system, SystemState::Starting);
        assert_eq!((timings.jobs, timings.failed_units), (Some(2), Some(0)));
        assert_eq!(
            (timings.initrd_ms, timings.userspace_ms),
            (None, Some(9120))
        );
        assert_eq!(timings.finished_ms, None);
        assert!(!timings.is_settled());
    }

    #[test]
    fn without_systemd_only_the_uptime_is_known() {
        let timings = read("5.00 3.00\n").expect("timings");
        assert_eq!(timings.uptime_ms, 5_000);
        assert_eq!(timings.system, SystemState::Unknown);
        for wrong in ["", "soon\n", "-1 0\n", "inf 0\n"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
