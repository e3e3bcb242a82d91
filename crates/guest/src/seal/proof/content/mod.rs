//! What a check asks of a file's text. Each function returns what it saw, one entry for each
//! finding, and never the value of a secret.
//!
//! Which function is asked of which file is in the table.

mod identity;
mod network;
mod secrets;

pub use identity::*;
pub use network::*;
pub use secrets::*;

/// Most findings of one file.
const MAX_DETAILS: usize = 50;
