//! Messages come back as they were sent, hostile ones are refused, and secrets are not shown.

mod samples;

use proptest::prelude::*;
use samples::{command, fork, mac, output, poll, report, wake, woken};
use stampo_agent_protocol::*;

fn frame(bytes: &[u8]) -> Frame {
    Decoder::new()
        .next(&mut &bytes[..])
        .expect("a frame")
        .expect("a whole one")
}

fn there_and_back(request: &Request) -> Request {
    let bytes = encode_request(5, request).expect("allowed");
    decode_request(&frame(&bytes)).expect("readable")
}

#[test]
fn requests_come_back() {
    let network = Request::Connect(ConnectRequest { wait_ms: 9 });
    let ending = Ending::Reboot;
    for request in [
        Request::Hello,
        Request::Identify {
            nonce: Hex32([1; 32]),
        },
        Request::Prepare,
        Request::Fork(Box::new(fork())),
        Request::Wake(wake()),
        Request::ExecStart(command()),
        Request::ExecPoll(poll(b"in\xff\0")),
        Request::ExecSignal(ExecSignal {
            session: u64::MAX,
            signal: 2,
        }),
        network,
        Request::Timings,
        Request::Shutdown { ending },
    ] {
        assert_eq!(there_and_back(&request), request);
    }
}

#[test]
fn answers_come_back() {
    let report = report();
    let timings = Timings {
        uptime_ms: 1,
        system: SystemState::Degraded,
        jobs: Some(0),
        failed_units: Some(1),
        initrd_ms: Some(1),
        userspace_ms: Some(2),
        agent_ms: Some(2),
        finished_ms: None,
    };
    for response in [
        Response::Hello(Hello {
            agent: "0.1.0".into(),
            version: 1,
            kernel: "6.1".into(),
            has_vmgenid: true,
            uptime_ms: 3,
        }),
        Response::Identity(Box::new(report.evidence.clone())),
        Response::Connected(Connected {
            complete: true,
            interfaces: report.evidence.interfaces.clone(),
            took_us: 1,
        }),
        Response::Prepared,
        Response::Forked(Box::new(report)),
        Response::Woken(Box::new(woken())),
        Response::Started { session: u64::MAX },
        Response::ExecOutput(output(Some(255))),
        Response::Signalled,
        Response::Timings(timings),
        Response::ShuttingDown,
        Response::Refused(Refusal {
            why: "no".into(),
            version: 1,
        }),
    ] {
        let bytes = encode_response(6, &response).expect("allowed");
        assert_eq!(decode_response(&frame(&bytes)), Ok(response));
    }
}

proptest! {
    #[test]
    fn any_allowed_fork_comes_back(
        seed in proptest::collection::vec(any::<u8>(), 64..=512),
        clock in 1_577_836_800_000_000_000..=i64::MAX as u64,
        name in "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\\.[a-z]{1,8}){0,3}",
        id in "[0-9a-f]{31}[1-9a-f]",
        macs in proptest::collection::btree_set(any::<[u8; 5]>(), 0..16),
        nonce in any::<[u8; 32]>(),
    ) {
        let mut wanted = fork();
        wanted.seed = Secret::new(seed);
        wanted.clock_unix_ns = clock;
        wanted.identity = Identity { hostname: name, machine_id: id };
        wanted.nonce = Hex32(nonce);
        wanted.nics = Few::first(macs.into_iter().map(|[a, b, c, d, e]| Nic {
            old_mac: Mac([2, a, b, c, d, e]),
            new_mac: Mac([6, a, b, c, d, e]),
            addressing: Addressing::Dhcp,
        }));
        let request = Request::Fork(Box::new(wanted));
        prop_assert_eq!(there_and_back(&request), request);
    }

    #[test]
    fn no_payload_panics_either_side(payload in proptest::collection::vec(any::<u8>(), 0..600)) {
        let frame = Frame { version: VERSION, id: 1, payload };
        let _ = decode_request(&frame);
        let _ = decode_response(&frame);
    }
}

