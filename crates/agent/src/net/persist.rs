//! What the guest's network programs read: files that name an interface by its MAC follow it, and
//! systemd-networkd gets a file for each interface.
//!
//! Without this a clone would have no network after its next start, where the machine has the new
//! MACs from the beginning. Other programs' files for fixed addresses are not written here
//! ([`keep_addresses`] says so): the host does that when it personalises a disk.

use crate::files::{self, put, put_keeping, text};
use crate::outcome::Failure;
use stampo_agent_protocol::{Addressing, Nic};
use std::path::Path;

/// Where MACs are written down (personalisation writes into the first four).
const DIRECTORIES: [&str; 8] = [
    "/etc/systemd/network",
    "/etc/netplan",
    "/etc/NetworkManager/system-connections",
    "/etc/network/interfaces.d",
    "/etc/network",
    "/etc/udev/rules.d",
    "/run/systemd/network",
    "/run/NetworkManager/system-connections",
];
const NETWORKD: &str = "/etc/systemd/network";

/// Puts the new MACs where the old ones stand.
pub(crate) fn follow_macs(nics: &[Nic]) -> Result<(), Failure> {
    for directory in DIRECTORIES {
        for name in files::names(directory) {
            let path = Path::new(directory).join(name);
            let Some(old) = text(&path) else { continue };
            let new = with_macs(&old, nics);
            if new != old {
                put_keeping(&path, new.as_bytes(), 0o600)?;
            }
        }
    }
    Ok(())
}

/// Writes down where the addresses come from.
///
/// # Errors
/// When a file can't be written, or a fixed address could not be kept over a restart.
pub(crate) fn keep_addresses(nics: &[Nic]) -> Result<(), Failure> {
    if networkd_runs() {
        for (index, nic) in nics.iter().enumerate() {
            let path = Path::new(NETWORKD).join(format!("05-stampo-{index}.network"));
            put(&path, networkd_file(nic).as_bytes(), 0o644)?;
        }
        return Ok(());
    }
    let fixed = |nic: &Nic| matches!(nic.addressing, Addressing::Static(_));
    if nics.iter().any(fixed) {
        let why = "fixed addresses last over a restart with systemd-networkd only";
        return Err(Failure(why.into()));
    }
    Ok(())
}

/// Whether systemd-networkd sets the interfaces by itself, without netplan's files.
fn networkd_runs() -> bool {
    Path::new("/run/systemd/netif/state").exists() && files::names("/etc/netplan").is_empty()
}

/// As personalisation writes it (`personalise/network/networkd.rs`); the first file in the order
/// of names that matches an interface wins.
fn networkd_file(nic: &Nic) -> String {
    let mac = nic.new_mac;
    let mut text = format!("# Written by stampo.\n[Match]\nMACAddress={mac}\n\n[Network]\n");
    match &nic.addressing {
        Addressing::Dhcp => text += "DHCP=yes\n",
        Addressing::Static(network) => {
            for address in network.addresses.iter() {
                text += &format!("Address={address}\n");
            }
            for gateway in network.gateways.iter() {
                text += &format!("Gateway={gateway}\n");
            }
            for server in network.dns.iter() {
                text += &format!("DNS={server}\n");
            }
        }
    }
    text
}

/// `text` with every old MAC replaced, in whichever case it is written. All at once: a MAC that one
/// interface gives away may be what another one gets.
fn with_macs(text: &str, nics: &[Nic]) -> String {
    let pairs: Vec<(String, String)> = nics
        .iter()
        .map(|nic| (nic.old_mac.to_string(), nic.new_mac.to_string()))
        .collect();
    let lower = text.to_ascii_lowercase();
    let mut new = String::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        // The permanent MAC of a device changes with the device, at the next start.
        let hit = pairs
            .iter()
            .find(|(old, _)| lower[at..].starts_with(old.as_str()));
        match hit {
            Some((old, mac)) => {
                new += mac;
                at += old.len();
            }
            None => {
                let next = text[at..].chars().next().map_or(1, char::len_utf8);
                new += &text[at..at + next];
                at += next;
            }
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use stampo_agent_protocol::Mac;

    fn nic(old: u8, new: u8) -> Nic {
        Nic {
            old_mac: Mac([0x52, 0x54, 0, 0xab, 0, old]),
            new_mac: Mac([0x52, 0x54, 0, 0xab, 0, new]),
            addressing: Addressing::Dhcp,
        }
    }

    #[test]
    fn macs_are_followed_in_either_case_and_may_be_swapped() {
        let text = "a 52:54:00:AB:00:01\nä=52:54:00:ab:00:02 x\n";
        assert_eq!(
            with_macs(text, &[nic(1, 2), nic(2, 1)]),
            "a 52:54:00:ab:00:02\nä=52:54:00:ab:00:01 x\n"
        );
    }
}
