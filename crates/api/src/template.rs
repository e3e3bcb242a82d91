//! Templates and their versions.

use crate::ApprovalStatus;
use serde::{Deserialize, Serialize};
use stampo_core::hardware::Hardware;
use stampo_core::lifecycle::Governance;
use stampo_core::names::{GuestName, TemplateName, VersionRef};
use stampo_core::size::ByteSize;
use std::path::PathBuf;

/// Build a draft version from a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRequest {
    /// The template.
    pub name: TemplateName,
    /// The recipe's text (TOML).
    pub recipe: String,
    /// The directory that relative paths in the recipe start from.
    pub directory: PathBuf,
}

/// Import a disk image as a draft version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRequest {
    /// The template.
    pub name: TemplateName,
    /// A file, or an `http://` or `https://` URL.
    pub source: String,
    /// `qcow2` or `raw`; never guessed.
    pub format: String,
    /// The SHA-256 that the source must have, in hex.
    pub sha256: Option<String>,
    /// Hardware defaults for clones.
    pub hardware: Hardware,
}

/// Make a draft version of what a guest's disk has become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureRequest {
    /// The template.
    pub name: TemplateName,
    /// The guest, running or not.
    pub guest: GuestName,
}

/// Seal a draft version, or plan to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealRequest {
    /// The version.
    pub version: VersionRef,
    /// Only these items or areas; all when empty.
    pub only: Vec<String>,
    /// Not these items.
    pub except: Vec<String>,
    /// These as well, which are done only on request.
    #[serde(default)]
    pub also: Vec<String>,
    /// Paths or patterns that nothing may touch.
    #[serde(default)]
    pub keep: Vec<String>,
}

/// One change that sealing makes or would make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealChange {
    /// The item, for example `ssh.host-keys`.
    pub item: String,
    /// The path in the guest.
    pub path: String,
    /// `remove`, `empty`, `rewrite`…
    pub action: String,
    /// What changes, without secrets.
    pub detail: String,
}

/// What sealing would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealPlan {
    /// The version, `name@N`.
    pub version: String,
    /// The changes, in order.
    pub changes: Vec<SealChange>,
    /// Items that are left out, and why.
    pub skipped: Vec<(String, String)>,
}

/// One finding of a proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its stable id.
    pub id: String,
    /// `identity`, `secret` or `unknown`.
    pub kind: String,
    /// What was found, never a secret's value.
    pub what: String,
    /// The path in the guest.
    pub path: String,
    /// What to do about it.
    pub remedy: String,
    /// The reason, when it was accepted.
    pub accepted: Option<String>,
}

/// The evidence that a version is what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// The version, `name@N`.
    pub version: String,
    /// When its bytes were last read and found to match its image id.
    pub verified_ms: Option<i64>,
    /// The independent reader that looked for identity and secrets.
    pub reader: String,
    /// How many checks ran.
    pub checks: usize,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// Accept a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptRequest {
    /// The version.
    pub version: VersionRef,
    /// The finding's id.
    pub finding: String,
    /// Only at this path; any when `None`.
    pub path: Option<String>,
    /// Why. Must not be empty.
    pub reason: String,
}

/// One version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// The template.
    pub template: String,
    /// The number, from 1.
    pub number: u32,
    /// Its state.
    pub state: String,
    /// Its image id, 64 hex digits.
    pub image: Option<String>,
    /// The size that guests see.
    pub virtual_size: ByteSize,
    /// The bytes that hold data.
    pub data: ByteSize,
    /// Hardware defaults for clones.
    pub hardware: Hardware,
    /// Where its bytes come from.
    pub origin: serde_json::Value,
    /// Findings that nobody accepted; `None` when there is no proof.
    pub open_findings: Option<usize>,
    /// Reasons, dates, a hold.
    #[serde(default, skip_serializing_if = "Governance::is_empty")]
    pub governance: Governance,
    /// How it stands by the approval settings; only where one version was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalStatus>,
    /// The channels that point to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
    /// The nearest ancestor that was revoked together with its descendants, `name@N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_ancestor: Option<String>,
    /// Guests that were cloned from it.
    pub guests: usize,
    /// The machines that its memory images are of, by their hashes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub memory_images: Vec<String>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub verified_ms: Option<i64>,
}

impl Version {
    /// `name@N`.
    pub fn label(&self) -> String {
        format!("{}@{}", self.template, self.number)
    }
}
