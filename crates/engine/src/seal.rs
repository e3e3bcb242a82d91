//! Sealing a draft: on a throw-away copy, proven by an independent reader, then adopted.
//!
//! ```text
//! draft image ─ copy (reflink where possible) ─→ edit ─→ discard ─→ residue ─→ e2fsck ─→ proof
//!                                                                                  │
//!                    version is sealed, the draft's bytes are gone  ←── adopt ─────┘
//! ```

use crate::engine::Engine;
use crate::error::EngineError;
use crate::version::Bare;
use crate::work::{PhaseProgress, Watch, Work};
use stampo_core::ids::{OperationId, VersionId};
use stampo_core::lifecycle::{Evidence, Verb, transition};
use stampo_core::names::VersionRef;
use stampo_guest::fs::{GuestRead, check, find_root, open_read, open_write_at};
use stampo_guest::seal::proof::{Exception, Proof, prove};
use stampo_guest::seal::{Needle, SealPlan, Selection};
use stampo_image::copy::{Method, copy_image};
use stampo_image::device::BlockDevice;
use stampo_image::raw::RawFile;
use stampo_store::{ExceptionRow, VersionRow};
use std::path::Path;
use std::sync::Arc;

/// The reader that proofs are made with; it shares no code with the writer.
const PROOF_READER: &str = "ext4-view 1.0.0";

/// A sealing that was accepted.
pub struct Seal {
    /// The operation.
    pub operation: OperationId,
    /// The version, a draft.
    pub version: VersionRow,
    selection: Selection,
}

/// A proof as it is stored: with how open it is.
pub(crate) struct StoredProof(Proof);

impl StoredProof {
    /// What nobody accepted: findings, and what could not be looked at.
    pub(crate) fn open_findings(&self, exceptions: &[Exception]) -> Vec<String> {
        let findings = self
            .0
            .open_findings(exceptions)
            .into_iter()
            .map(|f| f.id.clone());
        let unknown = self
            .0
            .open_unknown(exceptions)
            .into_iter()
            .map(|u| u.id.clone());
        findings.chain(unknown).collect()
    }

    /// Whether a finding or a gap of this id is in it.
    pub(crate) fn has_finding(&self, id: &str) -> bool {
        self.0.findings.iter().any(|f| f.id == id) || self.0.unknown.iter().any(|u| u.id == id)
    }
}

/// A proof out of its row.
pub(crate) fn proof_from(value: &serde_json::Value) -> Result<StoredProof, EngineError> {
    serde_json::from_value(value.clone())
        .map(StoredProof)
        .map_err(EngineError::room("read the stored proof"))
}

/// Exceptions out of their rows. One that makes no sense applies to nothing.
pub(crate) fn exceptions(rows: &[ExceptionRow]) -> Vec<Exception> {
    let read = |row: &ExceptionRow| {
        let path = Some(row.path.as_str()).filter(|path| !path.is_empty());
        Exception::new(&row.finding, path, &row.reason).ok()
    };
    rows.iter().filter_map(read).collect()
}

impl Engine {
    /// What sealing would change. Changes nothing.
    pub fn seal_plan(
        &self,
        reference: &VersionRef,
        selection: &Selection,
    ) -> Result<(VersionRow, SealPlan), EngineError> {
        let row = self.draft(reference)?;
        let fs = self.open_version(&row)?;
        let plan = stampo_guest::seal::plan(fs.as_ref(), selection).map_err(EngineError::room(
            format!("plan the sealing of {}", row.label()),
        ))?;
        Ok((row, plan))
    }

    fn draft(&self, reference: &VersionRef) -> Result<VersionRow, EngineError> {
        let row = self.version_row(reference)?;
        // Asked of the lifecycle, so that the answer is the same as when it is done.
        transition(row.state, Verb::Seal, Evidence::default()).map_err(|source| {
            EngineError::Refused {
                label: row.label(),
                source,
            }
        })?;
        Ok(row)
    }

    /// Reads the inside of a version's disk with the independent reader.
    pub(crate) fn open_version(&self, row: &VersionRow) -> Result<Box<dyn GuestRead>, EngineError> {
        let act = || format!("read the disk of {}", row.label());
        open_read(self.open_image(row)?).map_err(EngineError::room(act()))
    }

