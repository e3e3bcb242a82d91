//! What the agent answers. All of it is a claim of the guest, which may be hostile: the host
//! compares it with what it asked for and with what it sees itself, and shows none of its texts
//! without having checked them (`check.rs`).

use crate::exec::ExecOutput;
use crate::request::KeyKind;
use crate::values::{Cidr, Few, Hex32, Mac};
use serde::{Deserialize, Serialize};

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To [`crate::Request::Hello`].
    Hello(Hello),
    /// To [`crate::Request::Identify`].
    Identity(Box<Evidence>),
    /// To [`crate::Request::Prepare`].
    Prepared,
    /// To [`crate::Request::Fork`].
    Forked(Box<ForkReport>),
    /// To [`crate::Request::Wake`].
    Woken(Box<WakeReport>),
    /// To [`crate::Request::Connect`].
    Connected(Connected),
    /// To [`crate::Request::Timings`].
    Timings(Timings),
    /// To [`crate::Request::ExecStart`].
    Started {
        /// What it is asked about by.
        session: u64,
    },
    /// To [`crate::Request::ExecPoll`].
    ExecOutput(ExecOutput),
    /// To [`crate::Request::ExecSignal`]; it may have ended already.
    Signalled,
    /// To [`crate::Request::Shutdown`], sent before it begins.
    ShuttingDown,
    /// Nothing was done.
    Refused(Refusal),
}

/// Why the agent did nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What was wrong with the request.
    pub why: String,
    /// The version that the agent speaks.
    pub version: u16,
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the program.
    pub agent: String,
    /// The version of the protocol.
    pub version: u16,
    /// The kernel's release.
    pub kernel: String,
    /// Whether the kernel has found a generation id of the virtual machine and reseeds by itself.
    pub has_vmgenid: bool,
    /// Since the kernel started, in milliseconds.
    pub uptime_ms: u64,
}

/// What the agent does to become another machine.
///
/// Randomness comes before everything that is made of it. Older agents told programs in the fork, and
/// say so; later ones do that when the link is up, and a refused [`crate::Request::Connect`] says that
/// one could not be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// The kernel's generator is reseeded (RNDADDENTROPY and RNDRESEEDCRNG, random(4)), and what
    /// the template kept for the next boot is replaced.
    Randomness,
    /// The wall clock is set.
    Clock,
    /// The interfaces get their MACs, also where the template's configuration names the old ones.
    Mac,
    /// The addresses of the template are gone, fixed ones are set.
    Addresses,
    /// The machine-id, also as D-Bus sees it.
    MachineId,
    /// The host name in the kernel and in /etc.
    Hostname,
    /// The names of iSCSI and NVMe initiators, which storage tells machines apart by.
    StorageIds,
    /// A boot id of its own, until the next start gives a real one.
    BootId,
    /// The ssh host keys.
    SshKeys,
    /// The keys that may log in.
    Logins,
    /// The ssh server reads its new keys.
    SshServer,
    /// The journal goes on under the new machine-id.
    Journal,
    /// The resolver forgets what it knows.
    Resolver,
    /// No program speaks with the template's lease, client id or host keys: it was stopped until the
    /// link is up, or ended, and what DHCP clients had stored is gone.
    DhcpClient,
    /// The system log knows the new host name.
    SystemLog,
    /// The hooks of the template's author.
    Hooks,
    /// What was written is on the disk: a machine that loses power keeps its identity.
    Durable,
    /// An item of a later version.
    #[serde(other)]
    Unknown,
}

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is done and was looked at afterwards where that is possible.
    Done,
    /// There is nothing to do: the guest has no such thing, or it was not asked for.
    NotNeeded {
        /// Why.
        why: String,
    },
    /// It is not done.
    Failed {
        /// Why.
        why: String,
    },
}

/// One item with its cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Which.
    pub item: Item,
    /// What became of it.
    pub outcome: Outcome,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// What a fork did, and who the machine is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkReport {
    /// Each item that there was, once.
    pub items: Few<Done, 32>,
    /// The hooks that were run, in their order.
    pub hooks: Few<HookOutcome, 64>,
    /// From reading the request to here, in microseconds.
    pub took_us: u64,
    /// Read from the kernel and the disk after everything was done.
    pub evidence: Evidence,
}

/// What a machine did when it went on, and that it is still itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WakeReport {
    /// [`Item::Randomness`] and [`Item::Clock`].
    pub items: Few<Done, 8>,
    /// From reading the request to here, in microseconds.
    pub took_us: u64,
    /// Read after everything was done.
    pub evidence: Evidence,
}

