//! The root filesystem as a whole.

use super::{number, row};
use crate::check::Severity::{High, Low};
use crate::check::Test::Ask;
use crate::check::{Check, When};
use crate::inquiry::{Answer, Found, Inquiry};
use stampo_guest::fs::Space;

pub(super) const CHECKS: &[Check] = &[
    row(
        "disk.free",
        "there is room on the root filesystem",
        Low,
        When::Disk,
        Ask(free),
    )
    .why("a full disk stops services and upgrades")
    .mend("stampo clone {version} NAME --disk SIZE")
    .maps(&["NIST CP-2"])
    .reads(&["space"])
    .with(&[number("percent", 15)]),
    row(
        "disk.clean",
        "the filesystem was left in order",
        High,
        When::Disk,
        Ask(clean),
    )
    .why("each clone begins with a repair, which may go wrong in its own way")
    .mend("guest# poweroff")
    .maps(&["NIST CM-2", "NIST SI-7"])
    .reads(&["space"]),
];

fn space<'a>(inquiry: &'a Inquiry<'_>) -> Result<&'a Space, Answer> {
    let why = "the space of the filesystem is not known";
    inquiry
        .evidence
        .space
        .as_ref()
        .ok_or_else(|| Answer::Unknown(why.into()))
}

fn free(inquiry: &Inquiry<'_>) -> Answer {
    let space = match space(inquiry) {
        Ok(space) => space,
        Err(answer) => return answer,
    };
    let percent = u128::from(space.free_bytes) * 100 / u128::from(space.size_bytes.max(1));
    let wanted = inquiry.number("percent");
    if percent >= u128::from(wanted) {
        return Answer::pass();
    }
    Answer::fail("/", format!("{percent} % is free, less than {wanted} %"))
}

fn clean(inquiry: &Inquiry<'_>) -> Answer {
    let space = match space(inquiry) {
        Ok(space) => space,
        Err(answer) => return answer,
    };
    let states = [
        (space.has_errors, "the kernel saw errors in it"),
        (
            space.needs_recovery,
            "its journal holds changes: it was not unmounted",
        ),
        (
            !space.is_clean && !space.needs_recovery,
            "it was not unmounted in order",
        ),
    ];
    let mut found: Vec<Found> = states
        .into_iter()
        .filter(|(is_so, _)| *is_so)
        .map(|(_, what)| Found::fail("/", what))
        .collect();
    if inquiry.evidence.files.force_check {
        found.push(Found::fail(
            "/forcefsck",
            "a check is asked for at the next start",
        ));
    }
    Answer::Looked(found)
}
