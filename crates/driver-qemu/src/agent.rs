//! A guest agent client: commands and files in a running guest.
//!
//! Protocol: QEMU `docs/interop/qemu-ga-ref` (`qga/qapi-schema.json`). The agent belongs to the
//! guest, so all that comes from it is untrusted: lines are bounded, numbers are checked, text is
//! made printable, and nothing waits for longer than its deadline.

mod exec;
mod file;

use crate::wire::{Deadline, Wire, WireError};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// The agent caps captured output at 16 MiB for each stream; base64 makes 22 MiB of it.
const LONGEST_LINE: usize = 48 << 20;

/// Stale bytes of an earlier conversation that are skipped before the agent is given up: two
/// answers of the greatest length.
const MOST_STALE_BYTES: usize = 2 * LONGEST_LINE;

/// How often the handshake is repeated while the agent does not answer: a request sent while the
/// guest was still booting may have been lost.
const HANDSHAKE_EVERY: Duration = Duration::from_secs(2);

/// A synchronised connection to one guest's agent.
pub(crate) struct Agent {
    wire: Wire,
}

#[derive(Deserialize)]
struct Failure {
    desc: String,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "return")]
    returned: Option<Value>,
    error: Option<Failure>,
}

impl Agent {
    /// Connects and waits for the agent until the deadline.
    ///
    /// The handshake is `guest-sync-delimited`: a 0xFF byte makes the agent drop half a request
    /// that somebody left, and its answer starts with 0xFF, before which everything is stale.
    pub fn connect(path: &Path, deadline: Deadline) -> Result<Self, WireError> {
        let mut agent = Agent::over(Wire::connect(path, deadline)?);
        let mut sent = Vec::new();
        loop {
            // 52 bits: agents and JSON parsers hold integers up to 2^53 without loss.
            let id = uuid::Uuid::new_v4().as_u64_pair().0 >> 12;
            sent.push(id);
            let mut request = vec![0xff];
            request.extend(
                json!({"execute": "guest-sync-delimited", "arguments": {"id": id}})
                    .to_string()
                    .bytes(),
            );
            request.push(b'\n');
            agent.wire.send(&request, deadline)?;
            match agent.await_sync(&sent, deadline.at_most(HANDSHAKE_EVERY)) {
                Err(WireError::Timeout) if deadline.left().is_some() => {}
                outcome => return outcome.map(|()| agent),
            }
        }
    }

    /// An agent that needs no handshake.
    pub fn over(wire: Wire) -> Self {
        Agent { wire }
    }

    /// Waits for the answer to one of these handshakes.
    pub fn await_sync(&mut self, sent: &[u64], deadline: Deadline) -> Result<(), WireError> {
        loop {
            self.wire.skip_past(0xff, MOST_STALE_BYTES, deadline)?;
            let line = self.wire.line(1 << 10, deadline)?;
            let answer: Option<Answer> = serde_json::from_slice(&line).ok();
            let id = answer
                .and_then(|answer| answer.returned)
                .as_ref()
                .and_then(Value::as_u64);
            if id.is_some_and(|id| sent.contains(&id)) {
                return Ok(());
            }
        }
    }

    /// Runs one agent command.
    fn command(
        &mut self,
        name: &str,
        arguments: Value,
        deadline: Deadline,
    ) -> Result<Value, WireError> {
        self.send(name, arguments, deadline)?;
        let line = loop {
            let line = self.wire.line(LONGEST_LINE, deadline)?;
            // A late answer to a repeated handshake is marked as such.
            if line.first() != Some(&0xff) {
                break line;
            }
        };
        let answer: Answer = serde_json::from_slice(&line)
            .map_err(|_| WireError::Malformed(format!("{name} gave no JSON object")))?;
        match (answer.returned, answer.error) {
            (Some(value), None) => Ok(value),
            (_, Some(failure)) => Err(WireError::refused(name, &failure.desc)),
            (None, None) => Err(WireError::Malformed(format!("{name} returned nothing"))),
        }
    }

    fn send(&mut self, name: &str, arguments: Value, deadline: Deadline) -> Result<(), WireError> {
        let mut line = json!({"execute": name, "arguments": arguments}).to_string();
        line.push('\n');
        self.wire.send(line.as_bytes(), deadline)
    }

    /// Asks the guest to shut down. There is no answer on success.
    pub fn shutdown(&mut self, deadline: Deadline) -> Result<(), WireError> {
        self.send("guest-shutdown", json!({"mode": "powerdown"}), deadline)
    }
}

/// Reads an answer into the expected shape; anything else is the guest's fault.
fn shape<T: serde::de::DeserializeOwned>(command: &str, value: Value) -> Result<T, WireError> {
    serde_json::from_value(value)
        .map_err(|e| WireError::Malformed(crate::wire::printable(&format!("{command}: {e}"))))
}

#[cfg(test)]
mod tests;
