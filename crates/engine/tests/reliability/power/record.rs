//! Recording a command: it runs as a child under strace. And the recovery from its kill.

use super::disk::Disk;
use super::log::Log;
use super::{more, outcome};
use crate::cases::Case;
use crate::home::{Home, SOURCE, open, source};
use stampo_engine::Faults;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

/// What the child writes to standard error when its command has returned.
pub const MARK: &[u8] = b"acknowledged";

const CASE: &str = "STAMPO_TEST_RECORDED_CASE";
const HOME: &str = "STAMPO_TEST_RECORDED_HOME";
/// Instead of a case's name: only recover.
const RECOVER: &str = "recover";

/// Every call that changes a file, a name or what is durable, and what is needed to follow them.
const CALLS: &str = "open,openat,openat2,creat,write,pwrite64,writev,pwritev,pwritev2,lseek,dup,dup2,\
    dup3,fcntl,ftruncate,truncate,fallocate,copy_file_range,sendfile,splice,ioctl,mkdir,mkdirat,\
    rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,chmod,fchmod,\
    fchmodat,fsync,fdatasync,sync,syncfs,mmap,io_uring_setup,clone,clone3,fork,vfork";

/// Longer than any single write.
const LONGEST_BYTES: &str = "134217728";

/// As a child: carries out a case's command and says so.
pub fn run_child_if_asked() -> Option<ExitCode> {
    let case = std::env::var(CASE).ok()?;
    let home = std::env::var_os(HOME).expect("a home is given");
    let engine = open(Path::new(&home), Faults::default());
    let result = match case.as_str() {
        RECOVER => engine.recover().map(drop),
        case => (more::by_name(case).act)(&engine),
    };
    if let Err(error) = result {
        eprintln!("{}", error.chain());
        return Some(ExitCode::FAILURE);
    }
    if case != RECOVER {
        eprintln!("{}", String::from_utf8_lossy(MARK));
    }
    Some(ExitCode::SUCCESS)
}

/// Runs the case's command on a prepared home and returns what it did to the medium.
///
/// Whatever prepared the home is taken to be durable.
pub fn record(case: &Case, home: &Home) -> Log {
    let before = Disk::load(home.ground());
    let (text, ended, said) = trace(case.name, home);
    assert!(ended.success(), "{} under strace: {said}", case.name);
    Log::of(before, home.ground(), &text)
}

/// What the medium sees when the recorded command is killed before entry `at` and another process
/// recovers from that.
///
/// A kill loses nothing of the page cache. So the home is made as the dead process saw it last, and
/// what recovery does to it follows in the log: it may rely on what was never synced.
pub fn record_recovery(log: &Log, home: &Home, at: usize) -> Log {
    let mut seen = log.before.clone();
    for entry in &log.entries[..at] {
        entry.op.apply(&mut seen);
    }
    outcome::put(&seen, home);
    let (text, ended, said) = trace(RECOVER, home);
    assert!(ended.success(), "recovery under strace: {said}");
    let recovery = Log::of(seen, home.ground(), &text);
    let mut before = log.before.clone();
    // What recovery makes has no name before.
    let made = &recovery.before.nodes[before.nodes.len()..];
    before.nodes.extend_from_slice(made);
    let later = recovery.entries.into_iter().map(|entry| entry.later(at));
    let entries = log.entries[..at].iter().cloned().chain(later).collect();
    Log { before, entries }
}

/// What strace says of this program doing `act`, how that ended, and its standard error.
fn trace(act: &str, home: &Home) -> (String, ExitStatus, String) {
    let out = tempfile::NamedTempFile::new().expect("a temporary file");
    let ran = Command::new("strace")
        .args(["-f", "--seccomp-bpf", "-y", "-xx", "-e", "signal=none"])
        .args(["-s", LONGEST_BYTES, "-e", &format!("trace={CALLS}")])
        .arg("-o")
        .arg(out.path())
        .arg(std::env::current_exe().expect("this program"))
        .env(CASE, act)
        .env(HOME, home.path())
        .env(SOURCE, source())
        .output()
        .expect("strace can't be started: apt install strace");
    let text = std::fs::read_to_string(out.path()).expect("strace's output");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    (text, ran.status, said)
}
