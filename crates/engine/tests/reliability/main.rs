//! The engine on the simulated driver, killed after every step.
//!
//! This program is three things. As a test it prepares a home, starts itself as a child that
//! carries out one command, and looks at what the child left. As that child it kills itself at the
//! point that it was told. And as the engine's sandboxed reader of images it takes an image in.
//!
//! Nothing here starts a real guest: `tests/real.rs` in the testbed does.

mod cancel;
mod cases;
mod clean;
mod crash;
mod home;
mod races;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

fn main() -> ExitCode {
    stampo_image::intake::run_child_if_asked();
    if let Some(code) = crash::run_child_if_asked() {
        return code;
    }
    if let Some(code) = races::run_child_if_asked() {
        return code;
    }
    let mut trials = plain();
    for case in cases::all() {
        trials.push(Trial::test(
            format!("killed_after_every_step_of_{}", case.name),
            move || {
                crash::kill_everywhere(&case);
                Ok(())
            },
        ));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// The tests that are no crash case.
fn plain() -> Vec<Trial> {
    let trial = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    vec![
        trial(
            "a_cancelled_operation_leaves_nothing",
            cancel::a_cancelled_operation_leaves_nothing,
        ),
        trial(
            "another_process_can_cancel",
            cancel::another_process_can_cancel,
        ),
        trial(
            "a_defect_in_one_thread_ends_the_operation",
            cancel::a_defect_in_one_thread_ends_the_operation,
        ),
        trial(
            "several_processes_may_work_and_die_on_one_home",
            races::several_processes_may_work_and_die_on_one_home,
        ),
    ]
}
