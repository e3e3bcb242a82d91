//! From a finished disk in staging to a version's image in the pool: the end of build, import and
//! seal.
//!
//! ```text
//! digest ─→ pending image in the operation ─→ rename into the pool ─→ sidecar ─→ version row
//!                                                           end of the operation ←─ tidy ←─┘
//! ```
//!
//! Up to the version row recovery takes everything back; from then on it finishes. So a process
//! that ends anywhere leaves nothing that is visible, or a version that is complete.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::images::PENDING_IMAGE;
use crate::import::DOWNLOAD;
use crate::work::{PhaseProgress, Work};
use stampo_core::ids::{ImageId, OperationId, VersionId};
use stampo_core::lifecycle::{Governance, State};
use stampo_core::names::TemplateName;
use stampo_core::size::ByteSize;
use stampo_image::durable;
use stampo_image::identity::{LeafIndex, leaf_index};
use stampo_image::pool::Again;
use stampo_image::progress::Progress;
use stampo_policy::Point;
use stampo_store::{OperationRow, OperationState, Tx, VersionRow};
use std::path::Path;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The key in a sealing's request that holds the draft's image, which goes when the seal is done.
pub(crate) const DRAFT_IMAGE: &str = "draft_image";

impl Engine {
    /// Records the intent to make a new version: the operation and a version in state *building*.
    pub(crate) fn begin_version(
        &self,
        kind: &str,
        template: &TemplateName,
        origin: serde_json::Value,
    ) -> Result<(OperationId, VersionRow), EngineError> {
        self.store
            .write(|tx| self.begin_version_in(tx, kind, template, origin))
    }

    /// As [`Engine::begin_version`], in a transaction that does more.
    pub(crate) fn begin_version_in(
        &self,
        tx: &Tx<'_>,
        kind: &str,
        template: &TemplateName,
        origin: serde_json::Value,
    ) -> Result<(OperationId, VersionRow), EngineError> {
        let template = tx.ensure_template(template, self.now_ms())?;
        let kept = self.highest_unknown_number(tx, &template.name)?;
        let number = tx.last_number(template.id)?.max(kept) + 1;
        let subject = format!("{}@{number}", template.name);
        let operation = self.new_operation(kind, &subject, serde_json::json!({}));
        let row = VersionRow {
            id: VersionId(Uuid::now_v7()),
            template_id: template.id,
            template: template.name,
            number,
            state: State::Building,
            image: None,
            virtual_size: ByteSize(0),
            data: ByteSize(0),
            hardware: stampo_core::hardware::Hardware::default(),
            origin,
            proof: None,
            governance: Governance::default(),
            operation: Some(operation.id),
            created_ms: self.now_ms(),
            changed_ms: self.now_ms(),
            verified_ms: None,
        };
        tx.insert_operation(&operation)?;
        tx.insert_version(&row)?;
        self.audit(tx, kind, &subject, "begun")?;
        Ok((operation.id, row))
    }

    /// Adds to what recovery knows of an operation, durably.
    pub(crate) fn note(
        &self,
        id: OperationId,
        key: &str,
        value: serde_json::Value,
    ) -> Result<(), EngineError> {
        self.store.write_durably(|tx| {
            let Some(row) = tx.operation(id)? else {
                return Ok(());
            };
            let mut request = row.request.as_object().cloned().unwrap_or_default();
            request.insert(key.to_owned(), value);
            tx.set_operation_request(id, &request.into())
        })?;
        Ok(())
    }

    /// Takes the digest of a staged disk, moves it into the pool and fills in the row's image.
    pub(crate) fn adopt_disk(
        &self,
        work: &Work<'_>,
        row: &mut VersionRow,
        staged: &Path,
    ) -> Result<ImageId, EngineError> {
        let index = self.take_digest(work, &row.label(), |progress| {
            let (index, flushed) = durable::while_flushing(staged, || leaf_index(staged, progress));
            flushed.map_err(EngineError::room("write the disk"))?;
            index.map_err(EngineError::room("take the digest of the disk"))
        })?;
        self.gate_born(work, Point::Import, row, index.image_id(), staged)?;
        row.verified_ms = Some(self.now_ms());
        self.adopt_indexed_disk(work, row, staged, &index)
    }

