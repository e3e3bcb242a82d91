//! The ssh server's own keys: the template's go, this machine's come.
//!
//! All files are `/etc/ssh/ssh_host_*_key`, where OpenSSH looks without being told. Certificates
//! and keys of kinds that are not asked for go too: they would be shared by all forks.

use crate::files;
use crate::outcome::{Doing, Failure, Step, not_needed};
use crate::random::Kernel;
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, LineEnding, PrivateKey, PublicKey};
use stampo_agent_protocol::{GivenKey, HostKey, KeyKind, Outcome, SshKeys};
use std::path::{Path, PathBuf};

const DIRECTORY: &str = "/etc/ssh";

/// Replaces the host keys. `hostname` becomes their comment.
pub(crate) fn replace(wanted: &SshKeys, hostname: &str) -> Step {
    let keys = match wanted {
        SshKeys::Keep => return not_needed("not asked for"),
        _ if !Path::new("/etc/ssh/sshd_config").exists()
            && !Path::new("/usr/sbin/sshd").exists() =>
        {
            return not_needed("the guest has no ssh server");
        }
        SshKeys::Make(kinds) => kinds.iter().map(|kind| make(*kind)).collect(),
        SshKeys::Given(keys) => keys.iter().map(read).collect::<Result<Vec<_>, _>>(),
    }?;
    for name in files::names(DIRECTORY) {
        let ends = ["_key", "_key.pub", "_key-cert.pub"];
        if name.starts_with("ssh_host_") && ends.iter().any(|end| name.ends_with(end)) {
            files::remove(&Path::new(DIRECTORY).join(name))?;
        }
    }
    for key in keys {
        write(key, hostname)?;
    }
    Ok(Outcome::Done)
}

fn algorithm(kind: KeyKind) -> Algorithm {
    match kind {
        KeyKind::Ed25519 => Algorithm::Ed25519,
        KeyKind::Ecdsa => Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP256,
        },
    }
}

fn make(kind: KeyKind) -> Result<(KeyKind, PrivateKey), Failure> {
    let key = PrivateKey::random(&mut Kernel, algorithm(kind)).doing("make a host key")?;
    Ok((kind, key))
}

fn read(given: &GivenKey) -> Result<(KeyKind, PrivateKey), Failure> {
    let key = PrivateKey::from_openssh(given.private.expose()).doing("read a given host key")?;
    if key.algorithm() != algorithm(given.kind) || key.is_encrypted() {
        return Err(Failure("a given host key is not of its kind".into()));
    }
    Ok((given.kind, key))
}

fn path(kind: KeyKind) -> PathBuf {
    Path::new(DIRECTORY).join(format!("ssh_host_{}_key", kind.file_name()))
}

fn write((kind, mut key): (KeyKind, PrivateKey), hostname: &str) -> Result<(), Failure> {
    key.set_comment(format!("root@{hostname}"));
    let private = key.to_openssh(LineEnding::LF).doing("write a host key")?;
    let public = key.public_key().to_openssh().doing("write a host key")?;
    let path = path(kind);
    files::put(&path, private.as_bytes(), 0o600)?;
    files::put(
        &path.with_extension("pub"),
        format!("{public}\n").as_bytes(),
        0o644,
    )
}

/// The public keys as they are on the disk now.
pub(crate) fn public_keys() -> Vec<HostKey> {
    let one = |kind: KeyKind| {
        let text = files::text(path(kind).with_extension("pub"))?;
        let mut key = PublicKey::from_openssh(&text).ok()?;
        key.set_comment("");
        Some(HostKey {
            kind,
            public: key.to_openssh().ok()?.trim_end().to_owned(),
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
        })
    };
    [KeyKind::Ed25519, KeyKind::Ecdsa]
        .into_iter()
        .filter_map(one)
        .collect()
}
