//! Messages that are right, for tests to send as they are or to spoil.

use stampo_agent_protocol::*;

pub fn mac(last: u8) -> Mac {
    Mac([0x52, 0x54, 0, 0, 0, last])
}

pub fn fork() -> ForkRequest {
    let network = Network {
        addresses: Few::first(["192.0.2.7/24".parse().expect("an address")]),
        gateways: Few::first(["192.0.2.1".parse().expect("an address")]),
        dns: Few::default(),
    };
    let nic = |old, new, addressing| Nic {
        old_mac: mac(old),
        new_mac: mac(new),
        addressing,
    };
    ForkRequest {
        clock_unix_ns: 1_790_000_000_000_000_000,
        seed: Secret::new(vec![0xA5; 64]),
        nonce: Hex32([7; 32]),
        identity: Identity {
            hostname: "ci-1.example.org".into(),
            machine_id: "0123456789abcdef0123456789abcdef".into(),
        },
        nics: Few::first([
            nic(1, 11, Addressing::Dhcp),
            nic(2, 12, Addressing::Static(network)),
        ]),
        ssh_keys: SshKeys::Make(Few::first([KeyKind::Ed25519, KeyKind::Ecdsa])),
        logins: Few::default(),
        run_hooks: true,
        hook_limit_ms: 5_000,
    }
}

pub fn wake() -> WakeRequest {
    let ForkRequest {
        clock_unix_ns,
        seed,
        nonce,
        ..
    } = fork();
    WakeRequest {
        clock_unix_ns,
        seed,
        nonce,
    }
}

/// What an honest agent answers to [`wake`].
pub fn woken() -> WakeReport {
    let report = report();
    let items = report.items.iter().cloned();
    WakeReport {
        items: Few::first(items.take(2)),
        took_us: report.took_us,
        evidence: report.evidence,
    }
}

pub fn command() -> ExecStart {
    ExecStart {
        argv: Few::first(["sh".to_owned(), "-c".to_owned(), "echo ä".to_owned()]),
        env: Few::first(["LANG=C.UTF-8".to_owned()]),
        cwd: Some("/srv".to_owned()),
        user: Some("www-data".to_owned()),
        limit_ms: Some(60_000),
    }
}

pub fn poll(stdin: &[u8]) -> ExecPoll {
    ExecPoll {
        session: 7,
        stdin: Chunk::first(stdin),
        close_stdin: true,
        wait_ms: 100,
    }
}

pub fn output(exit: Option<i32>) -> ExecOutput {
    ExecOutput {
        stdout: Chunk::first(&[0xff; CHUNK_BYTES]),
        stderr: Chunk::first(&[0; CHUNK_BYTES]),
        stdin_kept: 5,
        stdin_closed: false,
        exit,
        timed_out: false,
    }
}

/// What an honest agent answers to [`fork`].
pub fn report() -> ForkReport {
    let request = fork();
    let items = [
        Item::Randomness,
        Item::Clock,
        Item::Mac,
        Item::Addresses,
        Item::MachineId,
        Item::Hostname,
        Item::SshKeys,
        Item::Durable,
    ];
    let done = |item| Done {
        item,
        outcome: Outcome::Done,
        took_us: 10,
    };
    let interface = |name: &str, last, addresses| Interface {
        name: name.into(),
        mac: mac(last),
        link_up: false,
        addresses,
    };
    let key = |kind: KeyKind| HostKey {
        kind,
        public: format!("{} {}", kind.algorithm(), "A".repeat(68)),
        fingerprint: format!("SHA256:{}", "x".repeat(43)),
    };
    ForkReport {
        items: Few::first(items.map(done)),
        hooks: Few::default(),
        took_us: 1_000,
        evidence: Evidence {
            nonce: request.nonce,
            randomness: Hex32([9; 32]),
            uuid: "0b6d6cb3-8c1a-4a3e-8d6d-0f2a7a1d5c11".into(),
            machine_id: request.identity.machine_id,
            hostname: "ci-1".into(),
            boot_id: "1b6d6cb3-8c1a-4a3e-8d6d-0f2a7a1d5c11".into(),
            interfaces: Few::first([
                interface("eth0", 11, Few::default()),
                interface(
                    "eth1",
                    12,
                    Few::first(["192.0.2.7/24".parse().expect("one")]),
                ),
            ]),
            host_keys: Few::first([key(KeyKind::Ed25519), key(KeyKind::Ecdsa)]),
            kernel: "6.1.0-40-cloud-amd64".into(),
            has_vmgenid: false,
            clock_unix_ns: request.clock_unix_ns + 5_000_000,
            uptime_ms: 90_000,
        },
    }
}
