//! Instant clones: guests that go on from a version's memory image instead of booting.
//!
//! ```text
//! asked ─→ refused: the version has no memory image, or an option that a running guest can't have
//!       ├→ fork:    it goes on from the image, and is itself before anybody can reach it
//!       └→ boot:    the image is of no use here; recorded with the reason, unless only a fork will do
//! ```
//! This is the part of the plan that is about them; how a fork becomes itself is the engine's.

use crate::network::Mac;
use crate::personalisation::{Personalisation, User};
use crate::plan::{CloneSpec, PlanRefusal, VersionFacts};
use crate::size::ByteSize;
use serde::{Deserialize, Serialize};

/// How much an instant clone is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Instant {
    /// Where the memory image is of no use, a linked clone that boots will do.
    Prefer,
    /// An instant clone or nothing.
    Only,
}

/// What is known of a version's memory image, on this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum MemoryFacts {
    /// There is none.
    #[default]
    Missing,
    /// There is one, and guests can't be started from it here, for this reason.
    Unfit(String),
    /// Guests can be started from it.
    Fits(Origin),
}

/// What a fork goes on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The name of the memory image's directory, beside the version's image.
    pub memory: String,
    /// The MACs that the frozen guest knows its interfaces by, in their order.
    pub macs: Vec<Mac>,
}

/// A guest that goes on from a memory image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// What it goes on from.
    pub origin: Origin,
    /// Whether it has an identity of its own. Until then nothing may plug it in, and it is thrown
    /// away when whoever works on it dies. From then on its machine boots.
    pub identified: bool,
    /// Whether nobody waits until it has its addresses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_wait: bool,
}

/// How a guest begins that was asked for as an instant clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Beginning {
    pub fork: Option<Fork>,
    /// Why it boots nevertheless.
    pub fallback: Option<String>,
}

/// The host's memory as the worst case has it, in bytes that guests may come to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostMemory {
    /// All that the host has.
    pub total: ByteSize,
    /// What the guests that run may come to use, all of their memory.
    pub promised: ByteSize,
}

/// How large emulation's buffer for translated code may grow in a guest that boots; drivers give it
/// no more. Smaller ones make the boot longer (docs/bench/instant-profile.md).
pub const TRANSLATIONS: ByteSize = ByteSize::mib(128);

/// The same in a guest that goes on from a memory image: there are to be many of them, and they
/// execute little until they are used. Less makes the proof slower.
pub const FORK_TRANSLATIONS: ByteSize = ByteSize::mib(20);

/// What a guest's process takes besides the guest's memory at most: emulation's buffer for
/// translated code, and up to 40 MiB of its own.
pub const OVERHEAD: ByteSize = ByteSize::mib((TRANSLATIONS.bytes() >> 20) + 40);

/// What a guest with so much memory may come to use.
pub fn worst_case(memory: ByteSize) -> ByteSize {
    ByteSize(memory.bytes().saturating_add(OVERHEAD.bytes()))
}

/// How the guests of a request begin, or the rule that forbids it.
pub(crate) fn beginning(
    spec: &CloneSpec,
    version: &VersionFacts,
) -> Result<Beginning, PlanRefusal> {
    let Some(wanted) = spec.instant else {
        return Ok(Beginning::default());
    };
    if let Some(option) = unknown_to_forks(spec, version) {
        return Err(PlanRefusal::NotInstant {
            option: option.0,
            why: option.1,
        });
    }
    match (&version.memory, wanted) {
        (MemoryFacts::Missing, _) => Err(PlanRefusal::NotFrozen(version.label.clone())),
        (MemoryFacts::Unfit(why), Instant::Only) => Err(PlanRefusal::MemoryUnfit {
            label: version.label.clone(),
            why: why.clone(),
        }),
        (MemoryFacts::Unfit(why), Instant::Prefer) => Ok(Beginning {
            fork: None,
            fallback: Some(why.clone()),
        }),
        (MemoryFacts::Fits(origin), _) => Ok(Beginning {
            fork: Some(Fork {
                origin: origin.clone(),
                identified: false,
                no_wait: spec.no_wait,
            }),
            fallback: None,
        }),
    }
}

