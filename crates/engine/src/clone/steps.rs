//! The steps of one guest: each arm one `ensure`, one row update, one event.
//!
//! Its files get their names one after the other, and one fsync of its directory makes them durable:
//! that of the sidecar, the last of them, before the guest counts as *verified*.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::passport::of_item;
use crate::work::Work;
use stampo_core::guest::GuestState;
use stampo_core::identity::{IdentityFact, Verdict, verdict};
use stampo_core::names::GuestName;
use stampo_store::{GuestRow, Tx};
use std::time::Instant;

impl Engine {
    /// Takes a guest from the state in its row to `ready`.
    pub(crate) fn make(&self, work: &Work<'_>, row: &mut GuestRow) -> Result<(), EngineError> {
        if matches!(row.state, GuestState::DiskReady | GuestState::Defined) {
            // Begun by a process that is gone. The row may have survived a power loss that the names
            // did not survive; what is there is found again.
            row.state = GuestState::Planned;
        }
        while let Some(next) = row.state.next() {
            if work.is_cancelled() {
                return Err(EngineError::Cancelled);
            }
            let mut start = Instant::now();
            let is_fork = row.plan.fork.is_some();
            let (phase, detail) = match row.state {
                GuestState::Planned => ("disk", self.ensure_disk(row)?),
                GuestState::DiskReady => ("define", self.ensure_defined(row)?),
                GuestState::Defined if is_fork => {
                    ("identify", self.ensure_identified(work, row, &mut start)?)
                }
                GuestState::Verified if is_fork => ("connect", self.ensure_connected(row)?),
                GuestState::Defined => ("verify", self.ensure_verified(work, row)?),
                GuestState::Verified => ("start", self.ensure_started(row)?),
                GuestState::Ready | GuestState::Trashed | GuestState::Destroying => return Ok(()),
            };
            self.faults.reach(&format!("clone.before.{next}"));
            self.advance(work, row, next, (phase, &detail, start.elapsed()))?;
        }
        Ok(())
    }

    fn ensure_defined(&self, row: &mut GuestRow) -> Result<String, EngineError> {
        self.driver.ensure_defined(&self.definition(row)?)?;
        Ok(String::new())
    }

    /// Reads the guest's passport from its disk and refuses a guest that shares an item.
    fn ensure_verified(&self, work: &Work<'_>, row: &mut GuestRow) -> Result<String, EngineError> {
        let facts = self.facts_from_disk(row, &work.versions)?;
        // One transaction: of two guests that are verified at once, the later sees the earlier.
        let shared = self
            .store
            .write(|tx| self.put_and_compare(tx, row, &facts))?;
        if !shared.is_empty() && row.plan.personalisation.is_some() {
            let what = shared.join("; ");
            return Err(EngineError::Duplicate {
                guest: row.name.clone(),
                what,
            });
        }
        // With this all names in the guest's directory are durable.
        self.write_guest_sidecar(row)?;
        Ok(format!("{} identity items", facts.len()))
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
