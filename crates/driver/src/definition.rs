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
    /// Read-only qcow2 files between an overlay and its base, the one next to the overlay first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<PathBuf>,
    /// The serial number that the guest sees; at most 20 bytes.
    pub serial: String,
}

/// What a start of the guest begins with.
///
/// The machine that memory images are made of is not quite the ordinary one (its interfaces can be
/// replaced while it runs), so a guest of one kind can't become the other without its guest
/// noticing: interfaces have other names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Start {
    /// A boot of an ordinary machine.
    #[default]
    Boot,
    /// A boot of a machine whose memory is a file in this directory, so that it can be frozen
    /// ([`crate::Driver::ensure_frozen`]).
    BootToFreeze {
        /// The directory of the memory image to be.
        image: PathBuf,
    },
    /// The first start goes on from the memory image in this directory, with the interfaces' links
    /// down. A second is refused: by then the guest's disk is newer than the memory.
    Resume {
        /// The directory of the memory image.
        image: PathBuf,
    },
    /// A boot of a machine that was resumed before.
    BootResumed,
}

impl Start {
    /// Whether it is the machine that memory images are made of.
    pub fn is_forkable(&self) -> bool {
        *self != Start::Boot
    }
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
    /// How it starts.
    #[serde(default)]
    pub start: Start,
}

impl GuestDefinition {
    /// Refuses a machine that can't be frozen or resumed, whatever the driver: what it has outside
    /// of its memory and its disks would be shared by all its clones.
    pub fn check_start(&self) -> Result<(), DriverError> {
        let why = if !self.start.is_forkable() {
            return Ok(());
        } else if self.hardware.tpm {
            "it has a TPM, whose keys can't be copied"
        } else if self.seed.is_some() {
            "it has a seed CD-ROM, which its clones would share"
        } else if self.hardware.firmware == Firmware::Uefi {
            "it starts with UEFI, whose variables are not in the memory image"
        } else {
            return Ok(());
        };
        Err(DriverError::Unsupported {
            what: format!("freeze or resume guest {}", self.name),
            why: why.to_owned(),
        })
    }

    /// Whether a process that was started for this definition is what the other one asks for: a
    /// name is only shown.
    pub fn is_same_machine(&self, other: &GuestDefinition) -> bool {
        let renamed = GuestDefinition {
            name: other.name.clone(),
            ..self.clone()
        };
        renamed == *other
    }

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
