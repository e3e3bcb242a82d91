//! What is known of a process that executes nothing: a mark beside the process's record.
//!
//! ```text
//!            prepare            prepare             start
//!  (no mark) ───────▶ spawned ─────────▶ loaded ──────────┐
//!      ▲                 └──────────────────────────────▶ moving ──▶ (no mark)
//!      │  pause                                start      ▲  │
//!      └─────────────── moving ──▶ paused ────────────────┘  ▼
//!                                                    the monitor is asked
//! ```
//! *Moving* is written before the monitor is told anything that makes the guest execute, or stop:
//! whoever finds it knows only that the monitor must be asked. So a mark that says that nothing was
//! executed is true for as long as its process is there, and after its end too; but only in the same
//! boot of the host, since the mark is not made durable. What must outlive a power loss is the mark
//! of [`Place::mark_resumed`], which is there before this one ever says *moving*.

use crate::place::{Place, remove_file};
use crate::process::{ProcessName, boot_id};
use crate::record;
use serde::{Deserialize, Serialize};
use stampo_driver::{DriverError, GuestDefinition, Readiness};
use std::path::Path;

/// How far a process was brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// It waits for its memory image, or is about to.
    Spawned,
    /// Its devices are loaded and its links are down.
    Loaded,
    /// It was stopped between two instructions.
    Paused,
    /// It is being told to stop or to go on.
    Moving,
}

impl Stage {
    /// How far it was prepared; `None` when it may have executed something.
    pub fn readiness(self) -> Option<Readiness> {
        match self {
            Stage::Spawned => Some(Readiness::Spawned),
            Stage::Loaded => Some(Readiness::Loaded),
            Stage::Paused | Stage::Moving => None,
        }
    }
}

/// The mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hold {
    process: ProcessName,
    /// How far it was brought.
    pub stage: Stage,
    /// What the process was started for, where it was prepared.
    definition: Option<GuestDefinition>,
}

impl Hold {
    /// A process that is being started for this guest.
    pub fn spawned(process: &ProcessName, guest: &GuestDefinition) -> Self {
        Hold {
            process: process.clone(),
            stage: Stage::Spawned,
            definition: Some(guest.clone()),
        }
    }

    /// A process of which only the stage matters.
    pub fn at(process: &ProcessName, stage: Stage) -> Self {
        Hold {
            process: process.clone(),
            stage,
            definition: None,
        }
    }

    /// The mark of this process. One that can't be read says that the monitor must be asked.
    pub fn of(place: &Place, process: &ProcessName) -> Result<Option<Self>, DriverError> {
        match record::read::<Hold>(&place.hold_path()) {
            Err(error) if record::is_unusable(&error) => Ok(Some(Hold::at(process, Stage::Moving))),
            read => Ok(read?.filter(|hold| hold.process == *process)),
        }
    }

    /// Whether the process was started for the machine that this definition asks for.
    pub fn is_for(&self, guest: &GuestDefinition) -> bool {
        let made_for = self.definition.as_ref();
        made_for.is_some_and(|made_for| made_for.is_same_machine(guest))
    }

    /// Writes the mark.
    pub fn write(&self, place: &Place) -> Result<(), DriverError> {
        record::write_passing(&place.hold_path(), self)
    }

    /// Writes the mark with another stage.
    pub fn move_to(&mut self, stage: Stage, place: &Place) -> Result<(), DriverError> {
        self.stage = stage;
        self.write(place)
    }
}

/// Takes the mark away: the process runs.
pub(crate) fn remove(place: &Place) -> Result<(), DriverError> {
    remove_file(&place.hold_path())
}

/// Whether a guest that does not run may have executed something since it was marked as resumed.
pub(crate) fn may_have_run(place: &Place) -> Result<bool, DriverError> {
    Ok(place.is_resumed()? && !was_only_prepared(place)?)
}

/// Takes back what was noted for a process that is gone and never executed anything.
pub(crate) fn forget_unused(place: &Place) -> Result<(), DriverError> {
    // The mark that proves it goes last.
    if was_only_prepared(place)? {
        place.unmark_resumed()?;
    }
    remove(place)
}

/// Whether the last process that was marked executed nothing.
fn was_only_prepared(place: &Place) -> Result<bool, DriverError> {
    let hold: Option<Hold> = match record::read(&place.hold_path()) {
        Err(error) if record::is_unusable(&error) => None,
        read => read?,
    };
    let Some(hold) = hold.filter(|hold| hold.stage.readiness().is_some()) else {
        return Ok(false);
    };
    let boot = boot_id().map_err(DriverError::io("read", Path::new("/proc")))?;
    Ok(hold.process.is_of_boot(&boot))
}
