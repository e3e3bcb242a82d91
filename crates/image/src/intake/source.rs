//! The untrusted file as the parser sees it: bounded reads at an offset, and where its holes are.
//!
//! What this file does *not* do: know a format, or open anything. It works on one open descriptor.

use super::error::{Fault, Stop};
use super::refusal::Refusal;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::cell::Cell;
use std::os::fd::BorrowedFd;

/// A readable file of known size. A read past the end is a refusal, never a short buffer.
pub struct Source<'fd> {
    fd: BorrowedFd<'fd>,
    size_bytes: u64,
    /// The last data extent that the kernel told: `[start, end)`.
    known_data: Cell<(u64, u64)>,
}

impl<'fd> Source<'fd> {
    /// A view of an open file. The size is taken once.
    pub fn new(fd: BorrowedFd<'fd>) -> Result<Self, Stop> {
        let stat = rustix::fs::fstat(fd).map_err(read_fault)?;
        let size_bytes = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(Source {
            fd,
            size_bytes,
            known_data: Cell::new((0, 0)),
        })
    }

    /// The size of the file.
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Fills `buf` from `offset`; `what` names the structure in the refusal when the file is short.
    pub fn read(&self, what: &str, offset: u64, buf: &mut [u8]) -> Result<(), Stop> {
        let needed_bytes = offset.saturating_add(buf.len() as u64);
        let cut = || Refusal::Truncated {
            what: what.to_owned(),
            needed_bytes,
            file_bytes: self.size_bytes,
        };
        if needed_bytes > self.size_bytes {
            return Err(cut().into());
        }
        let mut filled = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pread(self.fd, rest, offset + filled as u64) {
                // The file shrank under us.
                Ok(0) => return Err(cut().into()),
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(read_fault(errno)),
            }
        }
        Ok(())
    }

    /// The first stretch of data at or after `from` and before `to`; `None` when all is hole.
    ///
    /// Where the file system can't tell, everything is data.
    pub fn next_data(&self, from: u64, to: u64) -> Result<Option<(u64, u64)>, Stop> {
        let (start, end) = self.known_data.get();
        if start <= from && from < end {
            return Ok(Some((from, end.min(to))));
        }
        let start = match rustix::fs::seek(self.fd, SeekFrom::Data(from)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            Err(_) => return Ok(Some((from, to))),
        };
        let end = rustix::fs::seek(self.fd, SeekFrom::Hole(start)).unwrap_or(self.size_bytes);
        // A file that changes meanwhile must not make the stretch empty.
        let (start, end) = (start.max(from), end.max(start.saturating_add(1)));
        self.known_data.set((start, end));
        Ok((start < to).then(|| (start, end.min(to))))
    }
}

fn read_fault(errno: Errno) -> Stop {
    Fault::Read {
        errno: errno.raw_os_error(),
    }
    .into()
}
