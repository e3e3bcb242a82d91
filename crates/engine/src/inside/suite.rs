//! A suite's package index, and which suite it is: by the release file beside it, by the name that apt
//! gives to the index, or as the administrator says.

use super::source::{Loaded, Loading};
use crate::error::EngineError;
use stampo_inventory::index::{
    Newest, Suite, keep_newest, read_packages, read_release, release_of_suite,
};
use stampo_store::AvailableRow;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

/// Largest release file, in bytes.
const MAX_RELEASE_BYTES: u64 = 4 << 20;

/// Loads an index as a source of its own, named after its suite and its place in it.
pub(super) fn load(
    path: &Path,
    text: &mut dyn BufRead,
    suite: Option<&str>,
    loading: &mut Loading<'_, '_>,
) -> Result<Loaded, EngineError> {
    let usage = |why: String| EngineError::Usage {
        act: format!("import {}", path.display()),
        why,
    };
    let release = release_beside(path);
    let name = suite
        .map(str::to_owned)
        .or(release.as_ref().map(|of| of.codename.clone()));
    let name = name.or_else(|| suite_in_name(path)).ok_or_else(|| {
        usage("nothing says which suite it is of; add --suite bookworm-security".to_owned())
    })?;
    // What the file beside it says only counts for the suite that it is of.
    let release = release.filter(|of| of.codename == name);
    let origin = release.as_ref().map(|of| of.origin.as_str());
    let ecosystem = release_of_suite(&name, origin).ok_or_else(|| {
        usage(format!(
            "{name} is not a suite of security updates, as bookworm-security is"
        ))
    })?;
    let mut newest = Newest::new();
    let mut take = |offered| {
        keep_newest(&mut newest, offered);
        Ok::<_, std::io::Error>(())
    };
    let read = read_packages(text, &mut take);
    read.map_err(EngineError::io("read", path))?;
    loading.begin(
        "index",
        &format!("{name}/{}", place_in_suite(path, &newest)),
    )?;
    loading.cover(&ecosystem.0);
    loading.dated_ms(release.and_then(|of| date_ms(&of.date)));
    let mut rows: Vec<_> = newest.into_iter().collect();
    rows.sort();
    for ((name, architecture), version) in rows {
        loading.offer(&AvailableRow {
            name,
            architecture,
            version,
        })?;
    }
    loading.end()
}

/// The release file of an index: in apt's directory with the same beginning, in a mirror three or
/// more directories above.
fn release_beside(path: &Path) -> Option<Suite> {
    let path = path.canonicalize().ok()?;
    let name = path.file_name()?.to_str()?;
    let mut places: Vec<PathBuf> = Vec::new();
    if let Some((before, rest)) = name.split_once("_dists_") {
        let suite = rest.split('_').next()?;
        places.push(path.with_file_name(format!("{before}_dists_{suite}_")));
    }
    let above = path.ancestors().skip(1).take(4);
    places.extend(above.map(|dir| dir.join("")));
    let files = places.iter().flat_map(|place| {
        ["InRelease", "Release"].map(|name| PathBuf::from(format!("{}{name}", place.display())))
    });
    files.into_iter().find_map(|file| {
        let mut text = String::new();
        let opened = std::fs::File::open(file).ok()?;
        opened
            .take(MAX_RELEASE_BYTES)
            .read_to_string(&mut text)
            .ok()?;
        Some(read_release(&text)).filter(|suite| !suite.codename.is_empty())
    })
}

/// `…_dists_bookworm-security_main_binary-amd64_Packages`, as apt names it.
fn suite_in_name(path: &Path) -> Option<String> {
    let (_, rest) = path.file_name()?.to_str()?.split_once("_dists_")?;
    rest.split('_').next().map(str::to_owned)
}

/// The component, where a name or a directory says it, and the architectures: indexes of one suite are
/// sources of their own.
fn place_in_suite(path: &Path, newest: &Newest) -> String {
    let text = path.display().to_string();
    let components = [
        "main",
        "contrib",
        "non-free-firmware",
        "non-free",
        "restricted",
        "universe",
        "multiverse",
    ];
    let words: Vec<&str> = text.split(['/', '_']).collect();
    let component = components.into_iter().find(|name| words.contains(name));
    let mut architectures: Vec<&str> = newest.keys().map(|(_, of)| of.as_str()).collect();
    architectures.retain(|of| *of != "all" && !of.is_empty());
    architectures.sort_unstable();
    architectures.dedup();
    let architectures = match architectures[..] {
        [] => "all".to_owned(),
        _ => architectures.join("+"),
    };
    format!("{}/{architectures}", component.unwrap_or("main"))
}

/// `Thu, 19 Nov 2026 08:12:13 UTC`.
fn date_ms(text: &str) -> Option<i64> {
    let text = text.replace("UTC", "+0000").replace("GMT", "+0000");
    let at = jiff::fmt::rfc2822::parse(&text).ok()?;
    Some(at.timestamp().as_millisecond())
}
