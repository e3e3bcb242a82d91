//! `store scrub`: reading everything that the store keeps and that must not change.
//!
//! ```text
//! catalog as a whole ─→ rows ─→ sidecars ─→ disks, one image after the other
//!   damaged: refused     └─ mended from each other ─┘   └─ damaged: quarantine
//! ```
//!
//! A catalog whose pages do not fit together is not written to, so nothing else is done then. Of a
//! row and its sidecar, each with a checksum, the one that is right mends the other. A disk is
//! compared leaf by leaf with its index; nothing can mend it. Guests' own disks change all the
//! time and have no record, so they are not looked at.

mod disks;
mod report;
mod rows;
mod sidecars;

pub(crate) use disks::{DiskFound, place_of};
pub use report::{Damage, DamageOutcome, DamagedThing, ScrubReport};

use crate::engine::Engine;
use crate::error::EngineError;
use crate::work::{Watch, Work};
use stampo_core::ids::OperationId;
use stampo_image::identity::Pace;
use stampo_store::OperationState;
use std::num::NonZeroU64;
use std::time::Duration;

/// The key in a scrub's request that holds its report.
const REPORT: &str = "report";

/// How to scrub.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScrubOptions {
    /// Leave out disks that were scrubbed and found right within this time.
    pub older_than: Option<Duration>,
    /// Read disks at most this fast, in bytes a second.
    pub limit: Option<NonZeroU64>,
}

/// A scrub that was accepted.
#[derive(Debug)]
pub struct Scrub {
    /// The operation.
    pub operation: OperationId,
    options: ScrubOptions,
}

impl Engine {
    /// Checks the catalog as a whole and accepts a scrub. A catalog that is damaged in itself is
    /// refused here, since nothing must be written to it any more.
    pub fn submit_scrub(&self, options: ScrubOptions) -> Result<Scrub, EngineError> {
        self.store.trust()?;
        let operation = self.new_operation("scrub", "store", serde_json::json!({}));
        self.store.write(|tx| {
            tx.insert_operation(&operation)?;
            tx.forget_scrubs_of_lost_images()
        })?;
        self.faults.reach("scrub.begun");
        Ok(Scrub {
            operation: operation.id,
            options,
        })
    }

    /// Carries out an accepted scrub. Damage is an error, mended or not; [`Engine::scrub_report`]
    /// tells what was found either way.
    pub fn run_scrub(&self, scrub: &Scrub, watch: &dyn Watch) -> Result<ScrubReport, EngineError> {
        let work = Work::new(self, scrub.operation, watch);
        let result = self.caught(|| {
            let mut report = ScrubReport::default();
            let done = self.scrub_store(&work, scrub.options, &mut report);
            // Whatever ended it, what it has found and done is told.
            let kept = self.keep_report(&work, &report);
            done.and(kept).map(|()| report)
        });
        let result = result.map_err(|error| match error {
            EngineError::Cancelled => EngineError::cancelled("scrub"),
            other => other,
        });
        if work.is_left_open() {
            // A quarantine is in the catalog and not beside the bytes: recovery sees to it.
            let error = match result {
                Ok(report) => EngineError::Damage {
                    found: report.summary(),
                },
                Err(error) => error,
            };
            work.release(&error);
            return Err(error);
        }
        let (state, why) = match &result {
            Ok(report) if report.damage.is_empty() => (OperationState::Done, None),
            Ok(report) => (OperationState::Failed, Some(report.summary())),
            Err(error @ EngineError::ScrubCancelled) => {
                (OperationState::Undone, Some(error.chain()))
            }
            Err(error) => (OperationState::Failed, Some(error.chain())),
        };
        let audited = match (&result, &why) {
            (Ok(_), Some(why)) => why.as_str(),
            _ => "nothing is damaged",
        };
        work.end(state, why.as_deref(), |tx| match &result {
            Ok(_) => self.audit(tx, "scrub", "store", audited),
            Err(_) => Ok(()),
        })?;
        self.faults.reach("scrub.ended");
        self.settle_channels_or_warn();
        match (result, why) {
            (Ok(_), Some(found)) => Err(EngineError::Damage { found }),
            (result, _) => result,
        }
    }

    /// What a scrub that has ended found.
    pub fn scrub_report(&self, operation: OperationId) -> Result<ScrubReport, EngineError> {
        let row = self.store.read(|tx| tx.operation(operation))?;
        let report = row.and_then(|row| row.request.get(REPORT).cloned());
        let report = report.ok_or_else(|| EngineError::NotFound {
            what: "the report of operation",
            name: operation.to_string(),
        })?;
        serde_json::from_value(report).map_err(EngineError::room("read the report of a scrub"))
    }

    fn scrub_store(
        &self,
        work: &Work<'_>,
        options: ScrubOptions,
        report: &mut ScrubReport,
    ) -> Result<(), EngineError> {
        work.phase("store", "catalog", || {
            self.scrub_rows(report)?;
            Ok(((), found(report)))
        })?;
        self.faults.reach("scrub.rows");
        work.phase("store", "sidecars", || {
            self.scrub_sidecars(work, report)?;
            Ok(((), found(report)))
        })?;
        self.faults.reach("scrub.sidecars");
        let pace = Pace::new(options.limit);
        for image in self.images_to_scrub(options.older_than, report)? {
            self.scrub_image(work, &image, &pace, report)?;
            self.faults.reach("scrub.image");
        }
        Ok(())
    }

    fn keep_report(&self, work: &Work<'_>, report: &ScrubReport) -> Result<(), EngineError> {
        let value = serde_json::to_value(report).map_err(EngineError::room("keep the report"))?;
        self.note(work.id, REPORT, value)
    }

    /// Recovery of a scrub: the sidecars of versions that it had put into quarantine.
    pub(crate) fn recover_scrub(&self, work: &Work<'_>) -> Result<(), EngineError> {
        for row in self.store.read(|tx| tx.versions_of_operation(work.id))? {
            self.write_version_sidecar(&row)?;
        }
        work.end(OperationState::Undone, Some("interrupted"), |_| Ok(()))
    }
}

fn found(report: &ScrubReport) -> String {
    match report.damage.len() {
        0 => "nothing is damaged".to_owned(),
        1 => "1 thing is damaged".to_owned(),
        count => format!("{count} things are damaged"),
    }
}
