//! The seal proof: an independent look at a sealed disk for identity and secrets.
//!
//! It shares nothing with the code that seals: it has a table of its own of what must not be
//! there, and it is meant to be given a reader that is not the writer's. A proof lists what was
//! found, how much every check looked at, and what could not be looked at; the last counts as not
//! proven. It sees files only: whether the bytes of removed files are gone from free space is
//! another question.
//!
//! - `table.rs` and `table/`: what is looked for, as data
//! - `engine.rs`: the walk that asks every check about every entry
//! - `scan.rs`, `key_blocks.rs`, `tokens.rs`: keys and tokens by their form
//! - `glob.rs`, `names.rs`: path patterns, homes, other names through links
//! - `content.rs`: what checks ask of a file's text
//! - `report.rs`: findings, exceptions, the verdict

mod content;
mod engine;
mod glob;
mod key_blocks;
mod names;
mod report;
mod scan;
mod table;
mod tokens;

pub use engine::prove;
pub use report::{Checked, Exception, ExceptionError, Finding, Kind, Proof, Unknown, text_matches};
pub use scan::{Hit, Scanner};
pub use table::{Check, EDITION, Test, checks};
