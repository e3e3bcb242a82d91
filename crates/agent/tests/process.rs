//! The agent as a process: what is asked for happens, as seen from outside of it.

mod again;
mod commands;
mod machine;

use machine::{Machine, outcome};
use stampo_agent_protocol::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

fn mac(last: u8) -> Mac {
    Mac([0x52, 0x54, 0, 0, 0, last])
}

fn unix_ns() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("after 1970").as_nanos() as u64
}

fn request() -> ForkRequest {
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
        clock_unix_ns: unix_ns(),
        seed: Secret::new(vec![0xA5; 64]),
        nonce: Hex32([7; 32]),
        identity: Identity {
            hostname: "ci-1.example.org".into(),
            machine_id: "0123456789abcdef0123456789abcdef".into(),
        },
        nics: Few::first([
            nic(1, 0x11, Addressing::Dhcp),
            nic(2, 0x12, Addressing::Static(network)),
        ]),
        ssh_keys: SshKeys::Make(Few::first([KeyKind::Ed25519, KeyKind::Ecdsa])),
        logins: Few::default(),
        run_hooks: true,
        hook_limit_ms: 20_000,
    }
}

/// Looks at the machine from another process of it.
const SEE: (&str, &str, u32) = (
    "50-see",
    "#!/bin/sh\nexec > /etc/seen\nhostname\ncat /proc/sys/kernel/random/boot_id\nip -o link\n\
     ip -o addr\nip route\nreadlink /var/lib/dbus/machine-id\n\
     echo $STAMPO_HOSTNAME $STAMPO_MACHINE_ID\n",
    0o755,
);

#[test]
fn names_and_files_are_those_that_were_asked_for() {
    let mut machine = Machine::start(&[SEE]);
    let report = machine.fork(&request());
    for item in [Item::Mac, Item::MachineId, Item::Hostname, Item::StorageIds] {
        assert_eq!(outcome(&report, item), &Outcome::Done, "{item}");
    }
    for item in [Item::BootId, Item::SshKeys, Item::Hooks, Item::Durable] {
        assert_eq!(outcome(&report, item), &Outcome::Done, "{item}");
    }
    assert_eq!(machine.read("hostname"), "ci-1\n");
    assert_eq!(
        machine.read("hosts"),
        "127.0.0.1 localhost\n127.0.1.1\tci-1.example.org ci-1\n"
    );
    assert_eq!(machine.read("mailname"), "ci-1.example.org\n");
    assert_eq!(
        machine.read("machine-id"),
        "0123456789abcdef0123456789abcdef\n"
    );
    let iscsi = machine.read("iscsi/initiatorname.iscsi");
    assert!(iscsi.starts_with("InitiatorName=iqn.1993-08.org.debian:01:"));
    assert!(!iscsi.contains("template"), "{iscsi}");
    assert_eq!(
        machine.read("network/interfaces.d/stampo"),
        "auto mac/52:54:00:00:00:11=stampo0\n"
    );
    let seen = machine.read("seen");
    let mut lines = seen.lines();
    assert_eq!(lines.next(), Some("ci-1"), "{seen}");
    let host = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("Linux");
    let boot_id = lines.next().expect("a boot id");
    assert_ne!(boot_id, host.trim());
    assert_eq!(boot_id, report.evidence.boot_id);
    assert!(seen.contains("\n/etc/machine-id\n"), "{seen}");
    assert!(
        seen.ends_with("ci-1.example.org 0123456789abcdef0123456789abcdef\n"),
        "{seen}"
    );
}

/// What a freeze has done before is not done again: the boot id has its mount, and each fork of the
/// memory gets another one in it.
#[test]
fn what_was_prepared_is_used_by_the_fork() {
    let mut machine = Machine::start(&[MOUNTS]);
    let id = |machine: &mut Machine| {
        let nonce = Hex32([8; 32]);
        match machine.ask(&Request::Identify { nonce }) {
            Response::Identity(evidence) => evidence.boot_id,
            other => panic!("{other:?}"),
        }
    };
    let before = id(&mut machine);
    assert_eq!(machine.ask(&Request::Prepare), Response::Prepared);
    assert_eq!(id(&mut machine), before, "it is the same machine still");
    let ids = [(); 2].map(|()| machine.fork(&request()).evidence.boot_id);
    assert!(ids[0] != before && ids[1] != before && ids[0] != ids[1]);
    assert_eq!(machine.read("mounts"), "1\n");
}

/// How often something is mounted over the boot id.
const MOUNTS: (&str, &str, u32) = (
    "50-mounts",
    "#!/bin/sh\ngrep -c random/boot_id /proc/self/mountinfo > /etc/mounts\n",
    0o755,
);

