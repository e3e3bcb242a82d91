//! What makes one clone differ from the next: host name, keys, users, addresses, files.
//!
//! This is the request after all choices are made: one value for one guest. Nothing in it is
//! chosen later. It may hold secrets (password hashes, files, user-data) and so its `Debug` form
//! is never logged as a whole.

use crate::network::Cidr;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One guest's own settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Personalisation {
    /// The host name, which may be fully qualified (`app-1.example.org`).
    pub hostname: String,
    /// Public keys (OpenSSH, one line each) that may log in as root and as each of `users`.
    pub ssh_authorized_keys: Vec<String>,
    /// Users to make, or to change where they exist.
    pub users: Vec<User>,
    /// A crypt(5) hash for root's password. Without it root's password is locked.
    pub root_password_hash: Option<String>,
    /// How the guest's interfaces get their addresses; an interface beyond the list uses DHCP.
    pub networks: Vec<Network>,
    /// An IANA zone name, as in `Europe/Rome`. Default: the template's.
    pub time_zone: Option<String>,
    /// Files to write.
    pub files: Vec<File>,
    /// A script that root runs once, at the end of the first boot.
    pub first_boot_script: Option<String>,
    /// The user's own cloud-init user-data: added to ours as a MIME part, never joined as text.
    pub user_data: Option<String>,
}

/// One user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct User {
    /// The login name.
    pub name: String,
    /// A crypt(5) hash. Without it the password is locked.
    pub password_hash: Option<String>,
    /// Public keys for this user alone.
    pub ssh_authorized_keys: Vec<String>,
    /// Existing groups to be a member of.
    pub groups: Vec<String>,
    /// May run everything through sudo without a password. Default: no.
    pub sudo: bool,
    /// The login shell. Default: `/bin/bash`.
    pub shell: Option<String>,
    /// The user id. Default: the next free one from 1000 on.
    pub uid: Option<u32>,
}

/// How one interface gets its address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Network {
    /// From a DHCP server.
    #[default]
    Dhcp,
    /// As given.
    Static {
        /// The address and its network.
        address: Cidr,
        /// The default gateway.
        #[serde(default)]
        gateway: Option<IpAddr>,
        /// Name servers.
        #[serde(default)]
        dns: Vec<IpAddr>,
    },
}

/// One file in the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The absolute path in the guest.
    pub path: String,
    /// The whole content.
    #[serde(with = "content")]
    pub content: Vec<u8>,
    /// Permission bits. Default: 0644.
    #[serde(default = "default_mode")]
    pub mode: u32,
    /// The owner, by name. Default: root.
    #[serde(default = "root")]
    pub owner: String,
    /// The group, by name. Default: root.
    #[serde(default = "root")]
    pub group: String,
}

fn default_mode() -> u32 {
    0o644
}

fn root() -> String {
    "root".to_owned()
}

/// Bytes as hex, so that a content of any bytes fits into TOML and JSON.
mod content {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

/// Why a personalisation can't be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use {field} {value:?}: {why}")]
pub struct PersonalisationError {
    /// The field, as the user wrote it.
    pub field: &'static str,
    /// Its value; never a secret.
    pub value: String,
    /// What is wrong and what would be right.
    pub why: &'static str,
}

impl Personalisation {
    /// Checks every field, so that nothing is made when one is wrong.
    pub fn check(&self) -> Result<(), PersonalisationError> {
        check_hostname(&self.hostname)?;
        let keys = self.users.iter().flat_map(|u| &u.ssh_authorized_keys);
        for key in self.ssh_authorized_keys.iter().chain(keys) {
            check_ssh_key(key)?;
        }
        for user in &self.users {
            check_user(user)?;
        }
        let hashes = self.users.iter().filter_map(|u| u.password_hash.as_ref());
        for hash in hashes.chain(&self.root_password_hash) {
            check_password_hash(hash)?;
        }
        if let Some(zone) = &self.time_zone {
            check_time_zone(zone)?;
        }
        self.files.iter().try_for_each(check_file)
    }
}

fn refuse(field: &'static str, value: &str, why: &'static str) -> Result<(), PersonalisationError> {
    Err(PersonalisationError {
        field,
        value: value.to_owned(),
        why,
    })
}

/// RFC 1123, section 2.1: labels of letters, digits and hyphens; 253 bytes in all.
fn check_hostname(name: &str) -> Result<(), PersonalisationError> {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return refuse(
            "host name",
            name,
            "write letters, digits and '-', with '.' between labels",
        );
    }
    if name.split('.').next().is_some_and(|first| first.len() > 63) {
        return refuse(
            "host name",
            name,
            "its first label may have at most 63 characters",
        );
    }
    Ok(())
}

/// One line that starts with a key type that OpenSSH knows.
fn check_ssh_key(key: &str) -> Result<(), PersonalisationError> {
    const TYPES: [&str; 4] = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
    let single_line = !key.contains(['\n', '\r', '\0']);
    let known = TYPES.iter().any(|t| key.starts_with(t));
    if single_line && known && key.split_whitespace().count() >= 2 {
        Ok(())
    } else {
        refuse(
            "ssh key",
            key,
            "write one line of a public key file, as in 'ssh-ed25519 AAAA… you@host'",
        )
    }
}

