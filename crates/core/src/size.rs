//! Sizes in bytes, written as people write them: `512M`, `10G`, `1.5GiB`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A number of bytes. Units are powers of 1024, with or without `i` and `B`.
#[derive(
    Default, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "SizeText", into = "String")]
pub struct ByteSize(pub u64);

/// A text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {text:?} as a size: write a number with K, M, G or T, as in 10G or 512M")]
pub struct SizeError {
    /// The text that was given.
    pub text: String,
}

/// A size in a file may be a text with a unit or a plain number of bytes.
#[derive(Deserialize)]
#[serde(untagged)]
enum SizeText {
    Bytes(u64),
    Text(String),
}

const UNITS: [(&str, u32); 5] = [("", 0), ("k", 10), ("m", 20), ("g", 30), ("t", 40)];

impl ByteSize {
    /// This many MiB.
    pub const fn mib(count: u64) -> Self {
        ByteSize(count << 20)
    }

    /// This many GiB.
    pub const fn gib(count: u64) -> Self {
        ByteSize(count << 30)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = SizeError;
    fn from_str(text: &str) -> Result<Self, SizeError> {
        let error = || SizeError {
            text: text.to_owned(),
        };
        let lower = text.trim().to_ascii_lowercase();
        let split = lower
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(lower.len());
        let (number, unit) = lower.split_at(split);
        let unit = unit.trim().trim_end_matches('b').trim_end_matches('i');
        let shift = UNITS
            .iter()
            .find(|(u, _)| *u == unit)
            .map(|(_, s)| *s)
            .ok_or_else(error)?;
        let bytes = match number.split_once('.') {
            None => number
                .parse::<u64>()
                .ok()
                .and_then(|n| n.checked_mul(1 << shift)),
            Some((whole, fraction)) => fractional(whole, fraction, shift),
        };
        bytes.map(ByteSize).ok_or_else(error)
    }
}

/// `whole.fraction` units of `2^shift` bytes, rounded down to whole bytes.
fn fractional(whole: &str, fraction: &str, shift: u32) -> Option<u64> {
    if fraction.is_empty() || fraction.len() > 6 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let scale = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let part = fraction.parse::<u64>().ok()?.checked_mul(1 << shift)? / scale;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(1 << shift)?
        .checked_add(part)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, shift) = match self.0 {
            0..1024 => return write!(f, "{} B", self.0),
            1024..0x10_0000 => ("KiB", 10),
            0x10_0000..0x4000_0000 => ("MiB", 20),
            0x4000_0000..0x100_0000_0000 => ("GiB", 30),
            _ => ("TiB", 40),
        };
        let tenths = u128::from(self.0) * 10 / (1_u128 << shift);
        if tenths.is_multiple_of(10) || tenths >= 1000 {
            write!(f, "{} {unit}", tenths / 10)
        } else {
            write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
        }
    }
}

impl TryFrom<SizeText> for ByteSize {
    type Error = SizeError;
    fn try_from(text: SizeText) -> Result<Self, SizeError> {
        match text {
            SizeText::Bytes(bytes) => Ok(ByteSize(bytes)),
            SizeText::Text(text) => text.parse(),
        }
    }
}

impl From<ByteSize> for String {
    /// Exact: the largest unit that divides the size.
    fn from(size: ByteSize) -> String {
        let exact = UNITS
            .iter()
            .rev()
            .find(|(_, s)| size.0 != 0 && size.0.is_multiple_of(1 << s));
        match exact {
            Some((unit, shift)) => format!("{}{}", size.0 >> shift, unit.to_uppercase()),
            None => size.0.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("4k", 4096),
            ("512M", 512 << 20),
            ("10G", 10 << 30),
            ("10GiB", 10 << 30),
            ("10 GB", 10 << 30),
            ("1.5g", 3 << 29),
            ("2T", 2 << 40),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for bad in [
            "",
            "G",
            "-1G",
            "1X",
            "1.G",
            "1.2.3G",
            "99999999999T",
            "1e9",
            "0x10",
        ] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn the_file_form_is_exact() {
        for bytes in [0, 1, 1023, 1024, 1536, 3 << 29, 10 << 30, (10 << 30) + 1] {
            assert_eq!(String::from(ByteSize(bytes)).parse(), Ok(ByteSize(bytes)));
        }
    }
}
