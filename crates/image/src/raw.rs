//! A raw file as a disk: byte N of the file is byte N of the disk.
//!
//! It takes no lock: an editor that must keep a virtual machine out uses [`crate::lock`] first.

use crate::device::BlockDevice;
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// How much is zeroed at once where holes can't be punched.
const ZERO_CHUNK_BYTES: u64 = 1 << 20;

/// A raw disk image. Writes are durable only after [`BlockDevice::flush`].
#[derive(Debug)]
pub struct RawFile {
    file: File,
    size_bytes: u64,
    writable: bool,
}

impl RawFile {
    /// Opens the image at `path` for reading, as [`crate::regular::open`] does.
    pub fn open_read_only(path: &Path) -> io::Result<Self> {
        Self::from_file(crate::regular::open(path)?, false)
    }

    /// Opens the image at `path` for reading and writing.
    pub fn open_writable(path: &Path) -> io::Result<Self> {
        Self::from_file(crate::regular::open_writable(path)?, true)
    }

    /// Makes a new image of `size_bytes` zeros without using space, mode 0600.
    ///
    /// An error of kind `AlreadyExists` when there is something at `path`.
    pub fn create(path: &Path, size_bytes: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.set_len(size_bytes)?;
        Self::from_file(file, true)
    }

    /// The open regular file `file` as a disk; `writable` tells how it was opened.
    ///
    /// An error of kind `InvalidInput` for anything but a regular file: a FIFO or a device has no
    /// size that stays.
    pub fn from_file(file: File, writable: bool) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        Ok(RawFile {
            file,
            size_bytes: metadata.len(),
            writable,
        })
    }

    /// The file underneath, to lock it or to list its holes.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Refuses a change that is not allowed or not inside the disk.
    fn check_change(&self, offset: u64, length: u64) -> io::Result<()> {
        if !self.writable {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the image is read-only",
            ));
        }
        // Without this check a write past the end would silently make the disk larger.
        match offset.checked_add(length) {
            Some(end) if end <= self.size_bytes => Ok(()),
            _ => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a write reaches past the end of the disk",
            )),
        }
    }

    /// Writes zeros over a range, for file systems that can't punch holes.
    fn write_zeros(&self, offset: u64, length: u64) -> io::Result<()> {
        let zeros = vec![0; ZERO_CHUNK_BYTES.min(length) as usize];
        let mut done = 0;
        while done < length {
            let step = ZERO_CHUNK_BYTES.min(length - done);
            self.file
                .write_all_at(&zeros[..step as usize], offset + done)?;
            done += step;
        }
        Ok(())
    }
}

impl BlockDevice for RawFile {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.check_change(offset, buf.len() as u64)?;
        self.file.write_all_at(buf, offset)
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.check_change(offset, length)?;
        if length == 0 {
            return Ok(());
        }
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(&self.file, punch, offset, length) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.write_zeros(offset, length),
            Err(e) => Err(e.into()),
        }
    }

    fn flush(&self) -> io::Result<()> {
        if self.writable {
            self.file.sync_data()
        } else {
            Ok(())
        }
    }

    fn is_writable(&self) -> bool {
        self.writable
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        if offset >= self.size_bytes {
            return Ok(None);
        }
        match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(at) => Ok((at < self.size_bytes).then_some(at)),
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => Ok(None),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some(offset)),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn scratch(size_bytes: u64) -> (tempfile::TempDir, RawFile) {
        let dir = tempfile::tempdir().expect("make a directory");
        let raw = RawFile::create(&dir.path().join("disk.raw"), size_bytes).expect("create");
        (dir, raw)
    }

    #[test]
    fn a_new_image_is_zeros_and_takes_no_space() {
        let (dir, raw) = scratch(64 << 20);
        let mut buf = [1; 512];
        raw.read_at((64 << 20) - 512, &mut buf).expect("read");
        assert_eq!(buf, [0; 512]);
        let used = std::fs::metadata(dir.path().join("disk.raw"))
            .expect("stat")
            .blocks()
            * 512;
        assert!(used < 1 << 20, "{used} bytes used");
    }

    #[test]
    fn a_write_past_the_end_is_refused_and_does_not_grow_the_disk() {
        let (dir, raw) = scratch(1000);
        for (offset, length) in [(999, 2), (1000, 1), (u64::MAX, 1)] {
            let error = raw
                .write_at(offset, &vec![1; length])
                .expect_err("must be refused");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
        assert!(raw.discard(999, 2).is_err());
        assert_eq!(
            std::fs::metadata(dir.path().join("disk.raw"))
                .expect("stat")
                .len(),
            1000
        );
        let read = raw.read_at(999, &mut [0; 2]).expect_err("must be refused");
        assert_eq!(read.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn discarded_bytes_read_as_zeros_and_their_neighbours_stay() {
        let (_dir, raw) = scratch(1 << 20);
        raw.write_at(0, &vec![7; 1 << 20]).expect("write");
        raw.discard(5000, 100_000).expect("discard");
        let mut all = vec![1; 1 << 20];
        raw.read_at(0, &mut all).expect("read");
        let expected = |at: usize| if (5000..105_000).contains(&at) { 0 } else { 7 };
        assert!(
            all.iter()
                .enumerate()
                .all(|(at, byte)| *byte == expected(at))
        );
        raw.flush().expect("flush");
    }

    #[test]
    fn a_read_only_image_refuses_changes() {
        let (dir, raw) = scratch(4096);
        drop(raw);
        let raw = RawFile::open_read_only(&dir.path().join("disk.raw")).expect("open");
        assert!(!raw.is_writable());
        for refused in [raw.write_at(0, b"x"), raw.discard(0, 10)] {
            assert_eq!(
                refused.expect_err("must be refused").kind(),
                io::ErrorKind::PermissionDenied
            );
        }
    }

    #[test]
    fn data_is_found_behind_holes_and_never_after_it() {
        let (_dir, raw) = scratch(64 << 20);
        assert_eq!(raw.next_data(0).expect("nothing"), None);
        raw.write_at(32 << 20, &[1]).expect("write");
        let found = raw.next_data(0).expect("look").expect("there is data");
        assert!(found <= 32 << 20, "{found}");
        assert_eq!(raw.next_data(32 << 20).expect("look"), Some(32 << 20));
        assert_eq!(raw.next_data(64 << 20).expect("the end"), None);
        let raw: std::sync::Arc<dyn BlockDevice> = std::sync::Arc::new(raw);
        let window = crate::device::Window::new(raw, 16 << 20, 32 << 20).expect("fits");
        let inside = window.next_data(0).expect("look").expect("there is data");
        assert!(inside <= 16 << 20, "{inside}");
        assert_eq!(window.next_data(16 << 20).expect("look"), Some(16 << 20));
    }

    #[test]
    fn a_directory_is_not_a_disk() {
        let dir = tempfile::tempdir().expect("make a directory");
        assert!(RawFile::open_read_only(dir.path()).is_err());
    }
}
