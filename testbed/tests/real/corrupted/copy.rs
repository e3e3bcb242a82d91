//! One copy of a disk that is damaged, worked on and made whole again, hundreds of times.
//!
//! What was written is remembered as ranges and taken from the pristine disk afterwards: a copy of
//! a gigabyte for every case would take longer than the case.

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use stampo_image::device::BlockDevice;
use stampo_image::raw::RawFile;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is remembered in one piece.
pub const BLOCK: u64 = 4096;

/// The copy, as a device that remembers what is done with it.
pub struct Copy {
    file: RawFile,
    pristine: RawFile,
    written: Mutex<BTreeSet<u64>>,
    read: Mutex<Option<BTreeSet<u64>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn blocks(offset: u64, length: u64) -> std::ops::Range<u64> {
    offset / BLOCK..(offset + length).div_ceil(BLOCK)
}

impl Copy {
    pub fn open(copy: &Path, pristine: &Path) -> Copy {
        Copy {
            file: RawFile::open_writable(copy).expect("the copy"),
            pristine: RawFile::open_writable(pristine).expect("the pristine disk"),
            written: Mutex::default(),
            read: Mutex::default(),
        }
    }

    /// Makes holes of these blocks, here and in what this is restored to.
    pub fn empty(&self, mut blocks: Vec<u64>) {
        blocks.sort_unstable();
        for run in blocks.chunk_by(|one, next| one + 1 == *next) {
            let length = run.len() as u64 * BLOCK;
            for file in [&self.file, &self.pristine] {
                file.discard(run[0] * BLOCK, length)
                    .expect("a disk that can have holes");
            }
        }
    }

    /// The blocks that `work` reads.
    pub fn read_by(&self, work: impl FnOnce()) -> BTreeSet<u64> {
        *lock(&self.read) = Some(BTreeSet::new());
        work();
        lock(&self.read).take().unwrap_or_default()
    }

    /// The blocks that were written since the copy was whole and are not as they were.
    pub fn changed(&self) -> Vec<u64> {
        let written = lock(&self.written).clone();
        let differs =
            |block: &u64| self.block(&self.file, *block) != self.block(&self.pristine, *block);
        written.into_iter().filter(differs).collect()
    }

    /// One block of the copy as it is.
    pub fn now(&self, block: u64) -> Vec<u8> {
        self.block(&self.file, block)
    }

    fn block(&self, from: &RawFile, block: u64) -> Vec<u8> {
        let length = BLOCK.min(self.size_bytes() - block * BLOCK);
        let mut bytes = vec![0; length as usize];
        from.read_at(block * BLOCK, &mut bytes)
            .expect("a readable disk");
        bytes
    }

    /// Whether something was written since the copy was whole, besides these blocks.
    pub fn has_writes_beside(&self, known: &BTreeSet<u64>) -> bool {
        lock(&self.written)
            .iter()
            .any(|block| !known.contains(block))
    }

    /// Makes the copy equal to the pristine disk again.
    pub fn restore(&self) {
        for block in std::mem::take(&mut *lock(&self.written)) {
            let bytes = self.block(&self.pristine, block);
            if bytes != self.block(&self.file, block) {
                self.file
                    .write_at(block * BLOCK, &bytes)
                    .expect("a writable copy");
            }
        }
    }
}

impl BlockDevice for Copy {
    fn size_bytes(&self) -> u64 {
        self.file.size_bytes()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if let Some(read) = lock(&self.read).as_mut() {
            read.extend(blocks(offset, buf.len() as u64));
        }
        self.file.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        lock(&self.written).extend(blocks(offset, buf.len() as u64));
        self.file.write_at(offset, buf)
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        // What is a hole already stays one: no need to remember a gigabyte of nothing.
        let end = offset + length;
        let mut at = offset;
        while at < end {
            let (start, stop) = match seek(self.file.file(), SeekFrom::Data(at)) {
                Ok(start) if start < end => {
                    let stop = seek(self.file.file(), SeekFrom::Hole(start))?;
                    (start, stop.min(end))
                }
                Ok(_) | Err(Errno::NXIO) => break,
                Err(error) => return Err(error.into()),
            };
            lock(&self.written).extend(blocks(start, stop - start));
            self.file.discard(start, stop - start)?;
            at = stop;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        // Nothing here has to survive a power loss.
        Ok(())
    }

    fn is_writable(&self) -> bool {
        true
    }
}
