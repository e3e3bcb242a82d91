//! Hardware addresses, fixed addresses and name servers in network configuration.

use super::MAX_DETAILS;
use crate::inspect::look::{clip, config_lines};
use crate::inspect::network::{Interface, ifupdown, keyfile, netplan};

/// Hardware addresses in interfaces(5).
pub fn ifupdown_macs(text: &str) -> Vec<String> {
    macs(&ifupdown::parse(text))
}

/// Fixed addresses in interfaces(5).
pub fn ifupdown_static(text: &str) -> Vec<String> {
    addresses(&ifupdown::parse(text))
}

/// Hardware addresses in netplan(5).
pub fn netplan_macs(text: &str) -> Vec<String> {
    netplan::parse(text).map_or_else(unreadable, |found| macs(&found))
}

/// Fixed addresses in netplan(5).
pub fn netplan_static(text: &str) -> Vec<String> {
    netplan::parse(text).map_or_else(unreadable, |found| addresses(&found))
}

/// Hardware addresses in systemd-networkd's files.
pub fn networkd_macs(text: &str) -> Vec<String> {
    macs(&keyfile::networkd(text))
}

/// Fixed addresses in systemd-networkd's files.
pub fn networkd_static(text: &str) -> Vec<String> {
    addresses(&keyfile::networkd(text))
}

/// Hardware addresses in NetworkManager's connections.
pub fn connection_macs(text: &str) -> Vec<String> {
    macs(&keyfile::network_manager(text))
}

/// Fixed addresses in NetworkManager's connections.
pub fn connection_static(text: &str) -> Vec<String> {
    addresses(&keyfile::network_manager(text))
}

/// Hardware addresses in ifcfg files.
pub fn ifcfg_macs(text: &str) -> Vec<String> {
    macs(&keyfile::ifcfg(text))
}

/// Fixed addresses in ifcfg files.
pub fn ifcfg_static(text: &str) -> Vec<String> {
    addresses(&keyfile::ifcfg(text))
}

fn macs(interfaces: &[Interface]) -> Vec<String> {
    let of = |interface: &Interface| interface.macs.clone();
    interfaces.iter().flat_map(of).take(MAX_DETAILS).collect()
}

fn addresses(interfaces: &[Interface]) -> Vec<String> {
    let is_own = |interface: &&Interface| interface.name != "lo";
    let of = |interface: &Interface| interface.addresses.clone();
    interfaces
        .iter()
        .filter(is_own)
        .flat_map(of)
        .take(MAX_DETAILS)
        .collect()
}

/// A file that its own program could not read either can't be called clean.
fn unreadable(why: String) -> Vec<String> {
    vec![why]
}

/// resolv.conf(5): servers that are not on the machine itself.
pub fn name_servers(text: &str) -> Vec<String> {
    let server = |line: &str| {
        let address = line.strip_prefix("nameserver")?.trim();
        let is_own = address.starts_with("127.") || address == "::1";
        (!is_own).then(|| clip(address))
    };
    config_lines(text)
        .filter_map(server)
        .take(MAX_DETAILS)
        .collect()
}