/// A request that one change makes wrong.
fn refused(change: impl FnOnce(&mut ForkRequest)) -> &'static str {
    let mut wrong = fork();
    change(&mut wrong);
    let request = Request::Fork(Box::new(wrong));
    // What the sender refuses, the reader must refuse too when a sender does not.
    let payload = serde_json::to_vec(&request).expect("serialises");
    let read = decode_request(&frame(&encode(VERSION, 1, &payload).expect("short")));
    let Err(MessageError::Invalid(invalid)) = encode_request(1, &request) else {
        panic!("accepted: {request:?}");
    };
    assert_eq!(read, Err(MessageError::Invalid(invalid)));
    invalid.what
}

#[test]
fn the_agent_refuses_what_it_may_not_act_on() {
    assert_eq!(refused(|r| r.seed = Secret::new(vec![1; 63])), "the seed");
    assert_eq!(refused(|r| r.clock_unix_ns = 0), "the clock");
    assert_eq!(refused(|r| r.clock_unix_ns = u64::MAX), "the clock");
    for name in ["", "a b", "-a", "a..b", "a\nroot::0:0:::", "../x", "ä"] {
        assert_eq!(
            refused(|r| r.identity.hostname = name.into()),
            "the host name"
        );
    }
    for id in [
        "",
        "0123",
        &"0".repeat(32),
        &"A".repeat(32),
        &"g".repeat(32),
    ] {
        assert_eq!(
            refused(|r| r.identity.machine_id = id.into()),
            "the machine-id"
        );
    }
    let nic = |old, new| Nic {
        old_mac: old,
        new_mac: new,
        addressing: Addressing::Dhcp,
    };
    let group = Mac([1, 0, 0, 0, 0, 1]);
    assert_eq!(
        refused(|r| r.nics = Few::first([nic(mac(1), group)])),
        "a MAC"
    );
    let twice = [nic(mac(1), mac(2)), nic(mac(3), mac(2))];
    assert_eq!(refused(|r| r.nics = Few::first(twice)), "a new MAC");
    let key = |text: &str| GivenKey {
        kind: KeyKind::Ed25519,
        private: Secret::new(text.as_bytes()),
    };
    let given = |text: &str| SshKeys::Given(Few::first([key(text)]));
    assert_eq!(refused(|r| r.ssh_keys = given("x")), "a host key");
    let login = |user: &str, keys: &[&str]| Login {
        user: user.into(),
        keys: Few::first(keys.iter().map(|key| (*key).to_owned())),
    };
    let key = "ssh-ed25519 AAAA anna@example.org";
    for name in ["", "-r", "a/../b", "a:0", "a\n", "ä"] {
        let logins = Few::first([login(name, &[key])]);
        assert_eq!(refused(|r| r.logins = logins), "a user", "{name:?}");
    }
    let twice = Few::first([login("anna", &[key]), login("anna", &[key])]);
    assert_eq!(refused(|r| r.logins = twice), "a user");
    let none = Few::first([login("anna", &[])]);
    assert_eq!(refused(|r| r.logins = none), "a login");
    let long = format!("{key}{}", "x".repeat(4096));
    for bad in [
        "",
        "ssh-ed25519",
        "x AAAA",
        "ssh-rsa AAAA\nssh-rsa BBBB",
        &long,
    ] {
        let logins = Few::first([login("anna", &[key, bad])]);
        assert_eq!(
            refused(|r| r.logins = logins),
            "a key that may log in",
            "{bad:?}"
        );
    }
    let kinds = Few::first([KeyKind::Ecdsa, KeyKind::Ecdsa]);
    assert_eq!(
        refused(|r| r.ssh_keys = SshKeys::Make(kinds)),
        "a kind of host key"
    );
}

fn refused_answer(change: impl FnOnce(&mut ForkReport)) -> &'static str {
    let mut wrong = report();
    change(&mut wrong);
    let response = Response::Forked(Box::new(wrong));
    let payload = serde_json::to_vec(&response).expect("serialises");
    match decode_response(&frame(&encode(VERSION, 1, &payload).expect("short"))) {
        Err(MessageError::Invalid(invalid)) => invalid.what,
        other => panic!("accepted: {other:?}"),
    }
}

