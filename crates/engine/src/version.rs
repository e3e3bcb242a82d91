//! Versions: finding them, what speaks for and against them, and accepting findings. Changes of state
//! are in `govern.rs`.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::work::{Unwatched, Work};
use stampo_core::goal::CloneKind;
use stampo_core::ids::{TemplateId, VersionId};
use stampo_core::lifecycle::{Evidence, State, Verb, standing_state};
use stampo_core::names::{VersionRef, VersionSelect};
use stampo_store::{ExceptionRow, GuestRow, OperationState, StoreError, Tx, VersionRow};
use std::collections::HashSet;

/// Which version a bare template name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bare {
    /// The newest that may be cloned.
    Clonable,
    /// The newest that has bytes.
    Newest,
}

impl Engine {
    /// The version that the user means.
    pub(crate) fn find_version(
        &self,
        tx: &Tx<'_>,
        reference: &VersionRef,
        bare: Bare,
    ) -> Result<VersionRow, EngineError> {
        let missing = |what| EngineError::NotFound {
            what,
            name: reference.to_string(),
        };
        let template = tx
            .template(&reference.template)?
            .ok_or_else(|| missing("template"))?;
        if let VersionSelect::Channel(name) = &reference.select {
            let found = self.version_of_channel(tx, &template, name)?;
            return found.ok_or_else(|| missing("channel"));
        }
        let found = match (&reference.select, bare) {
            (VersionSelect::Number(number), _) => tx.numbered_version(template.id, *number)?,
            (VersionSelect::Latest, Bare::Clonable) => self.latest(tx, template.id)?,
            _ => tx
                .versions_of(template.id)?
                .into_iter()
                .find(|row| row.state != State::Purged),
        };
        let what = match (&reference.select, bare) {
            (VersionSelect::Latest, Bare::Clonable) => "a published version of",
            _ => "version",
        };
        found.ok_or_else(|| missing(what))
    }

