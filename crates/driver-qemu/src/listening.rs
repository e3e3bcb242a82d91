//! Which agents listen in a running guest.
//!
//! QEMU drops what is sent to a port that the guest has not opened, so whoever asks an agent that is
//! not there waits for nothing. The machine knows which ports are open, and its monitor tells
//! (`query-chardev`, qapi/char.json: `frontend-open`).

use crate::argv;
use crate::place::Place;
use crate::qmp::Qmp;
use crate::wire::{Deadline, WireError};
use stampo_driver::Listening;
use std::time::Duration;

/// How long the monitor may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(5);

/// Asks the machine.
pub(crate) fn ask(place: &Place, deadline: Deadline) -> Result<Listening, WireError> {
    let open = Qmp::connect(&place.qmp_socket(), deadline)?.open_channels(deadline)?;
    let is_open = |id: &str| open.iter().any(|open| open == id);
    Ok(Listening {
        own: is_open(argv::OWN_CHANNEL),
        qemu: is_open(argv::QEMU_CHANNEL),
    })
}
