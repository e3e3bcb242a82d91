//! How a long job tells how far it is, and how it is told to stop.
//!
//! One seam for both, because the place where a job can report is the place where it can stop
//! cleanly. This file does not draw anything and knows no signals: the caller does.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

/// Receives the progress of one job. It is called from several threads at once.
pub trait Progress: Sync {
    /// The job has dealt with `done_bytes` of `total_bytes`; `Break` asks it to stop.
    ///
    /// A job that is stopped leaves nothing behind under its final name and returns its
    /// `Cancelled` error. `total_bytes` is 0 while it is not known. Calls from several threads
    /// may arrive out of order.
    fn advance(&self, done_bytes: u64, total_bytes: u64) -> ControlFlow<()>;
}

impl<F: Fn(u64, u64) -> ControlFlow<()> + Sync> Progress for F {
    fn advance(&self, done_bytes: u64, total_bytes: u64) -> ControlFlow<()> {
        self(done_bytes, total_bytes)
    }
}

/// Progress that nobody watches and nobody stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Progress for Unwatched {
    fn advance(&self, _done_bytes: u64, _total_bytes: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// A flag as progress: the job stops once it is set, by a signal handler for example.
impl Progress for AtomicBool {
    fn advance(&self, _done_bytes: u64, _total_bytes: u64) -> ControlFlow<()> {
        if self.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}
