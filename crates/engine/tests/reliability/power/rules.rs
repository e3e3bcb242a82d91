//! The rules of `legal.rs` on logs made by hand: what has to be possible, and what must not be.

use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    Vec::new()
}
