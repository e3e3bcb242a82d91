//! Rows of the catalog whose checksum is wrong, and what brings each back.
//!
//! | table | made again from |
//! |---|---|
//! | templates | the sidecars of its versions, which have its name |
//! | versions, exceptions | the version's sidecar |
//! | channel_moves | the sidecars of the versions that the channel was moved from and to |
//! | approvals | the sidecar of the version; what was signed can't be made again |
//! | channels | the channel's moves |
//! | guests, host_names | the guest's sidecar |
//! | nics | the guest's row |
//! | facts | the guest's disk, when it is stopped |
//! | scrubs | nothing: it is forgotten, and the image is read again |
//! | leases | nothing: the guest stays until it is given another |
//! | policy_exceptions | nothing: what it accepted is not accepted any more |
//! | settings, operations, events, audit, audit_checkpoints, policy_inputs, policy_reports | nothing |
//!
//! Only a sidecar whose own checksum is right is believed. What nothing can bring back is recorded
//! in the audit and then taken as it is, so that it is reported once; if it can't even be read, it
//! is reported until the catalog is replaced. Nothing is mended while another operation runs: the
//! sidecars may be of the moment before.

use super::disks::WAIT;
use super::{Damage, DamageOutcome, DamagedThing, ScrubReport};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::passport::VersionFactsCache;
use crate::rescan::{guest_row, read_version, version_row};
use crate::sidecar::{GUEST, GuestSidecar, Protection, VersionSidecar, read_sidecar};
use stampo_core::ids::{GuestId, OperationId, TemplateId, VersionId};
use stampo_core::names::TemplateName;
use stampo_store::{DamagedRow, ExceptionRow, GuestRow, OperationState, StoreError, Tx};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What to do about rows that nothing mends.
const REBUILD: &str = "put a backup of catalog.db back, or: stampo store rescan --replace-damaged";

impl Engine {
    /// Checks every row, and mends what can be mended.
    pub(super) fn scrub_rows(&self, report: &mut ScrubReport) -> Result<(), EngineError> {
        let mut damaged = self.store.read(|tx| tx.damaged_rows())?;
        if damaged.is_empty() {
            return Ok(());
        }
        // What others are made again from comes first.
        let rank = |row: &DamagedRow| match row.table.as_str() {
            "templates" => 0,
            "versions" => 1,
            "channel_moves" | "approvals" => 2,
            "guests" => 2,
            _ => 3,
        };
        damaged.sort_by_key(rank);
        let is_quiet = self.is_quiet()?;
        for row in damaged {
            let (outcome, why, remedy) = if is_quiet {
                let mended = self.mend_row(&row);
                let (outcome, why) =
                    mended.unwrap_or_else(|error| (DamageOutcome::Open, error.chain()));
                (outcome, why, REBUILD)
            } else {
                let why = "another operation runs; nothing is mended beside it";
                (DamageOutcome::Open, why.to_owned(), WAIT)
            };
            report
                .damage
                .push(self.row_damage(&row, outcome, why, remedy));
        }
        Ok(())
    }

    /// Whether no operation but scrubs is under way.
    fn is_quiet(&self) -> Result<bool, EngineError> {
        let running = self.store.read(|tx| tx.running_operations())?;
        Ok(running.iter().all(|operation| {
            operation.kind == "scrub" && operation.state == OperationState::Running
        }))
    }

    fn row_damage(
        &self,
        row: &DamagedRow,
        outcome: DamageOutcome,
        why: String,
        remedy: &str,
    ) -> Damage {
        Damage {
            what: DamagedThing::Row,
            path: self.store.path().to_owned(),
            place: format!("row {} of {}", row.key.join("/"), row.table),
            why,
            subjects: Vec::new(),
            clones: Vec::new(),
            outcome,
            remedy: match outcome {
                DamageOutcome::Open => remedy.to_owned(),
                _ => String::new(),
            },
        }
    }

