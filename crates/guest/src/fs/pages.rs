//! What an editor of a filesystem wrote and did not yet finish, as pages in memory over a disk.
//!
//! An edit is dozens of small writes that hit the same bitmaps, inode tables and superblock again
//! and again. Kept here they reach the disk once, in order of their place, and an editor that
//! fails or is dropped leaves the disk untouched. Only an edit larger than [`SPILL_PAGES`] reaches
//! the disk before [`Pages::write_out`]; editors work on throw-away overlays for that reason.

use fs_ext4::block_io::BlockDevice as LibraryDevice;
use stampo_image::device::BlockDevice;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of one page. Filesystem blocks of 1, 2 and 4 KiB fit into it without remainder.
const PAGE: usize = 4096;
/// Most pages kept in memory (64 MiB).
const SPILL_PAGES: usize = 16 * 1024;
/// Most pages that go to the disk in one write (1 MiB).
const RUN_PAGES: usize = 256;

/// A device whose writes stay in memory until [`Pages::write_out`].
pub(crate) struct Pages {
    device: Arc<dyn BlockDevice>,
    dirty: Mutex<BTreeMap<u64, Box<[u8]>>>,
}

impl Pages {
    pub(crate) fn new(device: Arc<dyn BlockDevice>) -> Self {
        Pages {
            device,
            dirty: Mutex::new(BTreeMap::new()),
        }
    }

    /// The pages. A panic of another holder leaves whole pages behind, so the map stays usable.
    fn dirty(&self) -> MutexGuard<'_, BTreeMap<u64, Box<[u8]>>> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes every page to the device, neighbours in one write, and waits until it is durable.
    pub(crate) fn write_out(&self) -> io::Result<()> {
        self.spill(&mut self.dirty())?;
        self.device.flush()
    }

    fn spill(&self, dirty: &mut BTreeMap<u64, Box<[u8]>>) -> io::Result<()> {
        let mut run: Vec<u8> = Vec::new();
        let mut run_start = 0;
        for (&page, bytes) in dirty.iter() {
            let follows = page == run_start + (run.len() / PAGE) as u64;
            if !run.is_empty() && (!follows || run.len() / PAGE >= RUN_PAGES) {
                self.write_run(run_start, &run)?;
                run.clear();
            }
            if run.is_empty() {
                run_start = page;
            }
            run.extend_from_slice(bytes);
        }
        if !run.is_empty() {
            self.write_run(run_start, &run)?;
        }
        dirty.clear();
        Ok(())
    }

    /// Writes pages from `first` on; the last page of a disk may reach past its end.
    fn write_run(&self, first: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = first * PAGE as u64;
        let room = self.device.size_bytes().saturating_sub(offset);
        let length = (bytes.len() as u64).min(room) as usize;
        self.device.write_at(offset, &bytes[..length])
    }

    /// The page as the device has it, zeros after the device's end.
    fn load(&self, page: u64) -> io::Result<Box<[u8]>> {
        let mut bytes = vec![0; PAGE].into_boxed_slice();
        let offset = page * PAGE as u64;
        let room = self.device.size_bytes().saturating_sub(offset);
        let length = (PAGE as u64).min(room) as usize;
        self.device.read_at(offset, &mut bytes[..length])?;
        Ok(bytes)
    }

    fn check(&self, offset: u64, length: usize) -> io::Result<()> {
        match offset.checked_add(length as u64) {
            Some(end) if end <= self.device.size_bytes() => Ok(()),
            _ => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "an access reaches past the end of the filesystem's disk",
            )),
        }
    }

    fn overlay(&self, offset: u64, buf: &mut [u8]) {
        let end = offset + buf.len() as u64;
        let pages = offset / PAGE as u64..end.div_ceil(PAGE as u64);
        for (&page, bytes) in self.dirty().range(pages) {
            let start = page * PAGE as u64;
            let from = offset.max(start);
            let to = end.min(start + PAGE as u64);
            buf[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&bytes[(from - start) as usize..(to - start) as usize]);
        }
    }
}

