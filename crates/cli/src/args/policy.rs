//! The words of `policy …`.

use clap::{Args, Subcommand, ValueEnum};
use stampo_core::names::VersionRef;
use std::path::PathBuf;

/// Conformity.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Read a version's disk and judge it; the report is recorded.
    ///
    /// Exit code 4 when a check that the pack enforces failed or is unknown, or when nothing applied to
    /// an enforced pack.
    Check(PolicyCheckArgs),
    /// Judge all versions that are offered or have guests, as of today, and tell what came out otherwise.
    ///
    /// Judged is what was read before, so no disk is. It is done once a day by itself where the site has
    /// a pack. What changed is recorded. Exit code 4 when a version is refused.
    Recheck {
        /// Read the disks again.
        #[arg(long)]
        fresh: bool,
    },
    /// List every built-in check, or show one of them.
    Checks {
        /// The id of a check.
        check: Option<String>,
    },
    /// List the recorded reports, the newest first.
    Reports {
        /// Only those of this version.
        version: Option<VersionRef>,
        /// At most this many.
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: u32,
    },
    /// Show a recorded report.
    Report {
        /// Its id, or the start of it.
        id: String,
        /// All checks, also those that pass or do not apply.
        #[arg(long)]
        all: bool,
        /// In the form of another program.
        #[arg(long = "as", value_enum, value_name = "FORM")]
        form: Option<PolicyFormArg>,
    },
    /// Make a recorded report again from what it was made of, and say whether it is the same.
    ///
    /// Exit code 4 when it is not, or when the image does not tell the same any more.
    Replay {
        /// Its id, or the start of it.
        id: String,
    },
    /// Print the pack that counts.
    Pack,
    /// Set the pack that counts for this site, or go back to the built-in one.
    ///
    /// What it enforces is refused from now on: publishing, and cloning.
    Set(PolicySetArgs),
    /// Accept findings of a check until a day, with a reason that is recorded.
    Accept(PolicyAcceptArgs),
    /// Take an exception back.
    Unaccept {
        /// Its id.
        id: String,
    },
    /// List accepted findings.
    Exceptions,
}

/// `policy check`.
#[derive(Debug, Args)]
pub struct PolicyCheckArgs {
    /// NAME, NAME@NUMBER or NAME:CHANNEL.
    pub version: VersionRef,
    /// Judge by this pack instead of the one that counts.
    #[arg(long, value_name = "FILE")]
    pub pack: Option<PathBuf>,
    /// Show all checks, also those that pass or do not apply.
    #[arg(long)]
    pub all: bool,
    /// Print the report in the form of another program.
    #[arg(long = "as", value_enum, value_name = "FORM")]
    pub form: Option<PolicyFormArg>,
}

/// Forms of other programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PolicyFormArg {
    /// SARIF 2.1.0, for code-scanning pages.
    Sarif,
    /// JUnit's XML, for CI servers.
    Junit,
}

/// `policy set`.
#[derive(Debug, Args)]
pub struct PolicySetArgs {
    /// A check pack.
    #[arg(required_unless_present = "built_in", conflicts_with = "built_in")]
    pub pack: Option<PathBuf>,
    /// Use the built-in pack, which enforces nothing.
    #[arg(long)]
    pub built_in: bool,
}

/// `policy accept`.
#[derive(Debug, Args)]
pub struct PolicyAcceptArgs {
    /// The id of the check.
    pub check: String,
    /// The versions, as in web@3 or 'web@*'.
    #[arg(long, value_name = "VERSIONS")]
    pub version: String,
    /// Only findings at this place; '*' stands for any text.
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// Who answers for it.
    #[arg(long, value_name = "WHO")]
    pub owner: String,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// The last day on which it counts, as in 2027-01-31.
    #[arg(long, value_name = "DATE")]
    pub until: String,
}
