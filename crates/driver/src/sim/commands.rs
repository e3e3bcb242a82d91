//! Commands of stampo's own agent in simulated guests.
//!
//! A command ends once its input has: then it has written what a test had it write
//! ([`super::SimDriver::script_exec`]). `/bin/cat` without a script writes what it was given. A
//! signal ends any of them.

use super::state::Guest;
use serde::{Deserialize, Serialize};
use stampo_agent_protocol::{
    CHUNK_BYTES, Chunk, ExecOutput, ExecPoll, ExecSignal, ExecStart, MOST_SESSIONS, Refusal,
    Response, VERSION,
};
use uuid::Uuid;

/// A command that runs, or whose end was not told yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Running {
    program: String,
    stdin: Vec<u8>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    exit: Option<i32>,
}

/// The program that no simulated guest has.
const MISSING: &str = "/bin/missing";

pub(super) fn start(guest: &mut Guest, request: &ExecStart) -> Response {
    if guest.commands.len() >= MOST_SESSIONS {
        return refused("too many commands run already");
    }
    if request
        .argv
        .iter()
        .next()
        .is_some_and(|program| program == MISSING)
    {
        return refused("start it: No such file or directory");
    }
    let session = Uuid::new_v4().as_u64_pair().0;
    let command = Running {
        program: request.argv.first().cloned().unwrap_or_default(),
        stdin: Vec::new(),
        stdout: Vec::new(),
        stderr: Vec::new(),
        exit: None,
    };
    guest.commands.insert(session, command);
    Response::Started { session }
}

pub(super) fn poll(guest: &mut Guest, request: &ExecPoll) -> Response {
    let Some(command) = guest.commands.get_mut(&request.session) else {
        return refused("no such command");
    };
    command.stdin.extend_from_slice(request.stdin.bytes());
    if request.close_stdin && command.exit.is_none() {
        let script = guest.answers.get(&command.program).cloned();
        let echo = || match command.program.as_str() {
            "/bin/cat" => (0, command.stdin.clone(), Vec::new()),
            _ => (0, Vec::new(), Vec::new()),
        };
        let (exit, stdout, stderr) = script.unwrap_or_else(echo);
        command.exit = Some(exit);
        (command.stdout, command.stderr) = (stdout, stderr);
    }
    let (stdout, stderr) = (part(&mut command.stdout), part(&mut command.stderr));
    let all = command.stdout.is_empty() && command.stderr.is_empty();
    let exit = command.exit.filter(|_| all);
    if exit.is_some() {
        guest.commands.remove(&request.session);
    }
    Response::ExecOutput(ExecOutput {
        stdout,
        stderr,
        stdin_kept: 0,
        stdin_closed: request.close_stdin,
        exit,
        timed_out: false,
    })
}

pub(super) fn signal(guest: &mut Guest, request: &ExecSignal) -> Response {
    match guest.commands.get_mut(&request.session) {
        None => refused("no such command"),
        Some(command) => {
            command.exit.get_or_insert(128 + request.signal);
            Response::Signalled
        }
    }
}

/// The next piece of what it wrote.
fn part(written: &mut Vec<u8>) -> Chunk {
    let rest = written.split_off(written.len().min(CHUNK_BYTES));
    Chunk::first(&std::mem::replace(written, rest))
}

fn refused(why: &str) -> Response {
    Response::Refused(Refusal {
        why: why.to_owned(),
        version: VERSION,
    })
}
