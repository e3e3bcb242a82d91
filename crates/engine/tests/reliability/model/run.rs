//! One run of programs: the processes, their logs, the verdict.

use super::answer::{Answer, Record};
use super::audit::{self, Audit};
use super::report;
use super::search::{Operation, Stuck, Verdict, search};
use super::shrink::Programs;
use super::state::State;
use super::step::{SOURCES, Step};
use super::worker::{self, now_ns};
use crate::clean::assert_clean;
use crate::home::{Home, make_filesystem};
use stampo_engine::Engine;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Most states that an explanation is searched in, for each step.
const STATES: usize = 3_000;
/// How long a process may take for a step, on a machine that does much else.
const STEP: Duration = Duration::from_secs(20);

/// What is wrong with a run.
pub struct Failure {
    /// For a person.
    pub why: String,
    /// How many steps of each process had begun by then, if that is known.
    pub begun: Option<Vec<usize>>,
}

impl From<String> for Failure {
    fn from(why: String) -> Failure {
        Failure { why, begun: None }
    }
}

/// Runs the programs on a fresh home; what is wrong with the answers or with what is left.
pub fn run(programs: &Programs) -> Result<(), Failure> {
    let home = Home::published();
    let engine = home.engine();
    let initial = State::read(&engine)?;
    drop(engine);
    let logs = tempfile::tempdir().expect("a temporary directory");
    let ended = run_processes(programs, &home.path(), logs.path());
    let mut history: Vec<Vec<Record>> = (0..programs.len())
        .map(|process| read_log(&log(logs.path(), process)))
        .collect();
    if let Some((process, how)) = ended.iter().enumerate().find(|(_, how)| !how.success()) {
        return Err(format!("process {process} ended with {how}").into());
    }
    let engine = home.engine();
    let audit = audit::read(&engine)?;
    history.push(vec![last_listing(&engine)?]);
    drop(engine);
    let explained = explain(initial, &history, audit);
    let clean = catch_unwind(AssertUnwindSafe(|| {
        assert_clean(&home.path(), "at the end")
    }));
    explained?;
    clean.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let why = text.unwrap_or_else(|| "the home is not clean".to_owned());
        Failure { why, begun: None }
    })
}

/// The model's verdict on a history.
fn explain(initial: State, history: &[Vec<Record>], mut audit: Audit) -> Result<(), Failure> {
    let mut processes = Vec::with_capacity(history.len());
    for (process, records) in history.iter().enumerate() {
        let mut operations = Vec::with_capacity(records.len());
        for (step, record) in records.iter().enumerate() {
            let actor = audit::actor(process, step);
            operations.push(Operation {
                asked: record.asked_ns,
                answered: record.answered_ns,
                script: audit.give_turns(&actor, record)?,
            });
        }
        processes.push(operations);
    }
    let steps: usize = history.iter().map(Vec::len).sum();
    let start = Instant::now();
    let verdict = search(initial, &processes, STATES.saturating_mul(steps));
    eprintln!(
        "{}; explained in {} ms",
        report::summary(history),
        start.elapsed().as_millis()
    );
    let (what, stuck) = match verdict {
        Verdict::Explained(_) => return Ok(()),
        Verdict::Unexplained(stuck) => ("no order explains", stuck),
        Verdict::Undecided(stuck) => ("undecided is", stuck),
    };
    Err(Failure {
        why: report::stuck(what, &stuck, history),
        begun: begun(&stuck, history),
    })
}

/// How many steps of each process began before the answer that the search could not get beyond.
fn begun(stuck: &Stuck<State>, history: &[Vec<Record>]) -> Option<Vec<usize>> {
    let pending = stuck.at.iter().zip(history);
    let pending = pending.filter_map(|((done, _), records)| records.get(*done));
    let until = pending.map(|record| record.answered_ns).min()?;
    let begun = |records: &Vec<Record>| records.iter().filter(|r| r.asked_ns <= until).count();
    Some(history.iter().map(begun).collect())
}

/// What the catalog holds and which guests run when nobody works on it: the last answer that needs an explanation.
fn last_listing(engine: &Engine) -> Result<Record, String> {
    let asked_ns = now_ns();
    let state = State::read_with_powers(engine)?;
    Ok(Record {
        step: Step::List,
        number: 0,
        asked_ns,
        answered_ns: now_ns(),
        claimed: false,
        answer: Answer::Ended(state),
    })
}

fn run_processes(programs: &Programs, home: &Path, logs: &Path) -> Vec<ExitStatus> {
    let children = programs.iter().enumerate().map(|(process, program)| {
        let path = logs.join(format!("program-{process}.json"));
        let text = serde_json::to_vec(program).expect("steps serialise");
        std::fs::write(&path, text).expect("a program is written");
        start(home, process, &path, &log(logs, process))
    });
    let mut children: Vec<Child> = children.collect();
    for child in &mut children {
        // They wait for this pipe to close.
        drop(child.stdin.take());
    }
    let steps = programs.iter().map(Vec::len).max().unwrap_or_default();
    let steps = u32::try_from(steps).unwrap_or(u32::MAX);
    let until = Instant::now() + STEP.saturating_mul(steps.saturating_add(1));
    children
        .into_iter()
        .map(|child| wait(child, until))
        .collect()
}

fn start(home: &Path, process: usize, program: &Path, log: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .env(worker::HOME, home)
        .env(worker::NUMBER, process.to_string())
        .env(worker::PROGRAM, program)
        .env(worker::LOG, log)
        .env(worker::SOURCES, sources())
        .stdin(Stdio::piped())
        .spawn()
        .expect("this program starts")
}

/// Waits for a process; one that hangs is killed, which shows in how it ended.
fn wait(mut child: Child, until: Instant) -> ExitStatus {
    loop {
        if let Some(ended) = child.try_wait().expect("a child") {
            return ended;
        }
        if Instant::now() > until {
            child.kill().expect("a child can be killed");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn log(dir: &Path, process: usize) -> PathBuf {
    dir.join(format!("log-{process}.json"))
}

fn read_log(path: &Path) -> Vec<Record> {
    let Ok(file) = File::open(path) else {
        return Vec::new();
    };
    serde_json::Deserializer::from_reader(std::io::BufReader::new(file))
        .into_iter()
        .map_while(Result::ok)
        .collect()
}

/// What is imported: file systems that differ, so that their images do.
fn sources() -> &'static Path {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let make = || {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for source in 0..SOURCES {
            let path = dir.path().join(format!("source-{source}.raw"));
            make_filesystem(&path, &[("etc/source", &source.to_string())]);
        }
        dir
    };
    MADE.get_or_init(make).path()
}
