//! Canonical JSON, so that the same statement is the same bytes everywhere.
//!
//! The form is that of RFC 8785 for what statements hold: no spaces, keys in order, numbers that are
//! integers of at most 53 bits. Other numbers are refused, so that their form is no question.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Write as _;

/// The largest integer that every reader of JSON keeps (RFC 7493, section 2.2).
const LARGEST: i64 = (1 << 53) - 1;
/// How deep a text may nest.
const DEEPEST: usize = 32;

/// Why a text is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// It is too long.
    #[error("read a text of {0} bytes: that is too long")]
    Long(usize),
    /// It is no JSON, or not what is expected there.
    #[error("read it as JSON")]
    Json(#[from] serde_json::Error),
    /// It could be written in another way.
    #[error("take it as canonical JSON: it is written in another way")]
    NotCanonical,
    /// It holds a number that has several forms.
    #[error("write the number {0}: only integers of 53 bits have one form")]
    Number(String),
    /// It nests too deep.
    #[error("read it: it nests deeper than {DEEPEST} levels")]
    Deep,
}

/// A value as canonical JSON.
pub fn to_text<T: Serialize>(value: &T) -> Result<String, CanonicalError> {
    let mut text = String::new();
    write_value(&serde_json::to_value(value)?, &mut text, 0)?;
    Ok(text)
}

/// The value of a canonical text of at most `most_bytes`. Any other text is refused, also one that
/// says the same.
pub fn from_text<T: DeserializeOwned>(text: &str, most_bytes: usize) -> Result<T, CanonicalError> {
    if text.len() > most_bytes {
        return Err(CanonicalError::Long(text.len()));
    }
    let value: Value = serde_json::from_str(text)?;
    if to_text(&value)? != text {
        return Err(CanonicalError::NotCanonical);
    }
    Ok(serde_json::from_value(value)?)
}

fn write_value(value: &Value, into: &mut String, depth: usize) -> Result<(), CanonicalError> {
    if depth > DEEPEST {
        return Err(CanonicalError::Deep);
    }
    match value {
        Value::Number(number) => match number.as_i64() {
            Some(whole) if (-LARGEST..=LARGEST).contains(&whole) => {
                // Writing into a text does not fail.
                let _ = write!(into, "{whole}");
            }
            _ => return Err(CanonicalError::Number(number.to_string())),
        },
        Value::Array(items) => {
            into.push('[');
            for (at, item) in items.iter().enumerate() {
                into.push_str(if at > 0 { "," } else { "" });
                write_value(item, into, depth + 1)?;
            }
            into.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            // RFC 8785 orders by UTF-16 code units.
            fields.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            into.push('{');
            for (at, (key, item)) in fields.into_iter().enumerate() {
                into.push_str(if at > 0 { "," } else { "" });
                into.push_str(&serde_json::to_string(key)?);
                into.push(':');
                write_value(item, into, depth + 1)?;
            }
            into.push('}');
        }
        // Null, booleans and texts: serde_json escapes what RFC 8785 escapes, in the same way.
        plain => into.push_str(&serde_json::to_string(plain)?),
    }
    Ok(())
}
