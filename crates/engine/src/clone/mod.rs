//! Cloning: one transaction plans and reserves, then each guest goes through its steps.
//!
//! ```text
//! submit: version + host + inventory ─ plan_clone ─→ operation row + N guest rows (one commit)
//! run:    planned → disk_ready → defined → verified → ready      (what is committed: see steps.rs)
//! fail:   any → destroying → row gone                            (the others go on)
//! ```
//!
//! `run` is also recovery: it takes whatever rows the operation has and goes on from their states.

mod definition;
mod destroy;
mod disk;
mod elsewhere;
mod fork;
mod keep;
mod preflight;
mod start;
mod steps;
mod told;

pub(crate) use definition::extra_disk_name;
pub(crate) use disk::{Made, grow_partition};
pub(crate) use start::free_port;
pub(crate) use steps::Leg;

use crate::engine::Engine;
use crate::error::EngineError;
use crate::instant::Promises;
use crate::pool::Agreed;
use crate::version::Bare;
use crate::work::{Watch, Work};
use stampo_core::goal::CloneKind;
use stampo_core::guest::GuestState;
use stampo_core::ids::OperationId;
use stampo_core::instant::{HostMemory, MemoryFacts};
use stampo_core::lifecycle::standing_state;
use stampo_core::names::{NamePattern, VersionRef};
use stampo_core::plan::{
    ClonePlan, CloneSpec, GuestPlan, HostFacts, PlanRefusal, VersionFacts, plan_clone,
};
use stampo_image::durable;
use stampo_policy::Point;
use stampo_store::{GuestRow, OperationRow, OperationState, Tx, VersionRow};
use std::net::{Ipv4Addr, TcpListener};

/// The loopback ports that ssh is forwarded from.
const PORTS: std::ops::Range<u16> = 22_000..30_000;

/// What is known outside of the catalog before a plan is made.
pub(crate) struct Ground {
    host: HostFacts,
    promises: Promises,
}

impl Engine {
    /// What cloning would make. Reserves nothing.
    pub fn plan_clones(
        &self,
        version: &VersionRef,
        pattern: &NamePattern,
        spec: &CloneSpec,
    ) -> Result<ClonePlan, EngineError> {
        self.plan_on(&self.ground(spec)?, version, pattern, spec)
    }

    /// A plan for a host, which could be carried out.
    fn plan_on(
        &self,
        ground: &Ground,
        version: &VersionRef,
        pattern: &NamePattern,
        spec: &CloneSpec,
    ) -> Result<ClonePlan, EngineError> {
        let find = |tx: &Tx<'_>| self.find_version(tx, version, Bare::Clonable);
        self.remember_decision(Point::Clone, &self.store.read(find)?)?;
        let plan = self.store.read(|tx| {
            let row = find(tx)?;
            self.plan_in(tx, &row, pattern, spec, ground)
        })?;
        self.preflight(&plan)?;
        Ok(plan)
    }

    pub(crate) fn plan_in(
        &self,
        tx: &Tx<'_>,
        row: &VersionRow,
        pattern: &NamePattern,
        spec: &CloneSpec,
        ground: &Ground,
    ) -> Result<ClonePlan, EngineError> {
        let mut facts = version_facts(row, self.now_ms())?;
        facts.memory = self.memory_facts(row, spec)?;
        let host = HostFacts {
            memory: self.host_memory(tx, spec, &ground.promises)?,
            ..ground.host.clone()
        };
        let inventory = tx.inventory()?;
        let mut plan = plan_clone(
            pattern,
            spec,
            &facts,
            &host,
            &inventory,
            &mut Engine::random16,
        )?;
        plan.warnings.extend(self.gate_in(tx, Point::Clone, row)?);
        plan.warnings.extend(self.gate_approval(tx, row)?);
        Ok(plan)
    }

    /// Plans, reserves and records clones. Nothing but rows exists when this returns.
    pub fn submit_clone(
        &self,
        version: &VersionRef,
        pattern: &NamePattern,
        spec: &CloneSpec,
    ) -> Result<(OperationRow, ClonePlan), EngineError> {
        self.submit_leased(version, pattern, spec, None)
    }

