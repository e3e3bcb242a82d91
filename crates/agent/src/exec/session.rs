//! One command: its process group, its pipes, and what is kept of its input.

use super::{rights, without_waiting};
use crate::account::Account;
use crate::outcome::{Doing, Failure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use stampo_agent_protocol::{ABANDONED_MS, CHUNK_BYTES, Chunk, ExecOutput, ExecPoll, ExecStart};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command that was started.
pub(super) struct Session {
    child: Child,
    process: OwnedFd,
    stdin: Option<ChildStdin>,
    /// Of its input, what its pipe had no room for.
    kept: Vec<u8>,
    /// Nothing comes after what is kept.
    input_ends: bool,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    asked: Instant,
    end: Option<Instant>,
    timed_out: bool,
}

impl Session {
    pub fn start(request: &ExecStart) -> Result<Self, Failure> {
        let program = request.argv.first().map_or("", String::as_str);
        let doing = format!("start {program}");
        let mut child = command(request)?.spawn().doing(&doing)?;
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).doing("watch it")?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().map(OwnedFd::from);
        let stderr = child.stderr.take().map(OwnedFd::from);
        stdin.iter().try_for_each(without_waiting)?;
        stdout.iter().chain(&stderr).try_for_each(without_waiting)?;
        let asked = Instant::now();
        Ok(Session {
            child,
            process,
            stdin,
            kept: Vec::new(),
            input_ends: false,
            stdout,
            stderr,
            asked,
            end: request
                .limit_ms
                .map(|limit| asked + Duration::from_millis(limit)),
            timed_out: false,
        })
    }

    pub fn asked(&self) -> Instant {
        self.asked
    }

    /// When it is given up, or its time is over.
    pub fn deadline(&self) -> Instant {
        let abandoned = self.asked + Duration::from_millis(ABANDONED_MS);
        match self.end {
            Some(end) if !self.timed_out => end.min(abandoned),
            _ => abandoned,
        }
    }

    pub fn end_late(&mut self, now: Instant) {
        if !self.timed_out && self.end.is_some_and(|end| now >= end) {
            // What has ended by itself was in time.
            self.timed_out = matches!(self.child.try_wait(), Ok(None));
            self.end = None;
            self.signal(Signal::KILL);
        }
    }

    pub fn signal(&mut self, signal: Signal) {
        // Not reaped yet, so that its number is nobody else's.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process_group(Pid::from_child(&self.child), signal);
        }
    }

    /// Ends it; its process is to be waited for.
    pub fn end(mut self) -> Child {
        self.signal(Signal::KILL);
        self.child
    }

    pub fn poll(&mut self, request: &ExecPoll) -> Result<ExecOutput, Failure> {
        if !self.kept.is_empty() && !request.stdin.bytes().is_empty() {
            return Err(Failure("what it was given last is not taken yet".into()));
        }
        self.asked = Instant::now();
        let until = self.asked + Duration::from_millis(request.wait_ms.into());
        self.kept.extend_from_slice(request.stdin.bytes());
        self.input_ends |= request.close_stdin;
        let had_input = !self.kept.is_empty();
        loop {
            self.end_late(Instant::now());
            self.feed();
            // Asked before its pipes are read: all that it wrote is in them then.
            let status = self.child.try_wait().doing("wait for it")?;
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            let more =
                drain(&mut self.stdout, &mut stdout)? | drain(&mut self.stderr, &mut stderr)?;
            let exit = status.filter(|_| !more).map(exit_code);
            let news = !stdout.is_empty() || !stderr.is_empty() || exit.is_some();
            let taken = had_input && self.kept.is_empty();
            if news || taken || Instant::now() >= until {
                return Ok(self.output(&stdout, &stderr, exit));
            }
            self.wait(until)?;
        }
    }

    fn output(&self, stdout: &[u8], stderr: &[u8], exit: Option<i32>) -> ExecOutput {
        ExecOutput {
            stdout: Chunk::first(stdout),
            stderr: Chunk::first(stderr),
            stdin_kept: u32::try_from(self.kept.len()).unwrap_or(u32::MAX),
            stdin_closed: self.stdin.is_none(),
            exit,
            timed_out: self.timed_out,
        }
    }

    /// Gives it as much of its input as its pipe takes.
    fn feed(&mut self) {
        while let Some(pipe) = self.stdin.as_ref().filter(|_| !self.kept.is_empty()) {
            match rustix::io::write(pipe, &self.kept) {
                Ok(count) => drop(self.kept.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // It does not read any more.
                Err(_) => self.stdin = None,
            }
        }
        if self.stdin.is_none() || self.input_ends {
            self.stdin = None;
            self.kept.clear();
        }
    }

    /// Until it ends, has written something, or takes something; or the time is over.
    fn wait(&self, until: Instant) -> Result<(), Failure> {
        let until = self.end.map_or(until, |end| end.min(until));
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).doing("watch it")?;
        let mut wanted = vec![PollFd::new(&self.process, PollFlags::IN)];
        let outputs = self.stdout.iter().chain(&self.stderr);
        wanted.extend(outputs.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        let input = self.stdin.iter().filter(|_| !self.kept.is_empty());
        wanted.extend(input.map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::OUT)));
        match poll(&mut wanted, Some(&left)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error).doing("watch it"),
        }
    }
}

fn command(request: &ExecStart) -> Result<Command, Failure> {
    let mut words = request.argv.iter();
    let mut command = Command::new(words.next().map_or("", String::as_str));
    let root = "root".to_owned();
    let account = Account::find(request.user.as_ref().unwrap_or(&root));
    command.args(words).env_clear().env("PATH", PATH);
    match &account {
        Ok(account) => {
            command
                .env("HOME", &account.home)
                .env("SHELL", &account.shell);
            command
                .env("USER", &account.name)
                .env("LOGNAME", &account.name);
        }
        // A guest without a passwd file has root all the same.
        Err(_) if request.user.is_none() => {
            command.env("HOME", "/root").env("USER", "root");
        }
        Err(error) => return Err(Failure(error.0.clone())),
    }
    command.envs(
        request
            .env
            .iter()
            .filter_map(|setting| setting.split_once('=')),
    );
    command
        .current_dir(request.cwd.as_deref().unwrap_or("/"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that what it starts can be ended with it.
        .process_group(0);
    if request.user.is_some() {
        rights::give_up(&mut command, account?);
    }
    Ok(command)
}

/// Reads what is there, up to a chunk; whether there may be more. A pipe at its end is closed.
fn drain(pipe: &mut Option<OwnedFd>, into: &mut Vec<u8>) -> Result<bool, Failure> {
    let mut buffer = [0; 16 << 10];
    while let Some(open) = pipe.as_ref() {
        let room = (CHUNK_BYTES - into.len()).min(buffer.len());
        if room == 0 {
            return Ok(true);
        }
        match rustix::io::read(open, &mut buffer[..room]) {
            Ok(0) => *pipe = None,
            Ok(count) => into.extend_from_slice(&buffer[..count]),
            Err(Errno::AGAIN) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).doing("read what it writes"),
        }
    }
    Ok(false)
}

/// As a shell has it.
fn exit_code(status: ExitStatus) -> i32 {
    let signal = || 128 + status.signal().unwrap_or_default();
    status.code().unwrap_or_else(signal)
}
