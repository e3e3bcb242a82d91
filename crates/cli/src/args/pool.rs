//! The words of `pool`, `run`, `lease` and `tend`.

use super::ClonePersonal;
use clap::{Args, Subcommand, ValueEnum};
use stampo_core::lease::Span;
use stampo_core::names::{GuestName, PoolName, VersionRef};
use stampo_core::pool::Depth;
use std::path::PathBuf;

/// Pools.
#[derive(Debug, Subcommand)]
pub enum PoolCommand {
    /// Keep instant clones of a version ready before anybody wants them.
    ///
    /// They are made in the background. The version must have been frozen: stampo template freeze.
    Create(Box<PoolCreateArgs>),
    /// Change how many members a pool keeps ready, of what, and how near to running.
    Set(PoolSetArgs),
    /// Take a member: it is yours from then on.
    Take(TakeArgs),
    /// List pools.
    Ls,
    /// Show a pool and its members.
    Show(PoolArg),
    /// Remove pools, and the members that nobody has taken.
    Rm {
        /// The pools' names.
        #[arg(required = true)]
        pools: Vec<PoolName>,
    },
}

/// A pool.
#[derive(Debug, Args)]
pub struct PoolArg {
    /// The pool's name.
    pub pool: PoolName,
}

/// How far members are brought before they are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum DepthArg {
    /// The process waits for the memory image: the least memory.
    Spawned,
    /// The memory image is loaded, and nothing was executed.
    Loaded,
    /// A machine of its own with an address, paused: the fastest.
    #[default]
    Warm,
}

impl From<DepthArg> for Depth {
    fn from(depth: DepthArg) -> Depth {
        match depth {
            DepthArg::Spawned => Depth::Spawned,
            DepthArg::Loaded => Depth::Loaded,
            DepthArg::Warm => Depth::Warm,
        }
    }
}

/// `pool create`.
#[derive(Debug, Args)]
pub struct PoolCreateArgs {
    /// The pool's name; its members are called after it.
    pub name: PoolName,
    /// NAME, NAME@NUMBER or NAME:CHANNEL; a bare name follows the newest published version.
    #[arg(long, value_name = "VERSION")]
    pub from: VersionRef,
    /// How many members are kept ready.
    #[arg(long, value_name = "COUNT")]
    pub warm: u32,
    /// How far each member is brought.
    #[arg(long, value_enum, default_value_t, value_name = "DEPTH")]
    pub depth: DepthArg,
    /// Make members although all guests together could come to need more memory than the host has.
    #[arg(long)]
    pub overcommit_memory: bool,
    /// A file with reusable settings (TOML); options override it.
    #[arg(long, value_name = "FILE")]
    pub spec: Option<PathBuf>,
    /// Return at once, without waiting for the first member.
    #[arg(long)]
    pub no_wait: bool,
    /// How long to wait, in seconds.
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    pub timeout: u64,
    /// What members are told.
    #[command(flatten, next_help_heading = "Personalisation")]
    pub personal: ClonePersonal,
}

/// `pool set`.
#[derive(Debug, Args)]
pub struct PoolSetArgs {
    /// The pool's name.
    pub pool: PoolName,
    /// NAME, NAME@NUMBER or NAME:CHANNEL.
    #[arg(long, value_name = "VERSION")]
    pub from: Option<VersionRef>,
    /// How many members are kept ready.
    #[arg(long, value_name = "COUNT")]
    pub warm: Option<u32>,
    /// How far each member is brought.
    #[arg(long, value_enum, value_name = "DEPTH")]
    pub depth: Option<DepthArg>,
}

/// `pool take`.
#[derive(Debug, Args)]
pub struct TakeArgs {
    /// The pool's name.
    pub pool: PoolName,
    /// Remove the guest after this time, as in 15m or 2h [default: it stays].
    #[arg(long, value_name = "TIME")]
    pub ttl: Option<Span>,
}

/// `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// NAME, NAME@NUMBER or NAME:CHANNEL; a bare name is the newest published version.
    pub version: VersionRef,
    /// Remove the guest after this time, even if the command still runs.
    #[arg(long, default_value = "1h", value_name = "TIME")]
    pub ttl: Span,
    /// Run the command as this user of the guest.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Pass standard input on.
    #[arg(short, long)]
    pub interactive: bool,
    /// Keep the guest when the command fails, until its time is over.
    #[arg(long)]
    pub keep_failed: bool,
    /// Make an instant clone although all guests together could come to need more memory than the
    /// host has.
    #[arg(long)]
    pub overcommit_memory: bool,
    /// Program and arguments; no shell.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

/// Leases.
#[derive(Debug, Subcommand)]
pub enum LeaseCommand {
    /// Give guests this much time from now on; then they end by themselves.
    Set {
        /// The guest's name.
        guest: GuestName,
        /// How long, as in 15m, 2h or 7d.
        #[arg(value_name = "TIME")]
        ttl: Span,
        /// Remove it for good at its end, in place of keeping it restorable for a day.
        #[arg(long)]
        remove: bool,
    },
    /// Let guests live on.
    Clear {
        /// The guests' names.
        #[arg(required = true)]
        guests: Vec<GuestName>,
    },
    /// List leases, the one that ends first at the top.
    Ls,
}

/// `tend`.
#[derive(Debug, Args)]
pub struct TendArgs {
    /// Go on for as long as there is something to tend.
    #[arg(long)]
    pub stay: bool,
}
