//! The line to the host: a virtio-serial port, or a Unix socket in tests.
//!
//! While no host is connected, a virtio-serial port is always readable and always at its end
//! (Linux, drivers/char/virtio_console.c: `port_fops_poll`, `port_fops_read`). Waiting is therefore
//! edge-triggered: the driver wakes its waiters when a host connects and when bytes come, and an
//! idle agent costs nothing.

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a host may leave an answer unread before it is dropped.
const PATIENCE: Duration = Duration::from_secs(10);
/// How soon to look again whether a host is connected.
const PAUSE: Duration = Duration::from_millis(2);

/// The open line.
pub(crate) struct Port {
    line: OwnedFd,
    waiter: OwnedFd,
    /// A socket that is at its end stays there; a port gets another host.
    ends: bool,
}

impl Port {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let ends = std::fs::metadata(path)?.file_type().is_socket();
        let line = if ends {
            let stream = UnixStream::connect(path)?;
            stream.set_nonblocking(true)?;
            OwnedFd::from(stream)
        } else {
            let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
            rustix::fs::open(path, flags, Mode::empty())?
        };
        let waiter = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let events = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&waiter, &line, epoll::EventData::new_u64(0), events)?;
        Ok(Port { line, waiter, ends })
    }

    /// Waits for bytes, until then: nothing when the time is over, 0 when the line is at its end
    /// for good.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        until: Option<Instant>,
    ) -> io::Result<Option<usize>> {
        loop {
            match rustix::io::read(&self.line, &mut *buffer) {
                Ok(0) if self.ends => return Ok(Some(0)),
                Ok(0) | Err(Errno::AGAIN) if until.is_some_and(|end| Instant::now() >= end) => {
                    return Ok(None);
                }
                Ok(0) | Err(Errno::AGAIN) => self.wait(until)?,
                Ok(count) => return Ok(Some(count)),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn wait(&self, until: Option<Instant>) -> io::Result<()> {
        let left = until.map(|end| end.saturating_duration_since(Instant::now()));
        let left = left.map(Timespec::try_from).transpose();
        let left = left.map_err(io::Error::other)?;
        let mut event = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        }];
        match epoll::wait(&self.waiter, &mut event, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes an answer. One that nobody reads is dropped: the host that asked is gone, and the
    /// next one finds the start of its own answer (see the protocol's frames).
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let end = Instant::now() + PATIENCE;
        while !bytes.is_empty() {
            match rustix::io::write(&self.line, bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let left = end.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(());
                    }
                    self.wait_writable(left)?;
                }
                Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits until bytes may be written, or a while.
    ///
    /// A port without a host is not writable, and says so at once. That is no reason to give up:
    /// the driver hands out a request as soon as it comes, but learns that its host has connected
    /// from another queue, and under load later.
    fn wait_writable(&self, left: Duration) -> io::Result<()> {
        let mut wanted = [PollFd::from_borrowed_fd(self.line.as_fd(), PollFlags::OUT)];
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut wanted, Some(&left)) {
            Ok(_) if wanted[0].revents().contains(PollFlags::HUP) => std::thread::sleep(PAUSE),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
