//! What an evaluation says: a verdict for each check, with what, where, why and what mends it.
//!
//! A report is stable: the same evidence, pack and moment give the same bytes and the same digest.
//! It holds no secret, since evidence holds none.

use crate::check::{Severity, Verdict};
use crate::evidence::digest;
use crate::pack::Mode;
use crate::point::Point;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What every report says it is.
pub const SCHEMA: &str = "stampo.policy-report/1";

/// What a report is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The version, `name@N`, or another name of a disk.
    pub name: String,
    /// The id of its image.
    pub image: String,
}

/// The pack that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackUsed {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its digest.
    pub digest: String,
    /// Where nothing that applies is refused: the pack is enforced there.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub enforced_at: BTreeSet<Point>,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// Where: a path in the guest, or what it is about.
    pub path: String,
    /// What.
    pub what: String,
    /// Whether it is only to be known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warning: bool,
    /// Why it is accepted, by whom and until when, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
}

/// How one check ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The check.
    pub check: String,
    /// What should be so.
    pub title: String,
    /// How bad it is.
    pub severity: Severity,
    /// What follows when it fails or is unknown.
    pub mode: Mode,
    /// When it follows.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub at: BTreeSet<Point>,
    /// How it ended.
    pub verdict: Verdict,
    /// Why it matters.
    pub rationale: String,
    /// The one command that mends it.
    pub remedy: String,
    /// What it maps to elsewhere.
    pub refs: Vec<String>,
    /// What was found, also what is accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Why it is unknown or does not apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
    /// Exceptions that would have counted, had they not ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended_exceptions: Vec<String>,
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// What it is about.
    pub subject: About,
    /// The pack.
    pub pack: PackUsed,
    /// The digest of the evidence.
    pub evidence: String,
    /// The edition of the table of checks.
    pub edition: u32,
    /// The moment for which it was made, RFC 3339.
    pub at: String,
    /// The worst of all checks. Fail also when nothing applied.
    pub verdict: Verdict,
    /// Whether a check that is enforced failed or is unknown, or nothing applied and the pack is
    /// enforced: what was asked for is to be refused.
    pub refused: bool,
    /// How many checks ended how.
    pub counts: BTreeMap<Verdict, usize>,
    /// Every check of the pack, in the order of the table.
    pub outcomes: Vec<Outcome>,
}

impl Report {
    /// BLAKE3 over the report as JSON, in hexadecimal.
    pub fn digest(&self) -> String {
        digest(self)
    }

    /// The checks whose findings count, or which are unknown: the worst first.
    pub fn open(&self) -> Vec<&Outcome> {
        let is_open =
            |o: &&Outcome| matches!(o.verdict, Verdict::Fail | Verdict::Unknown | Verdict::Warn);
        let mut open: Vec<&Outcome> = self.outcomes.iter().filter(is_open).collect();
        open.sort_by_key(|outcome| {
            let rank = weight(outcome.verdict);
            (
                std::cmp::Reverse(outcome.mode),
                std::cmp::Reverse(rank),
                std::cmp::Reverse(outcome.severity),
            )
        });
        open
    }

    /// Checks that are to be told at this point: those in the mode `warn` that failed or are
    /// unknown.
    pub fn warned_at(&self, point: Point) -> impl Iterator<Item = &Outcome> {
        self.bad(Mode::Warn)
            .filter(move |outcome| outcome.at.contains(&point))
    }

    /// Checks for which something is refused.
    pub fn refusing(&self) -> impl Iterator<Item = &Outcome> {
        self.bad(Mode::Enforce)
    }

    /// Why it is refused at this point; `None` when it is not.
    pub fn refusal_at(&self, point: Point) -> Option<String> {
        let here = self
            .refusing()
            .filter(|outcome| outcome.at.contains(&point));
        let checks: Vec<String> = here
            .map(|outcome| format!("{} ({})", outcome.check, outcome.verdict.as_str()))
            .collect();
        match checks.is_empty() {
            false => Some(checks.join(", ")),
            true => (self.nothing_applied() && self.pack.enforced_at.contains(&point))
                .then(|| "no check applied to it".to_owned()),
        }
    }

    fn bad(&self, mode: Mode) -> impl Iterator<Item = &Outcome> {
        let is_bad =
            |outcome: &Outcome| matches!(outcome.verdict, Verdict::Fail | Verdict::Unknown);
        let outcomes = self.outcomes.iter();
        outcomes.filter(move |outcome| outcome.mode == mode && is_bad(outcome))
    }

    /// Whether no check applied. Such a report has failed.
    pub fn nothing_applied(&self) -> bool {
        let of = |verdict| self.counts.get(&verdict).copied().unwrap_or(0);
        self.outcomes.len() == of(Verdict::NotApplicable)
    }
}

/// The order of verdicts when several become one.
pub(crate) fn weight(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::NotApplicable => 0,
        Verdict::Pass => 1,
        Verdict::Warn => 2,
        Verdict::Unknown => 3,
        Verdict::Fail => 4,
    }
}
