//! One process of the race: carries out its program and writes down what it was told.

use super::answer::{Answer, Record};
use super::audit;
use super::state::State;
use super::step::{Back, Name, Step};
use crate::home::{clone_of, import, name, open_with, reference, seal, spec};
use rustix::time::{ClockId, clock_gettime};
use stampo_core::goal::CloneKind;
use stampo_core::plan::CloneSpec;
use stampo_driver::StoppedBy;
use stampo_engine::{Engine, EngineError, Faults, Removal, Resize, Settings, Unwatched};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The environment of a worker: the home, its number, its program, its log, and where the sources
/// lie.
pub const HOME: &str = "STAMPO_MODEL_HOME";
pub const NUMBER: &str = "STAMPO_MODEL_NUMBER";
pub const PROGRAM: &str = "STAMPO_MODEL_PROGRAM";
pub const LOG: &str = "STAMPO_MODEL_LOG";
pub const SOURCES: &str = "STAMPO_MODEL_SOURCES";

/// Where a step has looked and not yet claimed: the others get time to make it wrong.
const LOOKED: [&str; 2] = ["gc.judged", "remove.begun"];
const PAUSE: Duration = Duration::from_millis(20);

/// The clock that all processes share, in nanoseconds.
pub fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}

/// As a child: carries out its program.
pub fn run_child_if_asked() -> Option<ExitCode> {
    let home = PathBuf::from(std::env::var_os(HOME)?);
    let path = |key| std::env::var_os(key).map(PathBuf::from).expect("a path");
    let program = std::fs::read(path(PROGRAM)).expect("a program");
    let program: Vec<Step> = serde_json::from_slice(&program).expect("steps");
    let mut log = File::create(path(LOG)).expect("a log");
    let process = std::env::var(NUMBER).expect("a number");
    let process = process.parse().expect("a number");
    // Everybody begins at once: when the parent closes the pipe.
    let mut nothing = Vec::new();
    std::io::stdin().read_to_end(&mut nothing).expect("a start");
    for (number, step) in program.into_iter().enumerate() {
        // As every command does.
        let claimed = Arc::new(AtomicBool::new(false));
        let engine = open_as(&home, audit::actor(process, number), claimed.clone());
        let recovered = engine.recover();
        let record = match recovered {
            Ok(_) => carry_out(&engine, step, &claimed),
            Err(error) => strange(step, &format!("recovery: {}", error.chain())),
        };
        let mut line = serde_json::to_vec(&record).expect("a record serialises");
        line.push(b'\n');
        log.write_all(&line).expect("the log is written");
    }
    Some(ExitCode::SUCCESS)
}

/// The audit will tell what this step did.
fn open_as(home: &Path, actor: String, claimed: Arc<AtomicBool>) -> Engine {
    let faults = Faults::new(move |point| {
        claimed.fetch_or(point.ends_with(".claimed"), Ordering::Relaxed);
        if LOOKED.contains(&point) {
            std::thread::sleep(PAUSE);
        }
    });
    let settings = Settings {
        parallel: 1,
        actor,
        ..Settings::default()
    };
    open_with(home, faults, settings)
}

fn strange(step: Step, why: &str) -> Record {
    let now_ns = now_ns();
    Record {
        step,
        number: 0,
        asked_ns: now_ns,
        answered_ns: now_ns,
        claimed: false,
        answer: Answer::Strange(why.to_owned()),
    }
}

fn carry_out(engine: &Engine, step: Step, claimed: &AtomicBool) -> Record {
    claimed.store(false, Ordering::Relaxed);
    let number = match &step {
        Step::Clone {
            version: Some(back),
            ..
        }
        | Step::Seal(back)
        | Step::Change { version: back, .. } => number(engine, *back),
        _ => 0,
    };
    let asked_ns = now_ns();
    let answer = perform(engine, &step, number).unwrap_or_else(|error| Answer::failed(&error));
    Record {
        step,
        number,
        asked_ns,
        answered_ns: now_ns(),
        claimed: claimed.load(Ordering::Relaxed),
        answer,
    }
}

