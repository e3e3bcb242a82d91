//! Retention: which versions stay on offer, and what becomes of the others.

use crate::Reply;
use serde::{Deserialize, Serialize};

/// What a client can ask about retention.
pub trait RetentionApi {
    /// The settings as a file; `None`: everything stays.
    fn retention(&self) -> Reply<Option<String>>;
    /// Sets settings from a file's text, or takes them away.
    fn set_retention(&self, text: Option<&str>) -> Reply<()>;
    /// Does what the settings ask for, or only says what that is.
    fn apply_retention(&self, apply: bool) -> Reply<RetentionReport>;
}

/// What the settings come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionReport {
    /// Whether it was done.
    pub applied: bool,
    /// Every version that is not purged.
    pub versions: Vec<RetainedVersion>,
}

/// One version, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetainedVersion {
    /// The version, `name@N`.
    pub version: String,
    /// Its state, after what was done.
    pub state: String,
    /// `stays`, `goes` (it is on its way), or what is done to it now: `deprecate`, `lift` (its dates),
    /// `resume`, `retire`.
    pub what: String,
    /// Why; of one that stays, everything that keeps it.
    pub why: String,
    /// Why it could not be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}
