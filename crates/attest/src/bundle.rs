//! A bundle: everything that was signed about a version, in one file, for somebody who has neither
//! the catalog nor the site.
//!
//! JSON with the statements exactly as they were signed, their signatures and public keys, and the
//! documents that the statements name by digest. The keys in it prove nothing: whoever checks
//! brings the keys that they trust. A signature can also be checked without this program:
//! `ssh-keygen -Y verify -n stampo-approval` over the statement's text.

use crate::digest;
use crate::signature::{APPROVAL_NAMESPACE, Key, SignatureError};
use crate::statement::{Approval, Statement, StatementError};
use serde::{Deserialize, Serialize};
use stampo_core::approval::Said;

/// What the file says it is.
pub const SCHEMA: &str = "stampo.bundle/1";
/// The longest file, in bytes.
pub const LONGEST_BUNDLE: usize = 32 << 20;
/// The most statements in one.
pub const MOST_STATEMENTS: usize = 256;

/// A statement as it was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The statement's text.
    pub statement: String,
    /// The SSHSIG over it; empty where nobody had to sign.
    pub signature: String,
    /// The public key that made it.
    pub key: String,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`SCHEMA`].
    pub schema: String,
    /// The version, `name@N`.
    pub version: String,
    /// The id of its image.
    pub image: String,
    /// What was said, in the order in which it was.
    pub statements: Vec<Signed>,
    /// The conformity reports that statements name, as they were written.
    pub reports: Vec<String>,
    /// The provenance statements that submissions name.
    pub provenances: Vec<String>,
}

/// Why a bundle proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It is too long.
    #[error("read the bundle: {0} bytes or parts are too many")]
    Long(usize),
    /// It is no JSON of this form.
    #[error("read the bundle")]
    Json(#[from] serde_json::Error),
    /// Another form.
    #[error("read the bundle: it is of the form {0:?}, not {SCHEMA:?}")]
    Schema(String),
    /// A statement in it.
    #[error("take statement {at} of the bundle")]
    Statement {
        /// Which, from 1.
        at: usize,
        /// What is wrong with it.
        source: StatementError,
    },
    /// A signature in it.
    #[error("trust statement {at} of the bundle")]
    Signature {
        /// Which, from 1.
        at: usize,
        /// What is wrong with it.
        source: SignatureError,
    },
    /// It is about something else.
    #[error("trust statement {at} of the bundle: it is about {found}, not about {expected}")]
    Subject {
        /// Which, from 1.
        at: usize,
        /// What it is about.
        found: String,
        /// What the bundle is about.
        expected: String,
    },
    /// A document that a statement names is not there, or was changed.
    #[error("trust statement {at} of the bundle: the {what} that it names is not in it")]
    Document {
        /// Which, from 1.
        at: usize,
        /// `report` or `provenance`.
        what: &'static str,
    },
    /// A document that no statement names: nobody signed it.
    #[error("trust the bundle: it holds a {0} that no statement names")]
    Unsigned(&'static str),
    /// Nobody to trust.
    #[error("trust the bundle: name the keys that you trust: --signer KEY.pub")]
    NoSigners,
    /// A key that was given has not approved it.
    #[error("trust the bundle: {0} has not approved it")]
    NotApproved(String),
    /// A key that was given has refused it since.
    #[error("trust the bundle: {0} has rejected it")]
    Rejected(String),
}

/// One statement that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// What is said.
    pub said: Approval,
    /// The fingerprint of the key; empty where nobody signed.
    pub key: String,
    /// Whether the key is one of those that were given.
    pub trusted: bool,
}

/// What a bundle proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// The version, `name@N`.
    pub version: String,
    /// The id of the image that was approved.
    pub image: String,
    /// Everything that was said.
    pub statements: Vec<Checked>,
    /// The reports that statements name.
    pub reports: Vec<String>,
    /// The provenances that submissions name.
    pub provenances: Vec<String>,
}

