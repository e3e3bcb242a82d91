//! A site's approval settings: how many people, and who they are, as YAML that is read strictly.

use crate::digest;
use crate::signature::{Key, SignatureError};
use serde::{Deserialize, Serialize};
use stampo_core::approval::{Preset, Principal, Role, Rule, RuleError};
use std::collections::BTreeMap;

/// What the file says it is.
pub const SCHEMA: &str = "stampo.approval/1";
/// The longest file, in bytes.
pub const LONGEST_SETTINGS: usize = 1 << 20;
/// The most signers.
const MOST_SIGNERS: usize = 1000;
/// The most keys of one signer.
const MOST_KEYS: usize = 20;

/// Somebody who may sign.
#[derive(Debug, Clone, PartialEq)]
pub struct Signer {
    /// Who.
    pub principal: Principal,
    /// The keys, at least one.
    pub keys: Vec<Key>,
    /// What this signer speaks for.
    pub roles: Vec<Role>,
    /// Whether it is a program: it may submit, and not approve.
    pub is_robot: bool,
    /// The user id on this host, which tells who made and who purges a version.
    pub uid: Option<u32>,
}

/// What a site asks for, and of whom.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// What it asks for.
    pub rule: Rule,
    /// Of whom.
    pub signers: Vec<Signer>,
}

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No YAML, or not of this form.
    #[error("read the approval settings")]
    Yaml(#[from] serde_yaml_ng::Error),
    /// Another form.
    #[error("read the approval settings: they are of the form {0:?}, not {SCHEMA:?}")]
    Schema(String),
    /// Too long or too many.
    #[error("read the approval settings: {0} is too long")]
    Long(&'static str),
    /// A rule that nobody could meet.
    #[error("take the approval settings")]
    Rule(#[from] RuleError),
    /// A key.
    #[error("take a key of {0}")]
    Key(Principal, #[source] SignatureError),
    /// A signer without a key.
    #[error("take the signer {0}: there is no key")]
    NoKey(Principal),
    /// One of these is two people's, or the same name stands twice.
    #[error("take the signer {0}: {1} is somebody else's already")]
    Twice(Principal, &'static str),
    /// A setting that the preset fixes.
    #[error("take {0:?} together with the preset {preset}: it is for custom", preset = .1.as_str())]
    Fixed(&'static str, Preset),
    /// Nothing could be published any more.
    #[error(
        "ask for {needed} approvals: only {people} people can approve; name them under signers, \
         with their keys and roles"
    )]
    TooFew {
        /// How many are asked for.
        needed: u32,
        /// How many can.
        people: usize,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSettings {
    schema: String,
    preset: Preset,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    needed: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    roles: Option<BTreeMap<Role, u32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    author_may_approve: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    purger_apart: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_days: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verify_at_clone: Option<bool>,
    #[serde(default)]
    signers: Vec<RawSigner>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawSigner {
    principal: Principal,
    keys: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roles: Vec<Role>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    robot: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
}

impl Settings {
    /// Reads settings and refuses those that could not work.
    pub fn parse(text: &str) -> Result<Settings, SettingsError> {
        if text.len() > LONGEST_SETTINGS {
            return Err(SettingsError::Long("the file"));
        }
        // A value first: it refuses duplicate keys, which a map would take silently.
        let value: serde_yaml_ng::Value = serde_yaml_ng::from_str(text)?;
        let raw: RawSettings = serde_yaml_ng::from_value(value)?;
        if raw.schema != SCHEMA {
            return Err(SettingsError::Schema(raw.schema));
        }
        let rule = rule(&raw)?;
        if raw.signers.len() > MOST_SIGNERS {
            return Err(SettingsError::Long("the list of signers"));
        }
        let signers: Vec<Signer> = raw
            .signers
            .into_iter()
            .map(signer)
            .collect::<Result<_, _>>()?;
        let settings = Settings { rule, signers };
        settings.check()?;
        Ok(settings)
    }

    /// As these, with another preset. What only `custom` has goes.
    pub fn with_preset(&self, preset: Preset) -> Result<Settings, SettingsError> {
        let settings = Settings {
            rule: match preset == self.rule.preset {
                true => self.rule.clone(),
                false => Rule::of(preset),
            },
            signers: self.signers.clone(),
        };
        settings.check()?;
        Ok(settings)
    }

    /// The settings as they are kept and shown; read again they are the same.
    pub fn text(&self) -> String {
        let Rule {
            preset,
            needed,
            ref roles,
            ..
        } = self.rule;
        let is_custom = preset == Preset::Custom;
        let usual = Rule::of(preset);
        let days = u32::try_from(self.rule.expires_days()).unwrap_or(u32::MAX);
        let raw = RawSettings {
            schema: SCHEMA.to_owned(),
            preset,
            needed: is_custom.then_some(needed),
            roles: (is_custom && !roles.is_empty()).then(|| roles.clone()),
            author_may_approve: is_custom.then_some(self.rule.author_may_approve),
            purger_apart: is_custom.then_some(self.rule.purger_apart),
            expires_days: (self.rule.expires_ms != usual.expires_ms).then_some(days),
            verify_at_clone: (self.rule.verify_at_clone != usual.verify_at_clone)
                .then_some(self.rule.verify_at_clone),
            signers: self.signers.iter().map(raw_signer).collect(),
        };
        serde_yaml_ng::to_string(&raw).expect("plain values always become YAML")
    }

    /// A digest of what they mean: spaces and comments do not count.
    pub fn digest(&self) -> String {
        digest(&self.text())
    }

    /// The signer who has a key.
    pub fn signer_of(&self, key: &Key) -> Option<&Signer> {
        self.signers.iter().find(|one| one.keys.contains(key))
    }

    /// The signer who has a user id on this host.
    pub fn signer_with_uid(&self, uid: u32) -> Option<&Signer> {
        self.signers.iter().find(|one| one.uid == Some(uid))
    }

    fn check(&self) -> Result<(), SettingsError> {
        self.rule.check()?;
        for (at, one) in self.signers.iter().enumerate() {
            let who = || one.principal.clone();
            for other in &self.signers[..at] {
                if other.principal == one.principal {
                    return Err(SettingsError::Twice(who(), "the name"));
                }
                if other.keys.iter().any(|key| one.keys.contains(key)) {
                    return Err(SettingsError::Twice(who(), "a key"));
                }
                if one.uid.is_some() && other.uid == one.uid {
                    return Err(SettingsError::Twice(who(), "the uid"));
                }
            }
        }
        let people: Vec<&[Role]> = self
            .signers
            .iter()
            .filter(|one| !one.is_robot)
            .map(|one| &one.roles[..])
            .collect();
        match stampo_core::approval::still_missing(&self.rule, &people) {
            (0, _) => Ok(()),
            _ => Err(SettingsError::TooFew {
                needed: self.rule.needed,
                people: people.len(),
            }),
        }
    }
}

fn rule(raw: &RawSettings) -> Result<Rule, SettingsError> {
    let mut rule = Rule::of(raw.preset);
    if raw.preset == Preset::Custom {
        rule.needed = raw.needed.unwrap_or(rule.needed);
        rule.roles = raw.roles.clone().unwrap_or_default();
        rule.author_may_approve = raw.author_may_approve.unwrap_or(false);
        rule.purger_apart = raw.purger_apart.unwrap_or(false);
    } else {
        for (name, is_said) in [
            ("needed", raw.needed.is_some()),
            ("roles", raw.roles.is_some()),
            ("author-may-approve", raw.author_may_approve.is_some()),
            ("purger-apart", raw.purger_apart.is_some()),
        ] {
            if is_said {
                return Err(SettingsError::Fixed(name, raw.preset));
            }
        }
    }
    if let Some(days) = raw.expires_days {
        rule = rule.expiring_after(days)?;
    }
    rule.verify_at_clone = raw.verify_at_clone.unwrap_or(rule.verify_at_clone);
    Ok(rule)
}

fn signer(raw: RawSigner) -> Result<Signer, SettingsError> {
    if raw.keys.len() > MOST_KEYS {
        return Err(SettingsError::Long("a list of keys"));
    }
    let parse = |line: &String| {
        Key::parse(line).map_err(|error| SettingsError::Key(raw.principal.clone(), error))
    };
    let keys: Vec<Key> = raw.keys.iter().map(parse).collect::<Result<_, _>>()?;
    if keys.is_empty() {
        return Err(SettingsError::NoKey(raw.principal));
    }
    Ok(Signer {
        principal: raw.principal,
        keys,
        roles: raw.roles,
        is_robot: raw.robot,
        uid: raw.uid,
    })
}

fn raw_signer(signer: &Signer) -> RawSigner {
    RawSigner {
        principal: signer.principal.clone(),
        keys: signer.keys.iter().map(Key::line).collect(),
        roles: signer.roles.clone(),
        robot: signer.is_robot,
        uid: signer.uid,
    }
}
