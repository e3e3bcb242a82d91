//! The package lock: which versions a build installed, so that another build installs the same.
//!
//! The lock is TOML that a person may read and diff. It pins versions; the bytes are pinned by
//! the archive's own signatures. It does not keep the packages: an archive that has moved on
//! no longer has old versions, which `snapshot` in the recipe answers.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One installed package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LockedPackage {
    /// The binary package's name.
    pub name: String,
    /// `amd64` or `all`.
    pub architecture: String,
    /// The exact version.
    pub version: String,
}

/// Everything that a repeated build needs beside the recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageLock {
    /// The release that the packages are of.
    pub release: String,
    /// Seconds since 1970: the newest time in the image.
    pub source_date_epoch: u64,
    /// Where the packages came from, as lines of a `sources.list`.
    pub sources: Vec<String>,
    /// All installed packages as `name:architecture=version`, sorted.
    pub packages: Vec<LockedPackage>,
}

/// Why a lock can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Not the text of a lock.
    #[error("read the package lock: {0}")]
    Syntax(String),
    /// An entry that is not `name:architecture=version`.
    #[error("read {0:?} in the package lock: it is not NAME:ARCHITECTURE=VERSION")]
    Entry(String),
    /// Other packages were installed than the lock says.
    #[error("install what the package lock says: {0}")]
    Differs(String),
    /// The image holds no dpkg database.
    #[error("list the installed packages: the tree has no valid /var/lib/dpkg/status")]
    NoStatus,
}

impl TryFrom<String> for LockedPackage {
    type Error = LockError;
    fn try_from(text: String) -> Result<Self, LockError> {
        let valid = |part: &str, extra: &[u8]| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || extra.contains(&b))
        };
        let parts = text.split_once('=').and_then(|(who, version)| {
            let (name, architecture) = who.split_once(':')?;
            let good = valid(name, b"+-.") && valid(architecture, b"-") && valid(version, b"+-.:~");
            good.then(|| LockedPackage {
                name: name.to_owned(),
                architecture: architecture.to_owned(),
                version: version.to_owned(),
            })
        });
        parts.ok_or(LockError::Entry(text))
    }
}

impl From<LockedPackage> for String {
    fn from(package: LockedPackage) -> String {
        format!(
            "{}:{}={}",
            package.name, package.architecture, package.version
        )
    }
}

impl PackageLock {
    /// Reads the text of a lock.
    pub fn from_toml(text: &str) -> Result<Self, LockError> {
        toml::from_str(text).map_err(|error| LockError::Syntax(error.message().to_owned()))
    }

    /// The lock as text, one package a line.
    pub fn to_toml(&self) -> String {
        let mut text = String::from(
            "# Versions that a build installed. Name this file as `lock` in a recipe.\n",
        );
        let value = |v: &dyn std::fmt::Display| toml::Value::String(v.to_string()).to_string();
        let _ = writeln!(text, "release = {}", value(&self.release));
        let _ = writeln!(text, "source_date_epoch = {}", self.source_date_epoch);
        let list = |text: &mut String, key: &str, lines: Vec<String>| {
            let _ = writeln!(text, "{key} = [");
            for line in lines {
                let _ = writeln!(text, "    {},", value(&line));
            }
            text.push_str("]\n");
        };
        list(&mut text, "sources", self.sources.clone());
        list(
            &mut text,
            "packages",
            self.packages.iter().cloned().map(String::from).collect(),
        );
        text
    }

    /// Pins for apt (apt_preferences(5)) that make these versions win, even over newer ones.
    pub fn apt_preferences(&self) -> String {
        let mut text = String::new();
        for package in &self.packages {
            let LockedPackage { name, version, .. } = package;
            let _ = writeln!(
                text,
                "Package: {name}\nPin: version {version}\nPin-Priority: 1001\n"
            );
        }
        text
    }