    /// A version's disk, read-only.
    pub(crate) fn open_image(&self, row: &VersionRow) -> Result<Arc<dyn BlockDevice>, EngineError> {
        let missing = || EngineError::NotFound {
            what: "the image of",
            name: row.label(),
        };
        let path = self
            .pool
            .image_disk(row.image.as_ref().ok_or_else(missing)?);
        let disk = RawFile::open_read_only(&path).map_err(EngineError::io("open", path))?;
        Ok(Arc::new(disk))
    }

    /// Claims a draft for sealing.
    pub fn submit_seal(
        &self,
        reference: &VersionRef,
        selection: Selection,
    ) -> Result<Seal, EngineError> {
        selection.check().map_err(|error| EngineError::Usage {
            act: format!("seal {reference}"),
            why: error.to_string(),
        })?;
        self.draft(reference)?;
        self.store.write(|tx| {
            let mut row = self.find_version(tx, reference, Bare::Newest)?;
            self.refuse_if_busy(tx, &row)?;
            let operation = self.new_operation("seal", &row.label(), serde_json::json!({}));
            row.operation = Some(operation.id);
            tx.insert_operation(&operation)?;
            tx.update_version(&row)?;
            self.audit(tx, "seal", &row.label(), "begun")?;
            Ok(Seal {
                operation: operation.id,
                version: row,
                selection,
            })
        })
    }

    /// Carries out an accepted sealing. The version is sealed even if the proof has findings: they
    /// are shown, and stop it from being published.
    pub fn run_seal(&self, seal: Seal, watch: &dyn Watch) -> Result<VersionRow, EngineError> {
        let work = Work::new(self, seal.operation, watch);
        match self.seal_version(&work, seal) {
            Ok(row) => Ok(row),
            Err(error) => self.give_up(&work, error),
        }
    }

    fn seal_version(&self, work: &Work<'_>, seal: Seal) -> Result<VersionRow, EngineError> {
        let mut row = seal.version;
        let label = row.label();
        let draft = row.image.clone();
        let missing = || EngineError::NotFound {
            what: "the image of",
            name: label.clone(),
        };
        let from = self.pool.image_disk(draft.as_ref().ok_or_else(missing)?);
        let staging = self
            .pool
            .stage()
            .map_err(EngineError::room("make a place for sealing"))?;
        let copy = staging.path().join("disk.raw");
        work.phase(&label, "copy", || {
            let progress = PhaseProgress {
                work,
                phase: "copy",
            };
            let copied = copy_image(&from, &copy, Method::Auto, &progress)
                .map_err(EngineError::room("copy the draft"))?;
            Ok(((), format!("{:?}", copied.used).to_lowercase()))
        })?;
        self.faults.reach("seal.copied");
        let needles = self.seal_copy(work, &label, &copy, &seal.selection)?;
        self.faults.reach("seal.edited");
        self.check_sealed(work, &label, &copy, &needles)?;
        let proof = self.prove_disk(work, &label, &copy)?;
        row.proof =
            Some(serde_json::to_value(&proof).map_err(EngineError::room("record the proof"))?);
        row.state = transition(row.state, Verb::Seal, Evidence::default()).map_err(|source| {
            EngineError::Refused {
                label: label.clone(),
                source,
            }
        })?;
        self.adopt_disk(work, &mut row, &copy)?;
        self.commit_version(work, &mut row, "sealed", |_| Ok(()))?;
        if let Some(draft) = draft.filter(|draft| Some(draft) != row.image.as_ref()) {
            self.drop_draft(&draft, row.id)?;
        }
        Ok(row)
    }

