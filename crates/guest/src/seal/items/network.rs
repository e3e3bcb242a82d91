//! Leases, client ids and pinned hardware addresses. Sources: dhclient.leases(5), dhcpcd(8) FILES,
//! NetworkManager(8) and nm-settings-keyfile(5), netplan(5), systemd.link(5), interfaces(5).

use super::Action::{Keep, Notice, Remove, Rewrite};
use super::{SealItem, row};
use crate::seal::rewrite::{lines, mac, names, netplan};

pub(super) const ITEMS: &[SealItem] = &[
    row(
        "dhcp-leases",
        "addresses that DHCP gave to the template, and its client ids",
        &[
            "/var/lib/dhcp/*.lease*",
            "/var/lib/dhcp3/*.lease*",
            "/var/lib/dhclient/*",
            "/var/lib/dhcpcd/*.lease*",
            "/var/db/dhcpcd/*.lease*",
            "/var/lib/systemd/network/*",
        ],
        Remove,
        "clones would ask for one address with one DUID",
    ),
    row(
        "dhcpcd-duid",
        "dhcpcd's DUID and its secret",
        &[
            "/var/lib/dhcpcd/duid",
            "/var/lib/dhcpcd/secret",
            "/var/db/dhcpcd/duid",
            "/var/db/dhcpcd/secret",
            "/etc/dhcpcd.duid",
            "/etc/dhcpcd.secret",
        ],
        Remove,
        "DHCPv6 servers take clones for one client; dhcpcd makes new ones",
    )
    .secret(),
    row(
        "wicked",
        "wicked's DUID, IAIDs and leases",
        &["/var/lib/wicked/*.xml"],
        Remove,
        "as for DHCP leases; wicked makes new ones",
    ),
    row(
        "networkmanager-state",
        "leases, times and networks that NetworkManager remembers",
        &[
            "/var/lib/NetworkManager/*.lease",
            "/var/lib/NetworkManager/timestamps",
            "/var/lib/NetworkManager/seen-bssids",
            "/var/lib/NetworkManager/NetworkManager.state",
            "/var/lib/NetworkManager/internal-*",
            "/var/lib/NetworkManager/NetworkManager-intern.conf",
        ],
        Remove,
        "they describe the template's network; made again",
    ),
    row(
        "networkmanager-secret",
        "the key of stable private addresses",
        &["/var/lib/NetworkManager/secret_key"],
        Remove,
        "IPv6 addresses and DHCP client ids are made from it; NetworkManager makes a new one",
    )
    .secret(),
    row(
        "udev-net-names",
        "interface names by hardware address",
        &[
            "/etc/udev/rules.d/70-persistent-net.rules",
            "/etc/udev/rules.d/75-persistent-net-generator.rules",
            "/etc/udev/rules.d/70-persistent-ipoib.rules",
            "/etc/udev/rules.d/70-persistent-cd.rules",
        ],
        Remove,
        "a clone's interface has another address and would get another name",
    ),
    row(
        "interfaces-mac",
        "hardware addresses in interfaces(5)",
        &["/etc/network/interfaces", "/etc/network/interfaces.d/*"],
        Rewrite(mac::interfaces),
        "two machines with one hardware address cannot share a network",
    ),
    row(
        "netplan-mac",
        "hardware addresses in netplan",
        &["/etc/netplan/*.yaml", "/etc/netplan/*.yml"],
        Rewrite(netplan::unpin),
        "the only interface that is matched by its address is matched as \"an Ethernet\" instead",
    ),
    row(
        "netplan-macs",
        "several interfaces that netplan knows by hardware address",
        &["/etc/netplan/*.yaml", "/etc/netplan/*.yml"],
        Notice(
            Some(netplan::several),
            "match by name, or let personalisation write the network of each clone",
        ),
        "which of them is which cannot be known without their addresses",
    ),
    row(
        "networkmanager-mac",
        "hardware addresses in NetworkManager's connections",
        &[
            "/etc/NetworkManager/system-connections/*",
            "/usr/lib/NetworkManager/system-connections/*",
        ],
        Rewrite(mac::keyfile),
        "a connection that is bound to the template's interface never comes up in a clone",
    ),
    row(
        "ifcfg-mac",
        "hardware addresses in ifcfg files",
        &[
            "/etc/sysconfig/network-scripts/ifcfg-*",
            "/etc/sysconfig/network/ifcfg-*",
        ],
        Rewrite(|content, _| {
            lines::drop_keys(
                content,
                &["HWADDR", "MACADDR", "UUID", "LLADDR", "DHCP_CLIENT_ID"],
            )
        }),
        "as for NetworkManager's connections",
    ),
    row(
        "networkd-mac",
        "hardware addresses in systemd-networkd's files",
        &[
            "/etc/systemd/network/*.network",
            "/etc/systemd/network/*.netdev",
        ],
        Rewrite(mac::networkd),
        "a match by address becomes a match of every Ethernet interface",
    ),
    row(
        "link-files",
        "interface names by hardware address, for systemd-udevd",
        &["/etc/systemd/network/*.link"],
        Rewrite(mac::link_file),
        "they match no interface of a clone",
    ),
    row(
        "static-address",
        "a fixed address",
        &[
            "/etc/network/interfaces",
            "/etc/network/interfaces.d/*",
            "/etc/systemd/network/*.network",
            "/etc/netplan/*.yaml",
            "/etc/NetworkManager/system-connections/*",
            "/etc/sysconfig/network-scripts/ifcfg-*",
        ],
        Notice(
            Some(names::static_address),
            "use DHCP in the template and give each clone its address when it is made",
        ),
        "only its author knows what a clone should have instead",
    ),
    row(
        "wifi",
        "networks and passwords of wpa_supplicant",
        &["/etc/wpa_supplicant/wpa_supplicant*.conf"],
        Notice(None, "take the passwords out of the template"),
        "removing them could cut the guest off",
    ),
    row(
        "vpn-keys",
        "private keys of VPNs",
        &[
            "/etc/wireguard/*.conf",
            "/etc/wireguard/*.key",
            "/etc/openvpn/**/*.key",
            "/etc/ipsec.d/private/*",
            "/etc/swanctl/private/*",
            "/etc/nebula/*.key",
        ],
        Notice(None, "give each clone a key of its own when it is made"),
        "a VPN's other side must learn the new key",
    ),
    row(
        "openvswitch",
        "the Open vSwitch system id",
        &["/etc/openvswitch/system-id.conf"],
        Remove,
        "controllers take clones for one switch; made again at start",
    )
    .secret(),
    row(
        "connection-uuid",
        "UUIDs of NetworkManager's connections",
        &["/etc/NetworkManager/system-connections/*"],
        Keep,
        "names inside one machine; what is derived from them also takes the machine-id",
    ),
];
