//! The guest agent in a booted guest: after one message it is another machine, for everybody who
//! looks at it. Where the fork itself comes from does not matter here: this guest is the one that
//! booted, with its link up.

use serde_json::Value;
use stampo_agent_protocol::*;
use stampo_testbed::Stampo;
use stampo_testbed::channel::Channel;
use std::time::{Duration, Instant, SystemTime};

const MACHINE_ID: &str = "0123456789abcdef0123456789abcdef";
const NEW_MAC: Mac = Mac([0x52, 0x54, 0, 0xaa, 0xbb, 0xcc]);
const HOOK: &str = "[[files]]\npath = \"/etc/stampo/fork.d/10-mark\"\nmode = \"0755\"\n\
    text = '''\n#!/bin/sh\necho $STAMPO_HOSTNAME > /run/hook-ran\n'''\n";

/// A key that nobody has the other half of.
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8f2n0vV8yHq0j3yQ0b0o2d8o2u0u6m6YV0m1p9c3rT test";

/// What a second look at the guest shows; each line must differ from the first look.
const LOOK: &str = "hostname; cat /etc/machine-id; cat /proc/sys/kernel/random/boot_id; \
    cat /etc/hostname; grep 127.0.1.1 /etc/hosts; cat /sys/class/net/e*/address; \
    cat /etc/ssh/ssh_host_ed25519_key.pub; cat /etc/ssh/ssh_host_ecdsa_key.pub; \
    sha256sum < /var/lib/systemd/random-seed; \
    systemctl show -p InvocationID systemd-journald; \
    systemctl show -p InvocationID systemd-networkd";

pub fn one_message_makes_another_machine_of_it() {
    let stampo = Stampo::new();
    stampo.publish_shared("web", "examples/web.toml");
    let spec = stampo.path("spec.toml");
    std::fs::write(&spec, HOOK).expect("written");
    let spec = spec.display().to_string();
    let user = [
        "--spec",
        &spec,
        "--user",
        "admin:sudo",
        "--wait-for",
        "system",
    ];
    stampo.clones("web", "first", &user);
    tells_how_it_started(&stampo);
    let mut channel = Channel::open(&socket(&stampo));
    let hello = channel.ask_until_answered(&Request::Hello, Duration::from_secs(120));
    assert!(matches!(hello, Response::Hello(hello) if hello.version == VERSION));
    settle(&mut channel);
    // Commands go through the same line, which has one end on the host.
    drop(channel);
    let before = stampo.agent("first", LOOK);
    // What somebody who may log in could have left there.
    let link = "ln -sf /root/victim ~admin/.ssh/authorized_keys; chown -h admin ~admin/.ssh/*";
    stampo.agent("first", link);
    // As late as a template that was frozen an hour ago.
    stampo.agent("first", "date -s '-1 hour' >/dev/null");
    let mut channel = Channel::open(&socket(&stampo));
    let request = request(&mut channel);
    let report = fork(&mut channel, &request);
    drop(channel);
    assert_eq!(unmet(&request, &report, unix_ns()), [], "{report:#?}");
    every_item_is_done(&report);
    eprintln!("fork: {} ms in the guest", report.took_us / 1_000);
    seen_from_outside(&stampo, &before, &report);
    the_logins_are_the_ones_asked_for(&stampo);
    survives_a_restart(&stampo, &report);
}

/// `stampo show` has the phases of the start, from stampo's agent or from QEMU's.
fn tells_how_it_started(stampo: &Stampo) {
    let boot = &stampo.json(&["show", "first"])["boot"];
    eprintln!("boot: {boot}");
    assert_eq!(boot["told_by"], "agent", "{boot}");
    assert_eq!(boot["settled"], true, "{boot}");
    let ms = |boot: &Value, field: &str| {
        let ms = boot[field].as_u64();
        ms.unwrap_or_else(|| panic!("{field} is missing: {boot}"))
    };
    let phases = ["kernel_ms", "initrd_ms", "userspace_ms"].map(|phase| ms(boot, phase));
    assert!(phases.iter().all(|ms| *ms >= 100), "{boot}");
    let finished = ms(boot, "finished_at_ms");
    assert_eq!(
        phases.iter().sum::<u64>(),
        finished,
        "they make up the start"
    );
    let agent = ms(boot, "agent_at_ms");
    assert!((phases[0]..finished + 60_000).contains(&agent), "{boot}");
    // Firmware and boot loader, emulated.
    assert!(
        (100..120_000).contains(&ms(boot, "before_kernel_ms")),
        "{boot}"
    );
    stampo.agent("first", "systemctl stop stampo-agent");
    let other = &stampo.json(&["show", "first"])["boot"];
    assert_eq!(other["told_by"], "qemu-guest-agent", "{other}");
    assert_eq!(ms(other, "finished_at_ms"), finished);
    stampo.agent("first", "systemctl start stampo-agent");
}

fn socket(stampo: &Stampo) -> std::path::PathBuf {
    let guests = std::fs::read_dir(stampo.home().join("guests")).expect("a guest");
    let guest = guests.flatten().next().expect("one guest");
    guest.path().join("channel.sock")
}

fn unix_ns() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("after 1970").as_nanos() as u64
}

