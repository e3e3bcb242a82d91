//! Rebuilding the catalog from the sidecars that lie beside the bytes.
//!
//! What the catalog does not know is added, and what it knows as it was before, since an older one was
//! put back, is taken from a sidecar that is newer. A version is added in the state that its sidecar
//! names; its bytes are believed only after `verify`, which rescan asks for in its report. A guest
//! is added when its disk is there; whether it runs is observed by the driver as always.

use crate::clone::free_port;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::passport::VersionFactsCache;
use crate::sidecar::{GUEST, GuestSidecar, Protection, VersionSidecar, read_sidecar, unusable};
use crate::work::{Unwatched, Work};
use stampo_core::goal::CloneKind;
use stampo_core::guest::GuestState;
use stampo_core::ids::{ImageId, VersionId};
use stampo_core::lifecycle::{Governance, State};
use stampo_core::names::{TemplateName, VersionRef, VersionSelect};
use stampo_core::size::ByteSize;
use stampo_store::{ExceptionRow, GuestRow, OperationState, Tx, VersionRow};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a rescan brought back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rescanned {
    /// Versions, `name@N`.
    pub versions: Vec<String>,
    /// Guests.
    pub guests: Vec<String>,
    /// Those of the guests that the driver can't be told of, and why.
    pub undefined: Vec<(String, String)>,
    /// Sidecars that could not be taken in, and why.
    pub refused: Vec<(String, String)>,
}

impl Engine {
    /// Adds to the catalog every version and guest that is on disk and not in it.
    pub fn rescan(&self) -> Result<Rescanned, EngineError> {
        let operation = self.new_operation("rescan", "store", serde_json::Value::Null);
        self.store
            .write_durably(|tx| tx.insert_operation(&operation))?;
        self.faults.reach("rescan.begun");
        let work = Work::new(self, operation.id, &Unwatched);
        let found = self.caught(|| self.take_in_sidecars(&work));
        if let Err(error) = &found {
            work.end(OperationState::Failed, Some(&error.chain()), |_| Ok(()))?;
        }
        let found = found?;
        self.define_lost_guests()?;
        Ok(found)
    }

    /// Whether the catalog knows nothing, and there are sidecars from which it could be rebuilt.
    pub fn is_catalog_lost(&self) -> Result<bool, EngineError> {
        let knows_something = self.store.read(|tx| tx.has_templates())?;
        if knows_something {
            return Ok(false);
        }
        for image in self.image_ids()? {
            if !self.version_sidecars(&image)?.is_empty() {
                return Ok(true);
            }
        }
        let guests = list(self.driver.guests_dir())?;
        Ok(guests.iter().any(|dir| dir.join(GUEST).exists()))
    }

    /// The highest number of a template's versions among those that a rescan would bring back; 0 when
    /// there is none. A new version must not take the number of one of them.
    pub(crate) fn highest_unknown_number(
        &self,
        tx: &Tx<'_>,
        template: &TemplateName,
    ) -> Result<u32, EngineError> {
        let known = tx.images_of_versions()?;
        let mut highest = 0;
        for image in self.image_names()? {
            if known.contains(&image) {
                continue;
            }
            for path in self.version_sidecars(&image)? {
                // One that can't be read is not brought back.
                if let Ok((sidecar, _)) = read_version(&image, &path)
                    && sidecar.template == *template
                {
                    highest = highest.max(sidecar.number);
                }
            }
        }
        Ok(highest)
    }

