//! Accounts: passwd(5), shadow(5), group(5).
//!
//! A password's hash never leaves this file: what is kept is whether there is one and how it
//! was made (crypt(5)).

use super::look::{Look, clip};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Most accounts or groups that are kept.
const MAX_ACCOUNTS: usize = 20_000;
/// Most members of one group that are kept.
const MAX_MEMBERS: usize = 1000;
/// Shells that let nobody in.
const NO_SHELLS: &[&str] = &["nologin", "false", "sync", "shutdown", "halt", "true"];

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its primary group's number.
    pub gid: u32,
    /// Its home directory.
    pub home: String,
    /// Its shell.
    pub shell: String,
    /// Whether the shell lets someone in. A key may let in an account whose password is locked.
    pub can_login: bool,
    /// The state of its password.
    pub password: Password,
}

/// The state of a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "algorithm")]
pub enum Password {
    /// No password is accepted: `*`, `!`, `!!`, or no line in shadow.
    Locked,
    /// Anyone is let in without a password.
    Empty,
    /// There is one, made with this algorithm.
    Hash(String),
    /// There is one, made with this algorithm, and it is locked with a `!`.
    LockedHash(String),
    /// It could not be read.
    Unknown,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its number.
    pub gid: u32,
    /// The accounts that are in it besides those that have it as their primary group.
    pub members: Vec<String>,
}

/// Every account, in the order of passwd.
pub fn read_users(look: &mut Look<'_>) -> Vec<User> {
    let Some(passwd) = look.text("/etc/passwd") else {
        return Vec::new();
    };
    let has_shadow = look.exists("/etc/shadow");
    let shadow = look.text("/etc/shadow");
    let passwords = match (&shadow, has_shadow) {
        (Some(text), _) => Some(parse_shadow(text)),
        (None, true) => None,
        (None, false) => Some(HashMap::new()),
    };
    parse_passwd(&passwd, passwords.as_ref())
}

/// Every group, in the order of `/etc/group`.
pub fn read_groups(look: &mut Look<'_>) -> Vec<Group> {
    look.text("/etc/group")
        .map(|text| parse_group(&text))
        .unwrap_or_default()
}

/// passwd(5). `passwords` is `None` when shadow could not be read.
pub fn parse_passwd(text: &str, passwords: Option<&HashMap<String, Password>>) -> Vec<User> {
    let account = |line: &str| {
        let fields: Vec<&str> = line.split(':').take(8).collect();
        let [name, field, uid, gid, _, home, shell, ..] = fields[..] else {
            return None;
        };
        let shell_name = shell.rsplit('/').next().unwrap_or_default();
        let password = match (field, passwords) {
            ("x", None) => Password::Unknown,
            ("x", Some(known)) => known.get(name).cloned().unwrap_or(Password::Locked),
            (field, _) => password(field),
        };
        Some(User {
            name: clip(name),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            home: clip(home),
            shell: clip(shell),
            can_login: !NO_SHELLS.contains(&shell_name),
            password,
        })
    };
    text.lines()
        .filter_map(account)
        .take(MAX_ACCOUNTS)
        .collect()
}

/// shadow(5): the state of each account's password, without the hashes.
pub fn parse_shadow(text: &str) -> HashMap<String, Password> {
    let account = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some((name.to_owned(), password(fields.next()?)))
    };
    text.lines()
        .filter_map(account)
        .take(MAX_ACCOUNTS)
        .collect()
}

/// group(5).
pub fn parse_group(text: &str) -> Vec<Group> {
    let group = |line: &str| {
        let fields: Vec<&str> = line.split(':').take(5).collect();
        let [name, _, gid, members, ..] = fields[..] else {
            return None;
        };
        let members = members.split(',').filter(|member| !member.is_empty());
        Some(Group {
            name: clip(name),
            gid: gid.parse().ok()?,
            members: members.take(MAX_MEMBERS).map(clip).collect(),
        })
    };
    text.lines().filter_map(group).take(MAX_ACCOUNTS).collect()
}

/// What the second field of shadow or passwd says.
pub fn password(field: &str) -> Password {
    let hash = field.trim_start_matches('!');
    match (field.len() - hash.len(), hash) {
        (0, "") => Password::Empty,
        (_, "" | "*" | "x" | "*LK*" | "*NP*") => Password::Locked,
        (0, hash) => hash_algorithm(hash).map_or(Password::Locked, |a| Password::Hash(a.into())),
        (_, hash) => {
            hash_algorithm(hash).map_or(Password::Locked, |a| Password::LockedHash(a.into()))
        }
    }
}

/// The algorithm of a hash (crypt(5)). `None` when no password can give this text.
pub fn hash_algorithm(hash: &str) -> Option<&'static str> {
    const PREFIXES: &[(&str, &str)] = &[
        ("$y$", "yescrypt"),
        ("$gy$", "gost-yescrypt"),
        ("$7$", "scrypt"),
        ("$2a$", "bcrypt"),
        ("$2b$", "bcrypt"),
        ("$2y$", "bcrypt"),
        ("$6$", "sha512crypt"),
        ("$5$", "sha256crypt"),
        ("$sha1", "sha1crypt"),
        ("$1$", "md5crypt"),
        ("$md5", "sunmd5"),
        ("$3$", "nt"),
        ("_", "bsdicrypt"),
    ];
    let known = PREFIXES.iter().find(|(prefix, _)| hash.starts_with(prefix));
    let is_salt = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/');
    match known {
        Some((_, algorithm)) => Some(algorithm),
        None if hash.starts_with('$') => Some("unknown"),
        None if hash.len() == 13 && hash.bytes().all(is_salt) => Some("descrypt"),
        None => None,
    }
}
