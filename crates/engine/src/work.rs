//! Working on an operation: claiming it, reporting, being cancelled, ending it.
//!
//! ```text
//! begin ─→ (steps: event, progress, check_cancelled) ─→ end(done | failed | undone)
//! ```

use crate::engine::Engine;
use crate::error::EngineError;
use crate::passport::VersionFactsCache;
use stampo_core::ids::OperationId;
use stampo_image::process_identity::ProcessIdentity;
use stampo_store::{EventRow, OperationRow, OperationState, StoreError, Tx};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How often a long phase asks the catalog whether another process wants it to stop.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// How long a claim holds when its owner can't be identified.
const LEASE_MS: i64 = 10 * 60 * 1000;

/// Someone who watches an operation.
pub trait Watch: Sync {
    /// A phase ended.
    fn event(&self, event: &EventRow);
    /// How far a long phase is: bytes or units done, and in all (0: unknown).
    fn progress(&self, phase: &str, done: u64, total: u64);
    /// Whether to stop now.
    fn is_cancelled(&self) -> bool;
}

/// Nobody watches.
pub struct Unwatched;

impl Watch for Unwatched {
    fn event(&self, _event: &EventRow) {}
    fn progress(&self, _phase: &str, _done: u64, _total: u64) {}
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// An operation that this process works on.
pub struct Work<'a> {
    /// The engine.
    pub(crate) engine: &'a Engine,
    /// The operation.
    pub(crate) id: OperationId,
    watch: &'a dyn Watch,
    cancelled: AtomicBool,
    /// Whether recovery has to go on with it although it failed.
    left_open: AtomicBool,
    /// When the catalog was last asked whether to stop.
    asked: Mutex<Instant>,
    /// What its guests are compared with.
    pub(crate) versions: VersionFactsCache,
}

impl Engine {
    /// A new operation row, claimed by this process. The caller inserts it with its intent.
    pub(crate) fn new_operation(
        &self,
        kind: &str,
        subject: &str,
        request: serde_json::Value,
    ) -> OperationRow {
        let now_ms = self.now_ms();
        OperationRow {
            id: OperationId(Uuid::now_v7()),
            kind: kind.to_owned(),
            subject: subject.to_owned(),
            request,
            state: OperationState::Running,
            cancel: false,
            owner: Some(self.owner()),
            lease_until_ms: now_ms + LEASE_MS,
            error: None,
            created_ms: now_ms,
            ended_ms: None,
        }
    }

    pub(crate) fn owner(&self) -> String {
        serde_json::to_string(&self.me).expect("three numbers and texts serialise")
    }

    /// Whether a process, this one included, has claimed this operation and may still work on it.
    pub(crate) fn is_claimed(&self, row: &OperationRow) -> bool {
        let Some(owner) = &row.owner else {
            return false;
        };
        match serde_json::from_str::<ProcessIdentity>(owner) {
            // The catalog is a file of this machine, so a process of another boot is gone.
            Ok(owner) => owner.is_alive().unwrap_or(true),
            Err(_) => row.lease_until_ms > self.now_ms(),
        }
    }

    /// Runs `act`; a defect that makes it panic becomes an error, so that its operation is ended
    /// and undone like any other that fails.
    pub(crate) fn caught<T>(
        &self,
        act: impl FnOnce() -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        // Everything shared is the catalog, whose transactions roll back, and files that the
        // operation's own undoing removes.
        catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned());
            let text = text.unwrap_or_default();
            Err(EngineError::room("finish: stampo has a defect")(text))
        })
    }

    /// Claims an operation that nobody works on. `false` when somebody does.
    pub(crate) fn claim(&self, id: OperationId) -> Result<bool, EngineError> {
        let owner = self.owner();
        let until_ms = self.now_ms() + LEASE_MS;
        self.store.write(|tx| {
            let Some(row) = tx.operation(id)? else {
                return Ok(false);
            };
            if row.state != OperationState::Running || self.is_claimed(&row) {
                return Ok(false);
            }
            tx.claim_operation(id, &owner, until_ms)?;
            Ok(true)
        })
    }
}

impl<'a> Work<'a> {
    pub(crate) fn new(engine: &'a Engine, id: OperationId, watch: &'a dyn Watch) -> Self {
        Work {
            engine,
            id,
            watch,
            cancelled: AtomicBool::new(false),
            left_open: AtomicBool::new(false),
            asked: Mutex::new(Instant::now()),
            versions: VersionFactsCache::default(),
        }
    }

    /// Records that a phase ended, and tells the watcher.
    pub(crate) fn event(
        &self,
        subject: &str,
        phase: &str,
        detail: &str,
        took: Duration,
    ) -> Result<(), EngineError> {
        self.event_with(subject, phase, detail, took, |_| Ok(()))
    }

