//! The steps that only members of pools have: brought near its use, kept, and woken.
//!
//! ```text
//! spawned, loaded:  defined ─ prepared ─→ pooled ─ taken ─→ defined ─ … as any instant clone
//! warm:             verified ─ connected, paused ─→ pooled ─ taken ─ woken ─→ ready
//! ```
//! A warm member was proven when it was made. Its memory has not been used twice, so it is who it
//! was; waking gives it the time that it slept through and new randomness, and compares that again.

use super::fork::unproven;
use super::told::now_ns;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::passport::Sample;
use crate::work::Work;
use stampo_agent_protocol::{Evidence, Hex32, Request, Response, Secret, WakeRequest, unmet_wake};
use stampo_core::pool::{Depth, Membership};
use stampo_driver::{Power, Readiness};
use stampo_guest::passport::facts_of_values;
use stampo_store::GuestRow;
use std::time::Duration;

/// How long a member may take to wake. Many at once wait for each other.
const WAKE_LIMIT: Duration = Duration::from_secs(30);

/// Where the step that comes next is one of a pool's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    /// Its process is brought this near to running.
    Prepare(Readiness),
    /// It gets its address and is paused.
    Pause,
    /// It goes on.
    Wake,
    /// It is where the pool keeps it.
    Wait,
}

/// What a pool has done with a guest in this state, if anything.
pub(super) fn keeping(row: &GuestRow) -> Option<Keeping> {
    use stampo_core::guest::GuestState::{Defined, Pooled, Verified};
    let Membership { depth, taken, .. } = row.plan.member.as_ref()?;
    match (row.state, depth, taken) {
        (Defined, Depth::Spawned, false) => Some(Keeping::Prepare(Readiness::Spawned)),
        (Defined, Depth::Loaded, false) => Some(Keeping::Prepare(Readiness::Loaded)),
        (Verified, _, false) => Some(Keeping::Pause),
        (Pooled, _, false) => Some(Keeping::Wait),
        (Pooled, _, true) => Some(Keeping::Wake),
        _ => None,
    }
}

impl Engine {
    /// Brings a member's process as near to running as its pool wants.
    pub(super) fn ensure_prepared(
        &self,
        row: &mut GuestRow,
        readiness: Readiness,
    ) -> Result<String, EngineError> {
        let _turn = self.turns.take();
        // What it goes on from must not be missing after a power loss.
        self.wait_for_names(row)?;
        self.with_another_port(row, |id| self.driver.ensure_prepared(id, readiness))?;
        self.faults.reach("keep.prepared");
        self.write_guest_sidecar(row)?;
        Ok(String::new())
    }

    /// Gives a member its address, and pauses it.
    pub(super) fn ensure_paused(
        &self,
        work: &Work<'_>,
        row: &mut GuestRow,
    ) -> Result<String, EngineError> {
        let detail = self.ensure_connected(work, row)?;
        self.driver.ensure_paused(row.id)?;
        self.faults.reach("keep.paused");
        Ok(detail)
    }

    /// Lets a paused member go on, and proves it anew.
    pub(super) fn ensure_woken(
        &self,
        work: &Work<'_>,
        row: &mut GuestRow,
    ) -> Result<String, EngineError> {
        // One whose process has ended would boot: whoever takes a member has no time for that.
        if let Power::Stopped | Power::Undefined = self.driver.observe(row.id)? {
            return Err(unproven(row, "its process has ended".to_owned()));
        }
        self.driver.ensure_running(row.id)?;
        self.faults.reach("wake.running");
        let seed: [[u8; 32]; 2] = [rand::random(), rand::random()];
        let request = WakeRequest {
            clock_unix_ns: now_ns()?,
            seed: Secret::new(seed.concat()),
            nonce: Hex32(rand::random()),
        };
        let asked = Request::Wake(request.clone());
        let Response::Woken(woken) = self.driver.ask_agent(row.id, &asked, WAKE_LIMIT)? else {
            return Err(unproven(row, "it answered something else".to_owned()));
        };
        let unmet = unmet_wake(&request, &woken, now_ns()?);
        let mut missing: Vec<String> = unmet.iter().map(ToString::to_string).collect();
        let keys = woken.evidence.host_keys.iter().map(|key| &key.public);
        if !keys.eq(&row.host_keys) {
            missing.push("it shows other ssh host keys than it made".to_owned());
        }
        if !missing.is_empty() {
            return Err(unproven(row, missing.join("; ")));
        }
        self.prove_again(work, row, &woken.evidence)?;
        self.faults.reach("wake.proven");
        row.plan.personalisation = None;
        self.write_guest_sidecar(row)?;
        Ok(format!("{} ms in the guest", woken.took_us / 1000))
    }

    /// Records what a woken member showed if no other guest has shown the same.
    fn prove_again(
        &self,
        work: &Work<'_>,
        row: &GuestRow,
        evidence: &Evidence,
    ) -> Result<(), EngineError> {
        let told = "told by its agent when it was taken";
        let shown: [Sample<'_>; 2] = [
            ("fork.randomness", told, &evidence.randomness.0),
            ("fork.uuid", told, evidence.uuid.as_bytes()),
        ];
        let fresh = facts_of_values(&shown, &self.salt(&work.versions)?);
        let shared = self.store.write(|tx| {
            let mut facts: Vec<_> = tx.facts(row.id)?.into_iter().map(|row| row.fact).collect();
            facts.retain(|fact| !fresh.iter().any(|new| new.item == fact.item));
            facts.extend(fresh.iter().cloned());
            self.put_and_compare(tx, row, &facts)
        })?;
        if shared.is_empty() {
            return Ok(());
        }
        Err(EngineError::Duplicate {
            guest: row.name.clone(),
            what: shared.join("; "),
        })
    }
}
