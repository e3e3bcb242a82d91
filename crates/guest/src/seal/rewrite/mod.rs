//! What rewriting rows make of a file's bytes: pure functions, one file for each kind of content.
//!
//! Each works line by line, keeps every byte that it does not understand (invalid UTF-8 too), and
//! gives `Same` for what it made itself. None of them reads the guest.

pub(super) mod accounts;
pub(super) mod lines;
pub(super) mod mac;
pub(super) mod names;
pub(super) mod netplan;
