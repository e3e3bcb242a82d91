//! Sidecars: what is needed to rebuild the catalog, kept beside the bytes.
//!
//! `images/<image-id>/version-<version-id>.json` for each version of an image, and
//! `guests/<guest-id>/guest.json` for each guest. They are written by the
//! operation that changes the row, and recovery writes them again from the row when its process
//! ended before or after the commit.
//! They hold no secrets: a guest's personalisation is left out. Each has a checksum of its own.

mod checksum;

pub(crate) use checksum::Protection;

use crate::engine::Engine;
use crate::error::EngineError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use stampo_core::channel::MoveKind;
use stampo_core::goal::CloneKind;
use stampo_core::guest::GuestState;
use stampo_core::hardware::Hardware;
use stampo_core::ids::{GuestId, ImageId, TemplateId, VersionId};
use stampo_core::lifecycle::{Governance, State};
use stampo_core::names::{ChannelName, GuestName, TemplateName};
use stampo_core::plan::GuestPlan;
use stampo_core::size::ByteSize;
use stampo_image::{durable, regular};
use stampo_store::{
    ApprovalRow, ChannelMoveRow, ExceptionRow, GuestRow, StoreError, Tx, VersionRow,
};
use std::path::{Path, PathBuf};

/// The form of the files. A file of a higher form is refused, never guessed at.
pub(crate) const FORMAT: u32 = 1;

/// The form of a version's sidecar that has reasons, dates, a hold or moves of channels. Whoever
/// knows only the form before must not take such a version in without them.
const GOVERNED_FORMAT: u32 = 2;

/// The form of a version's sidecar that has what people signed about it, for the same reason.
const APPROVED_FORMAT: u32 = 3;

/// The name of a guest's sidecar in its directory.
pub(crate) const GUEST: &str = "guest.json";

/// Why nothing is done to a guest whose row is older than its sidecar.
pub(crate) const OUTDATED: &str = "its sidecar is newer than the catalog: an older catalog was put \
                                   back; take in what is newer: stampo store rescan";

/// The largest sidecar that is read.
pub(crate) const LIMIT_BYTES: u64 = 16 << 20;

/// A version's sidecar.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VersionSidecar {
    pub format: u32,
    pub id: VersionId,
    pub template: TemplateName,
    pub number: u32,
    pub state: State,
    pub image: ImageId,
    pub virtual_size: ByteSize,
    pub data: ByteSize,
    pub hardware: Hardware,
    pub origin: serde_json::Value,
    pub proof: Option<serde_json::Value>,
    pub exceptions: Vec<ExceptionSidecar>,
    #[serde(default, skip_serializing_if = "Governance::is_empty")]
    pub governance: Governance,
    /// The moves of channels to and from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channel_moves: Vec<ChannelMoveSidecar>,
    /// What people said about it, as they signed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalSidecar>,
    pub created_ms: i64,
    pub changed_ms: i64,
    pub verified_ms: Option<i64>,
}

/// An accepted finding in a version's sidecar.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ExceptionSidecar {
    pub finding: String,
    pub path: String,
    pub reason: String,
    pub actor: String,
    pub created_ms: i64,
}

/// A move of a channel in a version's sidecar. Versions are named by number: all are of one template.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ChannelMoveSidecar {
    pub channel: ChannelName,
    pub sequence: u32,
    pub kind: MoveKind,
    pub from: Option<u32>,
    pub to: Option<u32>,
    pub actor: String,
    pub reason: String,
    pub at_ms: i64,
}

/// What somebody said, in a version's sidecar.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ApprovalSidecar {
    pub id: String,
    pub sequence: u32,
    pub statement: String,
    pub signature: String,
    pub key: String,
    pub report: String,
    pub provenance: String,
    pub actor: String,
}

/// A guest's sidecar.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GuestSidecar {
    pub format: u32,
    pub id: GuestId,
    pub name: GuestName,
    /// The host name that it has inside, if it was renamed since.
    #[serde(default)]
    pub host_name: Option<GuestName>,
    pub version: VersionId,
    /// `name@N`, for a person who reads this without a catalog.
    pub version_label: String,
    pub image: ImageId,
    pub kind: CloneKind,
    /// `ready`; `trashed` when it was removed with a grace time, `pooled` while a pool keeps it.
    pub state: GuestState,
    pub plan: GuestPlan,
    pub host_keys: Vec<String>,
    pub created_ms: i64,
    /// When the row was last changed of which this was written; 0 if it was not noted then.
    #[serde(default)]
    pub changed_ms: i64,
    /// When a trashed guest may be taken away for good.
    pub keep_until_ms: Option<i64>,
}

