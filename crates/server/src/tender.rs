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
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How often leases and the catalog are looked at: a guest whose client was killed is there for
/// about so long.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often everything is looked at although the catalog has not changed: a member's process may
/// have ended, and what failed is tried again.
const LOOK_AT_ALL: Duration = Duration::from_secs(10);

/// How often that time is doubled while something fails: each try to make a member leaves its
/// operation in the catalog. Five minutes at most.
const MOST_DOUBLED: u32 = 5;

/// How many looks in a row may fail before it ends: five minutes.
const MOST_FAILURES: u32 = 30;

/// In how many guests somebody is warned at a time. The others are next.
const MOST_WARNINGS: usize = 16;

/// How long after its catalog a home may take to go.
const REMOVAL: Duration = Duration::from_secs(10);

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
pub(crate) fn stay(engine: &Arc<Engine>) -> Reply<()> {
    loop {
        let Some(lock) = try_lock(engine.home())? else {
            return Ok(());
        };
        tend_until_idle(engine)?;
        drop(lock);
        if is_home_gone(engine) {
            return end_members(engine);
        }
        // Somebody may have come while we held it, and so started nobody.
        if !is_needed(engine)? {
            return Ok(());
        }
    }
}

/// Whether the home was removed. Whoever removes it may not be done when its catalog is gone.
fn is_home_gone(engine: &Engine) -> bool {
    let begun = Instant::now();
    let is_missing = |path: &Path| matches!(path.try_exists(), Ok(false));
    while is_missing(engine.store().path()) {
        if is_missing(engine.home()) {
            return true;
        }
        if begun.elapsed() > REMOVAL {
            break;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    false
}

/// Ends what only the home that is gone could have told of.
fn end_members(engine: &Engine) -> Reply<()> {
    let ended = engine.end_members_without_home();
    let ended = ended.map_err(|error| problem(&error))?;
    say(&format!(
        "the home is gone, and {ended} members of its pools were ended"
    ));
    Ok(())
}

/// Leases, and members of pools that are of no use any more, have a thread of their own: filling a pool
/// may take long, and nothing whose time is over should stay for that. When one of the two ends, so does the other: this process tends all or,
/// so that another can be started, nothing.
fn tend_until_idle(engine: &Arc<Engine>) -> Reply<()> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let leases = scope.spawn(|| {
            let mut leases = Leases::default();
            keep_looking(engine, &over, || leases.look(engine))
        });
        let mut pools = Pools::default();
        let tended = keep_looking(engine, &over, || pools.look(engine));
        let leases = leases.join().unwrap_or_else(|_| {
            let what = "tend leases: stampo has a defect";
            Err(Problem::new(Kind::Failed, what))
        });
        tended.and(leases)
    })
}

/// Looks again and again, with the pause that each look asks for, until nothing is left to tend or
/// all is over. What fails is tried again more slowly: the disk may be full for a while.
fn keep_looking(
    engine: &Engine,
    over: &AtomicBool,
    mut look: impl FnMut() -> Reply<Duration>,
) -> Reply<()> {
    // Also after a panic.
    let _ends_the_other = OnDrop(over);
    let mut failed = 0;
    while !over.load(Ordering::Relaxed) {
        let looked = is_needed(engine).and_then(|needed| needed.then(&mut look).transpose());
        let pause = match looked {
            Ok(None) => break,
            Ok(Some(pause)) => {
                failed = 0;
                pause
            }
            Err(problem) if failed == MOST_FAILURES => return Err(problem),
            Err(problem) => {
                failed += 1;
                say(&problem.message);
                LOOK_AT_ALL
            }
        };
        sleep_unless(over, pause);
    }
    Ok(())
}

/// Waits, but not for what is over.
fn sleep_unless(over: &AtomicBool, pause: Duration) {
    let end = Instant::now() + pause;
    while !over.load(Ordering::Relaxed) && Instant::now() < end {
        std::thread::sleep(LOOK_EVERY.min(end.saturating_duration_since(Instant::now())));
    }
}

