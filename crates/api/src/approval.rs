//! Approval: who has to approve versions, what was signed, and the file for strangers.

use crate::{Reply, Version};
use serde::{Deserialize, Serialize};
use stampo_core::approval::{Preset, Said};
use stampo_core::names::VersionRef;

/// What a client can ask about approvals.
pub trait ApprovalApi {
    /// The settings that count.
    fn approval_settings(&self) -> Reply<ApprovalSettings>;
    /// Sets settings from a file's text.
    fn set_approval(&self, text: &str) -> Reply<ApprovalSettings>;
    /// Sets another preset; the signers stay.
    fn set_approval_preset(&self, preset: Preset) -> Reply<ApprovalSettings>;
    /// The statement that would have to be signed to say something about a version.
    fn statement(&self, request: StatementRequest) -> Reply<StatementToSign>;
    /// Says it: records the statement with its signature.
    fn say(&self, request: SayRequest) -> Reply<Spoken>;
    /// Everything that was signed about a version, as one file's text.
    fn bundle(&self, version: &VersionRef) -> Reply<String>;
}

/// A site's approval settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalSettings {
    /// `solo`, `team`, `regulated` or `custom`.
    pub preset: String,
    /// How many people have to approve.
    pub needed: u32,
    /// How long an approval holds for publishing, in days.
    pub expires_days: i64,
    /// Whether approvals are asked for again each time a version is cloned.
    pub verify_at_clone: bool,
    /// How many may sign.
    pub signers: usize,
    /// Whether the site has set them.
    pub is_of_site: bool,
    /// The digest of what they mean.
    pub digest: String,
    /// The settings as a file.
    pub text: String,
}

/// Ask for a statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementRequest {
    /// The version.
    pub version: VersionRef,
    /// What is to be said.
    pub said: Said,
    /// The public key that will sign, one line.
    pub key: Option<String>,
    /// Why.
    pub comment: String,
}

/// A statement that waits for a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementToSign {
    /// The text.
    pub statement: String,
    /// Who would say it.
    pub by: String,
    /// The namespace to sign for.
    pub namespace: String,
    /// Whether it counts without a signature.
    pub is_enough: bool,
}

/// A statement with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SayRequest {
    /// The version.
    pub version: VersionRef,
    /// The statement, to the byte.
    pub statement: String,
    /// The SSHSIG over it; empty where it counts without.
    pub signature: String,
    /// The public key, one line; empty where it counts without.
    pub key: String,
}

/// What was said, and what it came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spoken {
    /// The version as it is now.
    pub version: Version,
    /// What all that was said comes to, in one line.
    pub standing: String,
}

/// How a version stands by the settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalStatus {
    /// `solo`, `team`, `regulated` or `custom`.
    pub preset: String,
    /// How many approvals are asked for.
    pub needed: u32,
    /// Whether it may be offered, as far as approvals go.
    pub is_approved: bool,
    /// Who has approved or is missing, in one line.
    pub standing: String,
    /// Until when it can be published, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
    /// Who offers it without its approvals; nobody does where this is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broke_glass: Vec<String>,
    /// What was said, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<ApprovalSaid>,
}

/// One thing that somebody said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalSaid {
    /// `submitted`, `approved`, `rejected` or `broke_glass`.
    pub said: String,
    /// Who.
    pub by: String,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// The fingerprint of the key; empty where nobody had to sign.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// Why it does not count, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub void: Option<String>,
}

/// What a bundle proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleProof {
    /// The version, `name@N`.
    pub version: String,
    /// The id of the image that was approved.
    pub image: String,
    /// Whether a disk was compared with that.
    pub is_disk_compared: bool,
    /// What was said, in order, by whose key.
    pub said: Vec<BundleSaid>,
    /// The conformity reports that were signed for.
    pub reports: Vec<serde_json::Value>,
    /// The provenance statements that were signed for.
    pub provenances: Vec<serde_json::Value>,
}

/// One statement of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleSaid {
    /// What was said.
    #[serde(flatten)]
    pub said: ApprovalSaid,
    /// Whether the key is one of those that were given.
    pub is_trusted: bool,
}
