//! How far simulated guests have been started: prepared, running, paused.
//!
//! Each function changes what is known of one guest; the caller holds the lock and writes it down.
//! Ports are the caller's to check, before a process begins.

use super::agent::Inside;
use super::memory;
use super::state::{Guest, Hold, Run, Shelf};
use crate::memory_image::{already_started, nothing_to_prepare};
use crate::{DriverError, Ensured, MemoryImage, Readiness, Start};

/// Refuses a start, for the port of another.
pub(super) type CheckPorts<'a> = &'a dyn Fn(&Guest) -> Result<(), DriverError>;

/// Starts a guest, or lets it go on, from wherever it is.
pub(super) fn run(
    guest: &mut Guest,
    shelf: &Shelf,
    check_ports: CheckPorts<'_>,
) -> Result<Ensured, DriverError> {
    end_outdated(guest);
    match (&guest.run, &guest.hold) {
        (Some(_), None) => return Ok(Ensured::Unchanged),
        (Some(_), Some(Hold::Paused)) => guest.hold = None,
        (Some(_), Some(Hold::Prepared { .. })) => {
            let origin = memory::origin(&guest.definition)?;
            execute(guest, shelf, origin.as_ref())?;
        }
        (None, _) => {
            check_ports(guest)?;
            let origin = memory::begin(guest)?;
            guest.run = Some(Run::begin());
            execute(guest, shelf, origin.as_ref())?;
        }
    }
    Ok(Ensured::Changed)
}

/// What becomes of a guest with its first instruction.
fn execute(
    guest: &mut Guest,
    shelf: &Shelf,
    origin: Option<&MemoryImage>,
) -> Result<(), DriverError> {
    guest.hold = None;
    guest.links_down = origin.is_some();
    guest.resumed |= guest.links_down;
    guest.inside = Inside::after_start(guest, origin);
    shelf.append_console(guest, "simulated guest started\n")
}

/// Brings a guest as far as this.
pub(super) fn prepare(
    guest: &mut Guest,
    readiness: Readiness,
    check_ports: CheckPorts<'_>,
) -> Result<Ensured, DriverError> {
    if !matches!(guest.definition.start, Start::Resume { .. }) {
        return Err(nothing_to_prepare(&guest.definition));
    }
    end_outdated(guest);
    match &guest.hold {
        Some(Hold::Prepared { readiness: now, .. }) if *now >= readiness => {
            return Ok(Ensured::Unchanged);
        }
        Some(Hold::Prepared { .. }) => {}
        Some(Hold::Paused) => return Err(already_started(&guest.definition)),
        None if guest.run.is_some() => return Err(already_started(&guest.definition)),
        None => {
            check_ports(guest)?;
            memory::begin(guest)?;
            guest.run = Some(Run::begin());
        }
    }
    guest.hold = Some(Hold::Prepared {
        readiness,
        definition: Box::new(guest.definition.clone()),
    });
    Ok(Ensured::Changed)
}

/// Ends a process that was prepared for another definition.
fn end_outdated(guest: &mut Guest) {
    if let Some(Hold::Prepared { definition, .. }) = &guest.hold
        && !definition.is_same_machine(&guest.definition)
    {
        guest.end();
    }
}

/// Stops a running guest.
pub(super) fn pause(guest: &mut Guest) -> Result<Ensured, DriverError> {
    if !guest.is_started() {
        return Err(DriverError::NotRunning(guest.definition.id));
    }
    if guest.hold.is_some() {
        return Ok(Ensured::Unchanged);
    }
    guest.hold = Some(Hold::Paused);
    Ok(Ensured::Changed)
}
