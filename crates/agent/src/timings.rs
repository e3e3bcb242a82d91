//! How far the system has started, in systemd's own words and in the kernel's.

use crate::systemd::{self, Value};
use rustix::fs::{Mode, OFlags};
use rustix::time::{ClockId, clock_gettime};
use stampo_agent_protocol::{SystemState, Timings};
use std::sync::OnceLock;

/// What the kernel logs when it gives the initial RAM disk to its first program (init/main.c,
/// `run_init_process`). Debian's initramfs-tools tells systemd nothing of when that was.
const INITRD: &[u8] = b";Run /init as init process";
/// The longest record of /dev/kmsg that is of interest.
const RECORD_BYTES: usize = 2048;

/// When the agent began.
static BEGUN_MS: OnceLock<u64> = OnceLock::new();

/// Remembers that the agent begins now.
pub(crate) fn begin() {
    let _ = BEGUN_MS.set(uptime_ms());
}

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
        Ok(Value::Text(text)) => SystemState::named(&text),
        _ => SystemState::Unknown,
    };
    Timings {
        uptime_ms: uptime_ms(),
        system,
        jobs: small("NJobs"),
        failed_units: small("NFailedUnits"),
        initrd_ms: time("InitRDTimestampMonotonic").or_else(logged_initrd_ms),
        agent_ms: BEGUN_MS.get().copied(),
        userspace_ms: time("UserspaceTimestampMonotonic"),
        finished_ms: time("FinishTimestampMonotonic"),
    }
}

/// From the kernel's log, as long as that still has it. A record is `priority,sequence,microseconds,
/// flags;text` (Linux, Documentation/ABI/testing/dev-kmsg); each read gives one.
fn logged_initrd_ms() -> Option<u64> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let log = rustix::fs::open("/dev/kmsg", flags, Mode::empty()).ok()?;
    let mut record = [0; RECORD_BYTES];
    loop {
        // Also the end of the log, and a record that was overwritten meanwhile, is an error here.
        let count = rustix::io::read(&log, &mut record).ok()?;
        if let Some(us) = initrd_us(&record[..count]) {
            return Some(us / 1_000);
        }
    }
}

fn initrd_us(record: &[u8]) -> Option<u64> {
    let at = record
        .windows(INITRD.len())
        .position(|part| part == INITRD)?;
    let head = str::from_utf8(&record[..at]).ok()?;
    head.split(',').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_ram_disk_begins_when_the_kernel_says_so() {
        let record = b"6,512,1873022,-;Run /init as init process\n";
        assert_eq!(initrd_us(record), Some(1_873_022));
        // Without an initial RAM disk the root's own program is the first.
        assert_eq!(
            initrd_us(b"6,512,1873022,-;Run /sbin/init as init process\n"),
            None
        );
        assert_eq!(initrd_us(b"6,512;Run /init as init process"), None);
    }
}
