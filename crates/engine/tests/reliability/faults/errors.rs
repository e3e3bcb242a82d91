//! One system call fails, or writes less than it was asked to: the command succeeds in full, or
//! fails with an error that a user can act on, and leaves neither a half thing nor its room.

use super::calls::{Call, Kind};
use super::child::command;
use super::messages::{check_message, check_words, reasons};
use super::points::{Points, caught, report};
use super::stage::Stage;
use super::tracer::{self, Fault, Traced};
use crate::cases::{Case, TOLD};
use crate::clean::assert_clean;
use crate::crash::settle;
use crate::home::recovered;
use nix::errno::Errno;
use nix::sys::wait::WaitStatus;
use rand::seq::IndexedRandom;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What happens at one call, and at the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// It fails.
    Error(Errno),
    /// It writes half; the rest can be written after it.
    Short,
    /// It writes half, and the next call finds the disk full.
    Full,
}

impl Trouble {
    /// What a call of this kind may meet on a disk that is full or bad.
    fn of(kind: Kind) -> &'static [Trouble] {
        use Trouble::{Error, Full, Short};
        const NO_ROOM: Trouble = Error(Errno::ENOSPC);
        const BAD: Trouble = Error(Errno::EIO);
        const QUOTA: Trouble = Error(Errno::EDQUOT);
        match kind {
            Kind::Write { .. } => &[NO_ROOM, BAD, QUOTA, Short, Full],
            Kind::Make => &[NO_ROOM, BAD, QUOTA],
            // Delayed allocation tells of a full disk here, too.
            Kind::Sync => &[BAD, NO_ROOM, QUOTA],
            Kind::Change => &[BAD],
        }
    }

    /// What the system says in the end.
    fn errno(self) -> Option<Errno> {
        match self {
            Trouble::Error(errno) => Some(errno),
            Trouble::Full => Some(Errno::ENOSPC),
            Trouble::Short => None,
        }
    }

    /// What this means for the call of this number, when it began at call `at`.
    fn fault(self, at: usize, number: usize) -> Option<Fault> {
        match self {
            Trouble::Error(errno) if number == at => Some(Fault::Error(errno)),
            Trouble::Short | Trouble::Full if number == at => Some(Fault::Short),
            Trouble::Full if number == at + 1 => Some(Fault::Error(Errno::ENOSPC)),
            _ => None,
        }
    }
}

/// A case that is tried again and again, and what it takes on disk when nothing goes wrong.
struct Trial<'a> {
    case: &'a Case,
    stage: Stage,
    before_bytes: u64,
    after_bytes: u64,
    /// Whether we ask for ourselves what e2fsprogs does not look at, see [`asks_after`].
    asks: bool,
}

/// How much a home may grow by records of what went wrong.
const SLACK_BYTES: u64 = 64 << 10;
/// The journal of the smallest filesystem that a build makes, with what says where it is.
const JOURNAL_BYTES: u64 = 17 << 20;

/// Lets the calls of the case's command fail.
pub fn fail_at_calls(case: &Case) {
    let stage = Stage::of(case);
    let before_bytes = stage.allocated_bytes();
    let all = stage.undisturbed(case);
    let after_bytes = stage.allocated_bytes();
    let trial = Trial {
        case,
        stage,
        before_bytes,
        after_bytes,
        asks: asks_after(&all.calls),
    };
    let home = trial.stage.home.path();
    let below: Vec<&Call> = all
        .calls
        .iter()
        .filter(|call| call.is_below(&home))
        .collect();
    let mut points = Points::of(case.name, "error", below.len());
    let mut tried = 0;
    let mut failures = Vec::new();
    if all.calls.iter().any(is_sync_of_writer) && !trial.asks {
        failures.push(format!(
            "{}: nobody asks what became of its writes",
            case.name
        ));
    }
    for at in points.chosen() {
        let call = below[at - 1];
        let of_kind = Trouble::of(call.kind);
        let some = of_kind.choose(points.random()).expect("never empty");
        for trouble in if points.is_thorough() {
            of_kind
        } else {
            std::slice::from_ref(some)
        } {
            match trial.try_one(call.number, *trouble) {
                Ok(reached) => tried += usize::from(reached),
                Err(why) => failures.push(why),
            }
        }
    }
    for (call, trouble) in kept_in_every_sample(&points, &below) {
        match trial.try_one(call.number, trouble) {
            Ok(reached) => tried += usize::from(reached),
            Err(why) => failures.push(why),
        }
    }
    report(case.name, "failed", tried, below.len(), &failures);
}

