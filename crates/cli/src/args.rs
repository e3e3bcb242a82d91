//! What can be typed. The doc comments are the help texts.

mod approval;
mod audit;
mod clone;
mod drift;
mod evidence;
mod govern;
mod inside;
mod policy;
mod pool;
mod retention;
mod store;

pub use approval::{
    ApprovalCommand, ApprovalSetArgs, BundleArgs, KeyArg, PresetArg, SayArgs, SayWhyArgs,
    VerifyBundleArgs,
};
pub use audit::{AuditArgs, AuditCommand, AuditFilterArgs, AuditFormArg, AuditListArgs};
pub use clone::{CloneArgs, CloneCommand, CloneHardware, ClonePersonal, GoalArg, InstantArg};
pub use drift::DriftArgs;
pub use evidence::{EvidenceArgs, EvidenceCommand};
pub use govern::{
    ChannelCommand, DeprecateArgs, EndOfLifeArgs, ReasonArgs, RevokeArgs, WithdrawArgs,
};
pub use inside::{BomArg, CveArgs, DiffArgs, SbomArgs, VulndbCommand};
pub use policy::{PolicyAcceptArgs, PolicyCheckArgs, PolicyCommand, PolicyFormArg, PolicySetArgs};
pub use pool::{
    DepthArg, LeaseCommand, PoolArg, PoolCommand, PoolCreateArgs, PoolSetArgs, RunArgs, TakeArgs,
    TendArgs,
};
pub use retention::{RetentionApplyArgs, RetentionCommand, RetentionSetArgs};
pub use store::{RescanArgs, ScrubArgs, StoreCommand};

use clap::{Args, Parser, Subcommand, ValueEnum};
use stampo_core::names::{GuestName, TemplateName, VersionRef};
use stampo_core::size::ByteSize;
use std::path::PathBuf;

/// Makes virtual machine templates and clones them.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 forbidden by a rule, 5 conflict,
/// 6 partly done, 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "stampo", version, max_term_width = 100)]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Where everything is kept [default: ~/.local/share/stampo, for root /var/lib/stampo].
    #[arg(long, global = true, env = "STAMPO_HOME", value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// The form of the output.
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORM"
    )]
    pub output: Format,
    /// Print no progress and no notes, only data and errors.
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum Format {
    /// A table for people.
    #[default]
    Table,
    /// A table with every column.
    Wide,
    /// JSON, stable.
    Json,
    /// YAML, stable.
    Yaml,
    /// Names only, one a line.
    Name,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make clones of a version: personalised, proven unique, started.
    Clone(Box<CloneArgs>),
    /// Run a command in a guest that is thrown away afterwards.
    ///
    /// The guest comes from a pool where one has a member ready; otherwise it is an instant clone or,
    /// of a version that is not frozen, a linked clone that boots. It goes when the command ends, when
    /// its time is over, and when this program ends in any other way.
    Run(RunArgs),
    /// Keep instant clones ready before anybody wants them.
    #[command(subcommand)]
    Pool(PoolCommand),
    /// Guests that end by themselves.
    #[command(subcommand)]
    Lease(LeaseCommand),
    /// List guests.
    Ps(PsArgs),
    /// Show everything about a guest.
    Show(GuestArg),
    /// Start guests.
    Start(StartArgs),
    /// Stop guests: guest agent, then ACPI, then kill, each with its time limit.
    Stop(StopArgs),
    /// Stop guests and start them again.
    Restart(StopArgs),
    /// Remove guests: all of them, or none when one is missing, runs or is in use.
    Rm(RmArgs),
    /// Bring back a guest that was removed with --keep.
    Undelete(GuestArg),
    /// Log in with ssh, the guest's host keys pinned.
    Ssh(SshArgs),
    /// Run a command through the guest agent.
    Exec(ExecArgs),
    /// Copy a file to or from a guest: GUEST:/path on one side.
    Cp(CpArgs),
    /// Open the serial console; Ctrl-] leaves it.
    Console(GuestArg),
    /// Print what a guest wrote to its serial console.
    Logs(LogsArgs),
    /// Give a guest another name.
    Rename(RenameArgs),
    /// Change a stopped guest's processors, memory or disk size.
    Resize(ResizeArgs),
    /// Show every identity item of guests, and what is shared with whom.
    Passport(PassportArgs),
    /// Show what guests have become, against the versions that they came from.
    ///
    /// Exit code 4 when something of class security has changed, when not everything could be looked
    /// at, and when a guest's version is revoked or in quarantine.
    Drift(DriftArgs),
    /// Make and manage templates and their versions.
    #[command(subcommand)]
    Template(TemplateCommand),
    /// Print a version's bill of materials: every package, with its source.
    ///
    /// The same version gives the same document, byte for byte.
    Sbom(SbomArgs),
    /// Show which versions have a vulnerability, and which guests were cloned from them.
    ///
    /// By the packages that are recorded of each version and what was imported with vulndb import. What
    /// is not known is listed as unknown.
    Cve(CveArgs),
    /// What is known about vulnerabilities and security updates: import it, see how old it is.
    #[command(subcommand)]
    Vulndb(VulndbCommand),
    /// Conformity: is a version's disk as this site wants it?
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Who has to approve versions before they are published.
    #[command(subcommand)]
    Approval(ApprovalCommand),
    /// Check a bundle of signed approvals, with nothing but public keys.
    ///
    /// Needs no home and no network. Exit code 4 when anything in it is not as it was signed, when a
    /// key that was given has not approved, or when the disk is another one.
    VerifyBundle(VerifyBundleArgs),
    /// What is known of every version and machine, for auditors: standing, approvals, controls.
    ///
    /// What is not known is said, and is never counted as good.
    Evidence(EvidenceArgs),
    /// Which versions stay on offer, and what becomes of the others.
    #[command(subcommand)]
    Retention(RetentionCommand),
    /// Remove what nothing needs any more, or list it.
    Gc(GcArgs),
    /// Look after the store.
    #[command(subcommand)]
    Store(StoreCommand),
    /// List or cancel operations.
    #[command(subcommand)]
    Operation(OperationCommand),
    /// Who did what: list it, check that it is all there, give it to other programs.
    Audit(AuditArgs),
    /// Look once after pools and leases, which otherwise a process in the background does.
    #[command(hide = true)]
    Tend(TendArgs),
    /// Check this machine: what works, what does not, how to mend it.
    Doctor,
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
    /// Write the man pages into a directory.
    Man(ManArgs),
}

