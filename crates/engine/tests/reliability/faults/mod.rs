//! Faults at system calls: a command that is killed at any of them, or that one of them fails.

mod calls;
pub mod child;
mod errors;
mod kills;
mod messages;
mod points;
pub mod small_disk;
mod stage;
mod tracer;

pub use points::caught;

use crate::{cases, home};
use libtest_mimic::Trial;

/// One test for each case and kind of fault.
pub fn trials() -> Vec<Trial> {
    let mut trials = vec![Trial::test("slices_meet_every_call_once", || {
        points::slices_meet_every_call_once();
        Ok(())
    })];
    for case in cases::all() {
        trials.push(Trial::test(
            format!("killed_at_calls_of_{}", case.name),
            move || {
                home::in_memory(|| kills::kill_at_calls(&case));
                Ok(())
            },
        ));
        trials.push(Trial::test(
            format!("failing_calls_of_{}", case.name),
            move || {
                home::in_memory(|| errors::fail_at_calls(&case));
                Ok(())
            },
        ));
    }
    for case in small_disk::FREEING {
        trials.push(Trial::test(format!("full_disk_for_{case}"), move || {
            small_disk::sweep(case);
            Ok(())
        }));
    }
    for case in small_disk::CASES {
        trials.push(Trial::test(format!("small_disk_for_{case}"), move || {
            small_disk::sweep(case);
            Ok(())
        }));
    }
    trials
}
