//! A site's retention settings: what each template keeps, as YAML that is read strictly.
//!
//! What the rules come to is `stampo_core::retention`'s affair. Nothing is evaluated here.

use serde::Deserialize;
use stampo_core::lease::Span;
use stampo_core::retention::Rules;
use stampo_guest::seal::proof::text_matches;
use std::collections::BTreeMap;

/// What the file says it is.
pub const SCHEMA: &str = "stampo.retention/1";
/// The longest file, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// The most sections of templates.
const MAX_TEMPLATES: usize = 10_000;
/// The longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 256;

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// Too long.
    #[error("read the retention settings: they have more than {MAX_BYTES} bytes")]
    TooLarge,
    /// No YAML, or not of this form.
    #[error("read the retention settings")]
    Yaml(#[from] serde_yaml_ng::Error),
    /// Another form.
    #[error("read the retention settings: their schema is {0:?}, and has to be {SCHEMA:?}")]
    Schema(String),
    /// Nobody could say what it means.
    #[error("read the retention settings: {0}")]
    Senseless(String),
}

/// What a site keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    rules: Section,
    /// By pattern; the one that counts is found by [`Retention::rules_of`].
    templates: BTreeMap<String, Section>,
    /// As it was written.
    pub text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Raw {
    schema: String,
    #[serde(default)]
    rules: Section,
    #[serde(default)]
    templates: BTreeMap<String, Section>,
}

/// What is said of some templates; what is left out is as for all, or as the default has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Section {
    /// Everything stays.
    keep_all: Option<bool>,
    keep_last: Option<u32>,
    younger_than: Option<Span>,
    cloned_within: Option<Span>,
    obsolete_after: Option<Span>,
    retire_after: Option<Span>,
    unpublished_after: Option<Span>,
}

impl Section {
    /// This section, and where it says nothing, another.
    fn or(&self, other: &Section) -> Section {
        Section {
            keep_all: self.keep_all.or(other.keep_all),
            keep_last: self.keep_last.or(other.keep_last),
            younger_than: self.younger_than.or(other.younger_than),
            cloned_within: self.cloned_within.or(other.cloned_within),
            obsolete_after: self.obsolete_after.or(other.obsolete_after),
            retire_after: self.retire_after.or(other.retire_after),
            unpublished_after: self.unpublished_after.or(other.unpublished_after),
        }
    }

    fn rules(&self) -> Option<Rules> {
        if self.keep_all == Some(true) {
            return None;
        }
        let default = Rules::default();
        Some(Rules {
            keep_last: self.keep_last.unwrap_or(default.keep_last),
            younger_than: self.younger_than,
            cloned_within: self.cloned_within,
            obsolete_after: self.obsolete_after.unwrap_or(default.obsolete_after),
            retire_after: self.retire_after.unwrap_or(default.retire_after),
            unpublished_after: self.unpublished_after,
        })
    }
}

impl Retention {
    /// Reads settings.
    ///
    /// # Errors
    /// [`RetentionError`], which says what is wrong with them.
    pub fn parse(text: &str) -> Result<Retention, RetentionError> {
        if text.len() > MAX_BYTES {
            return Err(RetentionError::TooLarge);
        }
        // A value first: it refuses duplicate keys, which a map would take silently.
        let value: serde_yaml_ng::Value = serde_yaml_ng::from_str(text)?;
        let raw: Raw = serde_yaml_ng::from_value(value)?;
        if raw.schema != SCHEMA {
            return Err(RetentionError::Schema(raw.schema));
        }
        if raw.templates.len() > MAX_TEMPLATES {
            let why = format!("more than {MAX_TEMPLATES} templates are named");
            return Err(RetentionError::Senseless(why));
        }
        let is_senseless = |pattern: &&String| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.*".contains(c);
            pattern.is_empty()
                || pattern.len() > MAX_PATTERN_BYTES
                || !pattern.chars().all(is_plain)
        };
        if let Some(pattern) = raw.templates.keys().find(is_senseless) {
            let why = format!("{pattern:?} is no name of templates");
            return Err(RetentionError::Senseless(why));
        }
        Ok(Retention {
            rules: raw.rules,
            templates: raw.templates,
            text: text.to_owned(),
        })
    }

    /// The rules of a template; `None`: everything stays. Of the patterns that match, the one with
    /// the most letters counts, and its own name before all.
    pub fn rules_of(&self, template: &str) -> Option<Rules> {
        let matching = self.templates.iter();
        let nearest = matching
            .filter(|(pattern, _)| text_matches(pattern, template))
            .max_by_key(|(pattern, _)| {
                let letters = pattern.chars().filter(|c| *c != '*').count();
                (pattern.as_str() == template, letters)
            });
        match nearest {
            Some((_, section)) => section.or(&self.rules).rules(),
            None => self.rules.rules(),
        }
    }
}
