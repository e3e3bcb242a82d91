//! Disks and the seed: the block graph, with every format stated.
//!
//! A base is opened read-only and stays so (`auto-read-only` off), and its own header is never
//! looked at: it is raw. Discards of the guest free space in the overlay.

use super::{Arguments, has_virtio, path_text};
use serde_json::{Value, json};
use stampo_core::hardware::DiskBus;
use stampo_driver::{Disk, DiskFormat, DriverError, GuestDefinition};
use std::path::Path;

/// q35's own AHCI controller has six ports; a seed takes one of them.
const SATA_PORTS: usize = 6;

/// The most bytes of a serial number that every bus can show (virtio-blk; QEMU
/// `VIRTIO_BLK_ID_BYTES`).
const LONGEST_SERIAL: usize = 20;

pub(super) fn add(args: &mut Arguments, guest: &GuestDefinition) -> Result<(), DriverError> {
    let bus = guest.hardware.disk_bus;
    check(guest, bus)?;
    if bus == DiskBus::Scsi || (guest.seed.is_some() && has_virtio(bus)) {
        args.device(json!({"driver": "virtio-scsi-pci", "id": "scsi0"}));
    }
    for (index, disk) in guest.disks.iter().enumerate() {
        args.block(&node(index, disk)?);
        args.device(device(index, disk, bus));
    }
    if let Some(seed) = &guest.seed {
        add_seed(args, seed, bus)?;
    }
    Ok(())
}

fn check(guest: &GuestDefinition, bus: DiskBus) -> Result<(), DriverError> {
    let refuse = |what: String, why: &str| {
        Err(DriverError::Unsupported {
            what,
            why: why.to_owned(),
        })
    };
    let ports = guest.disks.len() + usize::from(guest.seed.is_some());
    if bus == DiskBus::Sata && ports > SATA_PORTS {
        return refuse(
            format!("attach {ports} disks to SATA"),
            "it has six ports; choose virtio or scsi",
        );
    }
    for disk in &guest.disks {
        if disk.serial.len() > LONGEST_SERIAL {
            return refuse(
                format!("give a disk the serial number {:?}", disk.serial),
                "at most 20 bytes fit",
            );
        }
    }
    Ok(())
}

fn file(path: &Path, read_only: bool) -> Result<Value, DriverError> {
    let discard = if read_only { "ignore" } else { "unmap" };
    Ok(json!({
        "driver": "file", "filename": path_text(path)?, "read-only": read_only,
        "auto-read-only": false, "discard": discard,
    }))
}

/// One disk's nodes, the overlay above its base.
fn node(index: usize, disk: &Disk) -> Result<Value, DriverError> {
    let driver = match disk.format {
        DiskFormat::Raw => "raw",
        DiskFormat::Qcow2 => "qcow2",
    };
    let mut node = json!({
        "driver": driver, "node-name": format!("disk{index}"), "read-only": false,
        "discard": "unmap", "file": file(&disk.path, false)?,
    });
    match (disk.format, &disk.backing) {
        (DiskFormat::Qcow2, _) => node["backing"] = below(disk)?,
        (DiskFormat::Raw, None) => {}
        (DiskFormat::Raw, Some(base)) => {
            return Err(DriverError::Unsupported {
                what: format!(
                    "put the raw disk {} over {}",
                    disk.path.display(),
                    base.display()
                ),
                why: "only a qcow2 overlay has a base".to_owned(),
            });
        }
    }
    Ok(node)
}

/// What an overlay reads from: its layers, then its base. An explicit null keeps QEMU from opening
/// whatever the header names.
fn below(disk: &Disk) -> Result<Value, DriverError> {
    let mut below = match &disk.backing {
        Some(base) => json!({"driver": "raw", "read-only": true, "file": file(base, true)?}),
        None => Value::Null,
    };
    for layer in disk.layers.iter().rev() {
        below = json!({
            "driver": "qcow2", "read-only": true, "file": file(layer, true)?, "backing": below,
        });
    }
    Ok(below)
}

fn device(index: usize, disk: &Disk, bus: DiskBus) -> Value {
    let mut device = json!({"drive": format!("disk{index}"), "id": format!("dev{index}"), "serial": disk.serial});
    match bus {
        DiskBus::Virtio => device["driver"] = "virtio-blk-pci".into(),
        DiskBus::Nvme => device["driver"] = "nvme".into(),
        DiskBus::Scsi => {
            device["driver"] = "scsi-hd".into();
            device["bus"] = "scsi0.0".into();
        }
        DiskBus::Sata => {
            device["driver"] = "ide-hd".into();
            device["bus"] = format!("ide.{index}").into();
        }
    }
    if index == 0 {
        device["bootindex"] = 0.into();
    }
    device
}

/// The seed is a CD-ROM: on virtio-scsi for guests with virtio (the smaller kernels for virtual
/// machines have no AHCI), else on AHCI's last port.
fn add_seed(args: &mut Arguments, seed: &Path, bus: DiskBus) -> Result<(), DriverError> {
    args.block(&json!({
        "driver": "raw", "node-name": "seed", "read-only": true, "file": file(seed, true)?,
    }));
    let device = if has_virtio(bus) {
        json!({"driver": "scsi-cd", "drive": "seed", "bus": "scsi0.0"})
    } else {
        json!({"driver": "ide-cd", "drive": "seed", "bus": format!("ide.{}", SATA_PORTS - 1)})
    };
    args.device(device);
    Ok(())
}
