//! Where packages come from: sources.list(5), yum's `.repo` files, apk's list.
//!
//! Only what a policy asks for is kept. User names and passwords in addresses are left out.

use serde::{Deserialize, Serialize};
use stampo_guest::inspect::look::{Look, clip, config_lines};
use std::collections::BTreeMap;

/// Most sources that are kept.
const MAX_SOURCES: usize = 1000;

/// A place that packages come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The file that names it.
    pub path: String,
    /// Its address, without user name and password.
    pub address: String,
    /// The suite of apt, or the repository's id.
    pub suite: String,
    /// Whether what comes from it is taken without a signature.
    pub unsigned: bool,
}

/// Reads the sources of every package manager, and settings that switch off all signatures.
pub(super) fn read(look: &mut Look<'_>) -> (Vec<Source>, Vec<(String, String)>) {
    let mut all = Vec::new();
    let mut files = vec![(
        "/etc/apt/sources.list".to_owned(),
        one_line as fn(&str) -> Vec<Source>,
    )];
    let mut add =
        |look: &mut Look<'_>, directory: &str, suffix: &str, parse: fn(&str) -> Vec<Source>| {
            let paths = look.files_with_suffix(directory, suffix);
            files.extend(paths.into_iter().map(|path| (path, parse)));
        };
    add(look, "/etc/apt/sources.list.d", ".list", one_line);
    add(look, "/etc/apt/sources.list.d", ".sources", deb822);
    add(look, "/etc/yum.repos.d", ".repo", repo);
    add(look, "/etc/zypp/repos.d", ".repo", repo);
    files.push(("/etc/apk/repositories".into(), apk));
    for (path, parse) in files {
        let text = look.text(&path).unwrap_or_default();
        let found = parse(&text).into_iter().map(|source| Source {
            path: path.clone(),
            ..source
        });
        all.extend(found);
    }
    all.truncate(MAX_SOURCES);
    (all, read_unsigned(look))
}

/// Settings of apt and dnf that take packages without a signature.
fn read_unsigned(look: &mut Look<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for path in apt_configs(look) {
        let text = look.text(&path).unwrap_or_default();
        let lines = unauthenticated(&text).into_iter();
        found.extend(lines.map(|line| (path.clone(), line)));
    }
    for path in ["/etc/dnf/dnf.conf", "/etc/yum.conf"] {
        let text = look.text(path).unwrap_or_default();
        if config_lines(&text).any(|line| is_off(line, "gpgcheck")) {
            found.push((path.to_owned(), "gpgcheck=0".to_owned()));
        }
    }
    found.truncate(MAX_SOURCES);
    found
}

fn apt_configs(look: &mut Look<'_>) -> Vec<String> {
    let mut paths = look.files_with_suffix("/etc/apt/apt.conf.d", "");
    paths.push("/etc/apt/apt.conf".to_owned());
    paths
}

/// `APT::Periodic::…` by the last part of the key.
pub(super) fn read_periodic(look: &mut Look<'_>) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for path in apt_configs(look) {
        values.extend(periodic(&look.text(&path).unwrap_or_default()));
    }
    values
}

/// The `APT::Periodic::Key "value";` lines of an apt.conf(5).
pub fn periodic(text: &str) -> Vec<(String, String)> {
    let value = |line: &str| {
        let (key, value) = line.split_once(char::is_whitespace)?;
        let key = key.strip_prefix("APT::Periodic::")?;
        let value = value.trim().trim_end_matches(';').trim_matches('"');
        Some((clip(key), clip(value)))
    };
    apt_lines(text)
        .filter_map(value)
        .take(MAX_SOURCES)
        .collect()
}

/// The lines of an apt.conf(5) that allow packages without signatures.
pub fn unauthenticated(text: &str) -> Vec<String> {
    const KEYS: &[&str] = &[
        "apt::get::allowunauthenticated",
        "acquire::allowinsecurerepositories",
        "acquire::allowweakrepositories",
    ];
    let allows = |line: &&str| {
        let line = line.to_ascii_lowercase();
        let on = ["\"true\"", "\"1\"", "\"yes\"", " true", " 1", " yes"];
        KEYS.iter().any(|key| line.starts_with(key)) && on.iter().any(|word| line.contains(word))
    };
    apt_lines(text)
        .filter(allows)
        .take(MAX_SOURCES)
        .map(clip)
        .collect()
}

