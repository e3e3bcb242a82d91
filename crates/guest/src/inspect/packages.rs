//! The installed packages, whatever manager keeps them.
//!
//! Each database is parsed in a file of its own: dpkg's and apk's texts, and RPM's in its SQLite
//! form. RPM's older forms (ndb, Berkeley DB) are found and named, but not read: that is an unknown.

use super::look::{Look, MAX_DATABASE_BYTES};
use super::{apk, dpkg, rpm};
use serde::{Deserialize, Serialize};

/// Most packages that are kept.
pub const MAX_PACKAGES: usize = 100_000;
/// Where RPM keeps its database, by distribution and age.
const RPM_DATABASES: &[&str] = &[
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/Packages.db",
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages.db",
    "/var/lib/rpm/Packages",
];

/// Who installs packages in a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PackageManager {
    /// Debian and its children.
    Dpkg,
    /// Alpine.
    Apk,
    /// Red Hat, SUSE and their children.
    Rpm,
}

/// One installed package.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its full version.
    pub version: String,
    /// Its architecture as the manager says it.
    pub architecture: String,
    /// The source package, where it has another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The source package's version, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_version: Option<String>,
    /// Anything but fully installed, for example `half-configured`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The packages of a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packages {
    /// Who installed them; `None` when no database was found.
    pub manager: Option<PackageManager>,
    /// Every package, by name.
    pub installed: Vec<Package>,
}

/// Reads the database that the guest has.
pub fn read(look: &mut Look<'_>) -> Packages {
    let mut found = if look
        .first_of(&["/var/lib/dpkg/status", "/var/lib/dpkg/status.d"])
        .is_some()
    {
        Packages {
            manager: Some(PackageManager::Dpkg),
            installed: read_dpkg(look),
        }
    } else if let Some(path) = look.first_of(&["/lib/apk/db/installed"]) {
        let text = look
            .text_up_to(path, MAX_DATABASE_BYTES)
            .unwrap_or_default();
        Packages {
            manager: Some(PackageManager::Apk),
            installed: apk::parse(&text),
        }
    } else if let Some(path) = look.first_of(RPM_DATABASES) {
        Packages {
            manager: Some(PackageManager::Rpm),
            installed: read_rpm(look, path),
        }
    } else {
        look.unknown("packages: no package database was found".into());
        return Packages::default();
    };
    if found.installed.len() >= MAX_PACKAGES {
        look.unknown(format!("packages: only the first {MAX_PACKAGES} were read"));
    }
    found
        .installed
        .sort_by(|a, b| (&a.name, &a.architecture).cmp(&(&b.name, &b.architecture)));
    found
}

/// The status file, and `status.d` of systems built without dpkg (distroless).
fn read_dpkg(look: &mut Look<'_>) -> Vec<Package> {
    let text = look.text_up_to("/var/lib/dpkg/status", MAX_DATABASE_BYTES);
    let mut packages = dpkg::parse(&text.unwrap_or_default());
    for path in look.files_with_suffix("/var/lib/dpkg/status.d", "") {
        if path.ends_with(".md5sums") || packages.len() >= MAX_PACKAGES {
            continue;
        }
        if let Some(text) = look.text(&path) {
            packages.extend(dpkg::parse(&text));
        }
    }
    packages.truncate(MAX_PACKAGES);
    packages
}

/// The SQLite form; none of any other.
fn read_rpm(look: &mut Look<'_>, path: &str) -> Vec<Package> {
    if !path.ends_with(".sqlite") {
        look.unknown(format!(
            "packages: this form of RPM database is not read: {path}"
        ));
        return Vec::new();
    }
    let log = format!("{path}-wal");
    let is_written_to = look
        .fs()
        .metadata(&log)
        .is_ok_and(|metadata| metadata.size_bytes > 0);
    if is_written_to {
        look.unknown(format!(
            "packages: what is only in {log} was not read; shut the guest down in order"
        ));
    }
    let Some(file) = look.bytes(path, rpm::MAX_RPM_DATABASE_BYTES) else {
        return Vec::new();
    };
    match rpm::parse(file) {
        Ok(packages) => packages,
        Err(error) => {
            look.unknown(format!("packages: {path}: {}", chain(&error)));
            Vec::new()
        }
    }
}

/// An error and its sources in one line.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
