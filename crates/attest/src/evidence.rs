//! Evidence, signed by a site: one file for somebody who has neither its home nor its hosts.
//!
//! JSON with the evidence exactly as it was signed, the SSHSIG over it, and the key. The key in it proves
//! nothing: whoever checks brings the key that they trust. It can also be checked without this
//! program: `ssh-keygen -Y verify -n stampo-evidence` over the evidence's text.

use crate::canonical::{self, CanonicalError};
use crate::signature::{Key, SignatureError};
use serde::{Deserialize, Serialize};
use stampo_core::evidence::{Evidence, SCHEMA as EVIDENCE};

/// The namespace of signatures over evidence.
pub const NAMESPACE: &str = "stampo-evidence";
/// What the file says it is.
pub const SCHEMA: &str = "stampo.evidence-bundle/1";
/// The longest file, in bytes.
pub const LONGEST: usize = 256 << 20;

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    schema: String,
    evidence: String,
    signature: String,
    key: String,
}

/// Why it proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Too long.
    #[error("read the evidence: {0} bytes are too many")]
    Long(usize),
    /// No JSON of this form.
    #[error("read the evidence")]
    Json(#[from] serde_json::Error),
    /// Another form.
    #[error("read the evidence: it is {0:?}, which this stampo does not know")]
    Schema(String),
    /// Not by whom it should be.
    #[error("check the evidence: another key signed it, {0}")]
    Stranger(String),
    /// Not as it was signed.
    #[error("check the evidence")]
    Signature(#[from] SignatureError),
    /// Signed, and not of this form.
    #[error("read the evidence")]
    Form(#[from] CanonicalError),
    /// Its conclusions are not those of its facts.
    #[error("check the evidence: its summary does not follow from what it lists")]
    Inconsistent,
}

impl Bundle {
    /// A file.
    pub fn new(evidence: String, signature: String, key: String) -> Bundle {
        Bundle {
            schema: SCHEMA.to_owned(),
            evidence,
            signature,
            key,
        }
    }

    /// As text.
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("texts serialise") + "\n"
    }

    /// The evidence, if this key signed it.
    ///
    /// # Errors
    /// [`BundleError`], which says what is wrong with it.
    pub fn verify(text: &str, trusted: &Key) -> Result<Evidence, BundleError> {
        if text.len() > LONGEST {
            return Err(BundleError::Long(text.len()));
        }
        let bundle: Bundle = serde_json::from_str(text)?;
        if bundle.schema != SCHEMA {
            return Err(BundleError::Schema(bundle.schema));
        }
        let key = Key::parse(&bundle.key)?;
        if key.fingerprint() != trusted.fingerprint() {
            return Err(BundleError::Stranger(key.fingerprint()));
        }
        trusted.verify(NAMESPACE, &bundle.evidence, &bundle.signature)?;
        let evidence: Evidence = canonical::from_text(&bundle.evidence, LONGEST)?;
        if evidence.schema != EVIDENCE {
            return Err(BundleError::Schema(evidence.schema));
        }
        match evidence.clone().concluded() == evidence {
            true => Ok(evidence),
            false => Err(BundleError::Inconsistent),
        }
    }
}
