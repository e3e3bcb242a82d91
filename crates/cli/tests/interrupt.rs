//! What the program says when it is interrupted, and when it was.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn stampo(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stampo"));
    command
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("STAMPO_HOME", home.join("home"))
        .current_dir(home);
    command
}

fn run(home: &Path, args: &[&str]) -> Output {
    let output = stampo(home, args).output().expect("the program starts");
    assert!(output.status.success(), "{args:?}: {output:?}");
    output
}

/// A home with an image that a slow scrub reads for several seconds.
fn home() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let source = dir.path().join("source.raw");
    std::fs::write(&source, vec![7; 8 << 20]).expect("written");
    let import = ["template", "import", "web", "source.raw", "--format", "raw"];
    run(dir.path(), &import);
    dir
}

/// Starts a slow scrub and waits until it reads the image.
fn scrub(home: &Path) -> (Child, BufReader<std::process::ChildStderr>, String) {
    let mut child = stampo(home, &["store", "scrub", "--limit", "1M"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut said = String::new();
    while !said.contains("sidecars") {
        let read = stderr.read_line(&mut said).expect("text");
        assert!(read > 0, "it ended: {said}");
    }
    (child, stderr, said)
}

/// Sends a signal to a running scrub; its exit code, if it has one, and what it said.
fn scrub_hit_by(home: &Path, signal: Signal) -> (Option<i32>, String) {
    let (mut child, mut stderr, mut said) = scrub(home);
    let pid = Pid::from_raw(child.id().cast_signed());
    kill(pid, signal).expect("it runs");
    stderr.read_to_string(&mut said).expect("text");
    (child.wait().expect("it ends").code(), said)
}

/// What the user must not be told: a scrub makes nothing that could be taken back.
fn assert_true_of_a_scrub(said: &str) {
    for wrong in ["undo", "is gone"] {
        assert!(!said.contains(wrong), "{wrong:?} is not true: {said}");
    }
    let right = "put into quarantine";
    assert!(said.contains(right) && said.contains("stays so"), "{said}");
}

#[test]
fn an_interrupted_scrub_says_that_what_it_did_stays() {
    let home = home();
    let (code, said) = scrub_hit_by(home.path(), Signal::SIGINT);
    assert_eq!(code, Some(130), "{said}");
    assert_true_of_a_scrub(&said);
}

#[test]
fn a_killed_scrub_is_told_of_by_the_next_command() {
    let home = home();
    scrub_hit_by(home.path(), Signal::SIGKILL);
    let next = run(home.path(), &["ps"]);
    assert_true_of_a_scrub(&String::from_utf8_lossy(&next.stderr));
}
