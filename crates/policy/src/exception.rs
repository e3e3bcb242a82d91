//! Findings that somebody accepted: which, for which versions, who answers for it, why, until when.
//!
//! An exception ends by itself. One that has ended counts for nothing, and reports say so.

use serde::{Deserialize, Serialize};
use stampo_core::date::{DAY_S, start_of};
use stampo_guest::seal::proof::text_matches;

/// Longest text of an exception, in bytes.
const MAX_TEXT_BYTES: usize = 4096;

/// An accepted finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "RawException")]
pub struct Exception {
    /// The id of the check.
    check: String,
    /// The versions: `name@N` or `name@*`; `*` stands for any text.
    subject: String,
    /// The place of the finding; `*` stands for any text. Every place when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// Who answers for it.
    owner: String,
    /// Why it is accepted.
    reason: String,
    /// The last day on which it counts, `YYYY-MM-DD`.
    expires: String,
}

/// An exception as it is written down.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawException {
    /// See [`Exception`].
    pub check: String,
    /// See [`Exception`].
    pub subject: String,
    /// See [`Exception`].
    #[serde(default)]
    pub path: Option<String>,
    /// See [`Exception`].
    pub owner: String,
    /// See [`Exception`].
    pub reason: String,
    /// See [`Exception`].
    pub expires: String,
}

/// Why an exception can't be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ExceptionError {
    /// It is about nothing.
    #[error("make an exception: there is no check {0:?}")]
    UnknownCheck(String),
    /// Without it nobody can judge or renew it later.
    #[error("make an exception for {check}: its {what} is empty or too long")]
    Empty {
        /// The check.
        check: String,
        /// What it lacks.
        what: &'static str,
    },
    /// It would never end, or end on no day.
    #[error("make an exception for {check}: {text:?} is no day such as 2027-01-31")]
    NoDay {
        /// The check.
        check: String,
        /// What was given.
        text: String,
    },
}

impl TryFrom<RawException> for Exception {
    type Error = ExceptionError;

    fn try_from(raw: RawException) -> Result<Self, Self::Error> {
        if crate::check(&raw.check).is_none() {
            return Err(ExceptionError::UnknownCheck(raw.check));
        }
        let path = raw.path.as_deref().unwrap_or("*");
        let texts = [
            ("subject", raw.subject.as_str()),
            ("path", path),
            ("owner", &raw.owner),
            ("reason", &raw.reason),
        ];
        for (what, text) in texts {
            if text.trim().is_empty() || text.len() > MAX_TEXT_BYTES {
                let check = raw.check;
                return Err(ExceptionError::Empty { check, what });
            }
        }
        if start_of(&raw.expires).is_none() {
            let (check, text) = (raw.check, raw.expires);
            return Err(ExceptionError::NoDay { check, text });
        }
        Ok(Exception {
            check: raw.check,
            subject: raw.subject.trim().to_owned(),
            path: raw.path,
            owner: raw.owner.trim().to_owned(),
            reason: raw.reason.trim().to_owned(),
            expires: raw.expires,
        })
    }
}

impl Exception {
    /// The id of the check.
    pub fn check(&self) -> &str {
        &self.check
    }

    /// Why, by whom and until when, in one line.
    pub fn in_words(&self) -> String {
        format!("{} ({}, until {})", self.reason, self.owner, self.expires)
    }

    /// Whether it counts at this moment.
    pub fn counts_at(&self, at_s: i64) -> bool {
        start_of(&self.expires).is_some_and(|start| at_s < start + DAY_S)
    }

    /// Whether it is about findings of this check in this version.
    pub fn is_about(&self, check: &str, subject: &str) -> bool {
        self.check == check && text_matches(&self.subject, subject)
    }

    /// Whether it is about a finding at this place; see [`Exception::is_about`].
    pub fn covers(&self, path: &str) -> bool {
        self.path
            .as_deref()
            .is_none_or(|pattern| text_matches(pattern, path))
    }

    /// Whether it is about every place, and so about what could not be looked at as well.
    pub fn covers_all(&self) -> bool {
        self.path.is_none()
    }
}
