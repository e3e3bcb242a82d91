//! What each state means: for new clones, for clones that exist, for channels and for the bytes.
//!
//! One table, here and nowhere else. The guide prints it, and a test of the engine walks through
//! every cell of it with real versions.

use super::State;
use std::fmt::Write as _;

/// Whether new clones can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewClones {
    /// Refused.
    No,
    /// Made.
    Yes,
    /// Made, and a warning says what should be used instead.
    Warned,
}

/// How a clone that exists stands to its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing speaks against the version.
    Current,
    /// Another version should be used.
    Deprecated,
    /// No new clones are made of it.
    Obsolete,
    /// The version is retired, or was refused.
    Withdrawn,
    /// The version is purged.
    Orphan,
    /// The version's bytes have changed; a linked clone may read changed bytes.
    Quarantined,
    /// The version is revoked: the reason concerns this clone too.
    Revoked,
}

impl Standing {
    /// The stable word in the API and the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Standing::Current => "current",
            Standing::Deprecated => "deprecated",
            Standing::Obsolete => "obsolete",
            Standing::Withdrawn => "withdrawn",
            Standing::Orphan => "orphan",
            Standing::Quarantined => "quarantined",
            Standing::Revoked => "revoked",
        }
    }
}

/// What it means for channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InChannel {
    /// A channel can't be moved to it.
    Never,
    /// A channel can be moved to it.
    May,
    /// A channel can't be moved to it, and one that points to it stays.
    Stays,
    /// A channel that points to it is moved back to the last good version.
    MovesBack,
}

/// What becomes of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bytes {
    /// There are none.
    None,
    /// They may change.
    Mutable,
    /// They are kept and never change.
    Kept,
    /// They are kept until somebody purges them by name: they are evidence.
    Evidence,
    /// They are kept for a time, and then collected.
    Collected,
    /// They are not what was recorded.
    Changed,
    /// They are freed; the record stays.
    Freed,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// New clones.
    pub clones: NewClones,
    /// Clones that exist.
    pub standing: Standing,
    /// Channels.
    pub channel: InChannel,
    /// Whether pools keep members of it ready.
    pub pooled: bool,
    /// The bytes.
    pub bytes: Bytes,
}

/// What a state means.
pub const fn meaning(state: State) -> Meaning {
    use InChannel::{May, MovesBack, Never, Stays};
    use Standing::{Current, Orphan, Withdrawn};
    match state {
        State::Draft => row(NewClones::No, Current, Never, Bytes::Mutable),
        State::Building => row(NewClones::No, Current, Never, Bytes::None),
        State::Sealed | State::InReview | State::Approved => {
            row(NewClones::No, Current, Never, Bytes::Kept)
        }
        State::Published => row(NewClones::Yes, Current, May, Bytes::Kept),
        State::Deprecated => row(NewClones::Warned, Standing::Deprecated, Stays, Bytes::Kept),
        State::Obsolete => row(NewClones::No, Standing::Obsolete, MovesBack, Bytes::Kept),
        State::Retired => row(NewClones::No, Withdrawn, MovesBack, Bytes::Collected),
        State::Purged => row(NewClones::No, Orphan, MovesBack, Bytes::Freed),
        State::Failed => row(NewClones::No, Orphan, Never, Bytes::None),
        State::Rejected => row(NewClones::No, Withdrawn, Never, Bytes::Kept),
        State::Quarantined => {
            let standing = Standing::Quarantined;
            row(NewClones::No, standing, MovesBack, Bytes::Changed)
        }
        State::Revoked => row(NewClones::No, Standing::Revoked, MovesBack, Bytes::Evidence),
    }
}

/// Pools keep nothing ready of what should not be used any more.
const fn row(clones: NewClones, standing: Standing, channel: InChannel, bytes: Bytes) -> Meaning {
    Meaning {
        clones,
        standing,
        channel,
        pooled: matches!(clones, NewClones::Yes),
        bytes,
    }
}

/// The table as the guide has it.
pub fn guide_table() -> String {
    let mut table = String::from(
        "| State | New clones | Clones that exist are | Channels | Pools | Bytes |\n\
         |---|---|---|---|---|---|\n",
    );
    for state in State::ALL {
        let Meaning {
            clones,
            standing,
            channel,
            pooled,
            bytes,
        } = meaning(state);
        let pools = if pooled { "kept ready" } else { "drained" };
        // Writing into a text does not fail.
        let _ = writeln!(
            table,
            "| {state} | {} | {} | {} | {pools} | {} |",
            clones.words(),
            standing.as_str(),
            channel.words(),
            bytes.words(),
        );
    }
    table
}

impl NewClones {
    const fn words(self) -> &'static str {
        match self {
            NewClones::No => "refused",
            NewClones::Yes => "made",
            NewClones::Warned => "made, with a warning",
        }
    }
}

impl InChannel {
    const fn words(self) -> &'static str {
        match self {
            InChannel::Never => "never",
            InChannel::May => "can be moved to it; `latest`",
            InChannel::Stays => "stay, can't be moved to it",
            InChannel::MovesBack => "are moved back",
        }
    }
}

impl Bytes {
    const fn words(self) -> &'static str {
        match self {
            Bytes::None => "none yet",
            Bytes::Mutable => "may change",
            Bytes::Kept => "kept, never change",
            Bytes::Evidence => "kept until purged by name",
            Bytes::Collected => "kept for 30 days, then collected",
            Bytes::Changed => "not what was recorded",
            Bytes::Freed => "freed, the record stays",
        }
    }
}
