//! The states of a version and the only function that moves between them.
//!
//! ```text
//! building → draft → sealed → in_review → approved → published ⇄ deprecated → obsolete → retired → purged
//!    │                  └────── publish (solo) ────────↑ └──────── reinstate ────┘         │
//!  failed            in_review → rejected → retired          retired ── restore ──→ sealed ┘
//!
//! sealed, in_review → approved                         when two people break the glass
//! sealed … retired, rejected → revoked → purged         withdrawn by a person; nothing leads back
//! draft … retired, revoked   → quarantined → purged     its bytes no longer match its image id
//! ```
//!
//! What a state means for new clones, for clones that exist, for channels, pools and bytes is one
//! table, in `meaning.rs`. What a person says with a verb (a reason, a replacement, dates) and what
//! a date does is in `governance.rs`. Neither is folded into the state: hold, end of life and
//! findings are facts of their own, which [`Evidence`] brings here.
//! What this file does *not* do: decide who may ask for a transition. That is policy, and it speaks
//! through [`Evidence::needs_approval`].

mod governance;
mod meaning;
#[cfg(test)]
mod tests;

pub use governance::{
    Cve, Governance, MOST_CVES, Notice, Revocation, Statement, StatementError, check_reason, due,
    next_due_ms, record, standing_state,
};
pub use meaning::{Bytes, InChannel, Meaning, NewClones, Standing, guide_table, meaning};

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
        !matches!(meaning(self).clones, NewClones::No)
    }

    /// Whether a channel that points to such a version may go on doing so.
    pub const fn stays_in_channel(self) -> bool {
        matches!(meaning(self).channel, InChannel::May | InChannel::Stays)
    }

    /// Whether it can be revoked: it was sealed, and has good bytes.
    const fn is_revocable(self) -> bool {
        self.is_immutable() && !matches!(self, State::Revoked | State::Quarantined | State::Purged)
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
    /// Ask for approval: sealed → in review; again, when what was approved has changed.
    Submit,
    /// Approve: in review → approved.
    Approve,
    /// Refuse: in review or approved → rejected.
    Reject,
    /// Let it be offered without the approvals that are missing: sealed or in review → approved.
    BreakGlass,
    /// Offer for cloning: sealed or approved → published.
    Publish,
    /// Say that another should be used: published → deprecated; again, to say it anew.
    Deprecate,
    /// No new clones from now on: published or deprecated → obsolete.
    Obsolete,
    /// Offer again: deprecated or obsolete → published.
    Reinstate,
    /// Withdraw for a reason that concerns its clones: any state from sealed on → revoked.
    Revoke,
    /// Delete, restorable: whatever is sealed and not revoked → retired.
    Retire,
    /// Undo a retirement: retired → sealed.
    Restore,
    /// Free the bytes: retired, draft, failed, quarantined or revoked → purged.
    Purge,
    /// The bytes do not match the image id: any state with bytes → quarantined.
    Quarantine,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Verb; 16] = [
        Verb::Finish,
        Verb::Fail,
        Verb::Seal,
        Verb::Submit,
        Verb::Approve,
        Verb::Reject,
        Verb::BreakGlass,
        Verb::Publish,
        Verb::Deprecate,
        Verb::Obsolete,
        Verb::Reinstate,
        Verb::Revoke,
        Verb::Retire,
        Verb::Restore,
        Verb::Purge,
        Verb::Quarantine,
    ];

    /// The verb as it is typed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Finish => "finish",
            Verb::Fail => "fail",
            Verb::Seal => "seal",
            Verb::Submit => "submit",
            Verb::Approve => "approve",
            Verb::Reject => "reject",
            Verb::BreakGlass => "break-glass",
            Verb::Publish => "publish",
            Verb::Deprecate => "deprecate",
            Verb::Obsolete => "obsolete",
            Verb::Reinstate => "reinstate",
            Verb::Revoke => "revoke",
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
    /// Whether somebody holds it: its bytes must stay.
    pub is_held: bool,
    /// Whether its end of life has come.
    pub is_past_end_of_life: bool,
    /// Whether a version that it was built from was revoked together with its descendants.
    pub has_revoked_ancestor: bool,
    /// Whether the policy asks for an approval that there is not. With one administrator: never.
    pub needs_approval: bool,
}

impl Evidence {
    /// Whether everything speaks for offering it: what `latest` moves to, and what is published.
    pub fn complete(self) -> Result<(), Refusal> {
        match self.open_findings {
            None => return Err(Refusal::NoProof),
            Some(0) => {}
            Some(count) => return Err(Refusal::OpenFindings(count)),
        }
        if self.is_past_end_of_life {
            return Err(Refusal::EndOfLife);
        }
        if self.has_revoked_ancestor {
            return Err(Refusal::RevokedAncestor);
        }
        if self.needs_approval {
            return Err(Refusal::NotApproved);
        }
        Ok(())
    }
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
    /// Somebody holds it.
    #[error("purge a version that is on hold")]
    Held,
    /// Its end of life has come.
    #[error("offer a version whose end of life has come")]
    EndOfLife,
    /// What it was built from is revoked, and what descends from that.
    #[error("offer a version that descends from a revoked one")]
    RevokedAncestor,
    /// Nobody has approved it.
    #[error("publish a version that is not approved")]
    NotApproved,
}

/// The state after `verb`, or the rule that forbids it. The one place where states change.
pub fn transition(from: State, verb: Verb, evidence: Evidence) -> Result<State, Refusal> {
    use State::*;
    let refused = Refusal::NotInThisState { verb, from };
    match (verb, from) {
        (Verb::Finish, Building) => Ok(Draft),
        (Verb::Fail, Building) => Ok(Failed),
        (Verb::Seal, Draft) => Ok(Sealed),
        (Verb::Submit, Sealed | InReview | Approved) => Ok(InReview),
        (Verb::Approve, InReview) => match evidence.needs_approval {
            true => Err(Refusal::NotApproved),
            false => Ok(Approved),
        },
        (Verb::BreakGlass, Sealed | InReview | Approved) => match evidence.needs_approval {
            true => Err(Refusal::NotApproved),
            false => Ok(Approved),
        },
        (Verb::Reject, InReview | Approved) => Ok(Rejected),
        (Verb::Publish, Sealed | Approved) | (Verb::Reinstate, Deprecated | Obsolete) => {
            evidence.complete().map(|()| Published)
        }
        (Verb::Deprecate, Published | Deprecated) => Ok(Deprecated),
        (Verb::Obsolete, Published | Deprecated) => Ok(Obsolete),
        (Verb::Retire, Sealed | Approved | Rejected | Published | Deprecated | Obsolete) => {
            Ok(Retired)
        }
        (Verb::Restore, Retired) => Ok(Sealed),
        (Verb::Revoke, state) if state.is_revocable() => Ok(Revoked),
        (Verb::Purge, Retired | Draft | Failed | Quarantined | Revoked) => purge(evidence),
        (Verb::Quarantine, Purged | Quarantined) => Err(refused),
        // A draft too: sealing would take its changed bytes for good ones.
        (Verb::Quarantine, state) if state.is_immutable() || state == Draft => Ok(Quarantined),
        _ => Err(refused),
    }
}

fn purge(evidence: Evidence) -> Result<State, Refusal> {
    match evidence {
        Evidence { is_held: true, .. } => Err(Refusal::Held),
        Evidence {
            linked_clones: 0, ..
        } => Ok(State::Purged),
        Evidence { linked_clones, .. } => Err(Refusal::HasLinkedClones(linked_clones)),
    }
}