/// Says that all is over when it goes.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What leases failed, and in how many guests somebody is being warned.
#[derive(Default)]
struct Leases {
    /// What the catalog was when pools were drained last.
    seen: Option<i64>,
    said: Said,
    warning: Arc<AtomicUsize>,
}

impl Leases {
    /// Ends the leases that are due. Whoever is warned is told by a thread that nobody waits for: a
    /// guest that is slow, or hangs, keeps no other from its end.
    fn look(&mut self, engine: &Arc<Engine>) -> Reply<Duration> {
        let most = MOST_WARNINGS.saturating_sub(self.warning.load(Ordering::Relaxed));
        let tended = engine.tend_leases(most).map_err(|error| problem(&error))?;
        for warning in tended.warnings {
            let (engine, count) = (Arc::clone(engine), Arc::clone(&self.warning));
            count.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || {
                engine.say_in_guest(&warning);
                count.fetch_sub(1, Ordering::Relaxed);
            });
        }
        let changes = engine.store().changes();
        let now = changes.map_err(crate::convert::store_problem)?;
        if self.seen.replace(now) != Some(now) {
            engine.drain_pools().map_err(|error| problem(&error))?;
        }
        self.said.say(engine.home(), tended.failures);
        Ok(LOOK_EVERY)
    }
}

/// When pools were looked at last, and what the catalog was then.
#[derive(Default)]
struct Pools {
    looked: Option<Instant>,
    seen: Option<i64>,
    /// How many looks in a row had a failure.
    failed: u32,
    said: Said,
}

impl Pools {
    /// Looks at all pools if something may have changed; how long to wait after that.
    fn look(&mut self, engine: &Engine) -> Reply<Duration> {
        let changes = engine.store().changes();
        let now = changes.map_err(crate::convert::store_problem)?;
        let pause = LOOK_AT_ALL * 2_u32.pow(self.failed.min(MOST_DOUBLED));
        let is_time = self.looked.is_none_or(|at| at.elapsed() >= pause);
        if !is_time && self.seen == Some(now) {
            return Ok(LOOK_EVERY);
        }
        // What a killed command held is let go of first.
        engine.recover().map_err(|error| problem(&error))?;
        // Before pools: what a date has ended is not kept ready any more.
        crate::open::enforce(engine)?;
        let tended = engine.tend_pools().map_err(|error| problem(&error))?;
        self.seen = Some(now);
        let goes_on = tended.missing > 0 && tended.failures.is_empty();
        // What we change ourselves is no change: without this the rest would wait for its time.
        self.looked = (!goes_on).then(Instant::now);
        self.failed = match tended.failures.is_empty() {
            true => 0,
            false => self.failed.saturating_add(1),
        };
        self.said.say(engine.home(), tended.failures);
        Ok(if goes_on { Duration::ZERO } else { LOOK_EVERY })
    }
}

/// What failed at the last look. Only what is new is said, and the log stays small: this process may
/// live for years.
#[derive(Default)]
struct Said(Vec<String>);

impl Said {
    fn say(&mut self, home: &Path, failures: Vec<String>) {
        for failure in &failures {
            if !self.0.contains(failure) {
                say(failure);
            }
        }
        self.0 = failures;
        // One that can't be shortened stays long.
        shorten_log(&home.join(LOG)).ok();
    }
}

/// Writes into the log, which is our standard error.
fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").ok();
}

/// Begins a long log anew. Whoever writes it appends.
fn shorten_log(path: &Path) -> std::io::Result<()> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.len() > LARGEST_LOG => {
            OpenOptions::new().append(true).open(path)?.set_len(0)
        }
        _ => Ok(()),
    }
}

/// Whether there is something to tend. A home that is gone needs nothing; one whose catalog was
/// replaced, or belongs to a newer stampo, needs another process.
fn is_needed(engine: &Engine) -> Reply<bool> {
    if !engine
        .store()
        .is_current()
        .map_err(crate::convert::store_problem)?
    {
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
    shorten_log(&path)?;
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600);
    let log = options.open(&path)?;
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
