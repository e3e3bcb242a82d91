//! Operations and their events.

use serde::{Deserialize, Serialize};

/// A request that changes something, from its intent to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Its id.
    pub id: String,
    /// The verb.
    pub kind: String,
    /// What it works on.
    pub subject: String,
    /// `running`, `done`, `failed` or `undone`.
    pub state: String,
    /// Why it failed.
    pub error: Option<String>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub ended_ms: Option<i64>,
}

/// One thing that happened in an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The guest or version.
    pub subject: String,
    /// The phase that ended.
    pub phase: String,
    /// A sentence; may be empty.
    pub detail: String,
    /// How long the phase took.
    pub duration_ms: Option<u64>,
}

/// How far a long phase is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The phase, for example `download`.
    pub phase: String,
    /// Bytes or units done.
    pub done: u64,
    /// Bytes or units in all; 0 when that is not known.
    pub total: u64,
}

/// How an operation ended well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The operation.
    pub operation: Operation,
    /// The version that it made or changed, `name@N`.
    pub version: Option<String>,
    /// The guests that it made.
    pub guests: Vec<super::Guest>,
}
