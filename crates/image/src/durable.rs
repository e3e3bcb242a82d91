//! The few ways in which this room makes something durable.
//!
//! Apart so that "done or absent" is written once, and so that faults can be injected in one
//! place. The rule: write under a temporary name, fsync the bytes, rename, fsync the directory.
//! After a crash a reader finds the old state or the new one, never a part.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Why something was not made durable.
#[derive(Debug, thiserror::Error)]
#[error("{act} {path}", path = path.display())]
pub struct DurableError {
    /// What was being done, for example `rename`.
    pub act: &'static str,
    /// To what.
    pub path: PathBuf,
    /// What went wrong.
    pub source: io::Error,
}

impl DurableError {
    /// A closure for `map_err`: `act` on `path` failed.
    pub(crate) fn while_doing(
        act: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> DurableError {
        let path = path.to_owned();
        move |source| DurableError { act, path, source }
    }

    /// Whether a name was to be given that something else has (rename(2), ENOTEMPTY and EEXIST).
    pub(crate) fn is_taken(&self) -> bool {
        use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty};
        matches!(self.source.kind(), AlreadyExists | DirectoryNotEmpty)
    }
}

/// The name under which a file that will be `path` is written: `.NAME.partial` beside it.
///
/// It is always the same, so that a repeated step finds and replaces what a crash left.
pub fn partial_path(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".partial");
    path.with_file_name(name)
}

/// Makes `path` hold exactly `bytes` with the permission bits `mode`, whatever was there before.
///
/// Two callers that write the same path at once must hold a lease: they share a temporary name.
pub fn write_file_durably(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DurableError> {
    write_file_whole(path, bytes, mode)?;
    fsync_parent(path)
}

/// As [`write_file_durably`], without waiting for the name: after a power loss the file is as it was
/// or has these bytes, until somebody makes its directory durable. For the first of several files
/// in one directory, the last of which is waited for.
pub fn write_file_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DurableError> {
    let partial = partial_path(path);
    let fail = |act| DurableError::while_doing(act, path);
    let mut file = create_partial(&partial)?;
    file.write_all(bytes).map_err(fail("write"))?;
    file.set_permissions(Permissions::from_mode(mode))
        .map_err(fail("set the mode of"))?;
    file.sync_all().map_err(fail("fsync"))?;
    rename(&partial, path)
}

/// Opens a new empty file of mode 0600 at `partial`, in place of what a crash left there.
pub fn create_partial(partial: &Path) -> Result<File, DurableError> {
    match std::fs::remove_file(partial) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(DurableError::while_doing("replace", partial)(e));
        }
        _ => {}
    }
    // create_new also refuses to write through a link.
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(partial)
        .map_err(DurableError::while_doing("create", partial))
}

/// Renames a file or directory and waits until the new name is durable.
///
/// Its bytes must be durable already. An existing file at `to` is replaced; a directory only when
/// it is empty.
pub fn rename_durably(from: &Path, to: &Path) -> Result<(), DurableError> {
    rename(from, to)?;
    fsync_parent(to)?;
    if from.parent() != to.parent() {
        fsync_parent(from)
    } else {
        Ok(())
    }
}

/// Renames a file whose bytes are durable, without waiting for the new name.
pub fn rename(from: &Path, to: &Path) -> Result<(), DurableError> {
    std::fs::rename(from, to).map_err(DurableError::while_doing("rename to", to))
}

/// Waits until a file's bytes, size and mode are durable.
pub fn fsync_file(path: &Path) -> Result<(), DurableError> {
    // An fsync through any descriptor covers what was written through all of them.
    let sync = || File::open(path)?.sync_all();
    sync().map_err(DurableError::while_doing("fsync", path))
}

/// Does `act`, which reads the file, while its bytes are made durable: the processor and the disk
/// work at the same time.
pub fn while_flushing<T>(path: &Path, act: impl FnOnce() -> T) -> (T, Result<(), DurableError>) {
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| fsync_file(path));
        let done = act();
        let flushed = flush.join();
        (
            done,
            flushed.unwrap_or_else(|e| std::panic::resume_unwind(e)),
        )
    })
}

/// Waits until the names in a directory are durable.
pub fn fsync_dir(path: &Path) -> Result<(), DurableError> {
    fsync_file(path)
}

/// Waits until the name of `path` itself is durable.
pub fn fsync_parent(path: &Path) -> Result<(), DurableError> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => fsync_dir(Path::new(".")),
        Some(parent) => fsync_dir(parent),
        None => Ok(()),
    }
}