    /// The whole of a rescan. Recovery repeats it.
    pub(crate) fn take_in_sidecars(&self, work: &Work<'_>) -> Result<Rescanned, EngineError> {
        let mut found = Rescanned::default();
        for sidecar in self.newest_sidecars(&mut found)? {
            let label = format!("{}@{}", sidecar.template, sidecar.number);
            match self.rescan_version(sidecar) {
                Ok(true) => found.versions.push(label),
                Ok(false) => {}
                Err(error) => found.refused.push((label, error.chain())),
            }
            self.faults.reach("rescan.version");
        }
        self.store.write_durably(|tx| self.point_channels(tx))?;
        self.faults.reach("rescan.channels");
        found.refused.extend(self.strange_memory_images()?);
        for path in list(self.driver.guests_dir())? {
            let sidecar = path.join(GUEST);
            if sidecar.exists() {
                match self.rescan_guest(&sidecar) {
                    Ok(Some((name, why))) => {
                        found.undefined.extend(why.map(|why| (name.clone(), why)));
                        found.guests.push(name);
                    }
                    Ok(None) => {}
                    Err(error) => found
                        .refused
                        .push((sidecar.display().to_string(), error.chain())),
                }
                self.faults.reach("rescan.guest");
            }
        }
        let detail = format!(
            "{} versions, {} guests",
            found.versions.len(),
            found.guests.len()
        );
        work.end(OperationState::Done, None, |tx| {
            self.audit(tx, "rescan", "store", &detail)
        })?;
        Ok(found)
    }

    /// Every version's sidecar. A version has two for the moment between its sealing and the
    /// removal of its draft; the newer one counts.
    fn newest_sidecars(&self, found: &mut Rescanned) -> Result<Vec<VersionSidecar>, EngineError> {
        let mut newest: BTreeMap<VersionId, VersionSidecar> = BTreeMap::new();
        for image in self.image_ids()? {
            for path in self.version_sidecars(&image)? {
                match read_version(&image, &path) {
                    Ok((sidecar, _)) => {
                        let is_older = newest
                            .get(&sidecar.id)
                            .is_some_and(|other| other.changed_ms >= sidecar.changed_ms);
                        if !is_older {
                            newest.insert(sidecar.id, sidecar);
                        }
                    }
                    Err(error) => found
                        .refused
                        .push((path.display().to_string(), error.chain())),
                }
            }
        }
        Ok(newest.into_values().collect())
    }

    /// What is called a memory image and can't be used as one, or is of no version. All others are
    /// found again without a rescan: the catalog holds nothing of them.
    fn strange_memory_images(&self) -> Result<Vec<(String, String)>, EngineError> {
        let mut strange = Vec::new();
        for image in self.image_ids()? {
            for directory in self.memory_dirs(&image)? {
                let found = self.read_memory(&image, &directory).and_then(|sidecar| {
                    match self.store.read(|tx| tx.version(sidecar.version))? {
                        Some(row) if row.image.as_ref() == Some(&image) => Ok(()),
                        _ => Err(unusable(&directory, "its version is not in the catalog")),
                    }
                });
                if let Err(error) = found {
                    strange.push((directory.display().to_string(), error.chain()));
                }
            }
        }
        Ok(strange)
    }

    fn rescan_version(&self, sidecar: VersionSidecar) -> Result<bool, EngineError> {
        if sidecar.number == 0 || (sidecar.state.is_clonable() && sidecar.proof.is_none()) {
            let why = "it names what stampo never records".to_owned();
            return Err(EngineError::Conflict {
                act: format!("take in {}", sidecar.id),
                why,
            });
        }
        self.store.write_durably(|tx| {
            let known = tx.version(sidecar.id)?;
            let is_newer =
                |row: &VersionRow| row.operation.is_none() && row.changed_ms < sidecar.changed_ms;
            if known.as_ref().is_some_and(|row| !is_newer(row)) {
                return Ok(false);
            }
            let row = version_row(tx, &sidecar)?;
            match known {
                // The catalog is older than the disk: a backup of it was put back.
                Some(_) => tx.update_version(&row)?,
                None => tx.insert_version(&row)?,
            }
            for exception in sidecar.exceptions {
                tx.put_exception(row.id, &ExceptionRow::from(exception))?;
            }
            for one in sidecar.channel_moves {
                tx.add_channel_move(&one.into_row(row.template_id))?;
            }
            for one in sidecar.approvals {
                tx.add_approval(&one.into_row(row.id))?;
            }
            Ok(true)
        })
    }

