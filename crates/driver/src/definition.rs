//! A guest's whole machine, with every choice made: what a driver is given.

use crate::DriverError;
use serde::{Deserialize, Serialize};
use stampo_core::hardware::{Firmware, Hardware, NicModel};
use stampo_core::ids::GuestId;
use stampo_core::network::Mac;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// The format of a disk file. It is recorded once and always passed to QEMU, never probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// Plain bytes.
    Raw,
    /// A qcow2 overlay or image.
    Qcow2,
}

/// One disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: DiskFormat,
    /// For an overlay: the raw base it reads from, opened read-only.
    pub backing: Option<PathBuf>,
    /// The serial number that the guest sees; at most 20 bytes.
    pub serial: String,
}

/// What an interface is connected to, with every choice made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Link {
    /// User-mode network; the guest's port 22 is reached at `127.0.0.1:ssh_port` when given.
    User {
        /// The port on the host's loopback.
        ssh_port: Option<u16>,
        /// The address that the guest will have, when it is static and not 10.0.2.15.
        guest_address: Option<(Ipv4Addr, u8)>,
    },
    /// A bridge of the host, through QEMU's bridge helper.
    Bridge {
        /// The bridge's name.
        bridge: String,
    },
}

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicDefinition {
    /// Its address.
    pub mac: Mac,
    /// How it looks to the guest.
    pub model: NicModel,
    /// What it is connected to.
    pub link: Link,
}

/// One guest. The guest's id is also its SMBIOS UUID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestDefinition {
    /// The id, chosen by the caller.
    pub id: GuestId,
    /// The name, shown in the process list.
    pub name: String,
    /// The guest's own directory: everything the driver makes goes here.
    pub directory: PathBuf,
    /// Processors, memory, bus, firmware, TPM. Its `nics` are ignored in favour of `nics` below.
    pub hardware: Hardware,
    /// The first is the boot disk.
    pub disks: Vec<Disk>,
    /// A read-only CD-ROM image (the cloud-init seed), if any.
    pub seed: Option<PathBuf>,
    /// The network.
    pub nics: Vec<NicDefinition>,
    /// The VM generation id; it changes when the guest's state is copied.
    pub generation_id: uuid::Uuid,
    /// Serial number of the system and asset tag in SMBIOS.
    pub serial: String,
    /// Text for SMBIOS OEM strings, so that a guest found without a catalog tells where it came
    /// from, for example `stampo:template=web@3;image=<id>`.
    pub provenance: String,
}

impl GuestDefinition {
    /// The firmware to start with.
    pub fn firmware(&self) -> Firmware {
        self.hardware.firmware
    }

    /// The ports of the host's loopback that reach this guest.
    pub fn forwarded_ports(&self) -> impl Iterator<Item = u16> + '_ {
        self.nics.iter().filter_map(|nic| match nic.link {
            Link::User { ssh_port, .. } => ssh_port,
            Link::Bridge { .. } => None,
        })
    }

    /// Refuses a directory that is not the one which the driver finds this guest by: the one named
    /// by its id under `guests_dir`.
    pub fn check_directory(&self, guests_dir: &Path) -> Result<(), DriverError> {
        if self.directory == guests_dir.join(self.id.to_string()) {
            return Ok(());
        }
        Err(DriverError::Unsupported {
            what: format!("keep guest {} in {}", self.name, self.directory.display()),
            why: format!("it must be {}/{}", guests_dir.display(), self.id),
        })
    }
}