    /// An error that names what differs, if `installed` is not exactly the lock's list.
    pub fn check(&self, installed: &[LockedPackage]) -> Result<(), LockError> {
        let by_name = |list: &[LockedPackage]| -> BTreeMap<String, String> {
            list.iter()
                .map(|p| (format!("{}:{}", p.name, p.architecture), p.version.clone()))
                .collect()
        };
        let (locked, found) = (by_name(&self.packages), by_name(installed));
        let mut differences: Vec<String> = Vec::new();
        for (name, version) in &locked {
            match found.get(name) {
                None => differences.push(format!("{name} is missing")),
                Some(other) if other != version => {
                    differences.push(format!("{name} is {other} instead of {version}"));
                }
                Some(_) => {}
            }
        }
        let extra = found.keys().filter(|name| !locked.contains_key(*name));
        differences.extend(extra.map(|name| format!("{name} is not in it")));
        if differences.is_empty() {
            return Ok(());
        }
        let rest = differences.len().saturating_sub(5);
        let mut text = differences
            .iter()
            .take(5)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        if rest > 0 {
            let _ = write!(text, " and {rest} more");
        }
        Err(LockError::Differs(text))
    }
}

/// The installed packages of a dpkg database (deb822 paragraphs, `Status: … installed`), sorted.
///
/// # Errors
/// [`LockError::NoStatus`] without any, or one without its fields; [`LockError::Entry`] for a name
/// or version that no lock can hold.
pub fn installed_packages(status: &str) -> Result<Vec<LockedPackage>, LockError> {
    let mut packages = Vec::new();
    for paragraph in status.split("\n\n") {
        let field = |name: &str| {
            paragraph
                .lines()
                .find_map(|l| l.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
        };
        if !field("Status").is_some_and(|status| status.ends_with(" installed")) {
            continue;
        }
        let (name, architecture, version) =
            (field("Package"), field("Architecture"), field("Version"));
        let (Some(name), Some(architecture), Some(version)) = (name, architecture, version) else {
            return Err(LockError::NoStatus);
        };
        // What can't be read again is never written.
        packages.push(format!("{name}:{architecture}={version}").try_into()?);
    }
    packages.sort();
    if packages.is_empty() {
        Err(LockError::NoStatus)
    } else {
        Ok(packages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Package: b\nStatus: install ok installed\nArchitecture: all\nVersion: 1:2~3\n\
        Description: x\n Status: fake\n\nPackage: gone\nStatus: deinstall ok config-files\n\
        Architecture: amd64\nVersion: 9\n\nPackage: a\nStatus: hold ok installed\n\
        Architecture: amd64\nVersion: 1.0-2\n";

    fn lock(packages: Vec<LockedPackage>) -> PackageLock {
        PackageLock {
            release: "bookworm".into(),
            source_date_epoch: 7,
            sources: vec!["deb x y z".into()],
            packages,
        }
    }

    #[test]
    fn a_lock_is_what_dpkg_says_and_round_trips() {
        let packages = installed_packages(STATUS).expect("valid");
        let names: Vec<String> = packages.iter().cloned().map(String::from).collect();
        assert_eq!(names, ["a:amd64=1.0-2", "b:all=1:2~3"]);
        let lock = lock(packages);
        assert_eq!(
            PackageLock::from_toml(&lock.to_toml()).expect("round trip"),
            lock
        );
        assert!(
            lock.apt_preferences()
                .contains("Package: b\nPin: version 1:2~3\nPin-Priority: 1001\n")
        );
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        let packages = installed_packages(STATUS).expect("valid");
        let lock = lock(packages.clone());
        assert!(lock.check(&packages).is_ok());
        let mut other = packages.clone();
        other[0].version = "1.0-3".into();
        other[1].name = "c".into();
        let text = lock.check(&other).expect_err("differs").to_string();
        for part in [
            "a:amd64 is 1.0-3 instead of 1.0-2",
            "b:all is missing",
            "c:all is not in it",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_lock_that_could_write_other_pins_is_refused() {
        for bad in [
            "a:amd64=1\\nPackage: *",
            "a=1",
            "a:amd64",
            ":amd64=1",
            "a b:amd64=1",
        ] {
            let text =
                format!("release='x'\nsource_date_epoch=1\nsources=[]\npackages=[\"{bad}\"]");
            assert!(PackageLock::from_toml(&text).is_err(), "{bad:?}");
        }
        assert!(installed_packages("").is_err());
        for bad in ["\u{fffd}b", "b c", ""] {
            let status = STATUS.replace("Package: b\n", &format!("Package: {bad}\n"));
            assert!(installed_packages(&status).is_err(), "{bad:?}");
        }
    }
}
