//! The words of the verbs that decide about versions, and of channels.

use clap::{Args, Subcommand};
use stampo_core::lifecycle::Cve;
use stampo_core::names::VersionRef;

/// `template deprecate`.
#[derive(Debug, Args)]
pub struct DeprecateArgs {
    #[command(flatten)]
    /// What it has in common with `template obsolete`.
    pub withdraw: WithdrawArgs,
    /// When it becomes obsolete, as in 2027-01-31 or 2027-01-31T18:00:00Z.
    #[arg(long, value_name = "DATE")]
    pub obsolete_on: Option<String>,
}

/// `template obsolete`, and what `template deprecate` has of it.
#[derive(Debug, Args)]
pub struct WithdrawArgs {
    /// NAME, NAME@NUMBER or NAME:CHANNEL.
    pub version: VersionRef,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// The published version to use instead.
    #[arg(long, value_name = "VERSION")]
    pub replacement: Option<VersionRef>,
    /// When it is retired, as in 2027-01-31 or 2027-01-31T18:00:00Z.
    #[arg(long, value_name = "DATE")]
    pub retire_on: Option<String>,
}

/// `template reinstate` and `template hold`.
#[derive(Debug, Args)]
pub struct ReasonArgs {
    /// NAME, NAME@NUMBER or NAME:CHANNEL.
    pub version: VersionRef,
    /// Why. It is recorded.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// `template revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// NAME, NAME@NUMBER or NAME:CHANNEL.
    pub version: VersionRef,
    /// Why. It is recorded, and shown to whoever has clones of it.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// A vulnerability that it is for; may be repeated.
    #[arg(long, value_name = "CVE")]
    pub cve: Vec<Cve>,
    /// The published version to use instead.
    #[arg(long, value_name = "VERSION")]
    pub replacement: Option<VersionRef>,
    /// Revoke what was built from it too, and let nothing that descends from it be published.
    #[arg(long)]
    pub cascade: bool,
}

/// `template end-of-life`.
#[derive(Debug, Args)]
pub struct EndOfLifeArgs {
    /// NAME, NAME@NUMBER or NAME:CHANNEL.
    pub version: VersionRef,
    /// The date, as in 2027-01-31 or 2027-01-31T18:00:00Z.
    #[arg(required_unless_present = "never", conflicts_with = "never")]
    pub date: Option<String>,
    /// Take the date away.
    #[arg(long)]
    pub never: bool,
}

/// Channels.
#[derive(Debug, Subcommand)]
pub enum ChannelCommand {
    /// Point a channel to a published version, making it if it is missing.
    Set {
        /// NAME:CHANNEL, as in web:stable.
        channel: VersionRef,
        /// NAME or NAME@NUMBER, of the same template.
        version: VersionRef,
        /// Why; it is in the channel's history.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Point a channel to the last good version before the present one.
    Rollback {
        /// NAME:CHANNEL.
        channel: VersionRef,
        /// Why; it is in the channel's history.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// List where a channel pointed, when and why.
    History {
        /// NAME:CHANNEL.
        channel: VersionRef,
    },
    /// List channels and where they point.
    Ls,
    /// Forget channels.
    Rm {
        /// NAME:CHANNEL.
        #[arg(required = true)]
        channels: Vec<VersionRef>,
    },
}