/// Templates and versions.
#[derive(Debug, Subcommand)]
pub enum TemplateCommand {
    /// Build a draft version from distribution packages.
    Build(BuildArgs),
    /// Import a disk image, a file or a URL, as a draft version.
    Import(ImportArgs),
    /// Make a draft version of what a guest's disk has become.
    ///
    /// A guest that runs goes on: it stands still only while what is its own of its disk is copied.
    Capture(CaptureArgs),
    /// Remove identity and secrets from a draft version, and prove it.
    Seal(SealArgs),
    /// Read a version's bytes and its proof again.
    Verify(VersionArg),
    /// Accept a finding of a version's proof, with a reason that is recorded.
    Accept(AcceptArgs),
    /// Ask for approval of a sealed version; the request is signed.
    ///
    /// Its disk is judged by the check pack that counts, and approvals are bound to the image, the
    /// pack and what the report says. Submit again when one of them has changed.
    Submit(SayArgs),
    /// Approve a version that is in review; the approval is signed.
    Approve(SayArgs),
    /// Refuse a version that is in review or approved.
    Reject(SayWhyArgs),
    /// Let a version be published without the approvals that are missing: two people, within a day.
    ///
    /// Each of the two runs this with a key of their own. It is in the audit in capitals, and shown
    /// to whoever clones the version.
    BreakGlass(SayWhyArgs),
    /// Write everything that was signed about a version into a file for strangers.
    Bundle(BundleArgs),
    /// Offer a sealed version for cloning; an approved one, where the site asks for approvals.
    Publish(VersionArg),
    /// Boot a sealed version once, out of sight, and keep its memory.
    ///
    /// The memory image lies beside the version's disk and goes with it. It holds whatever was in
    /// the guest's memory, so it is readable by its owner only.
    Freeze(VersionArg),
    /// Say that another version should be used: new clones come with a warning.
    ///
    /// On its dates it becomes obsolete, and is retired. Repeat it to change what was said.
    Deprecate(DeprecateArgs),
    /// End new clones of a version. Those that exist go on.
    Obsolete(WithdrawArgs),
    /// Offer a deprecated or obsolete version again.
    Reinstate(ReasonArgs),
    /// Withdraw a version for a reason that concerns its clones too. Nothing leads back.
    ///
    /// Channels that point to it are moved back to the last good version in the same step. Its
    /// clones are shown as revoked; its bytes stay until it is purged by name.
    Revoke(RevokeArgs),
    /// Keep a version's bytes: it is neither purged nor collected.
    Hold(ReasonArgs),
    /// Take a hold away.
    Release(VersionArg),
    /// Set the date from which what a version holds is not maintained any more.
    ///
    /// On that date it becomes obsolete if it is offered, and it is not published afterwards.
    EndOfLife(EndOfLifeArgs),
    /// Withdraw a version; it can be restored until it is collected.
    Retire(VersionArg),
    /// Undo a retirement.
    Restore(VersionArg),
    /// Free the bytes of a retired, revoked or draft version.
    Purge(VersionArg),
    /// Names such as web:stable for one version, which can be moved to another.
    #[command(subcommand)]
    Channel(ChannelCommand),
    /// List versions.
    Ls(PsArgs),
    /// Show everything about a version.
    Show(VersionArg),
    /// Show what is inside a version's disk.
    Inspect(VersionArg),
    /// List a version's missing security updates, and when its release stops being maintained.
    ///
    /// It is compared with the indexes that were imported with vulndb import; without one for its
    /// release the answer is unknown.
    Updates(VersionArg),
    /// Show what is different between two versions, and which guests were cloned from the first.
    ///
    /// Packages, kernels, units, users, groups, sudo rules without a password, settings of ssh, ports,
    /// sysctl, sizes, findings of the seal proof, and files by class.
    Diff(DiffArgs),
}

