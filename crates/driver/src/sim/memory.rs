//! Memory images of simulated guests: real files and the real manifest, with little in them.
//!
//! Which guests fit which image is decided as a real driver decides it, over the simulated
//! machine's own description.

use super::state::Guest;
use crate::memory_image::{already_resumed, create_secret, machine_hash, not_to_be_frozen};
use crate::{DriverError, Ensured, GuestDefinition, MemoryImage, MemoryImageDir, Start};
use std::io::Write;

/// The driver's name in manifests.
const DRIVER: &str = "simulated";

/// What the memory of every simulated guest begins with.
const MEMORY: &[u8] = b"the memory of a simulated guest\n";
/// The devices of every simulated guest.
const STATE: &[u8] = b"the devices of a simulated guest\n";

/// What a start does with memory images; the one that the guest goes on from.
pub(super) fn begin(guest: &Guest) -> Result<Option<MemoryImage>, DriverError> {
    let definition = &guest.definition;
    if let Start::BootToFreeze { image } = &definition.start {
        MemoryImageDir::at(image).prepare(definition.hardware.memory.bytes())?;
    }
    let origin = origin(definition)?;
    if origin.is_some() && guest.resumed {
        return Err(already_resumed(definition));
    }
    Ok(origin)
}

/// The image that a guest is to go on from, which fits it.
pub(super) fn origin(guest: &GuestDefinition) -> Result<Option<MemoryImage>, DriverError> {
    let Start::Resume { image } = &guest.start else {
        return Ok(None);
    };
    let dir = MemoryImageDir::at(image);
    let image = dir.complete()?;
    dir.check_fits(&image, DRIVER, &machine(guest), guest)?;
    Ok(Some(image))
}

/// Writes the image of a running guest, or finds the one that was written before.
pub(super) fn freeze(guest: &Guest) -> Result<(Ensured, MemoryImage), DriverError> {
    let definition = &guest.definition;
    let Start::BootToFreeze { image } = &definition.start else {
        return Err(not_to_be_frozen(definition));
    };
    let dir = MemoryImageDir::at(image);
    if guest.run.is_none() {
        let image = dir.read()?.ok_or(DriverError::NotRunning(definition.id))?;
        return Ok((Ensured::Unchanged, image));
    }
    if guest.hold.is_some() {
        return Err(DriverError::NotRunning(definition.id));
    }
    // A manifest beside a running guest: the end of its process was not recorded any more.
    if let Some(image) = dir.read()? {
        return Ok((Ensured::Changed, image));
    }
    let write = || -> std::io::Result<()> {
        let mut memory = std::fs::OpenOptions::new().write(true).open(dir.memory())?;
        memory.write_all(MEMORY)?;
        let _ = std::fs::remove_file(dir.state());
        create_secret(&dir.state())?.write_all(STATE)
    };
    write().map_err(DriverError::io("write", dir.path()))?;
    let image = manifest(definition);
    dir.seal(&image, 0o400)?;
    Ok((Ensured::Changed, image))
}

fn manifest(guest: &GuestDefinition) -> MemoryImage {
    let machine = machine(guest);
    MemoryImage {
        driver: DRIVER.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        machine_type: "simulated-1".to_owned(),
        machine_hash: machine_hash(&machine),
        machine,
        memory_bytes: guest.hardware.memory.bytes(),
        state_bytes: STATE.len() as u64,
        macs: guest.nics.iter().map(|nic| nic.mac).collect(),
        generation_id: guest.generation_id,
        saved_after_us: 0,
    }
}

fn machine(guest: &GuestDefinition) -> Vec<String> {
    let hardware = &guest.hardware;
    let mut lines = vec![
        format!("processors {}", hardware.cpus),
        format!("memory {}", hardware.memory.bytes()),
    ];
    lines.extend(
        guest
            .disks
            .iter()
            .map(|_| format!("disk {:?}", hardware.disk_bus)),
    );
    lines.extend(
        guest
            .nics
            .iter()
            .map(|nic| format!("interface {:?}", nic.model)),
    );
    lines
}
