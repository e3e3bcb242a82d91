//! What went wrong, in a form that a person and a program can use (in the manner of RFC 9457).

use serde::{Deserialize, Serialize};
use std::fmt;

/// The kind of a problem. Each has one exit code of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It failed for a reason outside the request. Exit code 1.
    Failed,
    /// The request makes no sense. Exit code 2.
    Usage,
    /// Something named in the request does not exist. Exit code 3.
    NotFound,
    /// A rule forbids it. Exit code 4.
    Denied,
    /// It does not fit the present state: a name is taken, a guest runs. Exit code 5.
    Conflict,
    /// Some of it was done. Exit code 6.
    Partial,
    /// It was cancelled; nothing of it remains. Exit code 130.
    Cancelled,
}

impl Kind {
    /// The exit code of the command line.
    pub const fn exit_code(self) -> u8 {
        match self {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::NotFound => 3,
            Kind::Denied => 4,
            Kind::Conflict => 5,
            Kind::Partial => 6,
            Kind::Cancelled => 130,
        }
    }
}

/// A problem: what, why, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its kind.
    pub kind: Kind,
    /// What failed: a fragment that fits after "failed to".
    pub message: String,
    /// Why, from the nearest cause to the farthest.
    pub causes: Vec<String>,
    /// The next command or step, if one is known.
    pub hints: Vec<String>,
}

impl Problem {
    /// A problem without causes and hints.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Problem {
            kind,
            message: message.into(),
            causes: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// The problem of this kind that an error describes, with its chain of sources as causes.
    pub fn from_error(kind: Kind, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut problem = Problem::new(kind, error.to_string());
        let mut source = error.source();
        while let Some(error) = source {
            let text = error.to_string();
            if problem.causes.last() != Some(&text) && problem.message != text {
                problem.causes.push(text);
            }
            source = error.source();
        }
        problem
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}
