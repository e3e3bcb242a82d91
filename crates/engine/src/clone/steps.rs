//! The steps of one guest: each arm one `ensure` and one event.
//!
//! The row is written when something relies on it: before the guest starts, and when it is complete.
//! Recovery begins with a guest's first step whether its row says *planned*, *disk ready* or
//! *defined*, so nobody asks which of them was the last. A fork starts early, and its row is written
//! after each step.
//!
//! Its files get their names one after the other, and one fsync of its directory makes them durable:
//! that of the sidecar, the last of them, before the guest counts as *verified*.

use super::keep::{Keeping, keeping};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::passport::of_item;
use crate::work::Work;
use stampo_core::guest::GuestState;
use stampo_core::identity::{IdentityFact, Verdict, verdict};
use stampo_core::names::GuestName;
use stampo_store::{EventRow, GuestRow, Tx};
use std::time::Instant;

/// What was done to a guest since its row was written.
#[derive(Default)]
struct Unsaved {
    events: Vec<EventRow>,
    /// Its passport, as long as it has not been compared.
    read: Option<Read>,
}

/// Which part of its way a guest goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leg {
    /// All of it.
    Whole,
    /// A fork goes until it is plugged in, any other guest all of it.
    UntilPluggedIn,
    /// What a fork has left from there on.
    Rest,
}

/// A passport that was read from a disk.
struct Read {
    facts: Vec<IdentityFact>,
    /// Whether an item that another guest has, too, is a failure.
    must_differ: bool,
}

/// The state that the next step leads to.
fn next(row: &GuestRow) -> Option<GuestState> {
    match keeping(row) {
        Some(Keeping::Prepare(_) | Keeping::Pause) => Some(GuestState::Pooled),
        Some(Keeping::Wake) => Some(GuestState::Ready),
        Some(Keeping::Wait) => None,
        None => row.state.next(),
    }
}

impl Engine {
    /// Takes a guest from the state in its row to `ready`, or to where its pool keeps it.
    pub(crate) fn make(
        &self,
        work: &Work<'_>,
        row: &mut GuestRow,
        leg: Leg,
    ) -> Result<(), EngineError> {
        let is_taken = row.plan.member.as_ref().is_some_and(|m| m.taken);
        if matches!(row.state, GuestState::DiskReady | GuestState::Defined) && !is_taken {
            // Begun by a process that is gone. The row may have survived a power loss that the names
            // did not survive; what is there is found again.
            row.state = GuestState::Planned;
        }
        let mut unsaved = Unsaved::default();
        while let Some(next) = next(row) {
            if work.is_cancelled() {
                return Err(EngineError::Cancelled);
            }
            let mut start = Instant::now();
            let is_fork = row.plan.fork.is_some();
            let kept = keeping(row);
            let (phase, detail) = match row.state {
                _ if kept == Some(Keeping::Pause) => ("pause", self.ensure_paused(work, row)?),
                _ if kept == Some(Keeping::Wake) => ("wake", self.ensure_woken(work, row)?),
                GuestState::Defined if let Some(Keeping::Prepare(readiness)) = kept => {
                    ("prepare", self.ensure_prepared(row, readiness)?)
                }
                GuestState::Planned => ("disk", self.ensure_disk(row)?),
                GuestState::DiskReady => ("define", self.ensure_defined(row)?),
                GuestState::Defined if is_fork => {
                    ("identify", self.ensure_identified(work, row, &mut start)?)
                }
                GuestState::Verified if is_fork && leg == Leg::UntilPluggedIn => {
                    let boots = self.ensure_plugged_in(row)?;
                    if boots.is_none() {
                        return self.end_leg(work, row, &mut unsaved, start);
                    }
                    ("connect", boots.unwrap_or_default())
                }
                GuestState::Verified if is_fork && leg == Leg::Rest => {
                    ("connect", self.ensure_addressed(work, row)?)
                }
                GuestState::Verified if is_fork => ("connect", self.ensure_connected(work, row)?),
                GuestState::Defined => ("verify", self.ensure_verified(work, row, &mut unsaved)?),
                GuestState::Verified => ("start", self.ensure_started(row)?),
                GuestState::Pooled
                | GuestState::Ready
                | GuestState::Trashed
                | GuestState::Destroying => return Ok(()),
            };
            self.faults.reach(&format!("clone.before.{next}"));
            let event = work.ended(row.name.as_str(), phase, &detail, start.elapsed());
            unsaved.events.push(event);
            row.state = next;
            let starts = next == GuestState::Verified && row.plan.start;
            if is_fork || starts || next.is_complete() {
                self.save(work, row, &mut unsaved)?;
            }
            self.faults.reach(&format!("clone.{next}"));
        }
        Ok(())
    }

