//! The interfaces: which there are, their MACs and their addresses, in the kernel.
//!
//! What the guest's own programs read at the next boot, or when they are restarted, is in
//! `persist.rs`. The link is the host's affair: it stays down until the fork is proven.

mod netlink;
pub(crate) mod persist;

use crate::outcome::{Failure, Step, not_needed};
use netlink::{
    Message, RTM_DELADDR, RTM_GETADDR, RTM_GETLINK, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE, Socket,
};
use stampo_agent_protocol::{Addressing, Cidr, Few, Interface, Mac, Network, Nic, Outcome};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// linux/if.h.
const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;
const IFF_LOWER_UP: u32 = 1 << 16;
/// linux/if_link.h.
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const LINK_BYTES: usize = 16;
/// linux/if_addr.h.
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const ADDRESS_BYTES: usize = 8;
/// linux/socket.h.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// An interface as the kernel has it.
struct Link {
    index: u32,
    name: String,
    flags: u32,
    mac: Mac,
}

impl Link {
    fn is_up(&self) -> bool {
        self.flags & IFF_UP != 0
    }

    /// Whether there is a device behind it, and not only software.
    fn is_device(&self) -> bool {
        Path::new("/sys/class/net")
            .join(&self.name)
            .join("device")
            .exists()
    }
}

/// An address as the kernel has it.
struct Held {
    index: u32,
    cidr: Cidr,
    /// As the kernel gave it, so that it can be taken away.
    fixed: [u8; ADDRESS_BYTES],
    local: Vec<u8>,
}

/// The interfaces but for the loopback, and tunnels without a MAC.
fn links(socket: &Socket) -> Result<Vec<Link>, Failure> {
    let all = socket.dump(
        &Message::new(RTM_GETLINK, &[0; LINK_BYTES]),
        "list the interfaces",
    )?;
    let one = |entry: &netlink::Entry| {
        let name = entry.attribute(LINK_BYTES, IFLA_IFNAME)?;
        let name = name.strip_suffix(&[0]).unwrap_or(name);
        Some(Link {
            index: entry.number(4),
            name: String::from_utf8_lossy(name).into_owned(),
            flags: entry.number(8),
            mac: Mac(entry.attribute(LINK_BYTES, IFLA_ADDRESS)?.try_into().ok()?),
        })
    };
    let mut links: Vec<Link> = all.iter().filter_map(one).collect();
    links.retain(|link| link.flags & IFF_LOOPBACK == 0);
    Ok(links)
}

