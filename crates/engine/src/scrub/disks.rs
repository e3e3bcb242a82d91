//! The disks of images and their leaf indexes, and putting versions into quarantine.
//!
//! An index is redundant: the image id is a hash of it, so a damaged one is made again from a disk
//! that is right. A damaged disk is told from its index. A sector that can't be read is reported
//! and not judged: the next attempt may succeed, and a cable is no reason to lose a version.

use super::{Damage, DamageOutcome, DamagedThing, ScrubReport};
use crate::engine::Engine;
use crate::error::{EngineError, chain};
use crate::work::{PhaseProgress, Work};
use stampo_core::ids::ImageId;
use stampo_core::lifecycle::{Evidence, State, Verb, transition};
use stampo_image::identity::{IdentityError, LeafIndex, Pace, leaf_index_of_medium};
use stampo_image::pool::PoolError;
use stampo_store::{OperationState, Tx, VersionRow};
use std::ops::Range;
use std::time::Duration;

/// More ranges than this are only counted.
const MOST_RANGES: usize = 8;

/// What the disk of an image is found to be.
pub(crate) enum DiskFound {
    /// As it was recorded.
    Right,
    /// As it was recorded; its index was not, and was made again.
    IndexMended(String),
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
                Ok(DiskFound::Changed(..)) => "the bytes have changed",
                Err(_) => "it can't be read",
            };
            Ok((result, detail.to_owned()))
        })?;
        self.faults.reach("scrub.read");
        report.images_read += 1;
        self.judge_disk(work, image, result, report)
    }

    fn judge_disk(
        &self,
        work: &Work<'_>,
        image: &ImageId,
        result: Result<DiskFound, PoolError>,
        report: &mut ScrubReport,
    ) -> Result<(), EngineError> {
        if let Ok(DiskFound::Right | DiskFound::IndexMended(_)) = &result {
            report.bytes_read += stampo_image::pool::allocated_bytes(&self.pool.image_disk(image))
                .map_err(EngineError::room("measure a disk"))?;
            self.store.write(|tx| tx.put_scrub(image, self.now_ms()))?;
        }
        let (what, place, why, outcome, remedy) = match result {
            Ok(DiskFound::Right) => return Ok(()),
            Ok(DiskFound::IndexMended(why)) => (
                DamagedThing::LeafIndex,
                String::new(),
                why,
                DamageOutcome::Mended,
                String::new(),
            ),
            Ok(DiskFound::Changed(ranges, why)) => {
                let place = place_of(&ranges);
                let why_all = format!("{why} {place}");
                let outcome = self.quarantine_image(work, image, why_all.trim_end())?;
                let remedy = self.disk_remedy(image)?;
                (DamagedThing::Disk, place, why, outcome, remedy)
            }
            Err(error) => {
                let remedy = "look at the disk of the host (dmesg, smartctl), then: stampo store \
                              scrub";
                let why = chain(&error);
                (
                    DamagedThing::Disk,
                    String::new(),
                    why,
                    DamageOutcome::Open,
                    remedy.to_owned(),
                )
            }
        };
        let path = match what {
            DamagedThing::LeafIndex => self.pool.image_leaves(image),
            _ => self.pool.image_disk(image),
        };
        report.damage.push(Damage {
            what,
            path,
            place,
            why,
            subjects: self.versions_of_image(image)?,
            clones: match what {
                DamagedThing::LeafIndex => Vec::new(),
                _ => self.clones_of_image(image)?,
            },
            outcome,
            remedy,
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
            &std::path::Path,
            &dyn stampo_image::progress::Progress,
        ) -> Result<LeafIndex, IdentityError>,
    ) -> Result<DiskFound, PoolError> {
        let path = self.pool.image_disk(image);
        if !path.exists() {
            return Ok(DiskFound::Changed(Vec::new(), "it is missing".to_owned()));
        }
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
                self.pool.restore_leaf_index(image, &found)?;
                Ok(DiskFound::IndexMended(chain(&error)))
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
        for row in &changed {
            self.write_version_sidecar(row)
                .inspect_err(|_| work.leave_open())?;
        }
        self.faults.reach("scrub.sidecar");
        Ok(if is_complete {
            DamageOutcome::Quarantined
        } else {
            DamageOutcome::Open
        })
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
