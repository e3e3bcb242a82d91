//! Planning clones: from a request and the facts to a list of guests with no choice left open.
//!
//! The plan is data: it can be printed (`--dry-run`), stored and carried out later. Everything
//! that must be unique among guests (ids, names, MACs, ports, addresses) is chosen here, from what
//! is free in the inventory, which the caller reads in the same transaction that stores the plan.

mod refusal;

pub use refusal::PlanRefusal;

use crate::goal::{Choice, CloneKind, Goal, choose};
use crate::hardware::{Hardware, NicLink};
use crate::ids::{GuestId, ImageId, VersionId};
use crate::instant::{self, Beginning, Fork, HostMemory, Instant, MemoryFacts};
use crate::lifecycle::State;
use crate::names::{GuestName, NamePattern};
use crate::network::{AddressRange, Cidr, Mac, UserNetwork};
use crate::personalisation::{Network, Personalisation};
use crate::pool::Membership;
use crate::size::ByteSize;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;
use uuid::Uuid;

/// Most guests that one request may make.
pub const MAX_COUNT: u32 = 1000;

/// What is asked for, before anything is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct CloneSpec {
    /// How many guests. Default: 1.
    pub count: Option<u32>,
    /// The kind of clone; overrides `goal`.
    pub kind: Option<CloneKind>,
    /// What matters most. Default: fastest.
    pub goal: Option<Goal>,
    /// Processors. Default: the version's.
    pub cpus: Option<u32>,
    /// Memory. Default: the version's.
    pub memory: Option<ByteSize>,
    /// The boot disk's size, not below the version's. The last partition and its filesystem grow.
    pub disk_size: Option<ByteSize>,
    /// Empty disks to add.
    pub extra_disks: Vec<ByteSize>,
    /// Start the guests. Default: yes.
    pub start: Option<bool>,
    /// Domain appended to each guest's name to make its host name.
    pub domain: Option<String>,
    /// Static addresses for the first interface, one for each guest. Default: DHCP.
    pub address: Option<AddressRange>,
    /// Default gateway, with `address`.
    pub gateway: Option<IpAddr>,
    /// Name servers, with `address`.
    pub dns: Vec<IpAddr>,
    /// A bridge of the host for the first interface. Default: as the version says.
    pub bridge: Option<String>,
    /// Write nothing into the guests: identity is left to the guest's own first boot.
    pub no_personalisation: bool,
    /// What is the same in every guest; its host name and networks are set by the plan.
    pub personalisation: Personalisation,
    /// Guests that go on from the version's memory image. Default: they boot.
    pub instant: Option<Instant>,
    /// Make instant clones although the host could come to lack memory. Default: no.
    pub overcommit_memory: bool,
    /// Hand instant clones out without waiting for their addresses. Default: wait.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_wait: bool,
}

/// What is known of the version to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionFacts {
    /// Its id.
    pub id: VersionId,
    /// `name@N`, for messages.
    pub label: String,
    /// Its state, as its dates have it now.
    pub state: State,
    /// What its users should know of that, see [`crate::lifecycle::Governance::advice`].
    pub advice: String,
    /// Its image.
    pub image: ImageId,
    /// The size that guests see.
    pub virtual_size: ByteSize,
    /// The bytes that hold data.
    pub data: ByteSize,
    /// Its hardware defaults.
    pub hardware: Hardware,
    /// Its memory image; looked at only when instant clones are asked for.
    pub memory: MemoryFacts,
}

/// What is known of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// The pool's file system shares blocks between copies.
    pub reflink: bool,
    /// Free space where guests live.
    pub free: ByteSize,
    /// Ports of the loopback that nothing listens on now, in the order to use them.
    pub free_ports: Vec<u16>,
    /// Its memory; looked at only when instant clones are asked for.
    pub memory: HostMemory,
}

/// What other guests hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// Names in use.
    pub names: BTreeSet<GuestName>,
    /// MACs in use.
    pub macs: BTreeSet<Mac>,
    /// Forwarded ports in use.
    pub ports: BTreeSet<u16>,
    /// Static addresses in use.
    pub addresses: BTreeSet<IpAddr>,
}