fn addresses(socket: &Socket) -> Result<Vec<Held>, Failure> {
    let all = socket.dump(
        &Message::new(RTM_GETADDR, &[0; ADDRESS_BYTES]),
        "list the addresses",
    )?;
    let one = |entry: &netlink::Entry| {
        // On point-to-point interfaces the address is the other side's.
        let local = entry
            .attribute(ADDRESS_BYTES, IFA_LOCAL)
            .or_else(|| entry.attribute(ADDRESS_BYTES, IFA_ADDRESS))?;
        let address = match entry.byte(0) {
            AF_INET => Ipv4Addr::from(<[u8; 4]>::try_from(local).ok()?).into(),
            AF_INET6 => Ipv6Addr::from(<[u8; 16]>::try_from(local).ok()?).into(),
            _ => return None,
        };
        let prefix = entry.byte(1);
        let mut fixed = [0; ADDRESS_BYTES];
        fixed[0] = entry.byte(0);
        fixed[1] = prefix;
        fixed[4..].copy_from_slice(&entry.number(4).to_ne_bytes());
        Some(Held {
            index: entry.number(4),
            cidr: Cidr { address, prefix },
            fixed,
            local: local.to_vec(),
        })
    };
    Ok(all.iter().filter_map(one).collect())
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// The interfaces for the host, without link-local addresses.
pub(crate) fn interfaces() -> Result<Vec<Interface>, Failure> {
    let socket = Socket::open()?;
    let held = addresses(&socket)?;
    let links = links(&socket)?;
    let own = |link: &Link| {
        let own = held.iter().filter(|held| held.index == link.index);
        own.map(|held| held.cidr)
            .filter(|cidr| !is_link_local(cidr.address))
            .collect::<Vec<_>>()
    };
    let one = |link: Link| Interface {
        addresses: Few::first(own(&link)),
        link_up: link.flags & IFF_LOWER_UP != 0,
        mac: link.mac,
        name: link.name,
    };
    Ok(links.into_iter().map(one).collect())
}

/// Gives the interfaces their MACs. All old ones are looked up first, so that MACs may be swapped.
pub(crate) fn set_macs(nics: &[Nic]) -> Step {
    if nics.is_empty() {
        return not_needed("no interface is to change");
    }
    let socket = Socket::open()?;
    let links = links(&socket)?;
    let mut chosen = Vec::new();
    for nic in nics {
        let link = links.iter().find(|link| link.mac == nic.old_mac);
        let link =
            link.ok_or_else(|| Failure(format!("no interface has the MAC {}", nic.old_mac)))?;
        chosen.push((link, nic.new_mac));
    }
    for (link, mac) in chosen {
        let what = format!("give {} the MAC {mac}", link.name);
        if link.is_up() {
            set_flags(&socket, link.index, 0, &what)?;
        }
        let message = Message::new(RTM_NEWLINK, &link_header(link.index, 0, 0));
        socket.change(&message.attribute(IFLA_ADDRESS, &mac.0), &what)?;
        if link.is_up() {
            set_flags(&socket, link.index, IFF_UP, &what)?;
        }
    }
    Ok(Outcome::Done)
}

fn set_flags(socket: &Socket, index: u32, flags: u32, what: &str) -> Result<(), Failure> {
    socket.change(
        &Message::new(RTM_NEWLINK, &link_header(index, flags, IFF_UP)),
        what,
    )
}

/// `struct ifinfomsg`.
fn link_header(index: u32, flags: u32, change: u32) -> [u8; LINK_BYTES] {
    let mut header = [0; LINK_BYTES];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

/// Takes away the template's addresses from every device and every interface that is named, and
/// sets the fixed ones. Their routes go with the addresses.
pub(crate) fn set_addresses(nics: &[Nic]) -> Step {
    let socket = Socket::open()?;
    let links = links(&socket)?;
    let named = |link: &Link| nics.iter().find(|nic| nic.new_mac == link.mac);
    let held = addresses(&socket)?;
    for held in &held {
        let link = links.iter().find(|link| link.index == held.index);
        let ours = link.is_some_and(|link| named(link).is_some() || link.is_device());
        // A link-local IPv6 address was made from the new MAC when the interface came up again.
        let new = held.cidr.address.is_ipv6() && is_link_local(held.cidr.address);
        if ours && !new {
            let message = Message::new(RTM_DELADDR, &held.fixed).attribute(IFA_LOCAL, &held.local);
            let what = format!("take away the address {}", held.cidr);
            match socket.change(&message, &what) {
                // The first of a network takes those that depend on it along.
                Err(_) if !addresses(&socket)?.iter().any(|now| now.cidr == held.cidr) => {}
                other => other?,
            }
        }
    }
    for link in &links {
        if let Some(Nic {
            addressing: Addressing::Static(network),
            ..
        }) = named(link)
        {
            set_static(&socket, link, network)?;
        }
    }
    Ok(Outcome::Done)
}

fn set_static(socket: &Socket, link: &Link, network: &Network) -> Result<(), Failure> {
    for cidr in network.addresses.iter() {
        let mut header = [0; ADDRESS_BYTES];
        let bytes = octets(cidr.address);
        header[0] = family(cidr.address);
        header[1] = cidr.prefix;
        header[4..].copy_from_slice(&link.index.to_ne_bytes());
        let message = Message::new(RTM_NEWADDR, &header)
            .attribute(IFA_LOCAL, &bytes)
            .attribute(IFA_ADDRESS, &bytes);
        socket.put(&message, &format!("give {} the address {cidr}", link.name))?;
    }
    if !link.is_up() {
        // Routes are for interfaces that are up; whoever brings it up reads them from its files.
        return Ok(());
    }
    for gateway in network.gateways.iter() {
        socket.put(
            &route(*gateway, link.index),
            &format!("route through {gateway}"),
        )?;
    }
    Ok(())
}

/// A default route: `struct rtmsg` with the main table (254), set by hand (RTPROT_STATIC 4), of
/// universal scope and unicast (1); RTA_OIF is 4 and RTA_GATEWAY 5.
fn route(gateway: IpAddr, index: u32) -> Message {
    let header = [family(gateway), 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
    Message::new(RTM_NEWROUTE, &header)
        .attribute(5, &octets(gateway))
        .attribute(4, &index.to_ne_bytes())
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