/// Refuses guests whose memory the host could come to lack: those that share pages today need not
/// tomorrow.
pub(crate) fn admit(host: HostMemory, memory: ByteSize, count: u32) -> Result<(), PlanRefusal> {
    let asked = worst_case(memory).bytes().saturating_mul(u64::from(count));
    if host.promised.bytes().saturating_add(asked) <= host.total.bytes() {
        return Ok(());
    }
    Err(PlanRefusal::NoMemory {
        asked: ByteSize(asked),
        promised: host.promised,
        total: host.total,
    })
}

const FROZEN: &str = "it was chosen when the version was frozen";
const FROM_TEMPLATE: &str = "a guest that runs has what its template has, but for the ssh keys of \
                             its users; build it into the template, or write it from a hook in \
                             /etc/stampo/fork.d";

/// The first option that a guest which runs already can't be given, and why.
fn unknown_to_forks(
    spec: &CloneSpec,
    version: &VersionFacts,
) -> Option<(&'static str, &'static str)> {
    let hardware = &version.hardware;
    let refusals = [
        (
            spec.kind.is_some() || spec.goal.is_some(),
            "--full, --linked or --goal",
            "an instant clone is a kind of its own",
        ),
        (
            spec.cpus.is_some_and(|cpus| cpus != hardware.cpus),
            "--cpus",
            FROZEN,
        ),
        (
            spec.memory.is_some_and(|memory| memory != hardware.memory),
            "--memory",
            FROZEN,
        ),
        (
            spec.disk_size
                .is_some_and(|size| size != version.virtual_size),
            "--disk-size",
            "its disk is in use; stop the clone and use: stampo resize",
        ),
        (!spec.extra_disks.is_empty(), "--add-disk", FROZEN),
        (
            spec.bridge.is_some() && hardware.nics.is_empty(),
            "--bridge",
            "the version has no network interface",
        ),
        (
            spec.start == Some(false),
            "--no-start",
            "an instant clone is a guest that runs",
        ),
        (
            spec.no_personalisation,
            "--no-personalisation",
            "without an identity of its own it would be another's double",
        ),
    ];
    let found = refusals.into_iter().find(|(refused, ..)| *refused);
    found
        .map(|(_, option, why)| (option, why))
        .or_else(|| Some((not_told(&spec.personalisation)?, FROM_TEMPLATE)))
}

/// One of the template's users, and the keys that may log in as that user from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// Public keys, each once; they replace the template's.
    pub keys: Vec<String>,
}

/// Who may log in to a fork: root with the keys that are for everybody, each named user with these
/// and their own, as in a guest that boots. Whoever has none keeps the template's.
pub fn logins(asked: &Personalisation) -> Vec<Login> {
    let for_all = &asked.ssh_authorized_keys;
    let login = |user: &str, own: &[String]| {
        let mut keys: Vec<String> = Vec::new();
        for key in for_all.iter().chain(own) {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        let user = user.to_owned();
        Login { user, keys }
    };
    let users = asked.users.iter();
    std::iter::once(login("root", &[]))
        .chain(users.map(|user| login(&user.name, &user.ssh_authorized_keys)))
        .filter(|login| !login.keys.is_empty())
        .collect()
}

/// The first part of a personalisation that the guest agent is not told.
fn not_told(asked: &Personalisation) -> Option<&'static str> {
    let has_more = |user: &User| {
        let named = User {
            name: user.name.clone(),
            ssh_authorized_keys: user.ssh_authorized_keys.clone(),
            ..User::default()
        };
        *user != named
    };
    let has_no_key =
        |user: &User| asked.ssh_authorized_keys.is_empty() && user.ssh_authorized_keys.is_empty();
    let parts = [
        (
            asked.users.iter().any(has_more),
            "a --user with sudo, groups, a password, a shell or a number",
        ),
        (
            asked.users.iter().any(has_no_key),
            "a --user who has no --ssh-key",
        ),
        (asked.root_password_hash.is_some(), "a root password"),
        (asked.time_zone.is_some(), "--time-zone"),
        (!asked.files.is_empty(), "--file"),
        (asked.first_boot_script.is_some(), "--first-boot-script"),
        (asked.user_data.is_some(), "--user-data"),
    ];
    parts
        .into_iter()
        .find(|(given, _)| *given)
        .map(|(_, name)| name)
}

#[cfg(test)]
#[path = "instant_tests.rs"]
mod tests;
