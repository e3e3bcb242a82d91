//! Package URLs: one text that names a package for other programs.
//!
//! Made and read as the package-url specification says (`PURL-SPECIFICATION`, `PURL-TYPES`: deb, apk,
//! rpm). Only what is needed here: no subpaths, and of the qualifiers those that name a package.

use crate::inventory::Inventory;
use stampo_guest::inspect::packages::{Package, PackageManager};
use std::fmt::Write;

/// Longest package URL that is read, in bytes.
const MAX_BYTES: usize = 4096;

/// The package URL of an installed package. `None` when no manager is known for it.
pub fn of(inventory: &Inventory, package: &Package) -> Option<String> {
    let kind = match inventory.manager? {
        PackageManager::Dpkg => "deb",
        PackageManager::Apk => "apk",
        PackageManager::Rpm => "rpm",
    };
    let (epoch, version) = match (kind, package.version.split_once(':')) {
        ("rpm", Some((epoch, version))) => (Some(epoch), version),
        _ => (None, package.version.as_str()),
    };
    let mut text = format!(
        "pkg:{kind}/{}/{}@{}",
        encoded(&inventory.id.to_ascii_lowercase()),
        encoded(&package.name),
        encoded(version)
    );
    let release = inventory
        .version_id
        .as_deref()
        .or(inventory.codename.as_deref());
    let distribution = release.map(|release| format!("{}-{release}", inventory.id));
    // In the order of their names.
    let qualifiers = [
        ("arch", Some(package.architecture.as_str())),
        ("distro", distribution.as_deref()),
        ("epoch", epoch),
    ];
    let present = qualifiers
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.filter(|value| !value.is_empty())?)));
    for (number, (key, value)) in present.enumerate() {
        let before = if number == 0 { '?' } else { '&' };
        write!(text, "{before}{key}={}", encoded(value)).expect("a String takes everything");
    }
    Some(text)
}

/// What a package URL names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purl {
    /// `deb`, `rpm`…
    pub kind: String,
    /// The distribution.
    pub namespace: String,
    /// The package.
    pub name: String,
    /// Its version, with its epoch.
    pub version: Option<String>,
    /// `arch`.
    pub arch: Option<String>,
}

/// Reads a package URL; `None` for what is none.
pub fn parse(text: &str) -> Option<Purl> {
    let rest = text
        .strip_prefix("pkg:")
        .filter(|_| text.len() <= MAX_BYTES)?;
    let rest = rest.split('#').next().unwrap_or_default();
    let (path, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
    let (path, version) = match path.rsplit_once('@') {
        Some((path, version)) => (path, Some(decoded(version)?)),
        None => (path, None),
    };
    let (kind, path) = path.trim_start_matches('/').split_once('/')?;
    let (namespace, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut purl = Purl {
        kind: kind.to_ascii_lowercase(),
        namespace: decoded(namespace)?,
        name: decoded(name)?,
        version,
        arch: None,
    };
    for (key, value) in qualifiers
        .split('&')
        .filter_map(|pair| pair.split_once('='))
    {
        match key {
            "arch" => purl.arch = Some(decoded(value)?),
            "epoch" => purl.version = with_epoch(purl.version, &decoded(value)?),
            _ => {}
        }
    }
    (!purl.name.is_empty()).then_some(purl)
}

fn with_epoch(version: Option<String>, epoch: &str) -> Option<String> {
    let version = version?;
    Some(match epoch {
        "" | "0" => version,
        epoch => format!("{epoch}:{version}"),
    })
}

/// Everything but the unreserved characters and the colon is encoded.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b':' => {
                out.push(char::from(byte));
            }
            byte => write!(out, "%{byte:02X}").expect("a String takes everything"),
        }
    }
    out
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(manager: PackageManager, id: &str, version: &str) -> String {
        let inventory = Inventory {
            id: id.into(),
            version_id: Some("12".into()),
            manager: Some(manager),
            ..Inventory::default()
        };
        let package = Package {
            name: "libstdc++6".into(),
            version: version.into(),
            architecture: "amd64".into(),
            ..Package::default()
        };
        of(&inventory, &package).expect("a manager")
    }

    #[test]
    fn packages_are_named_as_the_specification_says() {
        assert_eq!(
            made(PackageManager::Dpkg, "debian", "1:12.2.0-14+deb12u1"),
            "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12"
        );
        assert_eq!(
            made(PackageManager::Rpm, "rocky", "2:1.0~rc1-3.el9"),
            "pkg:rpm/rocky/libstdc%2B%2B6@1.0~rc1-3.el9?arch=amd64&distro=rocky-12&epoch=2"
        );
    }

    #[test]
    fn what_is_made_is_read_as_the_same() {
        let read = parse(&made(PackageManager::Rpm, "rocky", "2:1.0~rc1-3.el9")).expect("a purl");
        assert_eq!(read.name, "libstdc++6");
        assert_eq!(read.version.as_deref(), Some("2:1.0~rc1-3.el9"));
        assert_eq!(
            (read.kind.as_str(), read.namespace.as_str()),
            ("rpm", "rocky")
        );
        for bad in [
            "",
            "pkg:",
            "pkg:deb",
            "pkg:deb/a/%f",
            "pkg:deb/a/%zz",
            "http://x",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
