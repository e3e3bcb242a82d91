//! What it means that an entry is not as it was: the table of paths, and what counts before it.
//!
//! ```text
//! what it can do (runs as its owner, …) → who gets in → expected → a package → what starts → data → the rest
//! ```
//! The first that fits decides. A package explains an entry only where its version has changed, and
//! never where it is decided who gets in. The table is printed in the guide.

use super::entry::Difference;
use super::owners::{Owners, changes};
use super::{Change, Found, PackageChange};
use crate::fs::{FileKind, GuestRead, Metadata};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// What a finding means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Who gets in, what runs, or what is believed.
    Security,
    /// A program or a file that no package brought.
    Foreign,
    /// A setting.
    Config,
    /// It came with, or went with, a change of a package.
    Package,
    /// What every guest changes: state, logs, data.
    Expected,
}

impl Class {
    /// Every class, the gravest first.
    pub const ALL: [Class; 5] = [
        Class::Security,
        Class::Foreign,
        Class::Config,
        Class::Package,
        Class::Expected,
    ];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::Security => "security",
            Class::Foreign => "foreign",
            Class::Config => "config",
            Class::Package => "package",
            Class::Expected => "expected",
        }
    }
}

/// Who gets in and what every program loads: no package explains a change here. A path that ends in
/// `/` stands for everything below, `*` for any text without a `/`.
const ACCESS: &[(&str, &[&str])] = &[
    (
        "accounts",
        &["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"],
    ),
    (
        "who becomes root",
        &[
            "/etc/sudoers",
            "/etc/sudoers.d/",
            "/etc/doas.conf",
            "/etc/doas.d/",
            "/etc/polkit-1/",
        ],
    ),
    (
        "the ssh server",
        &[
            "/etc/ssh/sshd_config",
            "/etc/ssh/sshd_config.d/",
            "/etc/ssh/sshrc",
        ],
    ),
    (
        "keys that ssh lets in",
        &[
            "/root/.ssh/authorized_keys*",
            "/root/.ssh/rc",
            "/root/.ssh/environment",
            "/home/*/.ssh/authorized_keys*",
            "/home/*/.ssh/rc",
            "/home/*/.ssh/environment",
            "/etc/ssh/authorized_keys*",
            "/etc/ssh/authorized_keys/",
        ],
    ),
    (
        "how passwords are asked for",
        &[
            "/etc/pam.d/",
            "/etc/pam.conf",
            "/etc/security/",
            "/etc/nsswitch.conf",
        ],
    ),
    (
        "what every program loads",
        &[
            "/etc/ld.so.preload",
            "/etc/ld.so.conf",
            "/etc/ld.so.conf.d/",
        ],
    ),
    (
        "where the system's directories are",
        &["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"],
    ),
];

