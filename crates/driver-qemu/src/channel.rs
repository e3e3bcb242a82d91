//! The channel to stampo's own agent in a guest: one question, one answer.
//!
//! Protocol: `crates/agent-protocol`. The agent belongs to the guest, so its answer is untrusted:
//! frames are bounded, values are checked when they are decoded, and nothing waits for longer than
//! its deadline. A question is sent once: asking for a fork twice would make two.

use crate::wire::{Deadline, Wire, WireError};
use stampo_agent_protocol::{
    Decoder, FRAME_BYTES, Refusal, Request, Response, decode_response, encode_request,
};
use std::path::Path;

/// Bytes of other conversations that are skipped before the agent is given up.
const MOST_STALE_BYTES: usize = 4 * FRAME_BYTES;

/// Asks the agent behind this socket.
pub(crate) fn ask(
    socket: &Path,
    request: &Request,
    deadline: Deadline,
) -> Result<Response, WireError> {
    // Nobody else's: an answer that came too late for its asker is still on its way.
    let id = uuid::Uuid::new_v4().as_fields().0;
    let malformed = |why: String| WireError::Malformed(crate::wire::printable(&why));
    let bytes = encode_request(id, request).map_err(|e| malformed(e.to_string()))?;
    let mut wire = Wire::connect(socket, deadline)?;
    wire.send(&bytes, deadline)?;
    let mut decoder = Decoder::new();
    let mut read = 0;
    while read <= MOST_STALE_BYTES {
        let bytes = wire.some(deadline)?;
        read += bytes.len();
        let mut rest = bytes.as_slice();
        while let Some(frame) = decoder
            .next(&mut rest)
            .map_err(|e| malformed(e.to_string()))?
        {
            if frame.id != id {
                continue;
            }
            return match decode_response(&frame).map_err(|e| malformed(e.to_string()))? {
                Response::Refused(Refusal { why, .. }) => Err(WireError::refused("refused", &why)),
                response => Ok(response),
            };
        }
    }
    Err(WireError::TooLong(MOST_STALE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stampo_agent_protocol::{Hello, VERSION, decode_request, encode_response};
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::PathBuf;
    use std::time::Duration;

    fn hello(agent: &str) -> Response {
        Response::Hello(Hello {
            agent: agent.to_owned(),
            version: VERSION,
            kernel: "6.1.0".to_owned(),
            has_vmgenid: false,
            uptime_ms: 1,
        })
    }

    /// An agent that answers the first question by `answer`, which is told the question's number.
    fn agent(
        answer: impl FnOnce(u32, &mut UnixStream) + Send + 'static,
    ) -> (tempfile::TempDir, PathBuf) {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("channel");
        let listener = UnixListener::bind(&path).expect("a socket");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut decoder = Decoder::new();
            let mut buffer = [0; 4096];
            loop {
                let count = stream.read(&mut buffer).expect("readable");
                let mut rest = &buffer[..count];
                if let Some(frame) = decoder.next(&mut rest).expect("a frame") {
                    assert_eq!(decode_request(&frame), Ok(Request::Hello));
                    answer(frame.id, &mut stream);
                    // Held open: an agent does not go away.
                    std::thread::sleep(Duration::from_secs(5));
                    return;
                }
            }
        });
        (home, path)
    }

    fn asked(path: &Path) -> Result<Response, WireError> {
        ask(
            path,
            &Request::Hello,
            Deadline::after(Duration::from_millis(800)),
        )
    }

    #[test]
    fn the_answer_is_found_behind_noise_and_answers_to_others() {
        let (_home, path) = agent(|id, stream| {
            let late = encode_response(id.wrapping_add(1), &hello("late")).expect("encoded");
            let own = encode_response(id, &hello("1.0")).expect("encoded");
            let torn = &own[..own.len() / 2];
            for bytes in [b"getty\n".as_slice(), &late, torn, &own] {
                stream.write_all(bytes).expect("written");
            }
        });
        assert_eq!(asked(&path).expect("an answer"), hello("1.0"));
    }

    #[test]
    fn a_refusal_a_lie_and_silence_are_errors_in_time() {
        let (_home, path) = agent(|id, stream| {
            let refusal = Refusal {
                why: "no".to_owned(),
                version: VERSION,
            };
            let bytes = encode_response(id, &Response::Refused(refusal)).expect("encoded");
            stream.write_all(&bytes).expect("written");
        });
        assert!(matches!(asked(&path), Err(WireError::Refused { .. })));
        let (_home, path) = agent(|id, stream| {
            let lie = stampo_agent_protocol::encode(VERSION, id, b"{\"hello\": 3}");
            stream.write_all(&lie.expect("a frame")).expect("written");
        });
        assert!(matches!(asked(&path), Err(WireError::Malformed(_))));
        let (_home, path) = agent(|_, _| {});
        assert!(matches!(asked(&path), Err(WireError::Timeout)));
    }

    #[test]
    fn endless_noise_is_given_up() {
        let (_home, path) = agent(|_, stream| while stream.write_all(&[b'x'; 4096]).is_ok() {});
        assert!(matches!(asked(&path), Err(WireError::TooLong(_))));
    }
}