    /// As [`Engine::submit_clone`], each with a lease from now on.
    pub fn submit_leased(
        &self,
        version: &VersionRef,
        pattern: &NamePattern,
        spec: &CloneSpec,
        agreed: Option<Agreed>,
    ) -> Result<(OperationRow, ClonePlan), EngineError> {
        let ground = self.ground(spec)?;
        self.plan_on(&ground, version, pattern, spec)?;
        // Durably: the guests' directories are, and without rows nobody would know them.
        self.store.write_durably(|tx| {
            let row = self.find_version(tx, version, Bare::Clonable)?;
            let plan = self.plan_in(tx, &row, pattern, spec, &ground)?;
            let subject = format!("{} guests of {}", plan.guests.len(), plan.version_label);
            let operation = self.new_operation("clone", &subject, serde_json::Value::Null);
            tx.insert_operation(&operation)?;
            for guest in &plan.guests {
                let row = self.guest_row_of(&plan, guest, operation.id);
                tx.insert_guest(&row)?;
                if let Some(agreed) = agreed {
                    tx.put_lease(&self.lease_row(&row, agreed))?;
                }
            }
            self.audit(tx, "clone", &plan.version_label, &subject)?;
            Ok((operation, plan))
        })
    }

    pub(crate) fn guest_row_of(
        &self,
        plan: &ClonePlan,
        guest: &GuestPlan,
        operation: OperationId,
    ) -> GuestRow {
        let now_ms = self.now_ms();
        GuestRow {
            id: guest.id,
            name: guest.name.clone(),
            version: plan.version,
            image: plan.image.clone(),
            kind: guest.kind,
            state: GuestState::Planned,
            operation: Some(operation),
            plan: guest.clone(),
            host_keys: Vec::new(),
            error: None,
            created_ms: now_ms,
            changed_ms: now_ms,
            keep_until_ms: None,
        }
    }

    pub(crate) fn ground(&self, spec: &CloneSpec) -> Result<Ground, EngineError> {
        Ok(Ground {
            host: self.host_facts(spec)?,
            promises: self.promises(spec)?,
        })
    }

    fn host_facts(&self, spec: &CloneSpec) -> Result<HostFacts, EngineError> {
        let guests_dir = self.driver.guests_dir();
        let reflink = stampo_image::copy::probe_reflink(guests_dir)
            .map_err(EngineError::io("examine", guests_dir))?;
        let wanted = usize::try_from(spec.count.unwrap_or(1)).unwrap_or(usize::MAX);
        let taken = self.store.read(|tx| tx.ports())?;
        // A few more than wanted: another process may reserve some before our transaction.
        let free = PORTS
            .filter(|port| !taken.contains(port))
            .filter(|port| is_free(*port));
        Ok(HostFacts {
            reflink,
            free: self.free_for_guests()?,
            free_ports: free.take(wanted.saturating_add(32)).collect(),
            memory: HostMemory::default(),
        })
    }

    /// Carries out the clones of an operation that this process has claimed, and ends it.
    ///
    /// Returns the guests that are complete. With some complete and some not it is
    /// [`EngineError::Partial`]; when cancelled, everything that was made is gone again.
    pub fn run_clone(&self, work: &Work<'_>) -> Result<Vec<GuestRow>, EngineError> {
        let mut rows = self.store.read(|tx| tx.guests_of_operation(work.id))?;
        rows.iter_mut().try_for_each(|row| self.undo_fork(row))?;
        self.make_directories(&rows)?;
        let all = rows.len();
        let make = |leg| move |row: &GuestRow| self.make_or_destroy(work, row.clone(), leg);
        let mut failures = self.on_each(&rows, make(Leg::UntilPluggedIn));
        // Forks do all the rest when each is itself: the programs that begin anew in one would take
        // the processors from the next.
        let plugged_in = self.store.read(|tx| tx.guests_of_operation(work.id))?;
        let plugged_in: Vec<GuestRow> = plugged_in.into_iter().filter(is_plugged_in).collect();
        if work.check_cancelled().is_ok() {
            failures.extend(self.on_each(&plugged_in, make(Leg::Rest)));
        }
        if work.check_cancelled().is_err() {
            return self.cancel_clones(work);
        }
        let made = self.store.read(|tx| tx.guests_of_operation(work.id))?;
        let (made, left): (Vec<GuestRow>, Vec<GuestRow>) = made.into_iter().partition(is_made);
        let failed = all - made.len();
        let Some(first) = failures.into_iter().next() else {
            work.end(OperationState::Done, None, |_| Ok(()))?;
            self.forget_secrets();
            return Ok(made);
        };
        if !left.is_empty() {
            // Nobody else would look for what could not be destroyed.
            work.release(&first);
            return Err(first);
        }
        let chain = first.chain();
        if made.is_empty() {
            work.end(OperationState::Failed, Some(&chain), |_| Ok(()))?;
            self.forget_secrets();
            return Err(first);
        }
        let partial = EngineError::Partial {
            act: "make",
            failed,
            all,
            first: chain,
        };
        work.end(OperationState::Done, Some(&partial.chain()), |_| Ok(()))?;
        self.forget_secrets();
        Err(partial)
    }

