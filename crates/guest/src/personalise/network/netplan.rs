//! netplan(5), and the same form as cloud-init's network-config version 2.
//!
//! Every value comes from a typed address or MAC, so none can break out of its quotes.

use super::Interface;
use crate::fs::Owner;
use crate::personalise::edit::Editor;
use crate::personalise::error::PersonaliseError;
use stampo_core::personalisation::Network;

const DIRECTORY: &str = "/etc/netplan";

pub(super) fn write(
    edit: &mut Editor<'_>,
    interfaces: &[Interface<'_>],
) -> Result<(), PersonaliseError> {
    for name in edit.names(DIRECTORY, |name| {
        name.ends_with(".yaml") && name != "90-stampo.yaml"
    })? {
        let path = format!("{DIRECTORY}/{name}");
        if name == "50-cloud-init.yaml" {
            edit.remove(&path)?;
        } else if edit.text(&path)?.unwrap_or_default().contains("ethernets:") {
            edit.note(format!(
                "{path} of the template also names Ethernet interfaces; ours come first for the guest's own MACs"
            ));
        }
    }
    let indented: String = version_2(interfaces)
        .lines()
        .map(|line| format!("  {line}\n"))
        .collect();
    let text = format!("# Written by stampo.\nnetwork:\n{indented}");
    // netplan warns of files that others can read.
    edit.put(
        &format!("{DIRECTORY}/90-stampo.yaml"),
        text,
        Owner::root(0o600),
    )?;
    Ok(())
}

/// `version: 2` and what follows. The ids sort before any letter, because the files that netplan
/// makes of them are taken in that order and the first match wins.
pub(in crate::personalise) fn version_2(interfaces: &[Interface<'_>]) -> String {
    let mut text = String::from("version: 2\nethernets:\n");
    for Interface {
        index,
        mac,
        network,
    } in interfaces
    {
        text += &format!("  00-stampo{index}:\n    match:\n      macaddress: \"{mac}\"\n");
        match network {
            Network::Dhcp => text += "    dhcp4: true\n",
            Network::Static {
                address,
                gateway,
                dns,
            } => {
                text += &format!("    dhcp4: false\n    addresses: [\"{address}\"]\n");
                if let Some(gateway) = gateway {
                    // "default" as a word needs a newer netplan than Debian 12 and Ubuntu 20.04 have.
                    let all = if gateway.is_ipv4() {
                        "0.0.0.0/0"
                    } else {
                        "::/0"
                    };
                    text += &format!(
                        "    routes:\n      - to: \"{all}\"\n        via: \"{gateway}\"\n"
                    );
                }
                if !dns.is_empty() {
                    let servers: Vec<String> = dns.iter().map(|ip| format!("\"{ip}\"")).collect();
                    text += &format!(
                        "    nameservers:\n      addresses: [{}]\n",
                        servers.join(", ")
                    );
                }
            }
        }
    }
    text
}