    /// Runs `digest`, which makes the leaf index of a disk, as a phase.
    pub(crate) fn take_digest(
        &self,
        work: &Work<'_>,
        label: &str,
        digest: impl FnOnce(&dyn Progress) -> Result<LeafIndex, EngineError>,
    ) -> Result<LeafIndex, EngineError> {
        work.phase(label, "digest", || {
            let progress = PhaseProgress {
                work,
                phase: "digest",
            };
            let index = digest(&progress);
            work.not_cancelled()?;
            let index = index?;
            let detail = format!("image {}", index.image_id().short());
            Ok((index, detail))
        })
    }

    /// Moves a staged disk, whose leaf index is known, into the pool and fills in the row's image.
    pub(crate) fn adopt_indexed_disk(
        &self,
        work: &Work<'_>,
        row: &mut VersionRow,
        staged: &Path,
        index: &LeafIndex,
    ) -> Result<ImageId, EngineError> {
        let image = index.image_id();
        self.note(work.id, PENDING_IMAGE, image.as_str().into())?;
        self.faults.reach("born.pending");
        let data = stampo_image::pool::allocated_bytes(staged)
            .map_err(EngineError::room("measure the disk"))?;
        self.ensure_right(work, &row.label(), staged, index)?;
        self.pool
            .publish_image(staged, index, &[])
            .map_err(EngineError::room("move the disk into the pool"))?;
        self.faults.reach("born.published");
        row.image = Some(image.clone());
        row.virtual_size = ByteSize(index.size_bytes());
        row.data = ByteSize(data);
        Ok(image)
    }

    /// Looks at the disk of an image that the pool has already, whose bytes came again, and replaces
    /// it when it is not right.
    fn ensure_right(
        &self,
        work: &Work<'_>,
        label: &str,
        staged: &Path,
        index: &LeafIndex,
    ) -> Result<(), EngineError> {
        let (start, phase) = (Instant::now(), "compare");
        let found = self
            .pool
            .ensure_right(staged, index, &PhaseProgress { work, phase });
        work.not_cancelled()?;
        let detail = match found.map_err(EngineError::room("compare the disk in the pool"))? {
            Again::New => return Ok(()),
            Again::Right => "the pool has the same bytes already".to_owned(),
            Again::Replaced(why) => format!("the disk in the pool was replaced: {why}"),
        };
        work.event(label, phase, &detail, start.elapsed())
    }

    /// The durable end of an operation that made or changed a version, its sidecar, and the
    /// removal of what the version does not need any more.
    pub(crate) fn commit_version(
        &self,
        work: &Work<'_>,
        row: &mut VersionRow,
        action: &str,
    ) -> Result<(), EngineError> {
        row.operation = Some(work.id);
        row.changed_ms = self.now_ms();
        let detail = row.image.as_ref().map(ImageId::to_string);
        // The sidecar first: a version that the catalog shows as good can always be rebuilt.
        self.write_version_sidecar(row)?;
        self.faults.reach("born.sidecar");
        self.store.write_durably(|tx| {
            tx.update_version(row)?;
            self.audit(tx, action, &row.label(), &detail.unwrap_or_default())
        })?;
        self.faults.reach("born.committed");
        self.tidy_version(work, row)?;
        row.operation = None;
        Ok(())
    }

    /// The part after the commit. Recovery repeats it.
    pub(crate) fn tidy_version(
        &self,
        work: &Work<'_>,
        row: &VersionRow,
    ) -> Result<(), EngineError> {
        let operation = self.store.read(|tx| tx.operation(work.id))?;
        let request = operation.map(|operation| operation.request);
        let text = |key: &str| Some(request.as_ref()?.get(key)?.as_str()?.to_owned());
        if let Some(draft) = text(DRAFT_IMAGE) {
            let draft = draft
                .parse()
                .map_err(EngineError::room("read the operation's draft"))?;
            if row.image.as_ref() != Some(&draft) {
                // Its bytes hold what was sealed away. Another version may have the same image.
                self.remove_version_sidecar(&draft, row)?;
                if !self.drop_unneeded_image(&draft, Some(work.id))? {
                    self.tell_of_kept_draft(work, row, &draft)?;
                }
            }
        }
        if let Some(download) = text(DOWNLOAD) {
            self.forget_download(&download)?;
        }
        self.faults.reach("born.tidied");
        work.end(OperationState::Done, None, |_| Ok(()))?;
        self.faults.reach("born.ended");
        Ok(())
    }