/// How a hook ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookOutcome {
    /// Its file name.
    pub name: String,
    /// Its exit code; nothing when a signal or the time limit ended it, or it could not start.
    pub code: Option<i32>,
    /// Why there is no exit code, or the last line that it wrote to standard error.
    pub detail: String,
    /// How long it ran, in microseconds.
    pub took_us: u64,
}

/// Who a machine says that it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The nonce of the request.
    pub nonce: Hex32,
    /// SHA-256 over `stampo randomness 1` and 32 bytes that the kernel's generator gave just now.
    ///
    /// The nonce is not hashed in: two machines whose generators are in the same state must give
    /// the same hash, whatever each was asked, or comparing them would prove nothing.
    pub randomness: Hex32,
    /// A fresh `/proc/sys/kernel/random/uuid`.
    pub uuid: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// What the kernel says.
    pub hostname: String,
    /// `/proc/sys/kernel/random/boot_id` as programs see it.
    pub boot_id: String,
    /// The interfaces but for the loopback.
    pub interfaces: Few<Interface, 32>,
    /// The public host keys in `/etc/ssh`.
    pub host_keys: Few<HostKey, 8>,
    /// The kernel's release.
    pub kernel: String,
    /// Whether the kernel has found a generation id of the virtual machine.
    pub has_vmgenid: bool,
    /// The guest's wall clock, in nanoseconds since 1970-01-01 UTC.
    pub clock_unix_ns: u64,
    /// Since the kernel started, in milliseconds.
    pub uptime_ms: u64,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name in the guest.
    pub name: String,
    /// Its MAC.
    pub mac: Mac,
    /// Whether it has a carrier.
    pub link_up: bool,
    /// Its addresses, without link-local ones.
    pub addresses: Few<Cidr, 32>,
}

/// The public half of a host key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKey {
    /// Its kind.
    pub kind: KeyKind,
    /// In OpenSSH's form without a comment: `ssh-ed25519 AAAA…`.
    pub public: String,
    /// `SHA256:…`, as ssh shows it.
    pub fingerprint: String,
}

/// The network after the link came up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    /// Whether every interface that is up has an address.
    pub complete: bool,
    /// The interfaces but for the loopback.
    pub interfaces: Few<Interface, 32>,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// How far the system has started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// Since the kernel started, in milliseconds.
    pub uptime_ms: u64,
    /// As `systemctl is-system-running` says it.
    pub system: SystemState,
    /// Jobs that systemd has not finished. With a [`SystemState`] that is settled and none of
    /// these, the system has settled.
    pub jobs: Option<u32>,
    /// Units that failed.
    pub failed_units: Option<u32>,
    /// When the initial RAM disk's first program began, on the clock of `uptime_ms`; nothing where
    /// there was none or nobody knows.
    #[serde(default)]
    pub initrd_ms: Option<u64>,
    /// When user space began, on the same clock.
    pub userspace_ms: Option<u64>,
    /// When the agent began, on the same clock; nothing where another agent was asked.
    #[serde(default)]
    pub agent_ms: Option<u64>,
    /// When systemd had finished starting, on the same clock.
    pub finished_ms: Option<u64>,
}

/// The state of the whole system, as systemctl(1) names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SystemState {
    /// Early boot.
    Initializing,
    /// Late boot.
    Starting,
    /// Everything is up.
    Running,
    /// Everything that will come up is up; some units failed.
    Degraded,
    /// The rescue shell.
    Maintenance,
    /// Going down.
    Stopping,
    /// It can't be asked.
    #[serde(other)]
    Unknown,
}

impl SystemState {
    /// The state that systemctl(1) calls so.
    pub fn named(word: &str) -> Self {
        match word {
            "initializing" => SystemState::Initializing,
            "starting" => SystemState::Starting,
            "running" => SystemState::Running,
            "degraded" => SystemState::Degraded,
            "maintenance" => SystemState::Maintenance,
            "stopping" => SystemState::Stopping,
            _ => SystemState::Unknown,
        }
    }

    /// What systemctl(1) calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            SystemState::Initializing => "initializing",
            SystemState::Starting => "starting",
            SystemState::Running => "running",
            SystemState::Degraded => "degraded",
            SystemState::Maintenance => "maintenance",
            SystemState::Stopping => "stopping",
            SystemState::Unknown => "unknown",
        }
    }
}

impl Timings {
    /// Whether nothing more will start by itself.
    pub fn is_settled(&self) -> bool {
        matches!(self.system, SystemState::Running | SystemState::Degraded) && self.jobs == Some(0)
    }
}
