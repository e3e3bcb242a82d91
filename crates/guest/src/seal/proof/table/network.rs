//! Leases, client ids, pinned hardware addresses, fixed addresses, and the network's secrets.

use super::Kind::{Identity, Residue, Secret};
use super::Test::{Absent, Text};
use super::{Check, check};
use crate::seal::proof::content;

const INTERFACES: &[&str] = &["/etc/network/interfaces", "/etc/network/interfaces.d/*"];
const NETPLAN: &[&str] = &[
    "/etc/netplan/*.yaml",
    "/etc/netplan/*.yml",
    "/run/netplan/*.yaml",
];
const NETWORKD: &[&str] = &["/etc/systemd/network/**"];
const CONNECTIONS: &[&str] = &[
    "/etc/NetworkManager/system-connections/*",
    "/usr/lib/NetworkManager/system-connections/*",
];
const IFCFG: &[&str] = &[
    "/etc/sysconfig/network-scripts/ifcfg-*",
    "/etc/sysconfig/network/ifcfg-*",
];
const UNPIN: &str = "match the interface by name or driver";
const USE_DHCP: &str = "use DHCP; give each clone its address when it is made";

pub(super) const CHECKS: &[Check] = &[
    check(
        "net.dhcp-leases",
        Identity,
        "addresses and client ids that DHCP gave",
        &[
            "/var/lib/dhcp/*lease*",
            "/var/lib/dhcp3/*lease*",
            "/var/lib/dhclient/*",
            "/var/lib/dhcpcd/*",
            "/var/db/dhcpcd/*",
            "/var/lib/systemd/network/**",
            "/var/lib/udhcpc/*",
            "/var/lib/connman/*",
        ],
        Absent,
        "remove them",
    ),
    check(
        "net.duid",
        Identity,
        "DHCP unique identifier",
        &[
            "/etc/dhcpcd.duid",
            "/etc/dhcpcd.secret",
            "/etc/dhcp6c_duid",
            "/var/lib/wicked/*.xml",
            "/var/lib/dhcpv6/*duid*",
            "/var/lib/wide-dhcpv6/*duid*",
        ],
        Absent,
        "remove it; the client makes a new one",
    ),
    check(
        "net.networkmanager-state",
        Identity,
        "leases and state of NetworkManager",
        &[
            "/var/lib/NetworkManager/*.lease",
            "/var/lib/NetworkManager/timestamps",
            "/var/lib/NetworkManager/seen-bssids",
            "/var/lib/NetworkManager/NetworkManager.state",
            "/var/lib/NetworkManager/internal-*",
            "/var/lib/NetworkManager/dhclient-*",
        ],
        Absent,
        "remove it",
    ),
    check(
        "net.networkmanager-secret",
        Identity,
        "key of NetworkManager's stable addresses",
        &["/var/lib/NetworkManager/secret_key"],
        Absent,
        "remove it; it is made again",
    ),
    check(
        "net.udev-names",
        Identity,
        "interface names by hardware address",
        &[
            "/etc/udev/rules.d/*-persistent-net.rules",
            "/etc/udev/rules.d/*-persistent-ipoib.rules",
            "/etc/udev/rules.d/*-persistent-cd.rules",
        ],
        Absent,
        "remove the rules",
    ),
    check(
        "net.mac.interfaces",
        Identity,
        "hardware address in interfaces(5)",
        INTERFACES,
        Text(content::ifupdown_macs),
        UNPIN,
    ),
    check(
        "net.mac.netplan",
        Identity,
        "hardware address in netplan",
        NETPLAN,
        Text(content::netplan_macs),
        UNPIN,
    ),
    check(
        "net.mac.networkd",
        Identity,
        "hardware address in systemd-networkd's files",
        NETWORKD,
        Text(content::networkd_macs),
        UNPIN,
    ),
    check(
        "net.mac.networkmanager",
        Identity,
        "hardware address in a NetworkManager connection",
        CONNECTIONS,
        Text(content::connection_macs),
        UNPIN,
    ),
    check(
        "net.mac.ifcfg",
        Identity,
        "hardware address in an ifcfg file",
        IFCFG,
        Text(content::ifcfg_macs),
        UNPIN,
    ),
    check(
        "net.static.interfaces",
        Identity,
        "fixed address in interfaces(5)",
        INTERFACES,
        Text(content::ifupdown_static),
        USE_DHCP,
    ),
    check(
        "net.static.netplan",
        Identity,
        "fixed address in netplan",
        NETPLAN,
        Text(content::netplan_static),
        USE_DHCP,
    ),
    check(
        "net.static.networkd",
        Identity,
        "fixed address in systemd-networkd's files",
        NETWORKD,
        Text(content::networkd_static),
        USE_DHCP,
    ),
    check(
        "net.static.networkmanager",
        Identity,
        "fixed address in a NetworkManager connection",
        CONNECTIONS,
        Text(content::connection_static),
        USE_DHCP,
    ),
    check(
        "net.static.ifcfg",
        Identity,
        "fixed address in an ifcfg file",
        IFCFG,
        Text(content::ifcfg_static),
        USE_DHCP,
    ),
    check(
        "net.cloud-init",
        Identity,
        "network configuration that cloud-init made for one machine",
        &[
            "/etc/netplan/50-cloud-init.yaml",
            "/etc/network/interfaces.d/50-cloud-init*",
            "/etc/systemd/network/*-cloud-init-*",
            "/etc/NetworkManager/system-connections/cloud-init-*",
        ],
        Absent,
        "remove it; cloud-init writes it for each clone",
    ),
    check(
        "net.name-servers",
        Residue,
        "name servers of the place where the template was made",
        &["/etc/resolv.conf"],
        Text(content::name_servers),
        "empty the file",
    ),
    check(
        "net.openvswitch",
        Identity,
        "id of Open vSwitch",
        &[
            "/etc/openvswitch/system-id.conf",
            "/etc/openvswitch/conf.db",
        ],
        Absent,
        "remove it; it is made again",
    ),
    check(
        "net.connection-secrets",
        Secret,
        "Wi-Fi, 802.1X or VPN password",
        &[
            "/etc/NetworkManager/system-connections/*",
            "/usr/lib/NetworkManager/system-connections/*",
            "/etc/netplan/*.yaml",
            "/etc/netplan/*.yml",
            "/etc/wpa_supplicant/**",
            "/etc/wpa_supplicant.conf",
            "/var/lib/iwd/*",
        ],
        Text(content::network_secrets),
        "give it to each clone when it is made",
    ),
    check(
        "net.wireguard",
        Secret,
        "WireGuard key",
        &[
            "/etc/wireguard/**",
            "/etc/systemd/network/**",
            "/etc/amnezia/**",
        ],
        Text(content::wireguard_keys),
        "make a key in each clone",
    ),
    check(
        "net.vpn-keys",
        Secret,
        "key or secret of a VPN",
        &[
            "/etc/openvpn/**/*.key",
            "/etc/openvpn/*.key",
            "/etc/openvpn/**/*.p12",
            "/etc/ipsec.d/private/*",
            "/etc/ipsec.secrets",
            "/etc/swanctl/private/*",
            "/etc/nebula/*.key",
            "/etc/tinc/**/*.priv",
        ],
        Text(content::any_line),
        "make a key in each clone",
    ),
    check(
        "net.ppp-secrets",
        Secret,
        "passwords of dial-up connections",
        &["/etc/ppp/chap-secrets", "/etc/ppp/pap-secrets"],
        Text(content::any_line),
        "give them to each clone when it is made",
    ),
];
