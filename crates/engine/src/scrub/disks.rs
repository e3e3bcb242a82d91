//! The disks of images and their leaf indexes, and putting versions into quarantine.
//!
//! An index is redundant: the image id is a hash of it, so a damaged one is made again from a disk
//! that is right. A damaged disk is told from its index. A disk that can't be read or is not there
//! is reported and not judged, since nothing leads out of quarantine: the next attempt may succeed,
//! the file or its medium can be put back, and a cable is no reason to lose a version.

use super::{Damage, DamageOutcome, DamagedThing, ScrubReport};
use crate::engine::Engine;
use crate::error::{EngineError, chain};
use crate::work::{PhaseProgress, Work};
use stampo_core::ids::ImageId;
use stampo_core::lifecycle::{Evidence, State, Verb, transition};
use stampo_image::identity::{IdentityError, LeafIndex, Pace, leaf_index_of_medium};
use stampo_image::pool::PoolError;
use stampo_store::{OperationState, Tx, VersionRow};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// More ranges than this are only counted.
const MOST_RANGES: usize = 8;

/// What to do about a disk that can't be read, or an index that can't be written.
const LOOK_AT_HOST: &str =
    "look at the disk of the host (dmesg, smartctl), then: stampo store scrub";
/// What to do about a disk that is not there.
const PUT_BACK: &str = "put the file or its medium back, then: stampo store scrub; if it is lost \
                        for good: stampo template purge";
/// What to do about a memory image that has changed.
const FREEZE_AGAIN: &str = "stop the instant clones of it and remove pools of it, then: stampo \
                            template freeze NAME@N; nothing of it can be trusted";
/// What to do about what something else works on.
pub(super) const WAIT: &str = "stampo store scrub, when the operation that runs has ended";

/// What the disk of an image is found to be.
pub(crate) enum DiskFound {
    /// As it was recorded.
    Right,
    /// As it was recorded; its index was not, and was made again.
    IndexMended(String),
    /// As it was recorded; its index was not, and could not be made again.
    IndexDamaged(String),
    /// Other bytes: where, if the index tells, and why.
    Changed(Vec<Range<u64>>, String),
}

impl Engine {
    /// The images of all versions, without those that were found right within `older_than`. Those
    /// that were read longest ago come first, so that repeated short scrubs reach all.
    pub(super) fn images_to_scrub(
        &self,
        older_than: Option<Duration>,
        report: &mut ScrubReport,
    ) -> Result<Vec<ImageId>, EngineError> {
        let (images, scrubs) = self
            .store
            .read(|tx| Ok::<_, EngineError>((tx.images_of_versions()?, tx.scrubs()?)))?;
        let age_ms = older_than.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let since_ms = age_ms.map(|age_ms| self.now_ms().saturating_sub(age_ms));
        let at_ms = |image: &ImageId| scrubs.get(image).copied().unwrap_or(i64::MIN);
        let all = images.len();
        let mut due: Vec<ImageId> = images
            .into_iter()
            .filter(|image| since_ms.is_none_or(|since_ms| at_ms(image) < since_ms))
            .collect();
        due.sort_by_key(|image| at_ms(image));
        report.images_skipped = all - due.len();
        Ok(due)
    }

    /// Reads one image, and puts its versions into quarantine when its bytes have changed.
    pub(super) fn scrub_image(
        &self,
        work: &Work<'_>,
        image: &ImageId,
        pace: &Pace,
        report: &mut ScrubReport,
    ) -> Result<(), EngineError> {
        let label = match self.versions_of_image(image)?.as_slice() {
            // It was purged meanwhile.
            [] => return Ok(()),
            labels => labels.join(", "),
        };
        let result = work.phase(&label, "disk", || {
            let result = self.check_disk(work, image, |path, progress| {
                leaf_index_of_medium(path, pace, progress)
            });
            work.not_cancelled()?;
            let detail = match &result {
                Ok(DiskFound::Right) => "every byte is as it was recorded",
                Ok(DiskFound::IndexMended(_)) => "the leaf index was made again",
                Ok(DiskFound::IndexDamaged(_)) => "the leaf index can't be made again",
                Ok(DiskFound::Changed(..)) => "the bytes have changed",
                Err(_) => "it can't be read",
            };
            Ok((result, detail.to_owned()))
        })?;
        self.faults.reach("scrub.read");
        report.images_read += 1;
        self.judge_disk(work, image, result, report)?;
        self.scrub_memory(work, image, &label, report)
    }

