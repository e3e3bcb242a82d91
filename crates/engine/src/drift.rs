//! `drift`: what guests have become, against the versions that they came from.
//!
//! ```text
//! lineage (catalog) → blocks (the overlay's own tables) → the rest of the disk (bytes) → files
//! ```
//! Only reads, but for accepting what was found. A guest that runs has its disk open, which keeps us
//! out: of its files nothing is known then, and that is said.

use crate::clone::disk_name;
use crate::engine::Engine;
use crate::error::EngineError;
use stampo_core::goal::CloneKind;
use stampo_core::lineage::{Ancestor, Lineage, lineage};
use stampo_core::names::GuestName;
use stampo_driver::Power;
use stampo_guest::drift::{Class, Drift, Options, OtherPart, compare, compare_rest};
use stampo_guest::fs::{Ext4Reader, GuestRead, RootPartition, find_root};
use stampo_image::device::BlockDevice;
use stampo_image::overlay::{Overlay, OwnRange};
use stampo_image::raw::RawFile;
use stampo_store::GuestRow;
use std::ops::Range;
use std::sync::Arc;

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct DriftOptions {
    /// Read every file, whatever its metadata says.
    pub paranoid: bool,
    /// Take what is found for what is to be, for this reason.
    pub accept: Option<String>,
}

/// What a guest's own overlay holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// Bytes that are not the version's, in whole clusters.
    pub bytes: u64,
    /// In how many pieces.
    pub extents: usize,
}

/// What a guest has become, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriftVerdict {
    /// What every guest changes, and nothing else.
    None,
    /// Something, but nothing of class security.
    Drifted,
    /// Something of class security.
    Security,
    /// Nothing of class security was found, and not everything could be looked at.
    Unknown,
}

impl DriftVerdict {
    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            DriftVerdict::None => "none",
            DriftVerdict::Drifted => "drifted",
            DriftVerdict::Security => "security",
            DriftVerdict::Unknown => "unknown",
        }
    }
}

/// What a guest has become.
#[derive(Debug, Clone, PartialEq)]
pub struct GuestDrift {
    /// The guest.
    pub guest: GuestName,
    /// The version that it came from, `name@N`.
    pub version: String,
    /// How it stands to that.
    pub lineage: Lineage,
    /// What its overlay holds; `None` where it has none, or it can't be read now.
    pub blocks: Option<Blocks>,
    /// The parts of its disk besides its root that are not the version's, or not known.
    pub parts: Vec<OtherPart>,
    /// Its files.
    pub files: Drift,
}

impl GuestDrift {
    /// In one word.
    pub fn verdict(&self) -> DriftVerdict {
        let boot = self
            .parts
            .iter()
            .any(|part| part.is_boot && part.is_same == Some(false));
        if boot || self.files.count(Class::Security) > 0 {
            return DriftVerdict::Security;
        }
        if !self.files.unknowns.is_empty() || !self.parts.is_empty() {
            return DriftVerdict::Unknown;
        }
        let counts = |class| self.files.count(class) > 0;
        let drifted = [Class::Foreign, Class::Config, Class::Package]
            .into_iter()
            .any(counts);
        match drifted || !self.files.packages.is_empty() {
            true => DriftVerdict::Drifted,
            false => DriftVerdict::None,
        }
    }
}

/// A guest's disk and what it is compared with.
struct Pair {
    version: Arc<dyn BlockDevice>,
    guest: Arc<dyn BlockDevice>,
    /// What of the guest's disk may be other bytes.
    touched: Option<Vec<Range<u64>>>,
    blocks: Option<Blocks>,
}

impl Engine {
    /// What these guests have become; all complete guests when none is named.
    pub fn drift(
        &self,
        names: &[GuestName],
        options: &DriftOptions,
    ) -> Result<Vec<GuestDrift>, EngineError> {
        let rows = if names.is_empty() {
            let all = self.store.read(|tx| tx.guests())?;
            all.into_iter()
                .filter(|row| row.state.is_complete())
                .collect()
        } else {
            names
                .iter()
                .map(|name| self.ready_guest(name, "look for drift of"))
                .collect::<Result<Vec<_>, _>>()?
        };
        rows.iter().map(|row| self.drift_of(row, options)).collect()
    }

