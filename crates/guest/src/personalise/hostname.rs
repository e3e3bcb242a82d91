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
use uuid::Uuid;

/// A hosts file for a guest that has none.
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

pub(super) fn set_hostname(edit: &mut Editor<'_>, name: &str) -> Result<(), PersonaliseError> {
    let short = short(name);
    edit.put("/etc/hostname", format!("{short}\n"), Owner::root(0o644))?;
    let hosts = edit.text("/etc/hosts")?.unwrap_or_else(|| HOSTS.to_owned());
    edit.put_keeping(
        "/etc/hosts",
        with_host_line(&hosts, name),
        Owner::root(0o644),
    )?;
    set_mail_name(edit, name)
}

/// The first label.
pub(super) fn short(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// `hosts` with one 127.0.1.1 line, which names this guest, in the place of the first such line.
fn with_host_line(hosts: &str, name: &str) -> String {
    let short = short(name);
    let ours = if short == name {
        format!("127.0.1.1\t{short}")
    } else {
        format!("127.0.1.1\t{name} {short}")
    };
    let mut lines: Vec<&str> = hosts.lines().collect();
    let is_own = |line: &str| line.split_whitespace().next() == Some("127.0.1.1");
    let after_localhost = lines
        .iter()
        .position(|line| line.split_whitespace().next() == Some("127.0.0.1"))
        .map_or(0, |at| at + 1);
    let place = lines
        .iter()
        .position(|line| is_own(line))
        .unwrap_or(after_localhost);
    lines.retain(|line| !is_own(line));
    lines.insert(place.min(lines.len()), &ours);
    lines.join("\n") + "\n"
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
    let is_own = |line: &str| {
        line.strip_prefix("myhostname")
            .is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let mut lines: Vec<String> = postfix.lines().map(str::to_owned).collect();
    let place = lines
        .iter()
        .position(|line| is_own(line))
        .unwrap_or(lines.len());
    lines.retain(|line| !is_own(line));
    lines.insert(place, format!("myhostname = {name}"));
    edit.put_keeping(main, lines.join("\n") + "\n", Owner::root(0o644))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_line_replaces_all_older_ones() {
        let old = "127.0.0.1 localhost\n127.0.1.1 vm.old vm\n::1 localhost\n127.0.1.1\tagain\n";
        let new = with_host_line(old, "app-1.example.org");
        assert_eq!(
            new,
            "127.0.0.1 localhost\n127.0.1.1\tapp-1.example.org app-1\n::1 localhost\n"
        );
        assert_eq!(
            with_host_line(&new, "app-1.example.org"),
            new,
            "it can be repeated"
        );
    }

    #[test]
    fn the_host_line_comes_after_localhost() {
        let new = with_host_line("# hosts\n127.0.0.1 localhost\n::1 localhost\n", "a");
        assert_eq!(
            new,
            "# hosts\n127.0.0.1 localhost\n127.0.1.1\ta\n::1 localhost\n"
        );
        assert_eq!(with_host_line("", "a"), "127.0.1.1\ta\n");
    }
}
