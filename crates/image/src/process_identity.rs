//! Who a process is, so that a number that was given out again can't be taken for it.
//!
//! A pid alone says little after its process has ended. With the start time in clock ticks since
//! boot and the id of that boot it is unique on a machine. Nothing here signals a process.

use serde::{Deserialize, Serialize};
use std::io;

/// One process of this machine, for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessIdentity {
    /// Its number.
    pub pid: u32,
    /// When it started: clock ticks since boot, field 22 of `/proc/PID/stat` (proc_pid_stat(5)).
    pub start_ticks: u64,
    /// The boot it started in, from `/proc/sys/kernel/random/boot_id` (random(4)).
    pub boot_id: String,
}

impl ProcessIdentity {
    /// This process.
    pub fn current() -> io::Result<Self> {
        Self::of_pid(std::process::id())
    }

    /// The process that has `pid` now; an error of kind `NotFound` when there is none.
    pub fn of_pid(pid: u32) -> io::Result<Self> {
        let start_ticks = start_ticks(pid)?;
        Ok(ProcessIdentity {
            pid,
            start_ticks,
            boot_id: boot_id()?,
        })
    }

    /// Whether this very process still runs. A zombie does not.
    pub fn is_alive(&self) -> io::Result<bool> {
        if boot_id()? != self.boot_id {
            return Ok(false);
        }
        match start_ticks(self.pid) {
            Ok(ticks) => Ok(ticks == self.start_ticks),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// The id of the running boot.
fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// When the running process `pid` started.
fn start_ticks(pid: u32) -> io::Result<u64> {
    let stat = match std::fs::read(format!("/proc/{pid}/stat")) {
        // ESRCH: it ended between open and read.
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
            return Err(io::ErrorKind::NotFound.into());
        }
        other => other?,
    };
    let (state, ticks) = parse_stat(&stat).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "unknown form of /proc/PID/stat")
    })?;
    if matches!(state, b'Z' | b'X') {
        Err(io::ErrorKind::NotFound.into())
    } else {
        Ok(ticks)
    }
}

/// State (field 3) and start time (field 22) of a stat line.
fn parse_stat(stat: &[u8]) -> Option<(u8, u64)> {
    // The command's name may hold spaces and brackets; only the last bracket ends it.
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = std::str::from_utf8(&stat[after_name..])
        .ok()?
        .split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn child() -> std::process::Child {
        Command::new("sleep")
            .arg("60")
            .stdin(Stdio::null())
            .spawn()
            .expect("start sleep")
    }

    #[test]
    fn this_process_is_alive_and_equal_to_itself() {
        let me = ProcessIdentity::current().expect("read");
        assert!(me.is_alive().expect("ask"));
        assert_eq!(me, ProcessIdentity::current().expect("read"));
    }

    #[test]
    fn an_ended_process_is_dead_as_a_zombie_and_after() {
        let mut child = child();
        let identity = ProcessIdentity::of_pid(child.id()).expect("read");
        assert!(identity.is_alive().expect("ask"));
        child.kill().expect("kill");
        while identity.is_alive().expect("ask") {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.wait().expect("reap");
        assert!(!identity.is_alive().expect("ask"));
        let gone = ProcessIdentity::of_pid(identity.pid).expect_err("must be gone");
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn another_process_with_the_same_pid_or_of_another_boot_is_not_this_one() {
        let me = ProcessIdentity::current().expect("read");
        let earlier = ProcessIdentity {
            start_ticks: me.start_ticks - 1,
            ..me.clone()
        };
        let other_boot = ProcessIdentity {
            boot_id: uuid::Uuid::nil().to_string(),
            ..me
        };
        assert!(!earlier.is_alive().expect("ask"));
        assert!(!other_boot.is_alive().expect("ask"));
    }

    #[test]
    fn a_name_full_of_brackets_and_spaces_does_not_shift_the_fields() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21";
        for name in ["sh", "a) R 1 2", "((", ") "] {
            let stat = format!("17 ({name}) {rest}");
            assert_eq!(parse_stat(stat.as_bytes()), Some((b'S', 4242)), "{name:?}");
        }
        assert_eq!(parse_stat(b"17 (sh) S 1 2"), None);
    }

    #[test]
    fn its_record_refuses_unknown_keys() {
        let me = ProcessIdentity::current().expect("read");
        let json = serde_json::to_string(&me).expect("write");
        assert_eq!(
            serde_json::from_str::<ProcessIdentity>(&json).expect("read"),
            me
        );
        let more = json.replace('{', "{\"extra\":1,");
        assert!(serde_json::from_str::<ProcessIdentity>(&more).is_err());
    }
}
