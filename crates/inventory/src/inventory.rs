//! The package list of one image, with what it takes to compare it with others' data.

use serde::{Deserialize, Serialize};
use stampo_guest::inspect::Inspection;
use stampo_guest::inspect::packages::{Package, PackageManager};

/// A distribution's release, as vulnerability data name it: `debian:12`, `alpine:3.20`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ecosystem(pub String);

impl Ecosystem {
    /// Of a distribution's id and the number, or else the code name, of its release.
    pub fn new(id: &str, release: &str) -> Ecosystem {
        Ecosystem(format!("{id}:{release}").to_ascii_lowercase())
    }

    /// Of what a system says that it is; `None` when it does not say its release.
    pub fn of(id: &str, version_id: Option<&str>, codename: Option<&str>) -> Option<Ecosystem> {
        // Alpine's data are for 3.20, whatever the point release.
        let version = version_id.map(|version| match id {
            "alpine" => first_parts(version, 2),
            "rocky" | "almalinux" | "rhel" | "centos" | "ol" => first_parts(version, 1),
            _ => version,
        });
        Some(Ecosystem::new(id, version.or(codename)?))
    }

    /// The distribution's id.
    pub fn id(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }

    /// The release.
    pub fn release(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, release)| release)
    }
}

impl std::fmt::Display for Ecosystem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How the inspection's unknowns begin that are about packages or about the system's name.
const ABOUT_PACKAGES: [&str; 9] = [
    "packages:",
    "os:",
    "more could not",
    "/etc/os-release",
    "/usr/lib/os-release",
    "/var/lib/dpkg",
    "/lib/apk",
    "/var/lib/rpm",
    "/usr/lib/sysimage/rpm",
];

/// What packages an image has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The distribution's id as in os-release, `linux` when it does not say.
    pub id: String,
    /// `VERSION_ID`.
    pub version_id: Option<String>,
    /// The release's code name.
    pub codename: Option<String>,
    /// What the system calls itself.
    pub pretty_name: Option<String>,
    /// Who installed the packages; `None` when no database was found.
    pub manager: Option<PackageManager>,
    /// Every package, by name and architecture.
    pub packages: Vec<Package>,
    /// Why there may be more packages than these; empty when these are all.
    pub unknowns: Vec<String>,
}

impl Inventory {
    /// The part of an inspection that is about packages.
    pub fn of(inspection: &Inspection) -> Inventory {
        let os = inspection.os.clone().unwrap_or_default();
        let mut packages = inspection.packages.installed.clone();
        for package in &mut packages {
            // Said only where it is something else.
            package.source.take_if(|source| *source == package.name);
            package
                .source_version
                .take_if(|version| *version == package.version);
        }
        packages.sort_by(|a, b| key(a).cmp(&key(b)));
        packages.dedup();
        let is_about_packages =
            |text: &&String| ABOUT_PACKAGES.iter().any(|start| text.starts_with(start));
        let unknowns = inspection.unknowns.iter().filter(is_about_packages);
        Inventory {
            id: if os.id.is_empty() {
                "linux".into()
            } else {
                os.id
            },
            version_id: os.version_id,
            codename: os.codename,
            pretty_name: os.pretty_name,
            manager: inspection.packages.manager,
            packages,
            unknowns: unknowns.cloned().collect(),
        }
    }

    /// The distribution's release, where the system says which one it is.
    pub fn ecosystem(&self) -> Option<Ecosystem> {
        Ecosystem::of(
            &self.id,
            self.version_id.as_deref(),
            self.codename.as_deref(),
        )
    }

    /// Whether the list is known to be whole.
    pub fn is_complete(&self) -> bool {
        self.manager.is_some() && self.unknowns.is_empty()
    }
}

fn key(package: &Package) -> (&str, &str, &str) {
    let Package {
        name,
        architecture,
        version,
        ..
    } = package;
    (name, architecture, version)
}

/// The first `count` parts of a dotted number.
fn first_parts(version: &str, count: usize) -> &str {
    let end = version.match_indices('.').nth(count - 1);
    end.map_or(version, |(at, _)| &version[..at])
}

/// The package that a package was built from: its name and version.
pub fn source_of(package: &Package) -> (&str, &str) {
    let name = package.source.as_deref().unwrap_or(&package.name);
    let version = package.source_version.as_deref();
    (name, version.unwrap_or(&package.version))
}
