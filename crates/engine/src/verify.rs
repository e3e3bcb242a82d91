//! Reading a version's bytes and its proof again, and looking inside.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::scrub::{DiskFound, place_of};
use crate::version::Bare;
use crate::work::{Watch, Work};
use stampo_core::ids::{ImageId, OperationId};
use stampo_core::lifecycle::{Evidence, Verb, transition};
use stampo_core::names::VersionRef;
use stampo_store::{OperationState, VersionRow};

/// A verification that was accepted.
pub struct Verify {
    /// The operation.
    pub operation: OperationId,
    /// The version.
    pub version: VersionRow,
}

impl Engine {
    /// Claims a version for verification.
    pub fn submit_verify(&self, reference: &VersionRef) -> Result<Verify, EngineError> {
        // Durably: the sidecar of a quarantine is written before its row is.
        let verify = self.store.write_durably(|tx| {
            let mut row = self.find_version(tx, reference, Bare::Newest)?;
            if row.image.is_none() {
                return Err(EngineError::NotFound {
                    what: "the image of",
                    name: row.label(),
                });
            }
            self.refuse_if_busy(tx, &row)?;
            let operation = self.new_operation("verify", &row.label(), serde_json::json!({}));
            row.operation = Some(operation.id);
            tx.insert_operation(&operation)?;
            tx.update_version(&row)?;
            Ok::<_, EngineError>(Verify {
                operation: operation.id,
                version: row,
            })
        })?;
        self.faults.reach("verify.begun");
        Ok(verify)
    }

    /// Carries out an accepted verification. Bytes that do not match put the version into
    /// quarantine, and are an error.
    pub fn run_verify(&self, verify: Verify, watch: &dyn Watch) -> Result<VersionRow, EngineError> {
        let work = Work::new(self, verify.operation, watch);
        self.carry_out(&work, || self.verify_version(&work, verify.version))
    }

    fn verify_version(
        &self,
        work: &Work<'_>,
        mut row: VersionRow,
    ) -> Result<VersionRow, EngineError> {
        let label = row.label();
        let missing = || EngineError::NotFound {
            what: "the image of",
            name: label.clone(),
        };
        let image = row.image.clone().ok_or_else(missing)?;
        let changed = work.phase(&label, "digest", || self.compare(work, &label, &image))?;
        self.faults.reach("verify.read");
        if let Some(why) = changed {
            return self.quarantine(work, row, why);
        }
        if row.state.is_immutable() {
            let proof = self.prove_disk(work, &label, &self.pool.image_disk(&image))?;
            row.proof =
                Some(serde_json::to_value(&proof).map_err(EngineError::room("record the proof"))?);
        }
        row.verified_ms = Some(self.now_ms());
        self.commit_version(work, &mut row, "verify")?;
        Ok(row)
    }

    /// Reads the disk: what is wrong with its bytes, if anything, and the words for the event.
    fn compare(
        &self,
        work: &Work<'_>,
        label: &str,
        image: &ImageId,
    ) -> Result<(Option<String>, String), EngineError> {
        let found = self.check_disk(work, image, stampo_image::identity::leaf_index);
        work.not_cancelled()?;
        // What can't be read right now says nothing about the bytes.
        let found = found.map_err(EngineError::room(format!("read the image of {label}")))?;
        let right = |rest: &str| (None, format!("every byte is {rest}"));
        Ok(match found {
            DiskFound::Right => right("as it was recorded"),
            DiskFound::IndexMended(why) => right(&format!("right; the index was not: {why}")),
            DiskFound::IndexDamaged(why) => right(&format!("right; the index is damaged: {why}")),
            DiskFound::Changed(ranges, why) => {
                let why = format!("{why} {}", place_of(&ranges));
                let detail = "the bytes have changed".to_owned();
                (Some(why.trim_end().to_owned()), detail)
            }
        })
    }

    /// Ends an operation by putting its version, whose bytes are not what they were, into quarantine.
    pub(crate) fn quarantine(
        &self,
        work: &Work<'_>,
        mut row: VersionRow,
        why: String,
    ) -> Result<VersionRow, EngineError> {
        let label = row.label();
        if let Ok(state) = transition(row.state, Verb::Quarantine, Evidence::default()) {
            row.state = state;
        }
        row.operation = None;
        row.changed_ms = self.now_ms();
        // The sidecar first: recovery writes it again from the row when the commit did not come.
        self.write_version_sidecar(&row)?;
        self.faults.reach("verify.sidecar");
        work.end(OperationState::Failed, Some(&why), |tx| {
            tx.update_version(&row)?;
            self.audit(tx, "quarantine", &label, &why)
        })?;
        self.settle_channels_or_warn();
        Err(EngineError::Rot { label, why })
    }

    /// What is inside a version's disk.
    pub fn inspect(&self, reference: &VersionRef) -> Result<serde_json::Value, EngineError> {
        let row = self.version_row(reference)?;
        let inspection = stampo_guest::inspect::inspect(self.open_image(&row)?)
            .map_err(EngineError::room(format!("inspect {}", row.label())))?;
        serde_json::to_value(inspection).map_err(EngineError::room("print the inspection"))
    }
}
