//! Records in a guest's directory: small JSON files, read whatever lies in their place by now.
//!
//! A record may be torn by a power cut or damaged by a disk, and something else may lie there, such
//! as a FIFO, for whose writer a plain open would wait for ever. Reading never waits and takes no
//! more than a record can have. Whether a guest can do without a record is not decided here.

use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;
use stampo_driver::DriverError;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The largest record that is read. A definition with the most disks and interfaces is far smaller.
const LIMIT_BYTES: u64 = 4 << 20;

/// What was being done when a record turned out to be none.
const PARSE: &str = "parse";

/// Reads a record; `None` when it is missing.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, DriverError> {
    let text = match read_regular(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        // A link, or no regular file, or one that is too large.
        Err(e) if is_no_record(&e) => return Err(DriverError::io(PARSE, path)(e)),
        read => read.map_err(DriverError::io("read", path))?,
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|e| DriverError::io(PARSE, path)(e.into()))
}

/// Whether an error of [`read`] is about what lies there, and not about reading it.
pub(crate) fn is_unusable(error: &DriverError) -> bool {
    matches!(error, DriverError::Io { act: PARSE, .. })
}

fn is_no_record(error: &io::Error) -> bool {
    use ErrorKind::{FileTooLarge, InvalidInput, IsADirectory};
    let is_link = Errno::from_io_error(error) == Some(Errno::LOOP);
    is_link || matches!(error.kind(), FileTooLarge | InvalidInput | IsADirectory)
}

fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    // Without NOCTTY a terminal in its place would become ours.
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| match Errno::from_io_error(&error) {
            // A socket or a device without a driver (open(2)).
            Some(Errno::NXIO | Errno::NODEV) => no_regular_file(),
            _ => error,
        })?;
    if !file.metadata()?.is_file() {
        return Err(no_regular_file());
    }
    let mut bytes = Vec::new();
    file.take(LIMIT_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT_BYTES {
        return Err(io::Error::new(ErrorKind::FileTooLarge, "it is too large"));
    }
    Ok(bytes)
}

fn no_regular_file() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "it is no regular file")
}

/// Writes a JSON file that is worth nothing after a power cut, and then may be torn: what it says
/// is about processes.
pub(crate) fn write_passing<T: Serialize>(path: &Path, value: &T) -> Result<(), DriverError> {
    let write = || -> io::Result<()> {
        let dir = path.parent().unwrap_or(Path::new("/"));
        let mut fresh = tempfile::NamedTempFile::new_in(dir)?;
        fresh.write_all(&serde_json::to_vec_pretty(value)?)?;
        fresh.persist(path).map(drop).map_err(|e| e.error)
    };
    write().map_err(DriverError::io("write", path))
}

/// Writes a JSON file so that a reader sees the old or the new content, also after a power cut.
/// The new content is there for good when the directory is made durable.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), DriverError> {
    let write = || -> io::Result<()> {
        let dir = path.parent().unwrap_or(Path::new("/"));
        let mut fresh = tempfile::NamedTempFile::new_in(dir)?;
        // Made whole first: the serialiser writes every bracket and comma by itself.
        let mut text = serde_json::to_vec_pretty(value)?;
        text.push(b'\n');
        fresh.write_all(&text)?;
        fresh.as_file().sync_all()?;
        fresh.persist(path).map(drop).map_err(|e| e.error)
    };
    write().map_err(DriverError::io("write", path))
}
