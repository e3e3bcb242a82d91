//! The words of approvals: `approval …`, what people say about versions, and bundles.

use clap::{Args, Subcommand, ValueEnum};
use stampo_core::names::VersionRef;
use std::path::PathBuf;

/// Who has to approve versions.
#[derive(Debug, Subcommand)]
pub enum ApprovalCommand {
    /// Show the settings that count, as a file that can be set again.
    Show,
    /// Set who has to approve versions before they are published.
    ///
    /// A preset keeps the signers that are named already; a file replaces everything.
    Set(ApprovalSetArgs),
}

/// `approval set`.
#[derive(Debug, Args)]
pub struct ApprovalSetArgs {
    /// The settings, in YAML; `stampo approval show` prints those that count.
    #[arg(required_unless_present = "preset", conflicts_with = "preset")]
    pub file: Option<PathBuf>,
    /// A preset, with the signers that are named already.
    #[arg(long, value_enum)]
    pub preset: Option<PresetArg>,
}

/// The presets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PresetArg {
    /// Whoever publishes has approved.
    Solo,
    /// One person who did not make the version.
    Team,
    /// Two people who did not make it, one with the role security; whoever purges is a third.
    Regulated,
}

/// `template submit` and `template approve`.
#[derive(Debug, Args)]
pub struct SayArgs {
    /// NAME, NAME@NUMBER or NAME:CHANNEL.
    pub version: VersionRef,
    /// A comment; it is signed and recorded.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub comment: String,
    /// How it is signed.
    #[command(flatten)]
    pub key: KeyArg,
}

/// `template reject` and `template break-glass`.
#[derive(Debug, Args)]
pub struct SayWhyArgs {
    /// NAME, NAME@NUMBER or NAME:CHANNEL.
    pub version: VersionRef,
    /// Why. It is signed and recorded.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// How it is signed.
    #[command(flatten)]
    pub key: KeyArg,
}

/// The key that signs.
#[derive(Debug, Args)]
pub struct KeyArg {
    /// Your ssh key: the private one, or the public one of a key in your agent
    /// [default: ~/.ssh/id_ed25519].
    #[arg(long, value_name = "FILE", env = "STAMPO_SIGNING_KEY")]
    pub key: Option<PathBuf>,
}

/// `template bundle`.
#[derive(Debug, Args)]
pub struct BundleArgs {
    /// NAME, NAME@NUMBER or NAME:CHANNEL.
    pub version: VersionRef,
    /// The file to make. It must not be there yet.
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
}

/// `verify-bundle`.
#[derive(Debug, Args)]
pub struct VerifyBundleArgs {
    /// The file that `stampo template bundle` made.
    pub bundle: PathBuf,
    /// The public key of somebody whom you trust, and who has to have approved; may be repeated.
    #[arg(long, value_name = "KEY.pub", required = true)]
    pub signer: Vec<PathBuf>,
    /// The disk that should be the one that was approved, raw.
    #[arg(long, value_name = "DISK")]
    pub image: Option<PathBuf>,
}
