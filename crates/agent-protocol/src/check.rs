//! What a message may hold, checked by whoever writes it and by whoever reads it.
//!
//! Types limit lists and the form of MACs, addresses and hashes; this limits texts. Nothing that
//! passes can break out of the file, the command or the terminal that it ends up in.

use crate::exec::{CHUNK_BYTES, ExecOutput, ExecStart, LONGEST_POLL_MS};
use crate::report::{
    Done, Evidence, ForkReport, Hello, HookOutcome, HostKey, Interface, Outcome, Response,
    WakeReport,
};
use crate::request::{
    Addressing, ForkRequest, GivenKey, Login, Network, Nic, Request, SshKeys, WakeRequest,
};
use crate::values::{Cidr, Mac, Secret};
use std::fmt;

/// A value that may not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid {
    /// What it is.
    pub what: &'static str,
    /// What is wrong with it; the value itself is not shown.
    pub why: &'static str,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in a message: {}", self.what, self.why)
    }
}

impl std::error::Error for Invalid {}

type Checked = Result<(), Invalid>;

fn require(good: bool, what: &'static str, why: &'static str) -> Checked {
    if good {
        Ok(())
    } else {
        Err(Invalid { what, why })
    }
}

/// The longest time that a request may let the agent wait: an hour.
const LONGEST_MS: u32 = 3_600_000;
/// Texts that explain: reasons, and what a hook wrote.
const DETAIL_BYTES: usize = 512;
/// A public key of 16,384 bits of RSA with a long comment.
const LOGIN_BYTES: usize = 4096;
/// Linux's PATH_MAX, with its zero.
const PATH_BYTES: usize = 4095;
/// Linux's NAME_MAX.
const NAME_BYTES: usize = 255;

pub(crate) fn check_request(request: &Request) -> Checked {
    match request {
        Request::Fork(fork) => fork.validate(),
        Request::Wake(wake) => wake.validate(),
        Request::Connect(connect) => require(
            connect.wait_ms <= LONGEST_MS,
            "a time to wait",
            "over an hour",
        ),
        Request::ExecStart(start) => start.validate(),
        Request::ExecPoll(poll) => require(
            poll.wait_ms <= LONGEST_POLL_MS,
            "a time to wait",
            "over a second",
        ),
        Request::ExecSignal(signal) => {
            require((1..=64).contains(&signal.signal), "a signal", "not one")
        }
        Request::Hello
        | Request::Identify { .. }
        | Request::Prepare
        | Request::Timings
        | Request::Shutdown { .. } => Ok(()),
    }
}

pub(crate) fn check_response(response: &Response) -> Checked {
    match response {
        Response::Hello(hello) => hello.validate(),
        Response::Identity(evidence) => evidence.validate(),
        Response::Forked(report) => report.validate(),
        Response::Woken(report) => report.validate(),
        Response::Connected(connected) => each(&connected.interfaces, Interface::validate),
        Response::Refused(refusal) => text(&refusal.why, DETAIL_BYTES, "a reason"),
        Response::ExecOutput(output) => output.validate(),
        Response::Timings(_)
        | Response::Prepared
        | Response::ShuttingDown
        | Response::Started { .. }
        | Response::Signalled => Ok(()),
    }
}

fn each<T>(list: &[T], check: impl Fn(&T) -> Checked) -> Checked {
    list.iter().try_for_each(check)
}

impl ForkRequest {
    /// Whether an agent may act on it.
    ///
    /// # Errors
    /// Names the first value that may not be.
    pub fn validate(&self) -> Checked {
        seed(&self.seed)?;
        clock(self.clock_unix_ns)?;
        hostname(&self.identity.hostname)?;
        machine_id(&self.identity.machine_id)?;
        require(
            self.hook_limit_ms <= LONGEST_MS,
            "the hooks' time",
            "over an hour",
        )?;
        each(&self.nics, Nic::validate)?;
        unique(self.nics.iter().map(|nic| nic.old_mac), "an old MAC")?;
        unique(self.nics.iter().map(|nic| nic.new_mac), "a new MAC")?;
        each(&self.logins, Login::validate)?;
        unique(self.logins.iter().map(|login| &login.user), "a user")?;
        match &self.ssh_keys {
            SshKeys::Keep => Ok(()),
            SshKeys::Make(kinds) => unique(kinds.iter().copied(), "a kind of host key"),
            SshKeys::Given(keys) => {
                each(keys, GivenKey::validate)?;
                unique(keys.iter().map(|key| key.kind), "a kind of host key")
            }
        }
    }
}

impl WakeRequest {
    /// Whether an agent may act on it.
    ///
    /// # Errors
    /// Names the first value that may not be.
    pub fn validate(&self) -> Checked {
        seed(&self.seed)?;
        clock(self.clock_unix_ns)
    }
}

