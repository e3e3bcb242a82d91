//! What a guest's machine is made of: the defaults that a version carries, and what a clone changes.

use crate::size::ByteSize;
use serde::{Deserialize, Serialize};

/// The firmware that starts a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// SeaBIOS. Starts fastest.
    #[default]
    Bios,
    /// OVMF. Each guest has a variable store of its own.
    Uefi,
}

/// How a guest's disks are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum DiskBus {
    /// virtio-blk.
    #[default]
    Virtio,
    /// virtio-scsi.
    Scsi,
    /// AHCI, for guests without virtio drivers.
    Sata,
    /// NVMe.
    Nvme,
}

/// How a network interface looks to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum NicModel {
    /// virtio-net.
    #[default]
    Virtio,
    /// Intel 82574, for guests without virtio drivers.
    E1000e,
}

/// What a network interface is connected to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum NicLink {
    /// QEMU's user-mode network: no rights needed, ssh reaches the guest through a forwarded port.
    #[default]
    User,
    /// A tap device on this bridge of the host. Needs the bridge helper or a tap made beforehand.
    Bridge(String),
}

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Nic {
    /// How it looks to the guest.
    pub model: NicModel,
    /// What it is connected to.
    pub link: NicLink,
}

/// The hardware of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hardware {
    /// Virtual processors. Default: 1.
    pub cpus: u32,
    /// Memory. Default: 512 MiB.
    pub memory: ByteSize,
    /// How disks are attached. Default: virtio.
    pub disk_bus: DiskBus,
    /// Default: BIOS.
    pub firmware: Firmware,
    /// A TPM 2.0, emulated by swtpm with a state of the guest's own. Default: no.
    pub tpm: bool,
    /// Network interfaces. Default: one, virtio, user-mode.
    pub nics: Vec<Nic>,
}

impl Default for Hardware {
    fn default() -> Self {
        Hardware {
            cpus: 1,
            memory: ByteSize::mib(512),
            disk_bus: DiskBus::default(),
            firmware: Firmware::default(),
            tpm: false,
            nics: vec![Nic::default()],
        }
    }
}

/// Why hardware can't be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HardwareError {
    /// Outside 1 to 255.
    #[error("give a guest {0} processors: choose 1 to 255")]
    Cpus(u32),
    /// Too little to start a kernel, or not a whole number of MiB.
    #[error("give a guest {0} of memory: choose a whole number of MiB from 64M to 16T")]
    Memory(ByteSize),
    /// More than eight interfaces.
    #[error("give a guest {0} network interfaces: choose at most 8")]
    Nics(usize),
    /// A bridge name that Linux would not take (1 to 15 bytes, no slash, no space).
    #[error(
        "use {0:?} as a bridge: a Linux interface name has 1 to 15 letters, digits, '-', '_' or '.'"
    )]
    Bridge(String),
}

impl Hardware {
    /// Checks every field; the first that can't be had is named.
    pub fn check(&self) -> Result<(), HardwareError> {
        if !(1..=255).contains(&self.cpus) {
            return Err(HardwareError::Cpus(self.cpus));
        }
        let mib = 1 << 20;
        let possible = (64 * mib)..=(16 << 40);
        if !possible.contains(&self.memory.bytes()) || !self.memory.bytes().is_multiple_of(mib) {
            return Err(HardwareError::Memory(self.memory));
        }
        if self.nics.len() > 8 {
            return Err(HardwareError::Nics(self.nics.len()));
        }
        for nic in &self.nics {
            if let NicLink::Bridge(name) = &nic.link {
                let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
                let valid = (1..=15).contains(&name.len()) && name.bytes().all(allowed);
                if !valid || name == "." || name == ".." {
                    return Err(HardwareError::Bridge(name.clone()));
                }
            }
        }
        Ok(())
    }
}