    fn mend_row(&self, row: &DamagedRow) -> Result<(DamageOutcome, String), EngineError> {
        let mended = |from: &str| {
            let why = format!("its content had changed; it was made again from {from}");
            Ok((DamageOutcome::Mended, why))
        };
        let key = row.key.first().map_or("", String::as_str);
        match row.table.as_str() {
            "templates" => self.mend_template(row, key),
            "versions" => {
                self.mend_version(key)?;
                mended("its sidecar")
            }
            "exceptions" => {
                self.mend_exceptions(key)?;
                mended("the sidecar of its version")
            }
            "channel_moves" => self.mend_channel_move(row),
            "approvals" => self.mend_approval(row, key),
            "channels" => self.mend_channel(row),
            "guests" => {
                self.mend_guest(key)?;
                mended("its sidecar")
            }
            "host_names" => {
                self.mend_host_name(row, key)?;
                mended("the sidecar of its guest")
            }
            "nics" => {
                let guest = self.guest_of(key)?;
                self.store.write_durably(|tx| tx.replace_nics(&guest))?;
                mended("its guest's row")
            }
            "facts" => {
                self.mend_facts(key)?;
                mended("the disk of its guest")
            }
            "scrubs" => {
                self.store.write(|tx| tx.delete_damaged_row(row))?;
                Ok((DamageOutcome::Mended, "its content had changed".to_owned()))
            }
            "leases" => self.drop_lease(row, key),
            "policy_exceptions" => self.drop_exception(row, key),
            _ => self.keep_row(row),
        }
    }

    /// Takes a lease away that may have had another end: nothing ends by it.
    fn drop_lease(
        &self,
        row: &DamagedRow,
        key: &str,
    ) -> Result<(DamageOutcome, String), EngineError> {
        let guest = self.guest_of(key).map(|row| row.name);
        let why = match &guest {
            Ok(name) => format!(
                "its content has changed, so {name} has no lease any more, and stays; give it \
                 another: stampo lease set {name} 1h"
            ),
            Err(_) => "its content has changed, and it was of no guest".to_owned(),
        };
        self.store.write_durably(|tx| {
            tx.delete_damaged_row(row)?;
            self.audit(
                tx,
                "damage",
                "catalog",
                &format!("row {key} of leases: {why}"),
            )
        })?;
        Ok((DamageOutcome::Kept, why))
    }

    /// Takes an exception away that may have accepted something else: nothing is accepted by it.
    fn drop_exception(
        &self,
        row: &DamagedRow,
        key: &str,
    ) -> Result<(DamageOutcome, String), EngineError> {
        let why = "its content has changed, so it accepts nothing any more; make another: stampo \
                   policy accept";
        self.store.write_durably(|tx| {
            tx.delete_damaged_row(row)?;
            let detail = format!("row {key} of policy_exceptions: {why}");
            self.audit(tx, "damage", "catalog", &detail)
        })?;
        Ok((DamageOutcome::Kept, why.to_owned()))
    }

    /// Takes a row that nothing can bring back as it is from now on, and records that.
    fn keep_row(&self, row: &DamagedRow) -> Result<(DamageOutcome, String), EngineError> {
        let why = "its content has changed, and nothing else tells what it was";
        self.store.write_durably(|tx| {
            is_readable(tx, row)?;
            tx.keep_damaged_row(row)?;
            let detail = format!("row {} of {}: {why}", row.key.join("/"), row.table);
            self.audit(tx, "damage", "catalog", &detail)
        })?;
        Ok((DamageOutcome::Kept, why.to_owned()))
    }

    /// Takes a template's name back from the sidecars of its versions. They have to agree: a wrong
    /// name would be written into all others.
    fn mend_template(
        &self,
        row: &DamagedRow,
        key: &str,
    ) -> Result<(DamageOutcome, String), EngineError> {
        let id: TemplateId = key.parse().map_err(EngineError::room("read an id"))?;
        let versions = self.store.read(|tx| tx.version_ids_of(id))?;
        if versions.is_empty() {
            return self.keep_row(row);
        }
        let names: BTreeSet<TemplateName> = versions
            .iter()
            .filter_map(|version| self.sidecar_of_version(&version.to_string()).ok())
            .map(|sidecar| sidecar.template)
            .collect();
        let mut names = names.into_iter();
        let (Some(name), None) = (names.next(), names.next()) else {
            let why = "the sidecars of its versions do not tell its name";
            return Err(not_mended("template", key, why));
        };
        if self
            .store
            .write_durably(|tx| tx.mend_template(row, &name))?
        {
            let why = "its content had changed; its name was taken from the sidecars of its \
                       versions";
            return Ok((DamageOutcome::Mended, why.to_owned()));
        }
        // The name was right, or is now; when it was made is lost.
        self.keep_row(row)
    }

