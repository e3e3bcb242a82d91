//! The names by which the machine knows itself: host name, hosts, mail name, machine-id.
//!
//! The files get what personalisation writes into a disk (`crates/guest/src/personalise`), which
//! the agent can't share: that works on a filesystem, and brings its libraries along.

use crate::files::{self, put, put_keeping, text};
use crate::outcome::{Doing, Failure, Step};
use stampo_agent_protocol::Outcome;
use std::path::Path;

/// A hosts file for a guest that has none.
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// Sets the host name. The kernel and `/etc/hostname` get the first label (hostname(5)), and
/// `/etc/hosts` the whole name.
pub(crate) fn set_hostname(name: &str) -> Step {
    let short = short(name);
    rustix::system::sethostname(short.as_bytes()).doing("set the host name")?;
    put(
        Path::new("/etc/hostname"),
        format!("{short}\n").as_bytes(),
        0o644,
    )?;
    let hosts = text("/etc/hosts").unwrap_or_else(|| HOSTS.to_owned());
    put_keeping(
        Path::new("/etc/hosts"),
        with_host_line(&hosts, name).as_bytes(),
        0o644,
    )?;
    set_mail_name(name)?;
    Ok(Outcome::Done)
}

/// The first label.
pub(crate) fn short(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// `hosts` with one 127.0.1.1 line, which names this machine, in the place of the first such line.
fn with_host_line(hosts: &str, name: &str) -> String {
    let short = short(name);
    let ours = if short == name {
        format!("127.0.1.1\t{short}")
    } else {
        format!("127.0.1.1\t{name} {short}")
    };
    let first = |line: &str, word: &str| line.split_whitespace().next() == Some(word);
    let mut lines: Vec<&str> = hosts.lines().collect();
    let after_localhost = lines
        .iter()
        .position(|line| first(line, "127.0.0.1"))
        .map_or(0, |at| at + 1);
    let place = lines
        .iter()
        .position(|line| first(line, "127.0.1.1"))
        .unwrap_or(after_localhost);
    lines.retain(|line| !first(line, "127.0.1.1"));
    lines.insert(place.min(lines.len()), &ours);
    lines.join("\n") + "\n"
}

/// Postfix stores the name that the machine had when the package was installed.
fn set_mail_name(name: &str) -> Result<(), Failure> {
    let (mailname, main) = (
        Path::new("/etc/mailname"),
        Path::new("/etc/postfix/main.cf"),
    );
    let postfix = text(main);
    if postfix.is_some() || mailname.exists() {
        put_keeping(mailname, format!("{name}\n").as_bytes(), 0o644)?;
    }
    let Some(postfix) = postfix else {
        return Ok(());
    };
    let is_own = |line: &&str| {
        line.strip_prefix("myhostname")
            .is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let mut lines: Vec<&str> = postfix.lines().filter(|line| !is_own(line)).collect();
    let ours = format!("myhostname = {name}");
    lines.push(&ours);
    put_keeping(main, (lines.join("\n") + "\n").as_bytes(), 0o644)
}

/// Sets the machine-id for programs that read it from now on. The system manager and D-Bus keep
/// the one that they read when they started, until the next boot.
pub(crate) fn set_machine_id(id: &str) -> Step {
    let path = Path::new("/etc/machine-id");
    // systemd mounts a file of its own over it where the disk could not be written at boot.
    let mounted = files::text("/proc/self/mountinfo").is_some_and(|all| {
        all.lines()
            .any(|line| line.split(' ').nth(4) == path.to_str())
    });
    if mounted {
        std::fs::write(path, format!("{id}\n")).doing("write /etc/machine-id")?;
    } else {
        put(path, format!("{id}\n").as_bytes(), 0o444)?;
    }
    // D-Bus reads its own path first; a link keeps the two equal for ever.
    let dbus = Path::new("/var/lib/dbus");
    let link = dbus.join("machine-id");
    if dbus.is_dir() && std::fs::read_link(&link).ok().as_deref() != Some(path) {
        files::remove(&link)?;
        std::os::unix::fs::symlink(path, &link).doing("link /var/lib/dbus/machine-id")?;
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_line_replaces_all_older_ones() {
        let old = "127.0.0.1 localhost\n127.0.1.1 vm.old vm\n::1 localhost\n127.0.1.1\tagain\n";
        let new = with_host_line(old, "app-1.example.org");
        let expected = "127.0.0.1 localhost\n127.0.1.1\tapp-1.example.org app-1\n::1 localhost\n";
        assert_eq!(new, expected);
        assert_eq!(with_host_line(&new, "app-1.example.org"), expected);
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
