//! Quoting for the two readers that we write scripts for: the shell and debugfs.
//!
//! Apart so that no other file puts text of a recipe or of a package into a script by itself.

/// A word that a POSIX shell (and Perl's `Text::ParseWords`, which mmdebstrap splits hooks with)
/// reads as exactly `text`.
pub fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A word of a debugfs command. libss (e2fsprogs, `lib/ss/parse.c`) knows double quotes only,
/// a doubled one standing for itself; a line cannot hold a newline at all, so `None` then.
pub fn debugfs(path: &[u8]) -> Option<Vec<u8>> {
    if path.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
        return None;
    }
    let mut word = Vec::with_capacity(path.len() + 2);
    word.push(b'"');
    for byte in path {
        if *byte == b'"' {
            word.push(b'"');
        }
        word.push(*byte);
    }
    word.push(b'"');
    Some(word)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_shell_gives_the_text_back() {
        for text in ["", "a b", "it's", "$(rm -rf /)", "`x`\n\"", "\\", "-n"] {
            let script = format!("printf %s {}", super::shell(text));
            let run = std::process::Command::new("sh")
                .args(["-c", &script])
                .output();
            assert_eq!(run.expect("sh").stdout, text.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn debugfs_words() {
        assert_eq!(
            super::debugfs(b"/a \"b").as_deref(),
            Some(&b"\"/a \"\"b\""[..])
        );
        assert_eq!(super::debugfs(b"/a\nb"), None);
    }
}
