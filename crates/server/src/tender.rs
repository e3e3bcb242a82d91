//! The process in the background that tends pools and leases, where no server runs.
//!
//! ```text
//! a command that leaves something to tend ─ is there one? ─ no ─→ setsid stampo tend --stay
//! one look ─ anything left to tend? ─ yes ─→ sleep ─→ one look …        no ─→ end
//! ```
//! There is at most one for each home: it holds a lock on `tend.lock`. It ends by itself when there
//! is nothing left to tend, and every command starts it anew when it is needed and missing, so it may
//! be killed at any time. It keeps nothing but what the catalog has.

use crate::problem::problem;
use rustix::fs::{FlockOperation, flock};
use stampo_api::{Kind, Problem, Reply};
use stampo_engine::Engine;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often leases and the catalog are looked at: a guest whose client was killed is there for
/// about so long.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often everything is looked at although the catalog has not changed: a member's process may
/// have ended, and what failed is tried again.
const LOOK_AT_ALL: Duration = Duration::from_secs(10);

/// A longer log of it is begun anew.
const LARGEST_LOG: u64 = 1 << 20;

const LOCK: &str = "tend.lock";
const LOG: &str = "tend.log";

/// Starts the process unless it runs.
pub(crate) fn ensure(home: &Path) -> Reply<()> {
    let Some(lock) = try_lock(home)? else {
        return Ok(());
    };
    // The one that is started takes it; of two that are, one ends at once.
    drop(lock);
    start(home).map_err(|error| {
        let what = format!("start what keeps pools and leases: {error}");
        Problem::new(Kind::Failed, what).hint("stampo tend, from time to time")
    })
}

/// Tends the home of this engine for as long as there is something to tend. Returns at once when
/// another process does.
pub(crate) fn stay(engine: &Engine) -> Reply<()> {
    loop {
        let Some(lock) = try_lock(engine.home())? else {
            return Ok(());
        };
        tend_until_idle(engine)?;
        drop(lock);
        // Somebody may have come while we held it, and so started nobody.
        if !is_needed(engine)? {
            return Ok(());
        }
    }
}

/// Leases have a thread of their own: filling a pool may take long, and nobody whose time is over
/// should stay for that.
fn tend_until_idle(engine: &Engine) -> Reply<()> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let leases = scope.spawn(|| tend_leases(engine, &done));
        let pools = tend_pools(engine);
        done.store(true, Ordering::Relaxed);
        let leases = leases.join().unwrap_or_else(|_| {
            let what = "tend leases: stampo has a defect";
            Err(Problem::new(Kind::Failed, what))
        });
        pools.and(leases)
    })
}

fn tend_leases(engine: &Engine, done: &AtomicBool) -> Reply<()> {
    while !done.load(Ordering::Relaxed) && is_needed(engine)? {
        engine.tend_leases().map_err(|error| problem(&error))?;
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

fn tend_pools(engine: &Engine) -> Reply<()> {
    let mut looked: Option<Instant> = None;
    let mut seen = None;
    while is_needed(engine)? {
        let now = engine
            .store()
            .changes()
            .map_err(crate::convert::store_problem)?;
        let is_time = looked.is_none_or(|at| at.elapsed() >= LOOK_AT_ALL);
        let mut goes_on = false;
        if is_time || seen != Some(now) {
            // What a killed command held is let go of first.
            engine.recover().map_err(|error| problem(&error))?;
            let tended = engine.tend_pools().map_err(|error| problem(&error))?;
            goes_on = tended.missing > 0 && tended.failures.is_empty();
            looked = Some(Instant::now());
            seen = Some(now);
        }
        if !goes_on {
            std::thread::sleep(LOOK_EVERY);
        }
    }
    Ok(())
}

/// Whether there is something to tend. A home that is gone needs nothing.
fn is_needed(engine: &Engine) -> Reply<bool> {
    if !engine.store().path().exists() {
        return Ok(false);
    }
    engine.needs_tending().map_err(|error| problem(&error))
}

/// The lock of whoever tends this home; `None` when it is taken.
fn try_lock(home: &Path) -> Reply<Option<File>> {
    let path = home.join(LOCK);
    let failed = |error: std::io::Error| {
        let what = format!("lock {}: {error}", path.display());
        Problem::new(Kind::Failed, what)
    };
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600);
    let file = options.open(&path).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(failed(error.into())),
    }
}

/// Starts this program as the tender, in a session of its own: neither the end of ours nor its
/// terminal's reaches it.
fn start(home: &Path) -> std::io::Result<()> {
    let path = home.join(LOG);
    let is_long = std::fs::metadata(&path).is_ok_and(|meta| meta.len() > LARGEST_LOG);
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600);
    let log = options.open(&path)?;
    if is_long {
        log.set_len(0)?;
    }
    let mut command = Command::new("setsid");
    command.arg("--fork").arg(std::env::current_exe()?);
    command
        .args(["tend", "--stay", "--quiet", "--home"])
        .arg(home);
    command.current_dir("/");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    let status = command.status()?;
    match status.success() {
        true => Ok(()),
        false => Err(std::io::Error::other(format!("setsid: {status}"))),
    }
}
