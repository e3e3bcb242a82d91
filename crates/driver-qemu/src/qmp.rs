//! A QMP client: the few commands that stampo needs.
//!
//! Protocol: QEMU `docs/interop/qmp-spec.rst`. QEMU serves one client at a time; others wait in
//! the socket's queue, so a connection is made for one purpose and closed at once.

mod migration;

use crate::program::Version;
use crate::wire::{Deadline, Wire, WireError};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::path::Path;
use uuid::Uuid;

/// QMP answers that stampo asks for are short; `query-…` of a large machine stays below this.
const LONGEST_LINE: usize = 1 << 20;

/// Events about migrations that are kept until they are asked for; a migration makes six.
const MOST_EVENTS: usize = 64;

/// A connection to one QEMU's monitor, ready for commands.
pub(crate) struct Qmp {
    wire: Wire,
    next_id: u64,
    /// What `MIGRATION` events said since the last migration began.
    migrations: VecDeque<String>,
}

#[derive(Deserialize)]
struct Failure {
    desc: String,
}

#[derive(Deserialize)]
struct Message {
    id: Option<u64>,
    #[serde(rename = "return")]
    returned: Option<Value>,
    error: Option<Failure>,
    #[serde(rename = "QMP")]
    greeting: Option<Value>,
    event: Option<String>,
    #[serde(default)]
    data: Value,
}

impl Qmp {
    /// Connects and negotiates.
    pub fn connect(path: &Path, deadline: Deadline) -> Result<Self, WireError> {
        Self::greet(Wire::connect(path, deadline)?, deadline)
    }

    /// Negotiates on a connection that was made before.
    pub fn greet(wire: Wire, deadline: Deadline) -> Result<Self, WireError> {
        let mut qmp = Qmp {
            wire,
            next_id: 1,
            migrations: VecDeque::new(),
        };
        if qmp.message(deadline)?.greeting.is_none() {
            return Err(WireError::Malformed("no QMP greeting".to_owned()));
        }
        qmp.command("qmp_capabilities", json!({}), deadline)?;
        Ok(qmp)
    }

    /// Runs one command; of the events in between only those about migrations are kept.
    pub fn command(
        &mut self,
        name: &str,
        arguments: Value,
        deadline: Deadline,
    ) -> Result<Value, WireError> {
        let id = self.number();
        let mut line = json!({"execute": name, "arguments": arguments, "id": id}).to_string();
        line.push('\n');
        self.wire.send(line.as_bytes(), deadline)?;
        self.answer(name, id, deadline)
    }

