//! After the link came up: asks for addresses where nobody does by itself, and waits for them.

use crate::{net, services};
use stampo_agent_protocol::{ConnectRequest, Connected, Few, Interface};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often the kernel is asked.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) fn connect(request: ConnectRequest) -> Connected {
    let begin = Instant::now();
    let end = begin + Duration::from_millis(request.wait_ms.into());
    let mut asked = false;
    loop {
        let interfaces = net::interfaces().unwrap_or_default();
        let complete = is_complete(&interfaces);
        if !complete && !asked && interfaces.iter().any(|one| one.link_up) {
            // systemd-networkd and NetworkManager see the carrier; ifupdown sees nothing.
            if services::has_ifupdown() {
                interfaces.iter().filter(|one| lacks(one)).for_each(ifup);
            }
            asked = true;
        }
        if complete || Instant::now() >= end {
            return Connected {
                complete,
                interfaces: Few::first(interfaces),
                took_us: begin.elapsed().as_micros() as u64,
            };
        }
        sleep(PAUSE);
    }
}

fn lacks(interface: &Interface) -> bool {
    interface.link_up && interface.addresses.is_empty()
}

fn is_complete(interfaces: &[Interface]) -> bool {
    interfaces.iter().any(|one| one.link_up) && !interfaces.iter().any(lacks)
}

/// Brings an interface up again; a failure shows as a missing address.
fn ifup(interface: &Interface) {
    for args in [&["/sbin/ifdown", "--force"][..], &["/sbin/ifup"]] {
        let _ = Command::new(args[0])
            .args(&args[1..])
            .arg(&interface.name)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
    }
}