    /// Reads the memory images beside an image. They can be made again, and whoever went on from one
    /// may have read what has changed: that is for a person to judge.
    fn scrub_memory(
        &self,
        work: &Work<'_>,
        image: &ImageId,
        label: &str,
        report: &mut ScrubReport,
    ) -> Result<(), EngineError> {
        for directory in self.memory_dirs(image)? {
            let result = work.phase(label, "memory", || {
                let result = self.memory_damage(image, &directory);
                let detail = match &result {
                    Ok(()) => "every byte is as it was recorded",
                    Err(_) => "it has changed, or can't be read",
                };
                Ok((result, detail.to_owned()))
            })?;
            // A version that was purged meanwhile took it along.
            let (Err(error), true) = (result, directory.is_dir()) else {
                continue;
            };
            report.damage.push(Damage {
                path: directory,
                subjects: self.versions_of_image(image)?,
                clones: self.clones_of_image(image)?,
                ..open_damage(DamagedThing::MemoryImage, chain(&error), FREEZE_AGAIN)
            });
        }
        Ok(())
    }

    fn judge_disk(
        &self,
        work: &Work<'_>,
        image: &ImageId,
        result: Result<DiskFound, PoolError>,
        report: &mut ScrubReport,
    ) -> Result<(), EngineError> {
        use DamagedThing::{Disk, LeafIndex};
        // The last version with these bytes may have been purged while they were read.
        if self.versions_of_image(image)?.is_empty() {
            return Ok(());
        }
        if !matches!(&result, Ok(DiskFound::Changed(..)) | Err(_)) {
            // It was read a moment ago; if it can't be measured now, only the sum is too small.
            let disk = self.pool.image_disk(image);
            report.bytes_read += stampo_image::pool::allocated_bytes(&disk).unwrap_or(0);
            self.store.write(|tx| tx.put_scrub(image, self.now_ms()))?;
        }
        let mut damage = match result {
            Ok(DiskFound::Right) => return Ok(()),
            Ok(DiskFound::IndexMended(why)) => open_damage(LeafIndex, why, ""),
            Ok(DiskFound::IndexDamaged(why)) => open_damage(LeafIndex, why, LOOK_AT_HOST),
            Ok(DiskFound::Changed(ranges, why)) => Damage {
                place: place_of(&ranges),
                ..open_damage(Disk, why, "")
            },
            Err(error @ PoolError::NoImage(_)) => open_damage(Disk, chain(&error), PUT_BACK),
            Err(error) => open_damage(Disk, chain(&error), LOOK_AT_HOST),
        };
        match (damage.what, damage.remedy.is_empty()) {
            (LeafIndex, true) => damage.outcome = DamageOutcome::Mended,
            (Disk, true) => self.quarantine_damaged(work, image, &mut damage, report)?,
            _ => {}
        }
        self.add_damage(image, damage, report)
    }

    fn quarantine_damaged(
        &self,
        work: &Work<'_>,
        image: &ImageId,
        damage: &mut Damage,
        report: &mut ScrubReport,
    ) -> Result<(), EngineError> {
        let why = format!("{} {}", damage.why, damage.place);
        damage.outcome = self.quarantine_image(work, image, why.trim_end(), report)?;
        damage.remedy = match damage.outcome {
            DamageOutcome::Open => WAIT.to_owned(),
            _ => self.disk_remedy(image)?,
        };
        Ok(())
    }

    fn add_damage(
        &self,
        image: &ImageId,
        damage: Damage,
        report: &mut ScrubReport,
    ) -> Result<(), EngineError> {
        let (path, clones) = match damage.what {
            DamagedThing::LeafIndex => (self.pool.image_leaves(image), Vec::new()),
            _ => (self.pool.image_disk(image), self.clones_of_image(image)?),
        };
        report.damage.push(Damage {
            path,
            clones,
            subjects: self.versions_of_image(image)?,
            ..damage
        });
        Ok(())
    }

    /// Compares a disk, read by `read`, with its index; a damaged index of a disk that is right is
    /// made again.
    pub(crate) fn check_disk(
        &self,
        work: &Work<'_>,
        image: &ImageId,
        read: impl FnOnce(
            &Path,
            &dyn stampo_image::progress::Progress,
        ) -> Result<LeafIndex, IdentityError>,
    ) -> Result<DiskFound, PoolError> {
        let path = self.pool.image_disk(image);
        ensure_regular(image, &path)?;
        let recorded = self.pool.leaf_index(image);
        let phase = "disk";
        let found =
            read(&path, &PhaseProgress { work, phase }).map_err(|source| PoolError::Identity {
                id: image.clone(),
                source,
            })?;
        match recorded {
            Ok(recorded) if recorded == found => Ok(DiskFound::Right),
            Ok(recorded) => Ok(DiskFound::Changed(
                recorded.differences(&found),
                "its content is not what was recorded".to_owned(),
            )),
            Err(error) if found.image_id() == *image => {
                let why = chain(&error);
                Ok(match self.pool.restore_leaf_index(image, &found) {
                    Ok(()) => DiskFound::IndexMended(why),
                    Err(failed) => DiskFound::IndexDamaged(format!("{why}; {}", chain(&failed))),
                })
            }
            Err(error) => Ok(DiskFound::Changed(
                Vec::new(),
                format!(
                    "its content is not that of its image id; where is not known: {}",
                    chain(&error)
                ),
            )),
        }
    }

