//! The stampo command: one file per verb, talking only to the API.
//!
//! Data goes to standard output, progress and messages to standard error. What a verb does *not*
//! do here: decide. It turns arguments into a request, follows the operation and prints the reply.

pub mod args;
mod commands;
mod output;
mod problem;
mod progress;
mod signals;
mod spec;

pub use commands::run;
pub use problem::report;
#[doc(hidden)]
pub use spec::clone_spec_of_text;
