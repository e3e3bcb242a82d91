//! A distribution's package index (`Packages`) and release file (`Release`, `InRelease`): the newest
//! versions that a suite offers, and which suite it is.
//!
//! Comparing what is installed with the index of the suite that has the security updates needs no
//! data on vulnerabilities: whoever has a mirror has it. A signature is *not* checked here; the index
//! comes from a file that the administrator names.

use crate::inventory::{Ecosystem, Inventory};
use crate::version::compare_dpkg;
use serde::{Deserialize, Serialize};
use stampo_guest::inspect::packages::{Package, PackageManager};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::io::{self, BufRead};

/// Longest line that is read, in bytes; the rest of a longer one is left out.
const MAX_LINE_BYTES: u64 = 1 << 20;
/// Most packages of an index.
pub const MAX_PACKAGES: usize = 2_000_000;
/// Longest name or version that is kept, in bytes.
const MAX_FIELD_BYTES: usize = 512;

/// A package that an index offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Its name.
    pub name: String,
    /// Its architecture.
    pub architecture: String,
    /// Its version.
    pub version: String,
}

/// Calls `take` for every package of an index; how many there were.
///
/// # Errors
/// When reading fails, the index is none, or has more than [`MAX_PACKAGES`]; and those of `take`.
pub fn read_packages<E: From<io::Error>>(
    text: &mut dyn BufRead,
    take: &mut dyn FnMut(Offered) -> Result<(), E>,
) -> Result<usize, E> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut fields = [const { String::new() }; 3];
    let mut count = 0;
    loop {
        let line = read_line(text)?;
        let is_end = line.is_none();
        let line = line.unwrap_or_default();
        if line.trim().is_empty() {
            let [name, version, architecture] = std::mem::take(&mut fields);
            if !name.is_empty() && !version.is_empty() {
                count += 1;
                if count > MAX_PACKAGES {
                    return Err(bad("it has too many packages").into());
                }
                take(Offered {
                    name,
                    architecture,
                    version,
                })?;
            }
        } else if let Some((field, value)) = line.split_once(':') {
            let place = ["Package", "Version", "Architecture"];
            let at = place.iter().position(|name| *name == field);
            if let Some(at) = at.filter(|_| value.len() <= MAX_FIELD_BYTES) {
                value.trim().clone_into(&mut fields[at]);
            }
        }
        if is_end {
            return Ok(count);
        }
    }
}

