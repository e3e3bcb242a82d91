//! Interfaces: user-mode networks with a forwarded port, and bridges of the host.
//!
//! A guest that is to be frozen has a hub of QEMU's between its interface and either of them, so
//! that the network can be taken off before the guest is saved:
//! ```text
//! interface ─ net0 ─ hub ─ up0 ─ lan0 (user or bridge)
//! ```
//! A user-mode network would be saved with the guest, and QEMU gives a fork with another network
//! no chance to pass over it. An interface's own peer is of no use for that: QEMU 10.0 keeps it, with
//! what it saves, as long as the interface is there. The hub also leaves all checksums and
//! segmentation to the guest, so what the two have agreed on holds on every network.

use super::{Arguments, quoted};
use serde_json::json;
use stampo_core::hardware::NicModel;
use stampo_core::network::UserNetwork;
use stampo_driver::{DriverError, GuestDefinition, Link, Start};
use std::net::Ipv4Addr;

/// The PCI slot of the first interface on q35's root bus; eight follow each other.
const FIRST_SLOT: usize = 0x10;

pub(super) fn add(args: &mut Arguments, guest: &GuestDefinition) -> Result<(), DriverError> {
    let is_frozen = matches!(guest.start, Start::BootToFreeze { .. });
    for (index, nic) in guest.nics.iter().enumerate() {
        let netdev = format!("net{index}");
        if is_frozen {
            let (lan, up) = (format!("lan{index}"), format!("up{index}"));
            args.pair("-netdev", network(&lan, &nic.link)?);
            args.pair("-netdev", format!("hubport,id={netdev},hubid={index}"));
            args.pair(
                "-netdev",
                format!("hubport,id={up},hubid={index},netdev={lan}"),
            );
        } else {
            args.pair("-netdev", network(&netdev, &nic.link)?);
        }
        let driver = match nic.model {
            NicModel::Virtio => "virtio-net-pci",
            NicModel::E1000e => "e1000e",
        };
        // A slot of its own: guests name interfaces by it (enp0s16), whatever other devices there
        // are. Guests do not start from the network: no option ROM, which saves its loading.
        let slot = format!("{:#x}", FIRST_SLOT + index);
        let (bus, slot) = if guest.start.is_forkable() {
            port(args, index, slot)
        } else {
            ("pcie.0".to_owned(), slot)
        };
        args.device(json!({
            "driver": driver, "netdev": netdev, "mac": nic.mac.to_string(), "romfile": "",
            "bus": bus, "addr": slot,
        }));
    }
    Ok(())
}

/// A port of its own for an interface that can be replaced while the guest runs: q35's root bus
/// does not let a device go. The interface's bus and address.
fn port(args: &mut Arguments, index: usize, slot: String) -> (String, String) {
    let id = format!("port{index}");
    let number = index + 1;
    args.device(json!({
        "driver": "pcie-root-port", "id": id, "bus": "pcie.0", "addr": slot,
        "chassis": number, "slot": number,
    }));
    (id, "0x0".to_owned())
}

fn network(id: &str, link: &Link) -> Result<String, DriverError> {
    match link {
        Link::User {
            ssh_port,
            guest_address,
        } => user(id, *ssh_port, *guest_address),
        Link::Bridge { bridge } => Ok(format!("bridge,id={id},br={}", quoted(bridge))),
    }
}

fn user(
    id: &str,
    ssh_port: Option<u16>,
    address: Option<(Ipv4Addr, u8)>,
) -> Result<String, DriverError> {
    let mut option = format!("user,id={id}");
    if let Some((address, prefix)) = address {
        let UserNetwork {
            network,
            prefix,
            gateway,
            dns,
        } = around(address, prefix)?;
        option.push_str(&format!(
            ",net={network}/{prefix},host={gateway},dns={dns},dhcpstart={address}"
        ));
    }
    if let Some(port) = ssh_port {
        // Without an address QEMU takes the first one that it lends.
        let address = address.map(|(address, _)| address.to_string());
        let address = address.unwrap_or_default();
        option.push_str(&format!(",hostfwd=tcp:127.0.0.1:{port}-{address}:22"));
    }
    Ok(option)
}

/// The network around a static address.
fn around(address: Ipv4Addr, prefix: u8) -> Result<UserNetwork, DriverError> {
    UserNetwork::around(address, prefix).ok_or_else(|| DriverError::Unsupported {
        what: format!("give a guest {address}/{prefix} on a user-mode network"),
        why: "QEMU needs a gateway and a DNS server beside it; use a prefix of at most 29, or a bridge"
            .to_owned(),
    })
}