    /// Ends the way of a fork for now: it is plugged in.
    fn end_leg(
        &self,
        work: &Work<'_>,
        row: &mut GuestRow,
        unsaved: &mut Unsaved,
        start: Instant,
    ) -> Result<(), EngineError> {
        let event = work.ended(row.name.as_str(), "link", "", start.elapsed());
        unsaved.events.push(event);
        self.save(work, row, unsaved)
    }

    /// Writes a guest's row, the events of the steps that led to its state, and its facts if they
    /// were read, unless they show that it shares an item: all in one transaction.
    fn save(
        &self,
        work: &Work<'_>,
        row: &mut GuestRow,
        unsaved: &mut Unsaved,
    ) -> Result<(), EngineError> {
        // Not before: a sidecar that was newer than the row would be that of a newer catalog.
        row.changed_ms = self.now_ms();
        let Unsaved { events, read } = std::mem::take(unsaved);
        work.record(&events, |tx| {
            if let Some(read) = &read {
                // Of two guests that are verified at once, the later sees the earlier.
                let shared = self.put_and_compare(tx, row, &read.facts)?;
                if !shared.is_empty() && read.must_differ {
                    let what = shared.join("; ");
                    return Err(EngineError::Duplicate {
                        guest: row.name.clone(),
                        what,
                    });
                }
            }
            Ok(tx.update_guest(row)?)
        })
    }

    fn ensure_defined(&self, row: &mut GuestRow) -> Result<String, EngineError> {
        self.driver.ensure_defined(&self.definition(row)?)?;
        Ok(String::new())
    }

    /// Reads the guest's passport from its disk, to be compared when it is saved, and writes the
    /// sidecar. A guest that turns out to share an item is destroyed with it.
    fn ensure_verified(
        &self,
        work: &Work<'_>,
        row: &mut GuestRow,
        unsaved: &mut Unsaved,
    ) -> Result<String, EngineError> {
        let facts = self.facts_from_disk(row, &work.versions)?;
        // With this all names in the guest's directory are durable.
        self.write_guest_sidecar(row)?;
        let detail = format!("{} identity items", facts.len());
        unsaved.read = Some(Read {
            facts,
            must_differ: row.plan.personalisation.is_some(),
        });
        Ok(detail)
    }

    /// Records a guest's facts; which of them another guest has too, and who.
    pub(super) fn put_and_compare(
        &self,
        tx: &Tx<'_>,
        row: &GuestRow,
        facts: &[IdentityFact],
    ) -> Result<Vec<String>, EngineError> {
        tx.put_facts(row.id, facts)?;
        let holders = tx.holders(row.id, facts)?;
        let mut shared = Vec::new();
        for fact in facts {
            let same = of_item(&holders, &fact.item);
            if let Verdict::Duplicated(with) = verdict(&row.name, fact, &same) {
                let with: Vec<&str> = with.iter().map(GuestName::as_str).collect();
                let with = with.join(", ");
                shared.push(format!("{} ({}) with {with}", fact.item, fact.location));
            }
        }
        Ok(shared)
    }
}
