//! The wall clock. It went on from the moment of the freeze, so it is as late as the template is
//! old.

use crate::outcome::{Doing, Step};
use rustix::time::{ClockId, Timespec, clock_settime};
use stampo_agent_protocol::Outcome;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Sets the clock to what it was on the host when the request was sent, and the time since it
/// arrived here. What the line cost is not known and stays missing.
pub(crate) fn set(unix_ns: u64, arrived: Instant) -> Step {
    let now_ns = u128::from(unix_ns) + arrived.elapsed().as_nanos();
    let time = Timespec {
        tv_sec: i64::try_from(now_ns / 1_000_000_000).doing("set the clock")?,
        tv_nsec: (now_ns % 1_000_000_000) as i64,
    };
    clock_settime(ClockId::Realtime, time).doing("set the clock")?;
    Ok(Outcome::Done)
}

/// The wall clock, in nanoseconds since 1970-01-01 UTC.
pub(crate) fn unix_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_nanos()).ok())
        .unwrap_or(0)
}
