//! Interfaces: user-mode networks with a forwarded port, and bridges of the host.

use super::{Arguments, quoted};
use serde_json::json;
use stampo_core::hardware::NicModel;
use stampo_core::network::UserNetwork;
use stampo_driver::{DriverError, GuestDefinition, Link, Start};
use std::net::Ipv4Addr;

/// The address that QEMU's user-mode network lends first, and the one below it.
const USUAL: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const BELOW_USUAL: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 14);

/// The PCI slot of the first interface on q35's root bus; eight follow each other.
const FIRST_SLOT: usize = 0x10;

pub(super) fn add(args: &mut Arguments, guest: &GuestDefinition) -> Result<(), DriverError> {
    for (index, nic) in guest.nics.iter().enumerate() {
        let netdev = format!("net{index}");
        match &nic.link {
            Link::User {
                ssh_port,
                guest_address,
            } => {
                let resumes = matches!(guest.start, Start::Resume { .. });
                let option = user(&netdev, *ssh_port, *guest_address, resumes)?;
                args.pair("-netdev", option);
            }
            Link::Bridge { bridge } => {
                args.pair(
                    "-netdev",
                    format!("bridge,id={netdev},br={}", quoted(bridge)),
                );
            }
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

fn user(
    netdev: &str,
    ssh_port: Option<u16>,
    address: Option<(Ipv4Addr, u8)>,
    resumes: bool,
) -> Result<String, DriverError> {
    let mut option = format!("user,id={netdev}");
    // QEMU's DHCP server is saved with the guest: its first address stays lent to the frozen one,
    // and a fork gets the second. So that is made to be the one that all other guests have.
    let shifted = resumes && address.is_none();
    if shifted {
        option.push_str(&format!(",dhcpstart={BELOW_USUAL}"));
    }
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
        let address = match address {
            Some((address, _)) => address.to_string(),
            None if shifted => USUAL.to_string(),
            None => String::new(),
        };
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
