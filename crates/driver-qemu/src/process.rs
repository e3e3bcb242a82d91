//! Which process a guest is, in a way that a reused process id can't fool.
//!
//! A process is named by its id, its start time in clock ticks since boot (`proc_pid_stat(5)`,
//! field 22) and the boot's own id. It is signalled only through a pidfd that was opened before
//! the name was checked, so the check and the signal are about the same process.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The name of one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProcessName {
    /// The process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    start_ticks: u64,
    /// Which boot that was.
    boot_id: String,
}

impl ProcessName {
    /// The name of the process that has this id now; `None` when there is none, or only the
    /// remains of one that nobody has waited for (a zombie).
    pub fn of(pid: u32) -> io::Result<Option<Self>> {
        let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Err(e) if is_gone(&e) => return Ok(None),
            read => read?,
        };
        let (state, start_ticks) = parse_stat(&stat).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "/proc/PID/stat has an unknown form",
            )
        })?;
        if matches!(state, 'Z' | 'X' | 'x') {
            return Ok(None);
        }
        Ok(Some(ProcessName {
            pid,
            start_ticks,
            boot_id: boot_id()?,
        }))
    }

    /// Whether this very process still runs.
    pub fn is_alive(&self) -> io::Result<bool> {
        Ok(Self::of(self.pid)?.as_ref() == Some(self))
    }

    /// Whether it was started since the host was.
    pub fn is_of_boot(&self, boot_id: &str) -> bool {
        self.boot_id == boot_id
    }

    /// Milliseconds since it started.
    pub fn uptime_ms(&self) -> io::Result<u64> {
        let text = fs::read_to_string("/proc/uptime")?;
        let seconds: f64 = text
            .split(' ')
            .next()
            .and_then(|s| s.parse().ok())
            .unwrap_or_default();
        let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
        let started_ms = self.start_ticks.saturating_mul(1000) / ticks_per_second;
        Ok(((seconds * 1000.0) as u64).saturating_sub(started_ms))
    }

    /// A hold on this very process; `None` when it has ended.
    pub fn hold(&self) -> io::Result<Option<Held>> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            opened => opened?,
        };
        // Checked after opening: from here on the descriptor can't become another process.
        Ok(self.is_alive()?.then_some(Held { fd }))
    }

    /// The arguments that the process was started with.
    pub fn arguments(&self) -> io::Result<Vec<String>> {
        let bytes = fs::read(format!("/proc/{}/cmdline", self.pid))?;
        let words = bytes
            .split(|b| *b == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned());
        Ok(words.collect())
    }
}

/// A process that can be signalled and waited for.
pub(crate) struct Held {
    fd: OwnedFd,
}

impl Held {
    /// Kills it (SIGKILL); it may have ended already.
    pub fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.fd, Signal::KILL) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            sent => Ok(sent?),
        }
    }

    /// Waits until it has ended; false when `limit` passed before.
    pub fn wait_gone(&self, limit: Duration) -> io::Result<bool> {
        let limit = Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        };
        let mut watched = [PollFd::new(&self.fd, PollFlags::IN)];
        loop {
            match poll(&mut watched, Some(&limit)) {
                Err(rustix::io::Errno::INTR) => {}
                polled => return Ok(polled? > 0),
            }
        }
    }
}

/// Whether a file of `/proc` could not be read because its process has ended.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// State and start time. The name in parentheses may itself hold spaces and parentheses.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    // The state is field 3; 18 fields lie between it and field 22.
    let start_ticks = fields.nth(18)?.parse().ok()?;
    Some((state, start_ticks))
}

/// The id of this boot (`random(4)`).
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn sleeper() -> std::process::Child {
        Command::new("sleep")
            .arg("60")
            .stdout(Stdio::null())
            .spawn()
            .expect("sleep starts")
    }

    #[test]
    fn the_start_time_is_found_behind_a_hostile_name() {
        let stat = format!(
            "7 (a) R b) S {} 4242 0",
            (4..22).map(|n| n.to_string()).collect::<Vec<_>>().join(" ")
        );
        assert_eq!(parse_stat(&stat), Some(('S', 4242)));
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn a_process_is_held_killed_and_seen_as_gone_although_nobody_waited_for_it() {
        let mut child = sleeper();
        let name = ProcessName::of(child.id())
            .expect("readable")
            .expect("it runs");
        assert!(name.is_alive().expect("readable"));
        let held = name.hold().expect("held").expect("it runs");
        assert!(!held.wait_gone(Duration::from_millis(50)).expect("polled"));
        held.kill().expect("killed");
        assert!(held.wait_gone(Duration::from_secs(5)).expect("polled"));
        assert!(
            !name.is_alive().expect("readable"),
            "a zombie does not count as alive"
        );
        child.wait().expect("reaped");
        held.kill().expect("killing the gone is fine");
        assert!(name.hold().expect("checked").is_none());
    }

    #[test]
    fn another_process_with_the_same_id_is_not_taken_for_it() {
        let mut child = sleeper();
        let name = ProcessName::of(child.id())
            .expect("readable")
            .expect("it runs");
        for other in [
            ProcessName {
                start_ticks: name.start_ticks - 1,
                ..name.clone()
            },
            ProcessName {
                boot_id: "another boot".to_owned(),
                ..name.clone()
            },
        ] {
            assert!(!other.is_alive().expect("readable"));
            assert!(
                other.hold().expect("checked").is_none(),
                "it must not be possible to kill it"
            );
        }
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }
}
