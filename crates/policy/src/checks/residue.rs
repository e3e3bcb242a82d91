//! Traces of the machine that the template was, and of its people.

use super::{number, row};
use crate::check::Severity::{High, Low, Medium};
use crate::check::Test::{Ask, Proof};
use crate::check::{Check, When};
use crate::inquiry::{Answer, Found, Inquiry};

const ALWAYS: When = When::Always;
const MEDIA: &[&str] = &["NIST MP-6"];
const KIB: u64 = 1024;

pub(super) const CHECKS: &[Check] = &[
    row(
        "residue.histories",
        "there are no histories of shells and programs",
        Medium,
        ALWAYS,
        Proof(&["history."]),
    )
    .why("commands hold passwords, and tell how the machine was made")
    .maps(MEDIA),
    row(
        "residue.logs",
        "logs are nearly empty",
        Low,
        ALWAYS,
        Ask(logs),
    )
    .why("logs name people, addresses and hosts, and each clone carries them")
    .maps(&["NIST AU-9", "NIST MP-6"])
    .reads(&["/var/log"])
    .with(&[number("kibibytes", 1024)]),
    row(
        "residue.journal",
        "there are no journal files",
        Low,
        ALWAYS,
        Proof(&["log.journal"]),
    )
    .why("a clone's journal begins with the past of another machine")
    .maps(&["NIST AU-9"]),
    row(
        "residue.records",
        "there are no records of installers, logins and audits",
        Low,
        ALWAYS,
        Proof(&[
            "log.installer",
            "log.logins",
            "log.audit",
            "log.cloud-init",
            "log.containers",
        ]),
    )
    .why("who logged in on another machine is nobody's business on this one")
    .maps(&["NIST AU-9", "NIST MP-6"]),
    row(
        "residue.temporary",
        "temporary directories are empty",
        Low,
        ALWAYS,
        Ask(temporary),
    )
    .why("what was left there was not meant to be given away")
    .maps(MEDIA)
    .reads(&["/tmp", "/var/tmp"]),
    row(
        "residue.spools",
        "there is no mail, no job and no backup of anybody",
        Medium,
        ALWAYS,
        Proof(&["spool."]),
    )
    .why("each clone sends the mail and runs the jobs once more")
    .maps(MEDIA),
    row(
        "residue.caches",
        "there are no caches of users",
        Low,
        ALWAYS,
        Proof(&["cache.user", "cache.other"]),
    )
    .why("caches of people's programs hold what those people did")
    .maps(MEDIA),
    row(
        "residue.package-cache",
        "there are no downloaded packages",
        Low,
        ALWAYS,
        Ask(package_cache),
    )
    .why("they make every copy of the template larger and are of no use in a clone")
    .mend("guest# apt-get clean")
    .maps(&["NIST CM-2"])
    .reads(&["/var/cache"])
    .with(&[number("kibibytes", 1024)]),
    row(
        "residue.free-space",
        "free space is empty",
        High,
        When::Disk,
        Ask(free_space),
    )
    .why("what was removed is still in the free blocks, and anybody with a clone can read it")
    .maps(MEDIA)
    .reads(&["space"]),
];

fn logs(inquiry: &Inquiry<'_>) -> Answer {
    at_most(
        "/var/log",
        inquiry.evidence.entries.log_bytes,
        inquiry.number("kibibytes"),
    )
}

fn package_cache(inquiry: &Inquiry<'_>) -> Answer {
    let bytes = inquiry.evidence.entries.package_cache_bytes;
    at_most("/var/cache", bytes, inquiry.number("kibibytes"))
}

fn at_most(path: &str, bytes: u64, limit_kib: u64) -> Answer {
    if bytes <= limit_kib.saturating_mul(KIB) {
        return Answer::pass();
    }
    Answer::fail(
        path,
        format!("{} KiB, more than {limit_kib} KiB", bytes / KIB),
    )
}

/// What the proof finds are files; directories that are left over are found here.
fn temporary(inquiry: &Inquiry<'_>) -> Answer {
    let mut found = inquiry.proven(&["tmp.crash", "tmp.trash", "tmp.editors"]);
    let entries = &inquiry.evidence.entries.temporary;
    // A message that no path is listed for would be silence.
    let left = entries.iter().map(|path| {
        let accepted = inquiry.evidence.accepted_reason("tmp.files", path);
        Found {
            accepted,
            ..Found::fail(path, "it was left over")
        }
    });
    found.extend(left);
    Answer::Looked(found)
}

fn free_space(inquiry: &Inquiry<'_>) -> Answer {
    let Some(space) = &inquiry.evidence.space else {
        return Answer::Unknown("the space of the filesystem is not known".into());
    };
    match (space.left_over_bytes, &space.why_unknown) {
        (Some(0), _) => Answer::pass(),
        (Some(bytes), _) => {
            let what = format!("{} KiB of free blocks are not zero", bytes.div_ceil(KIB));
            Answer::fail("free space", what)
        }
        (None, why) => Answer::Unknown(why.clone().unwrap_or_else(|| "it was not read".into())),
    }
}