    /// Puts every version of an image into quarantine, with an audit record of each.
    fn quarantine_image(
        &self,
        work: &Work<'_>,
        image: &ImageId,
        why: &str,
        report: &mut ScrubReport,
    ) -> Result<DamageOutcome, EngineError> {
        let mut changed = Vec::new();
        let mut is_complete = true;
        self.store.write_durably(|tx| {
            for mut row in tx.versions_with_image(image)? {
                if is_busy(tx, &row, work)? {
                    is_complete = false;
                } else if let Ok(state) =
                    transition(row.state, Verb::Quarantine, Evidence::default())
                {
                    row.state = state;
                    row.changed_ms = self.now_ms();
                    // Recovery writes its sidecar.
                    row.operation = Some(work.id);
                    tx.update_version(&row)?;
                    self.audit(tx, "quarantine", &row.label(), why)?;
                    changed.push(row);
                } else {
                    is_complete &= row.state == State::Quarantined;
                }
            }
            Ok::<_, EngineError>(())
        })?;
        self.faults.reach("scrub.quarantined");
        self.write_sidecars_of(work, image, &changed, report);
        self.faults.reach("scrub.sidecar");
        Ok(if is_complete {
            DamageOutcome::Quarantined
        } else {
            DamageOutcome::Open
        })
    }

    /// Writes the sidecars of versions in quarantine. For those that can't be written the scrub is
    /// left open, so that recovery writes them; the other disks are still to be looked at.
    fn write_sidecars_of(
        &self,
        work: &Work<'_>,
        image: &ImageId,
        rows: &[VersionRow],
        report: &mut ScrubReport,
    ) {
        for row in rows {
            let Err(error) = self.write_version_sidecar(row) else {
                continue;
            };
            tracing::warn!(error = error.chain(), "a sidecar was not written");
            work.leave_open();
            report.damage.push(Damage {
                path: self.version_sidecar_path(image, row.id),
                subjects: vec![row.label()],
                ..open_damage(DamagedThing::VersionSidecar, error.chain(), LOOK_AT_HOST)
            });
        }
    }

    fn disk_remedy(&self, image: &ImageId) -> Result<String, EngineError> {
        let clones = self.clones_of_image(image)?;
        let versions = self.versions_of_image(image)?;
        Ok(match versions.first() {
            None => "stampo store scrub".to_owned(),
            Some(_) if !clones.is_empty() => format!("stampo clone flatten {}", clones.join(" ")),
            Some(label) => format!("stampo template purge {label}"),
        })
    }

    fn versions_of_image(&self, image: &ImageId) -> Result<Vec<String>, EngineError> {
        let rows = self.store.read(|tx| tx.versions_with_image(image))?;
        let mut labels: Vec<String> = rows.iter().map(VersionRow::label).collect();
        labels.sort();
        Ok(labels)
    }

    pub(super) fn clones_of_image(&self, image: &ImageId) -> Result<Vec<String>, EngineError> {
        let rows = self.store.read(|tx| tx.image_readers(image))?;
        Ok(rows.into_iter().map(|row| row.name.to_string()).collect())
    }
}

/// A missing disk is an error of its own, and so is one that can't be read as a disk.
fn ensure_regular(image: &ImageId, path: &Path) -> Result<(), PoolError> {
    match stampo_image::regular::open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(PoolError::NoImage(image.clone()))
        }
        Err(source) => Err(PoolError::Read {
            act: "read",
            path: path.to_owned(),
            source,
        }),
    }
}

/// Damage of a file that is not known to belong to anything yet.
fn open_damage(what: DamagedThing, why: String, remedy: &str) -> Damage {
    Damage {
        what,
        path: PathBuf::new(),
        place: String::new(),
        why,
        subjects: Vec::new(),
        clones: Vec::new(),
        outcome: DamageOutcome::Open,
        remedy: remedy.to_owned(),
    }
}

/// Whether another operation works on a version.
fn is_busy(tx: &Tx<'_>, row: &VersionRow, work: &Work<'_>) -> Result<bool, EngineError> {
    let Some(id) = row.operation.filter(|id| *id != work.id) else {
        return Ok(false);
    };
    let operation = tx.operation(id)?;
    Ok(operation.is_some_and(|operation| operation.state == OperationState::Running))
}

/// Ranges for a message.
pub(crate) fn place_of(ranges: &[Range<u64>]) -> String {
    let shown: Vec<String> = ranges
        .iter()
        .take(MOST_RANGES)
        .map(|range| format!("{}-{}", range.start, range.end.saturating_sub(1)))
        .collect();
    match ranges.len() {
        0 => String::new(),
        count if count > MOST_RANGES => {
            let more = count - MOST_RANGES;
            format!("in bytes {} and {more} more ranges", shown.join(", "))
        }
        _ => format!("in bytes {}", shown.join(", ")),
    }
}
