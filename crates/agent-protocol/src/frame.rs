//! Frames: how one message is told from the next on a line that may start in the middle of one.
//!
//! ```text
//! 0xFF 'S' 'T' 'A'   version: 4 hex digits   id: 8 hex digits   length: 8 hex digits   payload
//! ```
//!
//! The header is ASCII and the payload UTF-8, so the byte 0xFF stands at the start of a frame and
//! nowhere else. A reader that finds one inside a frame knows that the sender began anew (its
//! process was killed, or the machine was frozen in between): it drops the torn frame and goes on
//! with the new one. What is between frames is dropped too, so that noise never blocks the line.
//!
//! The id of an answer is that of its request; an answer to something that nobody waits for any
//! more is recognised by it. What is in a payload is in `message.rs`.

use std::fmt;

/// The most bytes that a payload may have.
pub const FRAME_BYTES: usize = 256 << 10;
/// The bytes of a header.
pub const HEADER_BYTES: usize = 24;

const START: u8 = 0xFF;
const MAGIC: [u8; 4] = [START, b'S', b'T', b'A'];

/// One frame as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// The version that the sender speaks; see [`crate::VERSION`].
    pub version: u16,
    /// Chosen by the host for a request, repeated in its answer.
    pub id: u32,
    /// The message, not looked at yet.
    pub payload: Vec<u8>,
}

/// A payload may hold secrets, so only its length is shown.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("version", &self.version)
            .field("id", &self.id)
            .field("bytes", &self.payload.len())
            .finish()
    }
}

/// Why a frame can't be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// The payload is, or says that it is, longer than [`FRAME_BYTES`].
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The header is none.
    Header,
    /// The payload has a byte that only the start of a frame has.
    Payload,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::TooLong { bytes } => {
                write!(
                    f,
                    "a message of {bytes} bytes is over the {FRAME_BYTES} allowed"
                )
            }
            FrameError::Header => write!(f, "a message has a broken header"),
            FrameError::Payload => write!(f, "a message is not text"),
        }
    }
}

impl std::error::Error for FrameError {}

/// The bytes of a frame.
///
/// # Errors
/// When the payload is too long or is not text.
pub fn encode(version: u16, id: u32, payload: &[u8]) -> Result<Vec<u8>, FrameError> {
    if payload.len() > FRAME_BYTES {
        return Err(FrameError::TooLong {
            bytes: payload.len(),
        });
    }
    if payload.contains(&START) {
        return Err(FrameError::Payload);
    }
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(format!("{version:04x}{id:08x}{:08x}", payload.len()).as_bytes());
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

/// Takes frames out of a stream of bytes.
///
/// It keeps at most one header and one payload of [`FRAME_BYTES`]; a length that is larger is
/// refused before any of it is kept.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Empty, or the beginning of a frame.
    held: Vec<u8>,
    /// The length that the complete header in `held` says.
    length: Option<usize>,
    dropped: u64,
}

impl Decoder {
    /// A decoder that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes belonged to no complete frame.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many bytes are kept until their frame is complete.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes bytes from the front of `input` until a frame is complete or none are left.
    /// Call it until it gives `None`.
    ///
    /// # Errors
    /// For a frame that is refused. The decoder then looks for the next one; it can be used on.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        while !input.is_empty() {
            if self.held.is_empty() && !self.find_start(input) {
                return Ok(None);
            }
            let wanted = HEADER_BYTES + self.length.unwrap_or(0) - self.held.len();
            let step = wanted.min(input.len());
            let fresh = usize::from(self.held.is_empty());
            if let Some(at) = input[fresh..step].iter().position(|byte| *byte == START) {
                // The sender began anew: what came before will never be complete.
                self.drop_held(fresh + at);
                *input = &input[fresh + at..];
                continue;
            }
            self.held.extend_from_slice(&input[..step]);
            *input = &input[step..];
            if step < wanted {
                continue;
            }
            if self.length.is_none() {
                self.read_header()?;
            }
            if let Some(frame) = self.complete() {
                return Ok(Some(frame));
            }
        }
        // An empty payload may be complete without another byte.
        Ok(self.complete())
    }

    /// Drops what comes before the next start; false when there is none.
    fn find_start(&mut self, input: &mut &[u8]) -> bool {
        let at = input.iter().position(|byte| *byte == START);
        let noise = at.unwrap_or(input.len());
        self.dropped += noise as u64;
        *input = &input[noise..];
        at.is_some()
    }

    fn drop_held(&mut self, more: usize) {
        self.dropped += (self.held.len() + more) as u64;
        self.held.clear();
        self.length = None;
    }

    fn read_header(&mut self) -> Result<(), FrameError> {
        let length = number(&self.held, 16..24)
            .filter(|_| self.held.starts_with(&MAGIC))
            .filter(|_| number(&self.held, 4..8).is_some() && number(&self.held, 8..16).is_some());
        let refused = match length {
            None => FrameError::Header,
            Some(bytes) if bytes as usize > FRAME_BYTES => FrameError::TooLong {
                bytes: bytes as usize,
            },
            Some(bytes) => {
                self.length = Some(bytes as usize);
                return Ok(());
            }
        };
        self.drop_held(0);
        Err(refused)
    }

    fn complete(&mut self) -> Option<Frame> {
        if self.held.len() != HEADER_BYTES + self.length? {
            return None;
        }
        let version = number(&self.held, 4..8)?;
        let id = number(&self.held, 8..16)?;
        self.length = None;
        let mut payload = std::mem::take(&mut self.held);
        payload.drain(..HEADER_BYTES);
        Some(Frame {
            version: u16::try_from(version).ok()?,
            id,
            payload,
        })
    }
}

/// A number in lower-case hex digits; nothing else is one.
fn number(bytes: &[u8], range: std::ops::Range<usize>) -> Option<u32> {
    let digits = bytes.get(range)?;
    if !digits
        .iter()
        .all(|d| d.is_ascii_digit() || (b'a'..=b'f').contains(d))
    {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