impl Engine {
    pub(crate) fn version_sidecar_path(&self, image: &ImageId, id: VersionId) -> PathBuf {
        self.pool
            .image_dir(image)
            .join(format!("version-{id}.json"))
    }

    /// Writes a version's sidecar, if the version has bytes.
    pub(crate) fn write_version_sidecar(&self, row: &VersionRow) -> Result<(), EngineError> {
        let sidecar = self.store.read(|tx| version_sidecar(tx, row))?;
        match sidecar {
            Some(sidecar) => {
                let path = self.version_sidecar_path(&sidecar.image, row.id);
                write_sidecar(&path, &sidecar)
            }
            None => Ok(()),
        }
    }

    /// Removes a version's sidecar.
    pub(crate) fn remove_version_sidecar(
        &self,
        image: &ImageId,
        row: &VersionRow,
    ) -> Result<(), EngineError> {
        // Durably: the operation that removes it ends durably, and then nobody looks again.
        durable::ensure_removed_durably(&self.version_sidecar_path(image, row.id))
            .map_err(EngineError::room("remove a sidecar"))
    }

    /// Writes a guest's sidecar into its directory. A guest that is still being made is described
    /// as it will be.
    pub(crate) fn write_guest_sidecar(&self, row: &GuestRow) -> Result<(), EngineError> {
        let sidecar = self.store.read(|tx| sidecar_of_row(tx, row))?;
        write_sidecar(&self.guest_dir(row.id).join(GUEST), &sidecar)
    }

    /// Refuses to act on a guest whose sidecar is right and newer than its row: what the row says
    /// was so once, and acting on it would overwrite what is so now.
    pub(crate) fn refuse_outdated(
        &self,
        tx: &Tx<'_>,
        row: &GuestRow,
        act: &str,
    ) -> Result<(), EngineError> {
        if !self.is_outdated(tx, row)? {
            return Ok(());
        }
        Err(EngineError::Conflict {
            act: format!("{act} {}", row.name),
            why: OUTDATED.to_owned(),
        })
    }

    /// Whether a guest's sidecar is right and newer than its row. One that can't be read says
    /// nothing.
    pub(crate) fn is_outdated(&self, tx: &Tx<'_>, row: &GuestRow) -> Result<bool, EngineError> {
        let path = self.guest_dir(row.id).join(GUEST);
        match read_sidecar::<GuestSidecar>(&path) {
            // Few are newer at all: only of those is the rest compared.
            Ok((sidecar, Protection::Right))
                if sidecar.id == row.id && sidecar.changed_ms > row.changed_ms =>
            {
                sidecar.is_newer(&sidecar_of_row(tx, row)?)
            }
            _ => Ok(false),
        }
    }
}

/// The content of a version's sidecar; none when it has no bytes.
pub(crate) fn version_sidecar(
    tx: &Tx<'_>,
    row: &VersionRow,
) -> Result<Option<VersionSidecar>, StoreError> {
    let Some(image) = row.image.clone() else {
        return Ok(None);
    };
    let exceptions = tx.exceptions(row.id)?;
    let channel_moves = tx.moves_of_version(row.template_id, row.number)?;
    let approvals = tx.approvals(row.id)?;
    let is_plain = row.governance.is_empty() && channel_moves.is_empty();
    Ok(Some(VersionSidecar {
        format: match (is_plain, approvals.is_empty()) {
            (_, false) => APPROVED_FORMAT,
            (false, true) => GOVERNED_FORMAT,
            (true, true) => FORMAT,
        },
        id: row.id,
        template: row.template.clone(),
        number: row.number,
        state: row.state,
        image,
        virtual_size: row.virtual_size,
        data: row.data,
        hardware: row.hardware.clone(),
        origin: row.origin.clone(),
        proof: row.proof.clone(),
        exceptions: exceptions.into_iter().map(ExceptionSidecar::from).collect(),
        governance: row.governance.clone(),
        channel_moves: channel_moves.into_iter().map(Into::into).collect(),
        approvals: approvals.into_iter().map(Into::into).collect(),
        created_ms: row.created_ms,
        changed_ms: row.changed_ms,
        verified_ms: row.verified_ms,
    }))
}

