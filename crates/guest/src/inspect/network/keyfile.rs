//! Files of `[section]` and `key=value` lines: systemd-networkd, NetworkManager, and the
//! sectionless ifcfg files of Red Hat.

use super::super::look::clip;
use super::super::os::assignments;
use super::{Addressing, Interface};

/// Most lines of one file that are read.
const MAX_LINES: usize = 50_000;

/// `(section, key, value)` of every assignment; comments start with `#` or `;`.
pub fn entries(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let mut section = "";
    text.lines()
        .take(MAX_LINES)
        .map(str::trim)
        .filter_map(move |line| {
            if line.starts_with(['#', ';']) {
                return None;
            }
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                section = name;
                return None;
            }
            let (key, value) = line.split_once('=')?;
            Some((section, key.trim(), value.trim()))
        })
}

/// systemd.network(5) and systemd.link(5): one file is one interface.
pub fn networkd(text: &str) -> Vec<Interface> {
    let mut interface = Interface::default();
    for (section, key, value) in entries(text) {
        match (section, key) {
            ("Match", "Name" | "OriginalName") => interface.name = clip(value),
            ("Match", "MACAddress" | "PermanentMACAddress") | ("Link", "MACAddress") => {
                value
                    .split_whitespace()
                    .for_each(|mac| interface.is_tied_to(mac));
            }
            ("Network", "DHCP") if !matches!(value, "no" | "none" | "false" | "0") => {
                interface.gets(Addressing::Dhcp);
            }
            ("Network" | "Address", "Address") => interface.has_address(value),
            _ => {}
        }
    }
    vec![interface]
}

/// A NetworkManager connection: one file is one interface. Secrets are left out.
pub fn network_manager(text: &str) -> Vec<Interface> {
    let mut interface = Interface::default();
    let mut id = "";
    for (section, key, value) in entries(text) {
        match (section, key) {
            ("connection", "id") => id = value,
            ("connection", "interface-name") => interface.name = clip(value),
            ("ipv4" | "ipv6", "method") => interface.gets(method(value)),
            ("ipv4" | "ipv6", key) if is_address(key) => {
                // "address,gateway": the address comes first.
                interface.has_address(value.split(',').next().unwrap_or_default());
            }
            (_, "mac-address" | "cloned-mac-address") => interface.is_tied_to(value),
            _ => {}
        }
    }
    if interface.name.is_empty() {
        interface.name = clip(id);
    }
    vec![interface]
}

fn is_address(key: &str) -> bool {
    key.strip_prefix("address")
        .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
}

fn method(value: &str) -> Addressing {
    match value {
        "auto" | "dhcp" => Addressing::Dhcp,
        "manual" => Addressing::Static,
        _ => Addressing::Other,
    }
}

/// An `ifcfg-*` file: one file is one interface.
pub fn ifcfg(text: &str) -> Vec<Interface> {
    let values = assignments(text);
    let value = |key: &str| values.get(key).map(String::as_str).unwrap_or_default();
    let name = [value("DEVICE"), value("NAME")]
        .into_iter()
        .find(|name| !name.is_empty());
    let mut interface = Interface::named(name.unwrap_or_default());
    match value("BOOTPROTO") {
        "dhcp" | "bootp" => interface.gets(Addressing::Dhcp),
        _ => interface.gets(Addressing::Other),
    }
    for (key, value) in &values {
        if key.starts_with("IPADDR") || key == "IPV6ADDR" {
            interface.has_address(value);
        }
    }
    interface.is_tied_to(value("HWADDR"));
    interface.is_tied_to(value("MACADDR"));
    vec![interface]
}