/// Makes the directory `path` and its parents with the permission bits `mode`, durably.
///
/// Directories that exist keep their mode, and are not waited for.
pub fn ensure_dir(path: &Path, mode: u32) -> Result<(), DurableError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent()
        && !parent.as_os_str().is_empty()
    {
        ensure_dir(parent, mode)?;
    }
    match std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), mode).create(path)
    {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => {
            Err(DurableError::while_doing("create the directory", path)(e))
        }
        _ => fsync_parent(path),
    }
}

/// Makes directories that all lie in `parent`, with the permission bits `mode`; one fsync makes all
/// their names durable, those of directories that were there included:
/// who made those may have died before.
///
/// `parent` must be durable already. Directories that exist keep their mode.
pub fn ensure_dirs(parent: &Path, dirs: &[PathBuf], mode: u32) -> Result<(), DurableError> {
    for dir in dirs {
        let mut builder = std::fs::DirBuilder::new();
        match std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode).create(dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists || !dir.is_dir() => {
                return Err(DurableError::while_doing("create the directory", dir)(e));
            }
            _ => {}
        }
    }
    match dirs {
        [] => Ok(()),
        _ => fsync_dir(parent),
    }
}

/// Removes a file or a whole directory; it is fine when there is none.
pub fn ensure_removed(path: &Path) -> Result<(), DurableError> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(DurableError::while_doing("remove", path)(e))
        }
        _ => Ok(()),
    }
}

/// Removes as [`ensure_removed`] does and waits until the name is gone for good.
///
/// What was gone before counts too: whoever removed it may not have waited.
pub fn ensure_removed_durably(path: &Path) -> Result<(), DurableError> {
    ensure_removed(path)?;
    wait_for_removal(path)
}

/// Waits until everything that was removed beside `path`, and `path` itself, is gone for good.
pub fn wait_for_removal(path: &Path) -> Result<(), DurableError> {
    match fsync_parent(path) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_gets_its_mode() {
        let dir = tempfile::tempdir().expect("make a directory");
        let path = dir.path().join("record.json");
        for (bytes, mode) in [
            (&b"a much longer first content"[..], 0o644),
            (b"short", 0o444),
        ] {
            write_file_durably(&path, bytes, mode).expect("write");
            assert_eq!(std::fs::read(&path).expect("read"), bytes);
            let found = std::fs::metadata(&path).expect("stat").permissions().mode() & 0o7777;
            assert_eq!(found, mode);
        }
        assert_eq!(std::fs::read_dir(dir.path()).expect("list").count(), 1);
    }

    #[test]
    fn what_a_crash_left_under_the_partial_name_is_never_written_through() {
        let dir = tempfile::tempdir().expect("make a directory");
        let (path, victim) = (dir.path().join("record"), dir.path().join("victim"));
        std::fs::write(&victim, b"precious").expect("write");
        std::os::unix::fs::symlink(&victim, partial_path(&path)).expect("link");
        write_file_durably(&path, b"new", 0o600).expect("write");
        assert_eq!(std::fs::read(&victim).expect("read"), b"precious");
        assert_eq!(std::fs::read(&path).expect("read"), b"new");
    }

    #[test]
    fn directories_are_made_with_their_mode_and_removed_twice_without_complaint() {
        let dir = tempfile::tempdir().expect("make a directory");
        let deep = dir.path().join("a/b/c");
        for _ in 0..2 {
            ensure_dir(&deep, 0o700).expect("make");
        }
        let mode = std::fs::metadata(dir.path().join("a"))
            .expect("stat")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o700);
        std::fs::write(deep.join("file"), b"x").expect("write");
        for _ in 0..2 {
            ensure_removed_durably(&deep).expect("remove");
            ensure_removed(&dir.path().join("a")).expect("remove");
        }
        assert!(!dir.path().join("a").exists());
    }

    #[test]
    fn several_directories_are_made_at_once_and_again_without_complaint() {
        let dir = tempfile::tempdir().expect("make a directory");
        let dirs: Vec<PathBuf> = ["a", "b"].map(|name| dir.path().join(name)).to_vec();
        for _ in 0..2 {
            ensure_dirs(dir.path(), &dirs, 0o700).expect("make");
        }
        for made in &dirs {
            let mode = std::fs::metadata(made).expect("stat").permissions().mode();
            assert_eq!(mode & 0o7777, 0o700);
        }
        std::fs::write(dir.path().join("c"), b"").expect("write");
        let error = ensure_dirs(dir.path(), &[dir.path().join("c")], 0o700).expect_err("a file");
        assert!(error.to_string().starts_with("create the directory"));
    }

    #[test]
    fn an_error_names_the_act_and_the_path() {
        let error = write_file_durably(Path::new("/nonexistent/x"), b"", 0o600).expect_err("fails");
        assert_eq!(error.to_string(), "create /nonexistent/.x.partial");
    }
}