/// A line without its end; `None` after the last.
fn read_line(text: &mut dyn BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let mut limited = io::Read::take(&mut *text, MAX_LINE_BYTES);
    if limited.read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    if bytes.len() as u64 == MAX_LINE_BYTES && bytes.last() != Some(&b'\n') {
        // The rest of it is skipped, without being kept.
        loop {
            let (used, is_end) = match text.fill_buf()? {
                [] => (0, true),
                bytes => match bytes.iter().position(|byte| *byte == b'\n') {
                    Some(at) => (at + 1, true),
                    None => (bytes.len(), false),
                },
            };
            text.consume(used);
            if is_end {
                break;
            }
        }
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// What a release file says about its suite.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suite {
    /// `Debian`, `Ubuntu`.
    pub origin: String,
    /// `bookworm-security`.
    pub codename: String,
    /// `Thu, 19 Nov 2026 08:12:13 UTC`.
    pub date: String,
}

/// Reads a release file, signed in line or not.
pub fn read_release(text: &str) -> Suite {
    let mut suite = Suite::default();
    for line in text.lines().take(1000) {
        let Some((field, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim().chars().take(MAX_FIELD_BYTES).collect();
        match field {
            "Origin" => suite.origin = value,
            "Codename" => suite.codename = value,
            "Date" => suite.date = value,
            _ => {}
        }
    }
    suite
}

/// The release that a suite with security updates is for, as in `bookworm-security`; `None` for a suite
/// that is none of those.
pub fn release_of_suite(suite: &str, origin: Option<&str>) -> Option<Ecosystem> {
    let codename = suite.strip_suffix("-security")?;
    let known = |id: &str| crate::end_of_life::number_of(id, codename).is_some();
    let id = match origin.map(str::to_ascii_lowercase) {
        Some(origin) if !origin.is_empty() => origin,
        _ => ["debian", "ubuntu"]
            .into_iter()
            .find(|id| known(id))?
            .to_owned(),
    };
    Some(crate::end_of_life::ecosystem_of_codename(&id, codename))
}

/// A package for which there is a newer version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outdated {
    /// The package.
    pub package: String,
    /// Its architecture.
    pub architecture: String,
    /// What it was built from.
    pub source: String,
    /// The version that is installed.
    pub installed: String,
    /// The version that there is.
    pub available: String,
}

/// The newest version of every package of an index, by name and architecture.
pub type Newest = HashMap<(String, String), String>;

/// Takes a package into the newest, if it is.
pub fn keep_newest(newest: &mut Newest, offered: Offered) {
    let key = (offered.name, offered.architecture);
    match newest.get_mut(&key) {
        Some(known) if compare_dpkg(known, &offered.version) != Ordering::Less => {}
        Some(known) => *known = offered.version,
        None => {
            newest.insert(key, offered.version);
        }
    }
}

/// The packages for which the index has a newer version. `None` where versions of another manager are
/// installed, which can't be compared.
pub fn outdated(inventory: &Inventory, newest: &Newest) -> Option<Vec<Outdated>> {
    if inventory.manager != Some(PackageManager::Dpkg) {
        return None;
    }
    let found = inventory.packages.iter().filter_map(|package| {
        let available = newest_of(newest, package)?;
        let is_older = compare_dpkg(&package.version, available) == Ordering::Less;
        is_older.then(|| Outdated {
            package: package.name.clone(),
            architecture: package.architecture.clone(),
            source: crate::inventory::source_of(package).0.to_owned(),
            installed: package.version.clone(),
            available: available.clone(),
        })
    });
    Some(found.collect())
}

/// A package may have become one for all architectures, or stopped being one.
fn newest_of<'n>(newest: &'n Newest, package: &Package) -> Option<&'n String> {
    let of = |architecture: &str| newest.get(&(package.name.clone(), architecture.to_owned()));
    of(&package.architecture).or_else(|| of("all"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "Package: a\nVersion: 1.0-1\nArchitecture: amd64\n\nPackage: a\nVersion: \
                         1.0-10\nArchitecture: amd64\nDescription: x\n y\n\nPackage: b\nVersion: 2\n\
                         Architecture: all\n";

    fn newest(text: &str) -> Newest {
        let mut newest = Newest::new();
        let mut take = |offered| {
            keep_newest(&mut newest, offered);
            Ok::<_, io::Error>(())
        };
        read_packages(&mut text.as_bytes(), &mut take).expect("an index");
        newest
    }

    fn installed(name: &str, version: &str) -> Package {
        Package {
            name: name.into(),
            version: version.into(),
            architecture: "amd64".into(),
            ..Package::default()
        }
    }

    #[test]
    fn only_what_the_index_has_a_newer_version_of_is_outdated() {
        let mut inventory = Inventory {
            manager: Some(PackageManager::Dpkg),
            packages: vec![
                installed("a", "1.0-9"),
                installed("b", "2"),
                installed("c", "0"),
            ],
            ..Inventory::default()
        };
        let newest = newest(INDEX);
        let found = outdated(&inventory, &newest).expect("comparable");
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].package.as_str(), found[0].available.as_str()),
            ("a", "1.0-10")
        );
        inventory.manager = Some(PackageManager::Apk);
        assert_eq!(outdated(&inventory, &newest), None);
    }

    #[test]
    fn a_very_long_line_is_cut_and_what_follows_is_read() {
        let long = format!("Description: {}\n", "x".repeat(3 << 20));
        let text = INDEX.replace("Description: x\n", &long);
        assert_eq!(newest(&text).len(), 2);
    }

    #[test]
    fn suites_with_security_updates_are_those_of_a_release() {
        let of = |suite, origin| release_of_suite(suite, origin).map(|of| of.0);
        assert_eq!(of("bookworm-security", None).as_deref(), Some("debian:12"));
        assert_eq!(
            of("jammy-security", Some("Ubuntu")).as_deref(),
            Some("ubuntu:22.04")
        );
        assert_eq!(of("bookworm", None), None);
        let text =
            "Origin: Debian\nCodename: bookworm-security\nDate: Thu, 19 Nov 2026 08:12:13 UTC\n";
        assert_eq!(read_release(text).codename, "bookworm-security");
    }
}
