//! Private keys by their own form, wherever they are: PEM and OpenSSH blocks (RFC 7468), PuTTY
//! files, and bare DER (PKCS#1, PKCS#8).
//!
//! Only a key with a body counts: a program that merely mentions a header is no key. The body is
//! never kept.

/// Base64 characters that a body must have before it counts.
const MIN_BODY: usize = 40;
/// Furthest that a body is looked for behind its header, in bytes.
const LOOK_AHEAD: usize = 2048;

/// Whether the text after `-----BEGIN ` is a private key; says which kind.
///
/// `rest` starts behind the word `BEGIN `.
pub fn pem(rest: &[u8]) -> Option<&'static str> {
    let rest = &rest[..rest.len().min(LOOK_AHEAD)];
    let end = find(rest, b"--")?;
    let label = std::str::from_utf8(&rest[..end]).ok()?.trim();
    let kind = match label {
        "PRIVATE KEY" => "private key (PKCS#8)",
        "ENCRYPTED PRIVATE KEY" => "encrypted private key (PKCS#8)",
        "RSA PRIVATE KEY" => "RSA private key",
        "DSA PRIVATE KEY" => "DSA private key",
        "EC PRIVATE KEY" => "EC private key",
        "OPENSSH PRIVATE KEY" => "OpenSSH private key",
        "SSH2 ENCRYPTED PRIVATE KEY" => "SSH2 private key",
        "PGP PRIVATE KEY BLOCK" => "OpenPGP private key",
        label if label.len() <= 64 && label.ends_with("PRIVATE KEY") => "private key",
        _ => return None,
    };
    has_body(&rest[end..]).then_some(kind)
}

/// Whether base64 follows: after header lines (`Proc-Type: …`), line ends that may be written as
/// `\n` inside of JSON, and quotes.
fn has_body(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text)
        .replace("\\n", "\n")
        .replace("\\r", "\n");
    let mut body = 0;
    for line in text.lines() {
        let line = line
            .trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '|' | '>'));
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
        // The rest of the header's own line is dashes.
        let is_skipped = line.is_empty() || line.chars().all(|c| c == '-') || line.contains(": ");
        if is_skipped {
            continue;
        }
        if !line.chars().all(is_base64) {
            break;
        }
        body += line.len();
    }
    body >= MIN_BODY
}

/// Whether a PuTTY key file starts here (`PuTTY-User-Key-File-2: …`), with its private part.
pub fn putty(rest: &[u8]) -> Option<&'static str> {
    let rest = &rest[..rest.len().min(8 * LOOK_AHEAD)];
    find(rest, b"Private-Lines:").map(|_| "PuTTY private key")
}

/// Whether a whole file is a private key in DER: `SEQUENCE { INTEGER 0, … }` that fills the file,
/// followed by an algorithm (PKCS#8, RFC 5208), a modulus (PKCS#1, RFC 8017) or, after
/// `INTEGER 1`, an octet string (EC, RFC 5915).
pub fn der(file: &[u8]) -> Option<&'static str> {
    let (content, rest) = tagged(file, 0x30)?;
    if !rest.is_empty() {
        return None;
    }
    let (version, content) = tagged(content, 0x02)?;
    let next = *content.first()?;
    match (version, next) {
        ([0] | [1], 0x30) => tagged(content, 0x30)
            .and_then(|(algorithm, _)| tagged(algorithm, 0x06))
            .map(|_| "private key (PKCS#8, DER)"),
        ([0], 0x02) => tagged(content, 0x02)
            .filter(|(modulus, _)| modulus.len() >= 64)
            .map(|_| "RSA private key (DER)"),
        ([1], 0x04) => tagged(content, 0x04)
            .filter(|(key, _)| (24..=72).contains(&key.len()))
            .map(|_| "EC private key (DER)"),
        _ => None,
    }
}

/// The content of one DER value with this tag, and what follows it.
fn tagged(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = bytes else {
        return None;
    };
    if *first != tag {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x84 => {
            let count = usize::from(length & 0x7f);
            let digits = rest.get(..count)?;
            let number = digits
                .iter()
                .fold(0usize, |n, byte| (n << 8) | usize::from(*byte));
            (number, &rest[count..])
        }
        _ => return None,
    };
    (length <= rest.len()).then(|| rest.split_at(length))
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len())
        .position(|window| window == needle)
}
