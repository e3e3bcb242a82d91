//! What the host asks of the agent.
//!
//! Fields that a later host adds are ignored by an older agent, so that templates live longer than
//! versions; what an older agent must not miss needs a new [`crate::VERSION`].

use crate::exec::{ExecPoll, ExecSignal, ExecStart};
use crate::values::{Cidr, Few, Hex32, Mac, Secret};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One request. Each is answered by one [`crate::Response`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Who answers, and what it can do.
    Hello,
    /// Who this machine is now. Nothing is changed.
    Identify {
        /// Repeated in the answer.
        nonce: Hex32,
    },
    /// The machine is about to be frozen: do what every fork would have to do in the same way. What
    /// could speak on the network is stopped; the machine is of no other use afterwards.
    Prepare,
    /// Become another machine than the one that was frozen.
    Fork(Box<ForkRequest>),
    /// Go on after a pause, as the machine that this is already.
    Wake(WakeRequest),
    /// The link is up: let the network's programs begin, wait until there are addresses, and tell all
    /// other programs who the machine is. Refused when one could not be told.
    Connect(ConnectRequest),
    /// How far the system has started, and how long that took.
    Timings,
    /// Start a command.
    ExecStart(ExecStart),
    /// Give a command input, and ask what it did.
    ExecPoll(ExecPoll),
    /// Send a command a signal.
    ExecSignal(ExecSignal),
    /// End the machine.
    Shutdown {
        /// How.
        ending: Ending,
    },
}

/// How a machine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It is switched off.
    PowerOff,
    /// It starts again.
    Reboot,
}

/// Everything that makes a fork a machine of its own, in one message.
///
/// The agent does what it can: an item that fails is in the report and does not stop the others, so that the host can say what is missing before it
/// destroys the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkRequest {
    /// Wall clock when the request was sent, in nanoseconds since 1970-01-01 UTC.
    pub clock_unix_ns: u64,
    /// 64 to 512 bytes from the host's generator, never used twice.
    pub seed: Secret,
    /// Repeated in the evidence.
    pub nonce: Hex32,
    /// The names.
    pub identity: Identity,
    /// Each interface that changes. One that is not named keeps its MAC and loses its addresses.
    pub nics: Few<Nic, 16>,
    /// What becomes of the ssh host keys.
    pub ssh_keys: SshKeys,
    /// Who may log in over ssh, each user at most once. Whoever is not named keeps the template's
    /// keys.
    #[serde(default)]
    pub logins: Few<Login, 16>,
    /// Runs the programs in `/etc/stampo/fork.d`.
    pub run_hooks: bool,
    /// How long all hooks together may take, in milliseconds.
    pub hook_limit_ms: u32,
}

/// What a machine needs that was stopped for a while: it has its identity, and what it has missed
/// is the time. Its generator is reseeded too, so that nothing hangs on who saw its memory
/// meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WakeRequest {
    /// Wall clock when the request was sent, in nanoseconds since 1970-01-01 UTC.
    pub clock_unix_ns: u64,
    /// 64 to 512 bytes from the host's generator, never used twice.
    pub seed: Secret,
    /// Repeated in the evidence.
    pub nonce: Hex32,
}

/// The names of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The host name, with its domain or without.
    pub hostname: String,
    /// machine-id(5): 32 lower-case hex digits.
    pub machine_id: String,
}

/// A network interface, known by the MAC that it was frozen with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// The MAC that it has.
    pub old_mac: Mac,
    /// The MAC that it gets.
    pub new_mac: Mac,
    /// Where its addresses come from.
    pub addressing: Addressing,
}

/// Where an interface's addresses come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Addressing {
    /// The guest's DHCP client asks once the link is up.
    Dhcp,
    /// These.
    Static(Network),
}

/// A fixed network configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The interface's addresses.
    pub addresses: Few<Cidr, 16>,
    /// Where everything else goes, at most one of each family.
    pub gateways: Few<IpAddr, 2>,
    /// Name servers.
    pub dns: Few<IpAddr, 8>,
}

/// What becomes of the ssh host keys. Whatever is chosen, keys of other kinds are removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SshKeys {
    /// The agent makes one of each kind, after the kernel has been reseeded.
    Make(Few<KeyKind, 2>),
    /// The host has made them.
    Given(Few<GivenKey, 2>),
    /// The guest has no ssh server, or its keys are somebody else's affair.
    Keep,
}

/// A kind of host key. RSA is left out: making one takes seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// ssh-ed25519.
    Ed25519,
    /// ecdsa-sha2-nistp256.
    Ecdsa,
}

impl KeyKind {
    /// The name in `/etc/ssh/ssh_host_NAME_key`.
    pub fn file_name(self) -> &'static str {
        match self {
            KeyKind::Ed25519 => "ed25519",
            KeyKind::Ecdsa => "ecdsa",
        }
    }

    /// The name that a public key begins with.
    pub fn algorithm(self) -> &'static str {
        match self {
            KeyKind::Ed25519 => "ssh-ed25519",
            KeyKind::Ecdsa => "ecdsa-sha2-nistp256",
        }
    }
}

/// A host key that the host made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenKey {
    /// Its kind.
    pub kind: KeyKind,
    /// The private key file in OpenSSH form, not encrypted.
    pub private: Secret,
}

/// The keys that may log in as one user of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// A user that the guest has.
    pub user: String,
    /// Lines of `~/.ssh/authorized_keys` (sshd(8), "AUTHORIZED_KEYS FILE FORMAT"), at least one.
    /// They replace the file: the template's keys do not survive.
    pub keys: Few<String, 64>,
}

/// The link is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectRequest {
    /// How long to wait for an address on every interface that uses DHCP, in milliseconds. With 0
    /// the answer comes before anything is done.
    pub wait_ms: u32,
}