#[test]
fn interfaces_have_their_macs_and_only_their_addresses() {
    let mut machine = Machine::start(&[SEE]);
    let report = machine.fork(&request());
    let seen = machine.read("seen");
    for gone in [
        "52:54:00:00:00:01",
        "52:54:00:00:00:02",
        "10.9.8.",
        "2001:db8::7",
    ] {
        assert!(!seen.contains(gone), "{gone} in:\n{seen}");
    }
    for there in ["52:54:00:00:00:11", "52:54:00:00:00:12", "192.0.2.7/24"] {
        assert!(seen.contains(there), "{there} not in:\n{seen}");
    }
    assert!(seen.contains("default via 192.0.2.1 dev eth1"), "{seen}");
    let flags = |name: &str| {
        let line = seen
            .lines()
            .find(|line| line.contains(&format!(": {name}@")));
        line.expect("the interface").to_owned()
    };
    assert!(flags("eth0").contains(",UP"), "it is up as before: {seen}");
    let all = &report.evidence.interfaces;
    let eth1 = all.iter().find(|one| one.name == "eth1").expect("eth1");
    assert_eq!(eth1.mac, mac(0x12));
    assert_eq!(
        eth1.addresses.to_vec(),
        ["192.0.2.7/24".parse().expect("one")]
    );
}

#[test]
fn macs_may_be_swapped_and_one_that_is_not_there_is_told() {
    let mut machine = Machine::start(&[SEE]);
    let mut swapped = request();
    let nics = [(1, 2), (2, 1)].map(|(old, new)| Nic {
        old_mac: mac(old),
        new_mac: mac(new),
        addressing: Addressing::Dhcp,
    });
    swapped.nics = Few::first(nics.clone());
    let report = machine.fork(&swapped);
    assert_eq!(outcome(&report, Item::Mac), &Outcome::Done);
    let names: Vec<_> = report
        .evidence
        .interfaces
        .iter()
        .map(|one| (one.name.as_str(), one.mac))
        .collect();
    assert!(
        names.contains(&("eth0", mac(2))) && names.contains(&("eth1", mac(1))),
        "{names:?}"
    );
    let mut wrong = nics[0].clone();
    wrong.old_mac = mac(0x77);
    swapped.nics = Few::first([wrong]);
    let report = machine.fork(&swapped);
    let Outcome::Failed { why } = outcome(&report, Item::Mac) else {
        panic!("{report:?}");
    };
    assert!(why.contains("52:54:00:00:00:77"), "{why}");
}

