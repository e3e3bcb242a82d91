//! Retention: which versions a template keeps on offer, and why; what becomes of the others.
//!
//! ```text
//! published ── no rule keeps it ──→ deprecated ── obsolete-after ──→ obsolete ── retire-after ──→ retired
//!                                       └ a rule keeps it again: its dates are lifted ┘
//! sealed, rejected ── unpublished-after ──→ retired
//! ```
//! Every rule that keeps a version is named, so that a person can see what would have to change for
//! it to go. What a person withdrew, with whichever dates, is not touched: these rules go on only
//! with what they began. Pure: the caller gathers the [`Facts`] and does what the [`Fate`] says.

use crate::lease::Span;
use crate::lifecycle::{Governance, State};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Who is in the audit, and in a version's notice, when these rules do something.
pub const ACTOR: &str = "retention";

const DAY_S: u64 = 86_400;

/// What a template keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// So many of the newest published versions stay.
    pub keep_last: u32,
    /// A version stays until it is this old.
    pub younger_than: Option<Span>,
    /// A version stays until nobody has cloned it for this long.
    pub cloned_within: Option<Span>,
    /// How long after its deprecation a version becomes obsolete.
    pub obsolete_after: Span,
    /// How long after that it is retired.
    pub retire_after: Span,
    /// How long a version may be sealed or rejected before it is retired; `None`: for ever.
    pub unpublished_after: Option<Span>,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            keep_last: 3,
            younger_than: None,
            cloned_within: None,
            obsolete_after: Span::of_seconds(30 * DAY_S),
            retire_after: Span::of_seconds(30 * DAY_S),
            unpublished_after: None,
        }
    }
}

/// What the rules look at, of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Its state.
    pub state: State,
    /// What is recorded beside it.
    pub governance: &'a Governance,
    /// How many published versions of the template are newer.
    pub newer_published: u32,
    /// The channels that point to it.
    pub channels: Vec<String>,
    /// How many guests are made of it, those in pools and in the trash too.
    pub clones: usize,
    /// When a clone was last asked for, in milliseconds since 1970, if it is known.
    pub cloned_ms: Option<i64>,
    /// When it was made.
    pub created_ms: i64,
    /// When its state or its record last changed.
    pub changed_ms: i64,
}

/// A rule that keeps a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// It is this one, counted from the newest, of so many published versions that stay.
    Last {
        /// From 1.
        place: u32,
        /// How many stay.
        of: u32,
    },
    /// This channel points to it.
    Channel(String),
    /// So many guests are made of it.
    Clones(usize),
    /// Somebody holds it, for this reason.
    Hold(String),
    /// It is too young to go before this moment, in milliseconds since 1970.
    Younger(i64),
    /// It was cloned too lately to go before this moment.
    Cloned(i64),
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keep::Last { place: 1, .. } => f.write_str("the newest published"),
            Keep::Last { place, of } => write!(f, "number {place} of the last {of} published"),
            Keep::Channel(name) => write!(f, "on {name}"),
            Keep::Clones(1) => f.write_str("1 guest is made of it"),
            Keep::Clones(n) => write!(f, "{n} guests are made of it"),
            Keep::Hold(reason) => write!(f, "on hold: {reason}"),
            Keep::Younger(until) => write!(f, "too young until {}", crate::date::text(*until)),
            Keep::Cloned(until) => {
                write!(f, "cloned too lately until {}", crate::date::text(*until))
            }
        }
    }
}

/// What the rules say about one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// They are not about a version in this state, or a person has decided about it.
    NotTheirs,
    /// Nothing changes, for each of these.
    Kept(Vec<Keep>),
    /// It goes on towards its end, and the next step is at this moment.
    OnItsWay(i64),
    /// It is to be deprecated now, with these dates.
    Deprecate {
        /// When it becomes obsolete.
        obsolete_ms: i64,
        /// When it is retired.
        retire_ms: i64,
    },
    /// Its dates are to be lifted: each of these keeps it again. It stays as it is.
    Lift(Vec<Keep>),
    /// Nothing keeps it any more: its dates are to be set anew.
    Resume {
        /// When it becomes obsolete; `None`: it is.
        obsolete_ms: Option<i64>,
        /// When it is retired.
        retire_ms: i64,
    },
    /// It is to be retired now.
    Retire,
}

impl Fate {
    /// Whether something is to be done.
    pub fn is_change(&self) -> bool {
        match self {
            Fate::NotTheirs | Fate::Kept(_) | Fate::OnItsWay(_) => false,
            Fate::Deprecate { .. } | Fate::Lift(_) | Fate::Resume { .. } | Fate::Retire => true,
        }
    }