    fn mend_version(&self, key: &str) -> Result<(), EngineError> {
        let sidecar = self.sidecar_of_version(key)?;
        self.store.write_durably(|tx| {
            // Its template is looked for by name, and would be made anew beside the damaged one.
            if tx.has_damage("templates", None)? {
                return Err(not_mended("version", key, "a template's row is damaged"));
            }
            let row = version_row(tx, &sidecar)?;
            Ok(tx.mend_version(&row)?)
        })
    }

    fn mend_exceptions(&self, key: &str) -> Result<(), EngineError> {
        let sidecar = self.sidecar_of_version(key)?;
        let rows: Vec<ExceptionRow> = sidecar.exceptions.into_iter().map(Into::into).collect();
        let write = |tx: &Tx<'_>| tx.replace_exceptions(sidecar.id, &rows);
        Ok(self.store.write_durably(write)?)
    }

    /// Takes a move of a channel back from the sidecars of the versions that it is about.
    fn mend_channel_move(&self, row: &DamagedRow) -> Result<(DamageOutcome, String), EngineError> {
        let mut found = Vec::new();
        for id in self.store.read(|tx| tx.version_ids())? {
            found.extend(self.sidecar_of_version(&id.to_string()).ok());
        }
        let is_back = self.store.write_durably(|tx| {
            tx.delete_damaged_row(row)?;
            let mut is_back = false;
            for sidecar in &found {
                let Some(template) = tx.template(&sidecar.template)? else {
                    continue;
                };
                for one in sidecar.channel_moves.clone() {
                    is_back |= tx.add_channel_move(&one.into_row(template.id))?;
                }
            }
            match is_back {
                true => Ok(()),
                // Nothing is written: it is kept below.
                false => Err(not_mended("move", &row.key.join("/"), "no sidecar has it")),
            }
        });
        match is_back {
            Ok(()) => {
                let why = "its content had changed; it was made again from the sidecars of its \
                           versions";
                Ok((DamageOutcome::Mended, why.to_owned()))
            }
            Err(EngineError::Conflict { .. }) => self.keep_row(row),
            Err(error) => Err(error),
        }
    }

    /// Takes what somebody signed back from the sidecar of its version. What no sidecar has goes: its
    /// signature would not be right any more.
    fn mend_approval(
        &self,
        row: &DamagedRow,
        key: &str,
    ) -> Result<(DamageOutcome, String), EngineError> {
        let mut found = Vec::new();
        for id in self.store.read(|tx| tx.version_ids())? {
            let sidecar = self.sidecar_of_version(&id.to_string()).ok();
            let approvals = sidecar.into_iter().flat_map(|sidecar| sidecar.approvals);
            found.extend(
                approvals
                    .filter(|one| one.id == key)
                    .map(|one| one.into_row(id)),
            );
        }
        let gone = "its content has changed, and no sidecar has it: what was said is lost";
        self.store.write_durably(|tx| {
            tx.delete_damaged_row(row)?;
            for one in &found {
                tx.add_approval(one)?;
            }
            match found.is_empty() {
                false => Ok(()),
                true => {
                    let detail = format!("row {key} of approvals: {gone}");
                    self.audit(tx, "damage", "catalog", &detail)
                }
            }
        })?;
        Ok(match found.is_empty() {
            true => (DamageOutcome::Kept, gone.to_owned()),
            false => {
                let why = "its content had changed; it was made again from the sidecar of its \
                           version";
                (DamageOutcome::Mended, why.to_owned())
            }
        })
    }

    /// Points a channel again as its newest move says.
    fn mend_channel(&self, row: &DamagedRow) -> Result<(DamageOutcome, String), EngineError> {
        let is_back = self.store.write_durably(|tx| {
            let before = tx.channel_count()?;
            tx.delete_damaged_row(row)?;
            self.point_channels(tx)?;
            match tx.channel_count()? == before {
                true => Ok(()),
                false => Err(not_mended("channel", &row.key.join("/"), "it has no moves")),
            }
        });
        match is_back {
            Ok(()) => {
                let why = "its content had changed; it was made again from its moves";
                Ok((DamageOutcome::Mended, why.to_owned()))
            }
            Err(EngineError::Conflict { .. }) => self.keep_row(row),
            Err(error) => Err(error),
        }
    }

