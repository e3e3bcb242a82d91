//! What the parent and the child say to each other.
//!
//! ```text
//! parent → child   argv[1] = "__intake", argv[2] = the job as JSON; fd 0 = source, fd 1 = destination
//! child → parent   fd 2: one JSON message a line: ready, progress…, then taken | refused | failed
//! ```
//!
//! The job is trusted by the child; the messages are *not* trusted by the parent, see
//! [`super::watch`]. What this file does *not* do: any I/O.

use super::error::Fault;
use super::refusal::Refusal;
use serde::{Deserialize, Serialize};

/// The first argument of a child process.
pub const CHILD_ARG: &str = "__intake";

/// The longest message, in bytes; longer ones are not valid.
pub(super) const MAX_MESSAGE_BYTES: usize = 4096;

/// How the image is declared. It is never guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeclaredFormat {
    /// qcow2, version 2 or 3.
    Qcow2,
    /// The plain bytes of a disk.
    Raw,
}

/// What an image may be and what reading it may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The largest disk.
    pub max_virtual_bytes: u64,
    /// The largest file.
    pub max_file_bytes: u64,
    /// Processor time of the child.
    pub cpu_s: u64,
    /// Address space of the child.
    pub memory_bytes: u64,
    /// Real time of the child.
    pub wall_s: u64,
}

impl Default for Limits {
    /// A disk of 2 TiB in a file of 256 GiB, 15 minutes of processor time, 1 GiB, one hour.
    fn default() -> Self {
        Limits {
            max_virtual_bytes: 2 << 40,
            max_file_bytes: 256 << 30,
            cpu_s: 900,
            memory_bytes: 1 << 30,
            wall_s: 3600,
        }
    }
}

/// What the child is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// How the image is declared.
    pub declared: DeclaredFormat,
    /// What it may cost.
    pub limits: Limits,
    /// How many threads decompress, besides the first; 0 for none.
    pub workers: usize,
    /// The process that must stay alive.
    pub parent_pid: i32,
}

/// The compression of the clusters that are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Raw deflate streams.
    Zlib,
    /// Zstandard frames.
    Zstd,
}

/// What the image was before it became canonical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "format", rename_all = "snake_case", deny_unknown_fields)]
pub enum FormatDetails {
    /// Plain bytes.
    Raw,
    /// qcow2.
    Qcow2 {
        /// 2 or 3.
        version: u32,
        /// Bytes per cluster.
        cluster_size_bytes: u64,
        /// What its header declares.
        compression: Compression,
        /// How many clusters are compressed.
        compressed_clusters: u64,
    },
}

/// What the child found and wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The size of the disk.
    pub virtual_size_bytes: u64,
    /// How much of it was written; the rest are holes.
    pub data_bytes: u64,
    /// What it was before.
    pub details: FormatDetails,
}

/// How far the kernel supports Landlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LandlockLevel {
    /// All that was asked for.
    Full,
    /// An older kernel: part of it (no files; perhaps sockets).
    Partial,
    /// Not in this kernel; the system-call filter stands alone.
    None,
}

/// Which walls stood around the child. The system-call filter always does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxReport {
    /// The file system and network wall.
    pub landlock: LandlockLevel,
    /// Whether the child gave up root for nobody; false too when it never was root.
    pub became_nobody: bool,
}

/// One line from the child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Message {
    /// The sandbox is up; no byte was read yet.
    Ready(SandboxReport),
    /// So many bytes of the disk are done.
    Progress {
        /// Done.
        done_bytes: u64,
        /// Of these.
        total_bytes: u64,
    },
    /// The destination is complete. It is not durable.
    Taken(Report),
    /// The image is refused.
    Refused(Refusal),
    /// The machine failed.
    Failed(Fault),
}