#[test]
fn the_host_refuses_what_it_may_not_show_or_store() {
    let e = |change: fn(&mut Evidence)| refused_answer(|r| change(&mut r.evidence));
    assert_eq!(e(|e| e.hostname = "x\u{1b}[2J".into()), "the host name");
    assert_eq!(e(|e| e.machine_id = String::new()), "the machine-id");
    assert_eq!(e(|e| e.boot_id = "1".repeat(36)), "the boot id");
    assert_eq!(e(|e| e.kernel = "6.1\n".into()), "the kernel's release");
    assert_eq!(e(|e| e.kernel = "6".repeat(129)), "the kernel's release");
    let spoil = |change: fn(&mut HostKey)| {
        refused_answer(|r| {
            let mut keys = r.evidence.host_keys.to_vec();
            change(&mut keys[0]);
            r.evidence.host_keys = Few::first(keys);
        })
    };
    assert_eq!(spoil(|k| k.public.push_str("\nevil")), "a host key");
    assert_eq!(spoil(|k| k.public = "ssh-rsa AAAA".into()), "a host key");
    assert_eq!(spoil(|k| k.fingerprint = "MD5:00".into()), "a fingerprint");
    let outcome = |why: &str| Outcome::Failed { why: why.into() };
    let item = |why: &str| {
        refused_answer(|r| {
            r.items = Few::first([Done {
                item: Item::Clock,
                outcome: outcome(why),
                took_us: 0,
            }]);
        })
    };
    assert_eq!(item("\u{202e}evil"), "a reason");
    assert_eq!(item(&"x".repeat(513)), "a reason");
}

