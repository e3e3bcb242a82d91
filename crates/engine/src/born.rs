//! From a finished disk in staging to a version's image in the pool: the end of build, import and
//! seal.
//!
//! Order: digest → *pending image* in the operation's row → rename into the pool → version row and
//! end of the operation in one durable commit → sidecar. A process that ends between any two of
//! these leaves either nothing that is visible, or a version that is complete.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::work::{PhaseProgress, Work};
use stampo_core::ids::{ImageId, OperationId, VersionId};
use stampo_core::lifecycle::State;
use stampo_core::names::TemplateName;
use stampo_core::size::ByteSize;
use stampo_store::{OperationState, Tx, VersionRow};
use std::path::Path;
use uuid::Uuid;

impl Engine {
    /// Records the intent to make a new version: the operation and a version in state *building*.
    pub(crate) fn begin_version(
        &self,
        kind: &str,
        template: &TemplateName,
        origin: serde_json::Value,
    ) -> Result<(OperationId, VersionRow), EngineError> {
        self.store.write(|tx| {
            let template = tx.ensure_template(template, self.now_ms())?;
            let number = tx.last_number(template.id)? + 1;
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
                operation: Some(operation.id),
                created_ms: self.now_ms(),
                changed_ms: self.now_ms(),
                verified_ms: None,
            };
            tx.insert_operation(&operation)?;
            tx.insert_version(&row)?;
            self.audit(tx, kind, &subject, "begun")?;
            Ok((operation.id, row))
        })
    }

    /// Takes the digest of a staged disk, moves it into the pool and fills in the row's image.
    pub(crate) fn adopt_disk(
        &self,
        work: &Work<'_>,
        row: &mut VersionRow,
        staged: &Path,
    ) -> Result<ImageId, EngineError> {
        let label = row.label();
        let index = work.phase(&label, "digest", || {
            let progress = PhaseProgress {
                work,
                phase: "digest",
            };
            let index = stampo_image::identity::leaf_index(staged, &progress)
                .map_err(EngineError::room("take the digest of the disk"))?;
            let id = index.image_id();
            let detail = format!("image {}", id.short());
            Ok((index, detail))
        })?;
        let image = index.image_id();
        let pending = serde_json::json!({ "pending_image": image.as_str() });
        self.store
            .write_durably(|tx| tx.set_operation_request(work.id, &pending))?;
        self.faults.reach("born.pending");
        let data = stampo_image::pool::allocated_bytes(staged)
            .map_err(EngineError::room("measure the disk"))?;
        self.pool
            .publish_image(staged, &index, &[])
            .map_err(EngineError::room("move the disk into the pool"))?;
        self.faults.reach("born.published");
        row.image = Some(image.clone());
        row.virtual_size = ByteSize(index.size_bytes());
        row.data = ByteSize(data);
        row.verified_ms = Some(self.now_ms());
        Ok(image)
    }

    /// The durable end of an operation that made or changed a version, and its sidecar.
    pub(crate) fn commit_version(
        &self,
        work: &Work<'_>,
        row: &mut VersionRow,
        action: &str,
        more: impl FnOnce(&Tx<'_>) -> Result<(), stampo_store::StoreError>,
    ) -> Result<(), EngineError> {
        row.operation = None;
        row.changed_ms = self.now_ms();
        let detail = row
            .image
            .as_ref()
            .map(|image| image.to_string())
            .unwrap_or_default();
        // The sidecar first: a version that the catalog shows as good can always be rebuilt.
        self.write_version_sidecar(row)?;
        self.faults.reach("born.sidecar");
        work.end(OperationState::Done, None, |tx| {
            tx.update_version(row)?;
            self.audit(tx, action, &row.label(), &detail)?;
            more(tx)
        })?;
        self.faults.reach("born.committed");
        Ok(())
    }

    /// Ends an operation that failed or was cancelled, and passes its error on.
    pub(crate) fn give_up<T>(&self, work: &Work<'_>, error: EngineError) -> Result<T, EngineError> {
        let cancelled = work.is_cancelled() || matches!(error, EngineError::Cancelled);
        let state = if cancelled {
            OperationState::Undone
        } else {
            OperationState::Failed
        };
        let row = self.store.read(|tx| tx.operation(work.id))?;
        self.end_unfinished(work, state, &error.chain())?;
        if let Some(row) = row {
            self.drop_pending_image(&row)?;
            let outcome = if cancelled { "cancelled" } else { "failed" };
            self.audit_failure(&row.kind, &row.subject, outcome, &error.chain());
        }
        if cancelled {
            Err(EngineError::Cancelled)
        } else {
            Err(error)
        }
    }
}