/// The number of a version that is told by its distance from the newest.
fn number(engine: &Engine, back: Back) -> u32 {
    let versions = engine.store().read(|tx| tx.versions()).expect("rows");
    let newest = versions.iter().map(|row| row.number).max();
    newest.unwrap_or(1).saturating_sub(back.0).max(1)
}

fn perform(engine: &Engine, step: &Step, number: u32) -> Result<Answer, EngineError> {
    let guest = |guest: &Name| name(&guest.to_string());
    let version = format!("web@{number}");
    match step {
        Step::Clone {
            guest,
            full,
            version: of,
        } => {
            let of = of.map_or("web", |_| &version);
            clone(engine, of, &guest.to_string(), 1, *full)
        }
        Step::CloneSome { count, full } => clone(engine, "web", "g-{n}", *count, *full),
        Step::Remove(name) => engine.remove(&guest(name), None).map(|()| Answer::Done),
        Step::RemoveStopped(names) => {
            let stopped = Removal::default();
            let names = names.map(|name| guest(&name));
            engine.remove_all(&names, stopped).map(|()| Answer::Done)
        }
        Step::Trash { guest: name, due } => {
            let keep = Duration::from_secs(if *due { 0 } else { 3600 });
            engine
                .remove(&guest(name), Some(keep))
                .map(|()| Answer::Done)
        }
        Step::BringBack(name) => engine.restore_guest(&guest(name)).map(|_| Answer::Done),
        Step::Rename { guest: name, to } => engine
            .rename(&guest(name), &guest(to))
            .map(|_| Answer::Done),
        Step::Flatten(name) => {
            let flatten = engine.submit_flatten(&guest(name))?;
            engine
                .run_flatten(flatten, &Unwatched)
                .map(|_| Answer::Done)
        }
        Step::Start(name) => engine.start(&guest(name)).map(|_| Answer::Done),
        Step::Stop(name) => {
            let by = engine.stop(&guest(name), true)?;
            let ran = by != StoppedBy::Already;
            Ok(Answer::Stopped { ran })
        }
        Step::Resize { guest: name, cpus } => {
            let to = Resize {
                cpus: Some(*cpus),
                ..Resize::default()
            };
            engine.resize(&guest(name), to).map(|_| Answer::Done)
        }
        Step::WriteFile(name) => engine
            .write_file(&guest(name), "/root/file", b"text")
            .map(|()| Answer::Done),
        Step::Gc { now } => engine.gc(*now).map(|subjects| Answer::collected(&subjects)),
        Step::Import { source } => {
            import(engine, "web", &source_path(*source)).map(|row| Answer::version(&row))
        }
        Step::Seal(_) => seal(engine, &version).map(|row| Answer::version(&row)),
        Step::Change { verb, .. } => engine
            .change_version(&reference(&version), *verb)
            .map(|row| Answer::version(&row)),
        Step::List => Ok(match State::read(engine) {
            Ok(state) => Answer::Listed(state),
            Err(why) => Answer::Strange(why),
        }),
    }
}

fn clone(
    engine: &Engine,
    of: &str,
    pattern: &str,
    count: u32,
    full: bool,
) -> Result<Answer, EngineError> {
    let kind = if full {
        CloneKind::Full
    } else {
        CloneKind::Linked
    };
    let spec = CloneSpec {
        count: Some(count),
        kind: Some(kind),
        ..spec()
    };
    let rows = clone_of(engine, of, pattern, &spec, &Unwatched)?;
    let id = rows.first().map(|row| row.version);
    let version = match id {
        Some(id) => engine.store().read(|tx| tx.version(id))?,
        None => None,
    };
    Ok(Answer::cloned(version.map_or(0, |row| row.number), &rows))
}

/// Where a source lies.
pub fn source_path(source: u8) -> PathBuf {
    let dir = std::env::var_os(SOURCES).expect("sources");
    Path::new(&dir).join(format!("source-{source}.raw"))
}
