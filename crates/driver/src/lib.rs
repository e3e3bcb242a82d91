//! The Driver trait: what every engine that runs guests must do, and what each can do.
//!
//! Rules that every driver keeps, and that `conformance` checks:
//! - the caller chooses all names (id, paths, MAC, port); a driver makes up none;
//! - every `ensure_…` may be repeated and says whether it changed anything;
//! - every call has a time limit of its own, and an unknown outcome is settled by `observe`;
//! - a driver touches only what it was told the path or id of.

pub mod conformance;
pub mod definition;
pub mod memory_image;
pub mod sim;
pub mod socket;

pub use definition::{Disk, DiskFormat, GuestDefinition, Link, NicDefinition, Start};
pub use memory_image::{MemoryImage, MemoryImageDir};

use serde::{Deserialize, Serialize};
use stampo_agent_protocol::{Request, Response};
use stampo_core::ids::GuestId;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a mutating call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ensured {
    /// It was already so.
    Unchanged,
    /// It was made so now.
    Changed,
}

/// What a driver can do here and now. Declared, so that a plan can be refused before it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The driver's name, `qemu` or `simulated`.
    pub driver: String,
    /// The engine's version, for example `10.0.2`.
    pub version: String,
    /// What runs guest code.
    pub acceleration: Acceleration,
    /// Firmware that can be started.
    pub firmware: Vec<stampo_core::hardware::Firmware>,
    /// A TPM can be given to a guest.
    pub tpm: bool,
    /// Bridges can be used by this user.
    pub bridge: bool,
    /// Running guests can be frozen, and others started from the memory image.
    pub memory_images: bool,
}

/// What runs guest code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Acceleration {
    /// The processor, proven by a real boot.
    Kvm,
    /// Emulation; the reason says why the processor is not used.
    Tcg {
        /// For example "/dev/kvm opens, but a test guest did not start within 5 s".
        reason: String,
    },
}

/// Whether a guest runs, as seen from outside at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "power")]
pub enum Power {
    /// Not known to the driver.
    Undefined,
    /// Defined, not running.
    Stopped,
    /// Running, under this process.
    Running {
        /// The process id on this host.
        pid: u32,
        /// Milliseconds since the process started.
        uptime_ms: u64,
    },
    /// Its process is there and executes nothing: it was prepared
    /// ([`Driver::ensure_prepared`]) or paused ([`Driver::ensure_paused`]). Its disks are in use as
    /// those of a running guest are.
    Paused {
        /// The process id on this host.
        pid: u32,
        /// Milliseconds since the process started.
        uptime_ms: u64,
    },
    /// It could not be found out; the reason says why. Never taken for stopped.
    Unknown {
        /// What stood in the way.
        reason: String,
    },
}

/// How far a guest that goes on from a memory image is brought before it is wanted. In neither has
/// it executed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// Its process is there, with every device made, and waits for the memory image.
    Spawned,
    /// The devices' state is loaded too, and the links are down.
    Loaded,
}

/// How to end a running guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMethod {
    /// An agent in the guest (stampo's own before QEMU's), then ACPI, then kill; each for at most
    /// this long.
    Graceful {
        /// How long an agent's shutdown may take.
        agent: Duration,
        /// How long the ACPI power button may take.
        acpi: Duration,
    },
    /// At once.
    Kill,
}

/// Which means ended a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoppedBy {
    /// It was not running.
    Already,
    /// The shutdown of an agent in the guest.
    Agent,
    /// The ACPI power button.
    Acpi,
    /// The process was killed.
    Kill,
}

/// Which agents have opened their channel in a running guest, as its machine shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// stampo's own.
    pub own: bool,
    /// QEMU's.
    pub qemu: bool,
}

/// A command for the guest agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRequest {
    /// Program (absolute path) and arguments; no shell.
    pub argv: Vec<String>,
    /// Standard input.
    pub input: Vec<u8>,
    /// How long it may take.
    pub timeout: Duration,
}

/// What a command in the guest gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutcome {
    /// Its exit code; `128 + signal` when a signal ended it.
    pub exit_code: i32,
    /// Standard output, cut at 16 MiB.
    pub stdout: Vec<u8>,
    /// Standard error, cut at 16 MiB.
    pub stderr: Vec<u8>,
}