fn apt_lines(text: &str) -> impl Iterator<Item = &str> {
    config_lines(text).filter(|line| !line.starts_with("//"))
}

/// sources.list(5), one line for each source: `deb [options] address suite component…`.
pub fn one_line(text: &str) -> Vec<Source> {
    let source = |line: &str| {
        let rest = line
            .strip_prefix("deb")?
            .strip_prefix([' ', '\t'])?
            .trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let mut words = rest.split_whitespace();
        let says = |option: &str| {
            matches!(
                option,
                "trusted=yes" | "allow-insecure=yes" | "allow-weak=yes"
            )
        };
        Some(Source {
            path: String::new(),
            address: address(words.next()?),
            suite: clip(words.next()?),
            unsigned: options.split_whitespace().any(says),
        })
    };
    config_lines(text)
        .filter_map(source)
        .take(MAX_SOURCES)
        .collect()
}

/// The deb822 form of sources.list(5). A source that is switched off is left out.
pub fn deb822(text: &str) -> Vec<Source> {
    let mut all = Vec::new();
    let paragraphs = text.split("\n\n").flat_map(|part| part.split("\n \n"));
    for paragraph in paragraphs.take(MAX_SOURCES) {
        let fields: BTreeMap<String, &str> = paragraph
            .lines()
            .filter(|line| !line.starts_with([' ', '\t', '#']))
            .filter_map(|line| line.split_once(':'))
            .map(|(key, value)| (key.to_ascii_lowercase(), value.trim()))
            .collect();
        let field = |key: &str| fields.get(key).copied().unwrap_or_default();
        let is_yes = |key: &str| field(key).eq_ignore_ascii_case("yes");
        if field("enabled").eq_ignore_ascii_case("no") {
            continue;
        }
        for place in field("uris").split_whitespace().take(MAX_SOURCES) {
            for suite in field("suites").split_whitespace().take(MAX_SOURCES) {
                if all.len() >= MAX_SOURCES {
                    return all;
                }
                all.push(Source {
                    path: String::new(),
                    address: address(place),
                    suite: clip(suite),
                    unsigned: is_yes("trusted") || is_yes("allow-insecure") || is_yes("allow-weak"),
                });
            }
        }
    }
    all
}

/// The `.repo` files of yum, dnf and zypper. A repository that is switched off is left out.
pub fn repo(text: &str) -> Vec<Source> {
    let mut all: Vec<(Source, bool)> = Vec::new();
    for line in config_lines(text) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            if all.len() >= MAX_SOURCES {
                break;
            }
            let suite = clip(name);
            all.push((
                Source {
                    suite,
                    ..Source::default()
                },
                true,
            ));
        } else if let Some((source, enabled)) = all.last_mut() {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            match key.trim() {
                "baseurl" | "metalink" | "mirrorlist" => source.address = address(value.trim()),
                "gpgcheck" => source.unsigned = is_off(line, "gpgcheck"),
                "enabled" => *enabled = !is_off(line, "enabled"),
                _ => {}
            }
        }
    }
    let enabled = all.into_iter().filter(|(_, enabled)| *enabled);
    enabled.map(|(source, _)| source).collect()
}

/// apk's list: one address a line, perhaps after a tag.
pub fn apk(text: &str) -> Vec<Source> {
    let source = |line: &str| {
        let place = line
            .split_whitespace()
            .find(|word| !word.starts_with('@'))?;
        let address = address(place);
        Some(Source {
            // Of the address, which has no password any more.
            suite: clip(address.rsplit('/').next().unwrap_or_default()),
            address,
            ..Source::default()
        })
    };
    config_lines(text)
        .filter_map(source)
        .take(MAX_SOURCES)
        .collect()
}

