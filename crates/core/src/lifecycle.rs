//! The states of a version and the only function that moves between them.
//!
//! ```text
//! building → draft → sealed → in_review → approved → published → deprecated → obsolete → retired → purged
//!    │          │      │         │           │            │           │           │
//!  failed       │      │      rejected       └────────────┴─ revoked ─┴───────────┘
//!               └──────┴→ quarantined (its bytes no longer match its image id) → purged
//! ```
//!
//! The enum is complete; the transitions that are in use now are those of one administrator on one
//! machine: building → draft → sealed → published → retired → purged, with failed and quarantined.
//! Nothing leads from quarantined back to a state that can be cloned.
//! What this file does *not* do: decide who may ask for a transition. That is policy.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Where a version is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its bytes exist and may still change: built, imported or captured, not yet sealed.
    Draft,
    /// Its bytes are being made.
    Building,
    /// Identity removed and proven; immutable from here on.
    Sealed,
    /// Waiting for approval.
    InReview,
    /// Approved, not yet offered.
    Approved,
    /// Offered for cloning.
    Published,
    /// Still cloned, with a warning.
    Deprecated,
    /// No new clones.
    Obsolete,
    /// Deleted, restorable.
    Retired,
    /// Bytes gone; the record stays for ever.
    Purged,
    /// It could not be made.
    Failed,
    /// Refused in review.
    Rejected,
    /// Its bytes no longer match its image id.
    Quarantined,
    /// Withdrawn, with a reason.
    Revoked,
}

impl State {
    /// Every state, in the order of a life.
    pub const ALL: [State; 14] = [
        State::Draft,
        State::Building,
        State::Sealed,
        State::InReview,
        State::Approved,
        State::Published,
        State::Deprecated,
        State::Obsolete,
        State::Retired,
        State::Purged,
        State::Failed,
        State::Rejected,
        State::Quarantined,
        State::Revoked,
    ];

    /// The stable name in the catalog, the API and the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Draft => "draft",
            State::Building => "building",
            State::Sealed => "sealed",
            State::InReview => "in_review",
            State::Approved => "approved",
            State::Published => "published",
            State::Deprecated => "deprecated",
            State::Obsolete => "obsolete",
            State::Retired => "retired",
            State::Purged => "purged",
            State::Failed => "failed",
            State::Rejected => "rejected",
            State::Quarantined => "quarantined",
            State::Revoked => "revoked",
        }
    }

    /// Whether a new clone may be made.
    pub const fn is_clonable(self) -> bool {
        matches!(self, State::Published | State::Deprecated)
    }

    /// Whether the bytes may never change again.
    pub const fn is_immutable(self) -> bool {
        !matches!(self, State::Draft | State::Building | State::Failed)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {0:?} as a state")]
pub struct StateError(String);

impl FromStr for State {
    type Err = StateError;
    fn from_str(text: &str) -> Result<Self, StateError> {
        let found = State::ALL.into_iter().find(|s| s.as_str() == text);
        found.ok_or_else(|| StateError(text.to_owned()))
    }
}

/// What is asked of a version. Each verb is also the command, the endpoint and the audit action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// The bytes are complete: building → draft.
    Finish,
    /// The bytes could not be made: building → failed.
    Fail,
    /// Identity was removed and the result proven: draft → sealed.
    Seal,
    /// Offer for cloning: sealed → published.
    Publish,
    /// Delete, restorable: sealed or published → retired.
    Retire,
    /// Undo a retirement: retired → sealed.
    Restore,
    /// Free the bytes: retired, draft, failed or quarantined → purged.
    Purge,
    /// The bytes do not match the image id: any state with bytes → quarantined.
    Quarantine,
}

impl Verb {
    /// The verb as it is typed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Finish => "finish",
            Verb::Fail => "fail",
            Verb::Seal => "seal",
            Verb::Publish => "publish",
            Verb::Retire => "retire",
            Verb::Restore => "restore",
            Verb::Purge => "purge",
            Verb::Quarantine => "quarantine",
        }
    }
}

/// What the rules look at besides the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evidence {
    /// Findings of the seal proof that no exception covers. `None`: there is no proof.
    pub open_findings: Option<usize>,
    /// Linked clones that read this version's image.
    pub linked_clones: usize,
}