    /// The newest published version whose evidence is complete: what `latest` and, for new clones, a
    /// bare name mean.
    pub(crate) fn latest(
        &self,
        tx: &Tx<'_>,
        template: TemplateId,
    ) -> Result<Option<VersionRow>, EngineError> {
        for row in tx.versions_of(template)? {
            let is_published =
                standing_state(row.state, &row.governance, self.now_ms()) == State::Published;
            if is_published && self.evidence(tx, &row, Verb::Publish)?.complete().is_ok() {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// The version that the user means; a bare name is the newest that has bytes.
    pub fn version_row(&self, reference: &VersionRef) -> Result<VersionRow, EngineError> {
        self.store
            .read(|tx| self.find_version(tx, reference, Bare::Newest))
    }

    /// What the lifecycle's rules look at.
    pub(crate) fn evidence(
        &self,
        tx: &Tx<'_>,
        row: &VersionRow,
        verb: Verb,
    ) -> Result<Evidence, EngineError> {
        let open_findings = match &row.proof {
            None => None,
            Some(proof) => Some(self.open_findings(tx, row.id, proof)?),
        };
        // Every guest is looked at for this, which only one verb needs.
        let linked_clones = match verb {
            Verb::Purge => in_the_way(tx, row)?.len(),
            _ => 0,
        };
        let governance = &row.governance;
        Ok(Evidence {
            open_findings,
            linked_clones,
            is_held: governance.hold.is_some(),
            is_past_end_of_life: governance.is_past_end_of_life(self.now_ms()),
            has_revoked_ancestor: revoked_ancestor(tx, row)?.is_some(),
            needs_approval: match verb {
                Verb::Approve | Verb::BreakGlass | Verb::Publish | Verb::Reinstate => {
                    self.needs_approval(tx, row, verb)?
                }
                _ => false,
            },
        })
    }

    pub(crate) fn open_findings(
        &self,
        tx: &Tx<'_>,
        version: VersionId,
        proof: &serde_json::Value,
    ) -> Result<usize, EngineError> {
        let proof = crate::seal::proof_from(proof)?;
        let exceptions = crate::seal::exceptions(&tx.exceptions(version)?);
        Ok(proof.open_findings(&exceptions).len())
    }

    /// How many findings nobody accepted; `None` when there is no proof.
    pub fn open_finding_count(&self, row: &VersionRow) -> Result<Option<usize>, EngineError> {
        let Some(proof) = &row.proof else {
            return Ok(None);
        };
        self.store
            .read(|tx| self.open_findings(tx, row.id, proof).map(Some))
    }

    /// Refuses to give bytes up while a row that may need them can't be believed.
    pub(crate) fn refuse_doubtful_purge(
        &self,
        tx: &Tx<'_>,
        row: &VersionRow,
    ) -> Result<(), EngineError> {
        let doubt = match &row.image {
            // Another version keeps the bytes, unless one of these two rows is wrong. A memory image
            // goes, and a fork may need it.
            Some(image)
                if tx.image_holders(image)?.len() > 1 && self.memory_dirs(image)?.is_empty() =>
            {
                self.version_doubt(tx)?
            }
            Some(image) => match self.image_doubt(tx, image)? {
                None => self.unknown_readers(tx)?.need_of(image),
                doubt => doubt,
            },
            None => None,
        };
        match doubt {
            None => Ok(()),
            Some(why) => Err(EngineError::Conflict {
                act: format!("remove the image of {}", row.label()),
                why,
            }),
        }
    }

    /// The part of a change after its commit. Recovery runs it too.
    pub(crate) fn finish_change(&self, work: &Work<'_>) -> Result<(), EngineError> {
        for row in self.store.read(|tx| tx.versions_of_operation(work.id))? {
            if row.state == State::Purged {
                self.drop_unused_image(&row)?;
            } else {
                self.write_version_sidecar(&row)?;
            }
            self.faults.reach("version.sidecar");
        }
        work.end(OperationState::Done, None, |_| Ok(()))
    }

    /// Removes a purged version's sidecar, and its image when no other version has it.
    fn drop_unused_image(&self, row: &VersionRow) -> Result<(), EngineError> {
        let Some(image) = &row.image else {
            return Ok(());
        };
        self.remove_memory_images(image, row)?;
        self.remove_version_sidecar(image, row)?;
        self.faults.reach("purge.sidecar");
        self.drop_unneeded_image(image, row.operation)?;
        Ok(())
    }

    pub(crate) fn linked_clones_error(&self, tx: &Tx<'_>, row: &VersionRow) -> EngineError {
        match in_the_way(tx, row) {
            Ok(rows) => EngineError::HasLinkedClones {
                label: row.label(),
                clones: rows.into_iter().map(|guest| guest.name).collect(),
            },
            Err(error) => error.into(),
        }
    }

    /// Refuses to touch a version that a living operation works on.
    pub(crate) fn refuse_if_busy(&self, tx: &Tx<'_>, row: &VersionRow) -> Result<(), EngineError> {
        let Some(id) = row.operation else {
            return Ok(());
        };
        match tx.operation(id)? {
            Some(operation) if operation.state == OperationState::Running => {
                Err(EngineError::Conflict {
                    act: format!("change {}", row.label()),
                    why: format!(
                        "a {} of it is going on; wait for it, or cancel it",
                        operation.kind
                    ),
                })
            }
            _ => Ok(()),
        }
    }

    /// Accepts a finding of a version's proof.
    pub fn accept(
        &self,
        reference: &VersionRef,
        finding: &str,
        path: Option<&str>,
        reason: &str,
    ) -> Result<VersionRow, EngineError> {
        if reason.trim().is_empty() || finding.trim().is_empty() {
            let why = "name the finding and give a reason; the reason is recorded".to_owned();
            return Err(EngineError::Usage {
                act: "accept a finding".to_owned(),
                why,
            });
        }
        let operation =
            self.new_operation("accept", &reference.to_string(), serde_json::Value::Null);
        let id = operation.id;
        let mut row = self.store.write_durably(|tx| {
            let mut row = self.find_version(tx, reference, Bare::Newest)?;
            self.refuse_if_busy(tx, &row)?;
            let known = match &row.proof {
                Some(proof) => crate::seal::proof_from(proof)?.has_finding(finding),
                None => false,
            };
            if !known {
                let name = format!("{finding} of {}", row.label());
                return Err(EngineError::NotFound {
                    what: "finding",
                    name,
                });
            }
            let exception = ExceptionRow {
                finding: finding.to_owned(),
                path: path.unwrap_or_default().to_owned(),
                reason: reason.to_owned(),
                actor: self.settings.actor.clone(),
                created_ms: self.now_ms(),
            };
            row.operation = Some(id);
            tx.insert_operation(&operation)?;
            tx.update_version(&row)?;
            tx.put_exception(row.id, &exception)?;
            self.audit(tx, "accept", &row.label(), &format!("{finding}: {reason}"))?;
            Ok(row)
        })?;
        self.faults.reach("accept.committed");
        self.finish_change(&Work::new(self, id, &Unwatched))?;
        row.operation = None;
        Ok(row)
    }
}

/// The guests for which a version is not purged: all that read its image, if no other version keeps
/// that; if one does, only instant clones that have not been flattened, since a memory image is one
/// version's alone.
fn in_the_way(tx: &Tx<'_>, row: &VersionRow) -> Result<Vec<GuestRow>, StoreError> {
    let Some(image) = &row.image else {
        return Ok(Vec::new());
    };
    let mut readers = tx.image_readers(image)?;
    if tx.image_holders(image)?.len() > 1 {
        let is_fork = |guest: &GuestRow| guest.version == row.id && guest.plan.fork.is_some();
        readers.retain(|guest| guest.kind == CloneKind::Linked && is_fork(guest));
    }
    Ok(readers)
}

/// The nearest ancestor that was revoked together with its descendants.
pub(crate) fn revoked_ancestor(
    tx: &Tx<'_>,
    row: &VersionRow,
) -> Result<Option<VersionRow>, EngineError> {
    let mut seen = HashSet::new();
    let mut label = parent_label(row).map(str::to_owned);
    while let Some(parent) = label.filter(|label| seen.insert(label.clone())) {
        let Some(row) = version_of_label(tx, &parent)? else {
            return Ok(None);
        };
        let revoked = row.governance.revoked.as_ref();
        if revoked.is_some_and(|revoked| revoked.cascade) {
            return Ok(Some(row));
        }
        label = parent_label(&row).map(str::to_owned);
    }
    Ok(None)
}

/// The version that a version was built from, `name@N`.
pub(crate) fn parent_label(row: &VersionRow) -> Option<&str> {
    row.origin.get("parent")?.as_str()
}

pub(crate) fn version_of_label(
    tx: &Tx<'_>,
    label: &str,
) -> Result<Option<VersionRow>, EngineError> {
    let reference: VersionRef = label.parse()?;
    match (tx.template(&reference.template)?, reference.select) {
        (Some(template), VersionSelect::Number(number)) => {
            Ok(tx.numbered_version(template.id, number)?)
        }
        _ => Ok(None),
    }
}
