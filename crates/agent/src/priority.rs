//! The agent's place before the other programs of the guest.
//!
//! A fork, or a member of a pool that goes on, finds many timers that ran out meanwhile and a clock that
//! jumps: with one processor everything that this wakes would run before the agent has answered, and
//! somebody waits for that. It is a few milliseconds of work, then the agent sleeps again.
#![expect(unsafe_code, reason = "rustix does not have this call")]

/// Asks to be run first, as sched(7) has it: a first-in-first-out policy of the lowest such priority. What it
/// starts is run like any other program. A kernel that refuses, as one with shares of real time
/// for control groups does, leaves the agent where it was.
pub(crate) fn run_first() {
    let parameters = libc::sched_param { sched_priority: 1 };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the call reads one `sched_param`, which outlives it; 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
}
