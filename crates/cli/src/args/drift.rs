//! What can be typed about drift.

use clap::Args;
use stampo_core::names::GuestName;

/// `drift`.
#[derive(Debug, Args)]
#[group(required = true, args = ["guests", "all"])]
pub struct DriftArgs {
    /// The guests' names.
    pub guests: Vec<GuestName>,
    /// Every guest.
    #[arg(long)]
    pub all: bool,
    /// Read every file, whatever its metadata says.
    #[arg(long)]
    pub paranoid: bool,
    /// List every finding, one a line.
    #[arg(long)]
    pub all_findings: bool,
    /// Take what is found for what is to be, for this reason, which is recorded.
    #[arg(long, value_name = "REASON", conflicts_with = "all")]
    pub accept: Option<String>,
}
