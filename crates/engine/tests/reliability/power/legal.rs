//! The states in which a power loss may leave the medium: chosen by a seed.
//!
//! The power goes after some entry of the log. What a sync before that point covers is there. Of
//! the rest a part is there, by these rules (docs/adr/0007-power-loss-log.md says why they are
//! legal on ext4, XFS and btrfs):
//!
//! - **Bytes.** Of a file's writes any subset, each torn at sectors. A sector holds what the page
//!   cache held when it was last written back, so a later write brings an earlier one to the same
//!   sector with it. The size may have grown without its bytes: they are zeros then.
//! - **Sizes and holes.** Of a file's truncations and punched holes the first ones. A write into a
//!   range that a lost one had cleared is lost too: its blocks were never recorded.
//! - **Names.** Of each directory's changes the first ones, up to the journal's last transaction or,
//!   stricter, up to any point of its own. A rename between two directories is there in both or in
//!   neither. A file's fsync says nothing about its name.

use super::disk::{Content, Disk, Inode, Node, SECTOR_BYTES};
use super::log::{Log, Op};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What a power loss left.
pub struct State {
    pub disk: Disk,
    /// The power went before the entry with this number.
    pub cut: usize,
    /// The command had returned.
    pub is_acknowledged: bool,
    /// What had been done and is not there, in words.
    pub lost: Vec<String>,
}

/// Of what no sync covers, all of one sort and nothing of the other: whoever forgot a sync, or made
/// things durable in the wrong order, has no luck here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worst {
    /// The names, and none of the bytes behind them.
    Names,
    /// The bytes, and none of the names that lead to them.
    Bytes,
}

/// The state that belongs to a seed.
pub fn state(log: &Log, seed: u64) -> State {
    let mut rng = StdRng::seed_from_u64(seed);
    let cut = choose_cut(log, &mut rng);
    state_at(log, cut, rng, None)
}

/// The worst state of one sort when the power goes before this entry.
pub fn worst(log: &Log, cut: usize, sort: Worst) -> State {
    state_at(log, cut, StdRng::seed_from_u64(0), Some(sort))
}

/// Where the worst states are looked at: at the end, and after what can't be had again, a name that
/// went or was taken over; at most so many of these.
pub fn worst_cuts(log: &Log, most: usize) -> Vec<usize> {
    let is_final =
        |at: &usize| matches!(log.entries[*at].op, Op::Unlink { .. } | Op::Rename { .. });
    let ends: Vec<usize> = (0..log.entries.len()).filter(is_final).collect();
    let step = ends.len().div_ceil(most).max(1);
    // From the end: what is durable is removed last.
    let mut cuts: Vec<usize> = ends.iter().rev().step_by(step).map(|at| at + 1).collect();
    cuts.push(log.entries.len());
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

fn state_at(log: &Log, cut: usize, rng: StdRng, worst: Option<Worst>) -> State {
    let mut chooser = Chooser {
        log,
        cut,
        rng,
        worst,
        disk: log.before.clone(),
        lost: BTreeSet::new(),
        torn: BTreeSet::new(),
    };
    chooser.choose_names();
    chooser.choose_bytes();
    let words = |at: &usize| format!("{at} {}", log.entries[*at].words);
    let torn = chooser
        .torn
        .iter()
        .map(|at| format!("{} (in part)", words(at)));
    State {
        lost: chooser.lost.iter().map(words).chain(torn).collect(),
        disk: chooser.disk,
        cut,
        is_acknowledged: log.entries[..cut]
            .iter()
            .any(|entry| matches!(entry.op, Op::Acknowledged)),
    }
}

/// Most often right before or after a change of names or a sync: there the order matters.
fn choose_cut(log: &Log, rng: &mut StdRng) -> usize {
    let count = log.entries.len();
    let turning = log.turning();
    match rng.random_range(0..16) {
        0 => count,
        1..6 => rng.random_range(0..=count),
        _ => turning[rng.random_range(0..turning.len())] + rng.random_range(0..2),
    }
}

struct Chooser<'l> {
    log: &'l Log,
    cut: usize,
    rng: StdRng,
    worst: Option<Worst>,
    disk: Disk,
    lost: BTreeSet<usize>,
    torn: BTreeSet<usize>,
}

