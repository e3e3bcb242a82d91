//! Where packages come from: what the recipe says, or what this host itself uses for Debian.
//!
//! The host's sources are read in both formats of sources.list(5): one line each (`*.list`) and
//! deb822 (`*.sources`). Only the Debian archive and its security archive are taken over, so that
//! a template gets current packages from the mirror that is known to be reachable; third-party
//! archives of the host never get into a template by themselves.

use crate::recipe::Recipe;
use std::path::{Path, PathBuf};

/// Where Debian keeps the archive's keys; the same path in the host and in the guest.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Releases without a security archive and without updates.
const ROLLING: [&str; 4] = ["sid", "unstable", "experimental", "testing"];

/// One archive that a host takes packages from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AptSource {
    /// The archive's address.
    pub uri: String,
    /// As in `bookworm` or `bookworm-security`.
    pub suites: Vec<String>,
    /// The keyring that signs it, where a path is named.
    pub signed_by: Option<PathBuf>,
}

/// Why there is nowhere to take packages from.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Neither the recipe nor the host names an archive.
    #[error("find a Debian archive: this host's apt sources name none; set 'mirror' in the recipe")]
    NoArchive,
    /// The keys that the archive is verified with.
    #[error(
        "verify Debian's packages: {path:?} is missing; install it with 'sudo apt-get install debian-archive-keyring'"
    )]
    NoKeyring {
        /// The keyring's path.
        path: PathBuf,
    },
}

/// Where a build takes packages from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// Lines for the build.
    pub lines: Vec<String>,
    /// Lines that stay in the guest.
    pub guest_lines: Vec<String>,
}

/// The moment of a snapshot (`20260101T000000Z`) in seconds since 1970.
pub fn snapshot_epoch(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| -> Option<u64> {
        let part = text.get(range)?;
        part.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| part.parse().ok())?
    };
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let (year, month, day) = (digits(0..4)?, digits(4..6)?, digits(6..8)?);
    let (hour, minute, second) = (digits(9..11)?, digits(11..13)?, digits(13..15)?);
    if !(2005..2100).contains(&year) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let start = stampo_core::date::start_of(&format!("{year:04}-{month:02}-{day:02}"))?;
    Some(u64::try_from(start).ok()? + hour * 3_600 + minute * 60 + second)
}

/// The sources of `recipe`. `host` is what [`host_sources`] found.
pub fn plan(recipe: &Recipe, host: &[AptSource]) -> Result<Sources, SourceError> {
    if !recipe.sources.is_empty() {
        let lines = recipe.sources.clone();
        return Ok(Sources {
            guest_lines: lines.clone(),
            lines,
        });
    }
    let main = host.iter().find(|source| is_archive(source));
    let keyring = main
        .and_then(|source| source.signed_by.clone())
        .filter(|path| path.is_file());
    let keyring = keyring.unwrap_or_else(|| PathBuf::from(KEYRING));
    if !keyring.is_file() {
        return Err(SourceError::NoKeyring { path: keyring });
    }
    let key = keyring.to_string_lossy();
    let own = own_archives(main, host);
    if let (Some(moment), Some(service)) = (&recipe.snapshot, &recipe.mirror) {
        let at = |archive| {
            format!(
                "{}/archive/{archive}/{moment}",
                service.trim_end_matches('/')
            )
        };
        let options = format!("signed-by={key} check-valid-until=no");
        let lines = archive_lines(recipe, &options, &at("debian"), &at("debian-security"));
        // The guest goes on with current packages where the host knows of any.
        let guest_lines = own.map_or_else(
            || lines.clone(),
            |(main, security)| {
                archive_lines(recipe, &format!("signed-by={KEYRING}"), &main, &security)
            },
        );
        return Ok(Sources { lines, guest_lines });
    }
    let (archive, security) = match (&recipe.mirror, own) {
        (Some(mirror), Some((_, security))) => (mirror.trim_end_matches('/').to_owned(), security),
        (Some(mirror), None) => {
            let mirror = mirror.trim_end_matches('/');
            (mirror.to_owned(), format!("{mirror}-security"))
        }
        (None, Some(own)) => own,
        (None, None) => return Err(SourceError::NoArchive),
    };
    let lines = archive_lines(recipe, &format!("signed-by={key}"), &archive, &security);
    let guest_lines = archive_lines(recipe, &format!("signed-by={KEYRING}"), &archive, &security);
    Ok(Sources { lines, guest_lines })
}

/// The archive and the security archive that this host uses, the second beside the first where
/// the host has none of its own.
fn own_archives(main: Option<&AptSource>, host: &[AptSource]) -> Option<(String, String)> {
    let uri = |source: &AptSource| source.uri.trim_end_matches('/').to_owned();
    let archive = uri(main?);
    let security = host.iter().find(|source| is_security(source));
    let beside = format!("{archive}-security");
    Some((archive, security.map_or(beside, uri)))
}

fn archive_lines(recipe: &Recipe, options: &str, archive: &str, security: &str) -> Vec<String> {
    let (release, components) = (&recipe.release, recipe.components.join(" "));
    let mut lines = vec![format!("deb [{options}] {archive} {release} {components}")];
    if !ROLLING.contains(&release.as_str()) {
        lines.push(format!(
            "deb [{options}] {archive} {release}-updates {components}"
        ));
        lines.push(format!(
            "deb [{options}] {security} {release}-security {components}"
        ));
    }
    lines
}

