//! Pools and throw-away guests of a frozen Debian: members are machines of their own at each depth,
//! a command's output and exit code come back, and nothing is left when the client is killed.
//!
//! Called by `frozen.rs`, which has built and frozen the version.

use super::instant::{all_differ, as_it_was_planned, identify};
use super::slept;
use serde_json::Value;
use stampo_agent_protocol::Evidence;
use stampo_testbed::Stampo;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything in the background may take. Emulated guests are slow.
const LIMIT: Duration = Duration::from_secs(180);

/// Everything; the version is called `web`. Members have to sleep for a while: `meanwhile` is what is done
/// in that time.
pub(crate) fn through_the_program(stampo: &Stampo, meanwhile: impl FnOnce()) {
    let begun = Instant::now();
    stampo.ok(&["template", "channel", "set", "web:stable", "web@1"]);
    let create = [
        "pool",
        "create",
        "ci",
        "--from",
        "web:stable",
        "--warm",
        "2",
    ];
    stampo.ok(&create);
    await_full(stampo, 2);
    let woken = slept::members_wake_in_our_time(stampo, &members(stampo), meanwhile);
    let mut told = vec![woken];
    await_full(stampo, 2);
    a_command_in_a_member(stampo);
    a_killed_client(stampo);
    for depth in ["loaded", "spawned"] {
        let before = members(stampo);
        stampo.ok(&["pool", "set", "ci", "--warm", "1", "--depth", depth]);
        await_others(stampo, &before);
        told.push(take(stampo));
    }
    all_differ(&told);
    stampo.ok(&["passport", "--all"]);
    stampo.ok(&["pool", "rm", "ci"]);
    for guest in stampo.guests() {
        stampo.ok(&["rm", "--force", &guest]);
    }
    await_true("the tender ends", || !is_tended(stampo));
    eprintln!("pools: {:?} in all", begun.elapsed());
}

fn await_true(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn pool(stampo: &Stampo) -> Value {
    stampo.json(&["pool", "show", "ci"])
}

fn ready(pool: &Value) -> usize {
    pool["ready"].as_array().map_or(0, Vec::len)
}

fn await_full(stampo: &Stampo, count: usize) {
    await_true("the pool is full", || ready(&pool(stampo)) == count);
}

fn members(stampo: &Stampo) -> Vec<String> {
    let pool = pool(stampo);
    let ready = pool["ready"].as_array().expect("a list").iter();
    let names = ready.map(|name| name.as_str().expect("a name").to_owned());
    names.collect()
}

/// Until the members of before, which are of another depth, are gone, and another is ready.
fn await_others(stampo: &Stampo, before: &[String]) {
    await_true("the pool is of one depth", || {
        let now = members(stampo);
        now.len() == 1 && !before.contains(&now[0])
    });
}

/// A member, with what it says of itself. Its clock is right although it slept.
fn take(stampo: &Stampo) -> Evidence {
    let taken = stampo.json(&["pool", "take", "ci", "--ttl", "1h"]);
    let guest = &taken[0];
    eprintln!("{} in {} ms", guest["name"], guest["took_ms"]);
    assert_eq!(guest["state"], "ready");
    assert_eq!(guest["power"], "running");
    let told = identify(stampo, guest);
    as_it_was_planned(guest, &told);
    told
}

fn a_command_in_a_member(stampo: &Stampo) {
    let before = stampo.guests();
    let script = "echo to-output; echo to-error >&2; exit 7";
    let ran = stampo.run(&["run", "web:stable", "--", "/bin/sh", "-c", script]);
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert_eq!(ran.stdout, "to-output\n");
    assert!(ran.stderr.contains("to-error"), "{}", ran.stderr);
    assert!(ran.stderr.contains("from its pool"), "{}", ran.stderr);
    let taken = before.iter().filter(|name| !stampo.guests().contains(name));
    assert_eq!(taken.count(), 1, "it is gone");
}

/// The output comes while the command runs; and the guest goes with its client.
fn a_killed_client(stampo: &Stampo) {
    await_full(stampo, 2);
    let script = "hostname; exec sleep 600";
    let mut client = stampo
        .command(&["run", "web:stable", "--", "/bin/sh", "-c", script])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("stampo starts");
    let name = first_line(&mut client);
    assert!(stampo.guests().contains(&name), "{name}");
    // What can't be caught.
    client.kill().expect("killed");
    client.wait().expect("it has ended");
    await_true("the guest goes with its client", || {
        !stampo.guests().contains(&name)
    });
}

fn first_line(client: &mut Child) -> String {
    let mut line = String::new();
    let mut output = BufReader::new(client.stdout.take().expect("a pipe"));
    output.read_line(&mut line).expect("a line");
    line.trim().to_owned()
}

/// Whether a process holds the tender's lock (flock(1)).
fn is_tended(stampo: &Stampo) -> bool {
    let lock = stampo.home().join("tend.lock");
    let mut flock = Command::new("flock");
    let free = flock.arg("--nonblock").arg(lock).arg("true").status();
    !free
        .expect("flock can't be started: apt install util-linux")
        .success()
}
