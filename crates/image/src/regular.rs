//! Opening files of the store for reading, whatever lies in their place by now.
//!
//! A plain open waits for a writer where a FIFO lies, and some devices do something when they are
//! opened. So whatever reads a file of the store by its name opens it here. A file that the user
//! names is the user's choice and is opened elsewhere.

use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens the regular file at `path` for reading. Never waits.
///
/// An error of kind `InvalidInput` for a directory, a FIFO, a socket or a device, and of kind
/// `FilesystemLoop` for a link, wherever it leads.
pub fn open(path: &Path) -> io::Result<File> {
    open_as(path, false)
}

/// Whether an error of [`open`] says that what lies there is no regular file, a link included.
pub fn is_not_one(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput || Errno::from_io_error(error) == Some(Errno::LOOP)
}

/// As [`open`], for reading and writing.
pub fn open_writable(path: &Path) -> io::Result<File> {
    open_as(path, true)
}

fn open_as(path: &Path, writable: bool) -> io::Result<File> {
    // Without NOCTTY a terminal in its place would become ours.
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY;
    let opened = OpenOptions::new()
        .read(true)
        .write(writable)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let file = opened.map_err(|error| match Errno::from_io_error(&error) {
        // A socket, a device without a driver, or a directory to be written to (open(2)).
        Some(Errno::NXIO | Errno::NODEV | Errno::ISDIR) => not_regular(),
        _ => error,
    })?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(not_regular())
    }
}

/// Reads the regular file at `path`, as [`open`] does, which may have at most `most_bytes`.
///
/// An error of kind `FileTooLarge` for one that has more.
pub fn read(path: &Path, most_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?
        .take(most_bytes.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most_bytes {
        let why = "it is too large";
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn nothing_but_a_regular_file_is_opened_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let [pipe, socket, file, link] =
            ["pipe", "socket", "file", "link"].map(|name| dir.path().join(name));
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).expect("a FIFO");
        let _listener = UnixListener::bind(&socket).expect("a socket");
        std::fs::write(&file, b"bytes").expect("written");
        symlink(&file, &link).expect("a link");
        for path in [&*pipe, &*socket, dir.path(), Path::new("/dev/zero")] {
            let error = open(path).expect_err("no regular file");
            assert_eq!(error.to_string(), "it is no regular file", "{path:?}");
            assert!(is_not_one(&error), "{path:?}");
            assert!(open_writable(path).is_err(), "{path:?}");
        }
        assert!(is_not_one(&open(&link).expect_err("a link")));
        assert!(!is_not_one(
            &open(&dir.path().join("none")).expect_err("nothing")
        ));
        assert_eq!(read(&file, 5).expect("read"), b"bytes");
        let error = read(&file, 4).expect_err("one byte too many");
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
