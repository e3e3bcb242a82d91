//! Freezing a running guest into a memory image.
//!
//! ```text
//! links down ─ stop ─ networks off ─ save the devices ─ end QEMU ─ make durable ─ manifest
//! ```
//! The memory is a file that QEMU maps shared, so it is saved by being left. The guest never runs
//! on after its state was saved: two guests with one memory and one disk would destroy both. A
//! freeze that was cut off is not continued; the guest is then only good for being ended.

use crate::argv::Machine;
use crate::hold::{Hold, Stage};
use crate::host::Host;
use crate::place::Place;
use crate::process::ProcessName;
use crate::qmp::Qmp;
use crate::resume::{DRIVER, READS_ONLY};
use crate::running;
use crate::wire::{Deadline, WireError};
use stampo_driver::memory_image::{create_secret, machine_hash, not_to_be_frozen};
use stampo_driver::{DriverError, Ensured, GuestDefinition, MemoryImage, MemoryImageDir, Start};
use std::fs::{self, File};
use std::time::{Duration, Instant};

/// How long QEMU may take to end once it is told: it writes what its disks still hold.
const GONE: Duration = Duration::from_secs(60);

/// Freezes the guest, or finds the image that was made before.
pub(crate) fn ensure(
    guest: &GuestDefinition,
    place: &Place,
    host: &Host,
) -> Result<(Ensured, MemoryImage), DriverError> {
    let limit = host.options().start_limit;
    let Some(_lock) = place.lock(limit)? else {
        return Err(crate::driver::busy(guest.name.as_str()));
    };
    let Start::BootToFreeze { image } = &guest.start else {
        return Err(not_to_be_frozen(guest));
    };
    let dir = MemoryImageDir::at(image);
    let Some(name) = running::find(place, guest.id)? else {
        let image = dir.read()?.ok_or(DriverError::NotRunning(guest.id))?;
        return Ok((Ensured::Unchanged, image));
    };
    if Hold::of(place, &name)?.is_some_and(|hold| hold.stage == Stage::Paused) {
        return Err(DriverError::NotRunning(guest.id));
    }
    let image = freeze(guest, place, host, &dir, &name, Deadline::after(limit))?;
    Ok((Ensured::Changed, image))
}

fn freeze(
    guest: &GuestDefinition,
    place: &Place,
    host: &Host,
    dir: &MemoryImageDir,
    name: &ProcessName,
    deadline: Deadline,
) -> Result<MemoryImage, DriverError> {
    let broken = || DriverError::io("look at the process of", place.dir());
    let args = name.arguments().map_err(broken())?;
    // From the process, not from the definition: that may have been changed meanwhile.
    let machine = Machine::read(&args);
    if machine.memory_file.as_deref() != Some(&dir.memory()) {
        return Err(not_to_be_frozen(guest));
    }
    let held = name.hold().map_err(broken())?;
    let held = held.ok_or(DriverError::NotRunning(guest.id))?;
    let mut qmp = Qmp::connect(&place.qmp_socket(), deadline).map_err(failed)?;
    let version = qmp.version(deadline).map_err(failed)?;
    // The guest may run in another QEMU than the one that is installed: both must know the way.
    let reads_only = version.min(host.qemu()?.version) >= READS_ONLY;
    let saved = save(&mut qmp, dir, &machine, reads_only, deadline)?;
    qmp.quit(deadline).map_err(failed)?;
    if !held.wait_gone(GONE).map_err(broken())? {
        return Err(failed(WireError::Timeout));
    }
    let facts = host.facts(Some(&machine.kind))?;
    let lines = crate::resume::lines(&args, &facts);
    let length = |path: &std::path::Path| {
        let found = fs::metadata(path).map_err(DriverError::io("look at", path))?;
        Ok::<_, DriverError>(found.len())
    };
    let image = MemoryImage {
        driver: DRIVER.to_owned(),
        version: version.to_string(),
        machine_type: machine.kind,
        machine_hash: machine_hash(&lines),
        machine: lines,
        memory_bytes: length(&dir.memory())?,
        state_bytes: length(&dir.state())?,
        macs: machine.macs,
        generation_id: machine.generation_id,
        saved_after_us: u64::try_from(saved.as_micros()).unwrap_or(u64::MAX),
    };
    // An older QEMU opens the memory for writing although it never writes to it.
    let mode = if reads_only { 0o400 } else { 0o600 };
    dir.seal(&image, mode)?;
    tracing::info!(guest = %guest.id, saved_after_us = image.saved_after_us, "frozen");
    Ok(image)
}

/// Stops the guest and saves its devices; how long that took from its last instruction.
fn save(
    qmp: &mut Qmp,
    dir: &MemoryImageDir,
    machine: &Machine,
    by_name: bool,
    deadline: Deadline,
) -> Result<Duration, DriverError> {
    let status = qmp.status(deadline).map_err(failed)?;
    if status != "running" {
        return Err(DriverError::Program {
            program: "qemu".to_owned(),
            why: format!(
                "the guest is {status:?}: a freeze of it was cut off, and it must be ended"
            ),
        });
    }
    let path = dir.state();
    let _ = fs::remove_file(&path);
    let state: File = create_secret(&path).map_err(DriverError::io("create", &path))?;
    qmp.set_links(&machine.netdevs, false, deadline)
        .map_err(failed)?;
    qmp.prepare_migration(deadline).map_err(failed)?;
    let begun = Instant::now();
    qmp.stop(deadline).map_err(failed)?;
    // A network of QEMU's own would be saved with the guest, and every fork would have to have it.
    qmp.remove_networks(&machine.beyond, deadline)
        .map_err(failed)?;
    qmp.save(&path, (!by_name).then_some(&state), deadline)
        .map_err(failed)?;
    Ok(begun.elapsed())
}

fn failed(error: WireError) -> DriverError {
    DriverError::Program {
        program: "qemu".to_owned(),
        why: format!("the guest was not frozen: {error}"),
    }
}