fn seed(seed: &Secret) -> Checked {
    let length = seed.expose().len();
    require(
        (64..=512).contains(&length),
        "the seed",
        "not 64 to 512 bytes",
    )
}

/// From the year 2020 on: an earlier clock is a mistake. The kernel takes signed 64-bit times.
fn clock(unix_ns: u64) -> Checked {
    let clock = 1_577_836_800_000_000_000..=i64::MAX as u64;
    require(
        clock.contains(&unix_ns),
        "the clock",
        "before 2020 or after 2262",
    )
}

fn unique<T: PartialEq>(list: impl Iterator<Item = T>, what: &'static str) -> Checked {
    let mut seen = Vec::new();
    for entry in list {
        require(!seen.contains(&entry), what, "there twice")?;
        seen.push(entry);
    }
    Ok(())
}

impl Nic {
    fn validate(&self) -> Checked {
        let unicast = |mac: Mac| require(mac.is_unicast(), "a MAC", "not that of one machine");
        unicast(self.old_mac)?;
        unicast(self.new_mac)?;
        match &self.addressing {
            Addressing::Dhcp => Ok(()),
            Addressing::Static(network) => network.validate(),
        }
    }
}

impl Network {
    fn validate(&self) -> Checked {
        require(
            !self.addresses.is_empty(),
            "a fixed network",
            "without an address",
        )?;
        each(&self.addresses, |cidr: &Cidr| {
            let bad = cidr.address.is_unspecified() || cidr.address.is_multicast();
            require(
                !bad && cidr.prefix > 0,
                "an address",
                "not that of one machine",
            )
        })?;
        unique(
            self.gateways.iter().map(|ip| ip.is_ipv4()),
            "a family's gateway",
        )
    }
}

impl GivenKey {
    /// The form alone; whether it is a key of its kind is found out when it is written.
    fn validate(&self) -> Checked {
        let pem = self.private.expose();
        let framed = pem.starts_with(b"-----BEGIN OPENSSH PRIVATE KEY-----\n")
            && pem.ends_with(b"-----END OPENSSH PRIVATE KEY-----\n");
        let plain = pem
            .iter()
            .all(|byte| byte.is_ascii_graphic() || matches!(byte, b'\n' | b' '));
        require(
            framed && plain && pem.len() <= 4096,
            "a host key",
            "not a private key in OpenSSH's form",
        )
    }
}

impl ExecStart {
    /// Whether an agent may act on it.
    ///
    /// # Errors
    /// Names the first value that may not be.
    pub fn validate(&self) -> Checked {
        let whole = |text: &str, what| require(!text.contains('\0'), what, "with a zero in it");
        let program = self.argv.first().is_some_and(|program| !program.is_empty());
        require(program, "a command", "without a program")?;
        each(&self.argv, |word: &String| whole(word, "a command"))?;
        each(&self.env, |setting: &String| {
            let named = setting
                .split_once('=')
                .is_some_and(|(name, _)| !name.is_empty());
            require(named, "a variable", "not NAME=value")?;
            whole(setting, "a variable")
        })?;
        if let Some(cwd) = &self.cwd {
            let path = cwd.starts_with('/') && cwd.len() <= PATH_BYTES;
            require(path, "a directory", "not an absolute path")?;
            whole(cwd, "a directory")?;
        }
        let longest = u64::from(LONGEST_MS) * 24 * 30;
        let limit = self.limit_ms.unwrap_or(1);
        require(
            (1..=longest).contains(&limit),
            "a command's time",
            "none, or over 30 days",
        )?;
        self.user.as_deref().map_or(Ok(()), user)
    }
}

impl ExecOutput {
    /// Whether a host may use it.
    ///
    /// # Errors
    /// Names the first value that may not be.
    pub fn validate(&self) -> Checked {
        let exit = self.exit.unwrap_or(0);
        require((0..=255).contains(&exit), "an exit code", "not 0 to 255")?;
        let kept = usize::try_from(self.stdin_kept).is_ok_and(|kept| kept <= CHUNK_BYTES);
        require(kept, "what is kept", "more than was given")
    }
}

/// As login.defs(5) allows them on Debian, and nothing that is a path or a column.
fn user(name: &str) -> Checked {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let good = (1..=32).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(plain);
    require(good, "a user", "not a name")
}

impl Login {
    fn validate(&self) -> Checked {
        user(&self.user)?;
        require(!self.keys.is_empty(), "a login", "without a key")?;
        each(&self.keys, |key: &String| {
            let kind = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
            let good = kind.iter().any(|kind| key.starts_with(kind)) && key.contains(' ');
            require(good, "a key that may log in", "not a public key")?;
            let line = key.chars().all(|c| !c.is_control());
            require(
                line && key.len() <= LOGIN_BYTES,
                "a key that may log in",
                "not one short line",
            )
        })
    }
}

