//! The dpkg database: paragraphs of `Field: value` lines (deb822(5), dpkg's `status` file).
//!
//! A paragraph of `status.d` has no `Status` field; it counts as installed.

use super::look::clip;
use super::packages::{MAX_PACKAGES, Package};

/// The packages that are there, in the file's order. Those removed but for their
/// configuration are left out.
pub fn parse(text: &str) -> Vec<Package> {
    let mut packages = Vec::new();
    let mut paragraph = Paragraph::default();
    for line in text.lines().chain([""]) {
        if line.trim().is_empty() {
            packages.extend(std::mem::take(&mut paragraph).finish());
            if packages.len() >= MAX_PACKAGES {
                break;
            }
        } else {
            paragraph.add(line);
        }
    }
    packages
}

#[derive(Default)]
struct Paragraph<'t> {
    name: Option<&'t str>,
    version: &'t str,
    architecture: &'t str,
    source: Option<&'t str>,
    status: Option<&'t str>,
}

impl<'t> Paragraph<'t> {
    /// Takes one line; continuation lines start with a space and are of no use here.
    fn add(&mut self, line: &'t str) {
        if line.starts_with([' ', '\t']) {
            return;
        }
        let Some((field, value)) = line.split_once(':') else {
            return;
        };
        let value = value.trim();
        match field {
            "Package" => self.name = Some(value),
            "Version" => self.version = value,
            "Architecture" => self.architecture = value,
            "Source" => self.source = Some(value),
            "Status" => self.status = Some(value),
            _ => {}
        }
    }

    fn finish(self) -> Option<Package> {
        let name = self.name.filter(|name| !name.is_empty())?;
        // "want flag state": only the state says what is on the disk.
        let state = self
            .status
            .map(|status| status.split_whitespace().nth(2).unwrap_or("unknown"));
        let problem = match state {
            Some("not-installed" | "config-files") => return None,
            None | Some("installed") => None,
            Some(state) => Some(clip(state)),
        };
        let mut words = self.source.unwrap_or_default().split_whitespace();
        Some(Package {
            name: clip(name),
            version: clip(self.version),
            architecture: clip(self.architecture),
            // "Source: name (version)" when the version differs.
            source: words.next().map(clip),
            source_version: words
                .next()
                .map(|version| clip(version.trim_matches(['(', ')']))),
            problem,
        })
    }
}
