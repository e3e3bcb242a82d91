//! The states of a guest, from its intent to its end.
//!
//! ```text
//! planned → disk_ready → defined → verified → ready ⇄ trashed
//!    │          │           └── pooled ──┘ ↗      │       │
//!    └──────────┴───────────┴─────────┴────────┴───────┴──→ destroying → (row gone)
//! ```
//!
//! A member of a pool waits as *pooled* until somebody takes it; how far it is then, its pool says.
//!
//! Each arrow is one idempotent step and one row update. Whether a ready guest runs is not a state
//! here: it is observed, because a process may end at any moment without asking the catalog.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Where a guest is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestState {
    /// Its id, name, MACs, ports and paths are reserved; nothing exists yet.
    Planned,
    /// Its disk exists, is personalised and durable under its final name.
    DiskReady,
    /// The driver knows it.
    Defined,
    /// Its passport was read from its disk and nothing of it is duplicated.
    Verified,
    /// Kept ready by a pool: its process is there and executes nothing. Nobody's yet.
    Pooled,
    /// Complete. It was started if that was asked for.
    Ready,
    /// Removed by the user, restorable until its grace time ends.
    Trashed,
    /// Being taken away, by the names in its row.
    Destroying,
}

impl GuestState {
    /// Every state.
    pub const ALL: [GuestState; 8] = [
        GuestState::Planned,
        GuestState::DiskReady,
        GuestState::Defined,
        GuestState::Verified,
        GuestState::Pooled,
        GuestState::Ready,
        GuestState::Trashed,
        GuestState::Destroying,
    ];

    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            GuestState::Planned => "planned",
            GuestState::DiskReady => "disk_ready",
            GuestState::Defined => "defined",
            GuestState::Verified => "verified",
            GuestState::Pooled => "pooled",
            GuestState::Ready => "ready",
            GuestState::Trashed => "trashed",
            GuestState::Destroying => "destroying",
        }
    }

    /// The state after this one's step, while a clone is made that no pool keeps.
    pub const fn next(self) -> Option<GuestState> {
        match self {
            GuestState::Planned => Some(GuestState::DiskReady),
            GuestState::DiskReady => Some(GuestState::Defined),
            GuestState::Defined => Some(GuestState::Verified),
            GuestState::Verified => Some(GuestState::Ready),
            GuestState::Pooled
            | GuestState::Ready
            | GuestState::Trashed
            | GuestState::Destroying => None,
        }
    }

    /// Whether work is left to do on it.
    pub const fn is_in_transit(self) -> bool {
        self.next().is_some() || matches!(self, GuestState::Destroying)
    }

    /// Whether the guest may be shown as good.
    pub const fn is_complete(self) -> bool {
        matches!(self, GuestState::Ready)
    }
}

impl fmt::Display for GuestState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not a guest state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {0:?} as a guest state")]
pub struct GuestStateError(String);

impl FromStr for GuestState {
    type Err = GuestStateError;
    fn from_str(text: &str) -> Result<Self, GuestStateError> {
        let found = GuestState::ALL.into_iter().find(|s| s.as_str() == text);
        found.ok_or_else(|| GuestStateError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn making_a_clone_always_ends_at_ready() {
        let mut state = GuestState::Planned;
        let mut steps = 0;
        while let Some(next) = state.next() {
            state = next;
            steps += 1;
        }
        assert_eq!((state, steps), (GuestState::Ready, 4));
    }

    #[test]
    fn every_state_has_a_name_that_is_read_back() {
        for state in GuestState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
    }
}
