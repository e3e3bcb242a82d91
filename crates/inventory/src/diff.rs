//! What is different between two versions: sections of named facts, and files by class.
//!
//! A fact is a name with a text, so every section is compared in the same way. Comparing says *what*
//! is different, never whether that is good.

use serde::{Deserialize, Serialize};
use stampo_guest::inspect::Inspection;
use stampo_guest::inspect::manifest::Item;
use std::collections::BTreeMap;

/// Named facts of one section.
pub type Facts = BTreeMap<String, String>;

/// What a version is, as far as it is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sheet {
    /// Sections in the order in which they are shown.
    pub sections: Vec<(&'static str, Facts)>,
    /// Every entry of its tree.
    pub files: BTreeMap<String, Item>,
    /// What could not be read.
    pub unknowns: Vec<String>,
}

/// One fact that is different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The section.
    pub section: String,
    /// The fact.
    pub name: String,
    /// What it was; absent where it is new.
    pub before: Option<String>,
    /// What it is; absent where it is gone.
    pub after: Option<String>,
}

/// Files of one class that are different.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChanges {
    /// The class.
    pub class: String,
    /// Paths that are new.
    pub added: Vec<String>,
    /// Paths that are gone.
    pub removed: Vec<String>,
    /// Paths with another kind, mode, owner, size, content or time.
    pub changed: Vec<String>,
}

/// The sections of an inspection, with what is read besides.
pub fn sections(
    inspection: &Inspection,
    ports: Facts,
    sysctl: Facts,
) -> Vec<(&'static str, Facts)> {
    let packages = inspection.packages.installed.iter().map(|one| {
        let problem = one.problem.as_ref().map(|of| format!(" ({of})"));
        let name = format!("{}:{}", one.name, one.architecture);
        (name, one.version.clone() + &problem.unwrap_or_default())
    });
    let units = inspection.services.units.iter().map(|one| {
        let says = match one.masked {
            true => "masked".to_owned(),
            false => format!("starts with {}", one.wanted_by.join(", ")),
        };
        (one.unit.clone(), says)
    });
    let users = inspection.users.iter().map(|one| {
        let login = if one.can_login {
            "can log in"
        } else {
            "can't log in"
        };
        let says = format!(
            "uid {}, gid {}, {}, {}, password {:?}, {login}",
            one.uid, one.gid, one.home, one.shell, one.password
        );
        (one.name.clone(), says)
    });
    let groups = inspection.groups.iter().map(|one| {
        (
            one.name.clone(),
            format!("gid {}: {}", one.gid, one.members.join(", ")),
        )
    });
    let sudo = inspection
        .sudo_without_password
        .iter()
        .map(|one| (format!("{} {}", one.who, one.rule), one.path.clone()));
    let ssh = inspection.sshd.iter().flatten();
    let ssh = ssh.map(|(keyword, setting)| (keyword.clone(), setting.value.clone()));
    let kernels = inspection.kernels.iter().map(|one| {
        let has = |is, what| if is { what } else { "" };
        let says = [
            has(one.has_initrd, "initrd"),
            has(one.has_modules, "modules"),
        ]
        .join(" ");
        (one.release.clone(), says)
    });
    let sizes = inspection.contents.directory_sizes.iter();
    let sizes = sizes.filter(|one| one.path.matches('/').count() == 1);
    let sizes = sizes.map(|one| (one.path.clone(), one.size_bytes.to_string()));
    vec![
        ("packages", packages.collect()),
        ("kernels", kernels.collect()),
        ("units", units.collect()),
        ("users", users.collect()),
        ("groups", groups.collect()),
        ("sudo", sudo.collect()),
        ("ssh", ssh.collect()),
        ("ports", ports),
        ("sysctl", sysctl),
        ("sizes", sizes.collect()),
    ]
}

/// Every fact that is different, section by section, by name.
pub fn changes(before: &Sheet, after: &Sheet) -> Vec<Change> {
    let none = Facts::new();
    let facts_of = |sheet: &Sheet, section: &str| {
        let found = sheet.sections.iter().find(|(name, _)| *name == section);
        found.map_or_else(|| none.clone(), |(_, facts)| facts.clone())
    };
    let mut names: Vec<&str> = before.sections.iter().map(|(name, _)| *name).collect();
    for (name, _) in &after.sections {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let of_section = |section: &&str| {
        let (before, after) = (facts_of(before, section), facts_of(after, section));
        changes_of(section, &before, &after)
    };
    names.iter().flat_map(of_section).collect()
}

fn changes_of(section: &str, before: &Facts, after: &Facts) -> Vec<Change> {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let differ = names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name));
    differ
        .map(|name| Change {
            section: section.to_owned(),
            name: name.clone(),
            before: before.get(name).cloned(),
            after: after.get(name).cloned(),
        })
        .collect()
}

/// What files are for, by where they are; the first that fits.
const CLASSES: &[(&str, &[&str])] = &[
    (
        "access",
        &[
            "/etc/passwd",
            "/etc/shadow",
            "/etc/group",
            "/etc/gshadow",
            "/etc/sudoers",
            "/etc/ssh/",
            "/etc/pam.d/",
            "/etc/security/",
        ],
    ),
    (
        "start",
        &[
            "/etc/systemd/",
            "/etc/init.d/",
            "/etc/rc",
            "/etc/cron",
            "/var/spool/cron/",
            "/usr/lib/systemd/",
            "/lib/systemd/",
        ],
    ),
    ("boot", &["/boot/", "/etc/default/grub", "/etc/fstab"]),
    ("settings", &["/etc/"]),
    ("local programs", &["/usr/local/", "/opt/", "/srv/"]),
    ("homes", &["/root", "/home/"]),
    (
        "documentation",
        &[
            "/usr/share/doc/",
            "/usr/share/man/",
            "/usr/share/info/",
            "/usr/share/locale/",
        ],
    ),
    ("programs", &["/usr/", "/bin", "/sbin", "/lib"]),
    ("state", &["/var/"]),
];

/// The class of a path.
pub fn class_of(path: &str) -> &'static str {
    let fits = |starts: &[&str]| starts.iter().any(|start| path.starts_with(start));
    let found = CLASSES.iter().find(|(_, starts)| fits(starts));
    found.map_or("other", |(class, _)| class)
}

/// Files that are different, by class; classes without any are left out.
pub fn file_changes(before: &Sheet, after: &Sheet) -> Vec<FileChanges> {
    let mut classes: BTreeMap<&str, FileChanges> = BTreeMap::new();
    let mut add = |path: &String, into: fn(&mut FileChanges) -> &mut Vec<String>| {
        let class = class_of(path);
        let changes = classes.entry(class).or_insert_with(|| FileChanges {
            class: class.to_owned(),
            ..FileChanges::default()
        });
        into(changes).push(path.clone());
    };
    for (path, item) in &before.files {
        match after.files.get(path) {
            None => add(path, |changes| &mut changes.removed),
            Some(other) if other != item => add(path, |changes| &mut changes.changed),
            Some(_) => {}
        }
    }
    for path in after
        .files
        .keys()
        .filter(|path| !before.files.contains_key(*path))
    {
        add(path, |changes| &mut changes.added);
    }
    let order = CLASSES.iter().map(|(class, _)| *class).chain(["other"]);
    order.filter_map(|class| classes.remove(class)).collect()
}
