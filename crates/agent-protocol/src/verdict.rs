//! Whether a fork became what was asked: the host's question to a report, as a list of what is
//! not met. An empty list is no proof, as the guest may lie; but a list with entries is a reason
//! to destroy the machine. Comparing machines with each other is the passport's affair.

use crate::report::{Done, Evidence, ForkReport, Item, Outcome, WakeReport};
use crate::request::{Addressing, ForkRequest, KeyKind, SshKeys, WakeRequest};
use std::fmt;

/// The most that the guest's clock may be off after a fork, in nanoseconds.
const CLOCK_OFF_NS: u64 = 1_000_000_000;

/// What a report does not meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmet {
    /// The report is not the answer to this request.
    Nonce,
    /// An item is missing or was not done.
    Item {
        /// Which.
        item: Item,
        /// The guest's reason.
        why: String,
    },
    /// The machine-id is another one.
    MachineId,
    /// The host name is another one.
    Hostname,
    /// No interface has this MAC, or one still has the template's.
    Mac {
        /// The MAC.
        mac: crate::Mac,
    },
    /// An interface lacks a fixed address, or has one that nobody gave it.
    Addresses {
        /// The interface's MAC.
        mac: crate::Mac,
    },
    /// A host key is missing or there is one that nobody asked for.
    HostKey {
        /// Its kind.
        kind: KeyKind,
    },
    /// The clock is off by more than a second.
    Clock {
        /// By how much, in milliseconds.
        off_ms: u64,
    },
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unmet::Nonce => write!(f, "the report answers another request"),
            Unmet::Item { item, why } => write!(f, "{item}: {why}"),
            Unmet::MachineId => write!(f, "its machine-id is not the one it was given"),
            Unmet::Hostname => write!(f, "its host name is not the one it was given"),
            Unmet::Mac { mac } => write!(f, "the MAC {mac} is not where it should be"),
            Unmet::Addresses { mac } => write!(f, "the interface {mac} has other addresses"),
            Unmet::HostKey { kind } => write!(f, "its host keys of {} differ", kind.algorithm()),
            Unmet::Clock { off_ms } => write!(f, "its clock is off by {off_ms} ms"),
        }
    }
}

/// As a passport names it.
impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Item::Randomness => "randomness",
            Item::Clock => "clock",
            Item::Mac => "mac",
            Item::Addresses => "addresses",
            Item::MachineId => "machine-id",
            Item::Hostname => "hostname",
            Item::StorageIds => "storage-ids",
            Item::BootId => "boot-id",
            Item::SshKeys => "ssh-keys",
            Item::Logins => "logins",
            Item::SshServer => "ssh-server",
            Item::Journal => "journal",
            Item::Resolver => "resolver",
            Item::DhcpClient => "dhcp-client",
            Item::SystemLog => "system-log",
            Item::Hooks => "hooks",
            Item::Durable => "durable",
            Item::Unknown => "unknown",
        })
    }
}

/// Without these done, a machine is the template's double. The others may be not needed.
const ALWAYS: [Item; 5] = [
    Item::Randomness,
    Item::Clock,
    Item::MachineId,
    Item::Hostname,
    Item::Durable,
];

/// What `report` does not meet of `request`. `now_unix_ns` is the host's clock when the report
/// came in.
pub fn unmet(request: &ForkRequest, report: &ForkReport, now_unix_ns: u64) -> Vec<Unmet> {
    let evidence = &report.evidence;
    let mut unmet = Vec::new();
    let mut need = |good: bool, otherwise: Unmet| {
        if !good {
            unmet.push(otherwise);
        }
    };
    need(evidence.nonce == request.nonce, Unmet::Nonce);
    let identity = &request.identity;
    need(evidence.machine_id == identity.machine_id, Unmet::MachineId);
    // The kernel has the first label, as hostname(5) wants it.
    let short = identity.hostname.split('.').next().unwrap_or_default();
    need(evidence.hostname == short, Unmet::Hostname);
    unmet.extend(unmet_clock(request.clock_unix_ns, evidence, now_unix_ns));
    let mut always = ALWAYS.to_vec();
    if !request.logins.is_empty() {
        // An agent older than this item would say nothing of it and leave the template's keys.
        always.push(Item::Logins);
    }
    unmet.extend(unmet_items(&always, &report.items));
    unmet.extend(unmet_nics(request, evidence));
    unmet.extend(unmet_keys(request, report));
    unmet
}

