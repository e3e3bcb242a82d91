//! The one place where untrusted image bytes enter.
//!
//! ```text
//! take_in ──► child process (this program again, argv[1] = "__intake")
//!   │           stdin = source, stdout = destination, stderr = messages, nothing else
//!   │           sandbox.rs: limits, nobody, no new privileges, Landlock, system-call filter
//!   │           convert.rs: size cap → sniff.rs → qcow2/ proves the metadata → copies
//!   └─ watch.rs: time limits, cancellation, checks the child's answer against the file itself
//! ```
//!
//! Nothing may read a byte of an image before [`take_in`] accepted it, `qemu-img info` included:
//! `qemu-img` follows backing files, data files and `json:` names out of a header (CVE-2024-32498,
//! CVE-2024-4467), and formats that are guessed are chosen by the guest (CVE-2008-2004). What comes
//! out is the canonical form: a sparse raw file, in which nothing can be named or followed.
//!
//! What this module does *not* do: download, checksum, choose where files are, or make the digest.

mod child;
mod convert;
mod crew;
mod error;
mod protocol;
mod qcow2;
mod refusal;
mod sandbox;
mod sniff;
mod source;
mod sparse;
mod watch;

pub use child::run_child_if_asked;
pub use error::{Fault, IntakeError, Stop};
pub use protocol::{
    CHILD_ARG, Compression, DeclaredFormat, FormatDetails, Job, LandlockLevel, Limits, Report,
    SandboxReport,
};
pub use refusal::Refusal;

/// The parser without its sandbox, for fuzzing it in one process. Never for real images.
#[doc(hidden)]
pub use convert::convert as convert_without_sandbox;
#[doc(hidden)]
pub use crew::Crew;
/// The walls without the parser, for trying to get out. Not for any other process.
#[doc(hidden)]
pub use sandbox::enter as enter_sandbox;
/// The parent's side without a child, for fuzzing what a child could say.
#[doc(hidden)]
pub use watch::listen as listen_to_child;

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// One image to take in.
pub struct IntakeRequest<'a> {
    /// The untrusted file, open for reading. Its position is unspecified afterwards.
    pub source: File,
    /// What it is said to be. Nothing is guessed.
    pub declared: DeclaredFormat,
    /// A new, empty, writable file in the staging area.
    pub destination: File,
    /// What the image may be and cost.
    pub limits: Limits,
    /// The program that calls [`run_child_if_asked`] first; this very program when `None`.
    pub program: Option<PathBuf>,
    /// Called with done and total bytes of the disk at least every half second, also while
    /// nothing moves; false cancels.
    pub progress: &'a dyn Fn(u64, u64) -> bool,
}

/// An image that was taken in. The destination holds its disk: sparse raw. Its bytes
/// are not durable yet; whoever keeps them waits for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The size of the disk, and of the destination.
    pub virtual_size_bytes: u64,
    /// How much of it is not zero, in whole 4 KiB blocks.
    pub data_bytes: u64,
    /// What the image was.
    pub details: FormatDetails,
    /// What stood around its reader.
    pub sandbox: SandboxReport,
}

/// Proves that an untrusted image is sane and converts it, all in a sandboxed child process.
///
/// Blocks until it is done. The caller keeps the destination's name; renaming it into place is
/// theirs.
///
/// # Errors
/// Every error leaves the destination empty and no process behind. [`IntakeError::kind`] is stable.
pub fn take_in(request: &IntakeRequest<'_>) -> Result<Taken, IntakeError> {
    check_files(request)?;
    let taken = watch::run(request);
    if taken.is_err() {
        // Best effort: a destination that can't be emptied is deleted by its owner anyway.
        let _ = request.destination.set_len(0);
    }
    taken
}

fn check_files(request: &IntakeRequest<'_>) -> Result<(), IntakeError> {
    let system = |what| move |source| IntakeError::System { what, source };
    let source = request
        .source
        .metadata()
        .map_err(system("look at the source"))?;
    let destination = request
        .destination
        .metadata()
        .map_err(system("look at the destination"))?;
    if !destination.is_file() || destination.len() != 0 {
        return Err(IntakeError::Destination);
    }
    let same = (source.dev(), source.ino()) == (destination.dev(), destination.ino());
    if !source.is_file() || same {
        return Err(IntakeError::Source);
    }
    Ok(())
}