#[test]
fn a_list_that_is_too_long_is_refused_where_it_gets_too_long() {
    let entry = r#"{"item":"clock","outcome":"done","took_us":0}"#;
    let list = vec![entry; 4_000].join(",");
    let payload = format!(r#"{{"forked":{{"items":[{list}"#).into_bytes();
    // The end is missing: a reader that took the whole list would stumble over that instead.
    let frame = Frame {
        version: VERSION,
        id: 1,
        payload,
    };
    let Err(MessageError::Form { column }) = decode_response(&frame) else {
        panic!("accepted");
    };
    assert!(column < 34 * (entry.len() + 1), "{column}");
}

#[test]
fn another_version_is_named() {
    let bytes = encode(2, 1, br#""hello""#).expect("short");
    let error = decode_request(&frame(&bytes)).expect_err("another version");
    assert_eq!(error, MessageError::Version { theirs: 2 });
    assert!(error.to_string().contains("version 2"));
}

#[test]
fn what_a_later_version_adds_is_no_error() {
    let payload = br#"{"connect":{"wait_ms":5,"colour":"red"}}"#;
    let bytes = encode(VERSION, 1, payload).expect("short");
    let wanted = Request::Connect(ConnectRequest { wait_ms: 5 });
    assert_eq!(decode_request(&frame(&bytes)), Ok(wanted));
}

#[test]
fn secrets_are_in_no_debug_text_and_in_no_error() {
    let mut request = fork();
    request.seed = Secret::new(b"hunter2 ".repeat(8));
    let shown = format!("{request:?}");
    assert!(shown.contains("(64 secret bytes)"), "{shown}");
    for form in ["hunter2", "68756e74", "104, 117"] {
        assert!(!shown.contains(form), "{shown}");
    }
    let bytes = encode_request(1, &Request::Fork(Box::new(request))).expect("allowed");
    let payload = frame(&bytes).payload;
    let payload = String::from_utf8_lossy(&payload)
        .replace("68756e74", "hunter2!")
        .into_bytes();
    let spoiled = Frame {
        version: VERSION,
        id: 1,
        payload,
    };
    let error = decode_request(&spoiled).expect_err("no hex");
    let shown = format!("{error} {error:?} {spoiled:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_report_that_does_what_was_asked_has_nothing_unmet() {
    let now = fork().clock_unix_ns + 20_000_000;
    assert_eq!(unmet(&fork(), &report(), now), []);
}

#[test]
fn every_promise_that_is_not_kept_is_unmet() {
    let now = fork().clock_unix_ns + 20_000_000;
    let found = |change: fn(&mut ForkReport)| {
        let mut report = report();
        change(&mut report);
        unmet(&fork(), &report, now)
    };
    assert_eq!(found(|r| r.evidence.nonce = Hex32([0; 32])), [Unmet::Nonce]);
    assert_eq!(
        found(|r| r.evidence.machine_id = "f".repeat(32)),
        [Unmet::MachineId]
    );
    assert_eq!(
        found(|r| r.evidence.hostname = "template".into()),
        [Unmet::Hostname]
    );
    let late = found(|r| r.evidence.clock_unix_ns -= 60_000_000_000);
    assert_eq!(late, [Unmet::Clock { off_ms: 59_995 }]);
    let old = found(|r| {
        let mut all = r.evidence.interfaces.to_vec();
        all[0].mac = mac(1);
        r.evidence.interfaces = Few::first(all);
    });
    assert_eq!(
        old,
        [Unmet::Mac { mac: mac(1) }, Unmet::Mac { mac: mac(11) }]
    );
    let leftover = found(|r| {
        let mut all = r.evidence.interfaces.to_vec();
        all[0].addresses = Few::first(["10.0.2.15/24".parse().expect("one")]);
        r.evidence.interfaces = Few::first(all);
    });
    assert_eq!(leftover, [Unmet::Addresses { mac: mac(11) }]);
    let no_key = found(|r| r.evidence.host_keys = Few::first([r.evidence.host_keys[0].clone()]));
    let kind = KeyKind::Ecdsa;
    assert_eq!(no_key, [Unmet::HostKey { kind }]);
    let silent = found(|r| r.items = Few::first(r.items[1..].to_vec()));
    let why = "the guest says nothing about it".to_owned();
    let item = Item::Randomness;
    assert_eq!(silent, [Unmet::Item { item, why }]);
}

#[test]
fn an_agent_that_does_not_know_of_logins_does_not_pass() {
    let mut request = fork();
    let keys = Few::first(["ssh-ed25519 AAAA".to_owned()]);
    let user = "anna".to_owned();
    request.logins = Few::first([Login { user, keys }]);
    let now = request.clock_unix_ns + 20_000_000;
    let item = Item::Logins;
    let why = "the guest says nothing about it".to_owned();
    assert_eq!(unmet(&request, &report(), now), [Unmet::Item { item, why }]);
    let with = |outcome: Outcome| {
        let mut report = report();
        let done = Done {
            item,
            outcome,
            took_us: 1,
        };
        report.items = Few::first(report.items.iter().cloned().chain([done]));
        unmet(&request, &report, now)
    };
    assert_eq!(with(Outcome::Done), []);
    let why = "not asked for".to_owned();
    assert_eq!(
        with(Outcome::NotNeeded { why: why.clone() }),
        [Unmet::Item { item, why }]
    );
}

#[test]
fn states_have_the_words_of_systemctl() {
    for word in [
        "initializing",
        "starting",
        "running",
        "degraded",
        "maintenance",
        "stopping",
    ] {
        assert_eq!(SystemState::named(word).as_str(), word);
        // The same word is on the wire.
        let written = serde_json::to_value(SystemState::named(word)).expect("serialises");
        assert_eq!(written, word);
    }
    assert_eq!(SystemState::named("offline"), SystemState::Unknown);
}

#[test]
fn a_machine_that_went_on_needs_the_time_randomness_and_an_answer_to_this_request() {
    let (request, now) = (wake(), wake().clock_unix_ns + 50_000_000);
    let open = |change: &dyn Fn(&mut WakeReport)| {
        let mut report = woken();
        change(&mut report);
        unmet_wake(&request, &report, now)
    };
    assert_eq!(open(&|_| {}), []);
    assert_eq!(
        open(&|report| report.evidence.nonce = Hex32([8; 32])),
        [Unmet::Nonce]
    );
    // It stood still for an hour, and nobody told it.
    let late = open(&|report| report.evidence.clock_unix_ns -= 3_600_005_000_000);
    assert_eq!(late, [Unmet::Clock { off_ms: 3_600_000 }]);
    for item in [Item::Randomness, Item::Clock] {
        let silent = open(&|report| {
            let items = report.items.iter().filter(|done| done.item != item);
            report.items = Few::first(items.cloned().collect::<Vec<_>>());
        });
        let why = "the guest says nothing about it".to_owned();
        assert_eq!(silent, [Unmet::Item { item, why }]);
        let failed = open(&|report| {
            let mut items = report.items.clone().into_vec();
            for done in items.iter_mut().filter(|done| done.item == item) {
                done.outcome = Outcome::Failed { why: "no".into() };
            }
            report.items = Few::first(items);
        });
        let why = "no".to_owned();
        assert_eq!(failed, [Unmet::Item { item, why }]);
    }
    let mut short = wake();
    short.seed = Secret::new(vec![1; 63]);
    let refused = encode_request(1, &Request::Wake(short));
    assert!(matches!(refused, Err(MessageError::Invalid(i)) if i.what == "the seed"));
}

/// The largest answer that there can be fits into a frame, or a command could never be read.
#[test]
fn what_commands_are_given_and_say_is_bounded() {
    let bytes = encode_response(1, &Response::ExecOutput(output(None))).expect("it fits");
    assert!(bytes.len() > 2 * CHUNK_BYTES && bytes.len() <= HEADER_BYTES + FRAME_BYTES);
    assert_eq!(Chunk::new(vec![0; CHUNK_BYTES + 1]), None);
    let text = "A".repeat((CHUNK_BYTES + 1).div_ceil(3) * 4);
    assert!(serde_json::from_str::<Chunk>(&format!("\"{text}\"")).is_err());
    assert!(serde_json::from_str::<Chunk>("\"not base64\"").is_err());
    assert_eq!(format!("{:?}", poll(b"secret").stdin), "(6 bytes)");
    for code in [-1, 256] {
        let wrong = Response::ExecOutput(output(Some(code)));
        assert!(encode_response(1, &wrong).is_err(), "{code}");
    }
}

#[test]
fn the_agent_starts_no_command_that_makes_no_sense() {
    let wrong = |change: &dyn Fn(&mut ExecStart)| {
        let mut start = command();
        change(&mut start);
        match encode_request(1, &Request::ExecStart(start)) {
            Err(MessageError::Invalid(invalid)) => invalid.what,
            other => panic!("accepted: {other:?}"),
        }
    };
    let words = |words: &[&str]| Few::first(words.iter().map(|word| (*word).to_owned()));
    assert_eq!(wrong(&|c| c.argv = words(&[])), "a command");
    assert_eq!(wrong(&|c| c.argv = words(&["", "x"])), "a command");
    assert_eq!(wrong(&|c| c.argv = words(&["x", "a\0b"])), "a command");
    for setting in ["", "NAME", "=value", "NAME=a\0b"] {
        assert_eq!(
            wrong(&|c| c.env = Few::first([setting.to_owned()])),
            "a variable"
        );
    }
    for cwd in ["", "srv", "../srv", "/a\0b"] {
        assert_eq!(wrong(&|c| c.cwd = Some(cwd.to_owned())), "a directory");
    }
    for user in ["", "-x", "a:b", "a/b", "root\n"] {
        assert_eq!(wrong(&|c| c.user = Some(user.to_owned())), "a user");
    }
    for limit in [0, u64::MAX] {
        assert_eq!(wrong(&|c| c.limit_ms = Some(limit)), "a command's time");
    }
    let session = 1;
    for signal in [-1, 0, 65] {
        let request = Request::ExecSignal(ExecSignal { session, signal });
        assert!(encode_request(1, &request).is_err(), "{signal}");
    }
    let mut long = poll(b"");
    long.wait_ms = LONGEST_POLL_MS + 1;
    assert!(encode_request(1, &Request::ExecPoll(long)).is_err());
}
