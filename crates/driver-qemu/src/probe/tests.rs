//! The probe on the real QEMU. Whether KVM works differs from host to host; that the test guest
//! runs to its end under emulation, and that a broken processor is found out, does not.

use super::*;
use crate::program::Qemu;

fn qemu() -> Qemu {
    Qemu::find(None).expect("this test needs qemu-system-x86_64, 7.2 or newer")
}

/// Emulation is slower than a processor and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_test_guest_passes_every_stage_on_a_processor_that_works() {
    assert_eq!(
        boot(&qemu(), "tcg", "qemu64", PATIENCE).expect("it starts"),
        Verdict::Works
    );
}

#[test]
fn a_processor_without_long_mode_is_found_out() {
    let Verdict::Fails(why) = boot(&qemu(), "tcg", "qemu32", PATIENCE).expect("it starts") else {
        panic!("a 32-bit processor can't run a 64-bit guest");
    };
    assert_eq!(
        why,
        "a test guest crashed before the end of long mode with paging"
    );
}

#[test]
fn a_guest_that_is_too_slow_is_given_up() {
    // No emulator starts and makes 200 million turns of a loop in this time.
    let short = Duration::from_millis(150);
    let Verdict::TooSlow(why) = boot(&qemu(), "tcg", "qemu64", short).expect("it starts") else {
        panic!("emulation can't be this fast");
    };
    assert!(
        why.starts_with("a test guest was still before the end of"),
        "{why}"
    );
}

#[test]
fn the_answer_is_kept_and_says_why() {
    let home = tempfile::tempdir().expect("a directory");
    let qemu = qemu();
    let first = acceleration(&qemu, home.path());
    if let Acceleration::Tcg { reason } = &first {
        assert!(
            reason.contains("/dev/kvm") || reason.contains("test guest"),
            "{reason}"
        );
    }
    let started = std::time::Instant::now();
    assert_eq!(acceleration(&qemu, home.path()), first);
    assert!(
        started.elapsed() < Duration::from_millis(500),
        "the second answer comes from the cache"
    );
}
