//! What a proof says: findings, what was looked at, what could not be looked at, exceptions.
//!
//! It never holds the value of a secret. How findings are made is not known here.

use serde::{Deserialize, Serialize};

/// What kind of thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Two clones that share it are taken for one machine somewhere.
    Identity,
    /// Whoever has a clone has it.
    Secret,
    /// Traces of the machine that the template was, or of its people.
    Residue,
}

/// Something that must not be in a template.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// The check that found it, for example `ssh.host-keys`.
    pub id: String,
    /// What kind of thing it is.
    pub kind: Kind,
    /// What it is, in words.
    pub what: String,
    /// Where it is in the guest.
    pub path: String,
    /// What was seen, never the value of a secret. Empty when there is nothing to add.
    pub detail: String,
    /// How to mend it.
    pub remedy: String,
}

/// How much a check looked at. 0 means that nothing it looks for was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The check.
    pub id: String,
    /// Entries of the guest that it looked at.
    pub entries: u64,
}

/// Something that could not be looked at. It counts as not proven.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unknown {
    /// The check that could not be made; `tree` when no check could see the path.
    pub id: String,
    /// Where.
    pub path: String,
    /// Why.
    pub why: String,
}

/// What an independent look at a sealed guest found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The reader that was used, to show that it is not the writer's code.
    pub reader: String,
    /// The table's edition: a proof of an older edition knows less.
    pub edition: u32,
    /// Everything found, sorted.
    pub findings: Vec<Finding>,
    /// Every check, with how much it looked at.
    pub checked: Vec<Checked>,
    /// What could not be looked at.
    pub unknown: Vec<Unknown>,
}

/// Why a finding is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawException", deny_unknown_fields)]
pub struct Exception {
    /// The id of the finding; `*` stands for any text.
    finding: String,
    /// The path of the finding; `*` stands for any text. Every path when absent.
    path: Option<String>,
    /// Why it is accepted.
    reason: String,
}

/// An exception as it is written down.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawException {
    finding: String,
    #[serde(default)]
    path: Option<String>,
    reason: String,
}

/// Why an exception can't be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ExceptionError {
    /// Without a reason nobody can judge it later.
    #[error("accept {finding}: an exception needs a reason")]
    NoReason {
        /// The finding that it is about.
        finding: String,
    },
    /// It would apply to nothing.
    #[error("make an exception: it names no finding")]
    NoFinding,
    /// It would switch the proof off.
    #[error("accept {finding}: an exception for every finding needs a path")]
    TooWide {
        /// The pattern as given.
        finding: String,
    },
}

impl TryFrom<RawException> for Exception {
    type Error = ExceptionError;

    fn try_from(raw: RawException) -> Result<Self, Self::Error> {
        Exception::new(&raw.finding, raw.path.as_deref(), &raw.reason)
    }
}

impl Exception {
    /// An exception for findings whose id, and path if given, match. `*` stands for any text.
    pub fn new(finding: &str, path: Option<&str>, reason: &str) -> Result<Self, ExceptionError> {
        let (finding, reason) = (finding.trim(), reason.trim());
        if finding.is_empty() {
            return Err(ExceptionError::NoFinding);
        }
        if reason.is_empty() {
            return Err(ExceptionError::NoReason {
                finding: finding.into(),
            });
        }
        let says_nothing = |text: &str| text.chars().all(|c| matches!(c, '*' | '/' | '.'));
        if says_nothing(finding) && path.is_none_or(says_nothing) {
            return Err(ExceptionError::TooWide {
                finding: finding.into(),
            });
        }
        Ok(Exception {
            finding: finding.to_owned(),
            path: path.map(str::to_owned),
            reason: reason.to_owned(),
        })
    }

    /// The pattern of ids.
    pub fn finding(&self) -> &str {
        &self.finding
    }

    /// The pattern of paths.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Why.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether it accepts a finding of this id at this path.
    pub fn applies_to(&self, id: &str, path: &str) -> bool {
        let of_path = self
            .path
            .as_deref()
            .is_none_or(|pattern| text_matches(pattern, path));
        of_path && text_matches(&self.finding, id)
    }
}

impl Proof {
    /// The findings that no exception accepts.
    pub fn open_findings(&self, exceptions: &[Exception]) -> Vec<&Finding> {
        let is_open = |finding: &&Finding| {
            !exceptions
                .iter()
                .any(|exception| exception.applies_to(&finding.id, &finding.path))
        };
        self.findings.iter().filter(is_open).collect()
    }

    /// What could not be looked at and no exception accepts.
    pub fn open_unknown(&self, exceptions: &[Exception]) -> Vec<&Unknown> {
        let is_open = |unknown: &&Unknown| {
            !exceptions
                .iter()
                .any(|exception| exception.applies_to(&unknown.id, &unknown.path))
        };
        self.unknown.iter().filter(is_open).collect()
    }

    /// Whether nothing was found and everything was looked at, exceptions aside.
    pub fn is_proven(&self, exceptions: &[Exception]) -> bool {
        self.open_findings(exceptions).is_empty() && self.open_unknown(exceptions).is_empty()
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any text.
pub fn text_matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        // The earliest place leaves the most for what follows.
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}
