//! Sealing a draft: on a throw-away copy, proven by an independent reader, then adopted.
//!
//! ```text
//! draft image ─ copy (reflink where possible) ─→ edit ─→ discard ─→ residue ─→ e2fsck ─→ proof
//!                                                                                  │
//!                    version is sealed, the draft's bytes are gone  ←── adopt ─────┘
//! ```

use crate::born::DRAFT_IMAGE;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::scrub::place_of;
use crate::version::Bare;
use crate::work::{PhaseProgress, Watch, Work};
use stampo_core::ids::{ImageId, OperationId};
use stampo_core::lifecycle::{Evidence, Verb, transition};
use stampo_core::names::VersionRef;
use stampo_core::size::ByteSize;
use stampo_guest::fs::{check, open_read};
use stampo_guest::seal::proof::{Exception, Proof, prove};
use stampo_guest::seal::{SealOptions, SealOutcome, SealPlan, Selection, plan_disk, seal_disk};
use stampo_image::copy::{Method, copy_image};
use stampo_image::device::{BlockDevice, Recording, Unflushed};
use stampo_image::durable;
use stampo_image::identity::{self, LeafIndex};
use stampo_image::raw::RawFile;
use stampo_policy::Point;
use stampo_store::{ExceptionRow, VersionRow};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// The reader that proofs are made with; it shares no code with the writer.
const PROOF_READER: &str = concat!("the ext4 reader of stampo ", env!("CARGO_PKG_VERSION"));

/// A sealing that was accepted.
pub struct Seal {
    /// The operation.
    pub operation: OperationId,
    /// The version, a draft.
    pub version: VersionRow,
    selection: Selection,
}

