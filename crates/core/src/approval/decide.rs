//! What votes come to: the one function that says whether a version is approved.

use super::{BREAK_GLASS_MS, BREAK_GLASS_PEOPLE, Bound, Principal, Role, Rule, Said, Vote};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How far a clock may be behind the one of whoever signed, in milliseconds.
const SKEW_MS: i64 = 5 * 60 * 1000;

/// For what it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It is to be offered: everything has to be as it was approved, and recently.
    Publishing,
    /// It was offered while it was approved, and is to be used: who approved these bytes, and may
    /// they still? What the pack says of it is asked for itself.
    Using,
}

/// Everything that the decision looks at.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// What the site asks for.
    pub rule: &'a Rule,
    /// Who made it.
    pub authors: &'a BTreeSet<Principal>,
    /// What was said.
    pub votes: &'a [Vote],
    /// What is so now.
    pub now: &'a Bound,
    /// Now, in milliseconds since 1970.
    pub now_ms: i64,
    /// For what.
    pub moment: Moment,
}

/// Why a vote does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Void {
    /// Its signature is wrong, or its key is nobody's any more.
    Unproven,
    /// Programs don't approve.
    Robot,
    /// Who made it does not approve it.
    Author,
    /// Somebody has rejected it since.
    Rejected,
    /// It is about other bytes.
    Image,
    /// Another check pack counts now.
    Policy,
    /// The conformity report says something else now.
    Report,
    /// It was too long ago.
    Expired,
    /// It is of a time that has not come.
    Future,
}

impl fmt::Display for Void {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Void::Unproven => "its signature is not one of a signer of this site",
            Void::Robot => "it is a robot's, and robots don't approve",
            Void::Author => "it is by who made the version",
            Void::Rejected => "the version was rejected since",
            Void::Image => "it is about another image",
            Void::Policy => "another check pack counts now",
            Void::Report => "the conformity report says something else now",
            Void::Expired => "it has expired",
            Void::Future => "it is of a time that has not come",
        })
    }
}

/// What votes come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nobody has to approve.
    NotNeeded,
    /// Enough people have.
    Approved {
        /// Who.
        by: BTreeSet<Principal>,
        /// Until when it can be published, in milliseconds since 1970.
        until_ms: i64,
    },
    /// It is offered without the approvals that it should have.
    BrokenGlass {
        /// Who answers for it.
        by: BTreeSet<Principal>,
        /// Until when it can be published, in milliseconds since 1970.
        until_ms: i64,
    },
    /// Not enough people have.
    Missing {
        /// Who has.
        by: BTreeSet<Principal>,
        /// How many are missing.
        more: u32,
        /// The roles that are missing among them.
        roles: BTreeMap<Role, u32>,
    },
}

impl Decision {
    /// Whether it may be offered, as far as approvals go.
    pub fn allows(&self) -> bool {
        !matches!(self, Decision::Missing { .. })
    }
}

/// Whether one vote counts for what it says, or the first reason why not.
pub fn vote_counts(asked: &Asked<'_>, vote: &Vote) -> Result<(), Void> {
    let Asked { now, now_ms, .. } = *asked;
    let about = &vote.about;
    if !vote.is_proven {
        return Err(Void::Unproven);
    }
    if !vote.is_person {
        return Err(Void::Robot);
    }
    let is_author = asked.authors.contains(&vote.principal);
    if vote.said == Said::Approved && is_author && !asked.rule.author_may_approve {
        return Err(Void::Author);
    }
    if about.image != now.image {
        return Err(Void::Image);
    }
    let rejects = |other: &Vote| {
        other.said == Said::Rejected
            && other.is_proven
            && other.is_person
            && other.about.image == now.image
            && other.at_ms >= vote.at_ms
    };
    if vote.said != Said::Rejected && asked.votes.iter().any(rejects) {
        return Err(Void::Rejected);
    }
    if asked.moment == Moment::Using {
        return Ok(());
    }
    // Whoever breaks the glass does so because something of this is not as it should be.
    if vote.said != Said::BrokeGlass {
        if about.policy != now.policy {
            return Err(Void::Policy);
        }
        if about.report != now.report {
            return Err(Void::Report);
        }
    }
    if vote.at_ms > now_ms.saturating_add(SKEW_MS) {
        return Err(Void::Future);
    }
    match now_ms >= until_ms(asked.rule, vote) {
        true => Err(Void::Expired),
        false => Ok(()),
    }
}

