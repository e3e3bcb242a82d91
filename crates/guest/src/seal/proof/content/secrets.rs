//! Passwords, keys and tokens in a file's text. Only names of settings and accounts are told.

use super::MAX_DETAILS;
use crate::inspect::look::{clip, config_lines};
use crate::inspect::users::{Password, password};

/// shadow(5), gshadow(5) and passwd(5): who has a password, locked ones included.
pub fn password_hashes(text: &str) -> Vec<String> {
    let has_one = |line: &str| {
        let mut fields = line.split(':');
        let (user, field) = (fields.next()?, fields.next()?);
        match password(field) {
            Password::Hash(algorithm) => Some(format!("{} has one ({algorithm})", clip(user))),
            Password::LockedHash(algorithm) => {
                Some(format!("{} has a locked one ({algorithm})", clip(user)))
            }
            _ => None,
        }
    };
    text.lines().filter_map(has_one).take(MAX_DETAILS).collect()
}

/// shadow(5) and passwd(5): who is let in without a password.
pub fn empty_passwords(text: &str) -> Vec<String> {
    let is_open = |line: &str| {
        let mut fields = line.split(':');
        let user = fields.next().filter(|user| !user.is_empty())?;
        (password(fields.next()?) == Password::Empty).then(|| format!("of {}", clip(user)))
    };
    text.lines().filter_map(is_open).take(MAX_DETAILS).collect()
}

/// sshd(8) authorized_keys: how many keys there are.
pub fn authorized_keys(text: &str) -> Vec<String> {
    match config_lines(text).count() {
        0 => Vec::new(),
        1 => vec!["1 key".into()],
        count => vec![format!("{count} keys")],
    }
}

/// Names of settings that hold a value: `key=value`, `key: value`, and members of JSON objects
/// that are written in one line.
pub(super) fn settings(text: &str, keys: &[&str]) -> Vec<String> {
    let set = |part: &str| {
        let (key, value) = part.split_once(['=', ':'])?;
        let key = key.trim().trim_matches(['"', '\'']);
        let value = value.trim().trim_matches(['"', '\'', ',']);
        let is_known = keys.iter().any(|known| known.eq_ignore_ascii_case(key));
        (is_known && !value.is_empty() && value != "null").then(|| format!("{} is set", clip(key)))
    };
    let mut found = Vec::new();
    for line in config_lines(text) {
        let members = line.contains('{').then(|| line.split([',', '{', '}']));
        let mut parts = std::iter::once(line).chain(members.into_iter().flatten());
        found.extend(parts.find_map(set));
        if found.len() >= MAX_DETAILS {
            break;
        }
    }
    found
}

/// Wi-Fi, 802.1X and VPN secrets of NetworkManager, netplan and wpa_supplicant.
pub fn network_secrets(text: &str) -> Vec<String> {
    const KEYS: &[&str] = &[
        "psk",
        "password",
        "wep-key0",
        "wep-key1",
        "wep-key2",
        "wep-key3",
        "wep_key0",
        "leap-password",
        "private-key-password",
        "client-key-password",
        "private_key_passwd",
        "private-key",
        "preshared-key",
        "pin",
        "Xauth password",
        "IPSec secret",
    ];
    settings(text, KEYS)
}

/// WireGuard's keys, wg(8) and systemd.netdev(5).
pub fn wireguard_keys(text: &str) -> Vec<String> {
    settings(text, &["PrivateKey", "PresharedKey"])
}

/// Tokens in configuration files of runners, package indexes and registries.
pub fn service_tokens(text: &str) -> Vec<String> {
    const KEYS: &[&str] = &[
        "token",
        "auth",
        "identitytoken",
        "registrytoken",
        "oauth_token",
        "password",
        "passwd",
        "secret_key",
        "secret_access_key",
        "aws_secret_access_key",
        "aws_session_token",
        "access_token",
        "refresh_token",
        "private_token",
        "api_key",
        "registration_key",
    ];
    let mut found = settings(text, KEYS);
    // npm: `//registry.example/:_authToken=…`.
    let is_npm = |line: &&str| {
        ["_authToken", "_auth", "_password"]
            .iter()
            .any(|key| line.contains(&format!("{key}=")))
    };
    found.extend(
        config_lines(text)
            .find(is_npm)
            .map(|_| "_auth is set".to_owned()),
    );
    found
}

/// Registries' settings: as [`service_tokens`], and passwords in XML (Maven, NuGet).
pub fn package_tokens(text: &str) -> Vec<String> {
    let has_xml = text.contains("<password>") || text.contains("ClearTextPassword");
    let mut found = service_tokens(text);
    found.extend(has_xml.then(|| "a password is set".to_owned()));
    found
}

/// Settings of database clients: as [`service_tokens`], entries of pgpass, which has no keys, and
/// MySQL's encrypted login file, which is no text.
pub fn database_passwords(text: &str) -> Vec<String> {
    let mut found = service_tokens(text);
    let is_entry = |line: &str| line.split(':').count() == 5 && !line.ends_with(':');
    found.extend(
        config_lines(text)
            .any(is_entry)
            .then(|| "an entry is set".to_owned()),
    );
    found.extend(
        text.contains('\u{fffd}')
            .then(|| "it is encrypted".to_owned()),
    );
    found
}

/// Mail relays' password maps: any line with a colon that is no catch-all.
pub fn relay_passwords(text: &str) -> Vec<String> {
    let is_entry = |line: &str| !line.starts_with('*') && line.contains(':');
    some_entry(config_lines(text).any(is_entry))
}

/// debconf's passwords.dat: values that are set.
pub fn debconf_passwords(text: &str) -> Vec<String> {
    let is_value = |line: &str| {
        line.strip_prefix("Value:")
            .is_some_and(|value| !value.trim().is_empty())
    };
    some_entry(text.lines().any(is_value))
}

fn some_entry(is_set: bool) -> Vec<String> {
    is_set
        .then(|| "an entry is set".to_owned())
        .into_iter()
        .collect()
}

/// netrc(5) and apt_auth.conf(5): entries with a password.
pub fn netrc(text: &str) -> Vec<String> {
    let words = text
        .split_whitespace()
        .filter(|word| *word == "password")
        .count();
    if words == 0 {
        Vec::new()
    } else {
        vec![format!("{words} passwords")]
    }
}

/// Addresses with a password in them, `scheme://user:password@host`.
pub fn url_credentials(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in config_lines(text) {
        for (at, _) in line.match_indices("://") {
            let rest = &line[at + 3..];
            let authority = rest
                .split(['/', ' ', '"', '\'', '?', '#'])
                .next()
                .unwrap_or_default();
            let Some((user, _)) = authority.rsplit_once('@') else {
                continue;
            };
            let has_password = user
                .split_once(':')
                .is_some_and(|(_, p)| !p.is_empty() && !p.starts_with('$'));
            if has_password && found.len() < MAX_DETAILS {
                found.push("an address holds a password".to_owned());
            }
        }
    }
    found.dedup();
    found
}

/// GRUB's menu passwords.
pub fn grub_password(text: &str) -> Vec<String> {
    let is_password = |line: &&str| {
        line.starts_with("password ")
            || line.starts_with("password_pbkdf2 ")
            || line.starts_with("GRUB2_PASSWORD=")
    };
    config_lines(text)
        .find(is_password)
        .map(|_| "a password is set".to_owned())
        .into_iter()
        .collect()
}

/// A name of anything but a public key.
pub fn private_name(name: &str) -> Option<String> {
    (!name.ends_with(".pub")).then(String::new)
}