/// What `report` does not meet of `request`. `now_unix_ns` is the host's clock when the report
/// came in. Whether the machine is still the one that it was is the passport's affair.
pub fn unmet_wake(request: &WakeRequest, report: &WakeReport, now_unix_ns: u64) -> Vec<Unmet> {
    let evidence = &report.evidence;
    let mut unmet = Vec::new();
    if evidence.nonce != request.nonce {
        unmet.push(Unmet::Nonce);
    }
    unmet.extend(unmet_clock(request.clock_unix_ns, evidence, now_unix_ns));
    unmet.extend(unmet_items(&[Item::Randomness, Item::Clock], &report.items));
    unmet
}

/// The host's clock may be anywhere between sending and receiving.
fn unmet_clock(sent_unix_ns: u64, evidence: &Evidence, now_unix_ns: u64) -> Option<Unmet> {
    let from = sent_unix_ns.min(now_unix_ns);
    let off_ns = distance(evidence.clock_unix_ns, from, now_unix_ns);
    let off_ms = off_ns / 1_000_000;
    (off_ns > CLOCK_OFF_NS).then_some(Unmet::Clock { off_ms })
}

fn distance(value: u64, from: u64, to: u64) -> u64 {
    from.saturating_sub(value).max(value.saturating_sub(to))
}

fn unmet_items(always: &[Item], items: &[Done]) -> Vec<Unmet> {
    let mut unmet = Vec::new();
    for done in items {
        let why = match &done.outcome {
            Outcome::Done => continue,
            Outcome::NotNeeded { .. } if !always.contains(&done.item) => continue,
            Outcome::NotNeeded { why } | Outcome::Failed { why } => why.clone(),
        };
        unmet.push(Unmet::Item {
            item: done.item,
            why,
        });
    }
    for item in always {
        if !items.iter().any(|done| done.item == *item) {
            let why = "the guest says nothing about it".to_owned();
            unmet.push(Unmet::Item { item: *item, why });
        }
    }
    unmet
}

fn unmet_nics(request: &ForkRequest, evidence: &Evidence) -> Vec<Unmet> {
    let mut unmet = Vec::new();
    for nic in request.nics.iter() {
        let stays = request
            .nics
            .iter()
            .any(|other| other.new_mac == nic.old_mac);
        let old = evidence.interfaces.iter().any(|i| i.mac == nic.old_mac);
        if old && !stays {
            unmet.push(Unmet::Mac { mac: nic.old_mac });
        }
        let Some(found) = evidence.interfaces.iter().find(|i| i.mac == nic.new_mac) else {
            unmet.push(Unmet::Mac { mac: nic.new_mac });
            continue;
        };
        let wanted = match &nic.addressing {
            Addressing::Dhcp => &[][..],
            Addressing::Static(network) => &network.addresses,
        };
        let missing = wanted.iter().any(|cidr| !found.addresses.contains(cidr));
        // While the link is down DHCP can have given nothing: an address is the template's.
        let strange = found.addresses.iter().any(|cidr| !wanted.contains(cidr));
        if missing || (strange && !found.link_up) {
            unmet.push(Unmet::Addresses { mac: nic.new_mac });
        }
    }
    unmet
}

fn unmet_keys(request: &ForkRequest, report: &ForkReport) -> Vec<Unmet> {
    let keys = &report.evidence.host_keys;
    let no_server = |done: &Done| {
        done.item == Item::SshKeys && matches!(done.outcome, Outcome::NotNeeded { .. })
    };
    if keys.is_empty() && report.items.iter().any(no_server) {
        return Vec::new();
    }
    let wanted: Vec<KeyKind> = match &request.ssh_keys {
        SshKeys::Keep => return Vec::new(),
        SshKeys::Make(kinds) => kinds.to_vec(),
        SshKeys::Given(keys) => keys.iter().map(|key| key.kind).collect(),
    };
    let has = |kind| keys.iter().any(|key| key.kind == kind);
    [KeyKind::Ed25519, KeyKind::Ecdsa]
        .into_iter()
        .filter(|kind| has(*kind) != wanted.contains(kind))
        .map(|kind| Unmet::HostKey { kind })
        .collect()
}
