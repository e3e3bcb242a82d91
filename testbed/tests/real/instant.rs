//! Instant clones of a frozen Debian, made by the program: ten at once, each a machine of its own
//! for whoever asks it, before and after it boots.
//!
//! Called by `frozen.rs`, which has built and frozen the version. Who is heard on a bridge is in
//! `bridged.rs`.

use serde_json::Value;
use stampo_agent_protocol::{Ending, Evidence, Hex32, Request, Response};
use stampo_testbed::Stampo;
use stampo_testbed::channel::Channel;
use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

/// Everything; the version is called `web`.
pub(crate) fn through_the_program(stampo: &Stampo) {
    let begun = Instant::now();
    let passed = |what: &str| eprintln!("instant clones: {what} after {:?}", begun.elapsed());
    let made = ten_at_once(stampo);
    passed("ten");
    let told: Vec<Evidence> = made.iter().map(|guest| identify(stampo, guest)).collect();
    all_differ(&told);
    for (guest, told) in made.iter().zip(&told) {
        as_it_was_planned(guest, told);
    }
    laid_out_anew(stampo, &made[..3]);
    passed("all unlike each other");
    its_base_is_kept(stampo);
    let spare: Vec<&str> = made[3..].iter().map(name).collect();
    stampo.ok(&[["rm", "--force"].as_slice(), &spare].concat());
    // The port of each is forwarded to the address that it has, and the given key may log in.
    assert_eq!(stampo.ssh("ci-1", "hostname"), "ci-1");
    passed("one logged in to");
    std::thread::scope(|at_once| {
        at_once.spawn(|| keeps_itself(stampo, &made[..2], &told[..2]));
        at_once.spawn(|| written_to_and_sound(stampo, "ci-3"));
    });
    passed("started again, and written to");
    stampo.ok(&["passport", "ci-1", "ci-2"]);
    stampo.ok(&["rm", "--force", "ci-1", "ci-2", "ci-3"]);
    handed_out_at_once(stampo);
    passed("one handed out at once");
}

/// A program that begins after the fork has its memory elsewhere in each of them.
fn laid_out_anew(stampo: &Stampo, made: &[Value]) {
    let stack = |guest| stampo.agent(name(guest), "grep -F '[stack]' /proc/self/maps");
    let stacks: BTreeSet<String> = made.iter().map(stack).collect();
    assert_eq!(stacks.len(), made.len(), "{stacks:?}");
    assert!(stacks.iter().all(|line| line.contains("[stack]")));
}

/// Nobody waits for its address, and it gets one all the same.
fn handed_out_at_once(stampo: &Stampo) {
    stampo.json(&["clone", "--instant=only", "web", "quick", "--no-wait"]);
    let look = "for n in $(seq 100); do ip -o -4 addr show scope global | grep . && exit; sleep 1; \
                done; exit 1";
    assert!(stampo.agent("quick", look).contains("10.0.2.15"));
    stampo.ok(&["rm", "--force", "quick"]);
}

pub(crate) fn name(guest: &Value) -> &str {
    guest["name"].as_str().expect("a name")
}

fn ten_at_once(stampo: &Stampo) -> Vec<Value> {
    let key = stampo.key().with_extension("pub").display().to_string();
    let words = "clone --instant=only web ci-{n} --count 10 --ssh-key";
    let words: Vec<&str> = words.split(' ').chain([key.as_str()]).collect();
    let made = stampo.json(&words);
    let made = made.as_array().expect("a list").clone();
    assert_eq!(made.len(), 10);
    for guest in &made {
        assert_eq!(guest["kind"], "instant");
        assert_eq!(guest["power"], "running");
        for phase in ["disk", "resume", "identify", "link", "connect"] {
            assert!(guest["phases_ms"][phase].is_u64(), "{phase}: {guest}");
        }
        eprintln!("{}: {}", name(guest), guest["phases_ms"]);
    }
    made
}

fn channel(stampo: &Stampo, guest: &Value) -> Channel {
    let id = guest["id"].as_str().expect("an id");
    Channel::open(&stampo.home().join("guests").join(id).join("channel.sock"))
}

pub(crate) fn identify(stampo: &Stampo, guest: &Value) -> Evidence {
    let nonce = Hex32([4; 32]);
    let limit = Duration::from_secs(300);
    match channel(stampo, guest).ask_until_answered(&Request::Identify { nonce }, limit) {
        Response::Identity(evidence) => *evidence,
        other => panic!("{}: {other:?}", name(guest)),
    }
}

