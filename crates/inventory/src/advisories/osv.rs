//! OSV: one vulnerability or advisory a document (OSV schema 1.7, `ossf/osv-schema`).

use super::{AdvisoryError, MAX_STATEMENTS, Of, Statement, Status, is_cve, is_short};
use crate::inventory::Ecosystem;
use serde::Deserialize;

const FORMAT: &str = "OSV";
/// Most single versions of a package that are taken where no range is given.
const MAX_VERSIONS: usize = 500;

#[derive(Deserialize)]
struct Document {
    id: String,
    #[serde(default)]
    modified: String,
    #[serde(default)]
    withdrawn: Option<String>,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    upstream: Vec<String>,
    affected: Vec<Affected>,
}

#[derive(Deserialize)]
struct Affected {
    #[serde(default)]
    package: Option<PackageName>,
    #[serde(default)]
    ranges: Vec<Range>,
    #[serde(default)]
    versions: Vec<String>,
}

#[derive(Deserialize)]
struct PackageName {
    ecosystem: String,
    name: String,
}

#[derive(Deserialize)]
struct Range {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Event {
    introduced: Option<String>,
    fixed: Option<String>,
    last_affected: Option<String>,
}

/// What a document says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its statements.
    pub statements: Vec<Statement>,
    /// Parts that are about other systems, or that make no sense.
    pub skipped: usize,
    /// When it was last changed, RFC 3339.
    pub modified: String,
}

/// Reads a document.
///
/// # Errors
/// When it is none, or says too much.
pub fn read(bytes: &[u8]) -> Result<Said, AdvisoryError> {
    let json = |source| AdvisoryError::Json {
        format: FORMAT,
        source,
    };
    let document: Document = serde_json::from_slice(bytes).map_err(json)?;
    let mut said = Said {
        modified: document.modified.clone(),
        ..Said::default()
    };
    if document.withdrawn.is_some() || !is_short(&document.id) {
        said.skipped = document.affected.len();
        return Ok(said);
    }
    let cves = cves(&document);
    for affected in &document.affected {
        let Some((package, ecosystem, of)) = subject(affected) else {
            said.skipped += 1;
            continue;
        };
        for status in statuses(affected) {
            for cve in &cves {
                said.statements.push(Statement {
                    cve: (*cve).to_owned(),
                    id: document.id.clone(),
                    ecosystem: ecosystem.clone(),
                    package: package.to_owned(),
                    of,
                    status: status.clone(),
                });
            }
            if said.statements.len() > MAX_STATEMENTS {
                return Err(AdvisoryError::TooMany(FORMAT));
            }
        }
    }
    Ok(said)
}

/// The vulnerabilities that a document is about; it may be an advisory for several. A distribution's
/// document may have the id as a part of its own, as in DEBIAN-CVE-2026-12345.
fn cves(document: &Document) -> Vec<&str> {
    let own = document.id.find("CVE-").map(|at| &document.id[at..]);
    let others = document.aliases.iter().chain(&document.upstream);
    let mut cves: Vec<&str> = own.into_iter().chain(others.map(String::as_str)).collect();
    cves.retain(|id| is_cve(id));
    cves.sort_unstable();
    cves.dedup();
    cves
}

fn subject(affected: &Affected) -> Option<(&str, Ecosystem, Of)> {
    let package = affected.package.as_ref()?;
    let (ecosystem, of) = ecosystem(&package.ecosystem)?;
    is_short(&package.name).then_some((package.name.as_str(), ecosystem, of))
}

/// `Debian:12` and the like; `None` for what no guest of ours is.
fn ecosystem(name: &str) -> Option<(Ecosystem, Of)> {
    let (system, release) = name.split_once(':').filter(|_| name.len() <= 100)?;
    let first = release.split(':').next().unwrap_or_default();
    let (id, release, of) = match system {
        "Debian" => ("debian", first, Of::Source),
        "Ubuntu" => ("ubuntu", ubuntu_release(release)?, Of::Source),
        "Alpine" => (
            "alpine",
            first.strip_prefix('v').unwrap_or(first),
            Of::Source,
        ),
        "Rocky Linux" => ("rocky", first, Of::Binary),
        "AlmaLinux" => ("almalinux", first, Of::Binary),
        _ => return None,
    };
    (!release.is_empty()).then(|| (Ecosystem::new(id, release), of))
}

/// `22.04:LTS`, `Pro:22.04:LTS`. Kernels and libraries built otherwise, as for FIPS, are left out.
fn ubuntu_release(release: &str) -> Option<&str> {
    let mut number = None;
    for word in release.split(':') {
        match word {
            "LTS" | "Pro" => {}
            word if word.starts_with(|c: char| c.is_ascii_digit()) => number = Some(word),
            _ => return None,
        }
    }
    number
}

/// The ranges that versions are affected in. Where only single versions are listed, those; where
/// nothing is, it is not known.
fn statuses(affected: &Affected) -> Vec<Status> {
    let ranges = affected
        .ranges
        .iter()
        .filter(|range| range.kind == "ECOSYSTEM");
    let mut statuses: Vec<Status> = ranges.flat_map(of_range).collect();
    let single = affected.versions.iter().filter(|version| is_short(version));
    if statuses.is_empty() && affected.versions.len() <= MAX_VERSIONS {
        statuses.extend(single.map(|version| Status::Affected {
            introduced: Some(version.clone()),
            fixed: None,
            last: Some(version.clone()),
        }));
    }
    if statuses.is_empty() {
        statuses.push(Status::Unknown);
    }
    statuses
}

/// Events come in order: each `introduced` lasts until what follows it.
fn of_range(range: &Range) -> Vec<Status> {
    let mut statuses = Vec::new();
    let mut since: Option<Option<String>> = None;
    for event in &range.events {
        if let Some(version) = &event.introduced {
            // "0" is before everything.
            since = Some(Some(version.clone()).filter(|version| version != "0"));
        }
        if (event.fixed.is_some() || event.last_affected.is_some())
            && let Some(introduced) = since.take()
        {
            statuses.push(Status::Affected {
                introduced,
                fixed: event.fixed.clone(),
                last: event.last_affected.clone(),
            });
        }
    }
    if let Some(introduced) = since {
        statuses.push(Status::Affected {
            introduced,
            fixed: None,
            last: None,
        });
    }
    statuses
}
