//! `stampo-agent`: the program inside a guest that makes a fork of a frozen machine a machine of
//! its own, and tells the host how it went.
//!
//! ```text
//! port ─→ serve ─→ fork ─→ random, clock, net, names, ssh keys, … ─→ services ─→ hooks
//!                   ├────→ wake ─→ random, clock
//!                   └────→ identify (evidence, read after everything is done)
//! ```
//!
//! A program of its own because it runs in another machine than stampo does. It is resident, so
//! that a fork needs no new process: under emulation a start costs a tenth of a second and more.
//! It therefore works by system calls, and starts nothing but the hooks and ifupdown.
//! It is built static and installed at sealing (`crates/agent-image`, `guest/src/seal/agent.rs`).
//!
//! It has no configuration and listens on no network; that it has stopped programs is written down in
//! `/run/stampo`, in case that it ends. Whoever holds the port is
//! the machine's hypervisor and could do anything to it; requests are checked all the same.

mod account;
mod boot_id;
mod clock;
mod connect;
mod exec;
mod files;
mod fork;
mod hooks;
mod identify;
mod logins;
mod names;
mod net;
mod outcome;
mod port;
mod priority;
mod random;
mod serve;
mod services;
mod ssh_keys;
mod storage_ids;
mod systemd;
mod timings;
mod wake;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: stampo-agent [PORT]\n\
    serves a virtio-serial port, or a Unix socket that it connects to;\n\
    without PORT: /dev/virtio-ports/dev.stampo.agent.0";

fn main() -> ExitCode {
    timings::begin();
    priority::run_first();
    let mut args = std::env::args_os().skip(1);
    let path = args.next().map_or_else(
        || PathBuf::from("/dev/virtio-ports").join(stampo_agent_protocol::PORT),
        PathBuf::from,
    );
    if args.next().is_some() || path.as_os_str().as_encoded_bytes().starts_with(b"-") {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    match port::Port::open(&path).and_then(|mut port| serve::serve(&mut port)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stampo-agent: {}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}
