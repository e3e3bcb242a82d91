//! Alpine's package database: paragraphs of `X:value` lines (apk-tools v2, `lib/apk/db/installed`).

use super::look::clip;
use super::packages::{MAX_PACKAGES, Package};

/// The packages in the file's order.
pub fn parse(text: &str) -> Vec<Package> {
    let mut packages = Vec::new();
    let mut package = Package::default();
    for line in text.lines().chain([""]) {
        if line.is_empty() {
            let done = std::mem::take(&mut package);
            if !done.name.is_empty() {
                packages.push(done);
            }
            if packages.len() >= MAX_PACKAGES {
                break;
            }
            continue;
        }
        match line.split_once(':') {
            Some(("P", value)) => package.name = clip(value),
            Some(("V", value)) => package.version = clip(value),
            Some(("A", value)) => package.architecture = clip(value),
            Some(("o", value)) => package.source = Some(clip(value)),
            _ => {}
        }
    }
    packages.iter_mut().for_each(|package| {
        package.source.take_if(|source| *source == package.name);
    });
    packages
}
