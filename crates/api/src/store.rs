//! The host and the store as a whole.

use serde::{Deserialize, Serialize};
use stampo_core::size::ByteSize;
use std::path::PathBuf;

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
    /// Guests among them that can't run yet, and why.
    pub undefined: Vec<(String, String)>,
    /// What could not be taken in, and why.
    pub refused: Vec<(String, String)>,
}

/// How to scrub.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubRequest {
    /// Leave out disks that were found right within this many seconds.
    pub older_than_s: Option<u64>,
    /// Read disks at most this many bytes a second; at least 1 MiB.
    pub limit: Option<ByteSize>,
}

/// What a scrub read and found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubReport {
    /// Images whose disk was read.
    pub images_read: usize,
    /// Images that were read recently enough.
    pub images_skipped: usize,
    /// Space of the disks that were read and found right.
    pub read: ByteSize,
    /// Sidecars that were read.
    pub sidecars_read: usize,
    /// Versions and guests that something worked on, so that their sidecars were left alone.
    pub busy: Vec<String>,
    /// Sidecars that had no checksum, and have one now.
    pub protected: Vec<PathBuf>,
    /// Everything that is not as it was written.
    pub damage: Vec<Damage>,
}

/// One damaged thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// `disk`, `leaf-index`, `version-sidecar`, `guest-sidecar` or `row`.
    pub what: String,
    /// The file.
    pub path: PathBuf,
    /// Where in it: ranges of bytes, or a row of a table. Empty for the whole file.
    pub place: String,
    /// What is wrong.
    pub why: String,
    /// What it belongs to: versions as `name@N`, or a guest.
    pub subjects: Vec<String>,
    /// The guests that read it: linked clones, and clones that are being made.
    pub clones: Vec<String>,
    /// `mended`, `quarantined`, `kept` (lost, and recorded in the audit) or `open`.
    pub outcome: String,
    /// What to do next; empty when there is nothing to do.
    pub remedy: String,
}
