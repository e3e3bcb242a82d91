//! Recording a case's command: it runs as a child under strace.

use super::disk::Disk;
use super::log::Log;
use crate::cases::{Case, by_name};
use crate::home::{Home, open};
use stampo_engine::Faults;
use std::path::Path;
use std::process::{Command, ExitCode};

/// What the child writes to standard error when its command has returned.
pub const MARK: &[u8] = b"acknowledged";

const CASE: &str = "STAMPO_TEST_RECORDED_CASE";
const HOME: &str = "STAMPO_TEST_RECORDED_HOME";

/// Every call that changes a file, a name or what is durable, and what is needed to follow them.
const CALLS: &str = "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,lseek,dup,dup2,dup3,\
    fcntl,ftruncate,truncate,fallocate,copy_file_range,sendfile,splice,ioctl,mkdir,mkdirat,rename,\
    renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,chmod,fchmod,fchmodat,\
    fsync,fdatasync,sync,syncfs,mmap,io_uring_setup,clone,clone3,fork,vfork,openat2";

/// Longer than any single write.
const LONGEST_BYTES: &str = "134217728";

/// As a child: carries out a case's command and says so.
pub fn run_child_if_asked() -> Option<ExitCode> {
    let case = std::env::var(CASE).ok()?;
    let home = std::env::var_os(HOME).expect("a home is given");
    let engine = open(Path::new(&home), Faults::default());
    if let Err(error) = (by_name(&case).act)(&engine) {
        eprintln!("{}", error.chain());
        return Some(ExitCode::FAILURE);
    }
    let mark = String::from_utf8_lossy(MARK);
    eprintln!("{mark}");
    Some(ExitCode::SUCCESS)
}

/// Runs the case's command on a prepared home and returns what it did to the medium.
///
/// Whatever prepared the home is taken to be durable.
pub fn record(case: &Case, home: &Home) -> Log {
    let ground = home.path();
    let ground = ground.parent().expect("a directory of its own");
    let before = Disk::load(ground);
    let out = tempfile::NamedTempFile::new().expect("a temporary file");
    let ran = Command::new("strace")
        .args(["-f", "--seccomp-bpf", "-y", "-xx", "-e", "signal=none"])
        .args(["-s", LONGEST_BYTES, "-e", &format!("trace={CALLS}"), "-o"])
        .arg(out.path())
        .arg(std::env::current_exe().expect("this program"))
        .env(CASE, case.name)
        .env(HOME, home.path())
        .output()
        .expect("strace can't be started: apt install strace");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{} under strace: {said}", case.name);
    let text = std::fs::read_to_string(out.path()).expect("strace's output");
    Log::of(before, ground, &text)
}
