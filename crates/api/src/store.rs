//! The host and the store as a whole.

use serde::{Deserialize, Serialize};
use stampo_core::size::ByteSize;

/// How a check of the host ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// As it should be.
    Ok,
    /// Works, with a drawback.
    Warn,
    /// Something can't work.
    Fail,
    /// It could not be found out.
    Unknown,
}

/// One check of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its stable id.
    pub id: String,
    /// How it ended.
    pub status: CheckStatus,
    /// What was found.
    pub found: String,
    /// What it is needed for.
    pub why: String,
    /// How to mend it; empty when it is fine.
    pub remedy: String,
}

/// All checks of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorReport {
    /// The checks.
    pub checks: Vec<Check>,
}

/// One thing in the store, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcSubject {
    /// `image`, `version`, `guest` or `staging`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The bytes it takes.
    pub size: ByteSize,
    /// Whether it goes.
    pub goes: bool,
    /// Why it goes or stays.
    pub reason: String,
}

/// What collection found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcReport {
    /// Whether what could go was removed.
    pub applied: bool,
    /// Everything that was looked at.
    pub subjects: Vec<GcSubject>,
    /// Bytes that were or would be freed.
    pub freed: ByteSize,
}

/// What a rescan brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RescanReport {
    /// Versions, `name@N`.
    pub versions: Vec<String>,
    /// Guests.
    pub guests: Vec<String>,
    /// What could not be taken in, and why.
    pub refused: Vec<(String, String)>,
}
