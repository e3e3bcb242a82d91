//! Killing a command after each of its steps, and asking what is left.

use crate::cases::{Case, by_name};
use crate::clean::assert_clean;
use crate::home::{Home, LOST, SOURCE, open, recovered, source};
use rustix::process::{Signal, getpid, kill_process};
use stampo_engine::Faults;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const CASE: &str = "STAMPO_TEST_CASE";
const HOME: &str = "STAMPO_TEST_HOME";
const KILL_AT: &str = "STAMPO_TEST_KILL_AT";
/// Instead of a case's name: only recover.
const RECOVER: &str = "recover";

/// As a child: carries out a case's command and kills itself at the point that it was told.
pub fn run_child_if_asked() -> Option<ExitCode> {
    let case = std::env::var(CASE).ok()?;
    let home = std::env::var_os(HOME).expect("a home is given");
    let at = std::env::var(KILL_AT).expect("a point is given");
    let reached = AtomicUsize::new(0);
    let engine = open(
        Path::new(&home),
        Faults::new(move |point| {
            let number = reached.fetch_add(1, Ordering::SeqCst);
            if point == at || number.to_string() == at {
                kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
            }
        }),
    );
    let result = if case == RECOVER {
        engine.recover().map(drop)
    } else {
        (by_name(&case).act)(&engine)
    };
    match result {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("{}", error.chain());
            Some(ExitCode::FAILURE)
        }
    }
}

/// Runs a case's command, which kills itself at this point: a name, or a number from 0.
pub fn run_child(case: &str, home: &Path, at: &str) -> ExitStatus {
    let mut child = child(case, home, at);
    child.status().expect("this program starts")
}

/// This program, as a child that has not started yet.
pub fn child(case: &str, home: &Path, at: &str) -> Command {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child
        .env(CASE, case)
        .env(HOME, home)
        .env(KILL_AT, at)
        .env(SOURCE, source());
    child
}

/// The names of the points that a case passes, from a run that nothing interrupts.
fn points(case: &Case) -> Vec<String> {
    let home = (case.prepare)();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = seen.clone();
    let faults = Faults::new(move |point| {
        record.lock().expect("nobody panics").push(point.to_owned());
    });
    let engine = open(&home.path(), faults);
    (case.act)(&engine).expect("the uninterrupted command succeeds");
    assert!((case.done)(&engine), "{}: done, yet not visible", case.name);
    drop(engine);
    assert_clean(&home.path(), case.name);
    std::mem::take(&mut *seen.lock().expect("nobody panics"))
}

/// Kills the case's command at every point; then kills its recovery, too; then repeats the command.
pub fn kill_everywhere(case: &Case) {
    let points = points(case);
    assert!(points.len() > 1, "{} passes no points", case.name);
    eprintln!("{}: {} points", case.name, points.len());
    for (at, point) in points.iter().enumerate() {
        let what = format!("{} killed at {at} ({point})", case.name);
        let home = (case.prepare)();
        let ended = run_child(case.name, &home.path(), &at.to_string());
        assert_eq!(ended.signal(), Some(9), "{what}: {ended}");
        // The recovery dies, too, at a point that differs from round to round.
        let ended = run_child(RECOVER, &home.path(), &(at % 4).to_string());
        assert!(
            ended.success() || ended.signal() == Some(9),
            "{what}: its recovery: {ended}"
        );
        settle(case, &home, &what, |_| {});
    }
}

/// After the next command nothing is lost and nothing is half; and the command can be repeated.
/// `check` looks at the home before that, and is told whether the command's effect is there.
pub fn settle(case: &Case, home: &Home, what: &str, check: impl FnOnce(bool)) {
    let engine = recovered(&home.path());
    let is_done = (case.done)(&engine);
    drop(engine);
    check(is_done);
    // Until the catalog is rebuilt, everything in the home is unknown.
    if is_done || !home.path().with_file_name(LOST).exists() {
        assert_clean(&home.path(), what);
    }
    if is_done {
        return;
    }
    let engine = home.engine();
    if let Err(error) = (case.act)(&engine) {
        panic!("{what}: the repeated command failed: {}", error.chain());
    }
    assert!((case.done)(&engine), "{what}: repeated, yet not done");
    drop(engine);
    assert_clean(&home.path(), &format!("{what}, repeated"));
}
