//! The guest agent as bytes, so that `stampo` stays one file that needs nothing beside it.
//!
//! The build script builds `crates/agent` with a profile and flags of its own; why like this is in
//! `docs/adr/0008-guest-agent.md`. No code is here: this room exists so that only what installs the
//! agent waits for that build.

/// The program: an ELF file for [`ARCHITECTURE`], static, without any path of the machine that
/// built it. Empty where this program is not built for x86-64 Linux.
pub const AGENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stampo-agent"));

/// The machine that it runs on, as `uname -m` says it.
pub const ARCHITECTURE: &str = "x86_64";
