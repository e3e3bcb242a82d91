//! Typed ids: one type for each kind of row, so that a guest id can never be passed as a version id.

use crate::text_form::text_form;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// A text that is not an id of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {text:?} as the id of {kind}")]
pub struct IdError {
    /// What was expected, for example `a guest`.
    pub kind: &'static str,
    /// The text that was given.
    pub text: String,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::parse_str(text)
                    .map($name)
                    .map_err(|_| IdError { kind: $kind, text: text.to_owned() })
            }
        }
    };
}

uuid_id!(
    /// A template: the name under which versions are kept.
    TemplateId,
    "a template"
);
uuid_id!(
    /// One version of a template, `name@N`.
    VersionId,
    "a version"
);
uuid_id!(
    /// One guest: a machine that was cloned from a version. Also its SMBIOS UUID.
    GuestId,
    "a guest"
);
uuid_id!(
    /// One operation: a request that changes something, from its intent to its end.
    OperationId,
    "an operation"
);

/// The identity of an image: BLAKE3 over its logical content, as 64 lowercase hex digits.
///
/// It covers the virtual size and each non-zero 1 MiB leaf with its index, and so does not depend
/// on the file's format, holes, compression or packing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageId(String);

impl ImageId {
    /// The id made of these 32 digest bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        ImageId(hex::encode(bytes))
    }

    /// All 64 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 hex digits, for tables.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageId({})", self.short())
    }
}

impl FromStr for ImageId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let lowercase_hex = text.len() == 64
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if lowercase_hex {
            Ok(ImageId(text.to_owned()))
        } else {
            Err(IdError {
                kind: "an image",
                text: text.to_owned(),
            })
        }
    }
}

text_form!(ImageId, IdError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_id_is_64_lowercase_hex_digits() {
        let good = "0123456789abcdef".repeat(4);
        assert_eq!(good.parse::<ImageId>().map(String::from), Ok(good.clone()));
        for bad in [
            "",
            &good[1..],
            &good.to_uppercase(),
            &format!("{}g", &good[1..]),
        ] {
            assert!(bad.parse::<ImageId>().is_err(), "{bad:?} must be refused");
        }
    }
}