/// Why a transition was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The verb is not legal in this state.
    #[error("{} a version that is {from}", verb.as_str())]
    NotInThisState {
        /// What was asked.
        verb: Verb,
        /// Where the version is.
        from: State,
    },
    /// Publishing needs a proof.
    #[error("publish a version without a seal proof")]
    NoProof,
    /// Publishing needs a proof without findings, or an exception for each.
    #[error("publish a version with {0} open findings")]
    OpenFindings(usize),
    /// Linked clones read these bytes.
    #[error("purge a version that {0} linked clones read")]
    HasLinkedClones(usize),
}

/// The state after `verb`, or the rule that forbids it. The one place where states change.
pub fn transition(from: State, verb: Verb, evidence: Evidence) -> Result<State, Refusal> {
    let refused = Refusal::NotInThisState { verb, from };
    match (verb, from) {
        (Verb::Finish, State::Building) => Ok(State::Draft),
        (Verb::Fail, State::Building) => Ok(State::Failed),
        (Verb::Seal, State::Draft) => Ok(State::Sealed),
        (Verb::Publish, State::Sealed) => match evidence.open_findings {
            None => Err(Refusal::NoProof),
            Some(0) => Ok(State::Published),
            Some(count) => Err(Refusal::OpenFindings(count)),
        },
        (Verb::Retire, State::Sealed | State::Published) => Ok(State::Retired),
        (Verb::Restore, State::Retired) => Ok(State::Sealed),
        (Verb::Purge, State::Retired | State::Draft | State::Failed | State::Quarantined) => {
            match evidence.linked_clones {
                0 => Ok(State::Purged),
                count => Err(Refusal::HasLinkedClones(count)),
            }
        }
        (Verb::Quarantine, State::Purged | State::Quarantined) => Err(refused),
        // A draft too: sealing would take its changed bytes for good ones.
        (Verb::Quarantine, state) if state.is_immutable() || state == State::Draft => {
            Ok(State::Quarantined)
        }
        _ => Err(refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERBS: [Verb; 8] = [
        Verb::Finish,
        Verb::Fail,
        Verb::Seal,
        Verb::Publish,
        Verb::Retire,
        Verb::Restore,
        Verb::Purge,
        Verb::Quarantine,
    ];

    #[test]
    fn every_state_has_a_name_that_is_read_back() {
        for state in State::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
    }

    #[test]
    fn immutable_bytes_never_become_mutable() {
        for from in State::ALL.into_iter().filter(|s| s.is_immutable()) {
            for verb in VERBS {
                if let Ok(to) = transition(from, verb, Evidence::default()) {
                    assert!(to.is_immutable(), "{from} --{verb:?}--> {to}");
                }
            }
        }
    }

    #[test]
    fn rotten_bytes_are_never_offered_again() {
        let mut reached = vec![State::Quarantined];
        let proven = Evidence {
            open_findings: Some(0),
            linked_clones: 0,
        };
        while let Some(from) = reached.pop() {
            assert!(!from.is_clonable(), "{from}");
            let next = VERBS
                .into_iter()
                .filter_map(|verb| transition(from, verb, proven).ok());
            reached.extend(next.filter(|to| *to != from));
        }
    }

    #[test]
    fn whatever_has_bytes_can_be_quarantined() {
        for from in State::ALL {
            let has_bytes = !matches!(
                from,
                State::Building | State::Failed | State::Purged | State::Quarantined
            );
            let to = transition(from, Verb::Quarantine, Evidence::default());
            assert_eq!(to.is_ok(), has_bytes, "{from}");
        }
    }

    #[test]
    fn publishing_needs_a_clean_proof() {
        let with = |open_findings| Evidence {
            open_findings,
            linked_clones: 0,
        };
        assert_eq!(
            transition(State::Sealed, Verb::Publish, with(None)),
            Err(Refusal::NoProof)
        );
        assert_eq!(
            transition(State::Sealed, Verb::Publish, with(Some(2))),
            Err(Refusal::OpenFindings(2))
        );
        assert_eq!(
            transition(State::Sealed, Verb::Publish, with(Some(0))),
            Ok(State::Published)
        );
    }

    #[test]
    fn the_bytes_of_linked_clones_are_not_purged() {
        let used = Evidence {
            open_findings: None,
            linked_clones: 3,
        };
        for from in State::ALL {
            assert!(transition(from, Verb::Purge, used).is_err(), "{from}");
        }
    }
}