impl ForkReport {
    /// Whether a host may use it.
    ///
    /// # Errors
    /// Names the first value that may not be.
    pub fn validate(&self) -> Checked {
        items(&self.items)?;
        each(&self.hooks, HookOutcome::validate)?;
        self.evidence.validate()
    }
}

impl WakeReport {
    /// Whether a host may use it.
    ///
    /// # Errors
    /// Names the first value that may not be.
    pub fn validate(&self) -> Checked {
        items(&self.items)?;
        self.evidence.validate()
    }
}

fn items(items: &[Done]) -> Checked {
    each(items, |done| match &done.outcome {
        Outcome::Done => Ok(()),
        Outcome::NotNeeded { why } | Outcome::Failed { why } => text(why, DETAIL_BYTES, "a reason"),
    })?;
    unique(items.iter().map(|done| done.item), "an item")
}

impl HookOutcome {
    fn validate(&self) -> Checked {
        text(&self.name, NAME_BYTES, "a hook's name")?;
        text(&self.detail, DETAIL_BYTES, "a hook's output")
    }
}

impl Hello {
    fn validate(&self) -> Checked {
        text(&self.agent, 64, "the agent's version")?;
        text(&self.kernel, 128, "the kernel's release")
    }
}

impl Evidence {
    /// Whether a host may use it.
    ///
    /// # Errors
    /// Names the first value that may not be.
    pub fn validate(&self) -> Checked {
        uuid(&self.uuid, "a uuid")?;
        uuid(&self.boot_id, "the boot id")?;
        machine_id(&self.machine_id)?;
        hostname(&self.hostname)?;
        text(&self.kernel, 128, "the kernel's release")?;
        each(&self.interfaces, Interface::validate)?;
        each(&self.host_keys, HostKey::validate)
    }
}

impl Interface {
    fn validate(&self) -> Checked {
        // Linux's IFNAMSIZ with its zero.
        let name = (1..16).contains(&self.name.len())
            && self.name.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
        require(name, "an interface", "not a name")
    }
}

impl HostKey {
    fn validate(&self) -> Checked {
        let base64 = |t: &str| {
            t.bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))
        };
        let public = self
            .public
            .strip_prefix(self.kind.algorithm())
            .and_then(|rest| rest.strip_prefix(' '));
        require(
            public.is_some_and(|key| (40..512).contains(&key.len()) && base64(key)),
            "a host key",
            "not a public key of its kind",
        )?;
        let print = self.fingerprint.strip_prefix("SHA256:");
        require(
            print.is_some_and(|print| print.len() == 43 && base64(print)),
            "a fingerprint",
            "not a SHA-256 as ssh shows it",
        )
    }
}

/// RFC 1123, section 2.1, within what Linux takes (HOST_NAME_MAX for the first label).
fn hostname(name: &str) -> Checked {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    require(
        name.len() <= 253 && name.split('.').all(label),
        "the host name",
        "not letters, digits and '-' with '.' between labels",
    )
}

/// machine-id(5).
fn machine_id(id: &str) -> Checked {
    let good = id.len() == 32
        && id
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        && id.bytes().any(|b| b != b'0');
    require(good, "the machine-id", "not 32 lower-case hex digits")
}

/// RFC 9562, section 4, in lower case.
fn uuid(id: &str, what: &'static str) -> Checked {
    let good = id.len() == 36
        && id.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
        });
    require(good, what, "not a UUID in lower case")
}

/// Anything that a terminal shows as one line and does not obey.
fn text(text: &str, most: usize, what: &'static str) -> Checked {
    require(text.len() <= most, what, "too long")?;
    require(text.chars().all(is_shown), what, "not printable")
}

/// Also what changes the direction of writing, or has no width, is not shown.
fn is_shown(c: char) -> bool {
    let mark = |c: char| matches!(c, '…' | '’' | '‘' | '“' | '”' | '–' | '·' | '\u{FFFD}');
    c.is_ascii_graphic() || c == ' ' || (c.is_alphanumeric() && !c.is_ascii()) || mark(c)
}

/// `text` as a reason that passes the checks of this module: whatever is not printable becomes
/// U+FFFD, and what is too long is cut.
pub fn printable(text: &str) -> String {
    let mut shown = String::new();
    for c in text.trim().chars() {
        let c = if is_shown(c) { c } else { '\u{FFFD}' };
        if shown.len() + c.len_utf8() > DETAIL_BYTES {
            break;
        }
        shown.push(c);
    }
    shown
}
