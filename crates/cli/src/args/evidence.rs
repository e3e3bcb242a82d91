//! The words of `evidence …`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `evidence`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct EvidenceArgs {
    /// What to do; the evidence is gathered when nothing is said.
    #[command(subcommand)]
    pub command: Option<EvidenceCommand>,
    /// Also write it as a page. The file must not be there yet.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Also write it as a file that the site's key signs. The file must not be there yet.
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
}

/// Files of evidence.
#[derive(Debug, Subcommand)]
pub enum EvidenceCommand {
    /// Check a signed file and show what it says. Needs no home.
    ///
    /// Exit code 4 when it is not as it was signed, or another key signed it.
    Verify {
        /// The file that `stampo evidence --bundle` made.
        bundle: PathBuf,
        /// The site's public key, as `stampo evidence key` prints it where the site is.
        #[arg(long, value_name = "KEY.pub")]
        key: PathBuf,
    },
    /// Print the site's public key, for those who are to check.
    Key,
}