    /// Edits the copy by the plan; samples of the secrets that went.
    fn seal_copy(
        &self,
        work: &Work<'_>,
        label: &str,
        copy: &Path,
        selection: &Selection,
    ) -> Result<Vec<Needle>, EngineError> {
        let act = || format!("seal {label}");
        work.phase(label, "seal", || {
            let disk = writable(copy)?;
            let mut fs =
                open_write_at(disk, self.now_ms() / 1000).map_err(EngineError::room(act()))?;
            let plan = stampo_guest::seal::plan(fs.as_ref(), selection)
                .map_err(EngineError::room(act()))?;
            let needles = stampo_guest::seal::needles(fs.as_ref(), &plan)
                .map_err(EngineError::room(act()))?;
            stampo_guest::seal::apply(fs.as_mut(), &plan).map_err(EngineError::room(act()))?;
            fs.finish().map_err(EngineError::room(act()))?;
            Ok((needles, format!("{} changes", plan.changes.len())))
        })
    }

    /// Discards free space, proves that what was removed is gone, and has e2fsck agree.
    fn check_sealed(
        &self,
        work: &Work<'_>,
        label: &str,
        copy: &Path,
        needles: &[Needle],
    ) -> Result<(), EngineError> {
        let act = || format!("seal {label}");
        let root = find_root(writable(copy)?).map_err(EngineError::room(act()))?;
        work.phase(label, "discard", || {
            let gone = stampo_guest::fs::discard_free(root.device.clone())
                .map_err(EngineError::room(act()))?;
            root.device
                .flush()
                .map_err(EngineError::io("write", copy))?;
            Ok((
                (),
                format!(
                    "{} of free space",
                    stampo_core::size::ByteSize(gone.free_bytes)
                ),
            ))
        })?;
        work.phase(label, "residue", || {
            let bytes: Vec<&[u8]> = needles
                .iter()
                .map(|needle| needle.bytes.as_slice())
                .collect();
            let left = stampo_guest::fs::residue::residue(root.device.as_ref(), &bytes)
                .map_err(EngineError::io("read", copy))?;
            match left.first() {
                None => Ok((
                    (),
                    format!("none of {} samples of removed secrets is left", bytes.len()),
                )),
                Some(first) => {
                    let needle = &needles[first.needle];
                    let why = format!(
                        "bytes of {} ({}) are still on the disk, at {} and {} other places",
                        needle.path,
                        needle.item,
                        first.offset,
                        left.len() - 1
                    );
                    Err(EngineError::Conflict { act: act(), why })
                }
            }
        })?;
        work.phase(label, "e2fsck", || {
            match check::e2fsck_clean(copy, root.start_bytes).map_err(EngineError::room(act()))? {
                check::Verdict::Clean => Ok(((), "clean".to_owned())),
                check::Verdict::Dirty(lines) => {
                    let why = format!("e2fsck finds its filesystem damaged: {}", lines.join("; "));
                    Err(EngineError::Conflict { act: act(), why })
                }
            }
        })
    }

    /// The proof of a disk, by the independent reader.
    pub(crate) fn prove_disk(
        &self,
        work: &Work<'_>,
        label: &str,
        disk: &Path,
    ) -> Result<Proof, EngineError> {
        work.phase(label, "prove", || {
            let device = RawFile::open_read_only(disk).map_err(EngineError::io("open", disk))?;
            let fs = open_read(Arc::new(device))
                .map_err(EngineError::room(format!("prove {label} sealed")))?;
            let proof = prove(fs.as_ref(), PROOF_READER);
            let detail = format!(
                "{} checks, {} findings, {} unknown",
                proof.checked.len(),
                proof.findings.len(),
                proof.unknown.len()
            );
            Ok((proof, detail))
        })
    }

    /// Removes a draft's bytes, which hold what was sealed away, unless another version has them.
    fn drop_draft(
        &self,
        draft: &stampo_core::ids::ImageId,
        version: VersionId,
    ) -> Result<(), EngineError> {
        let others = self.store.read(|tx| tx.versions_with_image(draft))?;
        if others.iter().all(|other| other.id == version) {
            self.pool
                .remove_image(draft)
                .map_err(EngineError::room("remove the unsealed draft"))?;
        }
        Ok(())
    }
}

fn writable(path: &Path) -> Result<Arc<dyn BlockDevice>, EngineError> {
    let disk = RawFile::open_writable(path).map_err(EngineError::io("open", path))?;
    Ok(Arc::new(disk))
}