/// How much of what was pending arrived.
#[derive(Clone, Copy)]
enum Share {
    Nothing,
    Everything,
    /// Everything before this entry.
    Before(usize),
    /// Each write with this chance in percent.
    Some(u32),
}

impl Chooser<'_> {
    fn op(&self, at: usize) -> &Op {
        &self.log.entries[at].op
    }

    /// What syncs before the cut cover of this inode: everything before the result.
    fn durable(&self, of: Inode, mode: bool) -> usize {
        let covers = |at: usize| match *self.op(at) {
            Op::Sync { inode, begun, full } if inode == of && (full || !mode) => begun,
            Op::SyncAll { begun } => begun,
            _ => 0,
        };
        (0..self.cut).map(covers).max().unwrap_or(0)
    }

    /// One of these places; 0 when there is none.
    fn one_of(&mut self, places: &[usize]) -> usize {
        match places {
            [] => 0,
            places => places[self.rng.random_range(0..places.len())],
        }
    }

    fn choose_names(&mut self) {
        let mut of_directory: BTreeMap<Inode, Vec<usize>> = BTreeMap::new();
        for at in 0..self.cut {
            for dir in directories(self.op(at)) {
                of_directory.entry(dir).or_default().push(at);
            }
        }
        let changes: Vec<usize> = of_directory.values().flatten().copied().collect();
        let journal = self.one_of(&changes);
        let of_one_journal = self.rng.random_bool(0.5);
        let mut ends: BTreeMap<Inode, usize> = BTreeMap::new();
        for (&dir, changes) in &of_directory {
            let least = self.durable(dir, false);
            let end = match (self.worst, self.rng.random_range(0..4)) {
                (Some(Worst::Names), _) => self.cut,
                (Some(Worst::Bytes), _) => 0,
                _ if of_one_journal => journal,
                (_, 0) => 0,
                (_, 1) => self.cut,
                _ => self.one_of(changes),
            };
            ends.insert(dir, end.max(least));
        }
        let kept = self.close(&of_directory, &mut ends);
        for at in 0..self.cut {
            if directories(self.op(at)).is_empty() {
                continue;
            }
            if kept.contains(&at) {
                self.log.entries[at].op.apply(&mut self.disk);
            } else {
                self.lost.insert(at);
            }
        }
    }

    /// The changes of names that arrived. A rename between directories takes everything with it
    /// that was done before in either.
    fn close(
        &self,
        of_directory: &BTreeMap<Inode, Vec<usize>>,
        ends: &mut BTreeMap<Inode, usize>,
    ) -> BTreeSet<usize> {
        loop {
            let arrived = |(dir, ops): (&Inode, &Vec<usize>)| {
                let end = ends[dir];
                ops.iter()
                    .copied()
                    .filter(|at| *at < end)
                    .collect::<Vec<_>>()
            };
            let kept: BTreeSet<usize> = of_directory.iter().flat_map(arrived).collect();
            let mut is_closed = true;
            for &at in &kept {
                for dir in directories(self.op(at)) {
                    let end = ends.get_mut(&dir).expect("it has changes");
                    is_closed &= *end > at;
                    *end = (*end).max(at + 1);
                }
            }
            if is_closed {
                return kept;
            }
        }
    }

    fn choose_bytes(&mut self) {
        let mut of_file: BTreeMap<Inode, Vec<usize>> = BTreeMap::new();
        for at in 0..self.cut {
            if let Some(inode) = file(self.op(at)) {
                of_file.entry(inode).or_default().push(at);
            }
        }
        for (inode, ops) in of_file {
            let durable = self.durable(inode, false);
            let (settled, pending) = ops.split_at(ops.partition_point(|at| *at < durable));
            for at in settled {
                if !matches!(self.op(*at), Op::Mode { .. }) {
                    self.log.entries[*at].op.apply(&mut self.disk);
                }
            }
            self.choose_modes(inode, &ops);
            if matches!(self.disk.nodes[inode], Node::File { .. }) {
                self.choose_pending(inode, pending);
            }
        }
    }

    /// A mode is part of the inode: fdatasync need not write it.
    fn choose_modes(&mut self, inode: Inode, ops: &[usize]) {
        let durable = self.durable(inode, true);
        let end = match self.worst {
            Some(Worst::Names) => durable,
            Some(Worst::Bytes) => self.cut,
            None => self.rng.random_range(0..=self.cut).max(durable),
        };
        for &at in ops {
            if matches!(self.op(at), Op::Mode { .. }) {
                if at < end {
                    self.log.entries[at].op.apply(&mut self.disk);
                } else {
                    self.lost.insert(at);
                }
            }
        }
    }

    fn choose_pending(&mut self, inode: Inode, pending: &[usize]) {
        if pending.is_empty() {
            return;
        }
        let share = match (self.worst, self.rng.random_range(0..6)) {
            (Some(Worst::Names), _) | (None, 0) => Share::Nothing,
            (Some(Worst::Bytes), _) | (None, 1) => Share::Everything,
            (None, 2 | 3) => Share::Before(self.one_of(pending)),
            _ => Share::Some(self.rng.random_range(1..100)),
        };
        let sizes_end = match share {
            Share::Nothing => 0,
            Share::Everything => self.cut,
            Share::Before(end) => end,
            Share::Some(_) => self.one_of(pending),
        };
        let mut medium = self.disk.content(inode).clone();
        let mut cache = medium.clone();
        let mut cleared: Vec<Range<u64>> = Vec::new();
        for &at in pending {
            let before = cache.size;
            match self.log.entries[at].op.clone() {
                Op::Write {
                    at: from, bytes, ..
                } => {
                    cache.write(from, &bytes);
                    let range = from..from + bytes.len() as u64;
                    self.write_back(at, range, share, &cache, &mut medium, &cleared);
                }
                Op::Size { size, .. } => {
                    cache.truncate(size);
                    if at < sizes_end {
                        medium.truncate(size);
                    } else {
                        self.lost.insert(at);
                        cleared.push(size..before.max(size));
                    }
                }
                Op::Zero {
                    at: from, length, ..
                } => {
                    cache.zero(from, length);
                    if at < sizes_end {
                        medium.zero(from, length);
                    } else {
                        self.lost.insert(at);
                        cleared.push(from..from + length);
                    }
                }
                _ => {}
            }
        }
        *self.disk.content_mut(inode) = medium;
    }

    /// Writes those sectors of a write back that arrive.
    fn write_back(
        &mut self,
        at: usize,
        range: Range<u64>,
        share: Share,
        cache: &Content,
        medium: &mut Content,
        cleared: &[Range<u64>],
    ) {
        let arrives = match share {
            Share::Nothing => false,
            Share::Everything => true,
            Share::Before(end) => at < end,
            Share::Some(percent) => self.rng.random_ratio(percent, 100),
        };
        let sectors = range.start / SECTOR_BYTES..range.end.div_ceil(SECTOR_BYTES);
        // One write in eight is torn, unless all or nothing is asked for.
        let tears =
            matches!(share, Share::Before(_) | Share::Some(_)) && self.rng.random_ratio(1, 8);
        let (mut kept, mut all) = (0, 0);
        for sector in sectors {
            let start = sector * SECTOR_BYTES;
            let end = (start + SECTOR_BYTES).min(cache.size);
            let is_cleared = cleared
                .iter()
                .any(|hole| hole.start < end && start < hole.end);
            all += 1;
            let lands = if tears { self.rng.random() } else { arrives };
            if lands && !is_cleared {
                kept += 1;
                medium.write(start, &cache.read(start, end - start));
            }
        }
        if kept < all
            && range.end > medium.size
            && self.rng.random_ratio(1, 8)
            && cleared.is_empty()
        {
            medium.truncate(range.end);
        }
        match kept {
            0 => drop(self.lost.insert(at)),
            kept if kept < all => drop(self.torn.insert(at)),
            _ => {}
        }
    }
}

/// The directories that an operation changes.
fn directories(op: &Op) -> Vec<Inode> {
    match op {
        Op::Link { dir, .. } | Op::Unlink { dir, .. } => vec![*dir],
        Op::Rename { from, to, .. } if from.0 == to.0 => vec![from.0],
        Op::Rename { from, to, .. } => vec![from.0, to.0],
        _ => Vec::new(),
    }
}

/// The file (or, for a mode, the directory) whose inode an operation changes.
fn file(op: &Op) -> Option<Inode> {
    match op {
        Op::Write { inode, .. }
        | Op::Size { inode, .. }
        | Op::Zero { inode, .. }
        | Op::Mode { inode, .. } => Some(*inode),
        _ => None,
    }
}
