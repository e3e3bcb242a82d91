//! The audit: who did what, whether all of it is still as it was written, and giving it to others.

use crate::Reply;
use serde::{Deserialize, Serialize};

/// What a client can ask about the audit.
pub trait AuditApi {
    /// The newest records that pass the filter, newest first.
    fn audit(&self, filter: &AuditFilter, limit: u32) -> Reply<Vec<AuditRecord>>;
    /// Looks at every record and checkpoint, and at checkpoints that were kept elsewhere.
    fn audit_verify(&self, kept: &[AuditCheckpoint]) -> Reply<AuditVerification>;
    /// Signs what the audit is now; none where there are no records.
    fn audit_checkpoint(&self) -> Reply<Option<AuditCheckpoint>>;
    /// The records that pass the filter, the oldest first, one line each.
    fn audit_export(
        &self,
        filter: &AuditFilter,
        form: AuditForm,
        line: &mut dyn FnMut(&str) -> Reply<()>,
    ) -> Reply<()>;
}

/// Which records are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditFilter {
    /// Only by this actor.
    pub actor: Option<String>,
    /// Only with this verb.
    pub action: Option<String>,
    /// Only about this.
    pub resource: Option<String>,
    /// Only with this outcome.
    pub outcome: Option<String>,
    /// Only from this moment on, in milliseconds since 1970.
    pub since_ms: Option<i64>,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditForm {
    /// The records as they are, with their links.
    Jsonl,
    /// OCSF 1.3.0, class API Activity (6003).
    Ocsf,
}

/// One record of the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Its place, from 1.
    pub sequence: u64,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// Who.
    pub actor: String,
    /// The verb.
    pub action: String,
    /// What it was done to.
    pub resource: String,
    /// `ok`, `refused`, `failed`, `cancelled` or `begun`.
    pub outcome: String,
    /// A sentence.
    pub detail: String,
    /// What ties it to the record before it, in hex.
    #[serde(default)]
    pub link: String,
}

/// A signed checkpoint, as it can be kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditCheckpoint {
    /// What is signed, canonical JSON.
    pub text: String,
    /// The SSHSIG over it, in the namespace `stampo-audit`.
    pub signature: String,
    /// The public key.
    pub key: String,
}

/// What a look at the whole audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditVerification {
    /// Whether everything is as it was written, as far as can be seen.
    pub is_whole: bool,
    /// How many records there are.
    pub records: u64,
    /// How many checkpoints.
    pub checkpoints: u64,
    /// The newest record that a checkpoint covers; 0 when there is none.
    pub covered: u64,
    /// The fingerprint of the site's key; empty when there is none yet.
    pub key: String,
    /// What is not as it was written.
    pub faults: Vec<AuditFault>,
    /// What can't be seen here.
    pub unseen: String,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditFault {
    /// The record that it shows at; 0 where none can be named.
    pub sequence: u64,
    /// What is wrong.
    pub what: String,
}
