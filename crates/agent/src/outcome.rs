//! How the work on one item ends, in the words of the report.

use stampo_agent_protocol::{Outcome, printable};
use std::fmt::Display;

/// Why an item is not done. It names the act and the file, and never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) String);

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How an item ended.
pub(crate) type Step = Result<Outcome, Failure>;

/// Names the act that an error came from.
pub(crate) trait Doing<T> {
    /// `what` is a lower-case fragment: "write /etc/hostname".
    fn doing(self, what: impl Display) -> Result<T, Failure>;
}

impl<T, E: Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl Display) -> Result<T, Failure> {
        self.map_err(|error| failure(&what, &error))
    }
}

/// One function for all kinds of errors: there are a hundred places, and the program is to be small.
#[cold]
#[inline(never)]
fn failure(what: &dyn Display, error: &dyn Display) -> Failure {
    Failure(format!("{what}: {error}"))
}

/// There is nothing to do.
pub(crate) fn not_needed(why: &str) -> Step {
    Ok(Outcome::NotNeeded { why: why.into() })
}

/// The outcome for the report.
pub(crate) fn settle(step: Step) -> Outcome {
    step.unwrap_or_else(|failure| Outcome::Failed {
        why: printable(&failure.0),
    })
}
