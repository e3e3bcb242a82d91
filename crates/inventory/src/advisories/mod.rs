//! What others say about vulnerabilities: four formats, read into one [`Statement`] for each package of
//! each release.
//!
//! The files are downloads that an administrator hands over; they are hostile all the same. Depth is
//! bounded by serde_json, lengths by the limits here, and everything else by the length of the input.
//! An entry that makes no sense is counted and left out; a file that is no such file is an error.

pub mod csaf;
pub mod debian;
pub mod kev;
pub mod osv;

use crate::inventory::Ecosystem;
use crate::version::compare;
use stampo_guest::inspect::packages::{Package, PackageManager};
use std::cmp::Ordering;

/// Longest name, version or id that is kept, in bytes.
const MAX_FIELD_BYTES: usize = 512;
/// Most statements that one document may make.
pub const MAX_STATEMENTS: usize = 200_000;

/// What kind of package a statement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// A source package, and all that was built from it.
    Source,
    /// A package as it is installed.
    Binary,
}

/// Which versions are affected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Those from `introduced` to before `fixed`, or to `last`; without limit where there is none.
    Affected {
        /// The first one.
        introduced: Option<String>,
        /// The first that is not affected any more.
        fixed: Option<String>,
        /// The last one.
        last: Option<String>,
    },
    /// None.
    NotAffected,
    /// Whoever says it does not know yet.
    Unknown,
}

/// One thing that is said about one package of one release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The vulnerability.
    pub cve: String,
    /// The speaker's own name for what is said.
    pub id: String,
    /// The release.
    pub ecosystem: Ecosystem,
    /// The package.
    pub package: String,
    /// What kind of package.
    pub of: Of,
    /// What is said.
    pub status: Status,
}

/// Why a file can't be read.
#[derive(Debug, thiserror::Error)]
pub enum AdvisoryError {
    /// It is not JSON of this format.
    #[error("read it as {format}")]
    Json {
        /// The format.
        format: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// It says more than one document may.
    #[error("read it as {0}: it makes too many statements")]
    TooMany(&'static str),
}

/// Whether a text is the id of a vulnerability, as in CVE-2026-12345.
pub fn is_cve(text: &str) -> bool {
    let numbers = text
        .strip_prefix("CVE-")
        .and_then(|rest| rest.split_once('-'));
    numbers.is_some_and(|(year, number)| {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        year.len() == 4 && (4..=19).contains(&number.len()) && digits(year) && digits(number)
    })
}

/// Whether a text is short enough to be a name or a version.
fn is_short(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_FIELD_BYTES
}

/// What statements mean for one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has the vulnerability; the version that does not, if there is one.
    Affected(Option<String>),
    /// It does not have it, because it is new enough or never had.
    NotAffected,
    /// It can't be said, and why.
    Unknown(&'static str),
}

/// Judges a package by everything that is said about it. Whoever says that it is affected is believed
/// before whoever says that it is not, and a doubt before a denial.
pub fn judge<'s>(
    manager: Option<PackageManager>,
    package: &Package,
    statements: impl Iterator<Item = (Of, &'s Status)>,
) -> Verdict {
    let Some(manager) = manager else {
        return Verdict::Unknown("versions of this distribution can't be compared");
    };
    let mut verdict = Verdict::Unknown("nothing is said about it");
    for (of, status) in statements {
        let version = match of {
            Of::Source => crate::inventory::source_of(package).1,
            Of::Binary => package.version.as_str(),
        };
        let next = match status {
            Status::Unknown => Verdict::Unknown("it is not decided for this release"),
            Status::NotAffected => Verdict::NotAffected,
            Status::Affected { .. } if version.is_empty() => {
                Verdict::Unknown("its version is not known")
            }
            Status::Affected {
                introduced,
                fixed,
                last,
            } => {
                let is = |limit: &Option<String>, wanted: fn(Ordering) -> bool| {
                    let order = |limit: &String| compare(manager, version, limit);
                    limit.as_ref().is_none_or(|limit| wanted(order(limit)))
                };
                let is_in = is(introduced, Ordering::is_ge)
                    && is(fixed, Ordering::is_lt)
                    && is(last, Ordering::is_le);
                if is_in {
                    Verdict::Affected(fixed.clone())
                } else {
                    Verdict::NotAffected
                }
            }
        };
        verdict = worse(manager, verdict, next);
    }
    verdict
}

fn worse(manager: PackageManager, a: Verdict, b: Verdict) -> Verdict {
    match (a, b) {
        // The version that is free of all that is said.
        (Verdict::Affected(Some(a)), Verdict::Affected(Some(b))) => {
            let later = if compare(manager, &a, &b).is_lt() {
                b
            } else {
                a
            };
            Verdict::Affected(Some(later))
        }
        (Verdict::Affected(fixed), Verdict::Affected(other)) => Verdict::Affected(fixed.or(other)),
        (affected @ Verdict::Affected(_), _) | (_, affected @ Verdict::Affected(_)) => affected,
        (Verdict::Unknown("nothing is said about it"), other) => other,
        (unknown @ Verdict::Unknown(_), _) | (_, unknown @ Verdict::Unknown(_)) => unknown,
        (Verdict::NotAffected, Verdict::NotAffected) => Verdict::NotAffected,
    }
}
