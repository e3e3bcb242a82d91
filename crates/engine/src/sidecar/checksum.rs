//! The checksum of a sidecar, kept in the sidecar itself.
//!
//! A sidecar is a JSON object, written with one field to a line. Its last field is `checksum`:
//! BLAKE3, in hex, of the file as it would be without that field. So every byte counts, the layout
//! too, and a program that does not know the field still reads the rest. Sidecars of before have
//! none; they are told from damaged ones by having no unknown field either. This file knows no
//! files and no fields of a sidecar but its own.

/// How the last field begins, and the file ends.
const BEFORE: &str = ",\n  \"checksum\": \"";
const AFTER: &str = "\"\n}";
/// How a file without the field ends.
const END: &str = "\n}";
/// Hex digits of BLAKE3.
const DIGITS: usize = 64;

/// What a sidecar's checksum says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    /// Every byte is as it was written.
    Right,
    /// Some byte has changed.
    Wrong,
    /// It has none.
    None,
}

/// The text of a sidecar, as `serde_json::to_vec_pretty` writes it, with its checksum.
pub(crate) fn add(mut text: Vec<u8>) -> Vec<u8> {
    let digest = blake3::hash(&text).to_hex();
    if text.ends_with(END.as_bytes()) {
        text.truncate(text.len() - END.len());
        for part in [BEFORE, digest.as_str(), AFTER] {
            text.extend_from_slice(part.as_bytes());
        }
    }
    text
}

/// Compares the text of a sidecar with its checksum.
pub(crate) fn check(text: &[u8]) -> Protection {
    match split(text) {
        None => Protection::None,
        Some((body, digest)) => {
            let mut hasher = blake3::Hasher::new();
            hasher.update(body).update(END.as_bytes());
            if hasher.finalize().to_hex().as_bytes() == digest {
                Protection::Right
            } else {
                Protection::Wrong
            }
        }
    }
}

/// The text up to the field, and the digest in it.
fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_suffix(AFTER.as_bytes())?;
    let (text, digest) = text.split_at_checked(text.len().checked_sub(DIGITS)?)?;
    Some((text.strip_suffix(BEFORE.as_bytes())?, digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn sample() -> Vec<u8> {
        let value = json!({ "format": 1, "name": "web", "list": ["a", "b"] });
        add(serde_json::to_vec_pretty(&value).expect("it serialises"))
    }

    #[test]
    fn a_protected_sidecar_is_json_with_one_more_field() {
        let value: Value = serde_json::from_slice(&sample()).expect("JSON");
        assert_eq!(value["name"], "web");
        assert_eq!(value["checksum"].as_str().map(str::len), Some(DIGITS));
        assert_eq!(check(&sample()), Protection::Right);
    }

    #[test]
    fn a_flipped_bit_is_wrong_or_leaves_an_unknown_field_or_no_json() {
        let text = sample();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut flipped = text.clone();
                flipped[at] ^= 1 << bit;
                let keys = |value: Value| value.as_object().map_or(0, serde_json::Map::len);
                let is_seen = match check(&flipped) {
                    Protection::Right => false,
                    Protection::Wrong => true,
                    // As unprotected it must not pass for one of before, which has three fields.
                    Protection::None => {
                        serde_json::from_slice(&flipped).map_or(true, |v| keys(v) > 3)
                    }
                };
                assert!(is_seen, "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn one_of_before_is_without_protection() {
        for text in [&b"{\n  \"format\": 1\n}"[..], b"", b"}", b"\"\n}"] {
            assert_eq!(check(text), Protection::None);
        }
    }
}
