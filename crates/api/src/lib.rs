//! The API: everything that a client can ask of stampo, as a trait and its wire types.
//!
//! The command line talks to this trait and to nothing else. It is implemented over the engine by
//! `stampo-server`, in the same process when no server runs. Wire types are not the engine's types
//! and not the catalog's rows: they change only when the API does.
//!
//! Long work is an *operation*: a call that starts one returns at once, and
//! [`Api::follow`] reports its events until it ends.

pub mod approval;
pub mod audit;
pub mod channel;
pub mod diff;
pub mod drift;
pub mod evidence;
pub mod govern;
pub mod guest;
pub mod inside;
pub mod operation;
pub mod policy;
pub mod pool;
pub mod problem;
pub mod retention;
pub mod store;
pub mod template;

pub use approval::{
    ApprovalApi, ApprovalSaid, ApprovalSettings, ApprovalStatus, BundleProof, BundleSaid,
    SayRequest, Spoken, StatementRequest, StatementToSign,
};
pub use audit::{
    AuditApi, AuditCheckpoint, AuditFault, AuditFilter, AuditForm, AuditRecord, AuditVerification,
};
pub use channel::{Channel, ChannelApi, ChannelMove};
pub use diff::{DiffChange, DiffFiles, TemplateDiff};
pub use drift::{
    DriftApi, DriftBlocks, DriftCounts, DriftFinding, DriftPackage, DriftPart, DriftRequest,
    GuestDrift,
};
pub use evidence::{Class, Evidence, EvidenceApi};
pub use govern::{GovernApi, Governed, MovedChannel, RevokeRequest, WithdrawRequest};
pub use guest::{
    Boot, CloneRequest, ExecRequest, ExecStreams, FactVerdict, Guest, Passport, ResizeRequest,
    StopReply,
};
pub use inside::{
    BomForm, CvePackage, CveReport, CveVersion, Exploited, InsideApi, MissingUpdate,
    RecordedPackages, SupportEnd, SupportEnds, Updates, VulnerabilitySource,
};
pub use operation::{Event, Operation, Outcome, Progress};
pub use policy::{
    PolicyAcceptRequest, PolicyApi, PolicyCheck, PolicyException, PolicyFinding, PolicyForm,
    PolicyOutcome, PolicyPack, PolicyRecheck, PolicyReplay, PolicyReport,
};
pub use pool::{
    Going, Lease, LeaseRequest, Leases, Pool, PoolApi, PoolChange, PoolRequest, TakeFrom,
    TakeRequest, Taken, Tending,
};
pub use problem::{Kind, Problem};
pub use retention::{RetainedVersion, RetentionApi, RetentionReport};
pub use store::{
    Check, CheckStatus, Damage, DoctorReport, GcReport, GcSubject, RescanReport, ScrubReport,
    ScrubRequest,
};
pub use template::{
    AcceptRequest, BuildRequest, CaptureRequest, Finding, ImportRequest, SealChange, SealPlan,
    SealRequest, Verification, Version,
};

use stampo_core::names::{GuestName, VersionRef};
use stampo_core::plan::ClonePlan;
use std::path::PathBuf;

/// What a call gives: its value, or a problem with a kind, a message and a remedy.
pub type Reply<T> = Result<T, Problem>;