/// Why a driver could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The guest is not known to the driver.
    #[error("find guest {0}")]
    NotFound(GuestId),
    /// The guest must run for this.
    #[error("reach guest {0}: it is not running")]
    NotRunning(GuestId),
    /// The driver can't do this here.
    #[error("{what}: {why}")]
    Unsupported {
        /// The act, for example "give a guest a TPM".
        what: String,
        /// What is missing and how to get it.
        why: String,
    },
    /// A host resource is taken by something else, for example a forwarded port.
    #[error("use {resource}: {why}")]
    Busy {
        /// The resource, for example `port 22001`.
        resource: String,
        /// What holds it, as far as is known.
        why: String,
    },
    /// A guest can't be started from a memory image. No process was started.
    #[error("start from the memory image {}: {}", image.display(), differs.join("; "))]
    Unfit {
        /// The image's directory.
        image: PathBuf,
        /// All that stands in the way, in words.
        differs: Vec<String>,
    },
    /// The guest agent does not answer.
    #[error("reach the guest agent of {guest} within {} s", waited.as_secs())]
    AgentSilent {
        /// The guest.
        guest: GuestId,
        /// How long it was waited for.
        waited: Duration,
    },
    /// stampo's own agent in the guest says that it can't do what it was asked.
    #[error("have the guest's agent do it: {0}")]
    Refused(String),
    /// A program failed.
    #[error("run {program}: {why}")]
    Program {
        /// Its name.
        program: String,
        /// Its own words, or how it ended.
        why: String,
    },
    /// The host's file system or a socket failed.
    #[error("{act} {}", path.display())]
    Io {
        /// A verb, for example "write".
        act: &'static str,
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl DriverError {
    /// An adapter for `map_err`: the act and the path, with what the system said.
    pub fn io(act: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> DriverError {
        let path = path.to_owned();
        move |source| DriverError::Io { act, path, source }
    }
}

/// A machine that somebody else runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// What it is called on its command line; empty when it is not.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// The regular files that it has open, by path; `None`: another user's, which can't be seen.
    pub files: Option<Vec<ForeignFile>>,
}

/// A file that a foreign machine has open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignFile {
    /// Where it was opened.
    pub path: PathBuf,
    /// The number of its file system, and its own (stat(2)).
    pub id: (u64, u64),
}

/// An engine that runs guests.
pub trait Driver: Send + Sync {
    /// What can be done here. May probe; the answer is cached by the driver.
    fn capabilities(&self) -> Result<Capabilities, DriverError>;

    /// Records the definition (firmware variables and TPM state are made here, the disks exist).
    /// A changed definition of a stopped guest replaces the old one; of a running guest it takes
    /// effect at the next start.
    ///
    /// What it writes is whole after a power loss, or as it was before, until the caller has made
    /// the guest's directory durable, which has files of the caller's own.
    fn ensure_defined(&self, definition: &GuestDefinition) -> Result<Ensured, DriverError>;

    /// Starts the guest unless it runs. One that was prepared goes on from where it is, which is
    /// what makes it fast; one that was paused goes on.
    fn ensure_running(&self, id: GuestId) -> Result<Ensured, DriverError>;

    /// Brings a stopped guest whose definition says [`Start::Resume`] as far as this, without
    /// executing anything of it. From [`Readiness::Spawned`] it goes on to [`Readiness::Loaded`],
    /// and never back. A guest that runs, or ran and was paused, is refused (`Unsupported`), as is
    /// any other definition; a guest that can't be resumed, as [`Driver::ensure_running`] would.
    ///
    /// A prepared guest is the one that was defined when it was prepared: of another definition
    /// since (but for its name) nothing is prepared, and it is begun anew. One whose process ends
    /// before it is wanted is stopped and can be prepared again. Only a power loss spends it: then
    /// it is refused as one that may have run.
    fn ensure_prepared(&self, id: GuestId, readiness: Readiness) -> Result<Ensured, DriverError>;

    /// Stops a running guest between two instructions, with its process and memory kept;
    /// [`Driver::ensure_running`] lets it go on. Its clock stands still meanwhile. A guest that does
    /// not run, or was only prepared, is refused (`NotRunning`).
    fn ensure_paused(&self, id: GuestId) -> Result<Ensured, DriverError>;

