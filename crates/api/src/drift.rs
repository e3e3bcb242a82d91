//! What guests have become, against the versions that they came from.

use crate::Reply;
use serde::{Deserialize, Serialize};
use stampo_core::names::GuestName;

/// What guests have become.
pub trait DriftApi {
    /// Looks at these guests, at all complete ones where none is named.
    fn drift(&self, request: DriftRequest) -> Reply<Vec<GuestDrift>>;
}

/// Which guests are looked at, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftRequest {
    /// The guests; none stands for all.
    pub guests: Vec<GuestName>,
    /// Whether every file is read, whatever its metadata says.
    #[serde(default)]
    pub paranoid: bool,
    /// Why what is found is what is to be, from now on.
    #[serde(default)]
    pub accept: Option<String>,
}

/// What a guest has become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestDrift {
    /// The guest.
    pub guest: String,
    /// The version that it came from, `name@N`.
    pub version: String,
    /// `current`, `outdated`, `deprecated`, `obsolete`, `withdrawn`, `orphan`, `quarantined`, `revoked` or
    /// `unknown-origin`.
    pub lineage: String,
    /// How many newer versions are offered.
    pub behind: u32,
    /// Whether somebody has to do something because of its lineage.
    pub is_alarming: bool,
    /// `none`, `drifted`, `security` or `unknown`.
    pub verdict: String,
    /// What its own overlay holds; absent where it has none, or it can't be read now.
    pub blocks: Option<DriftBlocks>,
    /// How many entries of each class are not as they were.
    pub counts: DriftCounts,
    /// Packages that are not as they were.
    pub packages: Vec<DriftPackage>,
    /// Entries that are not as they were, the gravest first.
    pub findings: Vec<DriftFinding>,
    /// Parts of the disk without a tree that is compared, and that are not the version's.
    pub parts: Vec<DriftPart>,
    /// What could not be found out.
    pub unknown: Vec<String>,
    /// Entries of the guest.
    pub entries: usize,
    /// How many of them were looked at more closely than by their metadata.
    pub looked_at: usize,
}

/// What an overlay holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftBlocks {
    /// Bytes that are not the version's.
    pub bytes: u64,
    /// In how many pieces.
    pub extents: usize,
}

/// How many entries of each class.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftCounts {
    /// Who gets in, what runs, or what is believed.
    pub security: usize,
    /// What no package brought.
    pub foreign: usize,
    /// Settings.
    pub config: usize,
    /// What changed with a package.
    pub package: usize,
    /// What every guest changes.
    pub expected: usize,
}

/// A package that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftPackage {
    /// Its name, with the architecture.
    pub name: String,
    /// The version that it had; absent where it is new.
    pub before: Option<String>,
    /// The version that it has; absent where it is gone.
    pub after: Option<String>,
}

/// An entry that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftFinding {
    /// `security`, `foreign`, `config`, `package` or `expected`.
    pub class: String,
    /// `added`, `removed` or `changed`.
    pub change: String,
    /// Its path in the guest.
    pub path: String,
    /// What is different.
    pub what: Vec<String>,
    /// The package that it belongs to.
    pub package: Option<String>,
    /// Why it has its class.
    pub why: String,
}

/// A part of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftPart {
    /// What it is, for example `partition 15`.
    pub name: String,
    /// The filesystem in it.
    pub filesystem: Option<String>,
    /// Whether its bytes have changed; absent where that is not known.
    pub is_changed: Option<bool>,
}