impl BlockDevice for Pages {
    fn size_bytes(&self) -> u64 {
        self.device.size_bytes()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.check(offset, buf.len())?;
        self.device.read_at(offset, buf)?;
        self.overlay(offset, buf);
        Ok(())
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.check(offset, buf.len())?;
        let mut dirty = self.dirty();
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let (page, inside) = (at / PAGE as u64, (at % PAGE as u64) as usize);
            let take = (PAGE - inside).min(buf.len() - done);
            let bytes = match dirty.entry(page) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) if take == PAGE => {
                    entry.insert(vec![0; PAGE].into_boxed_slice())
                }
                std::collections::btree_map::Entry::Vacant(entry) => entry.insert(self.load(page)?),
            };
            bytes[inside..inside + take].copy_from_slice(&buf[done..done + take]);
            done += take;
        }
        if dirty.len() > SPILL_PAGES {
            self.spill(&mut dirty)?;
        }
        Ok(())
    }

    /// Zeros in memory: what is here reaches the disk with everything else.
    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        let zeros = vec![0; (1 << 20).min(length as usize)];
        let mut done = 0;
        while done < length {
            let step = (zeros.len() as u64).min(length - done);
            BlockDevice::write_at(self, offset + done, &zeros[..step as usize])?;
            done += step;
        }
        Ok(())
    }

    /// Nothing: an edit is not durable before [`Pages::write_out`].
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_writable(&self) -> bool {
        self.device.is_writable()
    }
}

/// The same device as the third-party writer wants to see it.
impl LibraryDevice for Pages {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> fs_ext4::Result<()> {
        Ok(BlockDevice::read_at(self, offset, buf)?)
    }

    fn size_bytes(&self) -> u64 {
        self.device.size_bytes()
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> fs_ext4::Result<()> {
        Ok(BlockDevice::write_at(self, offset, buf)?)
    }

    fn flush(&self) -> fs_ext4::Result<()> {
        Ok(())
    }

    fn is_writable(&self) -> bool {
        self.device.is_writable()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device in memory that counts its writes.
    struct Memory(Mutex<(Vec<u8>, usize)>);

    impl BlockDevice for Memory {
        fn size_bytes(&self) -> u64 {
            self.0.lock().expect("lock").0.len() as u64
        }
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
            let start = offset as usize;
            buf.copy_from_slice(&self.0.lock().expect("lock").0[start..start + buf.len()]);
            Ok(())
        }
        fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
            let mut state = self.0.lock().expect("lock");
            let start = offset as usize;
            state.0[start..start + buf.len()].copy_from_slice(buf);
            state.1 += 1;
            Ok(())
        }
        fn discard(&self, _: u64, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
        fn is_writable(&self) -> bool {
            true
        }
    }

    fn pages(size: usize) -> (Arc<Memory>, Pages) {
        let memory = Arc::new(Memory(Mutex::new((vec![7; size], 0))));
        (memory.clone(), Pages::new(memory))
    }

    #[test]
    fn writes_are_seen_at_once_and_reach_the_device_together() {
        let (memory, pages) = pages(5 * PAGE + 100);
        let mut expected = vec![7; 5 * PAGE + 100];
        for (offset, length, byte) in [(10, 20, 1), (PAGE - 3, PAGE + 9, 2), (5 * PAGE + 90, 10, 3)]
        {
            BlockDevice::write_at(&pages, offset as u64, &vec![byte; length]).expect("write");
            expected[offset..offset + length].fill(byte);
        }
        let mut seen = vec![0; expected.len()];
        BlockDevice::read_at(&pages, 0, &mut seen).expect("read");
        assert_eq!(seen, expected);
        assert_eq!(
            memory.0.lock().expect("lock").1,
            0,
            "the device was written early"
        );
        pages.write_out().expect("write out");
        let state = memory.0.lock().expect("lock");
        assert_eq!((&state.0, state.1), (&expected, 2));
    }

    #[test]
    fn a_large_edit_is_spilled_and_stays_whole() {
        let size = (SPILL_PAGES + 10) * PAGE;
        let (memory, pages) = pages(size);
        let chunk = vec![9; 64 * PAGE];
        for offset in (0..size).step_by(chunk.len()) {
            let take = chunk.len().min(size - offset);
            BlockDevice::write_at(&pages, offset as u64, &chunk[..take]).expect("write");
        }
        pages.write_out().expect("write out");
        assert!(
            memory
                .0
                .lock()
                .expect("lock")
                .0
                .iter()
                .all(|byte| *byte == 9)
        );
    }

    #[test]
    fn past_the_end_is_refused() {
        let (_, pages) = pages(PAGE);
        assert!(BlockDevice::write_at(&pages, 4000, &[0; 200]).is_err());
        assert!(BlockDevice::read_at(&pages, u64::MAX, &mut [0; 2]).is_err());
    }
}