    /// Says that the bytes of a draft stay, with all that was sealed away, for another reason than
    /// that another version has them.
    fn tell_of_kept_draft(
        &self,
        work: &Work<'_>,
        row: &VersionRow,
        draft: &ImageId,
    ) -> Result<(), EngineError> {
        let Some(why) = self
            .store
            .read(|tx| self.strange_need(tx, draft, work.id))?
        else {
            return Ok(());
        };
        let detail = format!("the draft's bytes and its secrets stay in the pool: {why}");
        work.event(&row.label(), "tidy", &detail, Duration::ZERO)
    }

    /// Recovery of build, import, seal and verify: finishes what was committed, takes back the rest.
    pub(crate) fn recover_version(
        &self,
        work: &Work<'_>,
        operation: &OperationRow,
    ) -> Result<(), EngineError> {
        match self.committed_version(operation)? {
            Some(row) => self.tidy_version(work, &row),
            None => {
                let why = "interrupted; nothing of it remains";
                self.take_back(work, operation, OperationState::Undone, why)
            }
        }
    }

    /// The version of an operation, if the operation came to its commit.
    fn committed_version(
        &self,
        operation: &OperationRow,
    ) -> Result<Option<VersionRow>, EngineError> {
        let versions = self
            .store
            .read(|tx| tx.versions_of_operation(operation.id))?;
        let is_committed = |row: &VersionRow| match operation.kind.as_str() {
            "seal" => row.state != State::Draft,
            "verify" => row.changed_ms >= operation.created_ms,
            _ => row.state != State::Building,
        };
        Ok(versions.into_iter().find(is_committed))
    }

    /// Takes back what an operation made that did not come to its commit, and ends it.
    pub(crate) fn take_back(
        &self,
        work: &Work<'_>,
        operation: &OperationRow,
        state: OperationState,
        why: &str,
    ) -> Result<(), EngineError> {
        let versions = self
            .store
            .read(|tx| tx.versions_of_operation(operation.id))?;
        for row in &versions {
            // It may have been written for a commit that never came.
            if row
                .image
                .as_ref()
                .is_some_and(|image| self.pool.image_dir(image).is_dir())
            {
                self.write_version_sidecar(row)?;
            }
        }
        self.faults.reach("back.sidecar");
        if let Some(image) = operation
            .request
            .get(PENDING_IMAGE)
            .and_then(|v| v.as_str())
        {
            let image = image
                .parse()
                .map_err(EngineError::room("read the operation's image"))?;
            for row in versions.iter().filter(|r| r.image.as_ref() != Some(&image)) {
                self.remove_version_sidecar(&image, row)?;
            }
            self.drop_unneeded_image(&image, Some(work.id))?;
        }
        self.faults.reach("back.image");
        work.end(state, Some(why), |tx| {
            for row in versions.iter().filter(|row| row.state == State::Building) {
                tx.delete_version(row.id)?;
                tx.delete_template_if_bare(row.template_id)?;
            }
            Ok(())
        })
    }

    /// Carries out an accepted operation on a version; what it made is taken back when it fails, is
    /// cancelled, or hits a defect.
    pub(crate) fn carry_out<T>(
        &self,
        work: &Work<'_>,
        act: impl FnOnce() -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.caught(act).or_else(|error| self.give_up(work, error))
    }

    /// Ends an operation that failed or was cancelled, and passes its error on.
    fn give_up<T>(&self, work: &Work<'_>, error: EngineError) -> Result<T, EngineError> {
        let Some(row) = self.store.read(|tx| tx.operation(work.id))? else {
            return Err(error);
        };
        if row.state != OperationState::Running {
            // Bytes that are not what they were end the operation with the version's new state.
            return Err(error);
        }
        let (state, error, outcome) =
            if work.is_cancelled() || matches!(error, EngineError::Cancelled) {
                (OperationState::Undone, EngineError::Cancelled, "cancelled")
            } else {
                (OperationState::Failed, error, "failed")
            };
        let chain = error.chain();
        if work.is_left_open() || self.committed_version(&row)?.is_some() {
            // What is left to do, the next start does; a complete version stays.
            work.release(&error);
        } else if let Err(undone) = self.take_back(work, &row, state, &chain) {
            tracing::warn!(error = %undone.chain(), "an operation is undone at the next start");
            work.release(&undone);
        }
        self.audit_failure(&row.kind, &row.subject, outcome, &chain);
        Err(error)
    }
}