fn check_user(user: &User) -> Result<(), PersonalisationError> {
    let valid_name = |name: &str| {
        let first = name.bytes().next();
        (1..=32).contains(&name.len())
            && first.is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
    };
    if !valid_name(&user.name) {
        return refuse(
            "user",
            &user.name,
            "start with a-z or '_', then a-z, 0-9, '-' or '_', 32 at most",
        );
    }
    if user.name == "root" {
        return refuse(
            "user",
            &user.name,
            "root is there: give its ssh keys and its password hash instead",
        );
    }
    for group in &user.groups {
        if !valid_name(group) {
            return refuse(
                "group",
                group,
                "start with a-z or '_', then a-z, 0-9, '-' or '_', 32 at most",
            );
        }
    }
    if let Some(shell) = &user.shell
        && (!shell.starts_with('/') || shell.contains([':', '\n', '\0']))
    {
        return refuse("shell", shell, "write an absolute path");
    }
    Ok(())
}

/// crypt(5): `$id$…`, one line, no colon (it goes into a colon-separated file).
fn check_password_hash(hash: &str) -> Result<(), PersonalisationError> {
    const STRONG: [&str; 6] = ["$y$", "$gy$", "$7$", "$6$", "$5$", "$2b$"];
    let clean = !hash.contains([':', '\n', '\r', '\0', ' ']);
    if clean && STRONG.iter().any(|id| hash.starts_with(id)) {
        Ok(())
    } else {
        refuse(
            "password hash",
            "(hidden)",
            "give a crypt(5) hash, for example from 'mkpasswd -m yescrypt'",
        )
    }
}

fn check_time_zone(zone: &str) -> Result<(), PersonalisationError> {
    let part = |p: &str| {
        !p.is_empty()
            && !p.starts_with('.')
            && p.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+-_.".contains(&b))
    };
    if zone.len() <= 64 && zone.split('/').all(part) {
        Ok(())
    } else {
        refuse("time zone", zone, "write an IANA name, as in Europe/Rome")
    }
}

fn check_file(file: &File) -> Result<(), PersonalisationError> {
    let component = |c: &str| !c.is_empty() && c != "." && c != ".." && c.len() <= 255;
    let absolute = file
        .path
        .strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(component));
    if !absolute || file.path.contains('\0') || file.path.len() > 4096 {
        return refuse(
            "file",
            &file.path,
            "write an absolute path in the guest, without '.' and '..'",
        );
    }
    if file.mode > 0o7777 {
        return refuse(
            "file",
            &file.path,
            "its mode has more than the permission bits 07777",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Personalisation {
        Personalisation {
            hostname: name.into(),
            ..Personalisation::default()
        }
    }

    #[test]
    fn host_names() {
        for good in ["app-1", "App1.example.org", "0"] {
            assert_eq!(host(good).check(), Ok(()), "{good:?}");
        }
        for bad in ["", "-a", "a-", "a..b", "a_b", "a b", "a\nb", ".a"] {
            assert!(host(bad).check().is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn a_hash_with_a_colon_or_a_clear_password_is_refused_without_being_shown() {
        for bad in ["hunter2", "$6$a$b:0:0", "$1$weak$weak", "$6$a\nroot::"] {
            let wrong = Personalisation {
                root_password_hash: Some(bad.into()),
                ..host("a")
            };
            let error = wrong.check().expect_err("must be refused").to_string();
            assert!(!error.contains(bad), "{error}");
        }
    }

    #[test]
    fn paths_keys_zones_and_users() {
        let file = |path: &str| File {
            path: path.into(),
            content: vec![],
            mode: 0o644,
            owner: root(),
            group: root(),
        };
        for bad in ["etc/x", "/", "/a/../b", "/a//b", "/a/", "/./a", "/a\0"] {
            assert!(
                Personalisation {
                    files: vec![file(bad)],
                    ..host("a")
                }
                .check()
                .is_err(),
                "{bad:?}"
            );
        }
        for bad in ["", "AAAA", "ssh-ed25519", "ssh-ed25519 AAAA\nssh-rsa BBBB"] {
            let wrong = Personalisation {
                ssh_authorized_keys: vec![bad.into()],
                ..host("a")
            };
            assert!(wrong.check().is_err(), "{bad:?}");
        }
        for bad in ["", "../etc", "Europe//Rome", "a b", ".hidden"] {
            assert!(
                Personalisation {
                    time_zone: Some(bad.into()),
                    ..host("a")
                }
                .check()
                .is_err(),
                "{bad:?}"
            );
        }
        for bad in ["", "Root", "1a", "a:b", "a\n"] {
            let user = User {
                name: bad.into(),
                ..User::default()
            };
            assert!(
                Personalisation {
                    users: vec![user],
                    ..host("a")
                }
                .check()
                .is_err(),
                "{bad:?}"
            );
        }
    }
}