    /// The record of a purged version that a guest's sidecar still names.
    fn tombstone(
        &self,
        tx: &Tx<'_>,
        guest: &GuestSidecar,
        path: &Path,
    ) -> Result<VersionRow, EngineError> {
        let reference: VersionRef = guest.version_label.parse()?;
        let VersionSelect::Number(number) = reference.select else {
            return Err(unusable(path, "it does not name its version"));
        };
        let template = tx.ensure_template(&reference.template, guest.created_ms)?;
        Ok(VersionRow {
            id: guest.version,
            template_id: template.id,
            template: template.name,
            number,
            state: State::Purged,
            image: None,
            virtual_size: guest.plan.disk_size,
            data: ByteSize(0),
            hardware: guest.plan.hardware.clone(),
            origin: serde_json::json!({ "kind": "unknown" }),
            proof: None,
            governance: Governance::default(),
            operation: None,
            created_ms: guest.created_ms,
            changed_ms: self.now_ms(),
            verified_ms: None,
        })
    }

    /// Refuses a linked clone whose base is missing, or whose version was not purged but has a
    /// sidecar that can't be used: once that is mended, both come back.
    fn check_base(&self, guest: &GuestSidecar, path: &Path) -> Result<(), EngineError> {
        if !self.pool.image_disk(&guest.image).exists() {
            return Err(unusable(path, "the image that it reads is missing"));
        }
        let of_version = self.version_sidecar_path(&guest.image, guest.version);
        if of_version.exists() {
            return Err(unusable(path, "its version is not in the catalog"));
        }
        Ok(())
    }

    /// The guest that was brought back, and why it can't be used yet.
    fn rescan_guest(&self, path: &Path) -> Result<Option<(String, Option<String>)>, EngineError> {
        let (sidecar, _) = read_sidecar::<GuestSidecar>(path)?;
        if self.guest_dir(sidecar.id).join(GUEST) != path {
            return Err(unusable(path, "it lies in the directory of another guest"));
        }
        self.faults.reach("rescan.read");
        let disk = self
            .guest_dir(sidecar.id)
            .join(crate::clone::disk_name(sidecar.kind));
        let mut has_other_port = false;
        let added = self.store.write_durably(|tx| {
            let known = tx.guest(sidecar.id)?;
            if let Some(row) = &known {
                // The catalog is older than the disk when a backup of it was put back.
                if row.operation.is_some() || !self.is_outdated(tx, row)? {
                    return Ok(None);
                }
            }
            // Looked for only now: a guest that is being removed loses its directory before its
            // row, so one without a row that has its disk is not on its way out.
            if !disk.exists() {
                return match path.exists() {
                    true => Err(unusable(path, "its disk is missing")),
                    false => Ok(None),
                };
            }
            if tx.version(sidecar.version)?.is_none() {
                // A linked clone needs its version's bytes, which another version may have kept
                // when its own was purged.
                if sidecar.kind == CloneKind::Linked {
                    self.check_base(&sidecar, path)?;
                }
                // It needs nothing else of its version: only the record comes back.
                tx.insert_version(&self.tombstone(tx, &sidecar, path)?)?;
            }
            let mut row = guest_row(&sidecar, self.now_ms());
            let held = match &known {
                Some(known) => ports_of(known),
                None => Vec::new(),
            };
            has_other_port |= give_free_ports(tx, &mut row, &held)?;
            match known {
                Some(_) => tx.mend_guest(&row)?,
                None => tx.insert_guest(&row)?,
            }
            if let Some(host_name) = &sidecar.host_name {
                tx.keep_host_name(row.id, host_name)?;
            }
            Ok::<_, EngineError>(Some(row))
        })?;
        let Some(row) = added else {
            return Ok(None);
        };
        let defined = self
            .definition(&row)
            .and_then(|definition| Ok(self.driver.ensure_defined(&definition)?));
        let why = defined.err().map(|error| error.chain());
        if has_other_port {
            self.write_guest_sidecar(&row)?;
        }
        if why.is_none() {
            self.record_facts(&row);
        }
        Ok(Some((row.name.to_string(), why)))
    }

