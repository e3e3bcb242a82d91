//! Leases: guests that end by themselves, or with the process that wanted them.
//!
//! A lease is a row beside its guest's. Nothing happens to the guest but when somebody looks, which is
//! [`Engine::tend_leases`]: it warns once, in the guest and in the audit, and ends what is due. What is
//! due is decided by `stampo_core::lease`.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::exec::{GuestCommand, Streams};
use crate::pool::Agreed;
use crate::remove::Removal;
use stampo_core::guest::GuestState;
use stampo_core::ids::GuestId;
use stampo_core::lease::{Due, Ending, Span};
use stampo_core::names::GuestName;
use stampo_driver::Power;
use stampo_image::process_identity::ProcessIdentity;
use stampo_store::{GuestRow, LeaseRow, Tx};
use std::io::Cursor;
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
            let due = self.due(&lease);
            if !matches!(due, Due::At(_)) {
                self.faults.reach("lease.due");
            }
            let done = match due {
                Due::End => self.end_lease(&row),
                Due::Warn => self.warn(&row),
                Due::At(_) => Ok(()),
            };
            if let Err(error) = done {
                failures.push(format!("lease of {}: {}", row.name, error.chain()));
            }
        }
        Ok(failures)
    }

    fn due(&self, lease: &LeaseRow) -> Due {
        let lives = self.is_tied_to_living(lease);
        lease.lease.due(self.now_ms(), lives)
    }

    /// A guest and its lease as they are in this transaction, if the lease asks for this still.
    /// Others may have changed it, and removed or renamed the guest, since it was listed.
    fn still_due(
        &self,
        tx: &Tx<'_>,
        id: GuestId,
        due: Due,
    ) -> Result<Option<(GuestRow, LeaseRow)>, EngineError> {
        let lease = tx.lease(id)?.filter(|lease| self.due(lease) == due);
        Ok(tx.guest(id)?.zip(lease))
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
    fn end_lease(&self, listed: &GuestRow) -> Result<(), EngineError> {
        // One that the driver has lost may run all the same.
        self.power(listed);
        let claimed = self.store.write_durably(|tx| {
            let Some((mut row, lease)) = self.still_due(tx, listed.id, Due::End)? else {
                return Ok(None);
            };
            let keep = (lease.lease.ending == Ending::Trash).then_some(TRASH_GRACE);
            if keep.is_some() {
                // Its row stays: with its lease it would end again when it is brought back.
                tx.delete_lease(row.id)?;
                if row.state == GuestState::Trashed {
                    return Ok(None);
                }
            }
            let ending = lease.lease.ending.as_str();
            self.audit(tx, "lease end", row.name.as_str(), ending)?;
            let operation = self.claim_unasked(tx, &mut row, Removal { keep, force: true })?;
            Ok::<_, EngineError>(Some((operation, row)))
        })?;
        let Some((operation, row)) = claimed else {
            return Ok(());
        };
        self.faults.reach("lease.claimed");
        self.settle_claimed(operation, &[row])?;
        self.faults.reach("lease.ended");
        Ok(())
    }

    /// Says on the terminals of a guest that its end is near, if it can be said, and in the audit.
    fn warn(&self, listed: &GuestRow) -> Result<(), EngineError> {
        let warned = self.store.write(|tx| {
            let Some((row, mut lease)) = self.still_due(tx, listed.id, Due::Warn)? else {
                return Ok(None);
            };
            let text = self.warning(&row, &lease);
            lease.lease.warned = true;
            tx.put_lease(&lease)?;
            self.audit(tx, "lease warn", row.name.as_str(), &text)?;
            Ok::<_, EngineError>(Some((row, text)))
        })?;
        let Some((row, text)) = warned else {
            return Ok(());
        };
        if !matches!(self.driver.observe(row.id), Ok(Power::Running { .. })) {
            return Ok(());
        }
        if let Err(error) = self.tell_all(&row, text) {
            let error = error.chain();
            tracing::info!(guest = %row.name, %error, "nobody was told in the guest that its lease ends");
        }
        Ok(())
    }

    fn tell_all(&self, row: &GuestRow, text: String) -> Result<i32, EngineError> {
        let wall = GuestCommand {
            argv: vec![WALL.to_owned()],
            limit: Some(WARN_LIMIT),
            ..GuestCommand::default()
        };
        let streams = Streams {
            stdin: Some(Box::new(Cursor::new(text.into_bytes()))),
            stdin_first: true,
            stdout: &mut std::io::sink(),
            stderr: &mut std::io::sink(),
            signal: &mut || None,
        };
        self.exec_in(row, &wall, streams)
    }

    fn warning(&self, row: &GuestRow, lease: &LeaseRow) -> String {
        let left_ms = lease.lease.until_ms.saturating_sub(self.now_ms()).max(0);
        let left = Span::of_seconds(left_ms.cast_unsigned().div_ceil(1000));
        let end = match lease.lease.ending {
            Ending::Remove => "removed",
            Ending::Trash => "stopped and put into the trash",
        };
        format!(
            "{} is {end} in {left}; on its host: stampo lease set {} 1h",
            row.name, row.name
        )
    }
}

fn missing(name: &GuestName) -> EngineError {
    EngineError::NotFound {
        what: "guest",
        name: name.to_string(),
    }
}
