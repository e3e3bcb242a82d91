//! Files of the guest that are replaced as a whole: a new file beside the old one, renamed over it.
//!
//! A reader sees the old content or the new. Nothing is synced here: the fork does that once for
//! all files (`fork.rs`). Links are replaced and not followed, but for directories on the way.

use crate::outcome::{Doing, Failure};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

/// The largest file that is read: configuration, never data.
const MOST_BYTES: u64 = 256 << 10;
/// Where the agent's own files are.
const RUN: &str = "/run/stampo";

/// Puts a file of root's there. `mode` counts whatever was there before.
pub(crate) fn put(path: &Path, content: &[u8], mode: u32) -> Result<(), Failure> {
    put_owned(path, content, mode, None)
}

/// Puts a file there that keeps the owner and the mode of the one that it replaces.
pub(crate) fn put_keeping(path: &Path, content: &[u8], mode: u32) -> Result<(), Failure> {
    match fs::symlink_metadata(path)
        .ok()
        .filter(fs::Metadata::is_file)
    {
        Some(old) => put_owned(
            path,
            content,
            old.mode() & 0o7777,
            Some((old.uid(), old.gid())),
        ),
        None => put_owned(path, content, mode, None),
    }
}

/// Puts a file of the agent's own there, in [`RUN`]: it goes when the machine starts again.
pub(crate) fn put_in_run(path: &str, content: &[u8], mode: u32) -> Result<(), Failure> {
    match rustix::fs::mkdir(RUN, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error).doing("make /run/stampo"),
    }
    put(Path::new(path), content, mode)
}

fn put_owned(
    path: &Path,
    content: &[u8],
    mode: u32,
    owner: Option<(u32, u32)>,
) -> Result<(), Failure> {
    let shown = path.display();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.stampo"));
    let _ = fs::remove_file(&beside);
    let written = create(&beside).and_then(|file| {
        let mut file = fs::File::from(file);
        file.write_all(content)?;
        if let Some((uid, gid)) = owner {
            chown(&beside, Some(uid), Some(gid))?;
        }
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        fs::rename(&beside, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written.doing(format_args!("write {shown}"))
}

/// A new file that nobody else may read yet.
fn create(path: &Path) -> std::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?)
}

/// Writes over a file that can't be replaced, as something is mounted there. What was there before is
/// not longer.
pub(crate) fn overwrite(path: &str, content: &str) -> Result<(), Failure> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .and_then(|file| rustix::io::write(file, content.as_bytes()))
        .map(drop)
        .doing(format_args!("write {path}"))
}

/// The text of a regular file; nothing when there is none, or it is no text, or too large.
pub(crate) fn text(path: impl AsRef<Path>) -> Option<String> {
    // Not blocking: a FIFO in the place of a file must not stop a fork.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = fs::File::from(rustix::fs::open(path.as_ref(), flags, Mode::empty()).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    file.take(MOST_BYTES + 1).read_to_string(&mut text).ok()?;
    (text.len() as u64 <= MOST_BYTES).then_some(text)
}

/// Removes a file or a link; one that is not there is removed already.
pub(crate) fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).doing(format_args!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The names in a directory, sorted; none when there is no such directory.
pub(crate) fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}
