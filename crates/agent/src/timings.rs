//! How far the system has started, in systemd's own words.

use crate::systemd::{self, Value};
use rustix::time::{ClockId, clock_gettime};
use stampo_agent_protocol::{SystemState, Timings};

/// Since the kernel started, in milliseconds.
pub(crate) fn uptime_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
}

/// What can't be asked is unknown, and the system has then not settled.
pub(crate) fn timings() -> Timings {
    let number = |name| match systemd::property(name) {
        Ok(Value::Number(number)) => Some(number),
        _ => None,
    };
    let small = |name| number(name).and_then(|n| u32::try_from(n).ok());
    // systemd's times are on CLOCK_MONOTONIC, in microseconds; 0 is "not yet".
    let time = |name| number(name).filter(|n| *n > 0).map(|n| n / 1_000);
    let system = match systemd::property("SystemState") {
        Ok(Value::Text(text)) => state(&text),
        _ => SystemState::Unknown,
    };
    Timings {
        uptime_ms: uptime_ms(),
        system,
        jobs: small("NJobs"),
        failed_units: small("NFailedUnits"),
        userspace_ms: time("UserspaceTimestampMonotonic"),
        finished_ms: time("FinishTimestampMonotonic"),
    }
}

fn state(text: &str) -> SystemState {
    match text {
        "initializing" => SystemState::Initializing,
        "starting" => SystemState::Starting,
        "running" => SystemState::Running,
        "degraded" => SystemState::Degraded,
        "maintenance" => SystemState::Maintenance,
        "stopping" => SystemState::Stopping,
        _ => SystemState::Unknown,
    }
}
