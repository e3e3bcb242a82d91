//! The host's end of the channel to stampo's own agent, for cases that talk to it themselves.

use stampo_agent_protocol::{Decoder, Request, Response, decode_response, encode_request};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// An open channel.
pub struct Channel {
    line: UnixStream,
    decoder: Decoder,
    next_id: u32,
}

impl Channel {
    /// Connects to a guest's socket.
    ///
    /// # Panics
    /// When nobody listens there.
    pub fn open(socket: &Path) -> Self {
        let line = UnixStream::connect(socket).expect("the guest's channel");
        Channel {
            line,
            decoder: Decoder::new(),
            next_id: 0,
        }
    }

    /// Asks until there is an answer: QEMU drops what is sent before the agent has opened its end.
    ///
    /// # Panics
    /// When there is none in `patience`.
    pub fn ask_until_answered(&mut self, request: &Request, patience: Duration) -> Response {
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if let Some(response) = self.ask_within(request, Duration::from_secs(5)) {
                return response;
            }
        }
        panic!("the agent never answered")
    }

    /// Asks once.
    ///
    /// # Panics
    /// When there is no answer in two minutes.
    pub fn ask(&mut self, request: &Request) -> Response {
        self.ask_within(request, Duration::from_secs(120))
            .expect("the agent answers")
    }

    fn ask_within(&mut self, request: &Request, patience: Duration) -> Option<Response> {
        self.next_id += 1;
        let bytes = encode_request(self.next_id, request).expect("a good request");
        self.line.write_all(&bytes).expect("sent");
        self.line.set_read_timeout(Some(patience)).expect("set");
        let mut byte = [0];
        loop {
            if !matches!(self.line.read(&mut byte), Ok(1)) {
                return None;
            }
            let frame = self.decoder.next(&mut &byte[..]).expect("a frame");
            // Late answers to earlier questions are passed over.
            if let Some(frame) = frame.filter(|frame| frame.id == self.next_id) {
                return Some(decode_response(&frame).expect("a good answer"));
            }
        }
    }
}
