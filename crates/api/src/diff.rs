//! What is different between two versions.

use serde::{Deserialize, Serialize};

/// What is different between two versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateDiff {
    /// The version that is compared, `name@N`.
    pub before: String,
    /// The version that it is compared with.
    pub after: String,
    /// Facts that are different, by section and name.
    pub changes: Vec<DiffChange>,
    /// Files that are different, by class.
    pub files: Vec<DiffFiles>,
    /// What could not be compared.
    pub unknown: Vec<String>,
    /// The guests that were cloned from `before`.
    pub guests: Vec<String>,
}

/// A fact that is different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffChange {
    /// `packages`, `units`, `users`…
    pub section: String,
    /// The fact.
    pub name: String,
    /// What it was; absent where it is new.
    pub before: Option<String>,
    /// What it is; absent where it is gone.
    pub after: Option<String>,
}

/// Files of one class that are different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffFiles {
    /// `settings`, `programs`…
    pub class: String,
    /// Paths that are new.
    pub added: Vec<String>,
    /// Paths that are gone.
    pub removed: Vec<String>,
    /// Paths with another kind, mode, owner, size, content or time.
    pub changed: Vec<String>,
}
