//! The words of `retention …`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Which versions stay on offer.
#[derive(Debug, Subcommand)]
pub enum RetentionCommand {
    /// Show the settings that count, as a file that can be set again.
    Show,
    /// Set what each template keeps.
    ///
    /// They are applied once a day from tomorrow on, by the first command of the day.
    Set(RetentionSetArgs),
    /// Do now what the settings ask for, or list every version with what keeps it.
    Apply(RetentionApplyArgs),
}

/// `retention set`.
#[derive(Debug, Args)]
pub struct RetentionSetArgs {
    /// The settings, in YAML.
    #[arg(required_unless_present = "none", conflicts_with = "none")]
    pub file: Option<PathBuf>,
    /// Everything stays; what these settings began is lifted as its dates come.
    #[arg(long)]
    pub none: bool,
}

/// `retention apply`.
#[derive(Debug, Args)]
pub struct RetentionApplyArgs {
    /// Change nothing: say what would be done, and why everything else stays.
    #[arg(long)]
    pub dry_run: bool,
}