/// The sidecar that a guest's row would have.
fn sidecar_of_row(tx: &Tx<'_>, row: &GuestRow) -> Result<GuestSidecar, EngineError> {
    let label = tx.version_label(row.version)?.unwrap_or_default();
    Ok(guest_sidecar(row, label, tx.host_name(row.id)?))
}

/// The content of a guest's sidecar.
pub(crate) fn guest_sidecar(
    row: &GuestRow,
    label: String,
    host_name: Option<GuestName>,
) -> GuestSidecar {
    GuestSidecar {
        format: FORMAT,
        id: row.id,
        name: row.name.clone(),
        host_name,
        version: row.version,
        version_label: label,
        image: row.image.clone(),
        kind: row.kind,
        state: match (row.state, &row.plan.member) {
            (GuestState::Trashed, _) => GuestState::Trashed,
            (_, Some(member)) if !member.taken => GuestState::Pooled,
            _ => GuestState::Ready,
        },
        plan: GuestPlan {
            personalisation: None,
            ..row.plan.clone()
        },
        host_keys: row.host_keys.clone(),
        created_ms: row.created_ms,
        changed_ms: row.changed_ms,
        keep_until_ms: row.keep_until_ms,
    }
}

/// A sidecar: its form is checked before it is read.
pub(crate) trait Sidecar: Serialize + DeserializeOwned {
    /// The highest form that is read.
    const NEWEST_FORMAT: u32 = FORMAT;
}

impl Sidecar for VersionSidecar {
    const NEWEST_FORMAT: u32 = APPROVED_FORMAT;
}

impl Sidecar for GuestSidecar {}

/// A sidecar that says how old it is.
pub(crate) trait Dated: Sidecar {
    /// When the row was last changed of which it was written, in milliseconds since 1970.
    fn changed_ms(&self) -> i64;

    /// Without what may differ from the row while the sidecar is right.
    fn content(&self) -> Result<Value, EngineError>;

    /// Whether it says the same as `other`.
    fn is_same(&self, other: &Self) -> Result<bool, EngineError> {
        Ok(self.content()? == other.content()?)
    }

    /// Whether it shows that an older catalog was put back: it says something else than `row`, as
    /// the row's sidecar would be, and is newer.
    fn is_newer(&self, row: &Self) -> Result<bool, EngineError> {
        Ok(self.changed_ms() > row.changed_ms() && !self.is_same(row)?)
    }
}

impl Dated for VersionSidecar {
    fn changed_ms(&self) -> i64 {
        self.changed_ms
    }

    fn content(&self) -> Result<Value, EngineError> {
        serde_json::to_value(self).map_err(EngineError::room("compare a sidecar"))
    }
}

impl Dated for GuestSidecar {
    fn changed_ms(&self) -> i64 {
        self.changed_ms
    }

    /// A guest's row also changes in what its sidecar does not hold.
    fn content(&self) -> Result<Value, EngineError> {
        let undated = GuestSidecar {
            changed_ms: 0,
            ..self.clone()
        };
        serde_json::to_value(undated).map_err(EngineError::room("compare a sidecar"))
    }
}

impl From<ChannelMoveRow> for ChannelMoveSidecar {
    fn from(row: ChannelMoveRow) -> Self {
        ChannelMoveSidecar {
            channel: row.channel,
            sequence: row.sequence,
            kind: row.kind,
            from: row.from,
            to: row.to,
            actor: row.actor,
            reason: row.reason,
            at_ms: row.at_ms,
        }
    }
}

impl ChannelMoveSidecar {
    /// The row of a move of this template's channels.
    pub(crate) fn into_row(self, template_id: TemplateId) -> ChannelMoveRow {
        ChannelMoveRow {
            template_id,
            channel: self.channel,
            sequence: self.sequence,
            kind: self.kind,
            from: self.from,
            to: self.to,
            actor: self.actor,
            reason: self.reason,
            at_ms: self.at_ms,
        }
    }
}

