//! The words of `clone`. Apart because it has the most options of all verbs.

use super::Sign;
use clap::{Args, Subcommand, ValueEnum};
use stampo_core::goal::Goal;
use stampo_core::instant::Instant;
use stampo_core::lease::Span;
use stampo_core::names::{GuestName, VersionRef};
use stampo_core::network::AddressRange;
use stampo_core::size::ByteSize;
use std::net::IpAddr;
use std::path::PathBuf;

/// clap makes a new line of every `{n}` in a help text; with the end of a style in it, which shows
/// nowhere, it stays.
const NAME_HELP: &str = "The guest's name; with {\u{1b}[0mn} for several, as in 'app-{\u{1b}[0mn}'";

/// `clone`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct CloneArgs {
    /// `clone flatten`.
    #[command(subcommand)]
    pub command: Option<CloneCommand>,
    /// NAME, NAME@NUMBER or NAME:CHANNEL; a bare name is the newest published version.
    #[arg(required = true)]
    pub version: Option<VersionRef>,
    /// The guest's name, or how several are named.
    #[arg(required = true, help = NAME_HELP)]
    pub name: Option<String>,
    /// How many guests.
    #[arg(short, long, value_name = "COUNT")]
    pub count: Option<u32>,
    /// Make copies that need nothing of the version afterwards.
    #[arg(long, conflicts_with_all = ["linked", "goal"])]
    pub full: bool,
    /// Make overlays on the version's image.
    #[arg(long, conflicts_with = "goal")]
    pub linked: bool,
    /// Make guests that go on from the version's memory image instead of booting.
    ///
    /// The version must have been frozen: stampo template freeze. Who can log in, and the hardware,
    /// are as in the frozen guest. Where the image is of no use on this host the guests are linked
    /// clones that boot, which is said; with --instant=only that is an error.
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "prefer",
        conflicts_with_all = ["full", "linked", "goal", "no_start"]
    )]
    pub instant: Option<InstantArg>,
    /// Make instant clones although all guests together could come to need more memory than the
    /// host has.
    #[arg(long, requires = "instant")]
    pub overcommit_memory: bool,
    /// Let stampo choose the kind by what matters most, and say why.
    #[arg(long, value_enum, value_name = "GOAL")]
    pub goal: Option<GoalArg>,
    /// Make the guests but do not start them.
    #[arg(long)]
    pub no_start: bool,
    /// Return when the guests have been started, without waiting for anything.
    #[arg(long, conflicts_with = "wait_for")]
    pub no_wait: bool,
    /// What to wait for.
    #[arg(long, value_enum, default_value_t, value_name = "SIGN")]
    pub wait_for: Sign,
    /// How long to wait, in seconds.
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    pub timeout: u64,
    /// Print the plan and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Stop the guests after this time, as in 2h or 7d, and remove them a day later.
    #[arg(long, value_name = "TIME")]
    pub ttl: Option<Span>,
    /// A file with reusable settings (TOML); options override it.
    #[arg(long, value_name = "FILE")]
    pub spec: Option<PathBuf>,
    /// What the guests are made of.
    #[command(flatten, next_help_heading = "Hardware")]
    pub hardware: CloneHardware,
    /// What is written into the guests.
    #[command(flatten, next_help_heading = "Personalisation")]
    pub personal: ClonePersonal,
}

/// `clone flatten`.
#[derive(Debug, Subcommand)]
pub enum CloneCommand {
    /// Make linked clones independent of their version.
    Flatten {
        /// The guests' names.
        #[arg(required = true)]
        guests: Vec<GuestName>,
    },
}

/// What the guests are made of.
#[derive(Debug, Args)]
pub struct CloneHardware {
    /// Processors [default: the version's].
    #[arg(long, value_name = "COUNT")]
    pub cpus: Option<u32>,
    /// Memory, as in 2G [default: the version's].
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    /// The boot disk's size; the last partition and its filesystem grow.
    #[arg(long, value_name = "SIZE")]
    pub disk_size: Option<ByteSize>,
    /// An empty disk to add; may be repeated.
    #[arg(long = "add-disk", value_name = "SIZE")]
    pub extra_disks: Vec<ByteSize>,
}

/// What is written into the guests.
#[derive(Debug, Args)]
pub struct ClonePersonal {
    /// Domain that is appended to each guest's name to make its host name.
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// A public key file, or a public key; may be repeated [default: ~/.ssh/id_*.pub].
    #[arg(long = "ssh-key", value_name = "FILE|KEY")]
    pub ssh_keys: Vec<String>,
    /// A user to make, with the same ssh keys; NAME or NAME:sudo; may be repeated.
    #[arg(long = "user", value_name = "NAME[:sudo]")]
    pub users: Vec<String>,
    /// A file that holds a crypt(5) hash for root's password.
    #[arg(long, value_name = "FILE")]
    pub root_password_hash_file: Option<PathBuf>,
    /// Static addresses: ADDRESS/PREFIX, or FIRST-LAST/PREFIX for several guests.
    #[arg(long, value_name = "RANGE")]
    pub address: Option<AddressRange>,
    /// Default gateway, with --address.
    #[arg(long, value_name = "ADDRESS")]
    pub gateway: Option<IpAddr>,
    /// Name server, with --address; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    pub dns: Vec<IpAddr>,
    /// Connect the first interface to this bridge of the host.
    #[arg(long, value_name = "BRIDGE")]
    pub bridge: Option<String>,
    /// IANA time zone, as in Europe/Rome.
    #[arg(long, value_name = "ZONE")]
    pub time_zone: Option<String>,
    /// A file to copy into each guest, as HOST_FILE:/path/in/guest; may be repeated.
    #[arg(long = "file", value_name = "FILE:PATH")]
    pub files: Vec<String>,
    /// A script that root runs once at the end of the first boot.
    #[arg(long, value_name = "FILE")]
    pub first_boot_script: Option<PathBuf>,
    /// Your own cloud-init user-data, for guests that have cloud-init.
    #[arg(long, value_name = "FILE")]
    pub user_data: Option<PathBuf>,
    /// Write nothing into the guests.
    #[arg(long)]
    pub no_personalisation: bool,
}

/// How much an instant clone is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InstantArg {
    /// Where there can be none, a linked clone that boots will do.
    Prefer,
    /// An instant clone or nothing.
    Only,
}

impl From<InstantArg> for Instant {
    fn from(wanted: InstantArg) -> Instant {
        match wanted {
            InstantArg::Prefer => Instant::Prefer,
            InstantArg::Only => Instant::Only,
        }
    }
}

/// What matters most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GoalArg {
    /// Ready soonest.
    Fastest,
    /// Least disk space.
    Smallest,
    /// Needs nothing of the version afterwards.
    Independent,
}

impl From<GoalArg> for Goal {
    fn from(goal: GoalArg) -> Goal {
        match goal {
            GoalArg::Fastest => Goal::Fastest,
            GoalArg::Smallest => Goal::Smallest,
            GoalArg::Independent => Goal::Independent,
        }
    }
}