/// One guest with every choice made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestPlan {
    /// Its id, also its SMBIOS UUID.
    pub id: GuestId,
    /// Its name.
    pub name: GuestName,
    /// How its disk is made.
    pub kind: CloneKind,
    /// The size of its boot disk.
    pub disk_size: ByteSize,
    /// Whether the boot disk is larger than the version's.
    pub grow: bool,
    /// Sizes of its further disks.
    pub extra_disks: Vec<ByteSize>,
    /// Its hardware.
    pub hardware: Hardware,
    /// Its interfaces.
    pub nics: Vec<NicPlan>,
    /// VM generation id.
    pub generation_id: Uuid,
    /// Disk GUID of its partition table.
    pub disk_guid: Uuid,
    /// UUID of its root filesystem, where it can be changed safely.
    pub filesystem_uuid: Uuid,
    /// Serial number of the system.
    pub serial: String,
    /// What is written into it; `None` leaves its disk as the version's.
    pub personalisation: Option<Personalisation>,
    /// Start it when it is made.
    pub start: bool,
    /// It goes on, or went on, from a memory image of its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<Fork>,
    /// Why it boots although it was asked for as an instant clone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// A pool keeps it ready, or did until it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Membership>,
}

impl GuestPlan {
    /// The kind of clone as people call it.
    pub fn kind_name(&self) -> &'static str {
        match (self.kind, &self.fork) {
            (CloneKind::Linked, Some(_)) => "instant",
            (kind, _) => kind.as_str(),
        }
    }
}

/// One interface with every choice made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicPlan {
    /// Its address.
    pub mac: Mac,
    /// What it is connected to.
    pub link: NicLink,
    /// The loopback port that reaches the guest's ssh, on a user-mode network.
    pub ssh_port: Option<u16>,
    /// How the guest gets its address.
    pub network: Network,
}

/// All guests of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClonePlan {
    /// The version they are made from.
    pub version: VersionId,
    /// `name@N`.
    pub version_label: String,
    /// The image they read.
    pub image: ImageId,
    /// The kind and why.
    pub choice: Choice,
    /// Things the user should know; none of them stops the plan.
    pub warnings: Vec<String>,
    /// The guests.
    pub guests: Vec<GuestPlan>,
}

impl ClonePlan {
    /// The kind of clones as people call it.
    pub fn kind_name(&self) -> &'static str {
        let first = self.guests.first();
        first.map_or(self.choice.kind.as_str(), GuestPlan::kind_name)
    }
}

/// The plan for these clones, or the rule that forbids it.
///
/// `random` gives 16 fresh random bytes at each call.
pub fn plan_clone(
    pattern: &NamePattern,
    spec: &CloneSpec,
    version: &VersionFacts,
    host: &HostFacts,
    inventory: &Inventory,
    random: &mut dyn FnMut() -> [u8; 16],
) -> Result<ClonePlan, PlanRefusal> {
    if !version.state.is_clonable() {
        return Err(PlanRefusal::NotClonable {
            label: version.label.clone(),
            state: version.state,
            advice: version.advice.clone(),
        });
    }
    let count = spec.count.unwrap_or(1);
    if !(1..=MAX_COUNT).contains(&count) {
        return Err(PlanRefusal::Count(count));
    }
    let Beginning { fork, fallback } = instant::beginning(spec, version)?;
    let hardware = hardware(spec, &version.hardware)?;
    if spec.instant.is_some() && !spec.overcommit_memory {
        instant::admit(host.memory, hardware.memory, count)?;
    }
    let disk_size = disk_size(spec, version)?;
    let choice = choice(spec, version, host, fork.is_some());
    check_space(choice.kind, count, version, host)?;
    let names = pattern.expand(count, |name| inventory.names.contains(name))?;
    if let Some(taken) = names.iter().find(|name| inventory.names.contains(name)) {
        return Err(PlanRefusal::NameTaken(taken.clone()));
    }
    let mut supply = Supply::new(spec, host, inventory, names.len(), &hardware)?;
    let mut guests = Vec::with_capacity(names.len());
    for name in names {
        let nics = supply.nics(&hardware, random)?;
        let personalisation = personalisation(spec, &name, &nics)?;
        guests.push(GuestPlan {
            id: GuestId(random_uuid(random)),
            kind: choice.kind,
            disk_size,
            grow: disk_size > version.virtual_size,
            extra_disks: spec.extra_disks.clone(),
            hardware: hardware.clone(),
            nics,
            generation_id: random_uuid(random),
            disk_guid: random_uuid(random),
            filesystem_uuid: random_uuid(random),
            serial: format!("stampo-{}", &hex::encode(random())[..12]),
            personalisation,
            start: spec.start.unwrap_or(true),
            fork: fork.clone(),
            fallback: fallback.clone(),
            member: None,
            name,
        });
    }
    let mut warnings = warnings(spec, version);
    warnings.extend(fallback.map(|why| format!("they boot instead of going on at once: {why}")));
    Ok(ClonePlan {
        version: version.id,
        version_label: version.label.clone(),
        image: version.image.clone(),
        choice,
        warnings,
        guests,
    })
}

