//! The names by which a guest knows itself: host name, hosts, machine-id, mail name.
//!
//! `/etc/hostname` gets the first label (hostname(5) wants a single label) and `/etc/hosts` the
//! whole name, as the Debian installer does.
//!
//! The machine-id is written now rather than left to the first boot, so that it can be proven
//! unique before the guest ever runs. By machine-id(5) a file with an id means "not the first
//! boot", which is what an empty file means too; only a template with `uninitialized` loses its
//! `ConditionFirstBoot=` units, and the report then says so.

use super::edit::Editor;
use super::error::PersonaliseError;
use crate::fs::{FileKind, Owner};
use stampo_host_name::short;
use uuid::Uuid;

pub(super) fn set_hostname(edit: &mut Editor<'_>, name: &str) -> Result<(), PersonaliseError> {
    let short = short(name);
    edit.put("/etc/hostname", format!("{short}\n"), Owner::root(0o644))?;
    let hosts = stampo_host_name::hosts(edit.text("/etc/hosts")?.as_deref(), name);
    edit.put_keeping("/etc/hosts", hosts, Owner::root(0o644))?;
    set_mail_name(edit, name)
}

/// Postfix stores the name that the machine had when the package was installed.
fn set_mail_name(edit: &mut Editor<'_>, name: &str) -> Result<(), PersonaliseError> {
    let main = "/etc/postfix/main.cf";
    let postfix = edit.text(main)?;
    if postfix.is_some() || edit.exists("/etc/mailname")? {
        edit.put_keeping("/etc/mailname", format!("{name}\n"), Owner::root(0o644))?;
    }
    let Some(postfix) = postfix else {
        return Ok(());
    };
    let postfix = stampo_host_name::postfix_main(&postfix, name);
    edit.put_keeping(main, postfix, Owner::root(0o644))?;
    Ok(())
}

pub(super) fn set_machine_id(edit: &mut Editor<'_>, id: Uuid) -> Result<(), PersonaliseError> {
    if edit
        .bytes("/etc/machine-id")?
        .is_some_and(|old| old.trim_ascii() == b"uninitialized")
    {
        edit.note("the template asks for first-boot units (machine-id uninitialized): they will not run, because the machine-id is written before the first boot");
    }
    edit.put(
        "/etc/machine-id",
        format!("{}\n", id.simple()),
        Owner::root(0o444),
    )?;
    // D-Bus reads its own path first; a link keeps the two equal for ever.
    if edit
        .metadata("/var/lib/dbus")?
        .is_some_and(|found| found.kind == FileKind::Directory)
    {
        edit.link("/var/lib/dbus/machine-id", "/etc/machine-id")?;
    }
    Ok(())
}
