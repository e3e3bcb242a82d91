//! A disk's bytes, whatever holds them: a raw file, a qcow2 overlay, a window of another device.
//!
//! Every reader and writer of guest content goes through this trait, so that the guest code never
//! sees a path of the host. Offsets and lengths are in bytes and need no alignment.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Random access to the bytes of a disk.
pub trait BlockDevice: Send + Sync {
    /// The size in bytes. It does not change while the device is open.
    fn size_bytes(&self) -> u64;

    /// Fills `buf` from `offset`. Reading past the end is an error of kind `UnexpectedEof`.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Writes all of `buf` at `offset`. An error of kind `PermissionDenied` on a read-only device.
    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()>;

    /// Makes the range read as zeros and frees its space where the format can.
    fn discard(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Waits until everything written is durable.
    fn flush(&self) -> io::Result<()>;

    /// Whether `write_at` can succeed.
    fn is_writable(&self) -> bool;

    /// The first offset from `offset` on that may hold anything but zeros; `None` when nothing
    /// does up to the end. It only saves reading: a device that knows nothing says `offset`.
    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        Ok((offset < self.size_bytes()).then_some(offset))
    }
}

/// A window of a device: one partition of a disk.
pub struct Window {
    device: Arc<dyn BlockDevice>,
    start_bytes: u64,
    size_bytes: u64,
}

impl Window {
    /// `size_bytes` of `device` from `start_bytes` on; an error when the device is shorter.
    pub fn new(
        device: Arc<dyn BlockDevice>,
        start_bytes: u64,
        size_bytes: u64,
    ) -> io::Result<Self> {
        let end = start_bytes.checked_add(size_bytes);
        if end.is_none_or(|end| end > device.size_bytes()) {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a partition reaches past the end of its disk",
            ));
        }
        Ok(Window {
            device,
            start_bytes,
            size_bytes,
        })
    }

    /// The place of `length` bytes at `offset` in the underlying device.
    fn place(&self, offset: u64, length: u64) -> io::Result<u64> {
        match offset.checked_add(length) {
            Some(end) if end <= self.size_bytes => Ok(self.start_bytes + offset),
            _ => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "an access reaches past the end of a partition",
            )),
        }
    }
}

/// A device whose owner makes everything durable at the end, with one flush of the device below.
///
/// For a disk that is thrown away unless it is complete: what a part of the work flushes would only
/// be waited for.
pub struct Unflushed {
    device: Arc<dyn BlockDevice>,
}

impl Unflushed {
    /// The same device, except that [`BlockDevice::flush`] waits for nothing.
    pub fn new(device: Arc<dyn BlockDevice>) -> Self {
        Unflushed { device }
    }
}

impl BlockDevice for Unflushed {
    fn size_bytes(&self) -> u64 {
        self.device.size_bytes()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.device.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.device.write_at(offset, buf)
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.device.discard(offset, length)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_writable(&self) -> bool {
        self.device.is_writable()
    }
}

/// A device that keeps a list of where it was changed, for [`crate::identity::update`].
pub struct Recording {
    device: Arc<dyn BlockDevice>,
    changed: Mutex<Vec<Range<u64>>>,
}

impl Recording {
    /// The same device; nothing is changed yet.
    pub fn new(device: Arc<dyn BlockDevice>) -> Self {
        Recording {
            device,
            changed: Mutex::default(),
        }
    }

    /// Every range that a write or a discard touched until now, successful or not.
    pub fn changed(&self) -> Vec<Range<u64>> {
        // A panic between two pushes leaves a list that is as good as before.
        let changed = self.changed.lock();
        changed.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Before the change is made: half of it may happen.
    fn record(&self, offset: u64, length: u64) {
        let range = offset..offset.saturating_add(length);
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        match changed.last_mut() {
            Some(last) if last.end == offset => last.end = range.end,
            _ => changed.push(range),
        }
    }
}

impl BlockDevice for Recording {
    fn size_bytes(&self) -> u64 {
        self.device.size_bytes()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.device.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.record(offset, buf.len() as u64);
        self.device.write_at(offset, buf)
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.record(offset, length);
        self.device.discard(offset, length)
    }

    fn flush(&self) -> io::Result<()> {
        self.device.flush()
    }

    fn is_writable(&self) -> bool {
        self.device.is_writable()
    }
}

impl BlockDevice for Window {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.device
            .read_at(self.place(offset, buf.len() as u64)?, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.device
            .write_at(self.place(offset, buf.len() as u64)?, buf)
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.device.discard(self.place(offset, length)?, length)
    }

    fn flush(&self) -> io::Result<()> {
        self.device.flush()
    }

    fn is_writable(&self) -> bool {
        self.device.is_writable()
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        if offset >= self.size_bytes {
            return Ok(None);
        }
        let found = self.device.next_data(self.start_bytes + offset)?;
        let inside = found.map(|at| at.saturating_sub(self.start_bytes).max(offset));
        Ok(inside.filter(|at| *at < self.size_bytes))
    }
}
