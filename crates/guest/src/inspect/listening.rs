//! Which ports a guest will probably listen on: what its enabled socket units say (systemd.socket(5)), and
//! the ssh server's setting.
//!
//! Inferred from files, so a program that opens a port of its own accord is *not* seen.

use super::look::{Look, clip, config_lines};
use super::services::Services;
use super::sshd::Setting;
use std::collections::BTreeMap;

/// Where units are, the administrator's first.
const UNITS: &[&str] = &[
    "/etc/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// Units that start the ssh server.
const SSH: &[&str] = &["ssh.service", "sshd.service"];

/// Each address that is listened on, as `22/tcp`, with the unit that does.
pub fn read(
    look: &mut Look<'_>,
    services: &Services,
    sshd: Option<&BTreeMap<String, Setting>>,
) -> BTreeMap<String, String> {
    let mut ports = BTreeMap::new();
    for service in services.units.iter().filter(|one| !one.masked) {
        let unit = &service.unit;
        if SSH.contains(&unit.as_str()) {
            let port = sshd.and_then(|settings| settings.get("port"));
            let port = port.map_or("22", |setting| setting.value.as_str());
            ports.insert(format!("{port}/tcp"), unit.clone());
        } else if unit.ends_with(".socket") {
            let mut paths = UNITS.iter().map(|directory| format!("{directory}/{unit}"));
            let text = paths.find_map(|path| look.text(&path)).unwrap_or_default();
            ports.extend(parse(&text).into_iter().map(|port| (port, unit.clone())));
        }
    }
    ports
}

/// The network addresses of a socket unit; those in the file system are left out.
pub fn parse(text: &str) -> Vec<String> {
    let pairs = config_lines(text).filter_map(|line| line.split_once('='));
    pairs
        .filter_map(|(key, value)| {
            let protocol = match key.trim() {
                "ListenStream" => "tcp",
                "ListenDatagram" => "udp",
                _ => return None,
            };
            let value = value.trim();
            let is_local = value.is_empty()
                || value.starts_with(['/', '@', '%'])
                || value.starts_with("vsock:");
            (!is_local).then(|| format!("{}/{protocol}", clip(value)))
        })
        .take(1000)
        .collect()
}