/// Operations.
#[derive(Debug, Subcommand)]
pub enum OperationCommand {
    /// List the newest operations.
    Ls(LimitArgs),
    /// Ask an operation to stop and to undo what it made.
    Cancel {
        /// Its id.
        id: String,
    },
}

/// A version.
#[derive(Debug, Args)]
pub struct VersionArg {
    /// NAME, NAME@NUMBER or NAME:CHANNEL.
    pub version: VersionRef,
}

/// A guest.
#[derive(Debug, Args)]
pub struct GuestArg {
    /// The guest's name.
    pub guest: GuestName,
}

/// How many.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// How many to print.
    #[arg(short = 'n', long, default_value_t = 20, value_name = "COUNT")]
    pub limit: u32,
}

/// `template build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The template's name.
    pub name: TemplateName,
    /// The recipe (TOML).
    #[arg(short = 'f', long, value_name = "FILE")]
    pub recipe: PathBuf,
}

/// `template import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The template's name.
    pub name: TemplateName,
    /// A file, or an http:// or https:// URL.
    #[arg(value_name = "FILE|URL")]
    pub source: String,
    /// The image's format. It is never guessed.
    #[arg(long, value_name = "qcow2|raw")]
    pub format: String,
    /// The SHA-256 that the source must have.
    #[arg(long, value_name = "HEX")]
    pub sha256: Option<String>,
    /// Processors that clones get by default.
    #[arg(long, value_name = "COUNT")]
    pub cpus: Option<u32>,
    /// Memory that clones get by default.
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    /// The firmware that starts clones.
    #[arg(long, value_enum, default_value_t, value_name = "FIRMWARE")]
    pub firmware: FirmwareArg,
    /// How clones' disks are attached.
    #[arg(long, value_enum, default_value_t, value_name = "BUS")]
    pub disk_bus: DiskBusArg,
    /// Give clones a TPM 2.0.
    #[arg(long)]
    pub tpm: bool,
}

/// The firmware that starts clones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum FirmwareArg {
    /// SeaBIOS.
    #[default]
    Bios,
    /// OVMF.
    Uefi,
}

/// How disks are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum DiskBusArg {
    /// virtio-blk.
    #[default]
    Virtio,
    /// virtio-scsi.
    Scsi,
    /// AHCI.
    Sata,
    /// NVMe.
    Nvme,
}

/// `template capture`.
#[derive(Debug, Args)]
pub struct CaptureArgs {
    /// The template; its next version is made.
    pub name: TemplateName,
    /// The guest, running or not.
    pub guest: GuestName,
    /// Seal the version and freeze it too, so that instant clones can be made of it.
    #[arg(long)]
    pub freeze: bool,
}