/// A copy that was sealed, and where that changed it.
struct SealedCopy {
    sealed: SealOutcome,
    changed: Vec<Range<u64>>,
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
        let plan = plan_disk(self.open_image(&row)?, selection).map_err(EngineError::room(
            format!("plan the sealing of {}", row.label()),
        ))?;
        Ok((row, plan))
    }

    fn draft(&self, reference: &VersionRef) -> Result<VersionRow, EngineError> {
        let row = self.version_row(reference)?;
        check_draft(&row)?;
        Ok(row)
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
        // Durably: the sidecar of a quarantine is written before its row is.
        let seal = self.store.write_durably(|tx| {
            let mut row = self.find_version(tx, reference, Bare::Newest)?;
            self.refuse_if_busy(tx, &row)?;
            // Asked again, now that nothing else can change it.
            check_draft(&row)?;
            let draft = row.image.as_ref().map(ImageId::as_str);
            let request = serde_json::json!({ DRAFT_IMAGE: draft });
            let operation = self.new_operation("seal", &row.label(), request);
            row.operation = Some(operation.id);
            tx.insert_operation(&operation)?;
            tx.update_version(&row)?;
            self.audit(tx, "seal", &row.label(), "begun")?;
            Ok::<_, EngineError>(Seal {
                operation: operation.id,
                version: row,
                selection,
            })
        })?;
        self.faults.reach("seal.begun");
        Ok(seal)
    }

    /// Carries out an accepted sealing. The version is sealed even if the proof has findings: they
    /// are shown, and stop it from being published.
    pub fn run_seal(&self, seal: Seal, watch: &dyn Watch) -> Result<VersionRow, EngineError> {
        let work = Work::new(self, seal.operation, watch);
        self.carry_out(&work, || self.seal_version(&work, seal))
    }

    fn seal_version(&self, work: &Work<'_>, seal: Seal) -> Result<VersionRow, EngineError> {
        let mut row = seal.version;
        let label = row.label();
        let missing = || EngineError::NotFound {
            what: "the image of",
            name: label.clone(),
        };
        let draft = row.image.clone().ok_or_else(missing)?;
        let from = self.pool.image_disk(&draft);
        let Some(before) = self.draft_index(work, &label, &draft)? else {
            let why = "its content is not that of its image id".to_owned();
            return self.quarantine(work, row, why);
        };
        let staging = self
            .pool
            .stage()
            .map_err(EngineError::room("make a place for sealing"))?;
        self.faults.reach("seal.staged");
        let copy = staging.path().join("disk.raw");
        work.phase(&label, "copy", || {
            let progress = PhaseProgress {
                work,
                phase: "copy",
            };
            let copied = copy_image(&from, &copy, Method::Auto, &progress);
            work.not_cancelled()?;
            let copied = copied.map_err(EngineError::room("copy the draft"))?;
            Ok(((), format!("{:?}", copied.used).to_lowercase()))
        })?;
        self.faults.reach("seal.copied");
        let outcome = self.seal_copy(work, &label, &copy, &seal.selection)?;
        self.faults.reach("seal.edited");
        if let Some(why) = self.rot_of_draft(work, &label, &before, &from, &outcome)? {
            return self.quarantine(work, row, why);
        }
        let (checked, flushed) = durable::while_flushing(&copy, || {
            self.check_sealed(work, &label, &copy, &outcome.sealed)
        });
        let proof = checked?;
        flushed.map_err(EngineError::room("write the sealed disk"))?;
        let index = self.digest_of_sealed(work, &label, &before, &copy, &outcome)?;
        self.gate_born(work, Point::Seal, &row, index.image_id(), &copy)?;
        // Only the draft's bytes were read as a whole, if ever.
        row.verified_ms = None;
        row.proof =
            Some(serde_json::to_value(&proof).map_err(EngineError::room("record the proof"))?);
        row.state = transition(row.state, Verb::Seal, Evidence::default()).map_err(|source| {
            EngineError::Refused {
                label: label.clone(),
                source,
            }
        })?;
        self.adopt_indexed_disk(work, &mut row, &copy, &index)?;
        self.commit_version(work, &mut row, "sealed")?;
        Ok(row)
    }

    /// Seals the copy. Its phases are reported as they were measured.
    fn seal_copy(
        &self,
        work: &Work<'_>,
        label: &str,
        copy: &Path,
        selection: &Selection,
    ) -> Result<SealedCopy, EngineError> {
        work.check_cancelled()?;
        work.progress("seal", 0, 0);
        let act = || format!("seal {label} in {}", copy.display());
        let disk = RawFile::open_writable(copy).map_err(EngineError::io("open", copy))?;
        let options = SealOptions {
            now_s: Some(self.now_ms() / 1000),
        };
        // It is made durable as a whole, while it is proven.
        let disk = Arc::new(Recording::new(Arc::new(Unflushed::new(Arc::new(disk)))));
        let sealed =
            seal_disk(disk.clone(), selection, &options).map_err(EngineError::room(act()))?;
        let times = sealed.times;
        let changes = format!("{} changes", sealed.plan.changes.len());
        let discarded = format!("{} of free space", ByteSize(sealed.discarded_bytes));
        let searched = format!("{} samples of removed secrets", sealed.samples);
        for (phase, took, detail) in [
            ("plan", times.open + times.plan, &changes),
            ("seal", times.apply, &changes),
            ("discard", times.discard, &discarded),
            ("residue", times.search, &searched),
        ] {
            work.event(label, phase, detail, took)?;
        }
        let changed = disk.changed();
        Ok(SealedCopy { sealed, changed })
    }

    /// The leaf index of a draft: the recorded one, or one that is taken of all bytes when that can't
    /// be used. `None` when these are not the bytes of its image.
    fn draft_index(
        &self,
        work: &Work<'_>,
        label: &str,
        draft: &ImageId,
    ) -> Result<Option<LeafIndex>, EngineError> {
        if let Ok(index) = self.pool.leaf_index(draft) {
            return Ok(Some(index));
        }
        let disk = self.pool.image_disk(draft);
        let index = self.take_digest(work, label, |progress| {
            identity::leaf_index(&disk, progress)
                .map_err(EngineError::room("take the digest of the draft"))
        })?;
        Ok((index.image_id() == *draft).then_some(index))
    }

    /// What is wrong with the draft where sealing changed the copy. There the copy's index is taken
    /// of new bytes, which a bit that flipped in the draft would become part of unseen.
    fn rot_of_draft(
        &self,
        work: &Work<'_>,
        label: &str,
        before: &LeafIndex,
        draft: &Path,
        outcome: &SealedCopy,
    ) -> Result<Option<String>, EngineError> {
        let progress = PhaseProgress {
            work,
            phase: "compare",
        };
        let now = identity::update(before, draft, &outcome.changed, &progress);
        work.not_cancelled()?;
        let now = now.map_err(EngineError::room(format!("read the draft {label}")))?;
        let ranges = before.differences(&now);
        let why = || format!("its content is not what was recorded {}", place_of(&ranges));
        Ok((!ranges.is_empty()).then(why))
    }

    /// The leaf index of the sealed copy: the draft's, `before`, with what sealing changed read
    /// again. A bit of the draft that flipped since it was made, where sealing changed nothing, differs
    /// from the index, so that a verification finds it; elsewhere see [`Engine::rot_of_draft`].
    fn digest_of_sealed(
        &self,
        work: &Work<'_>,
        label: &str,
        before: &LeafIndex,
        copy: &Path,
        outcome: &SealedCopy,
    ) -> Result<LeafIndex, EngineError> {
        self.take_digest(work, label, |progress| {
            let index = identity::update(before, copy, &outcome.changed, progress);
            index.map_err(EngineError::room("take the digest of the sealed disk"))
        })
    }

    /// Refuses a copy in which something removed is still to be found, or that e2fsck finds damaged;
    /// the proof of any other. Both readers only read, so they work at the same time.
    fn check_sealed(
        &self,
        work: &Work<'_>,
        label: &str,
        copy: &Path,
        outcome: &SealOutcome,
    ) -> Result<Proof, EngineError> {
        refuse_residue(label, outcome)?;
        std::thread::scope(|scope| {
            let proving = scope.spawn(|| {
                let start = Instant::now();
                (proof_of(label, copy), start.elapsed())
            });
            let checked = self.check_filesystem(work, label, copy, outcome.root_start_bytes);
            let proved = proving.join();
            checked?;
            let (proof, took) = proved.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let proof = proof?;
            work.event(label, "prove", &in_short(&proof), took)?;
            Ok(proof)
        })
    }

    /// Refuses a copy that e2fsck finds damaged.
    fn check_filesystem(
        &self,
        work: &Work<'_>,
        label: &str,
        copy: &Path,
        start_bytes: u64,
    ) -> Result<(), EngineError> {
        work.phase(label, "e2fsck", || {
            let in_copy = || format!("seal {label} in {}", copy.display());
            let verdict = check::e2fsck_clean(copy, start_bytes);
            match verdict.map_err(EngineError::room(in_copy()))? {
                check::Verdict::Clean => Ok(((), "clean".to_owned())),
                check::Verdict::Dirty(lines) => Err(EngineError::Conflict {
                    act: format!("seal {label}"),
                    why: format!("e2fsck finds its filesystem damaged: {}", lines.join("; ")),
                }),
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
            let proof = proof_of(label, disk)?;
            let detail = in_short(&proof);
            Ok((proof, detail))
        })
    }
}