/// What starts by itself, what the kernel and the shells read, what is believed.
const START: &[(&str, &[&str])] = &[
    (
        "what systemd starts",
        &[
            "/etc/systemd/",
            "/usr/lib/systemd/",
            "/lib/systemd/",
            "/usr/local/lib/systemd/",
            "/root/.config/systemd/",
            "/home/*/.config/systemd/",
            "/var/lib/systemd/linger/",
        ],
    ),
    (
        "what cron and at run",
        &[
            "/etc/cron*",
            "/etc/cron*/",
            "/etc/anacrontab",
            "/var/spool/cron/",
            "/var/spool/at/",
        ],
    ),
    (
        "what runs at boot",
        &[
            "/etc/init.d/",
            "/etc/rc*.d/",
            "/etc/rc.local",
            "/etc/inittab",
            "/etc/modprobe.d/",
            "/etc/modules",
            "/etc/modules-load.d/",
            "/etc/sysctl.conf",
            "/etc/sysctl.d/",
            "/etc/initramfs-tools/",
            "/etc/kernel/",
            "/etc/default/grub",
            "/etc/default/grub.d/",
            "/etc/grub.d/",
            "/boot/",
            "/efi/",
        ],
    ),
    (
        "what runs on an event",
        &[
            "/etc/udev/",
            "/usr/lib/udev/rules.d/",
            "/etc/logrotate.d/",
            "/etc/logrotate.conf",
            "/etc/update-motd.d/",
            "/etc/NetworkManager/dispatcher.d/",
            "/etc/networkd-dispatcher/",
            "/etc/network/if-*.d/",
            "/etc/dhcp/dhclient-*-hooks.d/",
            "/etc/ppp/",
            "/etc/acpi/",
            "/etc/dbus-1/",
            "/usr/share/dbus-1/system-services/",
            "/usr/share/polkit-1/",
            "/var/lib/polkit-1/",
            "/var/lib/dpkg/info/",
            "/etc/stampo/",
        ],
    ),
    (
        "what every shell runs",
        &[
            "/etc/profile",
            "/etc/profile.d/",
            "/etc/bash.bashrc",
            "/etc/environment",
            "/etc/zsh/",
            "/etc/skel/",
            "/root/.bashrc",
            "/root/.profile",
            "/root/.bash_profile",
            "/root/.bash_login",
            "/root/.zshrc",
            "/home/*/.bashrc",
            "/home/*/.profile",
            "/home/*/.bash_profile",
            "/home/*/.bash_login",
            "/home/*/.zshrc",
        ],
    ),
    (
        "whose certificates are believed",
        &[
            "/etc/ssl/",
            "/etc/pki/",
            "/etc/ca-certificates/",
            "/etc/ca-certificates.conf",
            "/usr/local/share/ca-certificates/",
            "/usr/share/ca-certificates/",
        ],
    ),
    (
        "where packages come from",
        &[
            "/etc/apt/",
            "/usr/share/keyrings/",
            "/etc/yum.repos.d/",
            "/etc/dnf/",
            "/etc/zypp/",
            "/etc/apk/repositories",
            "/etc/apk/keys/",
        ],
    ),
    (
        "what keeps others out",
        &[
            "/etc/nftables.conf",
            "/etc/nftables/",
            "/etc/iptables/",
            "/etc/ufw/",
            "/etc/firewalld/",
            "/etc/hosts.allow",
            "/etc/hosts.deny",
            "/etc/selinux/",
            "/etc/apparmor*/",
            "/etc/audit/",
            "/etc/login.defs",
            "/etc/securetty",
            "/etc/subuid",
            "/etc/subgid",
        ],
    ),
];

/// What every guest makes or changes by itself.
const EXPECTED: &[(&str, &[&str])] = &[
    (
        "identity that the guest made",
        &[
            "/etc/machine-id",
            "/var/lib/dbus/machine-id",
            "/etc/ssh/ssh_host_*",
            "/etc/hostid",
        ],
    ),
    (
        "state of the running system",
        &[
            "/run",
            "/run/",
            "/dev/",
            "/proc/",
            "/sys/",
            "/lost+found",
            "/etc/resolv.conf",
            "/etc/mtab",
            "/etc/adjtime",
            "/etc/.pwd.lock",
            "/etc/.updated",
            "/var/.updated",
            "/etc/udev/hwdb.bin",
            "/boot/grub/grubenv",
            "/boot/grub2/grubenv",
            "/swapfile",
            "/swap.img",
        ],
    ),
];

/// What the change of a package brings with it although no list names it; of which package, where only
/// one does it.
const GENERATED: &[(&str, Option<&str>)] = &[
    ("/etc/ld.so.cache", None),
    ("/etc/alternatives/", None),
    ("/etc/passwd-", None),
    ("/etc/group-", None),
    ("/etc/shadow-", None),
    ("/etc/gshadow-", None),
    ("/etc/shells", None),
    ("/etc/ssl/certs/", Some("ca-certificates")),
    ("/etc/ca-certificates.conf", Some("ca-certificates")),
    ("/boot/initrd.img*", None),
    ("/boot/initramfs*", None),
    ("/boot/vmlinuz*", None),
    ("/boot/grub/", None),
    ("/initrd.img*", None),
    ("/vmlinuz*", None),
    ("/var/lib/dpkg/", None),
    ("/var/lib/apt/", None),
    ("/var/lib/ucf/", None),
    ("/var/lib/pam/", None),
    ("/var/lib/systemd/deb-systemd-helper-*/", None),
    ("/var/lib/rpm/", None),
    ("/usr/lib/sysimage/", None),
    ("/lib/apk/db/", None),
    ("/etc/apk/world", None),
    ("/usr/share/info/dir", None),
    ("/usr/share/mime/", None),
    ("/usr/share/icons/", None),
    ("/usr/share/glib-2.0/schemas/", None),
    ("/usr/lib/modules/", None),
    ("/lib/modules/", None),
    ("/usr/lib/locale/locale-archive", None),
];

