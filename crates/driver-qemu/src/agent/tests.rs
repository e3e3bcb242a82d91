//! Agents that mean harm. Each test serves one hostile conversation on a real socket.

use super::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;
use std::time::Instant;
use tempfile::TempDir;

/// A socket with `agent` behind it.
struct Peer {
    home: TempDir,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    fn new(agent: impl FnOnce(UnixStream) + Send + 'static) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(home.path().join("a")).expect("a socket");
        let thread = std::thread::spawn(move || agent(listener.accept().expect("a client").0));
        Peer {
            home,
            thread: Some(thread),
        }
    }

    /// Connects with this limit and runs `act`; nothing may take longer than the limit and a second.
    fn converse<T>(
        mut self,
        limit_ms: u64,
        act: impl FnOnce(&mut Agent, Deadline) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        let started = Instant::now();
        let limit = Duration::from_millis(limit_ms);
        let deadline = Deadline::after(limit);
        let agent = Agent::connect(&self.home.path().join("a"), deadline);
        let outcome = agent.and_then(|mut agent| act(&mut agent, deadline));
        assert!(
            started.elapsed() < limit + Duration::from_secs(2),
            "took {:?}",
            started.elapsed()
        );
        self.thread
            .take()
            .expect("set")
            .join()
            .expect("the peer ended without panic");
        outcome
    }
}

/// Writes and does not mind when the client has gone.
fn put(stream: &mut UnixStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

/// Reads a handshake and gives the id in it.
fn handshake_id(reader: &mut BufReader<UnixStream>) -> u64 {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).expect("a request");
    let start = line.iter().position(|b| *b == b'{').expect("a JSON object");
    let request: Value = serde_json::from_slice(&line[start..]).expect("a JSON object");
    request["arguments"]["id"].as_u64().expect("an id")
}

/// Answers the handshake as an honest agent would, then each further request with the next of
/// `answers`.
fn synced(answers: Vec<Vec<u8>>) -> impl FnOnce(UnixStream) + Send + 'static {
    move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().expect("a clone"));
        let id = handshake_id(&mut reader);
        put(&mut stream, b"\0garbage {\"return\": 1}\n");
        put(&mut stream, &[0xff]);
        put(&mut stream, format!("{{\"return\": {id}}}\n").as_bytes());
        for answer in answers {
            let mut request = String::new();
            if reader.read_line(&mut request).is_err() || request.is_empty() {
                return;
            }
            put(&mut stream, &answer);
        }
        let _ = reader.read_to_end(&mut Vec::new());
    }
}

fn line(value: Value) -> Vec<u8> {
    format!("{value}\n").into_bytes()
}

fn request() -> stampo_driver::ExecRequest {
    let timeout = Duration::from_secs(1);
    stampo_driver::ExecRequest {
        argv: vec!["/bin/x".to_owned()],
        input: Vec::new(),
        timeout,
    }
}

#[test]
fn an_honest_agent_is_understood() {
    let answers = vec![
        line(json!({"return": {"pid": 5}})),
        line(json!({"return": {"exited": false}})),
        line(
            json!({"return": {"exited": true, "exitcode": 3, "out-data": "aGk=", "err-data": "ZWg="}}),
        ),
    ];
    let outcome = Peer::new(synced(answers)).converse(5000, |agent, d| agent.exec(&request(), d));
    let outcome = outcome.expect("a result");
    assert_eq!(
        (outcome.exit_code, &*outcome.stdout, &*outcome.stderr),
        (3, &b"hi"[..], &b"eh"[..])
    );
}

#[test]
fn a_silent_agent_is_given_up() {
    let silent = |mut stream: UnixStream| drop(stream.read_to_end(&mut Vec::new()));
    let outcome = Peer::new(silent).converse(300, |_, _| Ok(()));
    assert!(matches!(outcome, Err(WireError::Timeout)), "{outcome:?}");
}

#[test]
fn a_handshake_answered_with_a_wrong_id_is_no_handshake() {
    let liar = |mut stream: UnixStream| {
        let mut reader = BufReader::new(stream.try_clone().expect("a clone"));
        let id = handshake_id(&mut reader);
        put(&mut stream, &[0xff]);
        put(
            &mut stream,
            format!("{{\"return\": {}}}\n", id ^ 1).as_bytes(),
        );
        let _ = reader.read_to_end(&mut Vec::new());
    };
    let outcome = Peer::new(liar).converse(300, |_, _| Ok(()));
    assert!(matches!(outcome, Err(WireError::Timeout)), "{outcome:?}");
}

