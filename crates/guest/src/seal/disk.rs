//! Sealing a whole disk: plan, apply, discard what was removed, and look for what stayed.
//!
//! The disk is a throw-away copy. Until the filesystem is finished nothing is written to it; after
//! an error at any later step the caller drops it. `e2fsck` and the proof come afterwards and are
//! the caller's: the outcome says where the filesystem begins.

use super::apply;
use super::needles::{Needle, needles};
use super::plan::SealPlan;
use super::planner::{PlanError, plan};
use super::selection::Selection;
use crate::fs::residue::residue;
use crate::fs::{Discarded, Ext4Writer, FsError, GuestRead, discard_free, find_root, open_read};
use serde::Serialize;
use stampo_image::device::BlockDevice;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a disk is sealed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SealOptions {
    /// Seconds since 1970 for every time stamp that is written, so that the same disk gives the
    /// same bytes. Default: now.
    pub now_s: Option<i64>,
}

/// Why a disk could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// There is no system on the disk, or its filesystem can't be written. The disk is untouched.
    #[error("open the guest's disk")]
    Open(#[source] FsError),
    /// No plan could be made. The disk is untouched.
    #[error("plan the sealing")]
    Plan(#[from] PlanError),
    /// A change could not be made. The disk is to be dropped.
    #[error("change the guest's filesystem")]
    Apply(#[source] FsError),
    /// What was removed could not be made unreadable. The disk is to be dropped.
    #[error("discard the free space of the guest")]
    Discard(#[source] FsError),
    /// The disk could not be searched for what was removed. The disk is to be dropped.
    #[error("search the disk for removed secrets")]
    Search(#[source] std::io::Error),
}

/// What a sealing did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SealOutcome {
    /// What was changed, left and found.
    pub plan: SealPlan,
    /// Where the guest's filesystem begins on the disk, in bytes.
    pub root_start_bytes: u64,
    /// Its length in bytes.
    pub root_size_bytes: u64,
    /// How many bytes of free blocks read as zeros now.
    pub discarded_bytes: u64,
    /// How many samples of removed secrets were looked for.
    pub samples: usize,
    /// Where samples were found all the same. Anything in here has to block the publication:
    /// a copy of the secret is in a live file, or in a place that discarding does not reach.
    pub residue: Vec<Leftover>,
    /// How long each phase took.
    pub times: SealTimes,
}

/// A removed secret that is still on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// The row that took the secret away.
    pub item: &'static str,
    /// Where it was.
    pub path: String,
    /// Where on the disk a sample of it was found, in bytes.
    pub offset_bytes: u64,
}

/// How long each phase of a sealing took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SealTimes {
    /// Finding and opening the filesystem, its journal replayed.
    pub open: Duration,
    /// Reading and planning, with the samples.
    pub plan: Duration,
    /// Changing and writing everything.
    pub apply: Duration,
    /// Discarding what is free.
    pub discard: Duration,
    /// Searching the whole disk.
    pub search: Duration,
}

/// What sealing this disk would do. Reads only, through another reader than the one that seals.
///
/// # Errors
/// [`SealError::Open`] and [`SealError::Plan`].
pub fn plan_disk(disk: Arc<dyn BlockDevice>, selection: &Selection) -> Result<SealPlan, SealError> {
    let reader = open_read(disk).map_err(SealError::Open)?;
    Ok(plan(&*reader, selection)?)
}

/// Seals a throw-away copy of a disk.
///
/// # Errors
/// [`SealError`]; its variants say whether the disk is untouched.
pub fn seal_disk(
    disk: Arc<dyn BlockDevice>,
    selection: &Selection,
    options: &SealOptions,
) -> Result<SealOutcome, SealError> {
    let mut clock = Clock(Instant::now());
    let mut times = SealTimes::default();
    let root = find_root(Arc::clone(&disk)).map_err(SealError::Open)?;
    let partition = || Arc::clone(&root.device);
    let mut fs = match options.now_s {
        Some(now_s) => Ext4Writer::with_clock(partition(), now_s),
        None => Ext4Writer::open(partition()),
    }
    .map_err(SealError::Open)?;
    times.open = clock.lap();

    let reader: &dyn GuestRead = &*fs;
    let plan = plan(reader, selection)?;
    let samples = needles(reader, &plan).map_err(PlanError::Read)?;
    times.plan = clock.lap();

    apply(&mut *fs, &plan)
        .and_then(|()| fs.finish())
        .map_err(SealError::Apply)?;
    times.apply = clock.lap();

    let discarded = discard_free(partition()).map_err(SealError::Discard)?;
    times.discard = clock.lap();

    let residue = leftovers(&*disk, &samples).map_err(SealError::Search)?;
    times.search = clock.lap();
    Ok(SealOutcome {
        plan,
        root_start_bytes: root.start_bytes,
        root_size_bytes: root.size_bytes,
        discarded_bytes: total(discarded),
        samples: samples.len(),
        residue,
        times,
    })
}

/// Searches the whole disk, gaps and other partitions included.
fn leftovers(disk: &dyn BlockDevice, samples: &[Needle]) -> std::io::Result<Vec<Leftover>> {
    let bytes: Vec<&[u8]> = samples
        .iter()
        .map(|needle| needle.bytes.as_slice())
        .collect();
    let found = residue(disk, &bytes)?;
    Ok(found
        .into_iter()
        .map(|place| {
            let needle = &samples[place.needle];
            Leftover {
                item: needle.item,
                path: needle.path.clone(),
                offset_bytes: place.offset,
            }
        })
        .collect())
}

fn total(discarded: Discarded) -> u64 {
    discarded.free_bytes
        + discarded.unwritten_bytes
        + discarded.journal_bytes
        + discarded.inode_bytes
}

/// The time since the last lap.
struct Clock(Instant);

impl Clock {
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let lap = now - self.0;
        self.0 = now;
        lap
    }
}