/// Where services and people keep their data; a program does not belong there.
const DATA: &[&str] = &[
    "/var/", "/home/", "/root/", "/srv/", "/tmp/", "/mnt/", "/media/",
];
/// Where services keep programs as data.
const PROGRAMS_AS_DATA: &[&str] = &[
    "/var/lib/docker/",
    "/var/lib/containerd/",
    "/var/lib/containers/",
    "/var/lib/cloud/",
    "/var/lib/dpkg/",
];
/// Where programs are, and what they are made of.
const PROGRAMS: &[&str] = &["/usr/", "/lib/", "/lib64/", "/bin/", "/sbin/", "/boot/"];
/// Special files that are no surprise.
const SPECIAL: &[&str] = &["/dev/", "/run/", "/var/spool/"];

/// What is known of an entry that is not as it was.
pub(super) struct Facts<'a> {
    pub(super) path: &'a str,
    pub(super) change: Change,
    pub(super) differences: &'a [Difference],
    /// As it is in the guest.
    pub(super) metadata: Option<&'a Metadata>,
    /// What it is, or was.
    pub(super) kind: Option<FileKind>,
    /// Where it points.
    pub(super) target: Option<String>,
    /// Another name of the same file.
    pub(super) twin: Option<&'a str>,
}

/// A class, and why.
pub(super) struct Verdict {
    pub(super) class: Class,
    pub(super) why: String,
}

fn verdict(class: Class, why: impl Into<String>) -> Verdict {
    Verdict {
        class,
        why: why.into(),
    }
}

/// What is known of the packages of both sides.
pub(super) struct Judge {
    before: Owners,
    after: Owners,
    changed: BTreeSet<String>,
}

