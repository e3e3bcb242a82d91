//! NetworkManager's keyfiles, nm-settings-keyfile(5).
//!
//! NetworkManager ignores a keyfile that others than root can read. A connection's UUID is derived
//! from the MAC: unique where the MAC is, and the same when the step is repeated.

use super::{Interface, by_family};
use crate::fs::Owner;
use crate::personalise::edit::Editor;
use crate::personalise::error::PersonaliseError;
use stampo_core::personalisation::Network;

const DIRECTORY: &str = "/etc/NetworkManager/system-connections";

pub(super) fn write(
    edit: &mut Editor<'_>,
    interfaces: &[Interface<'_>],
) -> Result<(), PersonaliseError> {
    for name in edit.names(DIRECTORY, |name| name.starts_with("stampo-"))? {
        edit.remove(&format!("{DIRECTORY}/{name}"))?;
    }
    for interface in interfaces {
        let path = format!("{DIRECTORY}/stampo-{}.nmconnection", interface.index);
        edit.put(&path, file(interface), Owner::root(0o600))?;
    }
    Ok(())
}

fn file(interface: &Interface<'_>) -> String {
    let Interface {
        index,
        mac,
        network,
    } = interface;
    let digest = blake3::derive_key("stampo NetworkManager connection of a MAC", &mac.0);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    // Version 8 is for ids made by a rule of one's own (RFC 9562, section 5.8).
    let uuid = uuid::Builder::from_custom_bytes(bytes).into_uuid();
    let mut text = format!(
        "# Written by stampo.\n[connection]\nid=stampo-{index}\nuuid={uuid}\ntype=ethernet\nautoconnect-priority=100\n\n[ethernet]\nmac-address={mac}\n"
    );
    match network {
        Network::Dhcp => text += "\n[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n",
        Network::Static {
            address,
            gateway,
            dns,
        } => {
            let family = by_family(address, "ipv4", "ipv6");
            let other = by_family(address, "ipv6", "ipv4");
            text += &format!("\n[{family}]\nmethod=manual\naddress1={address}\n");
            if let Some(gateway) = gateway {
                text += &format!("gateway={gateway}\n");
            }
            let same = |server: &&std::net::IpAddr| server.is_ipv4() == address.address.is_ipv4();
            let servers: String = dns.iter().filter(same).map(|ip| format!("{ip};")).collect();
            if !servers.is_empty() {
                text += &format!("dns={servers}\n");
            }
            let method = if other == "ipv6" { "auto" } else { "disabled" };
            text += &format!("\n[{other}]\nmethod={method}\n");
        }
    }
    text
}
