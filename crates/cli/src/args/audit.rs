//! The words of `audit …`.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `audit`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct AuditArgs {
    /// What to do; the newest records are listed when nothing is said.
    #[command(subcommand)]
    pub command: Option<AuditCommand>,
    /// As for `audit list`.
    #[command(flatten)]
    pub list: AuditListArgs,
}

/// The audit.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List the newest records.
    List(AuditListArgs),
    /// Look at every record and checkpoint: is all of it as it was written?
    ///
    /// Finds what was changed, removed or put elsewhere, and what was cut off at the end as far as
    /// checkpoints show. Exit code 4 when anything is found.
    Verify {
        /// A checkpoint that was kept elsewhere; may be repeated.
        #[arg(long, value_name = "FILE")]
        checkpoint: Vec<PathBuf>,
    },
    /// Sign what the audit is now, and print that to be kept elsewhere.
    Checkpoint,
    /// Print records for other programs, the oldest first, one a line.
    Export {
        /// The form.
        #[arg(long, value_enum, default_value_t, value_name = "FORM")]
        format: AuditFormArg,
        /// Which records.
        #[command(flatten)]
        filter: AuditFilterArgs,
    },
}

/// `audit list`.
#[derive(Debug, Args)]
pub struct AuditListArgs {
    /// How many to print.
    #[arg(short = 'n', long, default_value_t = 20, value_name = "COUNT")]
    pub limit: u32,
    /// Which records.
    #[command(flatten)]
    pub filter: AuditFilterArgs,
}

/// Which records.
#[derive(Debug, Args)]
pub struct AuditFilterArgs {
    /// Only by this actor, as in 'local:anna(1000)'.
    #[arg(long, value_name = "WHO")]
    pub actor: Option<String>,
    /// Only with this verb.
    #[arg(long, value_name = "VERB")]
    pub action: Option<String>,
    /// Only about this, as in web@3.
    #[arg(long, value_name = "WHAT")]
    pub resource: Option<String>,
    /// Only with this outcome: ok, refused, failed, cancelled or begun.
    #[arg(long, value_name = "OUTCOME")]
    pub outcome: Option<String>,
    /// Only from then on, as in 2027-01-31 or 2027-01-31T18:00:00Z.
    #[arg(long, value_name = "DATE")]
    pub since: Option<String>,
}

/// Forms of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum AuditFormArg {
    /// The records as they are, with their links.
    #[default]
    Jsonl,
    /// OCSF 1.3.0, class API Activity (6003).
    Ocsf,
}
