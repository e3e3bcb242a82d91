//! A real disk that is too small: a tmpfs whose size is swept from "nothing fits" to "all fits".
//!
//! Injected errors come once; a full disk stays full, and the command has to take back what it
//! made on it. Mounting needs a namespace of its own, which `unshare` (util-linux) gives to
//! ordinary users, too: this program starts itself in one.

use super::child::command;
use super::messages::{check_words, reasons};
use super::points::{caught, report};
use super::stage::Stage;
use super::tracer;
use crate::cases::{Case, by_name};
use crate::crash::settle;
use crate::seed::is_long;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::wait::WaitStatus;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const CASE: &str = "STAMPO_SMALL_DISK_CASE";
const DISK: &str = "STAMPO_SMALL_DISK";
/// Enough for the home, its copies, and what the checks make.
const LARGE_BYTES: u64 = 512 << 20;
/// The commands that write much.
pub const CASES: [&str; 4] = ["import", "seal", "clone_full", "flatten"];

/// Runs the sweep of one case in a namespace of its own.
pub fn sweep(case: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = dir.path().join("disk");
    std::fs::create_dir(&disk).expect("a mount point");
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    let output = unshare
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().expect("this program"))
        .env(CASE, case)
        .env(DISK, &disk)
        .env("TMPDIR", &disk)
        .output()
        .expect("unshare can't be started: apt install util-linux");
    let said = String::from_utf8_lossy(&output.stderr);
    eprint!("{said}");
    assert!(
        output.status.success(),
        "{case} on a small disk: {} (a user namespace with mounts has to be allowed): {said}",
        output.status
    );
}

/// As the child in the namespace: mounts the disk and tries the case on it.
pub fn run_if_asked() -> Option<ExitCode> {
    let case = std::env::var(CASE).ok()?;
    let disk = PathBuf::from(std::env::var_os(DISK).expect("a disk is given"));
    mount_tmpfs(&disk, LARGE_BYTES, MsFlags::empty());
    let case = by_name(&case);
    let is_freeing = FREEING.contains(&case.name);
    match caught(|| match is_freeing {
        true => try_full(&case, &disk),
        false => try_sizes(&case, &disk),
    }) {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(why) => {
            eprintln!("{why}");
            Some(ExitCode::FAILURE)
        }
    }
}

/// The commands that make room.
pub const FREEING: [&str; 2] = ["remove", "gc"];

/// On a disk without a free byte, what makes room works.
fn try_full(case: &Case, disk: &Path) {
    crate::home::source();
    let stage = Stage::of(case);
    for free_bytes in [0, 4 << 10, 20 << 10, 32 << 10, 64 << 10, 96 << 10] {
        let what = format!("{} with {free_bytes} bytes free", case.name);
        stage.reset();
        // Opened while there is room, as any home was: the copy's reserve is a hole.
        drop(stage.home.engine());
        leave_free(disk, free_bytes);
        let traced = tracer::run(
            &mut command(case.name, &stage.home.path()),
            &disk.with_file_name("said"),
            &|_| None,
            false,
        );
        mount_tmpfs(disk, LARGE_BYTES, MsFlags::MS_REMOUNT);
        assert!(traced.succeeded(), "{what}: {}", traced.said);
        settle(case, &stage.home, &what, |_| {});
    }
}

fn mount_tmpfs(disk: &Path, size_bytes: u64, flags: MsFlags) {
    let size = format!("size={size_bytes}");
    mount(
        Some("tmpfs"),
        disk,
        Some("tmpfs"),
        flags,
        Some(size.as_str()),
    )
    .expect("a tmpfs may be mounted in a namespace of its own");
}

/// Sets the size of the mounted disk so that this much is free.
fn leave_free(disk: &Path, free_bytes: u64) {
    let found = rustix::fs::statvfs(disk).expect("a mounted disk");
    let used_bytes = (found.f_blocks - found.f_bfree) * found.f_frsize;
    mount_tmpfs(disk, used_bytes + free_bytes, MsFlags::MS_REMOUNT);
}

fn try_sizes(case: &Case, disk: &Path) {
    // Made while there is room.
    crate::home::source();
    let stage = Stage::of(case);
    let before_bytes = stage.allocated_bytes();
    let mut enough = 64 << 10;
    while !try_one(case, &stage, disk, enough, before_bytes).expect("it fits or says so") {
        enough *= 2;
        assert!(enough < LARGE_BYTES / 2, "{} never fits", case.name);
    }
    let steps = if is_long() { 64 } else { 10 };
    let mut failures = Vec::new();
    let mut refused = 0;
    for step in 0..steps {
        // A tmpfs counts in pages.
        let free_bytes = (enough * step / steps) & !4095;
        match try_one(case, &stage, disk, free_bytes, before_bytes) {
            Ok(fits) => refused += usize::from(!fits),
            Err(why) => failures.push(why),
        }
    }
    report(
        case.name,
        "ran on a small disk",
        steps as usize,
        steps as usize,
        &failures,
    );
    assert!(refused > 0, "{} fits on no disk at all", case.name);
}

/// Whether the command succeeds with so many free bytes. When not, it says so in words, and
/// succeeds once there is room.
fn try_one(
    case: &Case,
    stage: &Stage,
    disk: &Path,
    free_bytes: u64,
    before_bytes: u64,
) -> Result<bool, String> {
    stage.reset();
    let what = format!("{} with {free_bytes} bytes free", case.name);
    leave_free(disk, free_bytes);
    let traced = tracer::run(
        &mut command(case.name, &stage.home.path()),
        &disk.with_file_name("said"),
        &|_| None,
        false,
    );
    mount_tmpfs(disk, LARGE_BYTES, MsFlags::MS_REMOUNT);
    match traced.ended {
        WaitStatus::Exited(_, 0) => {}
        WaitStatus::Exited(_, 1) => {
            let mut words = reasons(Some(Errno::ENOSPC));
            words.extend(["disk I/O error", "unable to open database file"]);
            check_words(&traced.said, &what, &[&stage.home.path()], &words)?;
        }
        other => return Err(format!("{what}: {other:?}: {}", traced.said)),
    }
    let check_room = |is_done| {
        let bytes = stage.allocated_bytes();
        assert!(
            is_done || bytes <= before_bytes,
            "{what}: {bytes} bytes remain of {before_bytes}"
        );
    };
    caught(|| settle(case, &stage.home, &what, check_room))?;
    Ok(traced.succeeded())
}