    /// The salt was lost with the catalog, so the identity items are hashed anew. Those of a
    /// running guest are when its passport is next asked for.
    fn record_facts(&self, row: &GuestRow) {
        if self.refuse_unless_stopped(row, "read").is_err() {
            return;
        }
        let recorded = self
            .facts_from_disk(row, &VersionFactsCache::default())
            .and_then(|facts| Ok(self.store.write(|tx| tx.put_facts(row.id, &facts))?));
        if let Err(error) = recorded {
            tracing::warn!(guest = %row.name, error = %error.chain(), "its passport can't be read");
        }
    }
}

/// The ports of the loopback that a guest holds.
fn ports_of(row: &GuestRow) -> Vec<u16> {
    row.plan
        .nics
        .iter()
        .filter_map(|nic| nic.ssh_port)
        .collect()
}

/// Gives a guest other ports where another guest holds its own: a guest that found its port in use
/// when it was started has taken another, and its sidecar may not have been written since. Whether
/// any is another now. `held` are those that it holds already.
fn give_free_ports(tx: &Tx<'_>, row: &mut GuestRow, held: &[u16]) -> Result<bool, EngineError> {
    let mut taken = tx.ports()?;
    taken.retain(|port| !held.contains(port));
    let mut is_other = false;
    for port in row
        .plan
        .nics
        .iter_mut()
        .filter_map(|nic| nic.ssh_port.as_mut())
    {
        if taken.contains(port)
            && let Some(free) = free_port(&taken)
        {
            (*port, is_other) = (free, true);
        }
        taken.insert(*port);
    }
    Ok(is_other)
}

/// The row that a version's sidecar describes.
pub(crate) fn version_row(
    tx: &Tx<'_>,
    sidecar: &VersionSidecar,
) -> Result<VersionRow, EngineError> {
    let template = tx.ensure_template(&sidecar.template, sidecar.created_ms)?;
    Ok(VersionRow {
        id: sidecar.id,
        template_id: template.id,
        template: template.name,
        number: sidecar.number,
        state: sidecar.state,
        image: Some(sidecar.image.clone()),
        virtual_size: sidecar.virtual_size,
        data: sidecar.data,
        hardware: sidecar.hardware.clone(),
        origin: sidecar.origin.clone(),
        proof: sidecar.proof.clone(),
        governance: sidecar.governance.clone(),
        operation: None,
        created_ms: sidecar.created_ms,
        changed_ms: sidecar.changed_ms,
        verified_ms: sidecar.verified_ms,
    })
}

/// The row that a guest's sidecar describes; changed `now_ms` if the sidecar does not tell when.
pub(crate) fn guest_row(sidecar: &GuestSidecar, now_ms: i64) -> GuestRow {
    GuestRow {
        id: sidecar.id,
        name: sidecar.name.clone(),
        version: sidecar.version,
        image: sidecar.image.clone(),
        kind: sidecar.kind,
        state: match sidecar.state {
            // Its pool went with the catalog, so it is drained when pools are next tended.
            GuestState::Pooled => GuestState::Pooled,
            GuestState::Trashed => GuestState::Trashed,
            _ => GuestState::Ready,
        },
        operation: None,
        plan: sidecar.plan.clone(),
        host_keys: sidecar.host_keys.clone(),
        error: None,
        created_ms: sidecar.created_ms,
        changed_ms: match sidecar.changed_ms {
            0 => now_ms,
            at => at,
        },
        keep_until_ms: sidecar.keep_until_ms,
    }
}

/// A version's sidecar, checked to be of the image that it lies beside.
pub(crate) fn read_version(
    image: &ImageId,
    path: &Path,
) -> Result<(VersionSidecar, Protection), EngineError> {
    let (sidecar, protection) = read_sidecar::<VersionSidecar>(path)?;
    if sidecar.image != *image {
        return Err(unusable(path, "it names another image"));
    }
    Ok((sidecar, protection))
}

/// The entries of a directory, sorted; none when it does not exist.
pub(crate) fn list(dir: &Path) -> Result<Vec<PathBuf>, EngineError> {
    stampo_image::listing::entries(dir).map_err(EngineError::io("list", dir))
}