impl From<ApprovalRow> for ApprovalSidecar {
    fn from(row: ApprovalRow) -> Self {
        ApprovalSidecar {
            id: row.id,
            sequence: row.sequence,
            statement: row.statement,
            signature: row.signature,
            key: row.key,
            report: row.report,
            provenance: row.provenance,
            actor: row.actor,
        }
    }
}

impl ApprovalSidecar {
    /// The row of what was said about this version.
    pub(crate) fn into_row(self, version: VersionId) -> ApprovalRow {
        ApprovalRow {
            id: self.id,
            version,
            sequence: self.sequence,
            statement: self.statement,
            signature: self.signature,
            key: self.key,
            report: self.report,
            provenance: self.provenance,
            actor: self.actor,
        }
    }
}

impl From<ExceptionRow> for ExceptionSidecar {
    fn from(row: ExceptionRow) -> Self {
        ExceptionSidecar {
            finding: row.finding,
            path: row.path,
            reason: row.reason,
            actor: row.actor,
            created_ms: row.created_ms,
        }
    }
}

impl From<ExceptionSidecar> for ExceptionRow {
    fn from(sidecar: ExceptionSidecar) -> Self {
        ExceptionRow {
            finding: sidecar.finding,
            path: sidecar.path,
            reason: sidecar.reason,
            actor: sidecar.actor,
            created_ms: sidecar.created_ms,
        }
    }
}

/// Reads a version's and a guest's sidecar and gives them as they would be written, for fuzzing.
#[doc(hidden)]
pub fn rewritten_sidecars(text: &[u8]) -> [Option<Vec<u8>>; 2] {
    fn again<T: Sidecar>(text: &[u8]) -> Option<Vec<u8>> {
        let (sidecar, _) = parse_sidecar::<T>(Path::new("sidecar"), text).ok()?;
        Some(checksum::add(serde_json::to_vec_pretty(&sidecar).ok()?))
    }
    [again::<VersionSidecar>(text), again::<GuestSidecar>(text)]
}

/// Writes a sidecar with its checksum, in place of the one that is there.
pub(crate) fn write_sidecar<T: Serialize>(path: &Path, value: &T) -> Result<(), EngineError> {
    let text = serde_json::to_vec_pretty(value).map_err(EngineError::room("write a sidecar"))?;
    durable::write_file_durably(path, &checksum::add(text), 0o600)
        .map_err(EngineError::room("write a sidecar"))
}

/// A sidecar and what its checksum says, which is never *wrong*: that is an error.
pub(crate) fn read_sidecar<T: Sidecar>(path: &Path) -> Result<(T, Protection), EngineError> {
    let text = regular::read(path, LIMIT_BYTES).map_err(EngineError::io("read", path))?;
    parse_sidecar(path, &text)
}

/// As [`read_sidecar`], of bytes that are read already; `path` is for messages.
fn parse_sidecar<T: Sidecar>(path: &Path, text: &[u8]) -> Result<(T, Protection), EngineError> {
    let protection = checksum::check(text);
    if protection == Protection::Wrong {
        return Err(unusable(path, "its checksum is not that of its content"));
    }
    let failed = || format!("read {}", path.display());
    let value: Value = serde_json::from_slice(text).map_err(EngineError::room(failed()))?;
    let format = value["format"].as_u64().unwrap_or_default();
    if !(u64::from(FORMAT)..=u64::from(T::NEWEST_FORMAT)).contains(&format) {
        return Err(unusable(path, "it is of another form"));
    }
    let sidecar: T = serde_json::from_value(value.clone()).map_err(EngineError::room(failed()))?;
    // One without a checksum is of before, and has no field that we do not know.
    let known = serde_json::to_value(&sidecar).map_err(EngineError::room(failed()))?;
    let is_known = |fields: &Map<String, Value>| fields.keys().all(|key| known.get(key).is_some());
    if protection == Protection::None && !value.as_object().is_some_and(is_known) {
        return Err(unusable(path, "it has lost its checksum"));
    }
    Ok((sidecar, protection))
}

/// Why a sidecar is of no use.
pub(crate) fn unusable(path: &Path, why: &str) -> EngineError {
    EngineError::Conflict {
        act: format!("take in {}", path.display()),
        why: why.to_owned(),
    }
}