    /// As [`Work::event`], with a change that belongs to it in the same transaction.
    pub(crate) fn event_with(
        &self,
        subject: &str,
        phase: &str,
        detail: &str,
        took: Duration,
        change: impl FnOnce(&Tx<'_>) -> Result<(), StoreError>,
    ) -> Result<(), EngineError> {
        let event = self.ended(subject, phase, detail, took);
        self.record(&[event], |tx| Ok(change(tx)?))
    }

    /// The event of a phase that ends now, for [`Work::record`].
    pub(crate) fn ended(
        &self,
        subject: &str,
        phase: &str,
        detail: &str,
        took: Duration,
    ) -> EventRow {
        EventRow {
            sequence: 0,
            at_ms: self.engine.now_ms(),
            subject: subject.to_owned(),
            phase: phase.to_owned(),
            detail: detail.to_owned(),
            duration_ms: Some(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// Records phases that have ended with the change that belongs to them, all in one transaction,
    /// and tells the watcher of them.
    pub(crate) fn record(
        &self,
        events: &[EventRow],
        change: impl FnOnce(&Tx<'_>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let owner = self.engine.owner();
        let until_ms = self.engine.now_ms() + LEASE_MS;
        self.engine.store.write(|tx| {
            change(tx)?;
            for event in events {
                tx.insert_event(self.id, event)?;
            }
            tx.claim_operation(self.id, &owner, until_ms)?;
            Ok::<_, EngineError>(())
        })?;
        events.iter().for_each(|event| self.watch.event(event));
        Ok(())
    }

    /// Runs one phase, records how long it took, and passes its value on.
    pub(crate) fn phase<T>(
        &self,
        subject: &str,
        phase: &str,
        act: impl FnOnce() -> Result<(T, String), EngineError>,
    ) -> Result<T, EngineError> {
        self.check_cancelled()?;
        self.watch.progress(phase, 0, 0);
        let start = Instant::now();
        let (value, detail) = act()?;
        self.event(subject, phase, &detail, start.elapsed())?;
        Ok(value)
    }

    /// Tells the watcher how far a phase is.
    pub(crate) fn progress(&self, phase: &str, done: u64, total: u64) {
        self.watch.progress(phase, done, total);
    }

    /// Whether the operation should stop, by the word of its watcher or of another process. The
    /// catalog is asked now and then only, so this is for inner loops too.
    pub(crate) fn is_cancelled(&self) -> bool {
        if self.watch.is_cancelled() || (self.is_time_to_ask() && self.is_cancelled_in_catalog()) {
            self.cancelled.store(true, Ordering::Relaxed);
        }
        self.cancelled.load(Ordering::Relaxed)
    }

    fn is_time_to_ask(&self) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = asked.elapsed() >= ASK_EVERY;
        if is_time {
            *asked = Instant::now();
        }
        is_time
    }

    fn is_cancelled_in_catalog(&self) -> bool {
        let asked: Result<bool, StoreError> = self.engine.store.read(|tx| tx.is_cancelled(self.id));
        // A catalog that can't be read now fails the next step with its own error.
        asked.unwrap_or(false)
    }

    /// An error when something was asked to stop in the meantime: after a call that may have failed
    /// for that reason.
    pub(crate) fn not_cancelled(&self) -> Result<(), EngineError> {
        if self.is_cancelled() {
            return Err(EngineError::Cancelled);
        }
        Ok(())
    }

    /// An error when the operation should stop. Always asks the catalog.
    pub(crate) fn check_cancelled(&self) -> Result<(), EngineError> {
        if self.is_cancelled() || self.is_cancelled_in_catalog() {
            self.cancelled.store(true, Ordering::Relaxed);
            return Err(EngineError::Cancelled);
        }
        Ok(())
    }

    /// Says that what was done can't be taken back, so that the operation is not to be ended by a
    /// failure: recovery finishes it.
    pub(crate) fn leave_open(&self) {
        self.left_open.store(true, Ordering::Relaxed);
    }

    /// Whether [`Work::leave_open`] was said.
    pub(crate) fn is_left_open(&self) -> bool {
        self.left_open.load(Ordering::Relaxed)
    }

    /// Lets go of an operation that could not be ended, for this reason: whoever recovers next goes
    /// on with it.
    pub(crate) fn release(&self, why: &EngineError) {
        let why = why.chain();
        let release = |tx: &Tx<'_>| tx.release_operation(self.id, &why);
        let released: Result<(), StoreError> = self.engine.store.write(release);
        if let Err(error) = released {
            tracing::warn!(%error, "an operation stays claimed until this process ends");
        }
    }

    /// Ends the operation with a last change in the same, durable, transaction.
    pub(crate) fn end(
        &self,
        state: OperationState,
        error: Option<&str>,
        last: impl FnOnce(&Tx<'_>) -> Result<(), StoreError>,
    ) -> Result<(), EngineError> {
        let now_ms = self.engine.now_ms();
        self.engine.store.write_durably(|tx| {
            last(tx)?;
            tx.end_operation(self.id, state, error, now_ms)
        })?;
        Ok(())
    }
}

impl stampo_image::progress::Progress for PhaseProgress<'_, '_> {
    fn advance(&self, done_bytes: u64, total_bytes: u64) -> std::ops::ControlFlow<()> {
        self.work.progress(self.phase, done_bytes, total_bytes);
        if self.work.is_cancelled() {
            std::ops::ControlFlow::Break(())
        } else {
            std::ops::ControlFlow::Continue(())
        }
    }
}

/// Passes the progress of one phase on to the watcher, and its wish to stop back.
pub(crate) struct PhaseProgress<'w, 'a> {
    pub(crate) work: &'w Work<'a>,
    pub(crate) phase: &'static str,
}
