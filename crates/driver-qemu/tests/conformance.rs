//! The suite of all drivers on the real QEMU. Guests are boot sectors: no operating system is
//! needed to start, find, stop and kill them.

mod support;

use stampo_driver::conformance;
use support::Ground;

#[test]
fn qemu_keeps_every_rule() {
    conformance::run(&|| Box::new(Ground::new()));
}
