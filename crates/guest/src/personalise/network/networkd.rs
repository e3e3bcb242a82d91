//! systemd.network(5) files, which systemd-networkd matches by MAC.
//!
//! The first file in the order of names that matches wins, so ours start with `05`.

use super::Interface;
use crate::fs::Owner;
use crate::personalise::edit::Editor;
use crate::personalise::error::PersonaliseError;
use stampo_core::personalisation::Network;

const DIRECTORY: &str = "/etc/systemd/network";

pub(super) fn write(
    edit: &mut Editor<'_>,
    interfaces: &[Interface<'_>],
) -> Result<(), PersonaliseError> {
    for name in edit.names(DIRECTORY, |name| name.starts_with("05-stampo-"))? {
        edit.remove(&format!("{DIRECTORY}/{name}"))?;
    }
    for interface in interfaces {
        let path = format!("{DIRECTORY}/05-stampo-{}.network", interface.index);
        edit.put(&path, file(interface), Owner::root(0o644))?;
    }
    enable(edit)
}

fn file(interface: &Interface<'_>) -> String {
    let mut text = format!(
        "# Written by stampo.\n[Match]\nMACAddress={}\n\n[Network]\n",
        interface.mac
    );
    match interface.network {
        Network::Dhcp => text += "DHCP=yes\n",
        Network::Static {
            address,
            gateway,
            dns,
        } => {
            text += &format!("Address={address}\n");
            if let Some(gateway) = gateway {
                text += &format!("Gateway={gateway}\n");
            }
            for server in dns {
                text += &format!("DNS={server}\n");
            }
        }
    }
    text
}

/// The links that `systemctl enable systemd-networkd` makes.
fn enable(edit: &mut Editor<'_>) -> Result<(), PersonaliseError> {
    let mut directory = "/usr/lib/systemd/system";
    if !edit.exists(&format!("{directory}/systemd-networkd.service"))? {
        directory = "/lib/systemd/system";
    }
    let links = [
        ("multi-user.target.wants", "systemd-networkd.service"),
        ("sockets.target.wants", "systemd-networkd.socket"),
        (
            "network-online.target.wants",
            "systemd-networkd-wait-online.service",
        ),
    ];
    for (wants, unit) in links {
        let target = format!("{directory}/{unit}");
        let link = format!("/etc/systemd/system/{wants}/{unit}");
        if edit.exists(&target)? && !edit.exists(&link)? {
            edit.link(&link, &target)?;
        }
    }
    Ok(())
}
