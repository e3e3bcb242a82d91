//! The guest's own ssh keys, and the keys that may log in.
//!
//! Host keys are made here and written before the first boot, so that the host can pin them and
//! no first connection has to be trusted blindly. Keys of the template that we do not replace
//! (RSA, DSA) are removed: they would be shared by all clones.

use super::account::Account;
use super::edit::Editor;
use super::error::PersonaliseError;
use crate::fs::{FileKind, FsError, Owner};
use serde::{Deserialize, Serialize};
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey};

/// The public half of a host key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKey {
    /// Its type, as in `ssh-ed25519`.
    pub algorithm: String,
    /// One line in OpenSSH form, without a comment: `ssh-ed25519 AAAA…`. A known_hosts line is
    /// the host's name or address, a space, and this.
    pub public: String,
    /// `SHA256:…`, as ssh shows it.
    pub fingerprint: String,
}

/// Writes host keys where the guest has an ssh server, and returns their public halves.
pub(super) fn write_host_keys(
    edit: &mut Editor<'_>,
    keys: &[PrivateKey],
    hostname: &str,
) -> Result<Vec<HostKey>, PersonaliseError> {
    if !edit.exists("/etc/ssh/sshd_config")? && !edit.exists("/usr/sbin/sshd")? {
        return Ok(Vec::new());
    }
    let is_host_key = |name: &str| {
        name.starts_with("ssh_host_")
            && ["_key", "_key.pub", "_key-cert.pub"]
                .iter()
                .any(|end| name.ends_with(end))
    };
    for name in edit.names("/etc/ssh", is_host_key)? {
        edit.remove(&format!("/etc/ssh/{name}"))?;
    }
    note_unusual_keys(edit)?;
    keys.iter()
        .map(|key| write_host_key(edit, key, hostname))
        .collect()
}

fn write_host_key(
    edit: &mut Editor<'_>,
    key: &PrivateKey,
    hostname: &str,
) -> Result<HostKey, PersonaliseError> {
    let kind = match key.algorithm() {
        Algorithm::Ecdsa { .. } => "ecdsa",
        _ => "ed25519",
    };
    let mut key = key.clone();
    key.set_comment(format!("root@{hostname}"));
    let private = key
        .to_openssh(LineEnding::LF)
        .map_err(PersonaliseError::HostKey)?;
    let public = key
        .public_key()
        .to_openssh()
        .map_err(PersonaliseError::HostKey)?;
    let path = format!("/etc/ssh/ssh_host_{kind}_key");
    edit.put(&path, private.as_bytes(), Owner::root(0o600))?;
    edit.put(
        &format!("{path}.pub"),
        format!("{public}\n"),
        Owner::root(0o644),
    )?;
    let mut fields = public.split(' ');
    let bare = format!(
        "{} {}",
        fields.next().unwrap_or(""),
        fields.next().unwrap_or("")
    );
    Ok(HostKey {
        algorithm: key.algorithm().as_str().to_owned(),
        public: bare,
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
    })
}

/// An sshd that is told to use other key files than ours may have none of them.
fn note_unusual_keys(edit: &mut Editor<'_>) -> Result<(), PersonaliseError> {
    let drop_ins = edit.names("/etc/ssh/sshd_config.d", |name| name.ends_with(".conf"))?;
    let mut files = vec!["/etc/ssh/sshd_config".to_owned()];
    files.extend(
        drop_ins
            .iter()
            .map(|name| format!("/etc/ssh/sshd_config.d/{name}")),
    );
    for file in files {
        let text = edit.text(&file)?.unwrap_or_default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let is_host_key = words
                .next()
                .is_some_and(|word| word.eq_ignore_ascii_case("HostKey"));
            let Some(path) = words.next().filter(|_| is_host_key) else {
                continue;
            };
            let ours = [
                "/etc/ssh/ssh_host_ed25519_key",
                "/etc/ssh/ssh_host_ecdsa_key",
            ];
            if !ours.contains(&path) {
                edit.note(format!(
                    "{file} in the guest names the host key {path}: it is not written, the guest makes it at its first boot if it can"
                ));
            }
        }
    }
    Ok(())
}

/// Sets the keys that may log in as `account`. The file is replaced as a whole: keys of the
/// template do not survive. Without keys a template's file is left as it is.
pub(super) fn write_authorized_keys(
    edit: &mut Editor<'_>,
    account: &Account,
    keys: &[&str],
) -> Result<(), PersonaliseError> {
    if keys.is_empty() {
        return Ok(());
    }
    let directory = format!("{}/.ssh", account.home.trim_end_matches('/'));
    let own = |mode| Owner {
        uid: account.uid,
        gid: account.gid,
        mode,
    };
    edit.dir(&directory, own(0o700))?;
    match edit.metadata(&directory)? {
        Some(found) if found.kind == FileKind::Directory => {
            edit.set_owner(&directory, own(0o700))?;
        }
        _ => {
            // Keys behind a link would be written where another user may own the directory.
            let why = "it must be a directory and not a link";
            return Err(FsError::Unsuitable {
                path: directory,
                why,
            }
            .into());
        }
    }
    let mut content = String::new();
    for key in keys {
        if !content.lines().any(|line| line == *key) {
            content.push_str(key);
            content.push('\n');
        }
    }
    edit.put(&format!("{directory}/authorized_keys"), content, own(0o600))?;
    Ok(())
}
