//! What a test can steer in the simulation: crash points, and a guest's manners.
//!
//! Orders are files, so that a test can give one and then start the process that will obey it.
//! An order is removed before it fires: the repeated step succeeds.

use crate::DriverError;
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A step of the simulated driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// `ensure_defined`.
    Define,
    /// `ensure_running`.
    Start,
    /// `ensure_stopped`.
    Stop,
    /// `ensure_undefined`.
    Undefine,
    /// `observe`.
    Observe,
    /// Any call to the guest agent.
    Agent,
    /// `ensure_frozen`.
    Freeze,
    /// `set_links`.
    Links,
    /// `ensure_prepared`.
    Prepare,
    /// `ensure_paused`.
    Pause,
}

impl Step {
    /// Every step, for tests that walk them all.
    pub const ALL: [Step; 10] = [
        Step::Define,
        Step::Start,
        Step::Stop,
        Step::Undefine,
        Step::Observe,
        Step::Agent,
        Step::Freeze,
        Step::Links,
        Step::Prepare,
        Step::Pause,
    ];
}

/// On which side of the effect the failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Nothing was done.
    Before,
    /// All was done, and the caller does not hear of it.
    After,
}

/// How a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The call returns an error: the caller lives and does not know the outcome.
    Error,
    /// The process kills itself (SIGKILL).
    Die,
}

/// How a simulated guest behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manners {
    /// Its agent answers, and shuts it down when asked.
    pub agent: bool,
    /// It obeys the power button.
    pub acpi: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Manners {
            agent: true,
            acpi: true,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Order {
    failure: Failure,
}

fn order_path(dir: &Path, step: Step, when: When) -> PathBuf {
    dir.join(format!(".fail-{step:?}-{when:?}").to_ascii_lowercase())
}

/// Leaves an order.
pub(super) fn order(
    dir: &Path,
    step: Step,
    when: When,
    failure: Failure,
) -> Result<(), DriverError> {
    let path = order_path(dir, step, when);
    let text = serde_json::to_vec(&Order { failure })
        .map_err(|e| DriverError::io("encode", &path)(e.into()))?;
    fs::write(&path, text).map_err(DriverError::io("write", &path))
}

/// Passes a crash point: obeys and uses up the order for it, if there is one.
pub(super) fn pass(dir: &Path, step: Step, when: When) -> Result<(), DriverError> {
    let path = order_path(dir, step, when);
    let text = match fs::read(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        read => read.map_err(DriverError::io("read", &path))?,
    };
    fs::remove_file(&path).map_err(DriverError::io("remove", &path))?;
    let order: Order =
        serde_json::from_slice(&text).map_err(|e| DriverError::io("parse", &path)(e.into()))?;
    match order.failure {
        Failure::Die => Err(die()),
        Failure::Error => Err(DriverError::Program {
            program: "the simulated driver".to_owned(),
            why: format!("ordered to fail {when:?} {step:?}").to_ascii_lowercase(),
        }),
    }
}

fn die() -> DriverError {
    let why = match kill_process(getpid(), Signal::KILL) {
        Ok(()) => "it survived SIGKILL".to_owned(),
        Err(e) => e.to_string(),
    };
    DriverError::Program {
        program: "the simulated driver's own end".to_owned(),
        why,
    }
}
