//! `/etc/stampo/fork.d`: programs of the template's author that renew what only they know of.
//!
//! They run one after the other, in the order of their names, as root, with the new identity in
//! place and before services are told. A hook gets `STAMPO_HOSTNAME` and `STAMPO_MACHINE_ID`. All
//! together have one time limit; when it is over, the hook that runs is killed with everything
//! that it started and did not detach, and the rest is not run.

use crate::files;
use crate::outcome::{Doing, Failure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use stampo_agent_protocol::{HookOutcome, Identity, printable};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const DIRECTORY: &str = "/etc/stampo/fork.d";
/// How much of what a hook writes is kept: the end.
const KEPT_BYTES: usize = 4 << 10;

/// Runs every hook.
pub(crate) fn run(identity: &Identity, limit: Duration) -> Vec<HookOutcome> {
    let end = Instant::now() + limit;
    let names = files::names(DIRECTORY);
    let hooks = names.iter().filter(|name| !name.starts_with('.'));
    hooks.map(|name| run_one(name, identity, end)).collect()
}

fn run_one(name: &str, identity: &Identity, end: Instant) -> HookOutcome {
    let begin = Instant::now();
    let (code, detail) = match start(name, identity, end).and_then(|child| watch(child, end)) {
        Ok((status, last)) => match (status.code(), status.signal()) {
            (None, Some(signal)) => (None, format!("ended by signal {signal}; {last}")),
            (code, _) => (code, last),
        },
        Err(failure) => (None, failure.0),
    };
    HookOutcome {
        name: printable(name),
        code,
        detail: printable(&detail),
        took_us: begin.elapsed().as_micros() as u64,
    }
}

fn start(name: &str, identity: &Identity, end: Instant) -> Result<Child, Failure> {
    if Instant::now() >= end {
        return Err(Failure("the time was over before it began".into()));
    }
    let path = Path::new(DIRECTORY).join(name);
    let file = std::fs::metadata(&path).doing("look at it")?;
    if !file.is_file() || file.mode() & 0o111 == 0 {
        return Err(Failure("it is not an executable file".into()));
    }
    if file.uid() != 0 || file.mode() & 0o022 != 0 {
        return Err(Failure(
            "others than root may change it, so it is not run".into(),
        ));
    }
    let mut command = Command::new(&path);
    command
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("STAMPO_HOSTNAME", &identity.hostname)
        .env("STAMPO_MACHINE_ID", &identity.machine_id)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A group of its own, so that what it starts can be ended with it.
        .process_group(0);
    command.spawn().doing("start it")
}

/// Waits for the end of a hook, or ends it; its status and the last line that it wrote.
fn watch(mut child: Child, end: Instant) -> Result<(ExitStatus, String), Failure> {
    let mut errors = child.stderr.take().expect("it was asked for");
    let watched = wait(&child, &mut errors, end);
    if !matches!(watched, Ok((_, true))) {
        let group = Pid::from_child(&child);
        let _ = kill_process_group(group, Signal::KILL);
    }
    let status = child.wait().doing("wait for it")?;
    let (kept, ended) = watched?;
    if !ended {
        return Err(Failure("the time was over".into()));
    }
    let text = String::from_utf8_lossy(&kept);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    Ok((status, last.unwrap_or_default().to_owned()))
}

/// Reads what it writes until it ends; false when the time is over first. What it started and left
/// behind may hold the pipe open and is not waited for.
fn wait(child: &Child, errors: &mut ChildStderr, end: Instant) -> Result<(Vec<u8>, bool), Failure> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).doing("watch it")?;
    rustix::io::ioctl_fionbio(&*errors, true).doing("read what it writes")?;
    let mut kept = Vec::new();
    let mut open = true;
    loop {
        let ended = ready(&process, open.then_some(&*errors), end)?;
        open &= drain(errors, &mut kept)?;
        if let Some(ended) = ended {
            return Ok((kept, ended));
        }
    }
}

/// Waits for the process, its output or the time: whether it ended, if that is decided.
fn ready(
    process: &OwnedFd,
    errors: Option<&ChildStderr>,
    end: Instant,
) -> Result<Option<bool>, Failure> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Ok(Some(false));
    }
    let left = Timespec::try_from(left).doing("watch it")?;
    let mut wanted = vec![PollFd::new(process, PollFlags::IN)];
    wanted.extend(errors.map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
    match poll(&mut wanted, Some(&left)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error).doing("watch it"),
    }
    Ok((!wanted[0].revents().is_empty()).then_some(true))
}

/// Reads what is there; false at the end of the pipe.
fn drain(errors: &ChildStderr, kept: &mut Vec<u8>) -> Result<bool, Failure> {
    let mut buffer = [0; KEPT_BYTES];
    loop {
        match rustix::io::read(errors, &mut buffer[..]) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                kept.extend_from_slice(&buffer[..count]);
                let over = kept.len().saturating_sub(KEPT_BYTES);
                kept.drain(..over);
            }
            Err(Errno::AGAIN) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).doing("read what it writes"),
        }
    }
}