    /// A number for the next command.
    fn number(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Waits for the answer to the command of this number.
    fn answer(&mut self, name: &str, id: u64, deadline: Deadline) -> Result<Value, WireError> {
        loop {
            let message = self.message(deadline)?;
            if message.id != Some(id) {
                self.remember(&message);
                continue;
            }
            return match (message.returned, message.error) {
                (Some(value), None) => Ok(value),
                (_, Some(failure)) => Err(WireError::refused(name, &failure.desc)),
                (None, None) => Err(WireError::Malformed(format!("{name} returned nothing"))),
            };
        }
    }

    fn remember(&mut self, message: &Message) {
        if message.event.as_deref() != Some("MIGRATION") {
            return;
        }
        let status = message.data.get("status").and_then(Value::as_str);
        if self.migrations.len() < MOST_EVENTS {
            self.migrations.extend(status.map(str::to_owned));
        }
    }

    /// QEMU's version.
    pub fn version(&mut self, deadline: Deadline) -> Result<Version, WireError> {
        let value = self.command("query-version", json!({}), deadline)?;
        let number = |part: &str| {
            let number = value.get("qemu")?.get(part)?.as_u64()?;
            u32::try_from(number).ok()
        };
        match (number("major"), number("minor"), number("micro")) {
            (Some(major), Some(minor), Some(micro)) => Ok(Version(major, minor, micro)),
            _ => Err(WireError::Malformed(
                "query-version gave no version".to_owned(),
            )),
        }
    }

    /// The machine's UUID.
    pub fn uuid(&mut self, deadline: Deadline) -> Result<Uuid, WireError> {
        let value = self.command("query-uuid", json!({}), deadline)?;
        let text = value
            .get("UUID")
            .and_then(Value::as_str)
            .unwrap_or_default();
        Uuid::parse_str(text).map_err(|_| WireError::Malformed(format!("query-uuid gave {text:?}")))
    }

    /// The ids of the channels whose other end the guest has open.
    pub fn open_channels(&mut self, deadline: Deadline) -> Result<Vec<String>, WireError> {
        let value = self.command("query-chardev", json!({}), deadline)?;
        let channels = value
            .as_array()
            .ok_or_else(|| WireError::Malformed("query-chardev gave no list".to_owned()))?;
        let is_open = |channel: &&Value| channel["frontend-open"] == Value::Bool(true);
        let id = |channel: &Value| channel["label"].as_str().map(str::to_owned);
        Ok(channels.iter().filter(is_open).filter_map(id).collect())
    }

    /// Presses the power button.
    pub fn press_power_button(&mut self, deadline: Deadline) -> Result<(), WireError> {
        self.command("system_powerdown", json!({}), deadline)
            .map(drop)
    }

    /// Asks QEMU to end. It may close the connection before it answers.
    pub fn quit(&mut self, deadline: Deadline) -> Result<(), WireError> {
        match self.command("quit", json!({}), deadline) {
            Ok(_) | Err(WireError::Closed) => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn message(&mut self, deadline: Deadline) -> Result<Message, WireError> {
        let line = self.wire.line(LONGEST_LINE, deadline)?;
        serde_json::from_slice(&line).map_err(|e| WireError::Malformed(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;
    use std::time::{Duration, Instant};

    /// Serves one connection: `lines[n]` is sent after the nth line was read; `None` ends.
    fn serve(path: &Path, lines: &'static [&'static str]) -> std::thread::JoinHandle<()> {
        let listener = UnixListener::bind(path).expect("a socket");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut reader = BufReader::new(stream.try_clone().expect("a clone"));
            for line in lines {
                stream.write_all(line.as_bytes()).expect("a reader");
                let mut request = String::new();
                reader.read_line(&mut request).expect("readable");
            }
        })
    }

    const GREETING: &str = "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n";
    const READY: &str = "{\"return\": {}, \"id\": 1}\n";

    #[test]
    fn events_and_answers_to_others_are_skipped() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("q");
        let server = serve(
            &path,
            &[
                GREETING,
                READY,
                "{\"event\": \"STOP\", \"data\": {}}\n{\"return\": {}, \"id\": 99}\n{\"return\": {\"UUID\": \"00000000-0000-0000-0000-000000000007\"}, \"id\": 2}\n",
            ],
        );
        let deadline = Deadline::after(Duration::from_secs(5));
        let mut qmp = Qmp::connect(&path, deadline).expect("connected");
        assert_eq!(qmp.uuid(deadline).expect("an id"), Uuid::from_u128(7));
        drop(qmp);
        server.join().expect("the server ended");
    }

    #[test]
    fn a_refusal_carries_qemus_words_without_control_characters() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("q");
        let answer = "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\\u001b[2J way\"}, \"id\": 2}\n";
        let server = serve(&path, Box::leak(Box::new([GREETING, READY, answer])));
        let deadline = Deadline::after(Duration::from_secs(5));
        let mut qmp = Qmp::connect(&path, deadline).expect("connected");
        let refused = qmp.press_power_button(deadline).expect_err("refused");
        assert_eq!(refused.to_string(), "system_powerdown: no [2J way");
        drop(qmp);
        server.join().expect("the server ended");
    }

    #[test]
    fn a_monitor_that_says_nothing_is_given_up_in_time() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("q");
        let _listener = UnixListener::bind(&path).expect("a socket");
        let started = Instant::now();
        let silent = Qmp::connect(&path, Deadline::after(Duration::from_millis(200)));
        assert!(matches!(silent, Err(WireError::Timeout)));
        assert!(started.elapsed() < Duration::from_secs(3));
    }
}
