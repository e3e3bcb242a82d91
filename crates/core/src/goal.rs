//! How a clone's disk is made, chosen by goal, with the reason.

use crate::size::ByteSize;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a clone's disk relates to its version's image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CloneKind {
    /// A copy of its own; the version may be deleted.
    Full,
    /// An overlay on the version's image, which must stay.
    Linked,
}

impl CloneKind {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            CloneKind::Full => "full",
            CloneKind::Linked => "linked",
        }
    }
}

impl fmt::Display for CloneKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the user wants most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// Ready soonest.
    #[default]
    Fastest,
    /// Least disk space.
    Smallest,
    /// Needs nothing of the version afterwards.
    Independent,
}

/// A kind and why it was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The kind.
    pub kind: CloneKind,
    /// A sentence for the user.
    pub reason: String,
}

/// The kind for this goal. An explicit kind always wins.
///
/// `reflink`: the pool's file system shares blocks between copies. `data`: what a copy would write
/// without it, for one clone.
pub fn choose(explicit: Option<CloneKind>, goal: Goal, reflink: bool, data: ByteSize) -> Choice {
    let (kind, reason) = match (explicit, goal) {
        (Some(kind), _) => (kind, "as asked".to_owned()),
        (None, Goal::Independent) if reflink => (
            CloneKind::Full,
            "independent: a full clone, whose blocks the file system shares until written"
                .to_owned(),
        ),
        (None, Goal::Independent) => (
            CloneKind::Full,
            format!("independent: a full clone, {data} are copied for each"),
        ),
        (None, Goal::Fastest) => (
            CloneKind::Linked,
            format!("fastest: an overlay is made in milliseconds, a copy would write {data}"),
        ),
        (None, Goal::Smallest) => (
            CloneKind::Linked,
            format!("smallest: an overlay starts under 1 MiB and shares {data} with its version"),
        ),
    };
    Choice { kind, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explicit_kind_wins_and_only_independence_needs_a_copy() {
        let data = ByteSize::mib(600);
        for goal in [Goal::Fastest, Goal::Smallest, Goal::Independent] {
            assert_eq!(
                choose(Some(CloneKind::Full), goal, false, data).kind,
                CloneKind::Full
            );
            assert_eq!(
                choose(Some(CloneKind::Linked), goal, true, data).kind,
                CloneKind::Linked
            );
            let own = choose(None, goal, true, data).kind;
            assert_eq!(own == CloneKind::Full, goal == Goal::Independent);
        }
    }
}
