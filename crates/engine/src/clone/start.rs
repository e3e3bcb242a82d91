//! Starting a guest, with another port when something else took the reserved one.

use super::{PORTS, is_free};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::sidecar::GUEST;
use stampo_core::ids::GuestId;
use stampo_driver::{DriverError, Ensured};
use stampo_store::GuestRow;
use std::collections::BTreeSet;

/// How often another port is tried.
const PORT_TRIES: usize = 5;

impl Engine {
    /// The last step of a clone: starts it, if that was asked for.
    pub(super) fn ensure_started(&self, row: &mut GuestRow) -> Result<String, EngineError> {
        // What was written into the guest is not needed any more, and some of it is secret.
        row.plan.personalisation = None;
        if !row.plan.start {
            return Ok("not started, as asked".to_owned());
        }
        self.start_row(row)?;
        Ok(String::new())
    }

    /// Starts the guest of this row unless it runs.
    pub(crate) fn start_row(&self, row: &mut GuestRow) -> Result<Ensured, EngineError> {
        self.with_another_port(row, |id| self.driver.ensure_running(id))
    }

    /// Does what starts a process for this row; when another has taken its port, with another one.
    pub(super) fn with_another_port(
        &self,
        row: &mut GuestRow,
        start: impl Fn(GuestId) -> Result<Ensured, DriverError>,
    ) -> Result<Ensured, EngineError> {
        for tried in 0..PORT_TRIES {
            match start(row.id) {
                Err(DriverError::Busy { .. })
                    if row.plan.nics.iter().any(|n| n.ssh_port.is_some()) =>
                {
                    self.reserve_other_port(row)?;
                    self.driver.ensure_defined(&self.definition(row)?)?;
                }
                other => {
                    let ensured = other?;
                    if tried > 0 {
                        self.renew_guest_sidecar(row)?;
                    }
                    return Ok(ensured);
                }
            }
        }
        Ok(start(row.id)?)
    }

    /// Writes the sidecar again if there is one. The old one names a port that another guest may be
    /// given now.
    fn renew_guest_sidecar(&self, row: &GuestRow) -> Result<(), EngineError> {
        if self.guest_dir(row.id).join(GUEST).exists() {
            self.write_guest_sidecar(row)?;
        }
        Ok(())
    }

    fn reserve_other_port(&self, row: &mut GuestRow) -> Result<(), EngineError> {
        self.store.write(|tx| {
            let taken = tx.ports()?;
            let free = free_port(&taken);
            for nic in &mut row.plan.nics {
                if nic.ssh_port.is_some() {
                    nic.ssh_port = free;
                }
            }
            tx.update_guest(row)?;
            tx.replace_nics(row)
        })?;
        Ok(())
    }
}

/// The first port that no guest holds and nothing listens at.
pub(crate) fn free_port(taken: &BTreeSet<u16>) -> Option<u16> {
    PORTS
        .into_iter()
        .find(|port| !taken.contains(port) && is_free(*port))
}
