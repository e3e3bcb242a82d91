//! Who may become root without a password: the `NOPASSWD` rules of sudoers(5).
//!
//! Aliases are not expanded; a rule is reported as it is written.

use super::look::{Look, clip};
use serde::{Deserialize, Serialize};

/// Most rules that are kept.
const MAX_RULES: usize = 1000;

/// A rule that asks for no password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SudoRule {
    /// The file that holds it.
    pub path: String,
    /// Who: an account, `%group`, or an alias.
    pub who: String,
    /// The rest of the rule.
    pub rule: String,
}

/// Every rule without password.
pub fn read(look: &mut Look<'_>) -> Vec<SudoRule> {
    let mut paths = vec!["/etc/sudoers".to_owned()];
    // sudo leaves out names with a dot or a tilde at the end.
    let drop_in = |path: &String| {
        let name = path.rsplit('/').next().unwrap_or_default();
        !name.contains('.') && !name.ends_with('~')
    };
    paths.extend(
        look.files_with_suffix("/etc/sudoers.d", "")
            .into_iter()
            .filter(drop_in),
    );
    let mut rules = Vec::new();
    for path in paths {
        if let Some(text) = look.text(&path) {
            let found = parse(&text).into_iter();
            rules.extend(found.map(|(who, rule)| SudoRule {
                path: path.clone(),
                who,
                rule,
            }));
        }
    }
    rules.truncate(MAX_RULES);
    rules
}

/// `(who, rule)` of each `NOPASSWD` rule, and of `Defaults !authenticate`.
pub fn parse(text: &str) -> Vec<(String, String)> {
    let joined = text.replace("\\\n", " ");
    let rule = |line: &str| {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (who, rest) = line.split_once(char::is_whitespace)?;
        let asks_nothing = match who.starts_with("Defaults") {
            true => rest.contains("!authenticate"),
            false => rest.contains("NOPASSWD"),
        };
        asks_nothing.then(|| (clip(who), clip(rest)))
    };
    joined.lines().filter_map(rule).take(MAX_RULES).collect()
}
