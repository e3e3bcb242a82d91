//! Names, typed ids, lifecycle, hardware, personalisation, plans and refusals.
//!
//! Everything here is a pure value or a pure function. There is no I/O, no clock, no randomness
//! and no async: a caller passes in the time and the random bytes. This is what lets every
//! decision be tested with tables, and every plan be printed before it is applied.

pub mod approval;
pub mod channel;
pub mod date;
pub mod evidence;
pub mod goal;
pub mod guest;
pub mod hardware;
pub mod identity;
pub mod ids;
pub mod instant;
pub mod lease;
pub mod lifecycle;
pub mod lineage;
pub mod names;
pub mod network;
pub mod personalisation;
pub mod plan;
pub mod pool;
pub mod retention;
pub mod size;
mod text_form;
