//! Warm members that slept: a paused machine's clock stands still and its generator with it, and whoever
//! takes it must not notice either.
//!
//! Called by `pooled.rs`, whose pool has two of them ready.

use super::instant::{identify, name};
use stampo_agent_protocol::Evidence;
use stampo_testbed::Stampo;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long they sleep at least: much longer than what their clocks may be off.
const SLEEP: Duration = Duration::from_secs(12);
/// What a clock may be off.
const OFF: Duration = Duration::from_secs(1);
/// The clock in nanoseconds, and what the kernel's generator gives.
const LOOK: &str = "date +%s%N; od -An -tx1 -N16 /dev/urandom; cat /proc/sys/kernel/random/uuid";

/// One member is taken and a command runs in the other, after both have slept; `meanwhile` is what is
/// done in that time. What the first says of itself.
pub(crate) fn members_wake_in_our_time(
    stampo: &Stampo,
    members: &[String],
    meanwhile: impl FnOnce(),
) -> Evidence {
    assert_eq!(members.len(), 2);
    for member in members {
        assert_eq!(stampo.json(&["show", member])["power"], "paused");
    }
    let asleep = Instant::now();
    meanwhile();
    std::thread::sleep(SLEEP.saturating_sub(asleep.elapsed()));
    eprintln!("members slept {:?}", asleep.elapsed());

    let taken = stampo.json(&["pool", "take", "ci", "--ttl", "1h"]);
    let begun = now();
    let told = identify(stampo, &taken[0]);
    is_within(begun, Duration::from_nanos(told.clock_unix_ns), "taken");
    let begun = now();
    let one = stampo.agent(name(&taken[0]), LOOK);
    let one = looked(begun, &one, "taken, and looked at by a program");

    let begun = now();
    let ran = stampo.run(&["run", "web:stable", "--", "/bin/sh", "-c", LOOK]);
    assert!(ran.stderr.contains("from its pool"), "{ran:?}");
    let other = looked(begun, &ran.stdout, "run in");
    for (one, other) in one.iter().zip(&other) {
        assert_ne!(one, other, "siblings have the same");
    }
    told
}

fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970")
}

/// A guest's clock, which was read between `begun` and now.
fn is_within(begun: Duration, clock: Duration, what: &str) {
    let (from, to) = (begun.saturating_sub(OFF), now() + OFF);
    assert!(
        (from..=to).contains(&clock),
        "{what}: its clock is at {clock:?}, and it was read between {begun:?} and {:?}",
        now()
    );
}

/// What a look has shown of the generator; the clock was right.
fn looked(begun: Duration, shown: &str, what: &str) -> Vec<String> {
    let mut lines = shown.lines();
    let clock = lines.next().and_then(|line| line.parse().ok());
    is_within(begun, Duration::from_nanos(clock.expect("a time")), what);
    let random: Vec<String> = lines.map(|line| line.trim().to_owned()).collect();
    assert_eq!(random.len(), 2, "{shown}");
    random
}
