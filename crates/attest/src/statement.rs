//! What somebody says about the bytes of a version: an in-toto Statement (v1), in canonical JSON.
//!
//! Its subject is the version, by the id of its image. Its predicate is ours: who says what, why,
//! when, and what it was said about besides the bytes.
//! Source: <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>.

use crate::canonical::{self, CanonicalError};
use serde::{Deserialize, Serialize};
use stampo_core::approval::{Bound, Preset, Principal, Said};
use std::collections::BTreeMap;

/// The type of every statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The type of our predicate.
pub const APPROVAL_TYPE: &str = "stampo:approval/v1";
/// What the id of an image is called among digests: it covers a disk's logical content, so it is not
/// the BLAKE3 of any file.
pub const IMAGE_DIGEST: &str = "stampoImageId";
/// The longest statement, in bytes.
pub const LONGEST_STATEMENT: usize = 64 << 10;

/// What a statement is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The version, `name@N`.
    pub name: String,
    /// Its image, under [`IMAGE_DIGEST`].
    pub digest: BTreeMap<String, String>,
}

/// A statement with its predicate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
    /// What is said.
    pub predicate: Approval,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Approval {
    /// What.
    pub said: Said,
    /// By whom.
    pub by: Principal,
    /// Why; empty when nothing was said.
    pub comment: String,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// The digest of the check pack that counted.
    pub policy: String,
    /// The digest of the conformity report, as it was written.
    pub report: String,
    /// The digest of what that report says, whenever it is made.
    pub conclusion: String,
    /// What the site asked for then.
    pub preset: Preset,
    /// How many approvals it asked for then.
    pub needed: u32,
    /// With a submission: who made the version on this host, as the audit names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub makers: Vec<String>,
    /// With a submission: the digest of the provenance statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<String>,
}

/// Why a text is no statement of ours.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// It can't be read.
    #[error("read the statement")]
    Text(#[from] CanonicalError),
    /// It is of another kind.
    #[error("take the statement: it is no {0}")]
    Kind(&'static str),
    /// It is about nothing, or about several things.
    #[error("take the statement: it is not about one image")]
    Subject,
}

impl Statement {
    /// A statement about a version.
    pub fn new(version: &str, image: &str, predicate: Approval) -> Statement {
        Statement {
            kind: STATEMENT_TYPE.to_owned(),
            subject: vec![Subject {
                name: version.to_owned(),
                digest: [(IMAGE_DIGEST.to_owned(), image.to_owned())].into(),
            }],
            predicate_type: APPROVAL_TYPE.to_owned(),
            predicate,
        }
    }

    /// Reads a statement, which has to be canonical.
    pub fn parse(text: &str) -> Result<Statement, StatementError> {
        let read: Statement = canonical::from_text(text, LONGEST_STATEMENT)?;
        if read.kind != STATEMENT_TYPE {
            return Err(StatementError::Kind(STATEMENT_TYPE));
        }
        if read.predicate_type != APPROVAL_TYPE {
            return Err(StatementError::Kind(APPROVAL_TYPE));
        }
        match &read.subject[..] {
            [one] if one.digest.len() == 1 && one.digest.contains_key(IMAGE_DIGEST) => Ok(read),
            _ => Err(StatementError::Subject),
        }
    }

    /// The text that is signed.
    pub fn text(&self) -> Result<String, CanonicalError> {
        canonical::to_text(self)
    }

    /// The version that it is about, `name@N`.
    pub fn version(&self) -> &str {
        self.subject.first().map_or("", |one| &one.name)
    }

    /// The image that it is about.
    pub fn image(&self) -> &str {
        let image = self.subject.first();
        image
            .and_then(|one| one.digest.get(IMAGE_DIGEST))
            .map_or("", String::as_str)
    }

    /// What it is bound to.
    pub fn bound(&self) -> Bound {
        Bound {
            image: self.image().to_owned(),
            policy: self.predicate.policy.clone(),
            report: self.predicate.conclusion.clone(),
        }
    }
}