/// The kind, and why.
fn choice(spec: &CloneSpec, version: &VersionFacts, host: &HostFacts, is_fork: bool) -> Choice {
    if is_fork {
        let label = &version.label;
        return Choice {
            kind: CloneKind::Linked,
            reason: format!("they go on from the memory image of {label} and do not boot"),
        };
    }
    let goal = spec.goal.unwrap_or_default();
    choose(spec.kind, goal, host.reflink, version.data)
}

fn random_uuid(random: &mut dyn FnMut() -> [u8; 16]) -> Uuid {
    uuid::Builder::from_random_bytes(random()).into_uuid()
}

fn warnings(spec: &CloneSpec, version: &VersionFacts) -> Vec<String> {
    let mut warnings = Vec::new();
    if version.state == State::Deprecated {
        let colon = if version.advice.is_empty() { "" } else { ": " };
        warnings.push(format!(
            "{} is deprecated{colon}{}",
            version.label, version.advice
        ));
    }
    if spec.no_personalisation {
        warnings.push("not personalised: identity is left to each guest's first boot".to_owned());
    } else if spec.personalisation.ssh_authorized_keys.is_empty()
        && spec
            .personalisation
            .users
            .iter()
            .all(|u| u.ssh_authorized_keys.is_empty())
        && spec.personalisation.root_password_hash.is_none()
    {
        warnings.push(
            "no ssh key and no password was given: only what the template allows can log in"
                .to_owned(),
        );
    }
    warnings
}

fn hardware(spec: &CloneSpec, default: &Hardware) -> Result<Hardware, PlanRefusal> {
    let mut hardware = default.clone();
    hardware.cpus = spec.cpus.unwrap_or(hardware.cpus);
    hardware.memory = spec.memory.unwrap_or(hardware.memory);
    if let Some(bridge) = &spec.bridge {
        if hardware.nics.is_empty() {
            hardware.nics.push(crate::hardware::Nic::default());
        }
        hardware.nics[0].link = NicLink::Bridge(bridge.clone());
    }
    hardware.check()?;
    Ok(hardware)
}

fn disk_size(spec: &CloneSpec, version: &VersionFacts) -> Result<ByteSize, PlanRefusal> {
    let odd = |size: ByteSize| {
        size.bytes() == 0 || !size.bytes().is_multiple_of(1 << 20) || size > ByteSize(64 << 40)
    };
    if let Some(bad) = spec.extra_disks.iter().find(|size| odd(**size)) {
        return Err(PlanRefusal::DiskSize(*bad));
    }
    match spec.disk_size {
        None => Ok(version.virtual_size),
        Some(asked) if asked < version.virtual_size => Err(PlanRefusal::DiskTooSmall {
            asked,
            least: version.virtual_size,
        }),
        Some(asked) if asked != version.virtual_size && odd(asked) => {
            Err(PlanRefusal::DiskSize(asked))
        }
        Some(asked) => Ok(asked),
    }
}

/// What the clones write at once. Later growth is the user's to watch, not ours to forbid.
fn check_space(
    kind: CloneKind,
    count: u32,
    version: &VersionFacts,
    host: &HostFacts,
) -> Result<(), PlanRefusal> {
    let each = match kind {
        CloneKind::Full if !host.reflink => version.data.bytes(),
        CloneKind::Full | CloneKind::Linked => 1 << 20,
    };
    let needed = ByteSize(each.saturating_mul(u64::from(count)));
    if needed > host.free {
        return Err(PlanRefusal::NoSpace {
            needed,
            free: host.free,
        });
    }
    Ok(())
}

