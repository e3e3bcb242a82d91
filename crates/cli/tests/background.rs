//! What tends pools and leases in the background: whoever waits for the command that started it
//! does not wait for it.

use stampo_core::plan::CloneSpec;
use stampo_core::pool::{Depth, Pool};
use stampo_store::{PoolRow, Store};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);

fn stampo(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stampo"));
    command.env("STAMPO_HOME", home).arg("--quiet");
    command
}

/// A home with a pool, of a template that is not there yet.
fn with_a_pool(home: &Path) {
    let made = stampo(home).args(["ps", "--output", "name"]).status();
    assert!(made.expect("stampo starts").success());
    let store = Store::open(&home.join("catalog.db")).expect("a catalog");
    let row = PoolRow {
        pool: Pool {
            name: "ci".parse().expect("a name"),
            from: "web".parse().expect("a reference"),
            warm: 1,
            depth: Depth::Warm,
            spec: CloneSpec::default(),
            generation: 1,
        },
        next_member: 1,
        error: None,
        created_ms: 0,
        changed_ms: 0,
    };
    let inserted = store.write(|tx| tx.insert_pool(&row));
    inserted.expect("inserted");
}

/// Whether a process holds the tender's lock (proc_locks(5)). Not asked by taking it: whoever was
/// about to would go.
fn is_tended(home: &Path) -> bool {
    let Ok(lock) = std::fs::metadata(home.join("tend.lock")) else {
        return false;
    };
    let inode = format!(":{} ", lock.ino());
    let locks = std::fs::read_to_string("/proc/locks").expect("readable");
    locks
        .lines()
        .any(|line| line.contains("FLOCK") && line.contains(&inode))
}

fn await_that(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// As in `stampo pool create … | cat`, and where a script has opened a pipe of another number.
#[test]
fn a_pipe_ends_with_the_command_and_not_with_what_tends() {
    for redirected in ["", "8>&1 9>&2 >/dev/null"] {
        let dir = tempfile::tempdir().expect("a directory");
        let home = dir.path().join("home");
        with_a_pool(&home);
        let program = env!("CARGO_BIN_EXE_stampo");
        let mut shell = Command::new("sh")
            .args(["-c", &format!("{program} --quiet ps {redirected}")])
            .env("STAMPO_HOME", &home)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        let mut output = shell.stdout.take().expect("a pipe");
        let (ended, wait) = channel();
        std::thread::spawn(move || {
            let read = output.read_to_end(&mut Vec::new());
            ended.send(read.is_ok())
        });
        assert!(shell.wait().expect("it ends").success());
        await_that("it is tended", || is_tended(&home));
        let read = wait.recv_timeout(LIMIT);
        let removed = stampo(&home).args(["pool", "rm", "ci"]).status();
        assert!(removed.expect("stampo starts").success());
        await_that("nothing is tended", || !is_tended(&home));
        assert_eq!(read, Ok(true), "{redirected:?}: the pipe is open still");
    }
}

/// The processes that name this home (proc_pid_cmdline(5)).
fn processes(home: &Path) -> Vec<String> {
    let named = home.display().to_string();
    let all = std::fs::read_dir("/proc").expect("listed").flatten();
    // One that has ended meanwhile has none.
    let lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&named)).collect()
}

/// It sleeps most of the time, and a home may go at any moment.
#[test]
fn what_tends_does_not_outlive_its_home() {
    let dir = tempfile::tempdir().expect("a directory");
    let home = dir.path().join("home");
    with_a_pool(&home);
    let listed = stampo(&home).arg("ps").status();
    assert!(listed.expect("stampo starts").success());
    await_that("it is tended", || is_tended(&home));
    // It has looked, and waits for its next look.
    std::thread::sleep(Duration::from_secs(1));
    let running = processes(&home);
    assert!(
        running.iter().any(|line| line.contains("tend --stay")),
        "{running:?}"
    );
    std::fs::remove_dir_all(&home).expect("removed");
    let gone = Instant::now();
    await_that("it ends", || processes(&home).is_empty());
    assert!(
        gone.elapsed() < Duration::from_secs(5),
        "{:?}",
        gone.elapsed()
    );
    assert!(!home.exists(), "it came back");
}
