//! What a process may be told to do: one command of a user, with its target.
//!
//! Guests have a few fixed names, so that the processes meet at them. Versions are told by how far
//! they are from the newest when the step is carried out, so that a program that lost some of its
//! steps still means something.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use stampo_core::lifecycle::Verb;
use std::fmt;

/// A guest's name, `g-N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Name(pub u16);

/// How many names the steps choose from.
const NAMES: u16 = 10;
/// How many guest files systems there are to import.
pub const SOURCES: u8 = 3;

impl Name {
    /// Both, once and in the order in which they are claimed: that of their texts.
    pub fn in_order(mut names: [Name; 2]) -> Vec<Name> {
        names.sort_by_key(Name::to_string);
        let mut names = names.to_vec();
        names.dedup();
        names
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g-{}", self.0)
    }
}

/// A version: so many numbers below the newest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Back(pub u32);

impl fmt::Display for Back {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => write!(f, "the newest version"),
            back => write!(f, "the version {back} below the newest"),
        }
    }
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Clones one guest, of the newest published version or of a certain one.
    Clone {
        guest: Name,
        full: bool,
        version: Option<Back>,
    },
    /// Clones some guests, with the lowest free numbers as names.
    CloneSome { count: u32, full: bool },
    /// Removes a guest at once, even if it runs.
    Remove(Name),
    /// Removes two guests (or one, named twice) at once, or none if one of them runs.
    RemoveStopped([Name; 2]),
    /// Removes a guest, restorable; with `due` only until the next collection.
    Trash { guest: Name, due: bool },
    /// Brings a guest back.
    BringBack(Name),
    /// Gives a guest another name.
    Rename { guest: Name, to: Name },
    /// Makes a linked clone independent.
    Flatten(Name),
    /// Starts a guest.
    Start(Name),
    /// Stops a guest at once.
    Stop(Name),
    /// Gives a stopped guest so many processors.
    Resize { guest: Name, cpus: u32 },
    /// Writes a file of a guest: on its disk, or through its agent.
    WriteFile(Name),
    /// Collects what nothing needs; with `now` without grace times.
    Gc { now: bool },
    /// Imports one of the sources as the next version.
    Import { source: u8 },
    /// Seals a version.
    Seal(Back),
    /// Publishes, retires, restores or purges a version.
    Change { verb: Verb, version: Back },
    /// Lists everything, as one moment has it.
    List,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = |full: &bool| if *full { "full" } else { "linked" };
        match self {
            Step::Clone {
                guest,
                full,
                version: None,
            } => write!(f, "clone {guest}, {}", kind(full)),
            Step::Clone {
                guest,
                full,
                version: Some(version),
            } => write!(f, "clone {guest}, {}, of {version}", kind(full)),
            Step::CloneSome { count, full } => write!(f, "clone {count} guests, {}", kind(full)),
            Step::Remove(guest) => write!(f, "remove {guest}"),
            Step::RemoveStopped([one, other]) => write!(f, "remove {one} and {other} if stopped"),
            Step::Trash { guest, due: true } => write!(f, "remove {guest}, kept for no time"),
            Step::Trash { guest, due: false } => write!(f, "remove {guest}, kept for an hour"),
            Step::BringBack(guest) => write!(f, "bring back {guest}"),
            Step::Rename { guest, to } => write!(f, "rename {guest} to {to}"),
            Step::Flatten(guest) => write!(f, "flatten {guest}"),
            Step::Start(guest) => write!(f, "start {guest}"),
            Step::Stop(guest) => write!(f, "stop {guest}"),
            Step::Resize { guest, cpus } => write!(f, "resize {guest} to {cpus} processors"),
            Step::WriteFile(guest) => write!(f, "write a file of {guest}"),
            Step::Gc { now: true } => write!(f, "gc --now"),
            Step::Gc { now: false } => write!(f, "gc"),
            Step::Import { source } => write!(f, "import source {source}"),
            Step::Seal(version) => write!(f, "seal {version}"),
            Step::Change { verb, version } => write!(f, "{} {version}", verb.as_str()),
            Step::List => write!(f, "list"),
        }
    }
}

/// Any step, the cheap and contended ones more often.
pub fn any_step() -> impl Strategy<Value = Step> {
    let guest = || (1..=NAMES).prop_map(Name);
    // Mostly the newest ones: that is where processes meet.
    let back =
        || prop_oneof![5 => Just(0_u32), 3 => Just(1), 2 => Just(2), 2 => 3_u32..8].prop_map(Back);
    // What ends a version mostly ends an older one: else there is soon nothing to clone.
    let older = || prop_oneof![1 => Just(0_u32), 4 => 1_u32..8].prop_map(Back);
    let change = |verb| back().prop_map(move |version| Step::Change { verb, version });
    let end = |verb| older().prop_map(move |version| Step::Change { verb, version });
    let of = prop_oneof![3 => Just(None), 1 => back().prop_map(Some)];
    let clone =
        (guest(), prop::bool::weighted(0.25), of).prop_map(|(guest, full, version)| Step::Clone {
            guest,
            full,
            version,
        });
    let some = (1..3_u32, any::<bool>()).prop_map(|(count, full)| Step::CloneSome { count, full });
    prop_oneof![
        26 => clone,
        2 => some,
        6 => guest().prop_map(Step::Remove),
        5 => (guest(), guest()).prop_map(|(one, other)| Step::RemoveStopped([one, other])),
        6 => (guest(), any::<bool>()).prop_map(|(guest, due)| Step::Trash { guest, due }),
        6 => guest().prop_map(Step::BringBack),
        6 => (guest(), guest()).prop_map(|(guest, to)| Step::Rename { guest, to }),
        7 => guest().prop_map(Step::Flatten),
        6 => guest().prop_map(Step::Start),
        4 => guest().prop_map(Step::Stop),
        5 => (guest(), 1..=4_u32).prop_map(|(guest, cpus)| Step::Resize { guest, cpus }),
        4 => guest().prop_map(Step::WriteFile),
        4 => any::<bool>().prop_map(|now| Step::Gc { now }),
        3 => (0..SOURCES).prop_map(|source| Step::Import { source }),
        5 => back().prop_map(Step::Seal),
        8 => change(Verb::Publish),
        3 => end(Verb::Retire),
        5 => change(Verb::Restore),
        3 => end(Verb::Purge),
        3 => Just(Step::List),
    ]
}
