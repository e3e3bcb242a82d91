//! Commands that the agent runs: started once, then asked about until they end.
//!
//! ```text
//! host                                     agent
//! ExecStart ──────────────────────────────▶ starts it ──▶ Started { session }
//! ExecPoll { session, stdin, … } ─────────▶ writes, reads what is there or waits ──▶ ExecOutput
//!    … until the output says how it ended; then the session is gone
//! ```
//! One question and one answer at a time, so that other commands of the host have their turn
//! between two of them. Nothing is read from the command that was not asked for: a pipe that is
//! full makes it wait. A host that stops asking is given up after [`ABANDONED_MS`], and the command
//! is killed with everything in its process group.

use crate::values::Few;
use base64ct::{Base64, Encoding};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The most bytes of one stream in one message.
pub const CHUNK_BYTES: usize = 64 << 10;
/// How many commands may run at once.
pub const MOST_SESSIONS: usize = 16;
/// How long a command lives whose host asks nothing of it, in milliseconds.
pub const ABANDONED_MS: u64 = 60_000;
/// The longest that one [`ExecPoll`] may wait, in milliseconds: others want their turn.
pub const LONGEST_POLL_MS: u32 = 1_000;

/// A command to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecStart {
    /// Program and arguments; no shell. A program without `/` is looked for in `PATH`.
    pub argv: Few<String, 256>,
    /// `NAME=value`, in addition to `PATH`, `HOME`, `USER`, `LOGNAME` and `SHELL`.
    #[serde(default)]
    pub env: Few<String, 256>,
    /// The directory that it starts in; `/` when not given.
    #[serde(default)]
    pub cwd: Option<String>,
    /// A user of the guest's passwd(5); root when not given.
    #[serde(default)]
    pub user: Option<String>,
    /// How long it may run, in milliseconds; then its process group is killed.
    #[serde(default)]
    pub limit_ms: Option<u64>,
}

/// What a command is given, and the question what it has written since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecPoll {
    /// Which.
    pub session: u64,
    /// For its standard input. Only when the last answer kept nothing back.
    #[serde(default)]
    pub stdin: Chunk,
    /// Nothing more comes after that.
    #[serde(default)]
    pub close_stdin: bool,
    /// How long to wait while there is nothing to say.
    pub wait_ms: u32,
}

/// A signal for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSignal {
    /// Which.
    pub session: u64,
    /// Linux's number, for its whole process group.
    pub signal: i32,
}

/// What a command did since it was last asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOutput {
    /// From its standard output.
    pub stdout: Chunk,
    /// From its standard error.
    pub stderr: Chunk,
    /// Bytes of standard input that it has not taken yet.
    pub stdin_kept: u32,
    /// It takes no more input.
    pub stdin_closed: bool,
    /// Its exit code, `128 + signal` when a signal ended it. Nothing comes after that.
    pub exit: Option<i32>,
    /// It was killed because its time was over.
    pub timed_out: bool,
}

/// Some bytes of a stream, in base64 on the wire; at most [`CHUNK_BYTES`]. Not shown: they may be
/// secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Chunk(Vec<u8>);

impl Chunk {
    /// These bytes; `None` when there are too many.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= CHUNK_BYTES).then_some(Chunk(bytes))
    }

    /// As many of the first bytes as fit.
    pub fn first(bytes: &[u8]) -> Self {
        Chunk(bytes[..bytes.len().min(CHUNK_BYTES)].to_vec())
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

impl Serialize for Chunk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Base64::encode_string(&self.0))
    }
}

impl<'de> Deserialize<'de> for Chunk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Chunk;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {CHUNK_BYTES} bytes in base64")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Chunk, E> {
                let bytes = Base64::decode_vec(text).ok();
                let chunk = bytes.and_then(Chunk::new);
                // The text itself never becomes a part of an error.
                chunk.ok_or_else(|| E::custom("bytes are too many, or not base64"))
            }
        }
        deserializer.deserialize_str(Text)
    }
}