fn is_off(line: &str, key: &str) -> bool {
    let Some((name, value)) = line.split_once('=') else {
        return false;
    };
    name.trim() == key
        && matches!(
            value.trim().to_ascii_lowercase().as_str(),
            "0" | "false" | "no" | "off"
        )
}

/// An address without user name and password, and without what comes after a `?`.
fn address(text: &str) -> String {
    let after = |text: &str| text.rsplit('@').next().unwrap_or_default().to_owned();
    let without_query = |text: &str| {
        let plain = text.split(['?', '#']).next().unwrap_or_default();
        clip(plain.trim_end_matches('/'))
    };
    // RFC 3986, section 3.1.
    let is_scheme = |text: &str| {
        let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        !text.is_empty() && text.chars().all(is_of_scheme)
    };
    let parts = text
        .split_once("://")
        .filter(|(scheme, _)| is_scheme(scheme));
    let Some((scheme, rest)) = parts else {
        // Whatever stands before it is no host.
        return without_query(&after(text));
    };
    // The password may have a question mark in it.
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let port = host.rsplit_once(':').map(|(_, port)| port);
    let is_cut = port.is_some_and(|port| !port.bytes().all(|byte| byte.is_ascii_digit()));
    let rest = match host.contains('@') {
        true => format!("{}/{path}", after(host)),
        // Or a slash, where none may be.
        false if is_cut && path.contains('@') => after(rest),
        false => rest.to_owned(),
    };
    without_query(&format!("{scheme}://{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_an_address_keeps_a_password() {
        for (text, kept) in [
            ("http://user:secret@h/d", "http://h/d"),
            ("http://h:8080/d/", "http://h:8080/d"),
            ("http://h/@scope/d?x=a@b", "http://h/@scope/d"),
            ("http://user:se?cret@h/d", "http://h/d"),
            ("http://user:se/cret@h/d", "http://h/d"),
            ("http:/user:secret@h/d", "h/d"),
            ("user:secret@h", "h"),
            ("user:secret@h=http://x", "h=http://x"),
            ("http://h/user:secret@x", "http://h/user:secret@x"),
            ("/srv/mirror", "/srv/mirror"),
        ] {
            assert_eq!(address(text), kept, "{text}");
        }
    }

    #[test]
    fn the_suite_of_an_address_without_a_path_is_no_password() {
        let found = apk("http://user:secret@h\n");
        assert_eq!(
            (found[0].address.as_str(), found[0].suite.as_str()),
            ("http://h", "h")
        );
    }

    #[test]
    fn all_forms_are_read_and_no_password_is_kept() {
        let found = one_line(
            "# deb http://no\ndeb [trusted=yes arch=amd64] http://user:secret@deb.example/d s main\n\
             deb-src http://a b\ndeb http://sec.example/x bookworm-security main\n",
        );
        assert_eq!(found.len(), 2);
        assert!(found[0].unsigned && !found[1].unsigned);
        assert_eq!(found[0].address, "http://deb.example/d");
        let found = deb822(
            "Types: deb\nURIs: http://a/ http://u:p@b/\nSuites: s s-security\n\nURIs: http://c\nSuites: s\nTrusted: yes\n\nEnabled: no\nURIs: http://d\nSuites: x\n",
        );
        assert_eq!(found.len(), 5);
        assert_eq!(found.iter().filter(|s| s.unsigned).count(), 1);
        let found = repo("[a]\nbaseurl=https://u:p@h/x?token=1\ngpgcheck=0\n[b]\nenabled=0\n[c]\n");
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].address.as_str(), found[0].unsigned),
            ("https://h/x", true)
        );
        assert_eq!(apk("@edge http://h/v3.20/main\n")[0].suite, "main");
    }

    #[test]
    fn settings_of_apt_are_found() {
        assert_eq!(
            periodic("APT::Periodic::Unattended-Upgrade \"1\";\n//x\n"),
            [("Unattended-Upgrade".into(), "1".into())]
        );
        assert_eq!(unauthenticated("APT::Get::AllowUnauthenticated \"true\";\nAPT::Get::AllowUnauthenticated \"false\";\n").len(), 1);
    }
}