/// Whether this is Debian's main archive, whatever mirror it is on.
fn is_archive(source: &AptSource) -> bool {
    let path = source.uri.trim_end_matches('/');
    path.ends_with("/debian")
        && source
            .suites
            .iter()
            .any(|suite| !suite.contains(['-', '/']))
}

fn is_security(source: &AptSource) -> bool {
    let path = source.uri.trim_end_matches('/');
    let suite = |suite: &String| suite.ends_with("-security") || suite.ends_with("/updates");
    path.ends_with("/debian-security") && source.suites.iter().any(suite)
}

/// What this host's apt is configured with, in the order that apt reads it. A file that can't be
/// read counts as empty: the defaults serve then.
pub fn host_sources(etc_apt: &Path) -> Vec<AptSource> {
    let mut files = vec![etc_apt.join("sources.list")];
    let parts = std::fs::read_dir(etc_apt.join("sources.list.d"));
    let mut parts: Vec<PathBuf> = parts
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    parts.sort();
    files.extend(parts);
    let mut sources = Vec::new();
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(text.lines().filter_map(one_line)),
            Some("sources") => sources.extend(deb822(&text)),
            _ => {}
        }
    }
    sources
}

/// `deb [options] uri suite component…`
fn one_line(line: &str) -> Option<AptSource> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb ")?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    let signed_by = options
        .split_whitespace()
        .find_map(|o| o.strip_prefix("signed-by="));
    Some(AptSource {
        uri: uri.to_owned(),
        suites: vec![suite.to_owned()],
        signed_by: signed_by.map(PathBuf::from),
    })
}

/// Paragraphs of `Key: value`, continued by lines that start with a space; `#` starts a comment.
fn deb822(text: &str) -> Vec<AptSource> {
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .fold(String::new(), |all, line| all + line + "\n");
    let mut sources = Vec::new();
    for paragraph in text.split("\n\n") {
        let field = |name: &str| {
            paragraph.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name)
                    .then(|| value.trim().to_owned())
            })
        };
        let words = |name| {
            field(name)
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect()
        };
        let types: Vec<String> = words("Types");
        let enabled = field("Enabled").is_none_or(|value| !value.eq_ignore_ascii_case("no"));
        if !enabled || !types.iter().any(|kind| kind == "deb") {
            continue;
        }
        let uris: Vec<String> = words("URIs");
        let signed_by = field("Signed-By")
            .filter(|path| path.starts_with('/'))
            .map(PathBuf::from);
        let suites: Vec<String> = words("Suites");
        sources.extend(uris.into_iter().map(|uri| AptSource {
            uri,
            suites: suites.clone(),
            signed_by: signed_by.clone(),
        }));
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_snapshots() {
        assert_eq!(snapshot_epoch("20260101T000000Z"), Some(1_767_225_600));
        assert_eq!(snapshot_epoch("20240229T235959Z"), Some(1_709_251_199));
        for bad in [
            "",
            "2026",
            "20261301T000000Z",
            "20260101T250000Z",
            "20260101 000000Z",
            "+0260101T000000Z",
        ] {
            assert_eq!(snapshot_epoch(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_hosts_own_mirror_is_found_in_both_formats() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("sources.list.d")).expect("a directory");
        let write =
            |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("a file");
        write(
            "sources.list",
            "# deb http://no/debian x main\ndeb [arch=amd64] https://third.example/apt any main\n",
        );
        write(
            "sources.list.d/debian.sources",
            "# c\nTypes: deb\nURIs: http://mirror.example/debian/\nSuites: trixie trixie-updates\n\
             Components: main\n\nTypes: deb deb-src\n# c\nURIs: http://sec.example/debian-security\n\
             Suites: trixie-security\nEnabled: yes\n",
        );
        let host = host_sources(dir.path());
        assert_eq!(host.len(), 3);
        if !Path::new(KEYRING).is_file() {
            panic!("install debian-archive-keyring to run the tests");
        }
        let plan = plan(&Recipe::default(), &host).expect("a plan");
        assert_eq!(
            plan.lines,
            [
                format!("deb [signed-by={KEYRING}] http://mirror.example/debian bookworm main"),
                format!(
                    "deb [signed-by={KEYRING}] http://mirror.example/debian bookworm-updates main"
                ),
                format!(
                    "deb [signed-by={KEYRING}] http://sec.example/debian-security bookworm-security main"
                ),
            ]
        );
    }

    #[test]
    fn a_snapshot_is_for_the_build_only() {
        let recipe = Recipe {
            snapshot: Some("20260101T000000Z".into()),
            mirror: Some("http://snapshot.example/".into()),
            ..Recipe::default()
        };
        let host = AptSource {
            uri: "http://mirror.example/debian".into(),
            suites: vec!["bookworm".into()],
            signed_by: None,
        };
        let plan = plan(&recipe, &[host]).expect("a plan");
        let old = "http://snapshot.example/archive/debian/20260101T000000Z bookworm main";
        assert!(plan.lines[0].ends_with(old), "{plan:?}");
        assert!(
            plan.guest_lines
                .iter()
                .all(|line| !line.contains("snapshot")),
            "{plan:?}"
        );
    }

    #[test]
    fn without_any_archive_the_user_is_told_to_name_one() {
        let error = plan(&Recipe::default(), &[]).expect_err("nowhere to take packages from");
        assert!(matches!(error, SourceError::NoArchive), "{error}");
        let named = Recipe {
            mirror: Some("http://mirror.example/debian".into()),
            ..Recipe::default()
        };
        let lines = plan(&named, &[]).expect("a plan").lines;
        assert!(
            lines[2].contains("http://mirror.example/debian-security "),
            "{lines:?}"
        );
    }
}