/// Refuses a copy in which something removed is still to be found.
fn refuse_residue(label: &str, outcome: &SealOutcome) -> Result<(), EngineError> {
    let Some(first) = outcome.residue.first() else {
        return Ok(());
    };
    let why = format!(
        "bytes of {} ({}) are still on the disk, at {} and {} other places: a copy of it is in \
         another file; remove that file from the template, or keep the item with --except {}",
        first.path,
        first.item,
        first.offset_bytes,
        outcome.residue.len() - 1,
        first.item,
    );
    Err(EngineError::Conflict {
        act: format!("seal {label}"),
        why,
    })
}

/// The proof of a disk, by the independent reader.
fn proof_of(label: &str, disk: &Path) -> Result<Proof, EngineError> {
    let device = RawFile::open_read_only(disk).map_err(EngineError::io("open", disk))?;
    let fs =
        open_read(Arc::new(device)).map_err(EngineError::room(format!("prove {label} sealed")))?;
    Ok(prove(fs.as_ref(), PROOF_READER))
}

/// A proof in a few words.
fn in_short(proof: &Proof) -> String {
    format!(
        "{} checks, {} findings, {} unknown",
        proof.checked.len(),
        proof.findings.len(),
        proof.unknown.len()
    )
}

/// Asked of the lifecycle, so that the answer is the same as when it is done.
fn check_draft(row: &VersionRow) -> Result<(), EngineError> {
    match transition(row.state, Verb::Seal, Evidence::default()) {
        Ok(_) => Ok(()),
        Err(source) => Err(EngineError::Refused {
            label: row.label(),
            source,
        }),
    }
}
