//! The catalogue of known exploited vulnerabilities (KEV) as JSON: what is used by attackers, by when it
//! is to be mended. It says nothing about versions.

use super::{AdvisoryError, MAX_STATEMENTS, is_cve};
use serde::Deserialize;

const FORMAT: &str = "KEV";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    date_released: String,
    vulnerabilities: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(rename = "cveID")]
    cve: String,
    date_added: String,
    #[serde(default)]
    due_date: String,
}

/// A vulnerability that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exploited {
    /// The vulnerability.
    pub cve: String,
    /// The day it was listed.
    pub added: String,
    /// The day by which it is to be mended; empty when there is none.
    pub due: String,
}

/// What the catalogue says: its date (RFC 3339), its entries, and how many made no sense.
///
/// # Errors
/// When it is no such catalogue.
pub fn read(bytes: &[u8]) -> Result<(String, Vec<Exploited>, u64), AdvisoryError> {
    let document: Document =
        serde_json::from_slice(bytes).map_err(|source| AdvisoryError::Json {
            format: FORMAT,
            source,
        })?;
    if document.vulnerabilities.len() > MAX_STATEMENTS {
        return Err(AdvisoryError::TooMany(FORMAT));
    }
    let all = document.vulnerabilities.len();
    let sound = |entry: &Entry| {
        is_cve(&entry.cve)
            && is_day(&entry.date_added)
            && (entry.due_date.is_empty() || is_day(&entry.due_date))
    };
    let entries = document.vulnerabilities.into_iter().filter(sound);
    let entries: Vec<Exploited> = entries
        .map(|entry| Exploited {
            cve: entry.cve,
            added: entry.date_added,
            due: entry.due_date,
        })
        .collect();
    let skipped = (all - entries.len()) as u64;
    Ok((document.date_released, entries, skipped))
}

/// `2026-11-23`.
fn is_day(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}
