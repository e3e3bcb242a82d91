//! Finding the process of a guest.
//!
//! Two sources, in this order: the name that was recorded before the process became QEMU, and the
//! monitor's socket, which tells by its peer credentials (`unix(7)`, `SO_PEERCRED`) which process
//! listens on it. The second finds a QEMU whose record was lost; it is then adopted by recording
//! its name.

use crate::place::Place;
use crate::process::{ProcessName, is_gone};
use crate::record;
use crate::wire::{Deadline, Wire, WireError};
use rustix::net::sockopt::socket_peercred;
use stampo_core::ids::GuestId;
use stampo_driver::DriverError;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// How long a look at the monitor's socket may take. Connecting needs no answer from QEMU.
const LOOK: Duration = Duration::from_secs(2);

/// The guest's process; `None` when it does not run. An error means that it is not known.
pub(crate) fn find(place: &Place, id: GuestId) -> Result<Option<ProcessName>, DriverError> {
    let path = place.process_path();
    let recorded: Option<ProcessName> = match record::read(&path) {
        // A record that can't be used says nothing; the socket decides.
        Err(error) if record::is_unusable(&error) => None,
        read => read?,
    };
    if let Some(name) = recorded
        && name
            .is_alive()
            .map_err(DriverError::io("check the process in", &path))?
    {
        return Ok(Some(name));
    }
    let found = listener(place, id).map_err(DriverError::io("look at", &place.qmp_socket()))?;
    if let Some(name) = &found {
        tracing::info!(guest = %id, pid = name.pid, "adopted a running guest");
        remember(place, name)?;
    }
    Ok(found)
}

/// Records the guest's process.
pub(crate) fn remember(place: &Place, name: &ProcessName) -> Result<(), DriverError> {
    record::write_passing(&place.process_path(), name)
}

/// Waits until the monitor of a guest that another process started listens; false when the guest's
/// process has ended instead.
pub(crate) fn await_listening(
    place: &Place,
    name: &ProcessName,
    deadline: Deadline,
) -> Result<bool, DriverError> {
    loop {
        match Wire::connect(&place.qmp_socket(), deadline) {
            Err(WireError::Connect(e))
                if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {}
            // It listens, even where it is too busy to answer.
            _ => return Ok(true),
        }
        let path = place.process_path();
        let alive = name.is_alive();
        if !alive.map_err(DriverError::io("check the process in", &path))? {
            return Ok(false);
        }
        if !deadline.sleep(Duration::from_millis(5)) {
            return Err(DriverError::Program {
                program: "qemu".to_owned(),
                why: "it was started before, and its monitor did not appear in time".to_owned(),
            });
        }
    }
}

/// The process that listens on the monitor's socket, if it was started for this guest.
fn listener(place: &Place, id: GuestId) -> io::Result<Option<ProcessName>> {
    let wire = match Wire::connect(&place.qmp_socket(), Deadline::after(LOOK)) {
        Ok(wire) => wire,
        Err(WireError::Connect(e))
            if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            return Ok(None);
        }
        Err(WireError::Connect(e) | WireError::Io(e)) => return Err(e),
        Err(e) => return Err(io::Error::other(e)),
    };
    peer(&wire, id)
}

/// The process at the other end, if its arguments name this guest.
pub(crate) fn peer(wire: &Wire, id: GuestId) -> io::Result<Option<ProcessName>> {
    let credentials = socket_peercred(wire.stream())?;
    let pid = u32::try_from(credentials.pid.as_raw_nonzero().get()).map_err(io::Error::other)?;
    let Some(name) = ProcessName::of(pid)? else {
        return Ok(None);
    };
    let arguments = match name.arguments() {
        Err(e) if is_gone(&e) => return Ok(None),
        read => read?,
    };
    if arguments.iter().all(String::is_empty) {
        // Its memory is gone already: it is just ending.
        return Ok(None);
    }
    let id = id.to_string();
    let ours = arguments
        .windows(2)
        .any(|pair| pair[0] == "-uuid" && pair[1] == id);
    if ours {
        return Ok(Some(name));
    }
    Err(io::Error::other(format!(
        "process {pid} listens there and is not this guest's QEMU"
    )))
}