#[test]
fn a_trickle_does_not_extend_the_deadline() {
    let trickle = |mut stream: UnixStream| {
        for _ in 0..100 {
            if stream.write_all(b"x").is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let outcome = Peer::new(trickle).converse(300, |_, _| Ok(()));
    assert!(matches!(outcome, Err(WireError::Timeout)), "{outcome:?}");
}

#[test]
fn an_endless_line_is_cut_off() {
    let endless = |mut stream: UnixStream| {
        let mut reader = BufReader::new(stream.try_clone().expect("a clone"));
        let id = handshake_id(&mut reader);
        put(&mut stream, &[0xff]);
        put(&mut stream, format!("{{\"return\": {id}}}\n").as_bytes());
        let chunk = vec![b'['; 1 << 20];
        while stream.write_all(&chunk).is_ok() {}
    };
    let outcome = Peer::new(endless).converse(20_000, |agent, d| agent.exec(&request(), d));
    assert!(
        matches!(outcome, Err(WireError::TooLong(LONGEST_LINE))),
        "{outcome:?}"
    );
}

#[test]
fn endless_stale_bytes_before_the_handshake_are_cut_off() {
    let endless = |mut stream: UnixStream| {
        let chunk = vec![b' '; 1 << 20];
        while stream.write_all(&chunk).is_ok() {}
    };
    let outcome = Peer::new(endless).converse(20_000, |_, _| Ok(()));
    assert!(
        matches!(outcome, Err(WireError::TooLong(MOST_STALE_BYTES))),
        "{outcome:?}"
    );
}

#[test]
fn wrong_shapes_and_numbers_are_malformed() {
    let deep = [vec![b'['; 100_000], vec![b'\n']].concat();
    let cases: Vec<Vec<u8>> = vec![
        line(json!({"return": {"pid": "5"}})),
        line(json!({"return": {}})),
        line(json!([])),
        line(json!({})),
        line(json!({"return": {"pid": 1e300}})),
        b"not json\n".to_vec(),
        b"\xfe\xfd\n".to_vec(),
        deep,
    ];
    for case in cases {
        let shown = String::from_utf8_lossy(&case[..case.len().min(40)]).into_owned();
        let outcome =
            Peer::new(synced(vec![case])).converse(5000, |agent, d| agent.exec(&request(), d));
        assert!(
            matches!(outcome, Err(WireError::Malformed(_))),
            "{shown}: {outcome:?}"
        );
    }
    for status in [
        json!({"exited": true}),
        json!({"exited": true, "exitcode": 99_999_999_999_u64}),
        json!({"exited": true, "exitcode": 0, "out-data": "%%%"}),
    ] {
        let answers = vec![
            line(json!({"return": {"pid": 5}})),
            line(json!({"return": status})),
        ];
        let outcome =
            Peer::new(synced(answers)).converse(5000, |agent, d| agent.exec(&request(), d));
        assert!(
            matches!(outcome, Err(WireError::Malformed(_))),
            "{status}: {outcome:?}"
        );
    }
}

#[test]
fn a_command_that_never_ends_ends_at_the_deadline() {
    let mut answers = vec![line(json!({"return": {"pid": 5}}))];
    answers.extend(vec![line(json!({"return": {"exited": false}})); 1000]);
    let outcome = Peer::new(synced(answers)).converse(400, |agent, d| agent.exec(&request(), d));
    assert!(matches!(outcome, Err(WireError::Timeout)), "{outcome:?}");
}

#[test]
fn terminal_escapes_in_an_error_do_not_reach_the_user() {
    let evil = line(json!({"error": {"class": "x", "desc": "\u{1b}]0;owned\u{7}\nroot# rm"}}));
    let outcome =
        Peer::new(synced(vec![evil])).converse(5000, |agent, d| agent.exec(&request(), d));
    assert_eq!(
        outcome.expect_err("refused").to_string(),
        "guest-exec:  ]0;owned  root# rm"
    );
}

#[test]
fn a_file_without_end_stops_at_the_limit_and_an_empty_read_is_not_waited_on() {
    let chunk = line(json!({"return": {"count": 3, "buf-b64": "YWJj", "eof": false}}));
    let mut answers = vec![line(json!({"return": 1}))];
    answers.extend(vec![chunk; 1000]);
    let outcome =
        Peer::new(synced(answers)).converse(5000, |agent, d| agent.read_file("/x", 100, d));
    assert!(
        matches!(outcome, Err(WireError::Refused { .. })),
        "{outcome:?}"
    );

    let empty = line(json!({"return": {"count": 0, "buf-b64": "", "eof": false}}));
    let answers = vec![line(json!({"return": 1})), empty];
    let outcome =
        Peer::new(synced(answers)).converse(500, |agent, d| agent.read_file("/x", 100, d));
    assert!(
        matches!(outcome, Err(WireError::Malformed(_))),
        "{outcome:?}"
    );
}

#[test]
fn a_write_that_claims_an_impossible_count_is_refused() {
    for count in [0_u64, 4, u64::MAX] {
        let answers = vec![
            line(json!({"return": 1})),
            line(json!({"return": {"count": count, "eof": false}})),
        ];
        let outcome =
            Peer::new(synced(answers)).converse(500, |agent, d| agent.write_file("/x", b"abc", d));
        assert!(
            matches!(outcome, Err(WireError::Malformed(_))),
            "{count}: {outcome:?}"
        );
    }
}
