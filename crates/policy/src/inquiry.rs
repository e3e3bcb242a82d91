//! What a check's function is given and what it gives back.
//!
//! The helpers that several checks share are methods here; what is asked is in [`crate::checks`].

use crate::evidence::Evidence;
use crate::pack::{ParamValue, Params};
use stampo_guest::seal::proof::text_matches;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// It has to change.
    Fail,
    /// It should be known.
    Warn,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub(crate) level: Level,
    /// Where: a path in the guest, or what it is about.
    pub(crate) path: String,
    /// What.
    pub(crate) what: String,
    /// Why it was accepted with the version's seal proof, if it was.
    pub(crate) accepted: Option<String>,
}

impl Found {
    /// It has to change.
    pub(crate) fn fail(path: impl Into<String>, what: impl Into<String>) -> Self {
        Found {
            level: Level::Fail,
            path: path.into(),
            what: what.into(),
            accepted: None,
        }
    }

    /// It should be known.
    pub(crate) fn warn(path: impl Into<String>, what: impl Into<String>) -> Self {
        Found {
            level: Level::Warn,
            ..Found::fail(path, what)
        }
    }
}

/// What a check's function says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The guest has nothing that the check is about; why.
    NotApplicable(String),
    /// It was looked at: nothing found is a pass.
    Looked(Vec<Found>),
    /// It could not be found out; why.
    Unknown(String),
}

impl Answer {
    /// A pass.
    pub(crate) fn pass() -> Self {
        Answer::Looked(Vec::new())
    }

    /// One finding.
    pub(crate) fn fail(path: impl Into<String>, what: impl Into<String>) -> Self {
        Answer::Looked(vec![Found::fail(path, what)])
    }
}

/// A question about a guest.
pub struct Inquiry<'a> {
    pub(crate) evidence: &'a Evidence,
    pub(crate) params: &'a Params,
    /// Seconds since 1970 for everything that depends on the day.
    pub(crate) at_s: i64,
}

impl Inquiry<'_> {
    /// A number that the pack may set. The table and the pack make sure that it is there.
    pub(crate) fn number(&self, name: &str) -> u64 {
        match self.params.get(name) {
            Some(ParamValue::Number(number)) => *number,
            _ => 0,
        }
    }

    /// A list that the pack may set.
    pub(crate) fn list(&self, name: &str) -> &[String] {
        match self.params.get(name) {
            Some(ParamValue::List(list)) => list,
            _ => &[],
        }
    }

    /// Whether a pattern of the list matches; `*` stands for any text.
    pub(crate) fn is_listed(&self, name: &str, text: &str) -> bool {
        self.list(name).iter().any(|p| text_matches(p, text))
    }

    /// The seal proof's findings of these checks. Those that were accepted say why.
    pub(crate) fn proven(&self, prefixes: &[&str]) -> Vec<Found> {
        let of_these = |id: &str| prefixes.iter().any(|prefix| is_of(prefix, id));
        let findings = self.evidence.proof.findings.iter();
        findings
            .filter(|finding| of_these(&finding.id))
            .map(|finding| Found {
                accepted: self.evidence.accepted_reason(&finding.id, &finding.path),
                ..Found::fail(&finding.path, with_detail(&finding.what, &finding.detail))
            })
            .collect()
    }

    /// What the seal proof could not look at for these checks.
    pub(crate) fn unproven(&self, prefixes: &[&str]) -> Vec<String> {
        let of_these = |id: &str| id == "tree" || prefixes.iter().any(|p| is_of(p, id));
        let unknown = self.evidence.proof.unknown.iter();
        unknown
            .filter(|unknown| of_these(&unknown.id))
            .map(|unknown| format!("{}: {}", unknown.path, unknown.why))
            .collect()
    }

    /// Whether a unit is started by something and not masked.
    pub(crate) fn is_started(&self, unit: &str) -> bool {
        let units = &self.evidence.inspection.services.units;
        let mine = units.iter().filter(|service| service.unit == unit);
        let (mut started, mut masked) = (false, false);
        for service in mine {
            started |= !service.wanted_by.is_empty();
            masked |= service.masked;
        }
        started && !masked
    }

    /// Whether a package of this name is installed.
    pub(crate) fn has_package(&self, name: &str) -> bool {
        let packages = &self.evidence.inspection.packages.installed;
        packages
            .iter()
            .any(|package| package.name == name && package.problem.is_none())
    }
}

/// `cred.` stands for all of its area, `tmp.files` for itself.
pub(crate) fn is_of(prefix: &str, id: &str) -> bool {
    if prefix.ends_with('.') {
        id.starts_with(prefix)
    } else {
        prefix == id
    }
}

fn with_detail(what: &str, detail: &str) -> String {
    if detail.is_empty() {
        what.to_owned()
    } else {
        format!("{what}: {detail}")
    }
}