    /// What becomes of the version, in one word.
    pub fn what(&self) -> &'static str {
        match self {
            Fate::NotTheirs | Fate::Kept(_) => "stays",
            Fate::OnItsWay(_) => "goes",
            Fate::Deprecate { .. } => "deprecate",
            Fate::Lift(_) => "lift",
            Fate::Resume { .. } => "resume",
            Fate::Retire => "retire",
        }
    }

    /// Why; of a version that stays, everything that keeps it.
    pub fn why(&self) -> String {
        let day = |ms: &i64| crate::date::text(*ms);
        match self {
            Fate::NotTheirs => "not for these rules".to_owned(),
            Fate::Kept(kept) => list(kept),
            Fate::OnItsWay(next) => format!("nothing keeps it; next on {}", day(next)),
            Fate::Deprecate {
                obsolete_ms,
                retire_ms,
            } => format!(
                "nothing keeps it: obsolete on {}, retired on {}",
                day(obsolete_ms),
                day(retire_ms)
            ),
            Fate::Lift(kept) if kept.is_empty() => "there are no rules for it any more".to_owned(),
            Fate::Lift(kept) => format!("it is kept again: {}", list(kept)),
            Fate::Resume {
                obsolete_ms: Some(obsolete_ms),
                retire_ms,
            } => format!(
                "nothing keeps it any more: obsolete on {}, retired on {}",
                day(obsolete_ms),
                day(retire_ms)
            ),
            Fate::Resume { retire_ms, .. } => {
                format!("nothing keeps it any more: retired on {}", day(retire_ms))
            }
            Fate::Retire => "it was not published, and nothing keeps it".to_owned(),
        }
    }
}

fn list(kept: &[Keep]) -> String {
    let kept: Vec<String> = kept.iter().map(ToString::to_string).collect();
    kept.join("; ")
}

/// What becomes of a version by these rules at this moment. Without rules nothing new is begun, and
/// what was begun is lifted.
pub fn fate(rules: Option<&Rules>, facts: &Facts<'_>, now_ms: i64) -> Fate {
    let governance = facts.governance;
    let is_begun = governance
        .deprecated
        .as_ref()
        .is_some_and(|notice| notice.actor == ACTOR);
    match facts.state {
        State::Deprecated | State::Obsolete if is_begun => go_on(rules, facts, now_ms),
        State::Published => {
            let Some(rules) = rules else {
                return Fate::NotTheirs;
            };
            let kept = keeps(rules, facts, now_ms);
            if !kept.is_empty() {
                return Fate::Kept(kept);
            }
            let obsolete_ms = now_ms.saturating_add(rules.obsolete_after.ms());
            Fate::Deprecate {
                obsolete_ms,
                retire_ms: obsolete_ms.saturating_add(rules.retire_after.ms()),
            }
        }
        State::Sealed | State::Rejected => {
            let Some(span) = rules.and_then(|rules| rules.unpublished_after) else {
                return Fate::NotTheirs;
            };
            let mut kept = needed(facts);
            // Whatever was done with it last counts: a version that was restored is new again.
            let until = facts.changed_ms.saturating_add(span.ms());
            if until > now_ms {
                kept.push(Keep::Younger(until));
            }
            match kept.is_empty() {
                true => Fate::Retire,
                false => Fate::Kept(kept),
            }
        }
        _ => Fate::NotTheirs,
    }
}

/// A version whose end these rules began.
fn go_on(rules: Option<&Rules>, facts: &Facts<'_>, now_ms: i64) -> Fate {
    let governance = facts.governance;
    let dates = [governance.obsolete_ms, governance.retire_ms];
    let next = match facts.state {
        State::Obsolete => governance.retire_ms,
        _ => dates.into_iter().flatten().min(),
    };
    let kept = rules.map_or_else(Vec::new, |rules| keeps(rules, facts, now_ms));
    match (rules, next) {
        (Some(rules), None) if kept.is_empty() => {
            let is_obsolete = facts.state == State::Obsolete;
            let obsolete_ms = now_ms.saturating_add(rules.obsolete_after.ms());
            let from = if is_obsolete { now_ms } else { obsolete_ms };
            Fate::Resume {
                obsolete_ms: (!is_obsolete).then_some(obsolete_ms),
                retire_ms: from.saturating_add(rules.retire_after.ms()),
            }
        }
        (None, None) => Fate::NotTheirs,
        (_, None) => Fate::Kept(kept),
        (Some(_), Some(next)) if kept.is_empty() => Fate::OnItsWay(next),
        (_, Some(_)) => Fate::Lift(kept),
    }
}

/// Every rule that keeps a version that is or was offered.
fn keeps(rules: &Rules, facts: &Facts<'_>, now_ms: i64) -> Vec<Keep> {
    let mut kept = Vec::new();
    if facts.state == State::Published && facts.newer_published < rules.keep_last {
        kept.push(Keep::Last {
            place: facts.newer_published + 1,
            of: rules.keep_last,
        });
    }
    kept.extend(needed(facts));
    let until = |from: Option<i64>, span: Option<Span>| {
        let until = from?.saturating_add(span?.ms());
        (until > now_ms).then_some(until)
    };
    let young = until(Some(facts.created_ms), rules.younger_than);
    kept.extend(young.map(Keep::Younger));
    kept.extend(until(facts.cloned_ms, rules.cloned_within).map(Keep::Cloned));
    kept
}

/// What keeps a version whatever the rules are.
fn needed(facts: &Facts<'_>) -> Vec<Keep> {
    let channels = facts.channels.iter().cloned().map(Keep::Channel);
    let clones = (facts.clones > 0).then_some(Keep::Clones(facts.clones));
    let held = facts.governance.hold.as_ref();
    let hold = held.map(|held| Keep::Hold(held.reason.clone()));
    channels.chain(clones).chain(hold).collect()
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