    /// Recovery of cloning. What was for a process that is gone, or for a time that is over, goes;
    /// the rest is gone on with.
    pub(crate) fn recover_clone(&self, work: &Work<'_>) -> Result<(), EngineError> {
        let (rows, unwanted) = self.store.read(|tx| {
            let rows = tx.guests_of_operation(work.id)?;
            let mut unwanted = Vec::new();
            for row in rows.iter().filter(|row| !is_made(row)) {
                if self.is_unwanted(tx, row.id)? {
                    unwanted.push(row.clone());
                }
            }
            Ok::<_, EngineError>((rows, unwanted))
        })?;
        self.destroy_all(&unwanted)?;
        if unwanted.len() < rows.len() {
            return self.run_clone(work).map(drop);
        }
        work.end(OperationState::Undone, Some("interrupted"), |_| Ok(()))?;
        self.forget_secrets();
        Ok(())
    }

    /// Makes the directories of guests that have nothing yet, all durable with one fsync.
    fn make_directories(&self, rows: &[GuestRow]) -> Result<(), EngineError> {
        let planned = rows.iter().filter(|row| row.state == GuestState::Planned);
        let dirs: Vec<_> = planned.map(|row| self.guest_dir(row.id)).collect();
        durable::ensure_dirs(self.driver.guests_dir(), &dirs, 0o700)
            .map_err(EngineError::room("make the guests' directories"))
    }

    /// Takes one guest through its steps; when one fails the guest is destroyed.
    pub(crate) fn make_or_destroy(
        &self,
        work: &Work<'_>,
        mut row: GuestRow,
        leg: Leg,
    ) -> Result<(), EngineError> {
        if row.state == GuestState::Destroying {
            return self.destroy(&row);
        }
        let Err(error) = self.caught(|| self.make(work, &mut row, leg)) else {
            return Ok(());
        };
        if matches!(error, EngineError::Cancelled) {
            // All guests of the operation go together, once every thread has stopped.
            return Err(error);
        }
        tracing::warn!(guest = %row.name, error = %error.chain(), "a clone failed and is destroyed");
        row.error = Some(error.chain());
        let Err(left) = self.caught(|| self.destroy(&row)) else {
            return Err(error);
        };
        let act = format!(
            "make {}; what it had made is there still, and the next command tries again to remove \
             it ({})",
            row.name,
            left.chain()
        );
        Err(EngineError::room(act)(error))
    }

    fn cancel_clones(&self, work: &Work<'_>) -> Result<Vec<GuestRow>, EngineError> {
        let rows = self.store.read(|tx| tx.guests_of_operation(work.id))?;
        self.destroy_all(&rows)
            .inspect_err(|left| work.release(left))?;
        work.end(OperationState::Undone, Some("cancelled"), |tx| {
            self.audit(tx, "cancel", &work.id.to_string(), "clone")
        })?;
        self.forget_secrets();
        Err(EngineError::Cancelled)
    }

    /// Works on a clone operation of this process, with a watcher.
    pub fn clone_guests(
        &self,
        id: OperationId,
        watch: &dyn Watch,
    ) -> Result<Vec<GuestRow>, EngineError> {
        self.run_clone(&Work::new(self, id, watch))
    }

    /// Empties the catalog's log of plans as they were before: they held what was personalised.
    fn forget_secrets(&self) {
        if let Err(error) = self.store.checkpoint() {
            tracing::warn!(%error, "older forms of rows stay in the catalog's log for now");
        }
    }
}

/// Whether a fork has left only what comes when all are themselves.
fn is_plugged_in(row: &GuestRow) -> bool {
    row.state == GuestState::Verified && row.plan.fork.is_some() && keep::keeping(row).is_none()
}

/// Whether a clone has come to where it was to come.
fn is_made(row: &GuestRow) -> bool {
    row.state.is_complete() || row.state == GuestState::Pooled
}

/// A version that has no image yet is not clonable, and the plan's refusal says so.
fn version_facts(row: &VersionRow, now_ms: i64) -> Result<VersionFacts, EngineError> {
    let state = standing_state(row.state, &row.governance, now_ms);
    let advice = row.governance.advice(state);
    let image = row.image.clone().ok_or_else(|| PlanRefusal::NotClonable {
        label: row.label(),
        state,
        advice: advice.clone(),
    })?;
    Ok(VersionFacts {
        id: row.id,
        label: row.label(),
        state,
        advice,
        image,
        virtual_size: row.virtual_size,
        data: row.data,
        hardware: row.hardware.clone(),
        memory: MemoryFacts::Missing,
    })
}

/// Whether nothing listens on this port of the loopback now.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The file name of a guest's boot disk.
pub(crate) fn disk_name(kind: CloneKind) -> &'static str {
    match kind {
        CloneKind::Linked => "disk.qcow2",
        CloneKind::Full => "disk.raw",
    }
}