/// Until when a vote counts for publishing.
fn until_ms(rule: &Rule, vote: &Vote) -> i64 {
    vote.at_ms.saturating_add(match vote.said {
        Said::BrokeGlass => BREAK_GLASS_MS,
        _ => rule.expires_ms,
    })
}

/// Whether a version is approved. The one place where that is decided.
pub fn decide(asked: &Asked<'_>) -> Decision {
    if !asked.rule.asks() {
        return Decision::NotNeeded;
    }
    let counting = |said: Said| -> Vec<&Vote> {
        let votes = asked.votes.iter();
        votes
            .filter(|vote| vote.said == said && vote_counts(asked, vote).is_ok())
            .collect()
    };
    // Of several votes of one person the one that holds longest counts.
    let mut approving: BTreeMap<&Principal, &Vote> = BTreeMap::new();
    for vote in counting(Said::Approved) {
        let kept = approving.entry(&vote.principal).or_insert(vote);
        if vote.at_ms > kept.at_ms {
            *kept = vote;
        }
    }
    let by: BTreeSet<Principal> = approving.keys().map(|p| (*p).clone()).collect();
    let people: Vec<&[Role]> = approving.values().map(|vote| &vote.roles[..]).collect();
    let (more, roles) = still_missing(asked.rule, &people);
    if more == 0 {
        let until = approving.values().map(|vote| until_ms(asked.rule, vote));
        let until_ms = until.min().unwrap_or(asked.now_ms);
        return Decision::Approved { by, until_ms };
    }
    let broke = counting(Said::BrokeGlass);
    let breakers: BTreeSet<Principal> = broke.iter().map(|v| v.principal.clone()).collect();
    if breakers.len() >= BREAK_GLASS_PEOPLE {
        let until = broke.iter().map(|vote| until_ms(asked.rule, vote));
        return Decision::BrokenGlass {
            by: breakers,
            until_ms: until.min().unwrap_or(asked.now_ms),
        };
    }
    Decision::Missing { by, more, roles }
}

/// How many people are missing when these, each with their roles, have approved, and with which
/// roles. Each fills one place: who has two roles does not stand for two people.
pub fn still_missing(rule: &Rule, people: &[&[Role]]) -> (u32, BTreeMap<Role, u32>) {
    let places: Vec<&Role> = rule
        .roles
        .iter()
        .flat_map(|(role, count)| std::iter::repeat_n(role, *count as usize))
        .collect();
    // The place that each person fills: a bipartite matching, by augmenting paths.
    let mut filled: Vec<Option<usize>> = vec![None; places.len()];
    for person in 0..people.len() {
        let mut tried = vec![false; places.len()];
        seat(person, people, &places, &mut filled, &mut tried);
    }
    let mut roles: BTreeMap<Role, u32> = BTreeMap::new();
    for (place, by) in places.iter().zip(&filled) {
        if by.is_none() {
            *roles.entry((*place).clone()).or_default() += 1;
        }
    }
    let have = u32::try_from(people.len()).unwrap_or(u32::MAX);
    let empty: u32 = roles.values().sum();
    (rule.needed.saturating_sub(have).max(empty), roles)
}

/// Gives a person a place, moving others to other places of theirs.
fn seat(
    person: usize,
    people: &[&[Role]],
    places: &[&Role],
    filled: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for at in 0..places.len() {
        if tried[at] || !people[person].contains(places[at]) {
            continue;
        }
        tried[at] = true;
        let is_free = match filled[at] {
            None => true,
            Some(other) => seat(other, people, places, filled, tried),
        };
        if is_free {
            filled[at] = Some(person);
            return true;
        }
    }
    false
}

/// Whether somebody may free a version's bytes: where the rule keeps purging apart, only a person
/// who is known and neither made nor approved it.
pub fn may_purge(
    rule: &Rule,
    purger: Option<&Principal>,
    authors: &BTreeSet<Principal>,
    votes: &[Vote],
) -> bool {
    if !rule.purger_apart {
        return true;
    }
    let took_part = |who: &Principal| {
        authors.contains(who)
            || votes
                .iter()
                .any(|vote| vote.is_proven && vote.principal == *who)
    };
    purger.is_some_and(|who| !took_part(who))
}
