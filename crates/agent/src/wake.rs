//! Going on after a pause: a machine that has its identity already gets the time and fresh
//! randomness, and says who it is.
//!
//! It is in the way of whoever waits for a machine from a pool, so it writes no file and starts
//! nothing. What only a fork needs is in `fork.rs`.

use crate::fork::{done, micros};
use crate::outcome::Failure;
use crate::{clock, identify, random};
use stampo_agent_protocol::{Few, Item, WakeReport, WakeRequest};
use std::time::Instant;

/// Goes on.
///
/// # Errors
/// When the machine can't say who it is; what was done stays done.
pub(crate) fn wake(request: &WakeRequest) -> Result<WakeReport, Failure> {
    let begin = Instant::now();
    let randomness = &mut || random::reseed_kernel(&request.seed);
    let time = &mut || clock::set(request.clock_unix_ns, begin);
    let items = [done(Item::Randomness, randomness), done(Item::Clock, time)];
    let evidence = identify::evidence(request.nonce)?;
    Ok(WakeReport {
        items: Few::first(items),
        took_us: micros(begin),
        evidence,
    })
}
