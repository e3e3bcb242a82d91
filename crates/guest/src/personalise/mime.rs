//! A multipart/mixed message (RFC 2045, RFC 2046) in the small form that cloud-init's user-data
//! takes: our parts in base64, and a user's own MIME message nested as it is.
//!
//! Parts are never joined as text: two cloud-configs that are concatenated silently lose the keys
//! of the first. It writes only; cloud-init, and in tests Python's `email`, read.

use super::error::PersonaliseError;
use base64::Engine;

/// One part of the message.
pub(super) struct Part {
    /// Header lines without the blank line after them; each ends with `\n`.
    headers: String,
    body: String,
}

/// Base64 lines have at most 76 characters (RFC 2045, section 6.8).
const LINE: usize = 76;

impl Part {
    /// Text of this type, under a file name that cloud-init shows in its log.
    pub(super) fn text(mime_type: &str, name: &str, text: &str) -> Self {
        let headers = format!(
            "Content-Type: {mime_type}; charset=\"utf-8\"\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"{name}\"\n"
        );
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        let mut body = String::with_capacity(encoded.len() + encoded.len() / LINE + 1);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, next) = rest.split_at(rest.len().min(LINE));
            body.push_str(line);
            body.push('\n');
            rest = next;
        }
        Part { headers, body }
    }

    /// What the user gave: a MIME message is nested, anything else is one part whose type its
    /// first line tells.
    pub(super) fn of_user(user_data: &str) -> Result<Self, PersonaliseError> {
        let first = user_data.lines().next().unwrap_or("").to_ascii_lowercase();
        if first.starts_with("content-type:") || first.starts_with("mime-version:") {
            return nested(user_data);
        }
        let mime_type = type_of(&first).ok_or(PersonaliseError::UserDataKind)?;
        Ok(Part::text(mime_type, "50-user", user_data))
    }
}

/// The type by the first line, as cloud-init's documentation lists them ("User-data formats").
/// The longer beginnings come first.
fn type_of(first_line: &str) -> Option<&'static str> {
    const TYPES: [(&str, &str); 8] = [
        ("#cloud-config-archive", "text/cloud-config-archive"),
        ("#cloud-config-jsonp", "text/cloud-config-jsonp"),
        ("#cloud-config", "text/cloud-config"),
        ("#cloud-boothook", "text/cloud-boothook"),
        ("#part-handler", "text/part-handler"),
        ("#include", "text/x-include-url"),
        ("## template: jinja", "text/jinja2"),
        ("#!", "text/x-shellscript"),
    ];
    TYPES
        .iter()
        .find(|(begin, _)| first_line.starts_with(begin))
        .map(|(_, mime_type)| *mime_type)
}

/// The user's message with its own headers; it becomes a part of ours.
fn nested(message: &str) -> Result<Part, PersonaliseError> {
    let message = message.replace("\r\n", "\n");
    let wrong = |why| PersonaliseError::UserDataMime { why };
    let (headers, body) = message
        .split_once("\n\n")
        .ok_or_else(|| wrong("no empty line ends its headers"))?;
    let mut has_type = false;
    for line in headers.lines() {
        let folded = line.starts_with([' ', '\t']);
        let name = line.split_once(':').map(|(name, _)| name);
        let valid = name.is_some_and(|name| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        });
        if !folded && !valid {
            return Err(wrong("a header line is not of the form 'Name: value'"));
        }
        has_type |= name.is_some_and(|name| name.eq_ignore_ascii_case("content-type"));
    }
    if !has_type {
        return Err(wrong("it has no Content-Type header"));
    }
    Ok(Part {
        headers: format!("{headers}\n"),
        body: body.to_owned(),
    })
}

/// The whole message, with a boundary that occurs in no part.
pub(super) fn multipart(parts: &[Part]) -> String {
    let boundary = boundary(parts);
    let mut text = format!(
        "Content-Type: multipart/mixed; boundary=\"{boundary}\"\nMIME-Version: 1.0\nNumber-Attachments: {}\n\n",
        parts.len()
    );
    for part in parts {
        let end = if part.body.ends_with('\n') { "" } else { "\n" };
        text += &format!("--{boundary}\n{}\n{}{end}\n", part.headers, part.body);
    }
    text += &format!("--{boundary}--\n");
    text
}

/// Follows from the content, so that the same request gives the same bytes.
fn boundary(parts: &[Part]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher
            .update(part.headers.as_bytes())
            .update(part.body.as_bytes());
    }
    loop {
        let boundary = format!("=stampo-{}=", &hasher.finalize().to_hex()[..32]);
        let occurs =
            |part: &Part| part.body.contains(&boundary) || part.headers.contains(&boundary);
        if !parts.iter().any(occurs) {
            return boundary;
        }
        hasher.update(boundary.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_tells_the_type() {
        for (line, expected) in [
            ("#cloud-config", Some("text/cloud-config")),
            ("#cloud-config-archive", Some("text/cloud-config-archive")),
            ("#!/bin/bash", Some("text/x-shellscript")),
            ("## template: jinja", Some("text/jinja2")),
            ("runcmd:", None),
            ("", None),
        ] {
            assert_eq!(type_of(line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_broken_user_message_is_refused() {
        for bad in [
            "Content-Type: multipart/mixed; boundary=x",
            "MIME-Version: 1.0\n\nbody",
            "Content-Type: text/plain\nnot a header\n\nbody",
        ] {
            assert!(Part::of_user(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_part_that_holds_the_boundary_gets_another() {
        let part = Part::text("text/plain", "a", "x");
        let first = boundary(std::slice::from_ref(&part));
        let evil = Part {
            headers: part.headers,
            body: format!("{}\n--{first}--\n", part.body),
        };
        let parts = [evil];
        assert!(!parts[0].body.contains(&boundary(&parts)));
    }
}
