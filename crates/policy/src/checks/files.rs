//! Owners and rights of single files.

use super::{list, row};
use crate::check::Severity::{High, Low, Medium};
use crate::check::Test::Ask;
use crate::check::{Check, When};
use crate::inquiry::{Answer, Found, Inquiry};
use std::collections::HashSet;

const ALWAYS: When = When::Always;
const ACCESS: &[&str] = &["NIST AC-3", "NIST CM-6"];
const TREE: &[&str] = &["*"];
/// Programs that distributions bring with these rights, and that need them.
const USUAL: &[&str] = &[
    "/bin/*mount*",
    "/bin/ping*",
    "/bin/su",
    "/lib64/dbus-1/dbus-daemon-launch-helper",
    "/sbin/mount.nfs",
    "/sbin/unix_chkpwd",
    "/usr/bin/at",
    "/usr/bin/bsd-write",
    "/usr/bin/chage",
    "/usr/bin/chfn",
    "/usr/bin/chsh",
    "/usr/bin/crontab",
    "/usr/bin/dotlockfile",
    "/usr/bin/expiry",
    "/usr/bin/fusermount*",
    "/usr/bin/gpasswd",
    "/usr/bin/locate",
    "/usr/bin/mount",
    "/usr/bin/newgidmap",
    "/usr/bin/newgrp",
    "/usr/bin/newuidmap",
    "/usr/bin/ntfs-3g",
    "/usr/bin/passwd",
    "/usr/bin/ping*",
    "/usr/bin/pkexec",
    "/usr/bin/plocate",
    "/usr/bin/ssh-agent",
    "/usr/bin/staprun",
    "/usr/bin/su",
    "/usr/bin/sudo",
    "/usr/bin/umount",
    "/usr/bin/wall",
    "/usr/bin/write*",
    "/usr/lib*/dbus-1.0/dbus-daemon-launch-helper",
    "/usr/lib*/polkit-1/polkit-agent-helper-1",
    "/usr/lib*/utempter/utempter",
    "/usr/lib/openssh/ssh-keysign",
    "/usr/lib/snapd/snap-confine",
    "/usr/libexec/dbus-1/dbus-daemon-launch-helper",
    "/usr/libexec/openssh/ssh-keysign",
    "/usr/libexec/polkit-agent-helper-1",
    "/usr/libexec/utempter/utempter",
    "/usr/sbin/exim4",
    "/usr/sbin/grub2-set-bootflag",
    "/usr/sbin/mount.nfs",
    "/usr/sbin/pam_extrausers_chkpwd",
    "/usr/sbin/pam_timestamp_check",
    "/usr/sbin/postdrop",
    "/usr/sbin/postqueue",
    "/usr/sbin/unix_chkpwd",
];

pub(super) const CHECKS: &[Check] = &[
    row(
        "files.setuid",
        "only known programs run as their owner or group",
        High,
        ALWAYS,
        Ask(setuid),
    )
    .why("each such program is a way to become root if it has a flaw")
    .mend("guest# chmod u-s,g-s FILE")
    .maps(&["NIST AC-6", "NIST CM-7"])
    .reads(TREE)
    .with(&[list("allow", USUAL)]),
    row(
        "files.world-writable",
        "no file can be changed by everybody",
        High,
        ALWAYS,
        Ask(world_writable),
    )
    .why("any account can put something there that another one reads or runs")
    .mend("guest# chmod o-w FILE")
    .maps(ACCESS)
    .reads(TREE)
    .with(&[list("allow", &[])]),
    row(
        "files.unowned",
        "every file has an owner that exists",
        Medium,
        ALWAYS,
        Ask(unowned),
    )
    .why("the next account that is made gets the number, and with it the files")
    .mend("guest# chown root:root FILE")
    .maps(ACCESS)
    .reads(&["*", "/etc/passwd", "/etc/group"]),
    row(
        "files.special",
        "devices, FIFOs and sockets are where they belong",
        Medium,
        ALWAYS,
        Ask(special),
    )
    .why("a device that lies elsewhere reaches the hardware past its rights")
    .mend("guest# rm FILE")
    .maps(ACCESS)
    .reads(TREE)
    .with(&[list("allow", &["/var/spool/postfix/*", "/var/lib/*/dev/*"])]),
    row(
        "files.cron",
        "only root changes what cron runs",
        High,
        ALWAYS,
        Ask(cron),
    )
    .why("whoever changes it runs programs as root")
    .mend("guest# chmod go-w FILE")
    .maps(&["NIST AC-6", "NIST CM-5"])
    .reads(&["/etc", "/var/spool/cron"]),
    row(
        "files.accounts",
        "only root changes accounts and what sudo allows",
        High,
        ALWAYS,
        Ask(accounts),
    )
    .why("whoever changes them is root")
    .mend("guest# chown root:root FILE && chmod go-w FILE")
    .maps(&["NIST AC-6", "NIST CM-5"])
    .reads(&["/etc"]),
    row(
        "files.root-home",
        "only root looks into root's home",
        Low,
        ALWAYS,
        Ask(root_home),
    )
    .why("what root leaves there is meant for root")
    .mend("guest# chmod 0700 /root")
    .maps(ACCESS)
    .reads(&["/root"]),
];

