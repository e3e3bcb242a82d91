//! From a guest's row to its whole machine, with every choice made.

use super::disk_name;
use crate::engine::Engine;
use crate::error::EngineError;
use stampo_core::goal::CloneKind;
use stampo_core::hardware::NicLink;
use stampo_core::personalisation::Network;
use stampo_core::plan::NicPlan;
use stampo_driver::{Disk, DiskFormat, GuestDefinition, Link, NicDefinition, Start};
use stampo_store::GuestRow;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

impl Engine {
    /// The definition of a guest, from its row and what its directory holds.
    pub(crate) fn definition(&self, row: &GuestRow) -> Result<GuestDefinition, EngineError> {
        let label = self.store.read(|tx| tx.version_label(row.version))?;
        let label = label.unwrap_or_else(|| row.version.to_string());
        let directory = self.guest_dir(row.id);
        let seed = directory.join("seed.iso");
        let nics = row.plan.nics.iter().zip(&row.plan.hardware.nics);
        Ok(GuestDefinition {
            id: row.id,
            name: row.name.to_string(),
            hardware: row.plan.hardware.clone(),
            disks: self.disks(row, &directory),
            seed: seed.exists().then_some(seed),
            nics: nics
                .map(|(plan, nic)| NicDefinition {
                    mac: plan.mac,
                    model: nic.model,
                    link: link(plan),
                })
                .collect(),
            generation_id: row.plan.generation_id,
            serial: row.plan.serial.clone(),
            provenance: format!("stampo:template={label};image={}", row.image),
            start: self.beginning(row),
            directory,
        })
    }

    /// What a start of the guest begins with. A fork that has an identity boots, for ever on the
    /// machine that it was forked on: its interfaces have their names from there.
    fn beginning(&self, row: &GuestRow) -> Start {
        match &row.plan.fork {
            None => Start::Boot,
            Some(fork) if fork.identified => Start::BootResumed,
            Some(fork) => Start::Resume {
                image: self.memory_beside(&row.image, &fork.origin.memory),
            },
        }
    }

    /// The disks of a guest whose directory this is.
    pub(crate) fn disks(&self, row: &GuestRow, directory: &Path) -> Vec<Disk> {
        let (format, backing) = match row.kind {
            CloneKind::Linked => (DiskFormat::Qcow2, Some(self.pool.image_disk(&row.image))),
            CloneKind::Full => (DiskFormat::Raw, None),
        };
        let short = row.id.0.simple().to_string();
        let mut disks = vec![Disk {
            path: directory.join(disk_name(row.kind)),
            format,
            backing,
            layers: Vec::new(),
            serial: format!("s{}", &short[14..]),
        }];
        for number in 1..=row.plan.extra_disks.len() {
            disks.push(Disk {
                path: directory.join(extra_disk_name(number)),
                format: DiskFormat::Raw,
                backing: None,
                layers: Vec::new(),
                serial: format!("d{number}{}", &short[16..]),
            });
        }
        disks
    }
}

/// The file name of a guest's `number`th further disk, from 1.
pub(crate) fn extra_disk_name(number: usize) -> String {
    format!("data-{number}.raw")
}

fn link(plan: &NicPlan) -> Link {
    match &plan.link {
        NicLink::Bridge(bridge) => Link::Bridge {
            bridge: bridge.clone(),
        },
        NicLink::User => Link::User {
            ssh_port: plan.ssh_port,
            guest_address: static_ipv4(&plan.network),
        },
    }
}

fn static_ipv4(network: &Network) -> Option<(Ipv4Addr, u8)> {
    match network {
        Network::Static { address, .. } => match address.address {
            IpAddr::V4(v4) => Some((v4, address.prefix)),
            IpAddr::V6(_) => None,
        },
        Network::Dhcp => None,
    }
}