pub(crate) fn all_differ(told: &[Evidence]) {
    let distinct = |what: &str, of: &dyn Fn(&Evidence) -> String| {
        let values: BTreeSet<String> = told.iter().map(of).collect();
        assert_eq!(values.len(), told.len(), "{what}: {values:?}");
    };
    distinct("randomness", &|e| e.randomness.to_string());
    distinct("uuid", &|e| e.uuid.clone());
    distinct("machine-id", &|e| e.machine_id.clone());
    distinct("boot id", &|e| e.boot_id.clone());
    distinct("host name", &|e| e.hostname.clone());
    distinct("MAC", &|e| e.interfaces[0].mac.to_string());
    distinct("host key", &|e| e.host_keys[0].public.clone());
}

pub(crate) fn as_it_was_planned(guest: &Value, told: &Evidence) {
    assert_eq!(told.hostname, name(guest));
    assert_eq!(guest["macs"][0], told.interfaces[0].mac.to_string());
    assert_eq!(guest["host_keys"][0], told.host_keys[0].public);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let off = now
        .expect("after 1970")
        .as_nanos()
        .abs_diff(told.clock_unix_ns.into());
    assert!(off < 2_000_000_000, "{}: off by {off} ns", name(guest));
}

fn its_base_is_kept(stampo: &Stampo) {
    stampo.ok(&["template", "retire", "web"]);
    let said = stampo.fails(5, &["template", "purge", "web@1"]);
    assert!(said.contains("ci-1") && said.contains("ci-10"), "{said}");
    stampo.ok(&["template", "restore", "web@1"]);
    stampo.ok(&["template", "publish", "web@1"]);
}

/// Much is written to the clone's disk; its filesystem is sound after a stop.
fn written_to_and_sound(stampo: &Stampo, guest: &str) {
    let write = "for i in 1 2 3 4; do dd if=/dev/urandom of=/root/big$i bs=1M count=16 status=none; \
                 done; rm /root/big2; sync; ls /root";
    assert!(stampo.agent(guest, write).contains("big4"));
    stampo.ok(&["stop", guest]);
    let said = stampo.ok(&["clone", "flatten", guest]);
    assert!(said.contains("full"), "{said}");
    let id = stampo.json(&["show", guest])["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let disk = stampo.home().join("guests").join(id).join("disk.raw");
    let table = Command::new("sfdisk").arg("-J").arg(&disk).output();
    let table = table.expect("sfdisk can't be started: apt install fdisk");
    let table: Value = serde_json::from_slice(&table.stdout).expect("a table");
    let parts = table["partitiontable"]["partitions"]
        .as_array()
        .expect("partitions")
        .iter();
    let root = parts.max_by_key(|part| part["size"].as_u64());
    let start = root.and_then(|part| part["start"].as_u64());
    let at = start.expect("a partition") * 512;
    let checked = Command::new("e2fsck")
        .arg("-fn")
        .arg(format!("{}?offset={at}", disk.display()))
        .output()
        .expect("e2fsck can't be started: apt install e2fsprogs");
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{said}");
}

/// One is stopped and started, the other starts again by itself: both are who they were, with the
/// MACs that they had.
fn keeps_itself(stampo: &Stampo, guests: &[Value], told: &[Evidence]) {
    let ending = Ending::Reboot;
    let said = channel(stampo, &guests[1]).ask(&Request::Shutdown { ending });
    assert!(matches!(said, Response::ShuttingDown), "{said:?}");
    stampo.ok(&["stop", name(&guests[0])]);
    stampo.ok(&["start", name(&guests[0])]);
    for (guest, before) in guests.iter().zip(told) {
        let now = loop {
            let now = identify(stampo, guest);
            // Until the old system is down it answers, too.
            if now.boot_id != before.boot_id {
                break now;
            }
            std::thread::sleep(Duration::from_secs(1));
        };
        assert_eq!(now.machine_id, before.machine_id, "{}", name(guest));
        assert_eq!(now.hostname, before.hostname);
        assert_eq!(now.interfaces[0].mac, before.interfaces[0].mac);
        assert_eq!(now.host_keys, before.host_keys);
    }
}
