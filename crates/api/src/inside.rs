//! What is inside versions, and what is known about it.

use crate::{Reply, TemplateDiff};
use serde::{Deserialize, Serialize};
use stampo_core::names::VersionRef;
use std::path::Path;

/// What a client can ask about the inside of versions.
pub trait InsideApi {
    /// A version's bill of materials.
    fn bill_of_materials(&self, version: &VersionRef, form: BomForm) -> Reply<serde_json::Value>;
    /// A version's missing security updates, and when its release stops being maintained.
    fn updates(&self, version: &VersionRef) -> Reply<Updates>;
    /// Imports a file about vulnerabilities, a security index, or a directory of such files. `suite` is
    /// the suite of an index where no file beside it says it.
    fn import_vulnerabilities(
        &self,
        path: &Path,
        suite: Option<&str>,
    ) -> Reply<Vec<VulnerabilitySource>>;
    /// Everything that was imported.
    fn vulnerability_sources(&self) -> Reply<Vec<VulnerabilitySource>>;
    /// Records the packages of every version that has no record.
    fn record_packages(&self) -> Reply<RecordedPackages>;
    /// Which versions a vulnerability concerns, and which guests were cloned from them.
    fn cve(&self, cve: &str) -> Reply<CveReport>;
    /// What is different between two versions.
    fn diff(&self, before: &VersionRef, after: &VersionRef) -> Reply<TemplateDiff>;
}

/// The form of a bill of materials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BomForm {
    /// CycloneDX 1.6 as JSON.
    CycloneDx,
    /// SPDX 2.3 as JSON.
    Spdx,
}

/// What a version lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updates {
    /// The version, `name@N`.
    pub version: String,
    /// `current`, `outdated`, or `unknown` where not everything could be compared.
    pub status: String,
    /// Its release, as `debian:12`.
    pub release: Option<String>,
    /// The indexes that it was compared with.
    pub indexes: Vec<VulnerabilitySource>,
    /// The updates.
    pub missing: Vec<MissingUpdate>,
    /// Why there may be more.
    pub unknown: Vec<String>,
    /// When its release stops being maintained.
    pub end_of_life: SupportEnds,
}

/// A package for which there is a security update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingUpdate {
    /// The package.
    pub package: String,
    /// Its architecture.
    pub architecture: String,
    /// What it was built from.
    pub source: String,
    /// The version that is installed.
    pub installed: String,
    /// The version that there is.
    pub available: String,
}

/// The dates at which support of a release ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupportEnds {
    /// The dates, the earliest first.
    pub dates: Vec<SupportEnd>,
    /// Why there are none.
    pub unknown: Option<String>,
    /// Where the dates come from; empty when there are none.
    pub source: String,
    /// The day that they are as of; empty when there are none.
    pub as_of: String,
}

/// A date at which support ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupportEnd {
    /// Which support: `standard`, and the distribution's names for what comes after it.
    pub support: String,
    /// The last day.
    pub day: String,
    /// Whether it has passed.
    pub is_over: bool,
}

/// Something that was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VulnerabilitySource {
    /// `osv`, `debian-tracker`, `csaf`, `kev` or `index`.
    pub kind: String,
    /// Its name: a file's, or a suite's.
    pub name: String,
    /// The date that it has by its own words, in milliseconds since 1970; not every format has one.
    pub as_of_ms: Option<i64>,
    /// When it was imported, in milliseconds since 1970.
    pub imported_ms: i64,
    /// Entries that were taken.
    pub entries: u64,
    /// Entries that were left out: of other systems, or without sense.
    pub skipped: u64,
    /// The releases that it speaks of.
    pub releases: Vec<String>,
}

/// Versions whose packages were recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedPackages {
    /// Those that were read now, `name@N`.
    pub read: Vec<String>,
    /// How many were recorded before.
    pub recorded: usize,
    /// Those that could not be read, and why.
    pub failed: Vec<(String, String)>,
}

/// What is known about a vulnerability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CveReport {
    /// Its id.
    pub cve: String,
    /// That attackers are known to use it.
    pub exploited: Option<Exploited>,
    /// The versions that are affected, or of which that is not known.
    pub versions: Vec<CveVersion>,
    /// How many versions are not affected.
    pub not_affected: usize,
    /// Who was asked.
    pub sources: Vec<VulnerabilitySource>,
}

/// That attackers use a vulnerability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exploited {
    /// The day it was listed.
    pub added: String,
    /// The day by which it is to be mended; empty when there is none.
    pub due: String,
}

/// A version, and what a vulnerability means for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CveVersion {
    /// The version, `name@N`.
    pub version: String,
    /// Its state.
    pub state: String,
    /// `affected` or `unknown`.
    pub status: String,
    /// The packages.
    pub packages: Vec<CvePackage>,
    /// Why not everything is known.
    pub unknown: Vec<String>,
    /// The guests that were cloned from it.
    pub guests: Vec<String>,
}

/// A package that is affected, or of which that is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CvePackage {
    /// The package.
    pub package: String,
    /// The version that is installed.
    pub installed: String,
    /// `affected` or `unknown`.
    pub status: String,
    /// The first version without it, where there is one.
    pub fixed_in: Option<String>,
    /// Why it is not known.
    pub why: Option<String>,
}
