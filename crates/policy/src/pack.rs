//! Check packs: which checks a site wants, how strictly, and with which settings. YAML.
//!
//! A pack is read strictly: unknown keys, checks and parameters, wrong types, duplicate keys and
//! values without meaning are refused, because a rule that was mistyped must not be a rule that is
//! not there. It is the site's own file and still limited in size. Nothing is evaluated here.

use crate::check::{self, Check, Default as ParamDefault, Severity};
use crate::evidence::digest;
use crate::exception::{Exception, ExceptionError, RawException};
use crate::point::Point;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What every pack says it is.
pub const SCHEMA: &str = "stampo.policy-pack/1";
/// Largest pack, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// Most exceptions in a pack.
pub const MAX_EXCEPTIONS: usize = 10_000;
/// Most items of a list that is set.
const MAX_ITEMS: usize = 10_000;
/// Longest text of a pack, in bytes.
const MAX_TEXT_BYTES: usize = 4096;

/// What follows from a check that fails or is unknown.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is recorded.
    #[default]
    Audit,
    /// It is recorded, and whoever uses the version is told.
    Warn,
    /// What was asked for is refused.
    Enforce,
}

impl Mode {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Audit => "audit",
            Mode::Warn => "warn",
            Mode::Enforce => "enforce",
        }
    }
}

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParamValue {
    /// A whole number.
    Number(u64),
    /// A list of texts.
    List(Vec<String>),
}

/// The parameters of one check by name, those that the pack does not set with their defaults.
pub type Params = BTreeMap<String, ParamValue>;

/// One check as a pack wants it.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The check.
    pub check: &'static Check,
    /// How bad it is here.
    pub severity: Severity,
    /// What follows.
    pub mode: Mode,
    /// When it follows.
    pub at: BTreeSet<Point>,
    /// Its parameters.
    pub params: Params,
}

/// A pack that was read and makes sense.
#[derive(Debug, Clone)]
pub struct Pack {
    /// Its name.
    pub name: String,
    /// Its version, whatever the site calls it.
    pub version: String,
    /// What follows when nothing of the pack applied, and from checks that say nothing else.
    pub mode: Mode,
    /// When it follows, where a check says nothing else.
    pub at: BTreeSet<Point>,
    /// The checks, in the order of the table.
    pub rules: Vec<Rule>,
    /// Findings that were accepted.
    pub exceptions: Vec<Exception>,
    /// The pack as it was written.
    pub text: String,
}

/// Why a pack can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// It is too long.
    #[error("read the check pack: it has more than {MAX_BYTES} bytes")]
    TooLarge,
    /// It is no YAML, or says what no pack can say.
    #[error("read the check pack")]
    Yaml(#[from] serde_yaml_ng::Error),
    /// It says that it is something else.
    #[error("read the check pack: its schema is {0:?}, and has to be {SCHEMA:?}")]
    Schema(String),
    /// It names a check that does not exist.
    #[error("read the check pack: there is no check {0:?}")]
    UnknownCheck(String),
    /// It sets something that the check does not have, or to something that it can't be.
    #[error("read the check pack: {check} has no setting {param:?} of this type; it has {known}")]
    UnknownParam {
        /// The check.
        check: String,
        /// What was set.
        param: String,
        /// What may be set.
        known: String,
    },
    /// A text or a list is too long, or has to say something and is empty.
    #[error("read the check pack: {0} is empty or too long")]
    Length(String),
    /// An exception makes no sense.
    #[error("read the check pack")]
    Exception(#[from] ExceptionError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPack {
    schema: String,
    name: String,
    version: String,
    #[serde(default)]
    #[expect(dead_code, reason = "for the people who read the pack")]
    description: Option<String>,
    #[serde(default)]
    mode: Mode,
    #[serde(default = "Point::by_default")]
    at: BTreeSet<Point>,
    #[serde(default)]
    base: Base,
    #[serde(default)]
    checks: BTreeMap<String, RawRule>,
    #[serde(default)]
    exceptions: Vec<RawException>,
}

/// What a pack begins with.
#[derive(Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Base {
    /// Every built-in check.
    #[default]
    All,
    /// Only what the pack names.
    None,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default)]
    severity: Option<Severity>,
    #[serde(default)]
    mode: Option<Mode>,
    #[serde(default)]
    at: Option<BTreeSet<Point>>,
    #[serde(default)]
    with: BTreeMap<String, ParamValue>,
}

const fn yes() -> bool {
    true
}

/// The pack that counts where a site has none: every check, nothing enforced.
pub const DEFAULT: &str = "\
schema: stampo.policy-pack/1
name: default
version: '1'
description: Every built-in check with its own severity; nothing is refused.
mode: audit
";

impl Pack {
    /// The built-in pack.
    pub fn built_in() -> Self {
        Pack::parse(DEFAULT).expect("the built-in pack is tested")
    }