fn personalisation(
    spec: &CloneSpec,
    name: &GuestName,
    nics: &[NicPlan],
) -> Result<Option<Personalisation>, PlanRefusal> {
    if spec.no_personalisation {
        return Ok(None);
    }
    let mut own = spec.personalisation.clone();
    own.hostname = match &spec.domain {
        Some(domain) => format!("{name}.{domain}"),
        None => name.to_string(),
    };
    own.networks = nics.iter().map(|nic| nic.network.clone()).collect();
    own.check()?;
    Ok(Some(own))
}

/// Hands out what must be unique, from what is free.
struct Supply {
    ports: std::vec::IntoIter<u16>,
    wanted: usize,
    addresses: std::vec::IntoIter<Cidr>,
    gateway: Option<IpAddr>,
    dns: Vec<IpAddr>,
    macs: BTreeSet<Mac>,
}

impl Supply {
    fn new(
        spec: &CloneSpec,
        host: &HostFacts,
        inventory: &Inventory,
        count: usize,
        hardware: &Hardware,
    ) -> Result<Self, PlanRefusal> {
        let addresses = match &spec.address {
            Some(range) => range.take(count, |a| inventory.addresses.contains(a))?,
            None if spec.gateway.is_some() || !spec.dns.is_empty() => {
                return Err(PlanRefusal::NetworkWithoutAddress);
            }
            None => Vec::new(),
        };
        let forwards = matches!(
            hardware.nics.first().map(|nic| &nic.link),
            Some(NicLink::User)
        );
        let wanted = if forwards { count } else { 0 };
        let ports: Vec<u16> = host
            .free_ports
            .iter()
            .copied()
            .filter(|p| !inventory.ports.contains(p))
            .take(wanted)
            .collect();
        Ok(Supply {
            ports: ports.into_iter(),
            wanted,
            addresses: addresses.into_iter(),
            gateway: spec.gateway,
            dns: spec.dns.clone(),
            macs: inventory.macs.clone(),
        })
    }

    /// The interfaces of one guest. Only the first has a static address or a forwarded port.
    fn nics(
        &mut self,
        hardware: &Hardware,
        random: &mut dyn FnMut() -> [u8; 16],
    ) -> Result<Vec<NicPlan>, PlanRefusal> {
        let mut nics = Vec::with_capacity(hardware.nics.len());
        for (index, nic) in hardware.nics.iter().enumerate() {
            let address = if index == 0 {
                self.addresses.next()
            } else {
                None
            };
            let network = match address {
                Some(address) => self.fixed(address, &nic.link)?,
                None => Network::Dhcp,
            };
            let ssh_port = if index == 0 && nic.link == NicLink::User {
                Some(self.ports.next().ok_or(PlanRefusal::NoPorts(self.wanted))?)
            } else {
                None
            };
            nics.push(NicPlan {
                mac: self.mac(random),
                link: nic.link.clone(),
                ssh_port,
                network,
            });
        }
        Ok(nics)
    }

    /// A static address with what stands beside it. On a user-mode network that is QEMU's to say.
    fn fixed(&self, address: Cidr, link: &NicLink) -> Result<Network, PlanRefusal> {
        let (mut gateway, mut dns) = (self.gateway, self.dns.clone());
        if let (NicLink::User, IpAddr::V4(v4)) = (link, address.address) {
            let refuse = |why: String| PlanRefusal::UserNetwork {
                address: address.to_string(),
                why,
            };
            let around = UserNetwork::around(v4, address.prefix)
                .ok_or_else(|| refuse("use a prefix of at most 29, or a bridge".to_owned()))?;
            if gateway.is_some_and(|asked| asked != around.gateway) {
                let why = format!(
                    "its gateway is {}; leave --gateway out, or use a bridge",
                    around.gateway
                );
                return Err(refuse(why));
            }
            gateway = Some(IpAddr::V4(around.gateway));
            if dns.is_empty() {
                dns.push(IpAddr::V4(around.dns));
            }
        }
        Ok(Network::Static {
            address,
            gateway,
            dns,
        })
    }

    fn mac(&mut self, random: &mut dyn FnMut() -> [u8; 16]) -> Mac {
        loop {
            let bytes = random();
            let mac = Mac::from_random([bytes[0], bytes[1], bytes[2], bytes[3]]);
            if self.macs.insert(mac) {
                return mac;
            }
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
pub(crate) mod tests;
