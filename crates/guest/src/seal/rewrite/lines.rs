//! Lines of configuration files: dropping and changing them without touching the others.

use crate::seal::items::Rewritten;
use std::borrow::Cow;

/// What becomes of one line. Lines come without their line feed.
pub(in crate::seal) enum Line {
    Same,
    Drop,
    Change(String),
}

/// Applies `decide` to every line. A line that is not UTF-8 is shown with replacement characters
/// and kept byte by byte unless it is changed.
pub(in crate::seal) fn edit(content: &[u8], mut decide: impl FnMut(&str) -> Line) -> Rewritten {
    let mut out = Vec::with_capacity(content.len());
    let mut changed = false;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        let body = line.strip_suffix(b"\n").unwrap_or(line);
        match decide(&String::from_utf8_lossy(body)) {
            Line::Same => out.extend_from_slice(line),
            Line::Drop => changed = true,
            Line::Change(new) => {
                changed = true;
                out.extend_from_slice(new.as_bytes());
                out.extend_from_slice(&line[body.len()..]);
            }
        }
    }
    if changed {
        Rewritten::Content(out)
    } else {
        Rewritten::Same
    }
}

/// The key and value of `key = value`, `key: value` or `key=value`, without quotes; `None` for
/// comments and other lines.
pub(in crate::seal) fn key_value(line: &str) -> Option<(&str, Cow<'_, str>)> {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return None;
    }
    let at = line.find(['=', ':'])?;
    let value = line[at + 1..].trim().trim_matches(['"', '\'']);
    Some((line[..at].trim_end(), Cow::Borrowed(value)))
}

/// Drops the lines that set one of `keys`.
pub(in crate::seal) fn drop_keys(content: &[u8], keys: &[&str]) -> Rewritten {
    edit(content, |line| match key_value(line) {
        Some((key, _)) if keys.contains(&key) => Line::Drop,
        _ => Line::Same,
    })
}

/// Drops the lines that set one of `keys` at the outermost level of YAML.
pub(in crate::seal) fn drop_top_keys(content: &[u8], keys: &[&str]) -> Rewritten {
    edit(content, |line| match key_value(line) {
        Some((key, _)) if keys.contains(&key) && line.starts_with(key) => Line::Drop,
        _ => Line::Same,
    })
}

/// Drops the lines whose first word is one of `words`.
pub(in crate::seal) fn drop_words(content: &[u8], words: &[&str]) -> Rewritten {
    edit(content, |line| match line.split_whitespace().next() {
        Some(word) if words.contains(&word) => Line::Drop,
        _ => Line::Same,
    })
}

/// Drops the lines that hold `text`, comments excepted.
pub(in crate::seal) fn drop_lines_with(content: &[u8], text: &str) -> Rewritten {
    edit(content, |line| {
        if line.contains(text) && !line.trim_start().starts_with('#') {
            Line::Drop
        } else {
            Line::Same
        }
    })
}

/// Whether a line is a section header like `[connection]`; its name.
pub(in crate::seal) fn section(line: &str) -> Option<&str> {
    line.trim().strip_prefix('[')?.strip_suffix(']')
}

/// Whether this is one hardware address: six or more pairs of hexadecimal digits.
pub(in crate::seal) fn is_mac(text: &str) -> bool {
    let pair = |p: &str| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit());
    let separator = if text.contains('-') { '-' } else { ':' };
    let pairs: Vec<&str> = text.split(separator).collect();
    (pairs.len() == 6 || pairs.len() == 20) && pairs.into_iter().all(pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_lines_go_and_every_other_byte_stays() {
        let content = b"A=1\n# B=2\n B = \"3\"\n\xff\xfe=4\nB:5\nlast".as_slice();
        let expected = b"A=1\n# B=2\n\xff\xfe=4\nlast".to_vec();
        assert_eq!(
            drop_keys(content, &["B"]),
            Rewritten::Content(expected.clone())
        );
        assert_eq!(drop_keys(&expected, &["B"]), Rewritten::Same);
    }

    #[test]
    fn hardware_addresses() {
        assert!(is_mac("52:54:00:12:34:56") && is_mac("52-54-00-AB-cd-ef"));
        for other in [
            "random",
            "stable",
            "52:54:00:12:34",
            "52:54:00:12:34:zz",
            "",
            "preserve",
        ] {
            assert!(!is_mac(other), "{other:?}");
        }
    }
}
