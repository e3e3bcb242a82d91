//! What the host and the guest agent say to each other, as types and frames.
//!
//! ```text
//! host: Request ─ encode_request ─→ frame ═ virtio-serial ═→ Decoder ─ decode_request ─→ agent
//! host: ←─ decode_response ─ Decoder ←═ virtio-serial ═ frame ←─ encode_response ─ Response
//! ```
//!
//! Apart from both programs because neither may trust the other: the host treats every guest as
//! hostile, and a guest checks what it is told before it acts. A decoded message has passed its
//! checks; one that has not is an error and never a value. Decoding never panics and holds at most
//! one frame ([`FRAME_BYTES`]), and lists and texts have limits of their own.
//!
//! No I/O, no clock, no randomness here. What the agent does with a request is in `crates/agent`.

mod check;
mod exec;
mod frame;
mod message;
mod report;
mod request;
mod values;
mod verdict;

pub use check::{Invalid, printable};
pub use exec::{
    ABANDONED_MS, CHUNK_BYTES, Chunk, ExecOutput, ExecPoll, ExecSignal, ExecStart, LONGEST_POLL_MS,
    MOST_SESSIONS,
};
pub use frame::{Decoder, FRAME_BYTES, Frame, FrameError, HEADER_BYTES, encode};
pub use message::{MessageError, decode_request, decode_response, encode_request, encode_response};
pub use report::{
    Connected, Done, Evidence, ForkReport, Hello, HookOutcome, HostKey, Interface, Item, Outcome,
    Refusal, Response, SystemState, Timings, WakeReport,
};
pub use request::{
    Addressing, ConnectRequest, Ending, ForkRequest, GivenKey, Identity, KeyKind, Login, Network,
    Nic, Request, SshKeys, WakeRequest,
};
pub use values::{Cidr, Few, Hex32, Mac, Secret};
pub use verdict::{Unmet, unmet, unmet_wake};

/// The version of frames and messages. Either side refuses another one by name.
pub const VERSION: u16 = 1;

/// The name of the virtio-serial port, as `name=` of QEMU's `virtserialport` and below
/// `/dev/virtio-ports/` in the guest.
pub const PORT: &str = "dev.stampo.agent.0";