    /// Ends the guest unless it is stopped. One that was only prepared is killed whatever the
    /// method: nothing of it runs. One that was paused is let go on for a graceful stop.
    fn ensure_stopped(&self, id: GuestId, method: StopMethod) -> Result<StoppedBy, DriverError>;

    /// Kills the guest if its process is there and forgets it. Its directory is the caller's to remove.
    fn ensure_undefined(&self, id: GuestId) -> Result<Ensured, DriverError>;

    /// Kills those of these guests whose directories were removed under their processes; how many.
    /// Nothing else can find them again. One whose directory was only moved is left alone.
    fn end_without_directory(&self, ids: &[GuestId]) -> Result<usize, DriverError>;

    /// Machines that run on this host and that nobody of this home made.
    fn strangers(&self) -> Result<Vec<Foreign>, DriverError>;

    /// Freezes a running guest that was started with [`Start::BootToFreeze`]: its links are taken
    /// down, it is stopped between two instructions, and its memory image is made durable; then
    /// its process ends. Repeated after that, it gives the same image. The disks are the caller's
    /// to keep: the image is of the very moment at which they were last written.
    fn ensure_frozen(&self, id: GuestId) -> Result<(Ensured, MemoryImage), DriverError>;

    /// Refuses a guest whose definition says [`Start::Resume`] and that could not be started so
    /// here, for the reasons that [`Driver::ensure_running`] would give. Nothing is started or
    /// written, and the guest need not be defined. A guest that resumes nothing is not looked at.
    fn check_resume(&self, definition: &GuestDefinition) -> Result<(), DriverError>;

    /// Plugs the cables of a running or paused guest's interfaces in, or pulls them. May be
    /// repeated. Those of a prepared guest stay pulled (`NotRunning`).
    fn set_links(&self, id: GuestId, up: bool) -> Result<(), DriverError>;

    /// What the guest does now.
    fn observe(&self, id: GuestId) -> Result<Power, DriverError>;

    /// Every guest that the driver knows.
    fn list(&self) -> Result<Vec<GuestId>, DriverError>;

    /// Which agents listen in the running guest now. Asks none of them, so it never waits for one:
    /// what is sent to an agent that does not listen is lost.
    fn listening(&self, id: GuestId) -> Result<Listening, DriverError>;

    /// Waits until the guest agent answers, for at most `timeout`.
    fn agent_ping(&self, id: GuestId, timeout: Duration) -> Result<(), DriverError>;

    /// Runs a command through the guest agent.
    fn agent_exec(&self, id: GuestId, request: &ExecRequest) -> Result<ExecOutcome, DriverError>;

    /// Reads a file in the guest through the guest agent. A file of more than `limit` bytes is an
    /// error: the size is the guest's to choose, and so not to be trusted.
    fn agent_read_file(
        &self,
        id: GuestId,
        path: &str,
        limit: usize,
        timeout: Duration,
    ) -> Result<Vec<u8>, DriverError>;

    /// Writes a file in the guest through the guest agent: made or replaced, with the mode that
    /// the agent's umask gives.
    fn agent_write_file(
        &self,
        id: GuestId,
        path: &str,
        bytes: &[u8],
        timeout: Duration,
    ) -> Result<(), DriverError>;

    /// The Unix socket of the guest's serial console. The path may be longer than a socket address
    /// can hold: connect with [`socket::connect`].
    fn console_socket(&self, id: GuestId) -> Result<PathBuf, DriverError>;

    /// Asks stampo's own agent in the running guest, once. Its answer is a claim of the guest,
    /// checked for its form only; a refusal is an error. Without an answer within `timeout`
    /// nothing is known of what the agent did.
    fn ask_agent(
        &self,
        id: GuestId,
        request: &Request,
        timeout: Duration,
    ) -> Result<Response, DriverError>;

    /// The file that the serial console is logged to.
    fn console_log(&self, id: GuestId) -> Result<PathBuf, DriverError>;

    /// The running guest's firmware-side identity (SMBIOS UUID, MACs…) is in its definition; this
    /// returns the definition as recorded.
    fn definition(&self, id: GuestId) -> Result<GuestDefinition, DriverError>;

    /// The directory where guests of this driver live, one directory for each id.
    fn guests_dir(&self) -> &Path;
}
