//! Addresses: finds out which program of the guest sets its interfaces, and writes for that one.
//!
//! An interface is always known by its MAC, because its name in the guest (`ens3`, `enp1s0`,
//! `eth0`) depends on the machine that it will run in. What the template said of its own
//! interfaces is taken away where it would compete with ours.
//!
//! | Guest has | Written |
//! |---|---|
//! | netplan | `/etc/netplan/90-stampo.yaml`, `match: macaddress` |
//! | NetworkManager, enabled | `/etc/NetworkManager/system-connections/stampo-N.nmconnection`, `mac-address=` |
//! | systemd-networkd, enabled | `/etc/systemd/network/05-stampo-N.network`, `MACAddress=` |
//! | Debian's ifupdown | `/etc/network/interfaces.d/stampo`, `auto mac/…=stampoN` |
//! | systemd-networkd, not enabled | as above, and it is enabled |

mod ifupdown;
mod keyfile;
mod netplan;
mod networkd;
mod resolver;

use super::edit::{Editor, any_exists};
use super::error::PersonaliseError;
use crate::fs::GuestRead;
use serde::{Deserialize, Serialize};
use stampo_core::network::{Cidr, Mac};
use stampo_core::personalisation::Network;

pub(super) use netplan::version_2;

/// The program that sets a guest's interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkSystem {
    /// netplan(5), whichever renderer it uses.
    Netplan,
    /// NetworkManager with keyfiles, nm-settings-keyfile(5).
    NetworkManager,
    /// systemd.network(5).
    Networkd,
    /// Debian's interfaces(5).
    Ifupdown,
}

/// One interface with its address.
pub(super) struct Interface<'a> {
    pub(super) index: usize,
    pub(super) mac: Mac,
    pub(super) network: &'a Network,
}

/// An interface beyond the list uses DHCP.
const DHCP: Network = Network::Dhcp;

/// Every interface of the guest with its part of the request.
pub(super) fn interfaces<'a>(networks: &'a [Network], nics: &[Mac]) -> Vec<Interface<'a>> {
    let network = |index| networks.get(index).unwrap_or(&DHCP);
    let one = |(index, mac): (usize, &Mac)| Interface {
        index,
        mac: *mac,
        network: network(index),
    };
    nics.iter().enumerate().map(one).collect()
}

/// Finds out whether the addresses can be set, before anything is written.
pub(super) fn check_networks(
    fs: &dyn GuestRead,
    networks: &[Network],
    nics: &[Mac],
) -> Result<(), PersonaliseError> {
    if networks.len() > nics.len() {
        return Err(PersonaliseError::TooManyNetworks {
            wanted: networks.len(),
            nics: nics.len(),
        });
    }
    let mut has_static = false;
    for network in networks {
        let Network::Static {
            address, gateway, ..
        } = network
        else {
            continue;
        };
        has_static = true;
        if let Some(gateway) = gateway
            && gateway.is_ipv4() != address.address.is_ipv4()
        {
            let (gateway, address) = (gateway.to_string(), address.to_string());
            return Err(PersonaliseError::GatewayFamily { gateway, address });
        }
    }
    if has_static && detect(fs)?.is_none() {
        return Err(PersonaliseError::NoNetworkSystem);
    }
    Ok(())
}

/// Which program sets the guest's interfaces.
pub(super) fn detect(fs: &dyn GuestRead) -> Result<Option<NetworkSystem>, PersonaliseError> {
    let enabled = |unit: &str| {
        let wants = |target: &str| format!("/etc/systemd/system/{target}.target.wants/{unit}");
        let places = [
            wants("multi-user"),
            wants("sysinit"),
            wants("network-online"),
        ];
        any_exists(fs, &places.each_ref().map(String::as_str))
    };
    let netplan = [
        "/usr/sbin/netplan",
        "/usr/libexec/netplan",
        "/usr/lib/netplan",
    ];
    if fs.exists("/etc/netplan")? && any_exists(fs, &netplan)? {
        return Ok(Some(NetworkSystem::Netplan));
    }
    if enabled("NetworkManager.service")? {
        return Ok(Some(NetworkSystem::NetworkManager));
    }
    if enabled("systemd-networkd.service")? {
        return Ok(Some(NetworkSystem::Networkd));
    }
    // Other programs are called ifup too (busybox, ifupdown-ng) and do not know MAC patterns.
    if any_exists(fs, &["/lib/ifupdown", "/usr/lib/ifupdown"])? && fs.exists("/etc/network")? {
        return Ok(Some(NetworkSystem::Ifupdown));
    }
    let networkd = [
        "/lib/systemd/systemd-networkd",
        "/usr/lib/systemd/systemd-networkd",
    ];
    Ok(any_exists(fs, &networkd)?.then_some(NetworkSystem::Networkd))
}

/// Writes every interface. `None` when the guest has no program that we know: it then keeps its
/// own configuration, and [`check_networks`] has made sure that DHCP is all that is wanted.
pub(super) fn write_networks(
    edit: &mut Editor<'_>,
    networks: &[Network],
    nics: &[Mac],
) -> Result<Option<NetworkSystem>, PersonaliseError> {
    let interfaces = interfaces(networks, nics);
    if interfaces.is_empty() {
        return Ok(None);
    }
    let Some(system) = detect(edit.reader())? else {
        edit.note("the guest has no network program that stampo knows: its own network configuration is kept");
        return Ok(None);
    };
    match system {
        NetworkSystem::Netplan => netplan::write(edit, &interfaces)?,
        NetworkSystem::NetworkManager => keyfile::write(edit, &interfaces)?,
        NetworkSystem::Networkd => networkd::write(edit, &interfaces)?,
        NetworkSystem::Ifupdown => ifupdown::write(edit, &interfaces)?,
    }
    remove_pinned_names(edit)?;
    resolver::write(edit, system, &interfaces)?;
    Ok(Some(system))
}

/// Rules that gave names to the MACs of the machine that the template was made on.
fn remove_pinned_names(edit: &mut Editor<'_>) -> Result<(), PersonaliseError> {
    edit.remove("/etc/udev/rules.d/70-persistent-net.rules")?;
    Ok(())
}

/// Name servers of all static networks, each once, in order.
fn name_servers(interfaces: &[Interface<'_>]) -> Vec<std::net::IpAddr> {
    let mut all: Vec<std::net::IpAddr> = Vec::new();
    for interface in interfaces {
        let Network::Static { dns, .. } = interface.network else {
            continue;
        };
        for server in dns {
            if !all.contains(server) {
                all.push(*server);
            }
        }
    }
    all
}

/// `inet` or `inet6`, `ipv4` or `ipv6`: picks by the family of `address`.
fn by_family<'a>(address: &Cidr, four: &'a str, six: &'a str) -> &'a str {
    if address.address.is_ipv4() { four } else { six }
}