    /// Reads a pack.
    ///
    /// # Errors
    /// [`PackError`], which says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PackError> {
        if text.len() > MAX_BYTES {
            return Err(PackError::TooLarge);
        }
        // A value first: it refuses duplicate keys, which a map would take silently.
        let value: serde_yaml_ng::Value = serde_yaml_ng::from_str(text)?;
        let raw: RawPack = serde_yaml_ng::from_value(value)?;
        if raw.schema != SCHEMA {
            return Err(PackError::Schema(raw.schema));
        }
        for (what, said) in [("name", &raw.name), ("version", &raw.version)] {
            if said.trim().is_empty() || said.len() > MAX_TEXT_BYTES {
                return Err(PackError::Length(what.to_owned()));
            }
        }
        if raw.at.is_empty() {
            return Err(PackError::Length("at".to_owned()));
        }
        if raw.exceptions.len() > MAX_EXCEPTIONS {
            return Err(PackError::Length("the list of exceptions".to_owned()));
        }
        let exceptions = raw.exceptions.into_iter().map(Exception::try_from);
        Ok(Pack {
            mode: raw.mode,
            rules: rules(raw.mode, &raw.at, &raw.base, raw.checks)?,
            at: raw.at,
            exceptions: exceptions.collect::<Result<_, _>>()?,
            name: raw.name,
            version: raw.version,
            text: text.to_owned(),
        })
    }

    /// BLAKE3 over what the pack means, in hexadecimal: spaces and comments do not count. The
    /// exceptions count too.
    pub fn digest(&self) -> String {
        let rule = |rule: &Rule| {
            let params = rule.params.clone();
            (
                rule.check.id,
                rule.severity,
                rule.mode,
                rule.at.clone(),
                params,
            )
        };
        let rules: Vec<_> = self.rules.iter().map(rule).collect();
        let head = (SCHEMA, &self.name, &self.version, self.mode, &self.at);
        digest(&(head, rules, &self.exceptions, check::EDITION))
    }
}

fn rules(
    mode: Mode,
    at: &BTreeSet<Point>,
    base: &Base,
    mut named: BTreeMap<String, RawRule>,
) -> Result<Vec<Rule>, PackError> {
    let mut rules = Vec::new();
    for check in check::checks() {
        let said = named.remove(check.id);
        match said {
            Some(said) if said.enabled => rules.push(rule(check, mode, at, said)?),
            None if *base == Base::All => rules.push(Rule {
                check,
                severity: check.severity,
                mode,
                at: at.clone(),
                params: defaults(check),
            }),
            _ => {}
        }
    }
    match named.into_keys().next() {
        Some(id) => Err(PackError::UnknownCheck(id)),
        None => Ok(rules),
    }
}

fn rule(
    check: &'static Check,
    mode: Mode,
    at: &BTreeSet<Point>,
    said: RawRule,
) -> Result<Rule, PackError> {
    if said.at.as_ref().is_some_and(BTreeSet::is_empty) {
        return Err(PackError::Length(format!("at of {}", check.id)));
    }
    let mut params = defaults(check);
    for (name, value) in said.with {
        let known = params.get(&name);
        let is_same_type = known
            .is_some_and(|known| std::mem::discriminant(known) == std::mem::discriminant(&value));
        if !is_same_type {
            return Err(PackError::UnknownParam {
                check: check.id.to_owned(),
                param: name,
                known: known_params(check),
            });
        }
        if let ParamValue::List(items) = &value {
            let is_wrong = |item: &String| item.is_empty() || item.len() > MAX_TEXT_BYTES;
            if items.len() > MAX_ITEMS || items.iter().any(is_wrong) {
                return Err(PackError::Length(format!("{name} of {}", check.id)));
            }
        }
        params.insert(name, value);
    }
    Ok(Rule {
        check,
        severity: said.severity.unwrap_or(check.severity),
        mode: said.mode.unwrap_or(mode),
        at: said.at.unwrap_or_else(|| at.clone()),
        params,
    })
}

fn defaults(check: &Check) -> Params {
    let value = |default: &ParamDefault| match default {
        ParamDefault::Number(number) => ParamValue::Number(*number),
        ParamDefault::List(items) => {
            ParamValue::List(items.iter().map(|item| (*item).to_owned()).collect())
        }
    };
    let params = check.params.iter();
    params
        .map(|param| (param.name.to_owned(), value(&param.default)))
        .collect()
}

fn known_params(check: &Check) -> String {
    let kind = |default: &ParamDefault| match default {
        ParamDefault::Number(_) => "a number",
        ParamDefault::List(_) => "a list",
    };
    let params = check.params.iter();
    let known: Vec<String> = params
        .map(|p| format!("{} ({})", p.name, kind(&p.default)))
        .collect();
    if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    }
}
