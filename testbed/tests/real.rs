//! Real guests. They take minutes, so `cargo test` leaves them out; `./test` runs them.
//!
//! Its own main, because the cases that take longest begin first: the last one would else run with
//! one processor idle. A case that is not in the list below is dead code, which clippy refuses.

mod real {
    pub mod agent_ends;
    pub mod bridged;
    pub mod canary;
    pub mod captured;
    pub mod cloud_init;
    pub mod commands;
    pub mod corrupted;
    pub mod drift;
    pub mod forked;
    pub mod frozen;
    pub mod identity;
    pub mod importing;
    pub mod instant;
    pub mod machine;
    pub mod pooled;
    pub mod removed_home;
    pub mod slept;
    pub mod web;
}

use libtest_mimic::{Arguments, Trial};
use real::{cloud_init, corrupted, drift, forked, frozen, identity, importing, machine, web};
use std::process::ExitCode;

/// What takes longest first; what keeps two processors busy by itself last.
const CASES: [(&str, fn()); 11] = [
    (
        "frozen::forks_of_a_frozen_debian_are_one_machine_until_the_agent_has_been_told",
        frozen::forks_of_a_frozen_debian_are_one_machine_until_the_agent_has_been_told,
    ),
    (
        "identity::debian_13_shares_nothing",
        identity::debian_13_shares_nothing,
    ),
    (
        "identity::debian_12_shares_nothing",
        identity::debian_12_shares_nothing,
    ),
    (
        "web::three_clones_from_packages_to_removal",
        web::three_clones_from_packages_to_removal,
    ),
    (
        "cloud_init::cloud_init_runs_user_data_and_leaves_identity_alone",
        cloud_init::cloud_init_runs_user_data_and_leaves_identity_alone,
    ),
    (
        "forked::one_message_makes_another_machine_of_it",
        forked::one_message_makes_another_machine_of_it,
    ),
    (
        "drift::every_planted_change_of_a_booted_debian_is_found",
        drift::every_planted_change_of_a_booted_debian_is_found,
    ),
    (
        "importing::a_disk_has_one_identity_and_boots_under_uefi_with_a_tpm",
        importing::a_disk_has_one_identity_and_boots_under_uefi_with_a_tpm,
    ),
    (
        "machine::one_guest_with_everything",
        machine::one_guest_with_everything,
    ),
    (
        "importing::a_lost_catalog_comes_back_from_the_sidecars_with_a_running_guest",
        importing::a_lost_catalog_comes_back_from_the_sidecars_with_a_running_guest,
    ),
    (
        "corrupted::four_hundred_damaged_copies_of_a_real_guest",
        corrupted::four_hundred_damaged_copies_of_a_real_guest,
    ),
];

fn main() -> ExitCode {
    if let Some(code) = corrupted::run_worker_if_asked() {
        return code;
    }
    let trial = |(name, case): (&'static str, fn())| {
        let trial = Trial::test(name, move || {
            let begun = std::time::Instant::now();
            case();
            eprintln!("{name}: {:.0} s", begun.elapsed().as_secs_f64());
            Ok(())
        });
        trial.with_ignored_flag(true)
    };
    let trials = CASES.into_iter().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
