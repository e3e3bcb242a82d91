//! The kernel's settings that are set at boot: sysctl.d(5), read and never applied.
//!
//! Of files with one name only that of the directory with precedence counts; of one key the last
//! file's value, in the order of the names. What units or scripts set besides is not seen.

use super::look::{Look, clip, config_lines};
use super::sshd::Setting;
use std::collections::BTreeMap;

/// Where the files are, the one with precedence first.
const DIRECTORIES: &[&str] = &[
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
];
/// Read by name after all others, as Debian's link `99-sysctl.conf` has it.
const LAST: &str = "/etc/sysctl.conf";
/// Most settings that are kept.
const MAX_SETTINGS: usize = 5000;

/// Every setting with its value, and the file that says it.
pub fn read(look: &mut Look<'_>) -> BTreeMap<String, Setting> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for directory in DIRECTORIES.iter().rev() {
        for path in look.files_with_suffix(directory, ".conf") {
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            files.insert(name, path);
        }
    }
    let mut settings = BTreeMap::new();
    for path in files.into_values().chain([LAST.to_owned()]) {
        let text = look.text(&path).unwrap_or_default();
        settings.extend(parse(&text).into_iter().map(|(key, value)| {
            let source = Some(path.clone());
            (key, Setting { value, source })
        }));
    }
    while settings.len() > MAX_SETTINGS {
        settings.pop_last();
    }
    settings
}

/// `key = value` lines; a key may have slashes for dots, and a hyphen before it when its absence is no
/// error.
pub fn parse(text: &str) -> Vec<(String, String)> {
    let lines = config_lines(text).filter(|line| !line.starts_with(';'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| {
            let key = key.trim().trim_start_matches('-').replace('/', ".");
            let value: Vec<&str> = value.split_whitespace().collect();
            (clip(&key), clip(&value.join(" ")))
        })
        .filter(|(key, _)| !key.is_empty())
        .take(MAX_SETTINGS)
        .collect()
}