impl Bundle {
    /// Reads a bundle. Nothing in it is believed yet.
    pub fn parse(text: &str) -> Result<Bundle, BundleError> {
        if text.len() > LONGEST_BUNDLE {
            return Err(BundleError::Long(text.len()));
        }
        let bundle: Bundle = serde_json::from_str(text)?;
        if bundle.schema != SCHEMA {
            return Err(BundleError::Schema(bundle.schema));
        }
        let parts = [
            bundle.statements.len(),
            bundle.reports.len(),
            bundle.provenances.len(),
        ];
        match parts.into_iter().find(|count| *count > MOST_STATEMENTS) {
            Some(count) => Err(BundleError::Long(count)),
            None => Ok(bundle),
        }
    }

    /// The bundle as text.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("texts always become JSON");
        text.push('\n');
        text
    }

    /// Checks everything in it: each signature, each digest, and that each of these keys has
    /// approved the image, and has not rejected it since.
    pub fn verify(&self, signers: &[Key]) -> Result<Proof, BundleError> {
        if signers.is_empty() {
            return Err(BundleError::NoSigners);
        }
        let mut checked = Vec::new();
        for (at, signed) in (1..).zip(&self.statements) {
            checked.push(self.check(at, signed, signers)?);
        }
        self.check_documents(&checked)?;
        for signer in signers {
            let name = signer.fingerprint();
            let by_it =
                |one: &&Checked| one.trusted && one.key == name && one.said.said != Said::Submitted;
            match checked.iter().rfind(by_it).map(|one| one.said.said) {
                Some(Said::Approved | Said::BrokeGlass) => {}
                Some(Said::Rejected) => return Err(BundleError::Rejected(name)),
                _ => return Err(BundleError::NotApproved(name)),
            }
        }
        Ok(Proof {
            version: self.version.clone(),
            image: self.image.clone(),
            statements: checked,
            reports: self.reports.clone(),
            provenances: self.provenances.clone(),
        })
    }

    fn check(&self, at: usize, signed: &Signed, signers: &[Key]) -> Result<Checked, BundleError> {
        let statement = Statement::parse(&signed.statement)
            .map_err(|source| BundleError::Statement { at, source })?;
        let subject = (statement.version(), statement.image());
        if subject != (&self.version[..], &self.image[..]) {
            return Err(BundleError::Subject {
                at,
                found: format!("{} ({})", subject.0, subject.1),
                expected: format!("{} ({})", self.version, self.image),
            });
        }
        let said = statement.predicate;
        if !self.reports.iter().any(|text| digest(text) == said.report) {
            return Err(BundleError::Document { at, what: "report" });
        }
        if let Some(named) = &said.provenance
            && !self.provenances.iter().any(|text| digest(text) == *named)
        {
            let what = "provenance";
            return Err(BundleError::Document { at, what });
        }
        if signed.signature.is_empty() && signed.key.is_empty() {
            // Where one administrator does all, nobody signs; and nobody can trust it elsewhere.
            return Ok(Checked {
                said,
                key: String::new(),
                trusted: false,
            });
        }
        let wrong = |source| BundleError::Signature { at, source };
        let key = Key::parse(&signed.key).map_err(wrong)?;
        key.verify(APPROVAL_NAMESPACE, &signed.statement, &signed.signature)
            .map_err(wrong)?;
        Ok(Checked {
            said,
            key: key.fingerprint(),
            trusted: signers.contains(&key),
        })
    }

    fn check_documents(&self, checked: &[Checked]) -> Result<(), BundleError> {
        for report in &self.reports {
            let named = digest(report);
            if !checked.iter().any(|one| one.said.report == named) {
                return Err(BundleError::Unsigned("report"));
            }
        }
        for provenance in &self.provenances {
            let named = Some(digest(provenance));
            if !checked.iter().any(|one| one.said.provenance == named) {
                return Err(BundleError::Unsigned("provenance"));
            }
        }
        Ok(())
    }
}
