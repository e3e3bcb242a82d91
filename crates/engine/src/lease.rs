//! Leases: guests that end by themselves, or with the process that wanted them.
//!
//! A lease is a row beside its guest's. Nothing happens to the guest but when somebody looks, which is
//! [`Engine::tend_leases`]: it warns once, in the audit, and ends what is due. What is due is decided by
//! `stampo_core::lease`. The warning in the guest is [`Engine::say_in_guest`], apart, since a guest may
//! take its time and nobody else's lease waits for that.
//!
//! A row that has rotted ends nothing: its guest stays until somebody gives it a lease again.

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

/// Every lease, with the guests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestLeases {
    /// Those that can be relied on, the one that ends first at the front.
    pub right: Vec<(GuestRow, LeaseRow)>,
    /// The guests whose lease has rotted.
    pub damaged: Vec<GuestName>,
}

/// What one look at the leases came to.
#[derive(Debug, Default)]
pub struct LeasesTended {
    /// What is to be said in guests.
    pub warnings: Vec<LeaseWarning>,
    /// Why a lease could not be ended; it is tried again at the next look.
    pub failures: Vec<String>,
}

/// What is to be said in a guest whose lease ends soon. It is in the audit already.
#[derive(Debug)]
pub struct LeaseWarning {
    row: GuestRow,
    text: String,
}

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

    /// Every lease.
    pub fn leases(&self) -> Result<GuestLeases, EngineError> {
        self.store.read(|tx| {
            let leases = tx.leases()?;
            let mut found = GuestLeases::default();
            for lease in leases.right {
                // One whose row can't be found goes with it.
                if let Some(row) = tx.guest(lease.lease.guest)? {
                    found.right.push((row, lease));
                }
            }
            for id in leases.damaged {
                found.damaged.extend(tx.guest(id)?.map(|row| row.name));
            }
            Ok(found)
        })
    }

    /// Ends the leases that are due, and records the warnings that are: at most so many.
    ///
    /// One that can't be ended now does not keep the others: why is returned, and it is tried again.
    pub fn tend_leases(&self, most_warnings: usize) -> Result<LeasesTended, EngineError> {
        let leases = self.leases()?;
        let mut tended = LeasesTended::default();
        for (row, lease) in leases.right {
            let due = self.due(&lease);
            if !matches!(due, Due::At(_)) {
                self.faults.reach("lease.due");
            }
            let done = match due {
                Due::End => self.end_lease(&row),
                Due::Warn if tended.warnings.len() < most_warnings => self
                    .warn(&row)
                    .map(|warning| tended.warnings.extend(warning)),
                Due::Warn | Due::At(_) => Ok(()),
            };
            if let Err(error) = done {
                let why = format!("lease of {}: {}", row.name, error.chain());
                tended.failures.push(why);
            }
        }
        let damaged = leases
            .damaged
            .iter()
            .map(|name| damaged_lease(name).chain());
        tended.failures.extend(damaged);
        Ok(tended)
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

    /// Whether a guest's lease is over, and nobody wants the guest back.
    pub(crate) fn is_unwanted(&self, tx: &Tx<'_>, id: GuestId) -> Result<bool, EngineError> {
        let due = self.still_due(tx, id, Due::End)?;
        Ok(due.is_some_and(|(_, lease)| lease.lease.ending == Ending::Remove))
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

    /// Says in the audit that a guest's end is near; what is to be said in the guest.
    fn warn(&self, listed: &GuestRow) -> Result<Option<LeaseWarning>, EngineError> {
        self.store.write(|tx| {
            let Some((row, mut lease)) = self.still_due(tx, listed.id, Due::Warn)? else {
                return Ok(None);
            };
            let text = self.warning(&row, &lease);
            lease.lease.warned = true;
            tx.put_lease(&lease)?;
            self.audit(tx, "lease warn", row.name.as_str(), &text)?;
            Ok(Some(LeaseWarning { row, text }))
        })
    }

    /// Says on the terminals of a guest that its end is near, if it can be said. This takes as long
    /// as the guest does, up to about a minute.
    pub fn say_in_guest(&self, warning: &LeaseWarning) {
        let LeaseWarning { row, text } = warning;
        if !matches!(self.driver.observe(row.id), Ok(Power::Running { .. })) {
            return;
        }
        if let Err(error) = self.caught(|| self.tell_all(row, text.clone())) {
            let error = error.chain();
            tracing::info!(guest = %row.name, %error, "nobody was told in the guest that its lease ends");
        }
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

/// Nothing ends by a lease that has rotted.
fn damaged_lease(name: &GuestName) -> EngineError {
    EngineError::Conflict {
        act: format!("see to the lease of {name}"),
        why: format!(
            "its row in the catalog is damaged, so {name} stays; give it another: stampo lease set \
             {name} 1h, or none: stampo lease clear {name}"
        ),
    }
}

fn missing(name: &GuestName) -> EngineError {
    EngineError::NotFound {
        what: "guest",
        name: name.to_string(),
    }
}