impl Judge {
    /// Reads what belongs to which package. Without anything to judge, the databases are read all the
    /// same: a package can change without a file that is seen.
    pub(super) fn new(
        version: &dyn GuestRead,
        guest: &dyn GuestRead,
        found: &[Found<'_>],
    ) -> (Judge, Vec<PackageChange>, Vec<String>) {
        let mut unknowns = Vec::new();
        let before = Owners::read(version, &mut Vec::new());
        let after = Owners::read(guest, &mut unknowns);
        if found.is_empty() {
            unknowns.clear();
        }
        let (packages, changed) = changes(&before, &after);
        let judge = Judge {
            before,
            after,
            changed,
        };
        (judge, packages, unknowns)
    }

    /// The package that an entry belongs to.
    pub(super) fn owner(&self, path: &str, change: Change) -> Option<&str> {
        let (first, second) = match change {
            Change::Removed => (&self.before, &self.after),
            Change::Added | Change::Changed => (&self.after, &self.before),
        };
        first.of(path).or_else(|| second.of(path))
    }

    /// What it means that an entry is not as it was.
    pub(super) fn class(&self, facts: &Facts<'_>) -> Verdict {
        if let Some(why) = can_do(facts) {
            return verdict(Class::Security, why);
        }
        if facts.kind == Some(FileKind::Directory) && facts.change != Change::Changed {
            return verdict(Class::Expected, "a directory: what is in it counts");
        }
        if let Some(what) = row(ACCESS, facts.path) {
            return verdict(Class::Security, what);
        }
        if let Some(what) = row(EXPECTED, facts.path) {
            return verdict(Class::Expected, what);
        }
        if let Some(package) = self.explains(facts) {
            return verdict(Class::Package, format!("came with {package}"));
        }
        if let Some(what) = row(START, facts.path) {
            return verdict(Class::Security, what);
        }
        self.rest(facts)
    }

    /// The package, of a version that has changed, that explains an entry.
    fn explains(&self, facts: &Facts<'_>) -> Option<String> {
        let has_changed = |path: &str| {
            let owner = self.owner(path, facts.change)?;
            self.changed.contains(owner).then(|| owner.to_owned())
        };
        if let Some(package) = has_changed(facts.path) {
            return Some(package);
        }
        // A unit that is enabled, an entry of rc?.d: links that a package's scripts make.
        if let Some(target) = &facts.target
            && let Some(package) = has_changed(&absolute(facts.path, target))
        {
            return Some(package);
        }
        let of = |(pattern, _): &&(&str, Option<&str>)| fits(pattern, facts.path);
        let is_cache = facts.path.contains("/__pycache__");
        match GENERATED.iter().find(of) {
            Some((_, Some(package))) if self.changed.contains(*package) => {
                Some((*package).to_owned())
            }
            Some((_, None)) if !self.changed.is_empty() => Some("the package manager".to_owned()),
            None if is_cache && !self.changed.is_empty() => Some("the package manager".to_owned()),
            _ => None,
        }
    }

    fn rest(&self, facts: &Facts<'_>) -> Verdict {
        let below = |starts: &[&str]| starts.iter().any(|start| facts.path.starts_with(start));
        if below(DATA) {
            let is_program = facts.metadata.is_some_and(|metadata| {
                metadata.kind == FileKind::File && metadata.mode & 0o111 != 0
            });
            return match is_program && !below(PROGRAMS_AS_DATA) {
                true => verdict(Class::Foreign, "a program where data is kept"),
                false => verdict(Class::Expected, "data"),
            };
        }
        if facts.path.starts_with("/etc/") {
            return verdict(Class::Config, "a setting");
        }
        if facts.change == Change::Added {
            return verdict(Class::Foreign, "belongs to no package");
        }
        match self.owner(facts.path, facts.change) {
            Some(package) if below(PROGRAMS) => verdict(
                Class::Security,
                format!("belongs to {package}, whose version has not changed"),
            ),
            // As the links that choose between programs: whatever the version had there was its own.
            _ if below(PROGRAMS) => {
                let explains = if self.after.is_known {
                    "explains"
                } else {
                    "is known to explain"
                };
                let why = format!("a part of the system, and no package {explains} it");
                verdict(Class::Security, why)
            }
            _ => verdict(Class::Foreign, "belongs to no package"),
        }
    }
}

/// What an entry is able to do, whatever its path.
fn can_do(facts: &Facts<'_>) -> Option<String> {
    let forged = facts.differences.contains(&Difference::Forged);
    if forged {
        return Some("its content was changed past the filesystem's times".to_owned());
    }
    let metadata = facts.metadata?;
    let capability = Difference::Attributes { capability: true };
    if facts.differences.contains(&capability) {
        return Some("a program with rights beyond its user's".to_owned());
    }
    let runs_as = metadata.kind == FileKind::File && metadata.mode & 0o6000 != 0;
    let is_new = facts.change == Change::Added || !facts.differences.is_empty();
    if runs_as && is_new {
        return Some("runs as its owner or group".to_owned());
    }
    let is_special = SPECIAL.iter().any(|start| facts.path.starts_with(start));
    if metadata.kind == FileKind::Special && !is_special {
        return Some("a device, FIFO or socket where none belongs".to_owned());
    }
    let became_writable = facts.differences.iter().any(|one| {
        matches!(one, Difference::Mode(old, new)
            if old & 0o002 == 0 && new & 0o002 != 0 && new & 0o1000 == 0)
    });
    if became_writable {
        return Some("everybody can write to it".to_owned());
    }
    let twin = facts.twin?;
    row(ACCESS, twin).map(|what| format!("another name of {twin}: {what}"))
}

/// What a table says of a path.
fn row(table: &[(&'static str, &[&str])], path: &str) -> Option<&'static str> {
    let found = table
        .iter()
        .find(|(_, patterns)| patterns.iter().any(|pattern| fits(pattern, path)));
    found.map(|(what, _)| *what)
}

/// Whether a path is one that a pattern stands for; a directory itself too.
fn fits(pattern: &str, path: &str) -> bool {
    let is_below = pattern.ends_with('/');
    let mut wanted = pattern.trim_matches('/').split('/');
    let mut parts = path.trim_matches('/').split('/');
    loop {
        match (wanted.next(), parts.next()) {
            (None, None) => return true,
            (None, Some(_)) => return is_below,
            (Some(_), None) => return false,
            (Some(pattern), Some(part)) if !fits_part(pattern, part) => return false,
            _ => {}
        }
    }
}

/// One component, with at most one `*`.
fn fits_part(pattern: &str, part: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == part,
        Some((start, end)) => {
            part.len() >= start.len() + end.len() && part.starts_with(start) && part.ends_with(end)
        }
    }
}

/// Where a link points, as a path from the root.
fn absolute(path: &str, target: &str) -> String {
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let whole = match target.starts_with('/') {
        true => target.to_owned(),
        false => format!("{parent}/{target}"),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let path = format!("/{}", parts.join("/"));
    // Units are named by their old place in links that are older than the merge of /usr.
    match path.strip_prefix("/lib/systemd/") {
        Some(rest) => format!("/usr/lib/systemd/{rest}"),
        None => path,
    }
}

/// The table as the guide has it.
pub fn guide_table() -> String {
    let mut table = String::from("| Class | What | Where |\n|---|---|---|\n");
    let mut add = |class: &str, what: &str, patterns: &[&str]| {
        let shown: Vec<String> = patterns
            .iter()
            .map(|pattern| format!("`{pattern}`"))
            .collect();
        // Writing into a text does not fail.
        let _ = writeln!(table, "| {class} | {what} | {} |", shown.join(" "));
    };
    for (what, patterns) in ACCESS {
        add("security, always", what, patterns);
    }
    for (what, patterns) in EXPECTED {
        add("expected", what, patterns);
    }
    for (what, patterns) in START {
        add(
            "security, unless a changed package explains it",
            what,
            patterns,
        );
    }
    let generated: Vec<&str> = GENERATED.iter().map(|(pattern, _)| *pattern).collect();
    add(
        "package, where any has changed",
        "what package managers make",
        &generated,
    );
    add("expected; a program: foreign", "data", DATA);
    add("config", "settings", &["/etc/"]);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_whole_components() {
        for (pattern, path, expected) in [
            ("/etc/sudoers", "/etc/sudoers", true),
            ("/etc/sudoers", "/etc/sudoers.d", false),
            ("/etc/sudoers.d/", "/etc/sudoers.d", true),
            ("/etc/sudoers.d/", "/etc/sudoers.d/a/b", true),
            (
                "/home/*/.ssh/authorized_keys*",
                "/home/ann/.ssh/authorized_keys2",
                true,
            ),
            (
                "/home/*/.ssh/authorized_keys*",
                "/home/a/b/.ssh/authorized_keys",
                false,
            ),
            ("/etc/cron*/", "/etc/cron.d/job", true),
            ("/etc/cron*", "/etc/crontab", true),
            ("/etc/rc*.d/", "/etc/rc3.d/S01x", true),
            ("/etc/rc*.d/", "/etc/rc.local", false),
        ] {
            assert_eq!(fits(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn links_lead_where_they_point() {
        for (path, target, expected) in [
            ("/etc/rc3.d/S01cron", "../init.d/cron", "/etc/init.d/cron"),
            (
                "/etc/systemd/system/a.wants/x.service",
                "/lib/systemd/system/x.service",
                "/usr/lib/systemd/system/x.service",
            ),
            ("/a", "../../b", "/b"),
        ] {
            assert_eq!(absolute(path, target), expected);
        }
    }
}