/// What no sample leaves out: of each kind of file a sync that fails, and a write that is short.
fn kept_in_every_sample<'c>(points: &Points, below: &[&'c Call]) -> Vec<(&'c Call, Trouble)> {
    if !points.has_room() {
        return Vec::new();
    }
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for call in below.iter().filter(|call| !call.is_of_catalog()) {
        let trouble = match call.kind {
            Kind::Sync => Trouble::Error(Errno::EIO),
            Kind::Write { .. } => Trouble::Short,
            Kind::Make | Kind::Change => continue,
        };
        let of_kind = found.entry((call.name, kind_of_file(&call.path)));
        of_kind.or_default().push((*call, trouble));
    }
    // The last of several: what was made before it has to go. Of syncs the first, too, and of disks
    // every one: another part of the program may ask for it.
    let ends = found.into_values().flat_map(|mut all| {
        let last = all.pop();
        let is_kept = |(at, (call, _)): &(usize, (&Call, Trouble))| {
            call.kind == Kind::Sync && (*at == 0 || is_disk(&call.path))
        };
        let others: Vec<_> = all.into_iter().enumerate().filter(is_kept).collect();
        others.into_iter().map(|(_, kept)| kept).chain(last)
    });
    ends.collect()
}

fn is_disk(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with("disk")
}

/// The file's name and its directory's, without what is another's each time.
fn kind_of_file(path: &Path) -> String {
    let parts: Vec<_> = path.components().rev().take(2).collect();
    let words = parts
        .iter()
        .rev()
        .map(|part| part.as_os_str().to_string_lossy());
    let words: Vec<_> = words.map(|word| word.into_owned()).collect();
    let is_id = |part: &str| part.len() >= 4 && part.chars().all(|c| c.is_ascii_hexdigit());
    let text = words.join("/");
    let plain = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let plain = plain.map(
        |part| match is_id(part.trim_end_matches(['-', '.', '/', '_'])) {
            true => "#",
            false => part,
        },
    );
    plain.collect()
}

impl Trial<'_> {
    /// One point; whether it was reached at all.
    fn try_one(&self, at: usize, trouble: Trouble) -> Result<bool, String> {
        self.stage.reset();
        let home = self.stage.home.path();
        let mut child = command(self.case.name, &home);
        let fault = |number| trouble.fault(at, number);
        let traced = tracer::run(&mut child, &self.stage.said(), &fault, false);
        let Some(call) = traced.calls.first() else {
            // Threads may have shifted the numbering.
            return if traced.succeeded() {
                Ok(false)
            } else {
                Err(traced.said)
            };
        };
        let what = format!("{}: {trouble:?} at {call}", self.case.name);
        match traced.ended {
            WaitStatus::Exited(_, 0) => self.check_success(&traced, trouble, &what)?,
            WaitStatus::Exited(_, 1) => check_message(&traced, trouble.errno(), &what)?,
            other => return Err(format!("{what}: {other:?}: {}", traced.said)),
        }
        if traced.said.contains("error: make 1 of 3 guests: ") {
            // The others are made, and stay: that is what the error says.
            return caught(|| {
                drop(recovered(&home));
                assert_clean(&home, &what);
                self.check_room(true, call, &what);
            })
            .map(|()| true);
        }
        caught(|| {
            settle(self.case, &self.stage.home, &what, |is_done| {
                self.stage.check_absent(self.case, is_done, &what);
                self.check_room(is_done, call, &what);
            })
        })
        .map(|()| true)
    }

    /// The command said that it did its work: it is done, and nothing that it failed to make
    /// durable is part of it.
    fn check_success(&self, traced: &Traced, trouble: Trouble, what: &str) -> Result<(), String> {
        let home = self.stage.home.path();
        let engine = recovered(&home);
        if !(self.case.done)(&engine) {
            return Err(format!("{what}: it says it is done and is not"));
        }
        drop(engine);
        let call = &traced.calls[0];
        let Some(inode) = call.inode.filter(|_| call.kind == Kind::Sync) else {
            return Ok(());
        };
        let is_error = matches!(trouble, Trouble::Error(_));
        let is_excused = is_of_reader(call)
            || syncs_name_of_catalog(call, &home)
            || checkpoints(call)
            || (self.asks && is_sync_of_writer(call))
            || is_told(traced);
        if is_error && !is_excused && holds(&home, inode) {
            return Err(format!("{what}: a failed fsync was taken for success"));
        }
        Ok(())
    }

    /// What a failed command had made takes no room any more.
    fn check_room(&self, is_done: bool, call: &Call, what: &str) {
        let limit = match is_done {
            true if writes_zeros(call) => self.after_bytes + JOURNAL_BYTES,
            true => self.after_bytes,
            false => self.before_bytes,
        };
        let bytes = self.stage.allocated_bytes();
        assert!(
            bytes <= limit + SLACK_BYTES,
            "{what}: {bytes} bytes remain of what should be {limit}"
        );
    }
}

