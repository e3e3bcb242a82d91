//! Where a channel points, read from its history.
//!
//! The history is only ever added to. What was *set* can be gone back from, one step at a time; a
//! step back is part of the history too, so going back twice goes back two steps and not to and fro.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The channel that nobody sets: it is the newest published version whose evidence is complete.
pub const LATEST: &str = "latest";

/// Why a channel was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveKind {
    /// Somebody pointed it to a version.
    Set,
    /// Somebody took the last setting back.
    Rollback,
    /// The version that it pointed to can't be used any more.
    Withdrawn,
    /// Somebody removed it.
    Removed,
}

impl MoveKind {
    /// Every kind.
    pub const ALL: [MoveKind; 4] = [
        MoveKind::Set,
        MoveKind::Rollback,
        MoveKind::Withdrawn,
        MoveKind::Removed,
    ];

    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            MoveKind::Set => "set",
            MoveKind::Rollback => "rollback",
            MoveKind::Withdrawn => "withdrawn",
            MoveKind::Removed => "removed",
        }
    }
}

impl fmt::Display for MoveKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no kind of move.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {0:?} as a move of a channel")]
pub struct MoveKindError(String);

impl FromStr for MoveKind {
    type Err = MoveKindError;
    fn from_str(text: &str) -> Result<Self, MoveKindError> {
        let found = MoveKind::ALL.into_iter().find(|k| k.as_str() == text);
        found.ok_or_else(|| MoveKindError(text.to_owned()))
    }
}

/// One move of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Why.
    pub kind: MoveKind,
    /// The number of the version that it pointed to before; `None`: to none.
    pub from: Option<u32>,
    /// The number of the version that it points to from then on; `None`: it points to none.
    pub to: Option<u32>,
}

/// The versions that a channel pointed to and can go back to, the one that it points to now last.
/// Empty when it was never set or was removed.
pub fn stack(moves: &[Move]) -> Vec<u32> {
    let mut stack: Vec<u32> = Vec::new();
    for Move { kind, from, to } in moves {
        // What happened before the history begins is told by where it begins.
        if stack.is_empty() && *kind != MoveKind::Removed {
            stack.extend(from);
        }
        match (kind, to) {
            (MoveKind::Removed, _) | (_, None) => stack.clear(),
            (MoveKind::Set, Some(to)) => {
                if stack.last() != Some(to) {
                    stack.push(*to);
                }
            }
            (MoveKind::Rollback | MoveKind::Withdrawn, Some(to)) => {
                while stack.last().is_some_and(|last| last != to) {
                    stack.pop();
                }
                if stack.is_empty() {
                    stack.push(*to);
                }
            }
        }
    }
    stack
}

/// The last version before the present one that is still good.
pub fn last_good(moves: &[Move], is_good: impl Fn(u32) -> bool) -> Option<u32> {
    let mut stack = stack(moves);
    let present = stack.pop();
    stack
        .into_iter()
        .rev()
        .find(|number| Some(*number) != present && is_good(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(to: u32) -> Move {
        let kind = MoveKind::Set;
        let (from, to) = (None, Some(to));
        Move { kind, from, to }
    }

    fn back(to: u32) -> Move {
        let kind = MoveKind::Rollback;
        let (from, to) = (None, Some(to));
        Move { kind, from, to }
    }

    #[test]
    fn going_back_twice_goes_back_two_steps() {
        let mut moves = vec![set(1), set(2), set(3)];
        for expected in [Some(2), Some(1), None] {
            let to = last_good(&moves, |_| true);
            assert_eq!(to, expected);
            moves.extend(to.map(back));
        }
        assert_eq!(stack(&moves), [1]);
    }

    #[test]
    fn what_is_not_good_any_more_is_passed_over() {
        let moves = [set(1), set(2), set(1), set(3)];
        assert_eq!(last_good(&moves, |number| number != 1), Some(2));
        assert_eq!(last_good(&moves, |_| false), None);
        // The present one is never gone back to, also where it was set twice.
        assert_eq!(last_good(&[set(1), set(2), set(1)], |n| n == 1), None);
    }

    #[test]
    fn a_channel_that_was_removed_or_emptied_begins_anew() {
        for kind in [MoveKind::Removed, MoveKind::Withdrawn] {
            let (from, to) = (Some(2), None);
            let gone = Move { kind, from, to };
            assert_eq!(stack(&[set(1), set(2), gone]), [] as [u32; 0]);
            assert_eq!(stack(&[set(1), gone, set(2)]), [2]);
        }
    }

    #[test]
    fn what_nobody_remembers_is_where_it_points() {
        assert_eq!(stack(&[back(4)]), [4]);
        let set_from_1 = Move {
            from: Some(1),
            ..set(2)
        };
        assert_eq!(stack(&[set_from_1]), [1, 2]);
    }

    #[test]
    fn every_kind_is_read_back() {
        for kind in MoveKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
    }
}
