//! What a user could have wrong on this host, and how to mend it.
//!
//! Each check says what was found, why it matters and what to do. A check that could not be made
//! is `Unknown`, never `Ok`. Nothing is changed, apart from probe files that are removed again and
//! the remembered answer of the acceleration probe.

mod home;
mod host;
mod tools;

use crate::options::Options;
use serde::Serialize;
use std::path::PathBuf;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Something works less well, or not at all, that not everybody needs.
    Warn,
    /// Guests can't be built or started.
    Fail,
    /// It could not be found out.
    Unknown,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// A stable name, for example `qemu`.
    pub id: &'static str,
    /// How it ended.
    pub status: Status,
    /// What was found, for example `QEMU 10.0.2 at /usr/bin/qemu-system-x86_64`.
    pub found: String,
    /// What it is needed for.
    pub why: &'static str,
    /// What to do, when something is to be done.
    pub remedy: Option<String>,
}

impl Check {
    fn ok(id: &'static str, why: &'static str, found: impl Into<String>) -> Self {
        Check {
            id,
            status: Status::Ok,
            found: found.into(),
            why,
            remedy: None,
        }
    }

    fn bad(
        id: &'static str,
        status: Status,
        why: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Check {
            id,
            status,
            found: found.into(),
            why,
            remedy: Some(remedy.into()),
        }
    }
}

/// What to look at.
#[derive(Debug, Clone)]
pub struct DoctorOptions {
    /// The home of catalog, images and guests. It may be missing: it is made when first used.
    pub home: PathBuf,
    /// As guests would be started.
    pub driver: Options,
}

/// Makes every check. Takes as long as the acceleration probe, at most some seconds.
pub fn checks(options: &DoctorOptions) -> Vec<Check> {
    let mut checks = Vec::new();
    tools::add(&mut checks, options);
    host::add(&mut checks, options);
    home::add(&mut checks, options);
    checks
}

/// Bytes for people: one decimal of the largest fitting binary unit.
fn human(bytes: u64) -> String {
    stampo_core::size::ByteSize(bytes).to_string()
}

#[cfg(test)]
mod tests;