/// `ssh-keygen` with these arguments; what it prints.
fn keygen(args: &[&str], file: &Path) -> String {
    let ran = Command::new("ssh-keygen").args(args).arg(file).output();
    let ran = ran.expect("ssh-keygen can't be started: apt install openssh-client");
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

#[test]
fn host_keys_are_what_openssh_reads_and_the_templates_are_gone() {
    let mut machine = Machine::start(&[]);
    let report = machine.fork(&request());
    let keys = report.evidence.host_keys.to_vec();
    assert_eq!(keys.len(), 2);
    for key in &keys {
        let private = machine.etc(&format!("ssh/ssh_host_{}_key", key.kind.file_name()));
        let mode = std::fs::metadata(&private)
            .expect("written")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        // Both halves, and the fingerprint, by OpenSSH's own program.
        assert!(keygen(&["-y", "-f"], &private).starts_with(&key.public));
        let public = private.with_extension("pub");
        assert!(keygen(&["-l", "-f"], &public).contains(&key.fingerprint));
        assert!(keygen(&["-l", "-f"], &private).contains(&key.fingerprint));
        assert!(
            machine
                .read(&format!("ssh/ssh_host_{}_key.pub", key.kind.file_name()))
                .ends_with("root@ci-1\n")
        );
    }
    for gone in ["rsa_key", "rsa_key.pub", "ed25519_key-cert.pub"] {
        assert!(
            !machine.etc(&format!("ssh/ssh_host_{gone}")).exists(),
            "{gone}"
        );
    }
    let again = machine.fork(&request()).evidence;
    assert!(
        again.host_keys.iter().all(|key| !keys.contains(key)),
        "new ones each time"
    );
    assert_ne!(again.randomness, report.evidence.randomness);
    assert_ne!(again.boot_id, report.evidence.boot_id);
}

#[test]
fn a_key_that_the_host_made_is_taken_and_a_wrong_one_is_not() {
    let mut machine = Machine::start(&[]);
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("key");
    keygen(&["-q", "-t", "ed25519", "-N", "", "-f"], &file);
    let given = |kind| {
        let private = Secret::new(std::fs::read(&file).expect("made"));
        SshKeys::Given(Few::first([GivenKey { kind, private }]))
    };
    let mut with_key = request();
    with_key.ssh_keys = given(KeyKind::Ecdsa);
    let report = machine.fork(&with_key);
    assert!(matches!(
        outcome(&report, Item::SshKeys),
        Outcome::Failed { .. }
    ));
    assert!(
        machine.etc("ssh/ssh_host_rsa_key").exists(),
        "nothing was touched"
    );
    with_key.ssh_keys = given(KeyKind::Ed25519);
    let report = machine.fork(&with_key);
    let public = std::fs::read_to_string(file.with_extension("pub")).expect("made");
    assert_eq!(report.evidence.host_keys.len(), 1);
    assert!(public.starts_with(&report.evidence.host_keys[0].public));
}

#[test]
fn without_the_right_to_reseed_the_machine_is_not_proven() {
    let mut machine = Machine::start(&[]);
    let request = request();
    let report = machine.fork(&request);
    let open = unmet(&request, &report, unix_ns());
    let items: Vec<Item> = open
        .iter()
        .map(|unmet| match unmet {
            Unmet::Item { item, .. } => *item,
            other => panic!("{other}"),
        })
        .collect();
    // A namespace may neither set the clock nor seed the kernel, nor keep a fixed address over a
    // restart without a network program; everything else was done.
    assert_eq!(
        items,
        [Item::Randomness, Item::Clock, Item::Addresses],
        "{open:?}"
    );
}

fn login(user: &str) -> Login {
    let keys = ["ssh-ed25519 AAAA one@example.org", "ssh-rsa BBBB"];
    Login {
        user: user.into(),
        keys: Few::first(keys.map(str::to_owned)),
    }
}

/// Root alone: a namespace of an ordinary user has no other. That everything is done with the
/// user's rights is tested on a booted guest.
#[test]
fn keys_replace_the_templates_and_follow_no_link() {
    let mut machine = Machine::start(&[]);
    let home = machine.etc("home");
    std::fs::create_dir_all(home.join(".ssh")).expect("made");
    let passwd = "daemon:x:1:1::/nowhere:/bin/false\nroot:x:0:0:root:/etc/home:/bin/sh\n";
    std::fs::write(machine.etc("passwd"), passwd).expect("written");
    std::os::unix::fs::symlink("/etc/hosts", home.join(".ssh/authorized_keys")).expect("linked");
    let mut wanted = request();
    wanted.logins = Few::first([login("nobody"), login("root")]);
    let report = machine.fork(&wanted);
    let expected = "the keys of nobody: the guest has no such user";
    assert!(
        matches!(outcome(&report, Item::Logins), Outcome::Failed { why } if why == expected),
        "{report:?}"
    );
    let file = home.join(".ssh/authorized_keys");
    let mode = |path: &Path| {
        let found = std::fs::symlink_metadata(path).expect("there");
        (found.is_symlink(), found.permissions().mode() & 0o7777)
    };
    assert_eq!(mode(&file), (false, 0o600));
    assert_eq!(mode(&home.join(".ssh")), (false, 0o700));
    let keys = "ssh-ed25519 AAAA one@example.org\nssh-rsa BBBB\n";
    assert_eq!(machine.read("home/.ssh/authorized_keys"), keys);
    assert!(
        !machine.read("hosts").contains("ssh-"),
        "not through the link"
    );

    std::fs::rename(home.join(".ssh"), home.join("before")).expect("renamed");
    std::os::unix::fs::symlink("/etc/ssh", home.join(".ssh")).expect("linked");
    wanted.logins = Few::first([login("root")]);
    let report = machine.fork(&wanted);
    assert!(matches!(
        outcome(&report, Item::Logins),
        Outcome::Failed { .. }
    ));
    assert!(!machine.etc("ssh/authorized_keys").exists());
}

const HOOKS: [(&str, &str, u32); 6] = [
    ("10-good", "#!/bin/sh\necho one >> /etc/order\n", 0o755),
    (
        "20-bad",
        "#!/bin/sh\necho two >> /etc/order\necho 'no luck' >&2\nexit 3\n",
        0o755,
    ),
    ("30-data", "not a program", 0o644),
    ("40-anybody", "#!/bin/sh\necho evil >> /etc/order\n", 0o757),
    (
        "50-slow",
        "#!/bin/sh\n(sleep 3; echo late >> /etc/order) &\necho three >> /etc/order\nsleep 60\n",
        0o755,
    ),
    ("60-never", "#!/bin/sh\necho never >> /etc/order\n", 0o755),
];

#[test]
fn hooks_run_in_order_within_their_time_and_tell_how_they_ended() {
    let mut machine = Machine::start(&HOOKS);
    let mut limited = request();
    limited.hook_limit_ms = 1_500;
    let begin = Instant::now();
    let report = machine.fork(&limited);
    assert!(
        begin.elapsed() < Duration::from_secs(30),
        "the slow one was ended"
    );
    let ends: Vec<_> = report
        .hooks
        .iter()
        .map(|hook| (hook.name.as_str(), hook.code))
        .collect();
    let expected = [
        ("10-good", Some(0)),
        ("20-bad", Some(3)),
        ("30-data", None),
        ("40-anybody", None),
        ("50-slow", None),
        ("60-never", None),
    ];
    assert_eq!(ends, expected);
    assert_eq!(report.hooks[1].detail, "no luck");
    assert!(report.hooks[3].detail.contains("may change it"));
    assert!(report.hooks[4].detail.contains("time was over"));
    assert!(
        matches!(outcome(&report, Item::Hooks), Outcome::Failed { why } if why.contains("20-bad"))
    );
    // What the slow one left in the background would have written by now.
    std::thread::sleep(Duration::from_millis(3_500));
    assert_eq!(machine.read("order"), "one\ntwo\nthree\n");
}

#[test]
fn nothing_that_is_sent_stops_it() {
    let mut machine = Machine::start(&[]);
    let refused = |machine: &mut Machine| match machine.receive() {
        (id, Response::Refused(refusal)) => (id, refusal.why),
        other => panic!("{other:?}"),
    };
    machine.send(b"noise \xFFSTA000100000001ffffffff");
    assert_eq!(refused(&mut machine).0, 0);
    machine.send(&encode(9, 4, b"{}").expect("short"));
    let (id, why) = refused(&mut machine);
    assert!(id == 4 && why.contains("version 9"), "{why}");
    let mut wrong = request();
    wrong.identity.hostname = "a\nroot::0:0:::".into();
    let payload = serde_json::to_vec(&Request::Fork(Box::new(wrong))).expect("serialises");
    machine.send(&encode(VERSION, 5, &payload).expect("short"));
    let (id, why) = refused(&mut machine);
    assert!(id == 5 && why.contains("host name"), "{why}");
    assert_eq!(machine.read("hostname"), "template\n");
    // A request of which only the start arrived before its sender died.
    let whole = encode_request(6, &Request::Hello).expect("good");
    machine.send(&whole[..whole.len() - 3]);
    let Response::Hello(hello) = machine.ask(&Request::Hello) else {
        panic!("no hello");
    };
    assert_eq!(hello.version, VERSION);
    assert!(hello.uptime_ms > 0);
    assert_eq!(machine.hang_up(), Some(0));
}

#[test]
fn it_says_who_the_machine_is_and_that_systemd_is_silent() {
    let mut machine = Machine::start(&[]);
    let nonce = Hex32([3; 32]);
    let Response::Identity(evidence) = machine.ask(&Request::Identify { nonce }) else {
        panic!("no evidence");
    };
    assert_eq!(evidence.hostname, "template");
    assert_eq!(evidence.nonce, nonce);
    let eth0 = evidence
        .interfaces
        .iter()
        .find(|one| one.name == "eth0")
        .expect("eth0");
    assert_eq!(eth0.addresses.len(), 3);
    assert!(!eth0.link_up);
    let Response::Timings(timings) = machine.ask(&Request::Timings) else {
        panic!("no timings");
    };
    assert_eq!(timings.system, SystemState::Unknown);
    assert!(!timings.is_settled());
    let wait = ConnectRequest { wait_ms: 30 };
    let Response::Connected(connected) = machine.ask(&Request::Connect(wait)) else {
        panic!("no answer");
    };
    assert!(!connected.complete, "the link is down");
}

#[test]
fn a_machine_that_goes_on_stays_who_it_is_and_writes_nothing() {
    let mut machine = Machine::start(&[]);
    let forked = machine.fork(&request());
    let before = machine.read("hostname");
    let wake = WakeRequest {
        clock_unix_ns: unix_ns(),
        seed: Secret::new(vec![5; 64]),
        nonce: Hex32([6; 32]),
    };
    let Response::Woken(woken) = machine.ask(&Request::Wake(wake.clone())) else {
        panic!("it did not go on");
    };
    assert_eq!(woken.evidence.nonce, wake.nonce);
    assert_eq!(woken.evidence.machine_id, forked.evidence.machine_id);
    assert_eq!(woken.evidence.host_keys, forked.evidence.host_keys);
    assert_ne!(woken.evidence.randomness, forked.evidence.randomness);
    assert_eq!(machine.read("hostname"), before);
    // In namespaces the kernel lets nobody reseed it or set its clock, and that is said.
    let open = unmet_wake(&wake, &woken, wake.clock_unix_ns);
    for item in [Item::Randomness, Item::Clock] {
        let said = |open: &Unmet| matches!(open, Unmet::Item { item: one, .. } if *one == item);
        assert!(open.iter().any(said), "{item}: {open:?}");
    }
}
