//! The driver on the real QEMU, by emulation. Guests are boot sectors: no operating system is
//! needed to start, find, stop and kill them. Needs the packages qemu-system-x86, ovmf and swtpm.

mod devices;
mod linux;
mod memory;
mod monitor;
mod prepared;
mod processes;
mod records;
mod support;

use stampo_driver::conformance;
use support::Ground;

#[test]
fn qemu_keeps_every_rule_of_the_suite() {
    conformance::run(&|| Box::new(Ground::new()));
}
