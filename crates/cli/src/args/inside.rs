//! The words of the verbs about what is inside versions.

use clap::{Args, Subcommand, ValueEnum};
use stampo_core::lifecycle::Cve;
use stampo_core::names::VersionRef;
use std::path::PathBuf;

/// `sbom`.
#[derive(Debug, Args)]
pub struct SbomArgs {
    /// NAME, NAME@NUMBER or NAME:CHANNEL.
    pub version: VersionRef,
    /// The form of the document; it is JSON in any case.
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub format: BomArg,
}

/// The form of a bill of materials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum BomArg {
    /// CycloneDX 1.6.
    #[default]
    #[value(name = "cyclonedx")]
    CycloneDx,
    /// SPDX 2.3.
    Spdx,
}

/// `template diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// NAME, NAME@NUMBER or NAME:CHANNEL.
    pub before: VersionRef,
    /// What it is compared with.
    pub after: VersionRef,
}

/// `cve`.
#[derive(Debug, Args)]
pub struct CveArgs {
    /// The vulnerability, as in CVE-2026-12345.
    pub cve: Cve,
}

/// What others say about packages.
#[derive(Debug, Subcommand)]
pub enum VulndbCommand {
    /// Import files about vulnerabilities, and indexes of security updates.
    ///
    /// OSV (a zip archive, or single documents), the Debian security tracker's JSON, CSAF and VEX, the KEV
    /// catalogue, and the package index (Packages) of a suite with security updates; the latter two and
    /// JSON also packed with gzip. What a file is, is known by its content. Importing a file of the
    /// same name again replaces what it said before.
    Import {
        /// A file, or a directory with files.
        #[arg(value_name = "FILE|DIR")]
        path: PathBuf,
        /// The suite of a package index, as in bookworm-security; only needed where no release file lies
        /// beside it.
        #[arg(long, value_name = "SUITE")]
        suite: Option<String>,
    },
    /// List what was imported, and how old it is.
    Status,
    /// Record the packages of every version that has no record, so that cve has an answer for it.
    Scan,
}
