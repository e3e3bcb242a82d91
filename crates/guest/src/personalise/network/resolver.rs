//! Name servers, where the network program does not pass them on by itself.
//!
//! ifupdown hands `dns-nameservers` to resolvconf, and networkd hands `DNS=` to systemd-resolved;
//! without those two the guest reads a plain `/etc/resolv.conf`.

use super::{Interface, NetworkSystem, name_servers};
use crate::fs::{FileKind, Owner};
use crate::personalise::edit::{Editor, any_exists};
use crate::personalise::error::PersonaliseError;

const RESOLV_CONF: &str = "/etc/resolv.conf";

pub(super) fn write(
    edit: &mut Editor<'_>,
    system: NetworkSystem,
    interfaces: &[Interface<'_>],
) -> Result<(), PersonaliseError> {
    let servers = name_servers(interfaces);
    if servers.is_empty() || system == NetworkSystem::NetworkManager {
        return Ok(());
    }
    let resolved = "/etc/systemd/system/dbus-org.freedesktop.resolve1.service";
    let passed_on = [resolved, "/sbin/resolvconf", "/usr/sbin/resolvconf"];
    // A link belongs to whichever program made it.
    let is_link = edit
        .metadata(RESOLV_CONF)?
        .is_some_and(|found| found.kind == FileKind::Symlink);
    if is_link || any_exists(edit.reader(), &passed_on)? {
        return Ok(());
    }
    let mut text = String::from("# Written by stampo.\n");
    for server in servers {
        text += &format!("nameserver {server}\n");
    }
    edit.put(RESOLV_CONF, text, Owner::root(0o644))?;
    Ok(())
}
