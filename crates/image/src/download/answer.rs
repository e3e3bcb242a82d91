//! What the head of an HTTP answer says about the file and about our part of it.
//!
//! Only headers are looked at here; nothing is fetched or kept.

use ureq::http::{HeaderMap, header};

/// What the body of an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The file from its beginning; its size, if it was told.
    Whole {
        /// The size of the file.
        total_bytes: Option<u64>,
    },
    /// The file from the end of our part on.
    Rest {
        /// The size of the whole file.
        total_bytes: u64,
    },
    /// Nothing: our part is the whole file.
    Complete,
    /// Nothing: our part is none of this file.
    Unrelated,
}

/// Why an answer is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// The server did not send the file.
    Status(u16),
    /// The file comes in an encoding that was not asked for.
    Encoding(String),
    /// It is another range of the file than the one that was asked for.
    Range,
}

impl Answer {
    /// Reads status and headers of the answer to a request for what is behind `part_bytes`.
    pub fn read(status: u16, headers: &HeaderMap, part_bytes: u64) -> Result<Self, Refused> {
        let encoding = text(headers, header::CONTENT_ENCODING).filter(|e| *e != "identity");
        if let Some(encoding) = encoding {
            return Err(Refused::Encoding(encoding.to_owned()));
        }
        match (status, content_range(headers)) {
            (200, _) => {
                let length = text(headers, header::CONTENT_LENGTH);
                let total_bytes = length.and_then(|length| length.parse().ok());
                Ok(Answer::Whole { total_bytes })
            }
            (206, Some((Some(start), total_bytes))) if start == part_bytes => {
                Ok(Answer::Rest { total_bytes })
            }
            (206, _) => Err(Refused::Range),
            (416, Some((None, total))) if total == part_bytes => Ok(Answer::Complete),
            (416, _) if part_bytes > 0 => Ok(Answer::Unrelated),
            _ => Err(Refused::Status(status)),
        }
    }
}

/// A header as text.
fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// What names this version of the file: a strong ETag, otherwise its date (RFC 9110, 13.1.5).
pub(super) fn validator(headers: &HeaderMap) -> Option<String> {
    let etag = text(headers, header::ETAG).filter(|etag| !etag.starts_with("W/"));
    etag.or_else(|| text(headers, header::LAST_MODIFIED))
        .map(str::to_owned)
}

/// Whether the body comes in chunks, the last of which is marked (RFC 9112, section 7.1).
pub(super) fn is_chunked(headers: &HeaderMap) -> bool {
    text(headers, header::TRANSFER_ENCODING) == Some("chunked")
}

/// First byte, unless unsatisfied (`*`), and size of the whole file (RFC 9110, section 14.4).
fn content_range(headers: &HeaderMap) -> Option<(Option<u64>, u64)> {
    let (range, total) = text(headers, header::CONTENT_RANGE)?
        .strip_prefix("bytes ")?
        .split_once('/')?;
    let total = total.parse().ok()?;
    if range == "*" {
        return Some((None, total));
    }
    let (start, end) = range.split_once('-')?;
    let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
    (start <= end && end < total).then_some((Some(start), total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        status: u16,
        headers: &[(header::HeaderName, &str)],
        part: u64,
    ) -> Result<Answer, Refused> {
        let headers = headers
            .iter()
            .map(|(n, v)| (n.clone(), v.parse().expect("a value")));
        Answer::read(status, &headers.collect(), part)
    }

    #[test]
    fn a_range_counts_only_when_it_is_the_one_that_was_asked_for() {
        let range = |text| read(206, &[(header::CONTENT_RANGE, text)], 10);
        assert_eq!(
            range("bytes 10-19/20"),
            Ok(Answer::Rest { total_bytes: 20 })
        );
        for bad in [
            "bytes 0-19/20",
            "bytes 10-20/20",
            "bytes 10-9/20",
            "bytes 10-19/*",
            "x",
            "bytes */20",
        ] {
            assert_eq!(range(bad), Err(Refused::Range), "{bad}");
        }
        assert_eq!(read(206, &[], 10), Err(Refused::Range));
    }

    #[test]
    fn an_unsatisfied_range_tells_whether_the_part_is_complete() {
        let unsatisfied = |text, part| read(416, &[(header::CONTENT_RANGE, text)], part);
        assert_eq!(unsatisfied("bytes */10", 10), Ok(Answer::Complete));
        assert_eq!(unsatisfied("bytes */9", 10), Ok(Answer::Unrelated));
        assert_eq!(read(416, &[], 0), Err(Refused::Status(416)));
    }

    #[test]
    fn an_encoded_file_is_refused() {
        let encoded = read(200, &[(header::CONTENT_ENCODING, "gzip")], 0);
        assert_eq!(encoded, Err(Refused::Encoding("gzip".to_owned())));
        let plain = read(200, &[(header::CONTENT_ENCODING, "identity")], 0);
        assert_eq!(plain, Ok(Answer::Whole { total_bytes: None }));
    }

    #[test]
    fn only_a_strong_etag_or_a_date_names_a_version() {
        let name = |headers: &[(header::HeaderName, &str)]| {
            let headers = headers
                .iter()
                .map(|(n, v)| (n.clone(), v.parse().expect("a value")));
            validator(&headers.collect())
        };
        let date = (header::LAST_MODIFIED, "Sun, 22 Nov 2026 00:00:00 GMT");
        assert_eq!(
            name(&[(header::ETAG, "\"a\""), date.clone()]).as_deref(),
            Some("\"a\"")
        );
        assert_eq!(
            name(&[(header::ETAG, "W/\"a\""), date.clone()]).as_deref(),
            Some(date.1)
        );
        assert_eq!(name(&[(header::ETAG, "W/\"a\"")]), None);
    }
}
