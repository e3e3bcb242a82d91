//! The line between the host and the guest agent, from both ends: each takes the other for
//! hostile.
//!
//! The first byte says how the rest arrives: as the payload of one whole frame, so that what is
//! inside of messages is reached at once, or as a stream that is cut into pieces.

use crate::bytes::Bytes;
use stampo_agent_protocol::*;

/// What the agent reads.
pub fn request(bytes: &[u8]) {
    for frame in frames(bytes) {
        let Ok(request) = decode_request(&frame) else {
            continue;
        };
        let again = encode_request(frame.id, &request).expect("what was read may be written");
        assert_eq!(decode_request(&only_frame(&again)).as_ref(), Ok(&request));
        if let Request::ExecStart(start) = &request {
            command_can_be_started(start);
        }
        if let Request::Fork(fork) = &request {
            fork_can_be_acted_on(fork);
        }
    }
}

/// What ends up as a program's arguments and environment.
fn command_can_be_started(start: &ExecStart) {
    assert!(
        start
            .argv
            .first()
            .is_some_and(|program| !program.is_empty())
    );
    let words = start.argv.iter().chain(start.env.iter());
    assert!(words.chain(&start.cwd).all(|word| !word.contains('\0')));
    let path = |user: &String| user.contains(['/', ':', '\n']) || user.is_empty();
    assert!(!start.user.as_ref().is_some_and(path));
}

/// What ends up in files and in kernel calls.
fn fork_can_be_acted_on(fork: &ForkRequest) {
    assert!((64..=512).contains(&fork.seed.expose().len()));
    assert!(i64::try_from(fork.clock_unix_ns).is_ok());
    let names = [&fork.identity.hostname, &fork.identity.machine_id];
    for name in names {
        assert!(!name.is_empty() && name.len() <= 253);
        let safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        assert!(name.chars().all(safe) && !name.contains(".."), "{name:?}");
    }
    assert!(fork.nics.len() <= 16);
    assert!(fork.nics.iter().all(|nic| nic.new_mac.is_unicast()));
    let shown = format!("{fork:?}");
    let seed = format!("{:?}", fork.seed.expose());
    assert!(!shown.contains(&seed), "a seed is shown");
}

/// What the host reads.
pub fn response(bytes: &[u8]) {
    for frame in frames(bytes) {
        let Ok(response) = decode_response(&frame) else {
            continue;
        };
        let again = encode_response(frame.id, &response).expect("what was read may be written");
        assert_eq!(decode_response(&only_frame(&again)).as_ref(), Ok(&response));
        let value = serde_json::to_value(&response).expect("serialises");
        texts_are_printable(&value);
        if let Response::Woken(report) = &response {
            clock_is_judged(report);
        }
        if let Response::Forked(report) = &response {
            let now = report.evidence.clock_unix_ns;
            let open = unmet(&asked(), report, now);
            let shown: Vec<String> = open.iter().map(Unmet::to_string).collect();
            assert!(shown.iter().all(|text| !text.contains(char::is_control)));
            let same = report.evidence.machine_id == asked().identity.machine_id;
            assert!(
                same || open.contains(&Unmet::MachineId),
                "taken for another machine"
            );
        }
    }
}

/// A machine that went on with another clock is never taken for one with the right time.
fn clock_is_judged(report: &WakeReport) {
    let request = WakeRequest {
        clock_unix_ns: asked().clock_unix_ns,
        seed: asked().seed,
        nonce: asked().nonce,
    };
    let open = unmet_wake(&request, report, request.clock_unix_ns);
    let off = report
        .evidence
        .clock_unix_ns
        .abs_diff(request.clock_unix_ns);
    let found = open.iter().any(|one| matches!(one, Unmet::Clock { .. }));
    assert_eq!(found, off > 1_000_000_000);
}

fn texts_are_printable(value: &serde_json::Value) {
    match value {
        serde_json::Value::String(text) => {
            let hidden = |c: char| c.is_control() || ('\u{200b}'..='\u{206f}').contains(&c);
            // The largest is a public key, but for what a command wrote, which is only base64.
            let plain = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
            let written = text.len() <= CHUNK_BYTES.div_ceil(3) * 4 && text.chars().all(plain);
            assert!(text.len() <= 640 || written, "{} bytes", text.len());
            assert!(!text.contains(hidden), "{text:?}");
        }
        serde_json::Value::Array(list) => {
            assert!(list.len() <= 64);
            list.iter().for_each(texts_are_printable);
        }
        serde_json::Value::Object(map) => map.values().for_each(texts_are_printable),
        _ => {}
    }
}

/// What the host had asked for.
fn asked() -> ForkRequest {
    ForkRequest {
        clock_unix_ns: 1_790_000_000_000_000_000,
        seed: Secret::new(vec![1; 64]),
        nonce: Hex32([2; 32]),
        identity: Identity {
            hostname: "second.example.org".into(),
            machine_id: "0123456789abcdef0123456789abcdef".into(),
        },
        nics: Few::first([Nic {
            old_mac: Mac([2, 0, 0, 0, 0, 1]),
            new_mac: Mac([0x52, 0x54, 0, 0xaa, 0xbb, 0xcc]),
            addressing: Addressing::Dhcp,
        }]),
        ssh_keys: SshKeys::Make(Few::first([KeyKind::Ed25519])),
        logins: Few::default(),
        run_hooks: true,
        hook_limit_ms: 1,
    }
}

fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut bytes = Bytes::new(bytes);
    let choice = usize::from(bytes.u8());
    let rest = bytes.rest();
    if choice == 0 {
        // A payload never has the byte that starts a frame.
        let Ok(framed) = encode(VERSION, 1, rest) else {
            return Vec::new();
        };
        return vec![only_frame(&framed)];
    }
    let mut decoder = Decoder::new();
    let mut frames = Vec::new();
    for mut piece in rest.chunks(choice) {
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => {}
            }
        }
        assert!(decoder.held() <= HEADER_BYTES + FRAME_BYTES);
    }
    let read: usize = frames.iter().map(|f| HEADER_BYTES + f.payload.len()).sum();
    assert_eq!(
        read + decoder.held() + decoder.dropped() as usize,
        rest.len(),
        "every byte is in a frame, held or dropped"
    );
    frames
}

fn only_frame(bytes: &[u8]) -> Frame {
    let mut input = bytes;
    let frame = Decoder::new().next(&mut input).expect("a good frame");
    assert!(input.is_empty());
    frame.expect("a whole frame")
}
