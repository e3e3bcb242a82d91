//! The child's side: sandbox first, then the work, then one answer.
//!
//! What this file does *not* do: return. A child never runs any other code of the program.

use super::convert::convert;
use super::crew::Crew;
use super::error::{Fault, Stop};
use super::protocol::{CHILD_ARG, Job, Message, Report};
use super::sandbox;
use std::os::fd::AsFd;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Turns this process into an intake child when it was started as one; else returns at once.
///
/// Call it first in `main`, before any thread, file or logger exists.
pub fn run_child_if_asked() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_none_or(|first| first != CHILD_ARG) {
        return;
    }
    let job = args
        .next()
        .and_then(|job| serde_json::from_slice(job.as_encoded_bytes()).ok());
    let Some(job) = job else {
        eprintln!("stampo: {CHILD_ARG} is for stampo itself");
        std::process::exit(2);
    };
    std::process::exit(i32::from(!run(&job)));
}

/// Whether the answer reached the parent.
fn run(job: &Job) -> bool {
    // The text of a panic may quote the image; the answer says enough.
    std::panic::set_hook(Box::new(|_| {}));
    let answer = match sandbox::enter(job, || Crew::start(job.workers)) {
        Ok((report, crew)) => {
            if !send(&Message::Ready(report)) {
                return false;
            }
            let work = AssertUnwindSafe(|| work(job, &crew));
            std::panic::catch_unwind(work).unwrap_or(Err(Fault::Panicked.into()))
        }
        Err(fault) => Err(fault.into()),
    };
    send(&match answer {
        Ok(report) => Message::Taken(report),
        Err(Stop::Refused(refusal)) => Message::Refused(refusal),
        Err(Stop::Fault(fault)) => Message::Failed(fault),
    })
}

fn work(job: &Job, crew: &Crew) -> Result<Report, Stop> {
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    let mut told = Instant::now();
    let mut progress = |done_bytes, total_bytes| {
        if told.elapsed() >= PROGRESS_EVERY {
            told = Instant::now();
            // A parent that is gone ends this process by its death signal.
            let _ = send(&Message::Progress {
                done_bytes,
                total_bytes,
            });
        }
    };
    convert(
        job.declared,
        &job.limits,
        stdin.as_fd(),
        stdout.as_fd(),
        crew,
        &mut progress,
    )
}

/// Writes one line to the parent.
fn send(message: &Message) -> bool {
    let Ok(mut line) = serde_json::to_vec(message) else {
        return false;
    };
    line.push(b'\n');
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        match rustix::io::write(std::io::stderr().as_fd(), rest) {
            Ok(count) if count > 0 => rest = &rest[count..],
            Err(rustix::io::Errno::INTR) => {}
            _ => return false,
        }
    }
    true
}
