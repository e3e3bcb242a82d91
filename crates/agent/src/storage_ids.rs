//! The names by which storage knows an initiator: iSCSI and NVMe.
//!
//! The template got them at its first boot, so every fork has them. Sessions that are open keep
//! the old name; a template with open sessions must not be frozen.

use crate::boot_id::uuid;
use crate::files::{put, put_keeping, text};
use crate::outcome::{Failure, Step, not_needed};
use crate::random;
use stampo_agent_protocol::Outcome;
use std::path::Path;

/// The prefix that Debian's open-iscsi gives: its date and reversed domain (RFC 7143, 4.2.7.4).
const DEBIAN_IQN: &str = "iqn.1993-08.org.debian:01";

pub(crate) fn renew() -> Step {
    let iscsi = Path::new("/etc/iscsi/initiatorname.iscsi");
    let nvme = Path::new("/etc/nvme/hostnqn");
    if !iscsi.exists() && !nvme.exists() {
        return not_needed("the guest has no such names");
    }
    if iscsi.exists() {
        renew_iscsi(iscsi)?;
    }
    if nvme.exists() {
        // The id is the UUID of the name: targets refuse a pair that does not match.
        let id = uuid(random::bytes()?);
        let name = format!("nqn.2014-08.org.nvmexpress:uuid:{id}\n");
        put_keeping(nvme, name.as_bytes(), 0o644)?;
        put_keeping(
            Path::new("/etc/nvme/hostid"),
            format!("{id}\n").as_bytes(),
            0o644,
        )?;
    }
    Ok(Outcome::Done)
}

fn renew_iscsi(path: &Path) -> Result<(), Failure> {
    let old = text(path).unwrap_or_default();
    // The part before the last colon names who gives the names out, and stays.
    let prefix = old
        .lines()
        .find_map(|line| line.strip_prefix("InitiatorName="))
        .and_then(|name| name.trim().rsplit_once(':'))
        .map(|(prefix, _)| prefix)
        .filter(|prefix| prefix.starts_with("iqn."))
        .unwrap_or(DEBIAN_IQN);
    let own = u64::from_le_bytes(random::bytes()?) >> 16;
    put(
        path,
        format!("InitiatorName={prefix}:{own:012x}\n").as_bytes(),
        0o600,
    )
}
