//! What an instant clone has become, captured while it runs, frozen, and forked again.
//!
//! Called by `frozen.rs`, which has built and frozen the version.

use super::instant::{all_differ, identify, name};
use stampo_testbed::Stampo;
use std::time::Instant;

/// Everything; the version is called `web`.
pub(crate) fn a_fork_is_frozen_again(stampo: &Stampo) {
    let begun = Instant::now();
    let grown = stampo.json(&["clone", "--instant=only", "web", "grown"]);
    let booted = stampo.agent("grown", "cat /proc/sys/kernel/random/boot_id");
    // Not yet on the disk when it is captured.
    stampo.agent("grown", "echo warm > /var/lib/warmed");
    stampo.ok(&["template", "capture", "next", "grown", "--freeze"]);
    eprintln!("captured: frozen again after {:?}", begun.elapsed());
    // It went on, and did not boot.
    let now = stampo.agent("grown", "cat /proc/sys/kernel/random/boot_id");
    assert_eq!(now, booted);
    let version = stampo.json(&["template", "show", "next"]);
    assert_eq!(version["origin"]["parent"], "web@1");
    stampo.ok(&["template", "publish", "next"]);
    let again = stampo.json(&[
        "clone",
        "--instant=only",
        "next",
        "again-{n}",
        "--count",
        "2",
    ]);
    let again = again.as_array().expect("guests");
    let old = grown.as_array().expect("guests");
    let told: Vec<_> = old
        .iter()
        .chain(again)
        .map(|of| identify(stampo, of))
        .collect();
    all_differ(&told);
    for guest in again {
        assert_eq!(
            stampo.agent(name(guest), "cat /var/lib/warmed").trim(),
            "warm"
        );
    }
    stampo.ok(&["passport", "--all"]);
    stampo.ok(&["rm", "--force", "grown", "again-1", "again-2"]);
    eprintln!("captured: {:?} in all", begun.elapsed());
}
