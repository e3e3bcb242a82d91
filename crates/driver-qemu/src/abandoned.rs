//! Processes whose guest's directory was removed under them, with everything that is known of them.
//!
//! They are found among all processes of the host by what they say themselves: QEMU was started with
//! the guest's id, in the guest's directory. A directory that was moved is not gone, and its guest is
//! left alone.

use crate::process::{ProcessName, is_gone};
use stampo_core::ids::GuestId;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// How long a killed process may take to go.
const GONE: Duration = Duration::from_secs(30);

/// Ends those of these guests; how many.
pub(crate) fn end(ids: &[GuestId]) -> io::Result<usize> {
    end_if(
        ids,
        |pid| Ok(Cwd::of(pid)?.is_some_and(|cwd| cwd.is_gone())),
    )
}

/// Ends those of a guest of which its directory has no record: it is being removed, or is gone.
pub(crate) fn end_unrecorded(id: GuestId, dir: &Path) -> io::Result<usize> {
    let there = match fs::metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        found => Some(Cwd(found?)),
    };
    end_if(&[id], |pid| {
        let cwd = Cwd::of(pid)?;
        Ok(cwd.is_some_and(|cwd| cwd.is_gone() || there.as_ref().is_some_and(|it| cwd.is(it))))
    })
}

fn end_if(ids: &[GuestId], is_abandoned: impl Fn(u32) -> io::Result<bool>) -> io::Result<usize> {
    let ids: Vec<String> = ids.iter().map(GuestId::to_string).collect();
    let mut ended = 0;
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Some(process) = ProcessName::of(pid)? else {
            continue;
        };
        if is_of(&process, &ids)? && is_abandoned(pid)? {
            ended += usize::from(kill(&process)?);
        }
    }
    Ok(ended)
}

fn is_of(process: &ProcessName, ids: &[String]) -> io::Result<bool> {
    let arguments = match process.arguments() {
        Err(error) if is_gone(&error) => return Ok(false),
        read => read?,
    };
    let named = |pair: &[String]| pair[0] == "-uuid" && ids.contains(&pair[1]);
    Ok(arguments.windows(2).any(named))
}

/// The directory that a process was started in.
struct Cwd(fs::Metadata);

impl Cwd {
    /// `None` when the process has ended, or is another user's and none of ours.
    fn of(pid: u32) -> io::Result<Option<Cwd>> {
        // Through the link of /proc, which leads to the directory itself and not to its name (proc(5)).
        match fs::metadata(Path::new("/proc").join(pid.to_string()).join("cwd")) {
            Ok(directory) => Ok(Some(Cwd(directory))),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether it has no name any more.
    fn is_gone(&self) -> bool {
        self.0.nlink() == 0
    }

    fn is(&self, other: &Cwd) -> bool {
        (self.0.dev(), self.0.ino()) == (other.0.dev(), other.0.ino())
    }
}

fn kill(process: &ProcessName) -> io::Result<bool> {
    let Some(held) = process.hold()? else {
        return Ok(false);
    };
    held.kill()?;
    held.wait_gone(GONE)
}
