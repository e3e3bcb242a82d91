//! Programs that keep something of the template in memory, and how each is told.
//!
//! | Program | What it keeps | Until the link is up | How it is told then |
//! |---|---|---|---|
//! | OpenSSH's server | the template's host keys | stopped | SIGHUP: it starts itself anew (sshd(8)); restarted where systemd listens for it |
//! | systemd-networkd, NetworkManager, dhcpcd | the lease, and a client id made of the machine-id | stopped, what they stored removed | killed and restarted |
//! | ISC dhclient, dhcpcd below ifupdown | the same | ended | `connect.rs` starts it anew |
//! | systemd-resolved | answers from the template's network | | SIGUSR2 (systemd-resolved.service(8)) |
//! | rsyslog, syslog-ng | the host name | | SIGHUP |
//! | systemd-journald | the machine-id, the boot id | | restarted |
//!
//! What could speak as the template is stopped (SIGSTOP) before it could be heard, and told when the
//! host says that the link is up: starting anew costs seconds under emulation, which nobody has to
//! wait for who wants to know whether the fork is itself. Restarts are asked for and not waited for.
//! The processes of a unit are read from its control group, without asking anybody.
//!
//! What is stopped stays so when the agent ends, so a file says that it is: an agent that systemd has
//! started again goes on from there.
//!
//! ```text
//! no file ── hold ─→ empty ── the host says connect ─→ "connect" ── all told ─→ no file
//! ```

use crate::files;
use crate::outcome::{Doing, Failure, Step};
use crate::systemd;
use rustix::process::{Pid, Signal, kill_process};
use stampo_agent_protocol::Outcome;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where systemd listens for the ssh server.
const SSH_SOCKET: &str = "/etc/systemd/system/sockets.target.wants/ssh.socket";
/// What the ssh server is called.
const SSH: [&str; 2] = ["ssh.service", "sshd.service"];
const RESOLVER: &str = "systemd-resolved.service";
const SYSTEM_LOG: [&str; 2] = ["rsyslog.service", "syslog-ng.service"];
const JOURNAL: &str = "systemd-journald.service";

/// There while programs are held, or have not been told yet.
const MARK: &str = "/run/stampo/held";
/// What it holds from the moment on at which the host wanted the machine connected.
const CONNECT: &str = "connect";

/// Stops what could speak as the template once the link is up, and forgets what DHCP clients stored.
pub(crate) fn hold() -> Step {
    static HELD: AtomicBool = AtomicBool::new(false);
    if HELD.load(Ordering::Relaxed) && is_held() {
        return Ok(Outcome::Done);
    }
    // First: what is stopped without it, nobody would let go on.
    files::put_in_run(MARK, b"", 0o600)?;
    for unit in DHCP_SERVICES.iter().chain(&SSH) {
        signal(unit, Signal::STOP)?;
    }
    for pid in clients_of_ifupdown() {
        // One that has ended meanwhile holds no lease.
        let _ = kill_process(pid, Signal::KILL);
    }
    for (directory, ends) in STORED {
        for name in files::names(directory) {
            if ends.iter().any(|end| name.ends_with(end)) {
                files::remove(&Path::new(directory).join(name))?;
            }
        }
    }
    HELD.store(true, Ordering::Relaxed);
    Ok(Outcome::Done)
}

fn is_held() -> bool {
    Path::new(MARK).exists()
}

/// Remembers that the host wants the machine connected.
pub(crate) fn remember_connect() -> Result<(), Failure> {
    match is_held() {
        true => files::put_in_run(MARK, CONNECT.as_bytes(), 0o600),
        false => Ok(()),
    }
}

/// Whether an agent that has ended was asked to connect the machine, and did not come to the end of it.
pub(crate) fn connect_is_left() -> bool {
    files::text(MARK).is_some_and(|mark| mark == CONNECT)
}

/// The journal and the DHCP clients begin anew, if they are held. Clients are killed before anybody asks
/// them to end: they would give back the template's lease.
pub(crate) fn begin_network() -> Result<(), Failure> {
    if !is_held() {
        return Ok(());
    }
    // The journal first: what the others log is this machine's.
    let mut restart = Vec::new();
    restart.extend(main_process(JOURNAL).map(|_| JOURNAL));
    for unit in DHCP_SERVICES {
        if signal(unit, Signal::KILL)? {
            restart.push(unit);
        }
    }
    systemd::restart(&restart)
}

