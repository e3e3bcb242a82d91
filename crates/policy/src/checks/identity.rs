//! What makes a machine one of its kind: a template must not have it.
//!
//! All of it is found by the seal proof; the rows here say which of its findings belong together.

use super::row;
use crate::check::Severity::{High, Low, Medium};
use crate::check::Test::Proof;
use crate::check::{Check, When};

const ALWAYS: When = When::Always;
const BASELINE: &[&str] = &["NIST CM-2", "NIST CM-6"];
const AUTHENTICATORS: &[&str] = &["NIST IA-3", "NIST IA-5"];

pub(super) const CHECKS: &[Check] = &[
    row(
        "identity.machine-id",
        "the machine id is empty",
        High,
        ALWAYS,
        Proof(&["system.machine-id"]),
    )
    .why("clones with one machine id get one DHCP lease, one journal and one id in inventories")
    .maps(BASELINE),
    row(
        "identity.dbus-machine-id",
        "D-Bus has no machine id of its own",
        Medium,
        ALWAYS,
        Proof(&["system.dbus-machine-id"]),
    )
    .why("a copy of the machine id stays when the other is made anew, and two ids disagree")
    .maps(BASELINE),
    row(
        "identity.ssh-host-keys",
        "there are no ssh host keys",
        High,
        ALWAYS,
        Proof(&["ssh.host-keys"]),
    )
    .why("whoever has one clone can pose as every other clone to each ssh client")
    .maps(AUTHENTICATORS),
    row(
        "identity.random-seed",
        "there is no saved random seed",
        High,
        ALWAYS,
        Proof(&["system.random-seed"]),
    )
    .why("clones that begin with one seed may make the same keys")
    .maps(&["NIST SC-12"]),
    row(
        "identity.credential-secret",
        "there is no credential secret of the host",
        High,
        ALWAYS,
        Proof(&["system.credential-secret", "system.credentials"]),
    )
    .why("secrets that one machine sealed can be read on every clone")
    .maps(AUTHENTICATORS),
    row(
        "identity.dhcp",
        "there are no leases and client ids of DHCP",
        Medium,
        ALWAYS,
        Proof(&[
            "net.dhcp-leases",
            "net.duid",
            "net.networkmanager-state",
            "net.networkmanager-secret",
        ]),
    )
    .why("clones ask for the same address and take it from one another")
    .maps(BASELINE),
    row(
        "identity.cloud-init",
        "cloud-init has no state of a machine",
        Medium,
        ALWAYS,
        Proof(&["cloud-init.", "net.cloud-init"]),
    )
    .why("cloud-init takes the clone for the machine that it set up before, and does nothing")
    .maps(BASELINE),
    row(
        "identity.interface-names",
        "no interface name is tied to a hardware address",
        Medium,
        ALWAYS,
        Proof(&["net.udev-names"]),
    )
    .why("a clone has another hardware address, and its network comes up under another name")
    .maps(BASELINE),
    row(
        "identity.hardware-address",
        "no network file is tied to a hardware address",
        Medium,
        ALWAYS,
        Proof(&["net.mac."]),
    )
    .why("a clone has another hardware address, and the file does not apply to it")
    .maps(BASELINE),
    row(
        "identity.static-address",
        "no address is written down",
        Medium,
        ALWAYS,
        Proof(&["net.static."]),
    )
    .why("two clones come up with one address, and neither works")
    .maps(BASELINE),
    row(
        "identity.hostname",
        "the host name is generic",
        Low,
        ALWAYS,
        Proof(&["system.hostname"]),
    )
    .why("clones report under the template's name until somebody notices")
    .maps(BASELINE),
    row(
        "identity.storage",
        "there are no ids of storage initiators",
        High,
        ALWAYS,
        Proof(&[
            "storage.iscsi-initiator",
            "storage.iscsi-nodes",
            "storage.nvme-host",
            "storage.multipath",
            "storage.zpool-cache",
            "storage.cluster-ids",
        ]),
    )
    .why("two initiators of one name write to one disk, and destroy it")
    .maps(BASELINE),
    row(
        "identity.lvm",
        "LVM knows no devices of another machine",
        Medium,
        ALWAYS,
        Proof(&["storage.lvm-devices", "storage.lvm-backups"]),
    )
    .why("a clone whose disks have other ids does not find its volumes")
    .maps(BASELINE),
    row(
        "identity.agents",
        "no agent is registered",
        High,
        ALWAYS,
        Proof(&["agent."]),
    )
    .why("all clones report as one machine, or share its key to the server")
    .maps(&["NIST CM-8", "NIST IA-3"]),
    row(
        "identity.subscriptions",
        "no subscription is registered",
        Medium,
        ALWAYS,
        Proof(&["register."]),
    )
    .why("clones use up, or lose, the subscription of one machine")
    .maps(&["NIST CM-8"]),
    row(
        "identity.domain",
        "the guest is in no domain",
        High,
        ALWAYS,
        Proof(&["domain."]),
    )
    .why("each clone has the domain account of the machine that joined")
    .maps(AUTHENTICATORS),
    row(
        "identity.clusters",
        "the guest is in no cluster",
        High,
        ALWAYS,
        Proof(&["docker.", "cni.", "k8s.", "cluster."]),
    )
    .why("a clone joins as a member that is there already")
    .maps(BASELINE),
    row(
        "identity.databases",
        "no database or queue has an id of its own",
        Medium,
        ALWAYS,
        Proof(&["db.", "mq."]),
    )
    .why("replicas of one id are refused, or take each other's data")
    .maps(BASELINE),
    row(
        "identity.services",
        "no build runner, mail or virtualisation service has an identity",
        Medium,
        ALWAYS,
        Proof(&["ci.", "mail.", "virt."]),
    )
    .why("a clone takes the jobs, mails or guests of another machine")
    .maps(BASELINE),
    row(
        "identity.system-ids",
        "there are no other ids of one machine",
        Low,
        ALWAYS,
        Proof(&[
            "system.hostid",
            "system.boot-entries",
            "system.entry-token",
            "system.uuid-clock",
            "system.clock-drift",
            "system.timer-stamps",
            "system.homed-keys",
        ]),
    )
    .why("ids and clocks of another machine make clones alike in small ways that are hard to find")
    .maps(BASELINE),
];