/// Whether the command told of the call's file and error, and went on with something else.
fn is_told(traced: &Traced) -> bool {
    let path = &*traced.calls[0].path;
    let mut told = traced.said.lines().filter_map(|l| l.strip_prefix(TOLD));
    told.any(|why| check_words(&format!("error: {why}"), why, &[path], &reasons(None)).is_ok())
}

/// Whether this is mke2fs asking for room: where it can't have it, it writes the zeros of the journal
/// itself, and the filesystem is the same.
fn writes_zeros(call: &Call) -> bool {
    call.program == "mke2fs" && call.name == "fallocate"
}

/// Programs that don't look at whether their fsync succeeded. The kernel tells every descriptor that
/// was open before (fsync(2)) of a write-back that failed, which a call that is made to fail can't show.
const WRITERS: [&str; 2] = ["mke2fs", "debugfs"];

fn is_sync_of_writer(call: &Call) -> bool {
    call.kind == Kind::Sync && WRITERS.contains(&&*call.program)
}

/// Whether we ourselves make what these programs wrote durable before anybody reads it.
fn asks_after(calls: &[Call]) -> bool {
    let Some(last) = calls.iter().rposition(is_sync_of_writer) else {
        return false;
    };
    let disk = &calls[last].path;
    let is_next = |call: &&Call| call.path == *disk && !WRITERS.contains(&&*call.program);
    let next = calls[last + 1..].iter().find(is_next);
    next.is_some_and(|call| call.kind == Kind::Sync && !is_of_reader(call))
}

/// Whether a program that only reads makes this call: `e2fsck -n` syncs what it never wrote.
fn is_of_reader(call: &Call) -> bool {
    call.program == "e2fsck"
}

/// Whether SQLite makes the names of its files durable, right after the bytes of one. It does not
/// look at the result (os_unix.c, `unixSync`: "Ignore failure"), so we can't either.
fn syncs_name_of_catalog(call: &Call, home: &Path) -> bool {
    call.follows_catalog && call.path == home
}

/// Whether SQLite moves its log into the catalog. The log is kept until that was made durable, by
/// whichever process.
fn checkpoints(call: &Call) -> bool {
    call.path
        .file_name()
        .is_some_and(|name| name == "catalog.db")
}

/// Whether a file of this inode is in the directory.
fn holds(dir: &Path, inode: u64) -> bool {
    let metadata = std::fs::symlink_metadata(dir).expect("it is there");
    if metadata.ino() == inode {
        return true;
    }
    metadata.is_dir()
        && std::fs::read_dir(dir)
            .expect("a directory")
            .any(|entry| holds(&entry.expect("an entry").path(), inode))
}
