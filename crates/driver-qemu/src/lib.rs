//! Guests as local QEMU processes, without a daemon.
//!
//! Each guest has a directory (`place.rs`) and, while it runs, one QEMU process that survives the
//! program which started it. Whatever is known is on disk or in the process itself, so every call
//! begins by looking: a `stampo` that was killed at any point leaves nothing that the next one
//! can't find.
//!
//! What is not here: making disks (the image crate), deciding anything (the engine), remembering
//! guests (the catalog).

mod abandoned;
mod agent;
mod argv;
mod channel;
pub mod doctor;
mod driver;
mod firmware;
mod freeze;
#[doc(hidden)]
pub mod fuzzing;
mod hold;
mod host;
mod listening;
mod machines;
mod options;
mod place;
mod probe;
mod process;
mod program;
mod qmp;
mod record;
mod resume;
mod running;
mod settle;
mod start;
mod stop;
mod strangers;
mod tpm;
mod wire;

pub use driver::QemuDriver;
pub use firmware::UefiFirmware;
pub use options::{AccelerationChoice, Options};
