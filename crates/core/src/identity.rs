//! Identity facts of a guest and the verdicts of a passport.
//!
//! A *fact* is one identity item of one guest with a salted hash of its value. A *passport* is
//! all facts of a guest, each with a verdict that comes from comparing it with every other guest.

use crate::names::GuestName;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// One identity item of one guest, read from its disk, its agent or its definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityFact {
    /// The item's stable name, for example `machine-id` or `ssh.host-key.ed25519`.
    pub item: String,
    /// Where it was read, for example `/etc/machine-id`.
    pub location: String,
    /// What was found there.
    pub value: FactValue,
}

/// What was found where an identity item lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "hash")]
pub enum FactValue {
    /// A value; only its salted BLAKE3 hash is kept.
    Present(String),
    /// Nothing yet: the guest makes it at its first boot.
    Regenerated,
    /// The same as the template's on purpose; the text says why.
    Kept(String),
    /// It could not be read; the text says why. Never counted as unique.
    Unknown(String),
}

/// What comparing a fact with all other guests gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "detail")]
pub enum Verdict {
    /// No other guest has this value.
    Unique,
    /// The guest makes its own at its first boot.
    Regenerated,
    /// Shared on purpose, with the reason.
    Kept(String),
    /// These guests have the same value.
    Duplicated(Vec<GuestName>),
    /// It could not be read, with the reason.
    Unknown(String),
}

/// The verdict on `fact` of `guest`, given who else holds which value of the same item.
///
/// `others` maps the hash of a value to the guests that hold it, for this item.
pub fn verdict(
    guest: &GuestName,
    fact: &IdentityFact,
    others: &HashMap<String, Vec<GuestName>>,
) -> Verdict {
    match &fact.value {
        FactValue::Regenerated => Verdict::Regenerated,
        FactValue::Kept(why) => Verdict::Kept(why.clone()),
        FactValue::Unknown(why) => Verdict::Unknown(why.clone()),
        FactValue::Present(hash) => {
            let sharers: Vec<GuestName> = others
                .get(hash)
                .into_iter()
                .flatten()
                .filter(|name| *name != guest)
                .cloned()
                .collect();
            if sharers.is_empty() {
                Verdict::Unique
            } else {
                Verdict::Duplicated(sharers)
            }
        }
    }
}
