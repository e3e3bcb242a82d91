//! Errors of an intake: a refusal of the image, a fault of the machine, or a child that misbehaved.

use super::refusal::{Refusal, Shown};
use serde::{Deserialize, Serialize};
use std::io;

/// Why an image was not taken in. The destination is empty again.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The image itself is the reason.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Reading, writing or the sandbox failed inside the child.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The source is a directory, a device, a pipe, or the destination itself.
    #[error("take in the image: the source is not a regular file of its own")]
    Source,
    /// The destination is not a new file.
    #[error("take in the image: the destination is not a new, empty, regular file")]
    Destination,
    /// A system call of the parent failed.
    #[error("take in the image: {what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The child used up its time.
    #[error(
        "take in the image: it was not done after {seconds} s of real time; raise the limit if the image is large and trusted"
    )]
    WallLimit {
        /// The limit.
        seconds: u64,
    },
    /// The child used up its processor time.
    #[error(
        "take in the image: it was not done after {seconds} s of processor time; raise the limit if the image is large and trusted"
    )]
    CpuLimit {
        /// The limit.
        seconds: u64,
    },
    /// The child tried what its sandbox forbids.
    #[error(
        "take in the image: reading it needed a forbidden system call and was stopped; please report this image as a bug"
    )]
    Violation,
    /// The child died without an answer, for instance at its memory limit.
    #[error(
        "take in the image: the reader died ({how}); the image may be made to harm, or it needs more memory than allowed"
    )]
    Died {
        /// The exit status in words.
        how: String,
    },
    /// The child's answer makes no sense.
    #[error(
        "take in the image: the reader's answer is not valid ({what}); is the program the same version?"
    )]
    Answer {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The caller's progress function said stop.
    #[error("take in the image: it was cancelled")]
    Cancelled,
}

impl IntakeError {
    /// The stable name of the reason, for tests, scripts and exit codes.
    pub const fn kind(&self) -> &'static str {
        match self {
            IntakeError::Refused(refusal) => refusal.kind(),
            IntakeError::Fault(fault) => fault.kind(),
            IntakeError::Source => "source",
            IntakeError::Destination => "destination",
            IntakeError::System { .. } => "system",
            IntakeError::WallLimit { .. } => "wall_limit",
            IntakeError::CpuLimit { .. } => "cpu_limit",
            IntakeError::Violation => "violation",
            IntakeError::Died { .. } => "died",
            IntakeError::Answer { .. } => "answer",
            IntakeError::Cancelled => "cancelled",
        }
    }

    /// Whether the image is the reason, not the machine and not the caller.
    pub const fn blames_image(&self) -> bool {
        matches!(
            self,
            IntakeError::Refused(_)
                | IntakeError::WallLimit { .. }
                | IntakeError::CpuLimit { .. }
                | IntakeError::Violation
                | IntakeError::Died { .. }
        )
    }
}

/// What can go wrong in the child apart from the image. It crosses the pipe, so it holds no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The source can't be read.
    #[error("take in the image: reading it failed: {}", io::Error::from_raw_os_error(*errno))]
    Read {
        /// The system's error number.
        errno: i32,
    },
    /// The destination can't be written.
    #[error("take in the image: writing it failed: {}", io::Error::from_raw_os_error(*errno))]
    Write {
        /// The system's error number.
        errno: i32,
    },
    /// The store is full, or the user's quota of it.
    #[error(
        "take in the image: no space or quota is left where templates are kept; free some or choose another place"
    )]
    NoSpace,
    /// A part of the sandbox that is not optional could not be set up.
    #[error("take in the image: the sandbox could not be set up ({step}, error number {errno})")]
    Sandbox {
        /// Which part.
        step: String,
        /// The system's error number, 0 when it gave none.
        errno: i32,
    },
    /// The parser panicked: a bug of ours.
    #[error(
        "take in the image: the reader failed by a mistake of its own; please report this image as a bug"
    )]
    Panicked,
}

impl Fault {
    /// The stable name of the fault.
    pub const fn kind(&self) -> &'static str {
        match self {
            Fault::Read { .. } => "read",
            Fault::Write { .. } => "write",
            Fault::NoSpace => "no_space",
            Fault::Sandbox { .. } => "sandbox",
            Fault::Panicked => "panicked",
        }
    }
}

impl Fault {
    /// The same with its text made fit for a terminal, when the child's word is taken.
    pub(super) fn made_printable(self) -> Self {
        match self {
            Fault::Sandbox { step, errno } => Fault::Sandbox {
                step: step.shown(),
                errno,
            },
            other => other,
        }
    }
}

/// Why the work in the child stops.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The image is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The machine failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}
