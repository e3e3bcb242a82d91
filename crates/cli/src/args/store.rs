//! The words of `store …`. Apart because the file of all verbs is long enough.

use clap::{Args, Subcommand};
use stampo_core::size::ByteSize;

/// The store.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Rebuild the catalog from what is on disk.
    Rescan(RescanArgs),
    /// Read everything that must not change, and mend or quarantine what has.
    ///
    /// The catalog, the sidecars, and every byte of every image are compared with their checksums.
    /// Exit code 4 when anything was damaged, mended or not.
    Scrub(ScrubArgs),
}

/// `store rescan`.
#[derive(Debug, Args)]
pub struct RescanArgs {
    /// Move a damaged catalog away first; refused while it is sound, or used by another process.
    #[arg(long)]
    pub replace_damaged: bool,
}

/// `store scrub`.
#[derive(Debug, Args)]
pub struct ScrubArgs {
    /// Leave out images that were found right within this time, as in 7d.
    #[arg(long, value_name = "TIME")]
    pub older_than: Option<String>,
    /// Read images at most this fast, in bytes a second, as in 100M.
    #[arg(long, value_name = "SIZE")]
    pub limit: Option<ByteSize>,
}