/// `template seal`.
#[derive(Debug, Args)]
pub struct SealArgs {
    /// NAME or NAME@NUMBER, a draft.
    pub version: VersionRef,
    /// Only this item or area (see the guide's table); may be repeated.
    #[arg(long, value_name = "ITEM")]
    pub only: Vec<String>,
    /// Not this item or area; may be repeated.
    #[arg(long, value_name = "ITEM")]
    pub except: Vec<String>,
    /// This item as well, which is done only on request; may be repeated.
    #[arg(long, value_name = "ITEM")]
    pub also: Vec<String>,
    /// A path or pattern in the guest that nothing may touch; may be repeated.
    #[arg(long, value_name = "PATH")]
    pub keep: Vec<String>,
    /// Print what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// `template accept`.
#[derive(Debug, Args)]
pub struct AcceptArgs {
    /// NAME or NAME@NUMBER.
    pub version: VersionRef,
    /// The finding's id, as `verify` prints it.
    pub finding: String,
    /// Only at this path in the guest.
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// Why it is accepted.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// By what a guest counts as started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum Sign {
    /// Its ssh server answers. A guest whose address only a DHCP server knows is not waited for.
    #[default]
    Ssh,
    /// An agent in it says that everything which starts with its system has started.
    System,
}

/// `ps` and `template ls`.
#[derive(Debug, Args)]
pub struct PsArgs {
    /// Also what is removed, unfinished or purged.
    #[arg(short, long)]
    pub all: bool,
}

/// `start`.
#[derive(Debug, Args)]
pub struct StartArgs {
    /// The guests' names.
    #[arg(required = true)]
    pub guests: Vec<GuestName>,
    /// Wait until ssh answers.
    #[arg(long)]
    pub wait: bool,
    /// Wait, and for what.
    #[arg(long, value_enum, value_name = "SIGN")]
    pub wait_for: Option<Sign>,
    /// How long to wait, in seconds.
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    pub timeout: u64,
}

/// `stop` and `restart`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// The guests' names.
    #[arg(required = true)]
    pub guests: Vec<GuestName>,
    /// At once, without asking the guest.
    #[arg(long)]
    pub kill: bool,
}

/// `rm`.
#[derive(Debug, Args)]
pub struct RmArgs {
    /// The guests' names.
    #[arg(required = true)]
    pub guests: Vec<GuestName>,
    /// Keep it restorable for this long, as in 30m, 12h or 7d.
    #[arg(long, value_name = "TIME")]
    pub keep: Option<String>,
    /// Also when it runs.
    #[arg(short, long)]
    pub force: bool,
}

/// `ssh`.
#[derive(Debug, Args)]
pub struct SshArgs {
    /// [USER@]GUEST; the user is root when not given.
    pub target: String,
    /// A command and its arguments.
    #[arg(last = true)]
    pub command: Vec<String>,
    /// The private key to log in with.
    #[arg(short, long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
}

/// `exec`.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// The guest's name.
    pub guest: GuestName,
    /// Program and arguments; no shell.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
    /// How long it may run, in seconds. Through qemu-guest-agent: 60 when not given.
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Pass standard input on from a terminal too, and to qemu-guest-agent.
    #[arg(short, long)]
    pub interactive: bool,
    /// The guest's user to run it as; root when not given.
    #[arg(short, long)]
    pub user: Option<String>,
    /// The directory to run it in; / when not given.
    #[arg(short, long, value_name = "DIRECTORY")]
    pub workdir: Option<String>,
    /// A variable for its environment; may be repeated.
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
}

/// `cp`.
#[derive(Debug, Args)]
pub struct CpArgs {
    /// FILE or GUEST:/path.
    pub from: String,
    /// FILE or GUEST:/path.
    pub to: String,
}

/// `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The guest's name.
    pub guest: GuestName,
    /// Go on printing what comes.
    #[arg(short, long)]
    pub follow: bool,
}

/// `rename`.
#[derive(Debug, Args)]
pub struct RenameArgs {
    /// The guest's name.
    pub guest: GuestName,
    /// Its new name.
    pub name: GuestName,
}

/// `resize`.
#[derive(Debug, Args)]
pub struct ResizeArgs {
    /// The guest's name.
    pub guest: GuestName,
    /// Processors.
    #[arg(long, value_name = "COUNT")]
    pub cpus: Option<u32>,
    /// Memory.
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    /// The boot disk's size; it can only grow.
    #[arg(long, value_name = "SIZE")]
    pub disk_size: Option<ByteSize>,
}

/// `passport`.
#[derive(Debug, Args)]
#[group(required = true, args = ["guests", "all"])]
pub struct PassportArgs {
    /// The guests' names.
    pub guests: Vec<GuestName>,
    /// Every guest.
    #[arg(long)]
    pub all: bool,
}

/// `gc`.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// List what would go and why the rest stays; remove nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Ignore grace times.
    #[arg(long)]
    pub now: bool,
}

/// `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    pub shell: clap_complete::Shell,
}

/// `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The directory.
    pub directory: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn every_verb_is_well_formed() {
        Cli::command().debug_assert();
    }
}
