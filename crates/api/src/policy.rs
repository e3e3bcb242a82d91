//! Conformity: checks over what a version's disk tells.

use crate::Reply;
use serde::{Deserialize, Serialize};
use stampo_core::names::VersionRef;
use std::collections::BTreeMap;

/// A built-in check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyCheck {
    /// Its stable id.
    pub id: String,
    /// What should be so.
    pub title: String,
    /// `low`, `medium`, `high` or `critical`.
    pub severity: String,
    /// Which guests it is about.
    pub applies_to: String,
    /// Why it matters.
    pub rationale: String,
    /// The one command that mends it.
    pub remedy: String,
    /// What it maps to elsewhere.
    pub refs: Vec<String>,
    /// What a pack may set, with the default of each.
    pub params: BTreeMap<String, serde_json::Value>,
}

/// A check pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyPack {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its digest.
    pub digest: String,
    /// What follows from checks that say nothing else.
    pub mode: String,
    /// How many checks it has.
    pub checks: usize,
    /// Whether the site set it; otherwise it is the built-in one, which enforces nothing.
    pub is_of_site: bool,
    /// As it was written.
    pub text: String,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyFinding {
    /// Where.
    pub path: String,
    /// What.
    pub what: String,
    /// Whether it is only to be known.
    #[serde(default)]
    pub warning: bool,
    /// Why it is accepted, by whom and until when, if it is.
    #[serde(default)]
    pub accepted: Option<String>,
}

/// How one check ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyOutcome {
    /// The check.
    pub check: String,
    /// What should be so.
    pub title: String,
    /// How bad it is when it is not.
    pub severity: String,
    /// `audit`, `warn` or `enforce`.
    pub mode: String,
    /// Where it follows, as in `publish` and `clone`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at: Vec<String>,
    /// `pass`, `warn`, `fail`, `unknown` or `not-applicable`.
    pub verdict: String,
    /// Why it matters.
    pub rationale: String,
    /// The one command that mends it.
    pub remedy: String,
    /// What it maps to elsewhere.
    pub refs: Vec<String>,
    /// What was found, also what is accepted.
    #[serde(default)]
    pub findings: Vec<PolicyFinding>,
    /// Why it is unknown or does not apply.
    #[serde(default)]
    pub why: Vec<String>,
    /// Exceptions that would have counted, had they not ended.
    #[serde(default)]
    pub ended_exceptions: Vec<String>,
}

/// A recorded report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReport {
    /// Its id.
    pub id: String,
    /// The version, `name@N`.
    pub version: String,
    /// The id of its image.
    pub image: String,
    /// The moment for which it was made, RFC 3339.
    pub at: String,
    /// Who asked.
    pub actor: String,
    /// The pack, by name and version.
    pub pack: String,
    /// The digest of the pack.
    pub pack_digest: String,
    /// The digest of what was read from the disk.
    pub evidence_digest: String,
    /// The digest of the report.
    pub report_digest: String,
    /// The worst of all checks; `fail` also when nothing applied.
    pub verdict: String,
    /// Whether what was asked for is to be refused.
    pub refused: bool,
    /// How many checks ended how.
    pub counts: BTreeMap<String, usize>,
    /// Every check of the pack.
    pub outcomes: Vec<PolicyOutcome>,
}

/// A report that was made again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReplay {
    /// As it was recorded.
    pub recorded: PolicyReport,
    /// Whether it came out the same, to the byte.
    pub is_same: bool,
    /// Whether the image still tells the same; `None` when its bytes are gone.
    pub is_same_evidence: Option<bool>,
    /// The checks that came out otherwise, with their verdicts then and now.
    pub differences: Vec<String>,
}

/// How a version came out of the re-check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRecheck {
    /// The version, `name@N`.
    pub version: String,
    /// How it ended; `unknown` when it could not be judged.
    pub verdict: String,
    /// How the last report ended, if there was one.
    pub was: Option<String>,
    /// Whether something is refused.
    pub refused: bool,
    /// The checks that came out otherwise, with their verdicts then and now.
    pub changes: Vec<String>,
    /// The report that was recorded, where something changed.
    pub report: Option<String>,
    /// Why it could not be judged.
    pub failed: Option<String>,
}

/// The form in which a report is given to other programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyForm {
    /// SARIF 2.1.0.
    Sarif,
    /// JUnit's XML.
    Junit,
}

/// A finding that is to be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyAcceptRequest {
    /// The check.
    pub check: String,
    /// The versions, as in `web@3` or `web@*`.
    pub subject: String,
    /// The place, in which `*` stands for any text. Every place when absent.
    pub path: Option<String>,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// The last day on which it counts, as in 2027-01-31.
    pub expires: String,
}

/// An accepted finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyException {
    /// Its id.
    pub id: String,
    /// What is accepted.
    #[serde(flatten)]
    pub accepted: PolicyAcceptRequest,
    /// Who recorded it.
    pub actor: String,
    /// When, in milliseconds since 1970.
    pub created_ms: i64,
}

/// What a client can ask about conformity.
pub trait PolicyApi {
    /// Every built-in check.
    fn policy_checks(&self) -> Reply<Vec<PolicyCheck>>;
    /// The pack that counts.
    fn policy_pack(&self) -> Reply<PolicyPack>;
    /// Sets the site's pack; without one, the built-in pack counts again.
    fn set_policy_pack(&self, text: Option<&str>) -> Reply<PolicyPack>;
    /// Reads a version's disk, judges it by this pack or the one that counts, records the report.
    fn policy_check(&self, version: &VersionRef, pack: Option<&str>) -> Reply<PolicyReport>;
    /// Judges every version that is offered or has guests, as of now; from what was read before unless
    /// `is_fresh`.
    fn policy_recheck(&self, is_fresh: bool) -> Reply<Vec<PolicyRecheck>>;
    /// The newest reports of a version, or of all.
    fn policy_reports(&self, version: Option<&VersionRef>, limit: u32) -> Reply<Vec<PolicyReport>>;
    /// A recorded report; its id may be cut short.
    fn policy_report(&self, id: &str) -> Reply<PolicyReport>;
    /// A recorded report for other programs.
    fn policy_export(&self, id: &str, form: PolicyForm) -> Reply<String>;
    /// Makes a recorded report again from what it was made of.
    fn policy_replay(&self, id: &str) -> Reply<PolicyReplay>;
    /// Accepts findings of a check until a day.
    fn policy_accept(&self, request: PolicyAcceptRequest) -> Reply<PolicyException>;
    /// Takes an exception back.
    fn policy_unaccept(&self, id: &str) -> Reply<()>;
    /// Every exception.
    fn policy_exceptions(&self) -> Reply<Vec<PolicyException>>;
}
