//! Who has to approve a version before it is offered, and whether they have.
//!
//! A site's [`Rule`] says how many people, with which roles. What they said is a list of [`Vote`]s,
//! each bound to what it was said about ([`Bound`]); [`decide`] is the one function that says what
//! all of it comes to. Whether a version is approved is never recorded: it follows from the votes,
//! from what is so now, and from the moment.
//!
//! What this file does *not* do: check signatures. A vote says whether its signature was right.

mod decide;
#[cfg(test)]
mod tests;

pub use decide::{Asked, Decision, Moment, Void, decide, may_purge, still_missing, vote_counts};

use crate::text_form::text_form;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// How long an approval holds when nothing else is said, in days.
pub const DEFAULT_EXPIRY_DAYS: u32 = 30;
/// The longest that an approval may hold, in days.
pub const LONGEST_EXPIRY_DAYS: u32 = 366;
/// How long after it a break-glass holds, in milliseconds: a day.
pub const BREAK_GLASS_MS: i64 = 86_400_000;
/// How many people break the glass.
pub const BREAK_GLASS_PEOPLE: usize = 2;
/// The most approvals that can be asked for.
pub const MOST_NEEDED: u32 = 16;
/// The role that the preset `regulated` asks for.
pub const SECURITY: &str = "security";
const DAY_MS: i64 = 86_400_000;
const LONGEST_PRINCIPAL: usize = 128;
const LONGEST_ROLE: usize = 32;

/// Who signs, as a site calls them: `anna`, or `anna@example.org`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Principal(String);

/// What somebody may speak for, as in `security`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Role(String);

/// A text that names nobody, or no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// Not a principal.
    #[error(
        "use {0:?} as a signer: 1 to {LONGEST_PRINCIPAL} characters of A-Z, a-z, 0-9 and @ . _ + -"
    )]
    Principal(String),
    /// Not a role.
    #[error("use {0:?} as a role: 1 to {LONGEST_ROLE} characters of a-z, 0-9 and -")]
    Role(String),
}

impl FromStr for Principal {
    type Err = WordError;
    fn from_str(text: &str) -> Result<Self, WordError> {
        // Nothing that allowed_signers(5) would take for a pattern or for the end of a name.
        let allowed = |c: char| c.is_ascii_alphanumeric() || "@._+-".contains(c);
        let fits = (1..=LONGEST_PRINCIPAL).contains(&text.len());
        match fits && text.chars().all(allowed) {
            true => Ok(Principal(text.to_owned())),
            false => Err(WordError::Principal(text.to_owned())),
        }
    }
}

impl FromStr for Role {
    type Err = WordError;
    fn from_str(text: &str) -> Result<Self, WordError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let fits = (1..=LONGEST_ROLE).contains(&text.len());
        match fits && text.chars().all(allowed) {
            true => Ok(Role(text.to_owned())),
            false => Err(WordError::Role(text.to_owned())),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_form!(Principal, WordError);
text_form!(Role, WordError);

/// How strict a site is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Nobody else has to approve; whoever publishes has.
    Solo,
    /// One person who did not make it.
    Team,
    /// Two people who did not make it, one of them for security; whoever purges is a third.
    Regulated,
    /// What the site says.
    Custom,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Preset; 4] = [
        Preset::Solo,
        Preset::Team,
        Preset::Regulated,
        Preset::Custom,
    ];

    /// The word in settings, statements and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Preset::Solo => "solo",
            Preset::Team => "team",
            Preset::Regulated => "regulated",
            Preset::Custom => "custom",
        }
    }
}

/// What a site asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Where it comes from.
    pub preset: Preset,
    /// How many people approve.
    pub needed: u32,
    /// How many of them have each role. One person fills one place only.
    pub roles: BTreeMap<Role, u32>,
    /// Whether who made a version may be one of them.
    pub author_may_approve: bool,
    /// Whether purging needs somebody who neither made nor approved it.
    pub purger_apart: bool,
    /// How long an approval holds for publishing, in milliseconds.
    pub expires_ms: i64,
    /// Whether approvals are asked for again each time a version is cloned.
    pub verify_at_clone: bool,
}

