//! Guests.

use crate::pool::LeaseRequest;
use serde::{Deserialize, Serialize};
use stampo_core::identity::Verdict;
use stampo_core::names::{GuestName, NamePattern, VersionRef};
use stampo_core::plan::CloneSpec;
use stampo_core::size::ByteSize;
use std::io::{Read, Write};

/// Make clones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneRequest {
    /// The version.
    pub version: VersionRef,
    /// The names: `app`, or `app-{n}` for several.
    pub name: NamePattern,
    /// Everything else.
    pub spec: CloneSpec,
    /// The lease that each is given.
    #[serde(default)]
    pub lease: Option<LeaseRequest>,
}

/// One guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// Its id, also its SMBIOS UUID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The version it was cloned from, `name@N`.
    pub version: String,
    /// How it stands to its version: `current`, `deprecated`, `obsolete`, `withdrawn`, `orphan`,
    /// `quarantined` or `revoked`.
    #[serde(default)]
    pub standing: String,
    /// Why, and what to use instead.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub advice: String,
    /// Its image id.
    pub image: String,
    /// `linked`, `full` or `instant`.
    pub kind: String,
    /// Why it booted although it was asked for as an instant clone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// Its state in the catalog; `ready` is a good guest.
    pub state: String,
    /// `running`, `paused` (its process is there and executes nothing), `stopped` or `unknown`.
    pub power: String,
    /// The process that runs it.
    pub pid: Option<u32>,
    /// Where ssh reaches it: `127.0.0.1:22001`, or its static address; `None` when only DHCP knows.
    pub address: Option<String>,
    /// MACs of its interfaces.
    pub macs: Vec<String>,
    /// Processors.
    pub cpus: u32,
    /// Memory.
    pub memory: ByteSize,
    /// The size of its boot disk.
    pub disk_size: ByteSize,
    /// The bytes that its own files take on the host.
    pub disk_used: ByteSize,
    /// Its public ssh host keys.
    pub host_keys: Vec<String>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// When a trashed guest goes for good.
    pub keep_until_ms: Option<i64>,
    /// When its lease ends, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_until_ms: Option<i64>,
    /// The pool that it is or was a member of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// What went wrong last.
    pub error: Option<String>,
}

/// How far a running guest has started. The guest itself says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// Who was asked: `agent` (stampo's own) or `qemu-guest-agent`.
    pub told_by: String,
    /// What `systemctl is-system-running` prints: `starting`, `running`, `degraded`, …; `unknown`
    /// without systemd.
    pub system: String,
    /// Whether everything that starts by itself has started.
    pub settled: bool,
    /// Units of systemd that failed.
    pub failed_units: Option<u32>,
    /// Since the kernel began, in milliseconds, as are all times here.
    pub uptime_ms: u64,
    /// How long the machine ran before the kernel: QEMU's own start, firmware, boot loader. Missing
    /// for a guest that went on from a memory image.
    pub before_kernel_ms: Option<u64>,
    /// How long the kernel took until it ran its first program.
    pub kernel_ms: Option<u64>,
    /// How long the initial RAM disk took; where this is missing it is in `kernel_ms`.
    pub initrd_ms: Option<u64>,
    /// How long the rest took, until systemd had started everything.
    pub userspace_ms: Option<u64>,
    /// When stampo's agent began, after the kernel did.
    pub agent_at_ms: Option<u64>,
    /// When systemd had started everything, after the kernel began.
    pub finished_at_ms: Option<u64>,
}

/// How a guest was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopReply {
    /// `already`, `agent`, `acpi` or `kill`.
    pub by: String,
}

/// Change a stopped guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResizeRequest {
    /// The guest.
    pub guest: GuestName,
    /// Processors.
    pub cpus: Option<u32>,
    /// Memory.
    pub memory: Option<ByteSize>,
    /// The boot disk; it can only grow.
    pub disk_size: Option<ByteSize>,
}

/// Run a command in a running guest, through an agent in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// The guest.
    pub guest: GuestName,
    /// Program and arguments; no shell.
    pub argv: Vec<String>,
    /// `NAME=value`. Needs stampo's agent, as do the next two.
    #[serde(default)]
    pub env: Vec<String>,
    /// The directory that it starts in; `/` when not given.
    #[serde(default)]
    pub cwd: Option<String>,
    /// A user of the guest; root when not given.
    #[serde(default)]
    pub user: Option<String>,
    /// How long it may run, in seconds. QEMU's agent is given a minute where none is said.
    #[serde(default)]
    pub timeout_s: Option<u64>,
    /// Pass input on also where that means to read it to its end first: with QEMU's agent.
    #[serde(default)]
    pub stdin_first: bool,
}

/// What a command in a guest is connected to, on the client's side. A remote client carries the
/// four over one connection; nothing here is a file descriptor.
pub struct ExecStreams<'a> {
    /// Its standard input, if it has one. May be read ahead, and by another thread.
    pub stdin: Option<Box<dyn Read + Send>>,
    /// Takes its standard output as it comes; after the end with QEMU's agent.
    pub stdout: &'a mut dyn Write,
    /// Takes its standard error in the same way.
    pub stderr: &'a mut dyn Write,
    /// A signal to send to the command now, by Linux's number. Asked several times a second, but
    /// not with QEMU's agent, which can send none.
    pub signal: &'a mut dyn FnMut() -> Option<i32>,
}

/// Every identity item of a guest, compared with all other guests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passport {
    /// The guest.
    pub guest: String,
    /// The version it was cloned from, `name@N`.
    #[serde(default)]
    pub version: String,
    /// How it stands to its version, as [`Guest::standing`].
    #[serde(default)]
    pub standing: String,
    /// Where the items were read: `disk`, `agent` or `catalog` (as recorded when it was made).
    pub source: String,
    /// The items.
    pub items: Vec<FactVerdict>,
}

/// One identity item and its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactVerdict {
    /// The item's name.
    pub item: String,
    /// Where it lives.
    pub location: String,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl Passport {
    /// Whether nothing of the guest could be read, so that nothing was compared.
    pub fn is_unknown(&self) -> bool {
        self.items
            .iter()
            .all(|item| matches!(item.verdict, Verdict::Unknown(_)))
    }

    /// Whether any item is held by another guest too.
    pub fn has_duplicates(&self) -> bool {
        self.items
            .iter()
            .any(|item| matches!(item.verdict, Verdict::Duplicated(_)))
    }
}