    fn drift_of(&self, row: &GuestRow, options: &DriftOptions) -> Result<GuestDrift, EngineError> {
        let (version, lineage) = self.lineage_of(row)?;
        let mut found = GuestDrift {
            guest: row.name.clone(),
            version,
            lineage,
            blocks: None,
            parts: Vec::new(),
            files: Drift::default(),
        };
        let why = match self.power(row) {
            Power::Stopped | Power::Undefined => {
                match self.look_for_drift(row, options, &mut found) {
                    Ok(()) => return Ok(found),
                    // Of the others something is known all the same.
                    Err(error) if options.accept.is_none() => {
                        format!("failed to {}", error.chain())
                    }
                    Err(error) => return Err(error),
                }
            }
            Power::Running { .. } | Power::Paused { .. } => {
                "its disk is not read while it runs; stop it: stampo stop".to_owned()
            }
            Power::Unknown { reason } => reason,
        };
        if options.accept.is_some() {
            let act = format!("accept what {} has become", row.name);
            return Err(EngineError::Conflict { act, why });
        }
        found.files.unknowns.push(why);
        Ok(found)
    }

    /// The version of a guest, and how the guest stands to it.
    pub fn lineage_of(&self, row: &GuestRow) -> Result<(String, Lineage), EngineError> {
        self.store.read(|tx| {
            let Some(version) = tx.version(row.version)? else {
                return Ok((row.version.to_string(), lineage(None)));
            };
            let standing = version.governance.standing(version.state, self.now_ms());
            let newer = tx.newer_published(version.template_id, version.number)?;
            let ancestor = Ancestor { standing, newer };
            Ok((version.label(), lineage(Some(ancestor))))
        })
    }

    fn look_for_drift(
        &self,
        row: &GuestRow,
        options: &DriftOptions,
        found: &mut GuestDrift,
    ) -> Result<(), EngineError> {
        let act = || format!("look into {}", row.name);
        let pair = self.open_pair(row)?;
        found.blocks = pair.blocks;
        let root = find_root(Arc::clone(&pair.version)).map_err(EngineError::room(act()))?;
        let of_guest = find_root(Arc::clone(&pair.guest)).map_err(EngineError::room(act()))?;
        let place = |root: &RootPartition| (root.number, root.start_bytes);
        if place(&root) != place(&of_guest) {
            return Err(EngineError::Conflict {
                act: act(),
                why: "its system is in another partition than its version's".to_owned(),
            });
        }
        let touched = pair.touched.as_deref();
        let parts = compare_rest(&pair.version, &pair.guest, root.number, touched);
        let parts = parts.map_err(|why| EngineError::Conflict { act: act(), why })?;
        // Swap space holds nothing that is started or believed.
        let counts = |part: &OtherPart| {
            part.is_same != Some(true) && part.filesystem.as_deref() != Some("swap")
        };
        found.parts = parts.into_iter().filter(counts).collect();
        let open = |root: &RootPartition| Ext4Reader::open(Arc::clone(&root.device));
        let version = open(&root).map_err(EngineError::room(act()))?;
        let guest = open(&of_guest).map_err(EngineError::room(act()))?;
        let mut made = self.made(row)?;
        let begin = of_guest.start_bytes;
        let options_of = Options {
            paranoid: options.paranoid,
            seed: rand::random(),
            touched: pair.touched.map(|touched| inside(&touched, begin)),
        };
        found.files = compare(
            version.as_ref(),
            guest.as_ref(),
            &made.baseline,
            &options_of,
        );
        if let Some(reason) = &options.accept {
            self.accept_drift(row, &mut made, guest.as_ref(), found, reason)?;
        }
        Ok(())
    }

