//! Conformity: is a guest's disk as a site wants it?
//!
//! [`evidence`] reads a disk once and keeps everything that a check may ask about; from there on
//! nothing is read any more and no clock is looked at, so that the same evidence, the same [`pack`]
//! and the same time always give the same [`report`]. The checks are a table ([`check`]), each a
//! function from evidence to findings. "Unknown" is a verdict of its own and never passes, and a
//! report in which nothing applied has failed.
//!
//! It decides nothing about versions and guests: who asks, and what follows from a report, is the
//! engine's business. It reads files only, runs nothing of the guest, and keeps no secret.

pub mod check;
mod checks;
mod evaluate;
pub mod evidence;
pub mod exception;
pub mod export;
mod inquiry;
pub mod pack;
pub mod point;
pub mod report;
pub mod retention;

pub use check::{Check, Severity, Verdict, When, check, checks};
pub use evaluate::{Subject, evaluate};
pub use evidence::{Evidence, digest, gather, gather_tree};
pub use exception::Exception;
pub use pack::{Mode, Pack, PackError};
pub use point::Point;
pub use report::Report;