/// Everything that a client can ask.
pub trait Api:
    ApprovalApi
    + AuditApi
    + ChannelApi
    + DriftApi
    + EvidenceApi
    + GovernApi
    + InsideApi
    + PolicyApi
    + PoolApi
    + RetentionApi
    + Send
    + Sync
{
    /// Checks the host: what works, what does not, how to mend it.
    fn doctor(&self) -> Reply<DoctorReport>;

    /// Starts building a draft version from a recipe.
    fn build(&self, request: BuildRequest) -> Reply<Operation>;
    /// Starts importing a disk image as a draft version.
    fn import(&self, request: ImportRequest) -> Reply<Operation>;
    /// Starts making a draft version of what a guest's disk has become.
    fn capture(&self, request: CaptureRequest) -> Reply<Operation>;
    /// Starts sealing a draft version.
    fn seal(&self, request: SealRequest) -> Reply<Operation>;
    /// What sealing would change. Changes nothing.
    fn seal_plan(&self, request: SealRequest) -> Reply<SealPlan>;
    /// Starts reading a version's bytes and its proof again.
    fn verify(&self, version: &VersionRef) -> Reply<Operation>;
    /// The result of the last verification or seal.
    fn verification(&self, version: &VersionRef) -> Reply<Verification>;
    /// Accepts a finding of a version's proof, with a reason that is recorded.
    fn accept(&self, request: AcceptRequest) -> Reply<Version>;
    /// Starts making a version's memory image: it is booted once, out of sight, and frozen.
    fn freeze(&self, version: &VersionRef) -> Reply<Operation>;
    /// Every version; purged ones only when `all`.
    fn versions(&self, all: bool) -> Reply<Vec<Version>>;
    /// One version. A bare name means the newest of any state that has bytes.
    fn version(&self, version: &VersionRef) -> Reply<Version>;
    /// What is inside a version's disk, as the inspection's own JSON.
    fn inspect(&self, version: &VersionRef) -> Reply<serde_json::Value>;

    /// What cloning would make. Changes nothing, reserves nothing.
    fn clone_plan(&self, request: CloneRequest) -> Reply<ClonePlan>;
    /// Starts making clones.
    fn clone_guests(&self, request: CloneRequest) -> Reply<Operation>;
    /// Starts making a linked clone independent of its version.
    fn flatten(&self, guest: &GuestName) -> Reply<Operation>;
    /// Every guest; trashed and unfinished ones only when `all`.
    fn guests(&self, all: bool) -> Reply<Vec<Guest>>;
    /// One guest.
    fn guest(&self, guest: &GuestName) -> Reply<Guest>;
    /// Starts a guest.
    fn start(&self, guest: &GuestName) -> Reply<Guest>;
    /// Stops a guest: agent, then ACPI, then kill; at once with `kill`.
    fn stop(&self, guest: &GuestName, kill: bool) -> Reply<StopReply>;
    /// Gives a guest another name. Its host name inside stays.
    fn rename(&self, guest: &GuestName, name: &GuestName) -> Reply<Guest>;
    /// Changes a stopped guest's processors, memory or disk size.
    fn resize(&self, request: ResizeRequest) -> Reply<Guest>;
    /// Removes guests: all of them, or none when one is missing, runs or something works on it. With
    /// `keep_s` they can be brought back for that many seconds; with `force` those that run, or may
    /// run, go too.
    fn remove(&self, guests: &[GuestName], keep_s: Option<u64>, force: bool) -> Reply<()>;
    /// Brings back a guest that was removed with a grace time.
    fn restore_guest(&self, guest: &GuestName) -> Reply<Guest>;
    /// Waits until a running guest's ssh server answers with its recorded host key's protocol
    /// banner, for at most `timeout_s`. The milliseconds since the guest started.
    fn wait_ssh(&self, guest: &GuestName, timeout_s: u64) -> Reply<u64>;
    /// How far a running guest has started, as an agent in it says.
    fn boot(&self, guest: &GuestName) -> Reply<Boot>;
    /// Waits until everything that starts with a running guest's system has started, as an agent in
    /// it says, for at most `timeout_s`.
    fn wait_system(&self, guest: &GuestName, timeout_s: u64) -> Reply<Boot>;
    /// Runs a command in a running guest through an agent in it, and passes on what goes in and
    /// out. Its exit code, `128 + signal` when a signal ended it. When the client goes away, the
    /// command is ended within a minute; QEMU's agent lets it go on.
    fn exec(&self, request: ExecRequest, streams: ExecStreams<'_>) -> Reply<i32>;
    /// Reads a file of a guest: through the agent when it runs, from its disk when it does not.
    fn read_file(&self, guest: &GuestName, path: &str) -> Reply<Vec<u8>>;
    /// Writes a file of a guest: through the agent when it runs, to its disk when it does not.
    fn write_file(&self, guest: &GuestName, path: &str, content: &[u8]) -> Reply<()>;
    /// The Unix socket of the serial console of a running guest.
    fn console(&self, guest: &GuestName) -> Reply<PathBuf>;
    /// The file that the serial console is logged to.
    fn console_log(&self, guest: &GuestName) -> Reply<PathBuf>;
    /// A known_hosts file that pins the guest's host keys.
    fn known_hosts(&self, guest: &GuestName) -> Reply<PathBuf>;
    /// The identity items of these guests (all when empty), read anew and compared with all others.
    fn passports(&self, guests: &[GuestName]) -> Reply<Vec<Passport>>;

    /// What is kept and what can go; with `apply`, what could go is removed.
    /// `now` ignores the grace time of retired versions and trashed guests.
    fn gc(&self, apply: bool, now: bool) -> Reply<GcReport>;
    /// Rebuilds the catalog from what is on disk. What the catalog already knows is left alone.
    fn rescan(&self) -> Reply<RescanReport>;
    /// Starts reading everything that the store keeps and that must not change.
    fn scrub(&self, request: ScrubRequest) -> Reply<Operation>;
    /// What a scrub that has ended found.
    fn scrub_report(&self, operation: &str) -> Reply<ScrubReport>;
    /// The newest operations.
    fn operations(&self, limit: u32) -> Reply<Vec<Operation>>;
    /// Works on an operation, or watches it when another process does, until it ends.
    fn follow(&self, operation: &str, watch: &dyn Watch) -> Reply<Outcome>;
    /// Asks an operation to stop and to undo what it made.
    fn cancel(&self, operation: &str) -> Reply<()>;
}

/// Someone who watches an operation.
pub trait Watch: Sync {
    /// A phase of the operation ended, or a guest of it changed.
    fn event(&self, event: &Event);
    /// How far a long phase is. May be called often.
    fn progress(&self, progress: &Progress);
    /// Whether the operation should stop now and be undone.
    fn is_cancelled(&self) -> bool;
}
