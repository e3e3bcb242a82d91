//! The names by which the machine knows itself: host name, hosts, mail name, machine-id.
//!
//! What is in the files that name it is in `crates/host-name`, for personalisation writes the same
//! into a disk (`crates/guest/src/personalise`).

use crate::files::{self, put, put_keeping, text};
use crate::outcome::{Doing, Failure, Step};
use stampo_agent_protocol::Outcome;
use stampo_host_name::short;
use std::path::Path;

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
    let hosts = stampo_host_name::hosts(text("/etc/hosts").as_deref(), name);
    put_keeping(Path::new("/etc/hosts"), hosts.as_bytes(), 0o644)?;
    set_mail_name(name)?;
    Ok(Outcome::Done)
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
    let postfix = stampo_host_name::postfix_main(&postfix, name);
    put_keeping(main, postfix.as_bytes(), 0o644)
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
        files::overwrite("/etc/machine-id", &format!("{id}\n"))?;
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
