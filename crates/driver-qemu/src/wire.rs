//! One JSON line at a time over a Unix socket: the ground under QMP and the guest agent.
//!
//! The other side may be hostile (a guest's agent is), so every call has a deadline, every line
//! has a greatest length, and nothing is kept that was not asked for.

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// A moment after which a call gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// `limit` from now; limits beyond a year are a year.
    pub fn after(limit: Duration) -> Self {
        Deadline(Instant::now() + limit.min(Duration::from_secs(365 * 86_400)))
    }

    /// What is left, `None` when it has passed.
    pub fn left(self) -> Option<Duration> {
        self.0
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
    }

    /// The earlier of this and `limit` from now.
    pub fn at_most(self, limit: Duration) -> Self {
        self.min(Deadline::after(limit))
    }

    /// Sleeps for `pause`, but not beyond the deadline; false when it has passed.
    pub fn sleep(self, pause: Duration) -> bool {
        let Some(left) = self.left() else {
            return false;
        };
        std::thread::sleep(pause.min(left));
        true
    }
}

/// Why a conversation over a socket failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// Nobody listens, or the socket is not there.
    #[error("connect")]
    Connect(#[source] io::Error),
    /// Nothing more came before the deadline.
    #[error("get an answer in time")]
    Timeout,
    /// The other side closed the connection.
    #[error("get an answer: the connection was closed")]
    Closed,
    /// A line is longer than allowed.
    #[error("read an answer: it is longer than {0} bytes")]
    TooLong(usize),
    /// An answer that does not follow the protocol.
    #[error("understand an answer: {0}")]
    Malformed(String),
    /// The other side refused; its own words, cut to a readable length.
    #[error("{command}: {why}")]
    Refused {
        /// The command.
        command: String,
        /// The description that came back.
        why: String,
    },
    /// The system failed.
    #[error("use the socket")]
    Io(#[source] io::Error),
}

impl WireError {
    /// A refusal, with what came from the other side made safe to print.
    pub fn refused(command: &str, why: &str) -> Self {
        WireError::Refused {
            command: command.to_owned(),
            why: printable(why),
        }
    }
}

/// A text from outside on one line of at most 300 characters, without control characters.
pub(crate) fn printable(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(clean).take(300).collect()
}

/// A connection.
pub(crate) struct Wire {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Wire {
    /// Connects before the deadline.
    pub fn connect(path: &Path, deadline: Deadline) -> Result<Self, WireError> {
        let left = deadline.left().ok_or(WireError::Timeout)?;
        let stream = stampo_driver::socket::connect(path, left).map_err(|e| match e.kind() {
            ErrorKind::WouldBlock => WireError::Timeout,
            _ => WireError::Connect(e),
        })?;
        Ok(Wire::over(stream))
    }

    /// A connection over a stream that was made before.
    pub fn over(stream: UnixStream) -> Self {
        Wire {
            stream,
            buffer: Vec::new(),
        }
    }

    /// The stream, for its peer's credentials.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Sends all bytes before the deadline.
    pub fn send(&mut self, mut bytes: &[u8], deadline: Deadline) -> Result<(), WireError> {
        while !bytes.is_empty() {
            let left = deadline.left().ok_or(WireError::Timeout)?;
            self.stream
                .set_write_timeout(Some(left))
                .map_err(WireError::Io)?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(WireError::Closed),
                Ok(sent) => bytes = &bytes[sent..],
                Err(e) => ignore_interrupt(e)?,
            }
        }
        Ok(())
    }

    /// Sends all bytes before the deadline, an open file with the first of them (`SCM_RIGHTS`,
    /// `unix(7)`).
    pub fn send_with(
        &mut self,
        bytes: &[u8],
        file: BorrowedFd<'_>,
        deadline: Deadline,
    ) -> Result<(), WireError> {
        let left = deadline.left().ok_or(WireError::Timeout)?;
        self.stream
            .set_write_timeout(Some(left))
            .map_err(WireError::Io)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [file];
        if !control.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(WireError::Malformed("no room for a descriptor".to_owned()));
        }
        let vectors = [io::IoSlice::new(bytes)];
        let sent = sendmsg(&self.stream, &vectors, &mut control, SendFlags::NOSIGNAL)
            .map_err(|e| WireError::Io(e.into()))?;
        self.send(&bytes[sent..], deadline)
    }

    /// The next line without its end, at most `limit` bytes long.
    pub fn line(&mut self, limit: usize, deadline: Deadline) -> Result<Vec<u8>, WireError> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|b| *b == b'\n') {
                let rest = self.buffer.split_off(searched + at + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.truncate(searched + at);
                return if line.len() > limit {
                    Err(WireError::TooLong(limit))
                } else {
                    Ok(line)
                };
            }
            searched = self.buffer.len();
            if searched > limit {
                return Err(WireError::TooLong(limit));
            }
            self.fill(deadline)?;
        }
    }

    /// Whatever comes next, at least one byte.
    pub fn some(&mut self, deadline: Deadline) -> Result<Vec<u8>, WireError> {
        while self.buffer.is_empty() {
            self.fill(deadline)?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Throws away everything up to and including the next `mark`; at most `limit` bytes.
    pub fn skip_past(
        &mut self,
        mark: u8,
        limit: usize,
        deadline: Deadline,
    ) -> Result<(), WireError> {
        let mut skipped = 0;
        loop {
            if let Some(at) = self.buffer.iter().position(|b| *b == mark) {
                self.buffer.drain(..=at);
                return Ok(());
            }
            skipped += self.buffer.len();
            self.buffer.clear();
            if skipped > limit {
                return Err(WireError::TooLong(limit));
            }
            self.fill(deadline)?;
        }
    }

    fn fill(&mut self, deadline: Deadline) -> Result<(), WireError> {
        let left = deadline.left().ok_or(WireError::Timeout)?;
        self.stream
            .set_read_timeout(Some(left))
            .map_err(WireError::Io)?;
        let mut chunk = [0; 64 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(WireError::Closed),
            Ok(read) => {
                self.buffer.extend_from_slice(&chunk[..read]);
                Ok(())
            }
            Err(e) => ignore_interrupt(e),
        }
    }
}

fn ignore_interrupt(error: io::Error) -> Result<(), WireError> {
    match error.kind() {
        ErrorKind::Interrupted => Ok(()),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(WireError::Timeout),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Err(WireError::Closed),
        _ => Err(WireError::Io(error)),
    }
}
