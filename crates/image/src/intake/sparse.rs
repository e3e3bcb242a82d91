//! The destination: a raw file in which every 4 KiB block of zeros is a hole.
//!
//! What this file does *not* do: decide what is written where.

use super::error::{Fault, Stop};
use crate::sparse::is_zero;
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// The granularity of holes, in bytes.
const BLOCK: usize = 4096;

/// A new raw file that grows sparse.
pub struct SparseFile<'fd> {
    fd: BorrowedFd<'fd>,
    size_bytes: u64,
    data_bytes: u64,
}

impl<'fd> SparseFile<'fd> {
    /// Makes the empty file `size_bytes` long: one hole.
    pub fn create(fd: BorrowedFd<'fd>, size_bytes: u64) -> Result<Self, Stop> {
        rustix::fs::ftruncate(fd, size_bytes).map_err(write_fault)?;
        Ok(SparseFile {
            fd,
            size_bytes,
            data_bytes: 0,
        })
    }

    /// How much was written.
    pub const fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Puts `data` at `offset`, leaving out blocks of zeros. Every range is written once only.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), Stop> {
        debug_assert!(
            offset + data.len() as u64 <= self.size_bytes,
            "checked by the caller"
        );
        let mut at = 0;
        let mut run = 0;
        while at < data.len() {
            // Blocks are counted in the destination, wherever this piece starts.
            let in_block = (offset.wrapping_add(at as u64) % BLOCK as u64) as usize;
            let next = (at + BLOCK - in_block).min(data.len());
            if is_zero(&data[at..next]) {
                self.write_run(offset, data, run, at)?;
                run = next;
            }
            at = next;
        }
        self.write_run(offset, data, run, data.len())
    }

    fn write_run(&mut self, offset: u64, data: &[u8], from: usize, to: usize) -> Result<(), Stop> {
        let mut from = from;
        while from < to {
            match rustix::io::pwrite(self.fd, &data[from..to], offset + from as u64) {
                Ok(0) => return Err(write_fault(Errno::IO)),
                Ok(count) => {
                    from += count;
                    self.data_bytes += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(write_fault(errno)),
            }
        }
        Ok(())
    }
}

fn write_fault(errno: Errno) -> Stop {
    match errno {
        Errno::NOSPC | Errno::DQUOT => Fault::NoSpace.into(),
        other => Fault::Write {
            errno: other.raw_os_error(),
        }
        .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn zeros_stay_holes_and_the_rest_is_kept() {
        let file = tempfile::tempfile().expect("a temporary file");
        let mut data = vec![0u8; 1 << 20];
        data[5000] = 1;
        data[500_000..520_000].fill(7);
        let mut sparse = SparseFile::create(file.as_fd(), 2 << 20).expect("an empty file");
        sparse.write(512, &data).expect("space");
        let mut back = Vec::new();
        (&file).read_to_end(&mut back).expect("readable");
        assert_eq!(back.len(), 2 << 20);
        assert!(back[512..512 + data.len()] == data[..]);
        assert!(
            sparse.data_bytes() <= 4096 + 24_576,
            "{}",
            sparse.data_bytes()
        );
        assert!(file.metadata().expect("metadata").blocks() * 512 < 128 << 10);
    }
}
