//! Leases: guests that end by themselves, or with the process that wanted them.
//!
//! A lease is a row beside its guest's. Nothing happens to the guest but when somebody looks, which is
//! [`Engine::tend_leases`]: it warns once, in the guest and in the audit, and ends what is due. What is
//! due is decided by `stampo_core::lease`.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::pool::Agreed;
use crate::remove::Removal;
use stampo_core::guest::GuestState;
use stampo_core::lease::{Due, Ending, Span};
use stampo_core::names::GuestName;
use stampo_driver::{ExecRequest, Power};
use stampo_image::process_identity::ProcessIdentity;
use stampo_store::{GuestRow, LeaseRow};
use std::time::Duration;

/// How long a guest whose lease ended can be brought back, where its lease says so.
pub const TRASH_GRACE: Duration = Duration::from_secs(24 * 3600);

/// How long the warning in a guest may take.
const WARN_LIMIT: Duration = Duration::from_secs(10);

/// The program that writes to everybody who is logged in (wall(1), in Debian's essential bsdutils).
const WALL: &str = "/usr/bin/wall";

impl Engine {
    /// Gives a guest a lease from now on, in place of the one that it may have.
    pub fn set_lease(&self, name: &GuestName, agreed: Agreed) -> Result<LeaseRow, EngineError> {
        self.ready_guest(name, "give a lease to")?;
        self.store.write_durably(|tx| {
            let row = tx.guest_named(name)?.ok_or_else(|| missing(name))?;
            let mut lease = self.lease_row(&row, agreed);
            // Only whoever it is tied to can say that it no longer is.
            let before = tx.lease(row.id)?.and_then(|before| before.tied_to);
            if before.as_ref() != Some(&self.owner()) {
                lease.tied_to = lease.tied_to.or(before);
            }
            tx.put_lease(&lease)?;
            self.audit(tx, "lease set", name.as_str(), &agreed.span.to_string())?;
            Ok(lease)
        })
    }

    /// Lets a guest live on. Whether it had a lease.
    pub fn clear_lease(&self, name: &GuestName) -> Result<bool, EngineError> {
        self.store.write_durably(|tx| {
            let row = tx.guest_named(name)?.ok_or_else(|| missing(name))?;
            let had = tx.delete_lease(row.id)?;
            if had {
                self.audit(tx, "lease clear", name.as_str(), "")?;
            }
            Ok(had)
        })
    }

    /// Every lease with its guest, the one that ends first at the front.
    pub fn leases(&self) -> Result<Vec<(GuestRow, LeaseRow)>, EngineError> {
        self.store.read(|tx| {
            let mut found = Vec::new();
            for lease in tx.leases()? {
                // One whose row can't be found goes with it.
                if let Some(row) = tx.guest(lease.lease.guest)? {
                    found.push((row, lease));
                }
            }
            Ok(found)
        })
    }

    /// Warns whoever uses a guest whose lease ends soon, and ends those that are due.
    ///
    /// One that can't be ended now does not keep the others: why is returned, and it is tried again.
    pub fn tend_leases(&self) -> Result<Vec<String>, EngineError> {
        let mut failures = Vec::new();
        for (row, lease) in self.leases()? {
            let done = match lease
                .lease
                .due(self.now_ms(), self.is_tied_to_living(&lease))
            {
                Due::End => self.end_lease(&row, &lease),
                Due::Warn => self.warn(&row, &lease),
                Due::At(_) => Ok(()),
            };
            if let Err(error) = done {
                let why = error.chain();
                tracing::warn!(guest = %row.name, error = %why, "its lease was not tended");
                failures.push(format!("lease of {}: {why}", row.name));
            }
        }
        Ok(failures)
    }

    fn is_tied_to_living(&self, lease: &LeaseRow) -> bool {
        let Some(owner) = &lease.tied_to else {
            return true;
        };
        // One that can't be read names nobody who could be waited for.
        serde_json::from_str::<ProcessIdentity>(owner)
            .is_ok_and(|owner| owner.is_alive().unwrap_or(true))
    }

    /// Ends a guest. One that something works on is left to that: it is looked at again.
    fn end_lease(&self, row: &GuestRow, lease: &LeaseRow) -> Result<(), EngineError> {
        let keep = match lease.lease.ending {
            Ending::Trash if row.state == GuestState::Trashed => return self.forget_lease(row),
            Ending::Trash => Some(TRASH_GRACE),
            Ending::Remove => None,
        };
        let removal = Removal { keep, force: true };
        self.store.write(|tx| {
            self.audit(
                tx,
                "lease end",
                row.name.as_str(),
                lease.lease.ending.as_str(),
            )
        })?;
        self.remove_all(std::slice::from_ref(&row.name), removal)?;
        self.faults.reach("lease.ended");
        match keep {
            // Its row is there still, and its lease with it.
            Some(_) => self.forget_lease(row),
            None => Ok(()),
        }
    }

    fn forget_lease(&self, row: &GuestRow) -> Result<(), EngineError> {
        self.store.write(|tx| tx.delete_lease(row.id))?;
        Ok(())
    }

    /// Says on the terminals of a guest that its end is near, if it can be said, and in the audit.
    fn warn(&self, row: &GuestRow, lease: &LeaseRow) -> Result<(), EngineError> {
        let left_ms = lease.lease.until_ms.saturating_sub(self.now_ms()).max(0);
        let left = Span::of_seconds(left_ms.cast_unsigned().div_ceil(1000));
        let end = match lease.lease.ending {
            Ending::Remove => "removed",
            Ending::Trash => "stopped and put into the trash",
        };
        let text = format!(
            "{} is {end} in {left}; on its host: stampo lease set {} 1h",
            row.name, row.name
        );
        self.store.write(|tx| {
            let mut warned = lease.clone();
            warned.lease.warned = true;
            tx.put_lease(&warned)?;
            self.audit(tx, "lease warn", row.name.as_str(), &text)
        })?;
        if !matches!(self.driver.observe(row.id), Ok(Power::Running { .. })) {
            return Ok(());
        }
        let request = ExecRequest {
            argv: vec![WALL.to_owned()],
            input: text.into_bytes(),
            timeout: WARN_LIMIT,
        };
        if let Err(error) = self.driver.agent_exec(row.id, &request) {
            tracing::info!(guest = %row.name, %error, "nobody was told in the guest that its lease ends");
        }
        Ok(())
    }
}

fn missing(name: &GuestName) -> EngineError {
    EngineError::NotFound {
        what: "guest",
        name: name.to_string(),
    }
}
