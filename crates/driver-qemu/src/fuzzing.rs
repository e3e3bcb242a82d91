//! The clients of QMP and of the guest agent on a stream that somebody else speaks on, for fuzzing.
//!
//! Apart, so that the clients themselves stay private. No other code of the product uses it.

use crate::agent::Agent;
use crate::qmp::Qmp;
use crate::wire::{Deadline, Wire};
use stampo_driver::{ExecOutcome, ExecRequest};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long one conversation may take.
const LIMIT: Duration = Duration::from_millis(200);

/// What a hostile agent's answers can be asked for.
#[derive(Debug, Clone, Copy)]
pub enum Question {
    /// Is it there: the answer to the handshake with this id.
    Handshake(u64),
    /// A file, of at most this many bytes.
    Read(usize),
    /// Whether these bytes were written.
    Write(&'static [u8]),
    /// The end and the output of a program.
    Exec,
}

/// What a conversation came to, or the text of its error.
#[derive(Debug)]
pub enum Heard {
    /// There is nothing but success.
    Done,
    /// The content of a file.
    Content(Vec<u8>),
    /// The end of a program.
    Ended(ExecOutcome),
    /// The machine's UUID.
    Uuid(uuid::Uuid),
}

/// Asks an agent that speaks on `stream`.
pub fn ask_agent(stream: UnixStream, question: Question) -> Result<Heard, String> {
    let mut agent = Agent::over(Wire::over(stream));
    let deadline = Deadline::after(LIMIT);
    let heard = match question {
        Question::Handshake(id) => agent.await_sync(&[id], deadline).map(|()| Heard::Done),
        Question::Read(limit) => agent.read_file("/f", limit, deadline).map(Heard::Content),
        Question::Write(bytes) => agent
            .write_file("/f", bytes, deadline)
            .map(|()| Heard::Done),
        Question::Exec => {
            let request = ExecRequest {
                argv: vec!["true".to_owned()],
                input: Vec::new(),
                timeout: LIMIT,
            };
            agent.exec(&request, deadline).map(Heard::Ended)
        }
    };
    heard.map_err(|error| error.to_string())
}

/// Greets a QMP server that speaks on `stream` and asks for the machine's UUID.
pub fn ask_monitor(stream: UnixStream) -> Result<Heard, String> {
    let deadline = Deadline::after(LIMIT);
    let uuid = Qmp::greet(Wire::over(stream), deadline).and_then(|mut qmp| qmp.uuid(deadline));
    uuid.map(Heard::Uuid).map_err(|error| error.to_string())
}