    /// Records what was found as what is to be.
    fn accept_drift(
        &self,
        row: &GuestRow,
        made: &mut crate::clone::Made,
        guest: &dyn GuestRead,
        found: &GuestDrift,
        reason: &str,
    ) -> Result<(), EngineError> {
        let act = || format!("accept what {} has become", row.name);
        stampo_core::lifecycle::check_reason(Some(reason)).map_err(|error| EngineError::Usage {
            act: act(),
            why: error.to_string(),
        })?;
        made.baseline
            .accept(guest, &found.files.findings)
            .map_err(|(path, why)| EngineError::Conflict {
                act: act(),
                why: format!("{path}: {why}"),
            })?;
        let detail = format!("{} findings: {reason}", found.files.findings.len());
        // Recorded first: what was accepted without a record would be worse than the reverse.
        self.store
            .write_durably(|tx| self.audit(tx, "drift accept", row.name.as_str(), &detail))?;
        self.write_made(row, made)
    }

    fn open_pair(&self, row: &GuestRow) -> Result<Pair, EngineError> {
        let image = self.pool.image_disk(&row.image);
        if !image.exists() {
            return Err(EngineError::Conflict {
                act: format!("compare {} with its version", row.name),
                why: "the version's bytes are gone".to_owned(),
            });
        }
        let act = || format!("open the disk of {}", row.name);
        let frozen = row
            .plan
            .fork
            .as_ref()
            .map(|fork| self.frozen_disk(&row.image, &fork.origin));
        let mut touched = Vec::new();
        let version: Arc<dyn BlockDevice> = match &frozen {
            // A fork begins where the guest was that was frozen.
            Some(frozen) => {
                let frozen = Overlay::open_read_only(frozen, &image);
                let frozen = frozen.map_err(EngineError::room(act()))?;
                touched.extend(own(&frozen)?);
                Arc::new(frozen)
            }
            None => {
                Arc::new(RawFile::open_read_only(&image).map_err(EngineError::io("open", &image))?)
            }
        };
        if row.kind != CloneKind::Linked {
            return Ok(Pair {
                version,
                guest: self.open_disk(row, false)?,
                touched: None,
                blocks: None,
            });
        }
        let path = self.guest_dir(row.id).join(disk_name(row.kind));
        let overlay = Overlay::open_read_only(&path, &image).map_err(EngineError::room(act()))?;
        let of_guest = own(&overlay)?;
        let blocks = Blocks {
            bytes: of_guest.iter().map(|range| range.end - range.start).sum(),
            extents: merged(of_guest.clone()).len(),
        };
        touched.extend(of_guest);
        Ok(Pair {
            version,
            guest: Arc::new(overlay),
            touched: Some(merged(touched)),
            blocks: Some(blocks),
        })
    }
}

/// What an overlay holds itself.
fn own(overlay: &Overlay) -> Result<Vec<Range<u64>>, EngineError> {
    let ranges = overlay.own_ranges();
    let ranges = ranges.map_err(EngineError::room("read what an overlay holds"))?;
    let range = |one| match one {
        OwnRange::Data(range) | OwnRange::Zeros(range) => range,
    };
    Ok(ranges.into_iter().map(range).collect())
}

/// The same ranges in order, joined where they touch.
fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// The parts of ranges from `begin` on, counted from there.
fn inside(ranges: &[Range<u64>], begin: u64) -> Vec<Range<u64>> {
    let after = ranges.iter().filter(|range| range.end > begin);
    after
        .map(|range| range.start.saturating_sub(begin)..range.end - begin)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_joined_and_counted_from_their_partition() {
        let ranges = merged(vec![30..40, 0..10, 10..20, 35..50]);
        assert_eq!(ranges, [0..20, 30..50]);
        assert_eq!(inside(&ranges, 15), [0..5, 15..35]);
        assert_eq!(inside(&ranges, 20), vec![10..30; 1]);
        assert_eq!(merged(Vec::new()), Vec::<Range<u64>>::new());
    }
}