/// Why a rule makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Nobody could ever meet it, or it asks for nothing.
    #[error("ask for {0} approvals: it is 1 to {MOST_NEEDED}")]
    Needed(u32),
    /// Each place is one person's.
    #[error("ask for {roles} people with roles among {needed}")]
    Roles {
        /// Places with a role.
        roles: u32,
        /// Places in all.
        needed: u32,
    },
    /// Too short or too long.
    #[error("let approvals hold for {0} days: it is 1 to {LONGEST_EXPIRY_DAYS}")]
    Expiry(u32),
}

impl Default for Rule {
    fn default() -> Self {
        Rule::of(Preset::Solo)
    }
}

impl Rule {
    /// What a preset asks for. Of `custom` this is where a site begins: as `team`.
    pub fn of(preset: Preset) -> Rule {
        let (needed, security) = match preset {
            Preset::Solo => (0, 0),
            Preset::Team | Preset::Custom => (1, 0),
            Preset::Regulated => (2, 1),
        };
        let roles = (security > 0).then(|| (Role(SECURITY.to_owned()), security));
        Rule {
            preset,
            needed,
            roles: roles.into_iter().collect(),
            author_may_approve: preset == Preset::Solo,
            purger_apart: preset == Preset::Regulated,
            expires_ms: i64::from(DEFAULT_EXPIRY_DAYS) * DAY_MS,
            verify_at_clone: preset == Preset::Regulated,
        }
    }

    /// As this rule, with approvals that hold for so many days.
    pub fn expiring_after(mut self, days: u32) -> Result<Rule, RuleError> {
        if !(1..=LONGEST_EXPIRY_DAYS).contains(&days) {
            return Err(RuleError::Expiry(days));
        }
        self.expires_ms = i64::from(days) * DAY_MS;
        Ok(self)
    }

    /// For how many days approvals hold.
    pub fn expires_days(&self) -> i64 {
        self.expires_ms / DAY_MS
    }

    /// Whether anybody has to approve.
    pub fn asks(&self) -> bool {
        self.needed > 0
    }

    /// Refuses a rule that nobody could meet.
    pub fn check(&self) -> Result<(), RuleError> {
        let roles = self
            .roles
            .values()
            .fold(0, |all: u32, n| all.saturating_add(*n));
        if self.preset != Preset::Solo && !(1..=MOST_NEEDED).contains(&self.needed) {
            return Err(RuleError::Needed(self.needed));
        }
        match roles > self.needed {
            true => Err(RuleError::Roles {
                roles,
                needed: self.needed,
            }),
            false => Ok(()),
        }
    }
}

/// What an approval is about. It is void when one of these is another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The id of the image.
    pub image: String,
    /// The digest of the check pack.
    pub policy: String,
    /// The digest of what the conformity report says, whenever it was made.
    pub report: String,
}

/// What somebody said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// It is ready to be looked at.
    Submitted,
    /// It may be offered.
    Approved,
    /// It may not be offered.
    Rejected,
    /// It has to be offered at once, without the approvals that are missing.
    BrokeGlass,
}

impl Said {
    /// Everything that can be said.
    pub const ALL: [Said; 4] = [
        Said::Submitted,
        Said::Approved,
        Said::Rejected,
        Said::BrokeGlass,
    ];

    /// The word in statements and in the catalog.
    pub const fn as_str(self) -> &'static str {
        match self {
            Said::Submitted => "submitted",
            Said::Approved => "approved",
            Said::Rejected => "rejected",
            Said::BrokeGlass => "broke_glass",
        }
    }
}

/// One thing that somebody said about a version, and what the site's settings make of it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// Who.
    pub principal: Principal,
    /// What.
    pub said: Said,
    /// About what.
    pub about: Bound,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Whether the signature is right, and by a key that is this signer's now.
    pub is_proven: bool,
    /// Whether the signer is a person.
    pub is_person: bool,
    /// The roles that the signer has now.
    pub roles: Vec<Role>,
}
