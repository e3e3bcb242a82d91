//! What a process that may lie says: an intake child, a guest's agent, a monitor.
//!
//! The input is the whole conversation of the other side, after which it hangs up.

use crate::bytes::Bytes;
use crate::image::memory_file;
use stampo_driver_qemu::fuzzing::{Heard, Question, ask_agent, ask_monitor};
use stampo_image::intake::{DeclaredFormat, IntakeRequest, Limits, listen_to_child};
use std::io::Write;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// Bytes that a socket or a pipe takes without a reader.
const MOST: usize = 16 << 10;

fn is_printable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// A stream on which `said` was said. The other end is kept open for requests that go unheard.
fn stream(said: &[u8]) -> (UnixStream, UnixStream) {
    let (ours, mut theirs) = UnixStream::pair().expect("sockets");
    theirs
        .write_all(&said[..said.len().min(MOST)])
        .expect("a socket takes this much");
    theirs
        .shutdown(Shutdown::Write)
        .expect("a connected socket");
    (ours, theirs)
}

/// The sandboxed child's messages; the first byte says how the image was declared and what the
/// destination is.
pub fn intake(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let choice = bytes.u8();
    let declared = [DeclaredFormat::Raw, DeclaredFormat::Qcow2][usize::from(choice & 1)];
    let destination = memory_file(&vec![0; usize::from(choice & 2) * 2048]);
    let size = destination.metadata().expect("metadata").len();
    let limits = Limits {
        wall_s: 1,
        ..Limits::default()
    };
    let progress = |done: u64, total: u64| {
        assert!(done <= total && total <= limits.max_virtual_bytes);
        true
    };
    let request = IntakeRequest {
        source: memory_file(&[]),
        declared,
        destination,
        limits,
        program: None,
        progress: &progress,
    };
    let (ours, _theirs) = stream(bytes.rest());
    match listen_to_child(&request, OwnedFd::from(ours).into()) {
        Ok(Some(taken)) => {
            assert_eq!(taken.virtual_size_bytes, size);
            assert!(taken.data_bytes <= size);
        }
        Ok(None) => {}
        Err(error) => assert!(is_printable(&error.to_string()), "{error:?}"),
    }
}

/// A guest agent's answers; the first byte is the question.
pub fn agent(bytes: &[u8]) {
    const CONTENT: &[u8] = b"what is written";
    let mut bytes = Bytes::new(bytes);
    let question = match bytes.u8() % 4 {
        0 => Question::Handshake(7),
        1 => Question::Read(64),
        2 => Question::Write(CONTENT),
        _ => Question::Exec,
    };
    let (ours, _theirs) = stream(bytes.rest());
    match ask_agent(ours, question) {
        Ok(Heard::Content(content)) => assert!(content.len() <= 64),
        Ok(_) => {}
        Err(text) => assert!(is_printable(&text), "{text:?}"),
    }
}

/// A monitor's answers.
pub fn monitor(bytes: &[u8]) {
    let (ours, _theirs) = stream(bytes);
    if let Err(text) = ask_monitor(ours) {
        assert!(is_printable(&text), "{text:?}");
    }
}
