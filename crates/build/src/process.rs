//! Running a program of the host: its own process group, ended when the build is cancelled.
//!
//! A program never outlives its build: its whole group is ended when the build stops, for whatever
//! reason. That stampo itself is killed is what the [`Guard`] is for: mmdebstrap ignores broken
//! pipes, and would go on for a minute.

use crate::progress::BuildProgress;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a waiting build looks whether it was cancelled.
const POLL: Duration = Duration::from_millis(50);
/// How long a program may clean up after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(15);

/// How a program ended, and what became of its output.
pub struct Ended<T> {
    /// The program's own status.
    pub status: ExitStatus,
    /// What the consumer of its output returned.
    pub consumed: T,
}

/// Runs `command`: `consume` reads its output, `on_line` gets each line of its messages (from
/// another thread). Both end with the program; a cancelled build ends the program. `consume`
/// returns whether it succeeded; if not, the program is ended too.
pub fn pipe<T>(
    command: &mut Command,
    progress: &dyn BuildProgress,
    on_line: &(dyn Fn(&str) + Sync),
    consume: impl FnOnce(&mut ChildStdout) -> (bool, T),
) -> io::Result<Ended<T>> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = command.spawn()?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let mut guard = Guard::start(child.id())?;
    let mut stdout = child
        .stdout
        .take()
        .ok_or_else(|| io::Error::other("no pipe for output"))?;
    let stderr = child
        .stderr
        .take()
        .ok_or_else(|| io::Error::other("no pipe for messages"))?;
    let (finished, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                on_line(&String::from_utf8_lossy(&line));
            }
        });
        threads.spawn(|| watch(group, progress, &finished, &stop));
        let (succeeded, consumed) = consume(&mut stdout);
        stop.store(!succeeded, Ordering::Release);
        drop(stdout);
        let status = child.wait();
        finished.store(true, Ordering::Release);
        guard.dismiss();
        // Nothing that the program left behind may hold the pipe of messages open.
        signal(group, Signal::KILL);
        status.map(|status| Ended { status, consumed })
    })
}

/// A small process that ends a group when stampo is gone: it waits for the end of a pipe that only
/// stampo holds, which the kernel closes even after SIGKILL.
struct Guard(Child);

impl Guard {
    fn start(group: u32) -> io::Result<Self> {
        let script = format!(
            "read -r _; kill -s TERM -- -{group}; sleep {}; kill -s KILL -- -{group}",
            GRACE.as_secs()
        );
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]).stdin(Stdio::piped());
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        Ok(Guard(command.spawn()?))
    }

    /// The group has ended by itself: its number may soon be another's.
    fn dismiss(&mut self) {
        // It can only fail if it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.dismiss();
    }
}

/// Ends the group when the build is cancelled or `stop` is set: first kindly, then not.
fn watch(
    group: Option<Pid>,
    progress: &dyn BuildProgress,
    finished: &AtomicBool,
    stop: &AtomicBool,
) {
    let mut asked: Option<Instant> = None;
    while !finished.load(Ordering::Acquire) {
        let wanted = stop.load(Ordering::Acquire) || progress.is_cancelled();
        match asked {
            None if wanted => {
                signal(group, Signal::TERM);
                asked = Some(Instant::now());
            }
            Some(since) if since.elapsed() > GRACE => signal(group, Signal::KILL),
            _ => {}
        }
        std::thread::sleep(POLL);
    }
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // The only failure is that nobody is left to hear it.
        let _ = kill_process_group(group, signal);
    }
}

/// Runs a short program to its end and gives its output, messages in English and dates in UTC.
pub fn output(command: &mut Command) -> io::Result<Output> {
    command
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .output()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_ends_the_group_when_its_pipe_breaks() {
        let mut sleeper = Command::new("sleep")
            .arg("100")
            .process_group(0)
            .spawn()
            .expect("sleep");
        let mut guard = Guard::start(sleeper.id()).expect("sh");
        assert!(sleeper.try_wait().expect("a child").is_none());
        drop(guard.0.stdin.take());
        let start = Instant::now();
        assert!(!sleeper.wait().expect("a child").success());
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_dismissed_guard_ends_nothing() {
        let mut sleeper = Command::new("sleep")
            .arg("100")
            .process_group(0)
            .spawn()
            .expect("sleep");
        Guard::start(sleeper.id()).expect("sh").dismiss();
        std::thread::sleep(Duration::from_millis(300));
        assert!(sleeper.try_wait().expect("a child").is_none());
        sleeper.kill().expect("a child");
        sleeper.wait().expect("a child");
    }
}
