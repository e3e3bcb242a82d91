//! Checks of the home directory: rights, space, and what its file system can do.

use super::{Check, DoctorOptions, Status, human};
use rustix::fs::{ioctl_ficlone, statvfs};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Less than this is not enough for one template and its clones.
const LITTLE_SPACE_BYTES: u64 = 10 << 30;

/// Less than this is not enough for anything.
const NO_SPACE_BYTES: u64 = 2 << 30;

pub(super) fn add(checks: &mut Vec<Check>, options: &DoctorOptions) {
    let existing = existing_ancestor(&options.home);
    checks.push(rights(&options.home, &existing));
    checks.push(space(&existing));
    checks.push(reflink(&existing));
}

/// The home, or the directory in which it will be made.
fn existing_ancestor(home: &Path) -> PathBuf {
    let found = home.ancestors().find(|dir| dir.is_dir());
    found
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
        .to_owned()
}

fn rights(home: &Path, existing: &Path) -> Check {
    const WHY: &str = "catalog, images and guests are kept there";
    let shown = home.display();
    if let Err(error) = tempfile::tempfile_in(existing) {
        let remedy = format!(
            "make {} writable for this user, or set STAMPO_HOME",
            existing.display()
        );
        return Check::bad(
            "home",
            Status::Fail,
            WHY,
            format!("{} is not writable: {error}", existing.display()),
            remedy,
        );
    }
    if existing != home {
        return Check::ok(
            "home",
            WHY,
            format!("{shown} will be made when it is first needed"),
        );
    }
    match fs::metadata(home).map(|m| m.permissions().mode() & 0o777) {
        Err(error) => Check::bad(
            "home",
            Status::Unknown,
            WHY,
            error.to_string(),
            "look at it with `ls -ld`",
        ),
        Ok(mode) if mode & 0o077 != 0 => {
            let found = format!("{shown} has mode {mode:o}: other users can look into it");
            Check::bad(
                "home",
                Status::Warn,
                WHY,
                found,
                format!("chmod 700 {shown}"),
            )
        }
        Ok(_) => Check::ok("home", WHY, format!("{shown}, open to its owner only")),
    }
}

fn space(dir: &Path) -> Check {
    const WHY: &str = "templates take about a gigabyte each, clones what they write";
    let free = match statvfs(dir) {
        Ok(fs) => fs.f_bavail.saturating_mul(fs.f_frsize),
        Err(error) => {
            return Check::bad(
                "disk-space",
                Status::Unknown,
                WHY,
                error.to_string(),
                "look with `df -h`",
            );
        }
    };
    let found = format!("{} free at {}", human(free), dir.display());
    let remedy =
        "free some space, look at `stampo gc --dry-run`, or set STAMPO_HOME to a larger disk";
    match free {
        0..NO_SPACE_BYTES => Check::bad("disk-space", Status::Fail, WHY, found, remedy),
        NO_SPACE_BYTES..LITTLE_SPACE_BYTES => {
            Check::bad("disk-space", Status::Warn, WHY, found, remedy)
        }
        _ => Check::ok("disk-space", WHY, found),
    }
}

fn reflink(dir: &Path) -> Check {
    const WHY: &str = "with reflinks a full clone takes no time and no space at first";
    match try_reflink(dir) {
        Ok(true) => Check::ok("reflink", WHY, "the file system has reflinks"),
        Ok(false) => {
            let remedy = "nothing must be done: linked clones are fast everywhere; for fast full clones use XFS or btrfs";
            Check::bad(
                "reflink",
                Status::Warn,
                WHY,
                "the file system has no reflinks",
                remedy,
            )
        }
        Err(error) => Check::bad(
            "reflink",
            Status::Unknown,
            WHY,
            error.to_string(),
            "see the check `home`",
        ),
    }
}

/// Clones a block of a temporary file.
fn try_reflink(dir: &Path) -> io::Result<bool> {
    let (mut from, to) = (tempfile::tempfile_in(dir)?, tempfile::tempfile_in(dir)?);
    from.write_all(&[1; 4096])?;
    match ioctl_ficlone(&to, &from) {
        Ok(()) => Ok(true),
        Err(e)
            if [
                rustix::io::Errno::OPNOTSUPP,
                rustix::io::Errno::NOTTY,
                rustix::io::Errno::XDEV,
                rustix::io::Errno::INVAL,
            ]
            .contains(&e) =>
        {
            Ok(false)
        }
        Err(e) => Err(e.into()),
    }
}
