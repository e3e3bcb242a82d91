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
        if is_of(&process, &ids)? && has_no_directory(pid)? {
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

/// Whether the directory that a process was started in has no name any more.
fn has_no_directory(pid: u32) -> io::Result<bool> {
    // Through the link of /proc, which leads to the directory itself and not to its name (proc(5)).
    match fs::metadata(Path::new("/proc").join(pid.to_string()).join("cwd")) {
        Ok(directory) => Ok(directory.nlink() == 0),
        // Another user's is none of ours.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        Err(error) if is_gone(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn kill(process: &ProcessName) -> io::Result<bool> {
    let Some(held) = process.hold()? else {
        return Ok(false);
    };
    held.kill()?;
    held.wait_gone(GONE)
}
