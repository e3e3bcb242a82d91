//! Asks systemd over its private socket, in D-Bus's wire format.
//!
//! `systemctl` would be a process to start for each question, and a D-Bus library would be larger
//! than the agent. Only what is needed is here: calls whose arguments are strings, and answers that
//! are one number or one string. Format: D-Bus Specification, "Message Format" and "Marshaling";
//! the private socket has no bus, so no names and no Hello (systemd, src/core/dbus.c).

use crate::outcome::{Doing, Failure};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const SOCKET: &str = "/run/systemd/private";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const OBJECT: &str = "/org/freedesktop/systemd1";
/// How long systemd may take to answer; it does nothing before it answers.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const MOST_BYTES: u32 = 64 << 10;
const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;

/// The value of a property.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Number(u64),
}

/// Restarts units, whether they run or have just ended.
pub(crate) fn restart(units: &[&str]) -> Result<(), Failure> {
    for unit in units {
        match Bus::open()?.call(MANAGER, "RestartUnit", &[unit, "replace"])? {
            Answer::Return(_) => {}
            Answer::Error(name) => return Err(Failure(format!("restart {unit}: {name}"))),
        }
    }
    Ok(())
}

/// Begins the way to a target that ends the system.
pub(crate) fn start_irreversibly(target: &str) -> Result<(), Failure> {
    match Bus::open()?.call(MANAGER, "StartUnit", &[target, "replace-irreversibly"])? {
        Answer::Return(_) => Ok(()),
        Answer::Error(name) => Err(Failure(format!("start {target}: {name}"))),
    }
}

/// A property of the manager.
pub(crate) fn property(name: &str) -> Result<Value, Failure> {
    match Bus::open()?.call(PROPERTIES, "Get", &[MANAGER, name])? {
        Answer::Return(body) => variant(&body)
            .ok_or_else(|| Failure(format!("ask systemd for {name}: no number and no text"))),
        Answer::Error(error) => Err(Failure(format!("ask systemd for {name}: {error}"))),
    }
}

enum Answer {
    Return(Vec<u8>),
    /// The error's name.
    Error(String),
}

struct Bus(BufReader<UnixStream>);

impl Bus {
    fn open() -> Result<Self, Failure> {
        let what = "talk to systemd";
        let stream = UnixStream::connect(SOCKET).doing(what)?;
        stream.set_read_timeout(Some(PATIENCE)).doing(what)?;
        stream.set_write_timeout(Some(PATIENCE)).doing(what)?;
        let mut bus = Bus(BufReader::new(stream));
        // The user id is root's, "0" in hex.
        let hello = b"\0AUTH EXTERNAL 30\r\nBEGIN\r\n";
        bus.0.get_mut().write_all(hello).doing(what)?;
        let mut line = String::new();
        bus.0.by_ref().take(256).read_line(&mut line).doing(what)?;
        if !line.starts_with("OK ") {
            return Err(Failure(format!("{what}: it says {line}")));
        }
        Ok(bus)
    }

    fn call(&mut self, interface: &str, member: &str, args: &[&str]) -> Result<Answer, Failure> {
        let what = format!("ask systemd to {member}");
        let message = call(interface, member, args);
        self.0.get_mut().write_all(&message).doing(&what)?;
        // Signals may come before the answer.
        loop {
            let mut head = [0; 16];
            self.0.read_exact(&mut head).doing(&what)?;
            let size = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four"));
            let (body, fields) = (size(4), size(12));
            if head[0] != b'l' || body > MOST_BYTES || fields > MOST_BYTES {
                return Err(Failure(format!("{what}: an answer that is none")));
            }
            let mut rest = vec![0; (fields.next_multiple_of(8) + body) as usize];
            self.0.read_exact(&mut rest).doing(&what)?;
            let body = rest.split_off(fields.next_multiple_of(8) as usize);
            match head[1] {
                METHOD_RETURN => return Ok(Answer::Return(body)),
                ERROR => return Ok(Answer::Error(error_name(&rest, fields as usize))),
                _ => {}
            }
        }
    }
}

