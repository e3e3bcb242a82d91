//! A disk in memory: a base that many runs share, and the pages that one run changed.
//!
//! An access outside of the disk, or a write to a read-only one, is a finding: the product must
//! check before it reaches for the disk. It keeps nothing after a run.

use stampo_image::device::BlockDevice;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const PAGE: usize = 4096;

/// A disk of `size` bytes; bytes that neither the base nor a page has are zeros.
pub struct MemoryDisk {
    base: Arc<[u8]>,
    size: u64,
    pages: Mutex<HashMap<u64, [u8; PAGE]>>,
    writable: bool,
    changed: AtomicBool,
}

impl MemoryDisk {
    pub fn new(base: Arc<[u8]>, size: u64) -> Self {
        MemoryDisk {
            base,
            size,
            pages: Mutex::default(),
            writable: true,
            changed: AtomicBool::new(false),
        }
    }

    pub fn read_only(mut self) -> Self {
        self.writable = false;
        self
    }

    /// The same disk, longer by `more` zeros.
    pub fn grown(self, more: u64) -> Self {
        MemoryDisk {
            size: self.size + more,
            ..self
        }
    }

    /// Puts bytes without being asked whether that is allowed; what lies beyond the end is lost.
    pub fn patch(&self, offset: u64, bytes: &[u8]) {
        let left = self.size.saturating_sub(offset).min(bytes.len() as u64) as usize;
        self.put(offset, &bytes[..left]);
    }

    /// Whether the product wrote anything.
    pub fn is_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }

    /// All bytes.
    pub fn content(&self) -> Vec<u8> {
        let mut all = vec![0; self.size as usize];
        self.get(0, &mut all);
        all
    }

    fn each(&self, offset: u64, length: usize, mut act: impl FnMut(u64, usize, usize, usize)) {
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let inside = (at % PAGE as u64) as usize;
            let count = (PAGE - inside).min(length - done);
            act(at / PAGE as u64, inside, done, count);
            done += count;
        }
    }

    fn get(&self, offset: u64, buf: &mut [u8]) {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let length = buf.len();
        self.each(offset, length, |page, inside, done, count| {
            let piece = &mut buf[done..done + count];
            match pages.get(&page) {
                Some(bytes) => piece.copy_from_slice(&bytes[inside..inside + count]),
                None => self.base_into(page * PAGE as u64 + inside as u64, piece),
            }
        });
    }

    fn put(&self, offset: u64, buf: &[u8]) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        self.each(offset, buf.len(), |page, inside, done, count| {
            let bytes = pages.entry(page).or_insert_with(|| {
                let mut bytes = [0; PAGE];
                self.base_into(page * PAGE as u64, &mut bytes);
                bytes
            });
            bytes[inside..inside + count].copy_from_slice(&buf[done..done + count]);
        });
    }

    fn base_into(&self, offset: u64, piece: &mut [u8]) {
        let start = (offset.min(self.base.len() as u64)) as usize;
        let count = piece.len().min(self.base.len() - start);
        piece[..count].copy_from_slice(&self.base[start..start + count]);
        piece[count..].fill(0);
    }

    fn is_inside(&self, offset: u64, length: u64) -> bool {
        offset
            .checked_add(length)
            .is_some_and(|end| end <= self.size)
    }

    fn check_change(&self, offset: u64, length: u64) {
        assert!(self.writable, "a write to a read-only disk");
        assert!(self.is_inside(offset, length), "a write outside of a disk");
        self.changed.store(true, Ordering::Relaxed);
    }
}

impl BlockDevice for MemoryDisk {
    fn size_bytes(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if !self.is_inside(offset, buf.len() as u64) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.get(offset, buf);
        Ok(())
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.check_change(offset, buf.len() as u64);
        self.put(offset, buf);
        Ok(())
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.check_change(offset, length);
        self.put(offset, &vec![0; length as usize]);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_writable(&self) -> bool {
        self.writable
    }
}
