//! What is inside a template, as data: its packages with their sources, bills of materials, the order
//! of versions, and what others say about packages (security indexes, vulnerabilities, ends of life).
//!
//! Everything here is pure: no I/O, no clock, no database. Whoever calls gives texts and times and
//! keeps the results. The packages come from `stampo_guest`'s inspection; reading disks is its work.
//!
//! Every foreign text is hostile, whether it came from a guest or from a download: parsers have limits
//! and never panic. What is not known is *unknown*, and never counts as good.

pub mod advisories;
pub mod bom;
pub mod diff;
pub mod end_of_life;
pub mod index;
pub mod inventory;
pub mod purl;
pub mod version;

pub use inventory::{Ecosystem, Inventory};
