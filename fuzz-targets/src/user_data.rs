//! The user's own cloud-init user-data, which stampo merges with its own into a NoCloud seed.
//!
//! The oracle is a small reader of the merged message (RFC 2046, section 5.1): whatever the user
//! wrote, there are two parts, stampo's comes first and is whole, and a plain user's part decodes
//! to what the user wrote.

use crate::bytes::text;
use crate::guest::{context, secrets};
use crate::tree::base;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use stampo_core::personalisation::Personalisation;
use stampo_guest::personalise::personalise;

/// Merges, then reads the merged message out of the seed.
pub fn merged(bytes: &[u8]) {
    let user_data = text(bytes);
    let request = Personalisation {
        hostname: "app-1".to_owned(),
        user_data: Some(user_data.clone()),
        ..Personalisation::default()
    };
    let Ok(report) = personalise(&mut base(), &request, secrets(), &context()) else {
        return;
    };
    let seed = report.seed.expect("the guest has cloud-init");
    assert_eq!(
        &seed[32_769..32_774],
        b"CD001",
        "a seed is an ISO 9660 image"
    );
    let message = message(&seed);
    let parts = parts(message);
    assert_eq!(parts.len(), 2, "{message}");
    let ours = decoded(parts[0]).expect("our part is plain");
    assert!(ours.starts_with("#cloud-config\n") && ours.contains("preserve_hostname: true"));
    let first_line = user_data.lines().next().unwrap_or("").to_ascii_lowercase();
    if first_line.starts_with("content-type:") || first_line.starts_with("mime-version:") {
        let body = user_data.replace("\r\n", "\n");
        assert!(parts[1].trim_end().ends_with(body.trim_end()), "{message}");
    } else {
        assert!(decoded(parts[1]).is_some_and(|theirs| theirs == user_data));
    }
}

/// The merged message: the file that begins with its first header, up to the zeros after it.
fn message(seed: &[u8]) -> &str {
    const BEGIN: &[u8] = b"Content-Type: multipart/mixed; boundary=\"=stampo-";
    let sectors = seed
        .chunks(2048)
        .position(|sector| sector.starts_with(BEGIN));
    let start = sectors.expect("the seed holds the message") * 2048;
    let mark = b"=--\n";
    let rest = &seed[start..];
    let boundary = &rest[BEGIN.len() - b"=stampo-".len()..][..b"=stampo-".len() + 33];
    let end = [b"--", boundary, b"--\n"].concat();
    let found = rest.windows(end.len()).position(|window| window == end);
    let length = found.expect("the message has an end") + end.len();
    assert!(rest[..length].ends_with(mark));
    std::str::from_utf8(&rest[..length]).expect("a message is text")
}

/// What stands between the boundaries.
fn parts(message: &str) -> Vec<&str> {
    let boundary = message.split('"').nth(1).expect("a boundary");
    let (open, close) = (format!("\n--{boundary}\n"), format!("\n--{boundary}--\n"));
    let body = message.strip_suffix(&close).expect("a last boundary");
    body.split(&open).skip(1).collect()
}

fn decoded(part: &str) -> Option<String> {
    let (headers, body) = part.split_once("\n\n")?;
    assert!(
        headers.contains("Content-Transfer-Encoding: base64"),
        "{part}"
    );
    let packed: String = body.split_ascii_whitespace().collect();
    String::from_utf8(STANDARD.decode(packed).ok()?).ok()
}