/// Tells all others, if they have not been told.
pub(crate) fn tell() -> Result<(), Failure> {
    if !is_held() {
        return Ok(());
    }
    let mut restart = Vec::new();
    for unit in SSH {
        if Path::new(SSH_SOCKET).exists() && signal(unit, Signal::KILL)? {
            // It was given its sockets at its start, and starting itself anew it closes them.
            restart.push(unit);
        } else {
            signal(unit, Signal::HUP)?;
            signal(unit, Signal::CONT)?;
        }
    }
    signal(RESOLVER, Signal::USR2)?;
    for unit in SYSTEM_LOG {
        signal(unit, Signal::HUP)?;
    }
    systemd::restart(&restart)?;
    files::remove(Path::new(MARK))
}

/// What DHCP clients store of the template's lease and of who they are.
const STORED: [(&str, &[&str]); 6] = [
    ("/run/systemd/netif/leases", &[""]),
    // Some versions ask for the address that they find here.
    ("/run/systemd/netif/links", &[""]),
    ("/var/lib/dhcp", &[".leases"]),
    ("/var/lib/dhclient", &[".leases"]),
    (
        "/var/lib/NetworkManager",
        &[".lease", "secret_key", "seen-bssids"],
    ),
    ("/var/lib/dhcpcd", &["duid", "secret", ".lease", ".lease6"]),
];

/// Services that are DHCP clients.
const DHCP_SERVICES: [&str; 3] = [
    "systemd-networkd.service",
    "NetworkManager.service",
    "dhcpcd.service",
];

/// DHCP clients that ifupdown starts, by their names: ISC's, and Debian 13's. The second one may also
/// be a service, and is then restarted as such.
const CLIENTS: [(&str, [&str; 2], Option<&str>); 2] = [
    ("dhclient", ["/sbin/dhclient", "/usr/sbin/dhclient"], None),
    (
        "dhcpcd",
        ["/sbin/dhcpcd", "/usr/sbin/dhcpcd"],
        Some("dhcpcd.service"),
    ),
];

/// Every DHCP client that belongs to no service. Reading the name of every process is slow under
/// emulation, so it is not done where there is no such program.
fn clients_of_ifupdown() -> Vec<Pid> {
    let wanted: Vec<&str> = CLIENTS
        .iter()
        .filter(|(_, places, _)| places.iter().any(|place| Path::new(place).exists()))
        .filter(|(_, _, unit)| unit.is_none_or(|unit| main_process(unit).is_none()))
        .map(|(name, _, _)| *name)
        .collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let is_one = |pid: &Pid| {
        files::text(format!("/proc/{}/comm", pid.as_raw_nonzero()))
            .is_some_and(|name| wanted.contains(&name.trim()))
    };
    let numbers = files::names("/proc")
        .into_iter()
        .filter_map(|name| name.parse().ok());
    numbers.filter_map(Pid::from_raw).filter(is_one).collect()
}

/// Signals the main process of a unit; whether it has one.
fn signal(unit: &str, signal: Signal) -> Result<bool, Failure> {
    match main_process(unit) {
        None => Ok(false),
        Some(pid) => kill_process(pid, signal)
            .doing(format_args!("signal {unit}"))
            .map(|()| true),
    }
}

/// The process that systemd started for a unit: the one whose parent is systemd.
fn main_process(unit: &str) -> Option<Pid> {
    let groups = [
        format!("/sys/fs/cgroup/system.slice/{unit}/cgroup.procs"),
        // The older hierarchy.
        format!("/sys/fs/cgroup/systemd/system.slice/{unit}/cgroup.procs"),
    ];
    let listed = groups.iter().find_map(files::text)?;
    let pids = listed.lines().filter_map(|line| line.parse::<i32>().ok());
    pids.filter(|pid| parent(*pid) == Some(1))
        .find_map(Pid::from_raw)
}

/// Field 4 of proc_pid_stat(5), behind the name in brackets, which may hold anything.
fn parent(pid: i32) -> Option<i32> {
    let stat = files::text(format!("/proc/{pid}/stat"))?;
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

/// Whether Debian's ifupdown brings interfaces up here, with a DHCP client behind it.
pub(crate) fn has_ifupdown() -> bool {
    Path::new("/sbin/ifup").exists()
        && !files::names("/etc/network").is_empty()
        && main_process("systemd-networkd.service").is_none()
        && main_process("NetworkManager.service").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_parent() {
        let own = std::process::id() as i32;
        assert_eq!(
            parent(own),
            Some(std::os::unix::process::parent_id() as i32)
        );
        assert_eq!(parent(i32::MAX), None);
    }
}
