//! Names of templates, versions, channels and guests, and the patterns that bulk clones are named by.
//!
//! A name is at most 63 bytes of `[a-z0-9-]`, starts and ends with a letter or digit: the form of
//! a DNS label (RFC 1123, section 2.1), so that a guest name can always be its host name.

use crate::text_form::text_form;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why a text is not a name, a reference or a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or more than 63 bytes.
    #[error("use {text:?} as a name: it must be 1 to 63 characters long")]
    Length {
        /// The text that was given.
        text: String,
    },
    /// A character that a DNS label can't hold, or a hyphen at an end.
    #[error(
        "use {text:?} as a name: only a-z, 0-9 and '-' are allowed, and not '-' at the start or end"
    )]
    Character {
        /// The text that was given.
        text: String,
    },
    /// The part after `@` is not a positive number.
    #[error("read {text:?} as a version: write NAME, NAME@NUMBER or NAME:CHANNEL")]
    Reference {
        /// The text that was given.
        text: String,
    },
    /// Several guests need a place for their number.
    #[error("name {count} guests by {text:?}: put {{n}} where the number goes, as in 'app-{{n}}'")]
    PatternWithoutNumber {
        /// The text that was given.
        text: String,
        /// How many guests were asked for.
        count: u32,
    },
}

fn check_label(text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.len() > 63 {
        return Err(NameError::Length {
            text: text.to_owned(),
        });
    }
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !text.bytes().all(allowed) || text.starts_with('-') || text.ends_with('-') {
        return Err(NameError::Character {
            text: text.to_owned(),
        });
    }
    Ok(())
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check_label(text)?;
                Ok($name(text.to_owned()))
            }
        }

        text_form!($name, NameError);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

label!(
    /// The name of a template.
    TemplateName
);
label!(
    /// The name of a guest. It is also the guest's host name unless another is asked for.
    GuestName
);
label!(
    /// The name of a pool. Its members are called after it.
    PoolName
);
label!(
    /// The name of a channel, a pointer to one version of a template.
    ChannelName
);

/// What a user writes to mean a version: `web`, `web@3` or `web:stable`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionRef {
    /// The template.
    pub template: TemplateName,
    /// Which of its versions.
    pub select: VersionSelect,
}

/// Which version of a template is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionSelect {
    /// The newest version that is published.
    Latest,
    /// This number, from 1.
    Number(u32),
    /// The version that the channel points to.
    Channel(ChannelName),
}

impl FromStr for VersionRef {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let reference = || NameError::Reference {
            text: text.to_owned(),
        };
        let (template, select) = if let Some((name, number)) = text.split_once('@') {
            let plain = !number.starts_with('0') && number.bytes().all(|b| b.is_ascii_digit());
            let number = number
                .parse()
                .ok()
                .filter(|_| plain)
                .ok_or_else(reference)?;
            (name, VersionSelect::Number(number))
        } else if let Some((name, channel)) = text.split_once(':') {
            (name, VersionSelect::Channel(channel.parse()?))
        } else {
            (text, VersionSelect::Latest)
        };
        Ok(VersionRef {
            template: template.parse()?,
            select,
        })
    }
}

impl fmt::Display for VersionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.select {
            VersionSelect::Latest => write!(f, "{}", self.template),
            VersionSelect::Number(number) => write!(f, "{}@{number}", self.template),
            VersionSelect::Channel(channel) => write!(f, "{}:{channel}", self.template),
        }
    }
}

text_form!(VersionRef, NameError);

/// A guest name in which `{n}` stands for a number, as in `app-{n}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NamePattern(String);

impl NamePattern {
    /// Takes the text as it is; [`NamePattern::expand`] checks it.
    pub fn new(text: impl Into<String>) -> Self {
        NamePattern(text.into())
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `count` names that are not in `taken`: the lowest free numbers from 1 on.
    ///
    /// A pattern without `{n}` gives one name, even if it is taken: the caller reports that.
    pub fn expand(
        &self,
        count: u32,
        taken: impl Fn(&GuestName) -> bool,
    ) -> Result<Vec<GuestName>, NameError> {
        if !self.0.contains("{n}") {
            if count > 1 {
                return Err(NameError::PatternWithoutNumber {
                    text: self.0.clone(),
                    count,
                });
            }
            return Ok(vec![self.0.parse()?]);
        }
        let mut names = Vec::with_capacity(count as usize);
        let mut number = 0_u64;
        while names.len() < count as usize {
            number += 1;
            let name: GuestName = self.0.replace("{n}", &number.to_string()).parse()?;
            if !taken(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "web", "web-1", "0", &"x".repeat(63)] {
            assert!(good.parse::<GuestName>().is_ok(), "{good:?}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a_b",
            "a.b",
            "../x",
            "a/b",
            "é",
            "a b",
            &"x".repeat(64),
        ] {
            assert!(bad.parse::<GuestName>().is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn references_round_trip() {
        for good in ["web", "web@3", "web:stable"] {
            assert_eq!(
                good.parse::<VersionRef>().map(String::from),
                Ok(good.to_owned())
            );
        }
        for bad in [
            "web@",
            "web@0",
            "web@03",
            "web@-1",
            "web@+1",
            "web@x",
            "web:",
            "@1",
            "web@99999999999",
        ] {
            assert!(
                bad.parse::<VersionRef>().is_err(),
                "{bad:?} must be refused"
            );
        }
    }

    #[test]
    fn a_pattern_takes_the_lowest_free_numbers() {
        let names = NamePattern::new("app-{n}").expand(3, |name| name.as_str() == "app-2");
        let names: Vec<String> = names
            .expect("valid")
            .into_iter()
            .map(String::from)
            .collect();
        assert_eq!(names, ["app-1", "app-3", "app-4"]);
        assert!(NamePattern::new("app").expand(2, |_| false).is_err());
        assert!(NamePattern::new("App-{n}").expand(1, |_| false).is_err());
    }
}
