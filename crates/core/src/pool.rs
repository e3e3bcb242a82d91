//! Pools: guests that are kept ready before anybody wants them.
//!
//! ```text
//! made ─→ pooled ─ taken ─→ ready (somebody's)
//!            └──── drained ─→ gone
//! ```
//! [`tend`] is the whole policy: from what a pool wants and what it has to what is made and what goes.
//! How a member is made, taken or drained is the engine's.

use crate::ids::{GuestId, VersionId};
use crate::names::{GuestName, PoolName, VersionRef};
use crate::plan::CloneSpec;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Most members that one pool keeps ready.
pub const MAX_WARM: u32 = 256;

/// How far a member is brought before it is wanted. Each is faster to take than the one before, and
/// costs more memory while nobody wants it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Its process is there and waits for the memory image.
    Spawned,
    /// The memory image is loaded, and nothing of it was executed.
    Loaded,
    /// It is a machine of its own, with an address, and is paused.
    #[default]
    Warm,
}

impl Depth {
    /// Every depth.
    pub const ALL: [Depth; 3] = [Depth::Spawned, Depth::Loaded, Depth::Warm];

    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Depth::Spawned => "spawned",
            Depth::Loaded => "loaded",
            Depth::Warm => "warm",
        }
    }
}

impl fmt::Display for Depth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not a depth.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {0:?} as a depth: write spawned, loaded or warm")]
pub struct DepthError(String);

impl FromStr for Depth {
    type Err = DepthError;
    fn from_str(text: &str) -> Result<Self, DepthError> {
        let found = Depth::ALL.into_iter().find(|depth| depth.as_str() == text);
        found.ok_or_else(|| DepthError(text.to_owned()))
    }
}

/// A pool as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name; its members are called after it.
    pub name: PoolName,
    /// What its members are clones of. Without a number it follows the template.
    pub from: VersionRef,
    /// How many members are kept ready.
    pub warm: u32,
    /// How far each is brought.
    pub depth: Depth,
    /// What every member is given.
    pub spec: CloneSpec,
    /// One more for each change after which older members are of no use.
    pub generation: u32,
}

/// That a guest is, or was, a member of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The pool.
    pub pool: PoolName,
    /// The pool's generation when it was made.
    pub generation: u32,
    /// How far it is brought before it is taken.
    pub depth: Depth,
    /// Whether it is somebody's. From then on it is a guest like any other.
    pub taken: bool,
}

/// What is known of one member that nobody has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: GuestId,
    /// Its name.
    pub name: GuestName,
    /// The version it was cloned from.
    pub version: VersionId,
    /// Whether that version may be cloned still.
    pub clonable: bool,
    /// The pool's generation when it was made.
    pub generation: u32,
    /// It can be taken now; otherwise something works on it.
    pub ready: bool,
    /// Its process is there.
    pub alive: bool,
}

/// Why a member goes without having been taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Drained {
    /// Its version was withdrawn.
    #[error("its version may not be cloned any more")]
    Withdrawn,
    /// Its process is gone.
    #[error("its process has ended")]
    Ended,
    /// The pool was changed, and others are ready.
    #[error("the pool is made of another version or otherwise by now")]
    Outdated,
    /// The pool wants fewer.
    #[error("the pool keeps fewer")]
    Surplus,
}

/// What one look at a pool leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tending {
    /// How many members are made.
    pub make: u32,
    /// The members that go, and why.
    pub drain: Vec<(GuestId, Drained)>,
}

/// What is to be done for a pool whose reference means `current` now; `None` when it means no version
/// that may be cloned.
///
/// A member that something works on stays, and counts for what it will be. Members of before a change
/// stay until as many of after it are ready as the pool keeps: there is always one to take.
pub fn tend(pool: &Pool, current: Option<VersionId>, members: &[Member]) -> Tending {
    let is_current =
        |member: &Member| Some(member.version) == current && member.generation == pool.generation;
    let lost = |member: &Member| match (member.clonable, member.alive) {
        (false, _) => Some(Drained::Withdrawn),
        (_, false) => Some(Drained::Ended),
        _ => None,
    };
    let (idle, busy): (Vec<&Member>, Vec<&Member>) =
        members.iter().partition(|member| member.ready);
    let mut drain: Vec<(GuestId, Drained)> = idle
        .iter()
        .filter_map(|member| Some((member.id, lost(member)?)))
        .collect();
    let sound = idle.iter().filter(|member| lost(member).is_none());
    let (of_now, of_before): (Vec<&&Member>, Vec<&&Member>) =
        sound.partition(|member| is_current(member));
    let wanted = pool.warm as usize;
    drain.extend(of_now.iter().skip(wanted).map(|m| (m.id, Drained::Surplus)));
    if of_now.len() >= wanted {
        drain.extend(of_before.iter().map(|m| (m.id, Drained::Outdated)));
    }
    let coming = busy.iter().filter(|member| is_current(member)).count();
    let missing = wanted.saturating_sub(of_now.len() + coming);
    Tending {
        make: match current {
            Some(_) => u32::try_from(missing).unwrap_or(pool.warm),
            None => 0,
        },
        drain,
    }
}

/// The member to take: one that is as the pool is now, else one of before whose version may be cloned
/// still; the one that has waited longest, as `members` has them.
pub fn choose<'a>(
    pool: &Pool,
    current: Option<VersionId>,
    members: &'a [Member],
) -> Option<&'a Member> {
    let fits = |member: &&Member| member.ready && member.clonable && member.alive;
    let is_current =
        |member: &&Member| Some(member.version) == current && member.generation == pool.generation;
    let mut sound = members.iter().filter(fits);
    sound.clone().find(is_current).or_else(|| sound.next())
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
