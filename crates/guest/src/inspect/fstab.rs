//! What is mounted at boot: fstab(5).

use super::look::{clip, config_lines};
use serde::{Deserialize, Serialize};

/// Most lines that are kept.
const MAX_MOUNTS: usize = 1000;

/// One line of fstab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The device, `UUID=…`, `LABEL=…` or a remote share.
    pub what: String,
    /// The mount point, or `none`.
    pub at: String,
    /// The filesystem's type.
    pub filesystem: String,
    /// The options, comma-separated. The value of a `password=` option is left out.
    pub options: String,
}

/// fstab(5). Lines with fewer than three fields are left out.
pub fn parse(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let mut fields = line.split_whitespace();
        Some(Mount {
            what: clip(&unescape(fields.next()?)),
            at: clip(&unescape(fields.next()?)),
            filesystem: clip(fields.next()?),
            options: clip(&without_secrets(fields.next().unwrap_or("defaults"))),
        })
    };
    config_lines(text)
        .filter_map(mount)
        .take(MAX_MOUNTS)
        .collect()
}

fn without_secrets(options: &str) -> String {
    let shown = |option: &str| match option.split_once('=') {
        Some((key @ ("password" | "pass" | "password2"), _)) => format!("{key}=***"),
        _ => option.to_owned(),
    };
    options.split(',').map(shown).collect::<Vec<_>>().join(",")
}

/// `\040` and its like (getmntent(3)).
fn unescape(field: &str) -> String {
    let plain = [("\\040", " "), ("\\011", "\t"), ("\\134", "\\")];
    plain.iter().fold(field.to_owned(), |text, (code, value)| {
        text.replace(code, value)
    })
}
