//! After the link came up: lets the network's programs begin, asks for addresses where nobody does by
//! itself, waits for them, and tells all other programs what a fork put off.

use crate::outcome::Failure;
use crate::{net, services};
use stampo_agent_protocol::{ConnectRequest, Connected, Few, Interface};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often the kernel is asked.
const PAUSE: Duration = Duration::from_millis(10);

/// Whether a request to connect was answered before it was carried out.
static LATER: AtomicBool = AtomicBool::new(false);

/// Connects the machine.
///
/// # Errors
/// When a program could not be told who the machine is now.
pub(crate) fn connect(request: ConnectRequest) -> Result<Connected, Failure> {
    let begin = Instant::now();
    let end = begin + Duration::from_millis(request.wait_ms.into());
    // Asked while all services run.
    let has_ifupdown = services::has_ifupdown();
    // Who does not wait for addresses does not wait for programs either.
    let later = request.wait_ms == 0;
    services::remember_connect()?;
    LATER.store(later, Ordering::Relaxed);
    if !later {
        services::begin_network()?;
    }
    let (complete, interfaces) = wait(end, has_ifupdown && !later);
    if !later {
        services::tell()?;
    }
    Ok(Connected {
        complete,
        interfaces: Few::first(interfaces),
        took_us: begin.elapsed().as_micros() as u64,
    })
}

/// Does what the last request to connect put off until it was answered. What fails is tried again by an
/// agent that is started again, and not before: each time, the network's programs begin anew.
pub(crate) fn later() {
    if LATER.swap(false, Ordering::Relaxed) {
        let request = ConnectRequest { wait_ms: 1 };
        if let Err(error) = connect(request) {
            eprintln!("stampo-agent: {error}");
        }
    }
}

/// Goes on where an agent has ended that was connecting this machine.
pub(crate) fn resume() {
    LATER.store(services::connect_is_left(), Ordering::Relaxed);
    later();
}

/// Until every interface that is up has an address, or the time is over; which of the two.
fn wait(end: Instant, has_ifupdown: bool) -> (bool, Vec<Interface>) {
    let mut asked = false;
    loop {
        let interfaces = net::interfaces().unwrap_or_default();
        let complete = is_complete(&interfaces);
        if !complete && !asked && interfaces.iter().any(|one| one.link_up) {
            // systemd-networkd and NetworkManager see the carrier; ifupdown sees nothing.
            if has_ifupdown {
                interfaces.iter().filter(|one| lacks(one)).for_each(ifup);
            }
            asked = true;
        }
        if complete || Instant::now() >= end {
            return (complete, interfaces);
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
