//! Programs that keep something of the template in memory, and how each is told.
//!
//! | Program | What it keeps | How it is told |
//! |---|---|---|
//! | OpenSSH's server | the template's host keys | SIGHUP: it starts itself anew (sshd(8)); restarted where systemd listens for it |
//! | systemd-journald | the machine-id, the boot id | restarted |
//! | systemd-resolved | answers from the template's network | SIGUSR2 (systemd-resolved.service(8)) |
//! | systemd-networkd, NetworkManager, dhcpcd | the lease, and a client id made of the machine-id | killed and restarted, what they stored removed |
//! | ISC dhclient, dhcpcd below ifupdown | the same | ended; `connect.rs` starts it anew |
//! | rsyslog, syslog-ng | the host name | SIGHUP |
//!
//! Restarts are asked for and not waited for: they cost seconds under emulation and need nothing
//! more. The processes of a unit are read from its control group, without asking anybody.

use crate::files;
use crate::outcome::{Doing, Step, not_needed};
use crate::systemd::{self, Asked};
use rustix::process::{Pid, Signal, kill_process};
use stampo_agent_protocol::Outcome;
use std::path::Path;

/// Where systemd listens for the ssh server.
const SSH_SOCKET: &str = "/etc/systemd/system/sockets.target.wants/ssh.socket";

/// The ssh server reads its keys.
pub(crate) fn ssh_server() -> Step {
    if Path::new(SSH_SOCKET).exists() {
        // It was given its sockets at its start, and starting itself anew it closes them.
        return restart_running(&["ssh.service"]);
    }
    signal_first_of(&["ssh.service", "sshd.service"], Signal::HUP)
}

/// The journal goes on under the new machine-id.
pub(crate) fn journal() -> Step {
    restart_running(&["systemd-journald.service"])
}

/// The resolver drops its cache.
pub(crate) fn resolver() -> Step {
    signal_first_of(&["systemd-resolved.service"], Signal::USR2)
}

/// The system log reads the host name.
pub(crate) fn system_log() -> Step {
    signal_first_of(&["rsyslog.service", "syslog-ng.service"], Signal::HUP)
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

/// The DHCP client forgets its lease. None is left running: once the link is up it would ask for the
/// template's address, with the template's client id, before systemd has come to restart it.
pub(crate) fn dhcp_client() -> Step {
    let services = DHCP_SERVICES.map(main_process);
    let told = restart_running(&DHCP_SERVICES)?;
    for pid in clients_of_ifupdown()
        .into_iter()
        .chain(services.into_iter().flatten())
    {
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
    Ok(told)
}

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

/// Signals the main process of the first of these units that runs.
fn signal_first_of(units: &[&str], signal: Signal) -> Step {
    for unit in units {
        if let Some(pid) = main_process(unit) {
            kill_process(pid, signal).doing(format_args!("signal {unit}"))?;
            return Ok(Outcome::Done);
        }
    }
    not_needed("no such service runs")
}

/// Asks for a restart of every unit that runs.
fn restart_running(units: &[&str]) -> Step {
    let mut told = false;
    for unit in units {
        if main_process(unit).is_some() {
            told |= systemd::try_restart(unit)? == Asked::Queued;
        }
    }
    if told {
        Ok(Outcome::Done)
    } else {
        not_needed("no such service runs")
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
