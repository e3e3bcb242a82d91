//! What sshd_config(5) says about who is let in.
//!
//! The first value of a keyword wins and `Include` is followed in place. What is inside a `Match`
//! block depends on the connection and is kept apart.

use super::look::{Look, clip, config_lines};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Deepest chain of `Include`, as in OpenSSH (`SERVCONF_MAX_DEPTH`).
const MAX_DEPTH: usize = 16;
/// Most files that are read for one configuration.
const MAX_FILES: usize = 256;
/// Most settings of `Match` blocks that are kept.
const MAX_MATCHES: usize = 1000;
/// The keywords that are kept, with OpenSSH's own defaults.
const KEYWORDS: &[(&str, &str)] = &[
    ("permitrootlogin", "prohibit-password"),
    ("passwordauthentication", "yes"),
    ("kbdinteractiveauthentication", "yes"),
    ("permitemptypasswords", "no"),
    ("pubkeyauthentication", "yes"),
    (
        "authorizedkeysfile",
        ".ssh/authorized_keys .ssh/authorized_keys2",
    ),
    ("port", "22"),
    ("x11forwarding", "no"),
    // Empty: the built-in list of the version that is installed.
    ("ciphers", ""),
    ("macs", ""),
];

/// One value and where it is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The value as written.
    pub value: String,
    /// The file that says it; `None` for the built-in default.
    pub source: Option<String>,
}

/// The file that sshd reads first.
const MAIN: &str = "/etc/ssh/sshd_config";

/// What the ssh server would do, by lower-case keyword. `None` when there is no server.
pub fn read(look: &mut Look<'_>) -> Option<BTreeMap<String, Setting>> {
    if !look.exists(MAIN) && look.first_of(&["/usr/sbin/sshd", "/sbin/sshd"]).is_none() {
        return None;
    }
    let mut reading = Reading::default();
    reading.file(look, MAIN, 0);
    let mut values = reading.values;
    for (keyword, default) in KEYWORDS {
        let builtin = Setting {
            value: (*default).into(),
            source: None,
        };
        values.entry((*keyword).into()).or_insert(builtin);
    }
    Some(values)
}

/// What `Match` blocks set of the keywords that are kept: it is so for some connections only.
/// Each is `(keyword, setting)`, in the order of the files.
pub fn read_matches(look: &mut Look<'_>) -> Vec<(String, Setting)> {
    let mut reading = Reading::default();
    if look.exists(MAIN) {
        reading.file(look, MAIN, 0);
    }
    reading.matches
}

#[derive(Default)]
struct Reading {
    values: BTreeMap<String, Setting>,
    matches: Vec<(String, Setting)>,
    files: usize,
}

impl Reading {
    /// Reads one file. A `Match` block ends with its file.
    fn file(&mut self, look: &mut Look<'_>, path: &str, depth: usize) {
        self.files += 1;
        if depth > MAX_DEPTH || self.files > MAX_FILES {
            look.unknown(format!("{path}: too many nested Include lines"));
            return;
        }
        let Some(text) = look.text(path) else { return };
        let mut matching = false;
        for line in config_lines(&text) {
            let (keyword, value) = keyword_and_value(line);
            match keyword.as_str() {
                "match" => matching = true,
                "include" if !matching => {
                    for pattern in value.split_whitespace() {
                        for path in include_paths(look, pattern) {
                            self.file(look, &path, depth + 1);
                        }
                    }
                }
                _ => self.keep(&keyword, value, path, matching),
            }
        }
    }

    fn keep(&mut self, keyword: &str, value: &str, path: &str, matching: bool) {
        // The old name of the same thing.
        let keyword = match keyword {
            "challengeresponseauthentication" => "kbdinteractiveauthentication",
            other => other,
        };
        if KEYWORDS.iter().any(|(known, _)| *known == keyword) {
            let setting = Setting {
                value: clip(value),
                source: Some(path.to_owned()),
            };
            if !matching {
                self.values.entry(keyword.to_owned()).or_insert(setting);
            } else if self.matches.len() < MAX_MATCHES {
                self.matches.push((keyword.to_owned(), setting));
            }
        }
    }
}

/// `Keyword value`, `Keyword=value` and `Keyword "value"`; the keyword in lower case.
pub fn keyword_and_value(line: &str) -> (String, &str) {
    let end = line
        .find(|c: char| c.is_whitespace() || c == '=')
        .unwrap_or(line.len());
    let value = line[end..].trim_start().trim_start_matches('=').trim();
    let value = value
        .strip_prefix('"')
        .and_then(|v| v.strip_suffix('"'))
        .unwrap_or(value);
    (line[..end].to_ascii_lowercase(), value)
}

/// The files that an `Include` names: relative to `/etc/ssh`, `*` in the last component only.
fn include_paths(look: &mut Look<'_>, pattern: &str) -> Vec<String> {
    let pattern = pattern.trim_matches('"');
    let pattern = match pattern.strip_prefix('/') {
        Some(_) => pattern.to_owned(),
        None => format!("/etc/ssh/{pattern}"),
    };
    let (directory, name) = pattern.rsplit_once('/').unwrap_or(("", &pattern));
    match name.split_once('*') {
        None => vec![pattern.clone()],
        Some((_, suffix)) if suffix.contains(['*', '?', '[']) => {
            look.unknown(format!(
                "sshd: Include {} is not understood",
                clip(&pattern)
            ));
            Vec::new()
        }
        Some((prefix, suffix)) => look
            .files_with_suffix(directory, suffix)
            .into_iter()
            .filter(|path| path.len() >= directory.len() + 1 + prefix.len() + suffix.len())
            .filter(|path| path[directory.len() + 1..].starts_with(prefix))
            .collect(),
    }
}