/// Waits as a freeze would: until systemd has nothing left to start.
fn settle(channel: &mut Channel) {
    let end = Instant::now() + Duration::from_secs(300);
    loop {
        let Response::Timings(timings) = channel.ask(&Request::Timings) else {
            panic!("no timings");
        };
        if timings.is_settled() {
            let finished = timings.finished_ms.expect("it has finished");
            assert!(
                (1_000..=timings.uptime_ms).contains(&finished),
                "{timings:?}"
            );
            assert!(timings.userspace_ms.is_some_and(|began| began < finished));
            return;
        }
        assert!(Instant::now() < end, "{timings:?}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn evidence(channel: &mut Channel) -> Evidence {
    let nonce = Hex32([1; 32]);
    match channel.ask(&Request::Identify { nonce }) {
        Response::Identity(evidence) => *evidence,
        other => panic!("{other:?}"),
    }
}

/// A request for another identity.
fn request(channel: &mut Channel) -> ForkRequest {
    let now = evidence(channel);
    let nic = Nic {
        old_mac: now.interfaces[0].mac,
        new_mac: NEW_MAC,
        addressing: Addressing::Dhcp,
    };
    let mut seed = [0; 64];
    rand::Fill::fill(&mut seed[..], &mut rand::rng());
    ForkRequest {
        clock_unix_ns: unix_ns(),
        seed: Secret::new(seed),
        nonce: Hex32([2; 32]),
        identity: Identity {
            hostname: "second.example.org".into(),
            machine_id: MACHINE_ID.into(),
        },
        nics: Few::first([nic]),
        ssh_keys: SshKeys::Make(Few::first([KeyKind::Ed25519, KeyKind::Ecdsa])),
        logins: Few::first(["admin", "root"].map(|user| Login {
            user: user.into(),
            keys: Few::first([KEY.to_owned()]),
        })),
        run_hooks: true,
        hook_limit_ms: 30_000,
    }
}

fn fork(channel: &mut Channel, request: &ForkRequest) -> ForkReport {
    match channel.ask(&Request::Fork(Box::new(request.clone()))) {
        Response::Forked(report) => *report,
        other => panic!("{other:?}"),
    }
}

/// What this guest has, all of it; it has neither initiators nor a system log.
fn every_item_is_done(report: &ForkReport) {
    for done in report.items.iter() {
        let absent = matches!(done.item, Item::StorageIds | Item::SystemLog);
        let expected = matches!(done.outcome, Outcome::NotNeeded { .. }) == absent;
        assert!(expected, "{}: {:?}", done.item, done.outcome);
    }
    // What only has to be told is told when it is connected.
    assert_eq!(report.items.len(), 13);
}

fn seen_from_outside(stampo: &Stampo, before: &str, report: &ForkReport) {
    let mut channel = Channel::open(&socket(stampo));
    let wait = ConnectRequest { wait_ms: 60_000 };
    let Response::Connected(connected) = channel.ask(&Request::Connect(wait)) else {
        panic!("no answer");
    };
    assert!(connected.complete, "{connected:?}");
    // The restarts were asked for and not waited for.
    settle(&mut channel);
    drop(channel);
    let after = stampo.agent("first", LOOK);
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (before, after_lines) = (lines(before), lines(&after));
    assert_eq!(before.len(), after_lines.len());
    for (old, new) in before.iter().zip(&after_lines) {
        assert_ne!(old, new, "both looks show the same:\n{after}");
    }
    assert_eq!(after_lines[0], "second");
    assert_eq!(after_lines[1], MACHINE_ID);
    assert_eq!(after_lines[2], report.evidence.boot_id);
    assert_eq!(after_lines[4], "127.0.1.1\tsecond.example.org second");
    assert_eq!(after_lines[5], NEW_MAC.to_string());
    let clock: u64 = stampo.agent("first", "date +%s").parse().expect("a number");
    let now = unix_ns() / 1_000_000_000;
    assert!(
        now.abs_diff(clock) < 30,
        "the clock is at {clock}, not {now}"
    );
    assert_eq!(
        stampo.agent("first", "cat /run/hook-ran"),
        "second.example.org"
    );
    let journal = format!(
        "journalctl -o export -n 1 -u systemd-networkd | grep -a '^_MACHINE_ID={MACHINE_ID}'"
    );
    stampo.agent("first", &journal);
    the_ssh_server_has_the_new_keys(stampo, report);
}

/// Asks the server as anybody would. From inside: the forwarded port leads to the address that the
/// guest had before.
fn the_ssh_server_has_the_new_keys(stampo: &Stampo, report: &ForkReport) {
    let scanned = stampo.agent(
        "first",
        "ssh-keyscan -T 60 -t ed25519,ecdsa 127.0.0.1 2>/dev/null",
    );
    for key in report.evidence.host_keys.iter() {
        assert!(
            scanned.contains(&key.public),
            "{} is not in:\n{scanned}",
            key.public
        );
    }
    assert_eq!(report.evidence.host_keys.len(), 2);
}

fn the_logins_are_the_ones_asked_for(stampo: &Stampo) {
    for (home, user) in [("/home/admin", "admin"), ("/root", "root")] {
        let look =
            format!("cd {home}/.ssh; stat -c '%U %G %a %F' . authorized_keys; cat authorized_keys");
        let expected =
            format!("{user} {user} 700 directory\n{user} {user} 600 regular file\n{KEY}");
        assert_eq!(stampo.agent("first", &look), expected);
    }
    assert_eq!(
        stampo.agent("first", "ls /root/victim 2>/dev/null || :"),
        ""
    );
}

/// Nothing of it was in memory only, but for the MAC, which is the machine's. The machine is ended
/// by stampo's agent: QEMU's does not run any more.
fn survives_a_restart(stampo: &Stampo, report: &ForkReport) {
    // By stampo's own, which commands go through.
    stampo.agent("first", "systemctl stop qemu-guest-agent");
    let said = stampo.run(&["stop", "first"]).stderr;
    assert!(said.contains("shut down by its guest agent"), "{said}");
    stampo.ok(&["start", "--wait-for", "system", "first"]);
    let look = "hostname; cat /etc/machine-id; cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub";
    let now = stampo.agent("first", look);
    let key = &report.evidence.host_keys[0].public;
    assert_eq!(now, format!("second\n{MACHINE_ID}\n{key}"));
}