/// A method call, little-endian.
fn call(interface: &str, member: &str, args: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    for arg in args {
        align(&mut body, 4);
        string(&mut body, arg);
    }
    let signature = "s".repeat(args.len());
    let mut message = vec![b'l', METHOD_CALL, 0, 1];
    message.extend((body.len() as u32).to_le_bytes());
    message.extend(1u32.to_le_bytes());
    // Fields: 1 path, 2 interface, 3 member, 8 signature; each a struct of a byte and a variant.
    let mut fields = Vec::new();
    for (code, kind, value) in [(1, b'o', OBJECT), (2, b's', interface), (3, b's', member)] {
        align(&mut fields, 8);
        fields.extend([code, 1, kind, 0]);
        string(&mut fields, value);
    }
    align(&mut fields, 8);
    fields.extend([8, 1, b'g', 0, signature.len() as u8]);
    fields.extend(signature.as_bytes());
    fields.push(0);
    message.extend((fields.len() as u32).to_le_bytes());
    message.extend(fields);
    align(&mut message, 8);
    message.extend(body);
    message
}

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn string(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

/// The string at `at`, which must be where a string begins.
fn text_at(bytes: &[u8], at: usize) -> Option<String> {
    let length = u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize;
    let text = bytes.get(at + 4..(at + 4).checked_add(length)?)?;
    String::from_utf8(text.to_vec()).ok()
}

/// A variant that holds a string or a number, with its signature before it.
fn variant(body: &[u8]) -> Option<Value> {
    let kind = match body {
        [1, kind, 0, ..] => *kind,
        _ => return None,
    };
    match kind {
        b's' => text_at(body, 4).map(Value::Text),
        b'u' => Some(Value::Number(
            u32::from_le_bytes(body.get(4..8)?.try_into().ok()?).into(),
        )),
        b't' => Some(Value::Number(u64::from_le_bytes(
            body.get(8..16)?.try_into().ok()?,
        ))),
        _ => None,
    }
}

/// Field 4 of the header: an error's name.
fn error_name(fields: &[u8], size: usize) -> String {
    let fields = &fields[..size.min(fields.len())];
    let at = (0..fields.len())
        .step_by(8)
        .find(|at| fields[*at..].starts_with(&[4, 1, b's', 0]));
    at.and_then(|at| text_at(fields, at + 4))
        .unwrap_or_else(|| "an error without a name".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written down by hand from the specification.
    #[test]
    fn a_call_has_the_bytes_of_the_specification() {
        let bytes = call("a.B", "Get", &["x", "yz"]);
        let mut expected = b"l\x01\x00\x01".to_vec();
        expected.extend(15u32.to_le_bytes());
        expected.extend(1u32.to_le_bytes());
        let mut fields = b"\x01\x01o\0\x19\0\0\0/org/freedesktop/systemd1\0".to_vec();
        fields.extend([0; 6]);
        fields.extend(b"\x02\x01s\0\x03\0\0\0a.B\0\0\0\0\0");
        fields.extend(b"\x03\x01s\0\x03\0\0\0Get\0\0\0\0\0");
        fields.extend(b"\x08\x01g\0\x02ss\0");
        expected.extend((fields.len() as u32).to_le_bytes());
        expected.extend(&fields);
        expected.resize(expected.len().next_multiple_of(8), 0);
        expected.extend(b"\x01\0\0\0x\0\0\0\x02\0\0\0yz\0");
        assert_eq!(bytes, expected);
    }

    #[test]
    fn variants_are_read_and_others_are_not() {
        let text = b"\x01s\0\0\x07\0\0\0running\0";
        assert_eq!(variant(text), Some(Value::Text("running".into())));
        assert_eq!(variant(b"\x01u\0\0\x05\0\0\0"), Some(Value::Number(5)));
        let long = b"\x01t\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0";
        assert_eq!(variant(long), Some(Value::Number((1 << 32) + 1)));
        for wrong in [
            &b""[..],
            b"\x01s\0\0\xff\xff\xff\xff",
            b"\x02as\0",
            b"\x01u\0\0\x05",
        ] {
            assert_eq!(variant(wrong), None);
        }
    }
}