/// A finding for each path that the pack does not allow.
fn unless_allowed<'p>(
    inquiry: &Inquiry<'_>,
    paths: impl IntoIterator<Item = &'p String>,
    what: &str,
) -> Vec<Found> {
    let open = paths
        .into_iter()
        .filter(|path| !inquiry.is_listed("allow", path));
    open.map(|path| Found::fail(path, what)).collect()
}

fn setuid(inquiry: &Inquiry<'_>) -> Answer {
    let contents = &inquiry.evidence.inspection.contents;
    let mut found = unless_allowed(inquiry, &contents.setuid, "it runs as its owner");
    found.extend(unless_allowed(
        inquiry,
        &contents.setgid,
        "it runs as its group",
    ));
    Answer::Looked(found)
}

fn world_writable(inquiry: &Inquiry<'_>) -> Answer {
    let paths = &inquiry.evidence.inspection.contents.world_writable;
    Answer::Looked(unless_allowed(inquiry, paths, "everybody can change it"))
}

fn unowned(inquiry: &Inquiry<'_>) -> Answer {
    let inspection = &inquiry.evidence.inspection;
    if inspection.users.is_empty() {
        return Answer::NotApplicable("there are no accounts".into());
    }
    let users: HashSet<u32> = inspection.users.iter().map(|user| user.uid).collect();
    let groups: HashSet<u32> = inspection.groups.iter().map(|group| group.gid).collect();
    let mut found = Vec::new();
    for owner in &inquiry.evidence.entries.owners {
        let missing = match (users.contains(&owner.uid), groups.contains(&owner.gid)) {
            (true, true) => continue,
            (false, _) => format!("there is no account of number {}", owner.uid),
            (true, false) => format!("there is no group of number {}", owner.gid),
        };
        let more = match owner.count {
            1 => String::new(),
            count => format!("; {count} files have this owner"),
        };
        found.push(Found::fail(&owner.path, format!("{missing}{more}")));
    }
    Answer::Looked(found)
}

fn special(inquiry: &Inquiry<'_>) -> Answer {
    let paths = &inquiry.evidence.entries.special;
    Answer::Looked(unless_allowed(inquiry, paths, "it is no regular file"))
}

fn cron(inquiry: &Inquiry<'_>) -> Answer {
    let is_cron = |path: &str| path.starts_with("/etc/cron");
    // A user's own table belongs to that user.
    let mut found = changed_by_others(inquiry, is_cron, true);
    found.extend(changed_by_others(
        inquiry,
        |path| path.starts_with("/var/spool/cron/crontabs/"),
        false,
    ));
    Answer::Looked(found)
}

fn accounts(inquiry: &Inquiry<'_>) -> Answer {
    const FILES: &[&str] = &[
        "/etc/passwd",
        "/etc/group",
        "/etc/sudoers",
        "/etc/ssh/sshd_config",
    ];
    let counts = |path: &str| FILES.contains(&path) || path.starts_with("/etc/sudoers.d/");
    Answer::Looked(changed_by_others(inquiry, counts, true))
}

/// Findings for watched files that others may write, or that are not root's where they have to be.
fn changed_by_others(
    inquiry: &Inquiry<'_>,
    counts: impl Fn(&str) -> bool,
    is_roots: bool,
) -> Vec<Found> {
    let rights = inquiry.evidence.entries.rights.iter();
    rights
        .filter(|(path, _)| counts(path))
        .filter(|(_, rights)| rights.mode & 0o022 != 0 || (is_roots && rights.uid != 0))
        .map(|(path, rights)| {
            Found::fail(
                path,
                format!("mode {:04o}, owner {}", rights.mode, rights.uid),
            )
        })
        .collect()
}

fn root_home(inquiry: &Inquiry<'_>) -> Answer {
    match inquiry.evidence.entries.rights.get("/root") {
        Some(rights) if rights.mode & 0o077 != 0 || rights.uid != 0 => Answer::fail(
            "/root",
            format!("mode {:04o}, owner {}", rights.mode, rights.uid),
        ),
        Some(_) => Answer::pass(),
        None => Answer::NotApplicable("there is no /root".into()),
    }
}