    /// The newest sidecar of a version whose checksum is right.
    fn sidecar_of_version(&self, key: &str) -> Result<VersionSidecar, EngineError> {
        let id: VersionId = key.parse().map_err(EngineError::room("read an id"))?;
        let mut newest: Option<VersionSidecar> = None;
        let mut why = "it has no sidecar".to_owned();
        for image in self.image_ids()? {
            let path = self.version_sidecar_path(&image, id);
            if !path.exists() {
                continue;
            }
            match read_version(&image, &path) {
                Ok((sidecar, Protection::Right)) if sidecar.id == id => {
                    if newest
                        .as_ref()
                        .is_none_or(|n| n.changed_ms < sidecar.changed_ms)
                    {
                        newest = Some(sidecar);
                    }
                }
                Ok(_) => why = format!("{} has no checksum", path.display()),
                Err(error) => why = error.chain(),
            }
        }
        newest.ok_or_else(|| not_mended("version", key, &why))
    }

    fn sidecar_of_guest(&self, key: &str) -> Result<GuestSidecar, EngineError> {
        let id: GuestId = key.parse().map_err(EngineError::room("read an id"))?;
        let path: PathBuf = self.guest_dir(id).join(GUEST);
        match read_sidecar::<GuestSidecar>(&path)? {
            (sidecar, Protection::Right) if sidecar.id == id => Ok(sidecar),
            _ => Err(not_mended("guest", key, "its sidecar has no checksum")),
        }
    }

    fn mend_guest(&self, key: &str) -> Result<(), EngineError> {
        let row = guest_row(&self.sidecar_of_guest(key)?, self.now_ms());
        Ok(self.store.write_durably(|tx| tx.mend_guest(&row))?)
    }

    fn mend_host_name(&self, row: &DamagedRow, key: &str) -> Result<(), EngineError> {
        let sidecar = self.sidecar_of_guest(key)?;
        Ok(self.store.write_durably(|tx| {
            tx.delete_damaged_row(row)?;
            match &sidecar.host_name {
                Some(name) => tx.keep_host_name(sidecar.id, name),
                None => Ok(()),
            }
        })?)
    }

    fn mend_facts(&self, key: &str) -> Result<(), EngineError> {
        let guest = self.guest_of(key)?;
        self.refuse_unless_stopped(&guest, "read the passport of")?;
        let facts = self.facts_from_disk(&guest, &VersionFactsCache::default())?;
        Ok(self.store.write(|tx| tx.put_facts(guest.id, &facts))?)
    }

    fn guest_of(&self, key: &str) -> Result<GuestRow, EngineError> {
        let id: GuestId = key.parse().map_err(EngineError::room("read an id"))?;
        let row = self.store.read(|tx| tx.guest(id))?;
        row.ok_or_else(|| not_mended("guest", key, "it is not in the catalog"))
    }
}

/// An error when the rows of a table, of which one is damaged, can't be read any more.
fn is_readable(tx: &Tx<'_>, row: &DamagedRow) -> Result<(), StoreError> {
    let key = row.key.first().map_or("", String::as_str);
    let operation = key.parse::<OperationId>().ok();
    match (row.table.as_str(), operation) {
        ("operations", Some(id)) => tx.operation(id).map(drop),
        ("events", Some(id)) => tx.events_after(id, 0).map(drop),
        ("audit", _) => tx.audit(u32::MAX).map(drop),
        ("templates", _) => tx.templates().map(drop),
        ("channels", _) => tx.channels().map(drop),
        ("channel_moves", _) => tx.check_channel_moves(),
        _ => tx.setting(key).map(drop),
    }
}

fn not_mended(what: &str, key: &str, why: &str) -> EngineError {
    EngineError::Conflict {
        act: format!("mend the row of {what} {key}"),
        why: why.to_owned(),
    }
}
