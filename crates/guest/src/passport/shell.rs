//! Facts of the machine around the guest: what the host gives it rather than what its disk holds.
//!
//! The caller takes them from the guest's definition and its partition table; nothing is read here.

use super::{Hasher, fact};
use stampo_core::identity::IdentityFact;
use stampo_core::network::Mac;
use std::collections::BTreeMap;
use std::net::IpAddr;
use uuid::Uuid;

/// What the host knows of one guest.
#[derive(Debug, Clone, Default)]
pub struct ShellFacts {
    /// The SMBIOS system UUID.
    pub smbios_uuid: Option<Uuid>,
    /// The SMBIOS system serial number.
    pub smbios_serial: Option<String>,
    /// MACs, in the order of the interfaces.
    pub macs: Vec<Mac>,
    /// Static addresses.
    pub addresses: Vec<IpAddr>,
    /// The VM generation id.
    pub generation_id: Option<Uuid>,
    /// Serial numbers of the disks, in order.
    pub disk_serials: Vec<String>,
    /// The GUID (or MBR signature) of the boot disk's partition table.
    pub disk_guid: Option<Uuid>,
    /// The GUIDs of its partitions, in order.
    pub partition_guids: Vec<Uuid>,
    /// The path of the firmware variable store; two guests must not have the same file.
    pub nvram: Option<String>,
    /// The path of the TPM's state; two guests must not have the same directory.
    pub tpm_state: Option<String>,
    /// Items that stay as the template's on purpose, with the reason: what personalisation
    /// reported as kept, for example `filesystem.uuid`.
    pub kept: BTreeMap<String, String>,
}

/// Why it does no harm that clones share an item of the shell; see `explain`.
pub(super) fn why_shared(item: &str) -> Option<&'static str> {
    match item {
        "filesystem.uuid" => Some(
            "the guest finds its root by it, and it matters only when two such disks are attached to one machine",
        ),
        "disk.guid" => Some("it matters only when two such disks are attached to one machine"),
        _ if item.starts_with("partition.") => Some(
            "the guest may find its partitions by it, and it matters only when two such disks are attached to one machine",
        ),
        _ => None,
    }
}

impl ShellFacts {
    pub(super) fn facts(&self, hasher: &Hasher<'_>) -> Vec<IdentityFact> {
        let mut all = Vec::new();
        let mut add = |item: &str, location: &str, value: &[u8]| {
            all.push(fact(item, location, hasher.present(item, value)));
        };
        if let Some(uuid) = self.smbios_uuid {
            add("smbios.uuid", "SMBIOS type 1", uuid.as_bytes());
        }
        if let Some(serial) = &self.smbios_serial {
            add("smbios.serial", "SMBIOS type 1", serial.as_bytes());
        }
        for (index, mac) in self.macs.iter().enumerate() {
            add(
                &format!("mac.{index}"),
                &format!("interface {index}"),
                &mac.0,
            );
        }
        for (index, address) in self.addresses.iter().enumerate() {
            let text = address.to_string();
            add(
                &format!("address.{index}"),
                "the guest's definition",
                text.as_bytes(),
            );
        }
        if let Some(uuid) = self.generation_id {
            add("generation-id", "vmgenid", uuid.as_bytes());
        }
        for (index, serial) in self.disk_serials.iter().enumerate() {
            add(
                &format!("disk.{index}.serial"),
                &format!("disk {index}"),
                serial.as_bytes(),
            );
        }
        if let Some(uuid) = self.disk_guid {
            add("disk.guid", "the partition table", uuid.as_bytes());
        }
        for (index, uuid) in self.partition_guids.iter().enumerate() {
            let place = format!("partition {}", index + 1);
            add(
                &format!("partition.{}.guid", index + 1),
                &place,
                uuid.as_bytes(),
            );
        }
        if let Some(path) = &self.nvram {
            add("nvram", "firmware variables", path.as_bytes());
        }
        if let Some(path) = &self.tpm_state {
            add("tpm.state", "TPM state", path.as_bytes());
        }
        all
    }
}
