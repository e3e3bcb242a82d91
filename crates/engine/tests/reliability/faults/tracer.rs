//! Runs a child and everything that it starts, stops each thread before a call that changes
//! something, and lets a fault happen there.
//!
//! `strace -e inject` does much of this, but it counts per thread and cannot make a write short.
//! Here the calls of all threads and processes have one numbering, so that every one can be a
//! point. The child asks to be traced and installs the filter itself (`child.rs`); other calls
//! run at full speed.

use super::calls::{self, Call, Kind, set_argument};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs::File;
use std::path::Path;
use std::process::Command;

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process that makes it is killed instead.
    Kill,
    /// It is not made and fails with this error.
    Error(Errno),
    /// It really writes half of what was asked for.
    Short,
}

/// How a traced child went.
pub struct Traced {
    /// How the child itself ended.
    pub ended: WaitStatus,
    /// What it and its children said on standard error.
    pub said: String,
    /// All calls when they were asked for, otherwise those that met a fault.
    pub calls: Vec<Call>,
    /// How many calls there were.
    pub count: usize,
    /// Whether the last of them was a sync of the catalog.
    synced_catalog: bool,
}

impl Traced {
    /// Whether the child said that it did its work.
    pub fn succeeded(&self) -> bool {
        matches!(self.ended, WaitStatus::Exited(_, 0))
    }
}

/// Runs `child`; its standard error goes to the file `said`. `fault` says what happens to the call
/// of each number, from 1. With `all`, every call is reported.
pub fn run(
    child: &mut Command,
    said: &Path,
    fault: &dyn Fn(usize) -> Option<Fault>,
    all: bool,
) -> Traced {
    let output = File::create(said).expect("a file for standard error");
    // Waited for below, by number, with everything that it starts.
    #[expect(
        clippy::zombie_processes,
        reason = "the loop below waits for every process"
    )]
    let child = child.stderr(output).spawn().expect("this program starts");
    let main = Pid::from_raw(child.id() as i32);
    // Everything traced belongs to this thread; other threads have children of their own.
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    let first = waitpid(main, Some(flags)).expect("the child stops");
    assert_eq!(
        first,
        WaitStatus::Stopped(main, Signal::SIGSTOP),
        "the child is not traced"
    );
    let options = Options::PTRACE_O_TRACESECCOMP
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(main, options).expect("the child is traced");
    go_on(main, None);
    let mut traced = Traced {
        ended: first,
        said: String::new(),
        calls: Vec::new(),
        count: 0,
        synced_catalog: false,
    };
    loop {
        match waitpid(None, Some(flags)) {
            Err(Errno::ECHILD) => break,
            Err(Errno::EINTR) => {}
            Err(other) => panic!("waiting for the traced: {other}"),
            Ok(status) => traced.on(status, main, fault, all),
        }
    }
    traced.said = String::from_utf8_lossy(&std::fs::read(said).expect("its words")).into_owned();
    traced
}

impl Traced {
    fn on(
        &mut self,
        status: WaitStatus,
        main: Pid,
        fault: &dyn Fn(usize) -> Option<Fault>,
        all: bool,
    ) {
        match status {
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) if pid == main => {
                self.ended = status;
            }
            WaitStatus::PtraceEvent(thread, _, ptrace_event) => {
                if ptrace_event == nix::libc::PTRACE_EVENT_SECCOMP {
                    self.at_call(thread, fault, all);
                }
                go_on(thread, None);
            }
            // A new thread begins with a stop; it is not meant for the thread itself.
            WaitStatus::Stopped(thread, Signal::SIGSTOP | Signal::SIGTRAP) => go_on(thread, None),
            WaitStatus::Stopped(thread, signal) => go_on(thread, Some(signal)),
            _ => {}
        }
    }

    fn at_call(&mut self, thread: Pid, fault: &dyn Fn(usize) -> Option<Fault>, all: bool) {
        let Ok(mut registers) = ptrace::getregs(thread) else {
            // Killed in the meantime, with its process.
            return;
        };
        self.count += 1;
        let fault = fault(self.count);
        let is_sync = calls::is_sync(&registers);
        if !all && !is_sync && fault.is_none() {
            self.synced_catalog = false;
            return;
        }
        let mut call = Call::of(self.count, thread, &registers);
        call.follows_catalog = self.synced_catalog;
        self.synced_catalog = is_sync && call.is_of_catalog();
        if !all && fault.is_none() {
            return;
        }
        // Threads may have shifted the numbering; a disk's errors come to files only.
        let fault = fault.filter(|fault| *fault == Fault::Kill || call.is_of_file());
        match fault {
            None => {}
            Some(Fault::Kill) => kill(thread, Signal::SIGKILL).expect("ours to kill"),
            Some(Fault::Error(errno)) => {
                // No such call, so the kernel makes none and returns what stands in rax.
                registers.orig_rax = u64::MAX;
                registers.rax = -(errno as i64) as u64;
            }
            Some(Fault::Short) => {
                if let Kind::Write { count } = call.kind {
                    match call.name.contains("writev") {
                        true => calls::halve_first_part(thread, &mut registers),
                        false => set_argument(&mut registers, count, (call.count / 2).max(1)),
                    }
                }
            }
        }
        if fault.is_none() && !all {
            return;
        }
        if fault.is_some_and(|fault| fault != Fault::Kill) {
            ptrace::setregs(thread, registers).expect("a stopped thread has registers");
        }
        self.calls.push(call);
    }
}

fn go_on(thread: Pid, signal: Option<Signal>) {
    match ptrace::cont(thread, signal) {
        // Killed in the meantime.
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(other) => panic!("{thread} can't go on: {other}"),
    }
}
