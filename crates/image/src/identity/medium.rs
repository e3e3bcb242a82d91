//! Reading a disk as it is on the medium, without filling the page cache and at a chosen pace.
//!
//! A page that the kernel already holds would be read from memory, and rot below it would not show.
//! So the kernel is asked to drop the range before it is read, and again after, so that a scrub does
//! not push out what guests need (posix_fadvise(2), `POSIX_FADV_DONTNEED`). It is only asked: pages
//! that a process has mapped or that are not written yet stay, and a file system in memory has no
//! other place. This file does not judge what it reads.

use crate::device::BlockDevice;
use crate::raw::RawFile;
use rustix::fs::{Advice, fadvise};
use std::io;
use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How fast bytes may be read, over all threads and files that share it.
#[derive(Debug, Default)]
pub struct Pace {
    bytes_per_s: Option<NonZeroU64>,
    /// When the next read may begin.
    free_at: Mutex<Option<Instant>>,
}

impl Pace {
    /// At most this many bytes a second; as fast as it goes when `None`.
    pub fn new(bytes_per_s: Option<NonZeroU64>) -> Self {
        Pace {
            bytes_per_s,
            free_at: Mutex::new(None),
        }
    }

    /// Waits until `length` more bytes may be read.
    fn wait(&self, length: u64) {
        let Some(rate) = self.bytes_per_s else {
            return;
        };
        let takes = Duration::from_secs_f64(length as f64 / rate.get() as f64);
        let now = Instant::now();
        let begin = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = free_at.map_or(now, |at| at.max(now));
            *free_at = Some(begin + takes);
            begin
        };
        std::thread::sleep(begin.saturating_duration_since(now));
    }
}

/// A raw disk that is read past the page cache. It can't be written to.
pub(super) struct Medium<'a> {
    raw: &'a RawFile,
    pace: &'a Pace,
}

impl<'a> Medium<'a> {
    pub(super) fn new(raw: &'a RawFile, pace: &'a Pace) -> Self {
        Medium { raw, pace }
    }

    fn drop_cached(&self, offset: u64, length: u64) {
        let length = NonZeroU64::new(length);
        if let Err(error) = fadvise(self.raw.file(), offset, length, Advice::DontNeed) {
            tracing::debug!(%error, offset, "the page cache could not be told");
        }
    }
}

impl BlockDevice for Medium<'_> {
    fn size_bytes(&self) -> u64 {
        self.raw.size_bytes()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let length = buf.len() as u64;
        self.pace.wait(length);
        self.drop_cached(offset, length);
        self.raw.read_at(offset, buf)?;
        self.drop_cached(offset, length);
        Ok(())
    }

    fn write_at(&self, _offset: u64, _buf: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn discard(&self, _offset: u64, _length: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_writable(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_that_share_a_pace_wait_for_each_other() {
        let pace = Pace::new(NonZeroU64::new(10 << 20));
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| pace.wait(1 << 20));
            }
        });
        // The first begins at once, the third after two tenths of a second.
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(195), "{took:?}");
    }

    #[test]
    fn a_disk_reads_the_same_from_the_medium() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let bytes: Vec<u8> = (0..2_500_000_u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(file.path(), &bytes).expect("written");
        let watch = crate::progress::Unwatched;
        let plain = super::super::leaf_index(file.path(), &watch).expect("hashed");
        let pace = Pace::default();
        let medium = super::super::leaf_index_of_medium(file.path(), &pace, &watch);
        assert_eq!(medium.expect("hashed"), plain);
    }
}
