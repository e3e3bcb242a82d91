//! A guest's monitor, asked by hand: what QEMU itself says, beside the driver.

use crate::support::await_that;
use serde_json::{Value, json};
use stampo_driver::GuestDefinition;
use std::io::{BufRead, BufReader, Write};
use std::time::Duration;

/// Gives the guest's monitor one command without arguments; its answer.
pub fn qmp(guest: &GuestDefinition, command: &str) -> Value {
    ask(guest, command, json!({}))
}

/// Gives the guest's monitor one command; its answer.
pub fn ask(guest: &GuestDefinition, command: &str, arguments: Value) -> Value {
    let path = guest.directory.join("qmp.sock");
    let mut stream =
        stampo_driver::socket::connect(&path, Duration::from_secs(5)).expect("the monitor answers");
    let mut lines = BufReader::new(stream.try_clone().expect("a clone")).lines();
    lines.next().expect("a greeting").expect("readable");
    let mut answer = Value::Null;
    for (name, arguments) in [("qmp_capabilities", json!({})), (command, arguments)] {
        let request = json!({"execute": name, "arguments": arguments});
        writeln!(stream, "{request}").expect("sent");
        answer = loop {
            let line = lines.next().expect("a line").expect("readable");
            let message: Value = serde_json::from_str(&line).expect("JSON");
            if message.get("event").is_none() {
                break message;
            }
        };
    }
    answer
        .get("return")
        .unwrap_or_else(|| panic!("{command}: {answer}"))
        .clone()
}

/// What the monitor for people prints.
fn told(guest: &GuestDefinition, line: &str) -> String {
    let told = ask(
        guest,
        "human-monitor-command",
        json!({"command-line": line}),
    );
    told.as_str().expect("text").to_owned()
}

fn window_of_interface(guest: &GuestDefinition) -> Option<u64> {
    let devices = told(guest, "info pci");
    let nic = devices.split("Ethernet controller").nth(1)?;
    let window = nic.split("BAR4:").nth(1)?.lines().next()?;
    let address = window.split(" at 0x").nth(1)?.split(' ').next()?;
    // One that has none yet is all ones.
    let address = u64::from_str_radix(address, 16).ok()?;
    (address < 1 << 47).then_some(address)
}

/// Whether the first interface, a virtio one, shows its guest a plugged-in cable.
///
/// Read where the guest reads it: the status of virtio-net's configuration (virtio 1.2, section
/// 5.1.4) is at 6 behind the beginning of the device's own registers, which QEMU puts at 0x2000 of
/// the fourth window of its memory (`hw/virtio/virtio-pci.c`).
pub fn link_is_up(guest: &GuestDefinition) -> bool {
    let mut window = None;
    await_that("the firmware gives the interface addresses", || {
        window = window_of_interface(guest);
        window.is_some()
    });
    let address = window.expect("awaited");
    let status = told(guest, &format!("xp /1hx {:#x}", address + 0x2006));
    let status = status
        .trim()
        .rsplit("0x")
        .next()
        .expect("a number")
        .to_owned();
    u16::from_str_radix(&status, 16).expect("hexadecimal") & 1 == 1
}
