//! Ids that programs keep on disk and that are written now, because nothing would renew them:
//! random seed, iSCSI initiator, NVMe host.
//!
//! Ids that a daemon makes by itself when they are missing (docker, snapd, …) are left alone here:
//! sealing removes them.

use super::edit::Editor;
use super::error::PersonaliseError;
use super::secrets::GuestSecrets;
use crate::fs::Owner;

/// The prefix that Debian's open-iscsi gives: its date and reversed domain (RFC 7143, 4.2.7.4).
const DEBIAN_IQN: &str = "iqn.1993-08.org.debian:01";

pub(super) fn write_ids(
    edit: &mut Editor<'_>,
    secrets: &GuestSecrets,
) -> Result<(), PersonaliseError> {
    if edit.exists("/var/lib/systemd")? {
        // With equal seeds, clones start with an equal random pool: systemd-random-seed(8).
        let path = "/var/lib/systemd/random-seed";
        edit.put(path, secrets.random_seed, Owner::root(0o600))?;
    }
    write_iscsi(edit, secrets)?;
    write_nvme(edit, secrets)
}

fn write_iscsi(edit: &mut Editor<'_>, secrets: &GuestSecrets) -> Result<(), PersonaliseError> {
    if !edit.exists("/etc/iscsi")? {
        return Ok(());
    }
    let path = "/etc/iscsi/initiatorname.iscsi";
    let old = edit.text(path)?.unwrap_or_default();
    let name = old
        .lines()
        .find_map(|line| line.strip_prefix("InitiatorName="));
    // The part before the last colon names who gives the names out, and stays.
    let prefix = name
        .and_then(|name| name.trim().rsplit_once(':'))
        .map(|(prefix, _)| prefix)
        .filter(|prefix| prefix.starts_with("iqn."))
        .unwrap_or(DEBIAN_IQN);
    let content = format!("InitiatorName={prefix}:{}\n", hex::encode(secrets.iscsi));
    edit.put(path, content, Owner::root(0o600))?;
    Ok(())
}

/// NVMe Base Specification 2.0, section 4.5: the host NQN in UUID form and the host id; both from
/// one UUID, as nvme-cli does, because some targets refuse a pair that differs.
fn write_nvme(edit: &mut Editor<'_>, secrets: &GuestSecrets) -> Result<(), PersonaliseError> {
    if !edit.exists("/etc/nvme")? {
        return Ok(());
    }
    let id = secrets.nvme_host;
    let nqn = format!("nqn.2014-08.org.nvmexpress:uuid:{id}\n");
    edit.put_keeping("/etc/nvme/hostnqn", nqn, Owner::root(0o644))?;
    edit.put_keeping("/etc/nvme/hostid", format!("{id}\n"), Owner::root(0o644))?;
    Ok(())
}
