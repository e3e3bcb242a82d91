//! What is still to be done for a guest whose process is there: it runs, was prepared, was paused,
//! or was left by a `stampo` that died.
//!
//! Everything here happens under the guest's lock. A mark ([`crate::hold`]) tells what a process
//! was brought to on purpose; where it tells nothing, the monitor is asked.

use crate::argv::Machine;
use crate::hold::{self, Hold, Stage};
use crate::host::Host;
use crate::place::Place;
use crate::process::{Held, ProcessName};
use crate::qmp::Qmp;
use crate::wire::{Deadline, WireError};
use crate::{resume, running};
use stampo_driver::memory_image::already_started;
use stampo_driver::{DriverError, Ensured, GuestDefinition, MemoryImageDir, Readiness, Start};
use std::time::Duration;

/// How long a killed process may take to go.
const GONE: Duration = Duration::from_secs(30);

/// How far a guest is to be brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// So far, with nothing executed.
    Prepared(Readiness),
    /// Until it runs.
    Running,
}

/// A guest on its way, and its process.
pub(crate) struct Way<'a> {
    pub guest: &'a GuestDefinition,
    pub place: &'a Place,
    pub host: &'a Host,
    pub name: &'a ProcessName,
    pub goal: Goal,
    pub deadline: Deadline,
}

impl Way<'_> {
    /// Brings a guest to its goal whose process was found. `None`: it was only good for being
    /// ended, and is gone now.
    pub fn settle(&self) -> Result<Option<Ensured>, DriverError> {
        match Hold::of(self.place, self.name)? {
            Some(hold) if hold.stage.readiness().is_some() => self.settle_prepared(hold),
            _ if self.goal != Goal::Running => Err(already_started(self.guest)),
            hold => self.settle_started(hold),
        }
    }

    fn settle_prepared(&self, mut hold: Hold) -> Result<Option<Ensured>, DriverError> {
        if !hold.is_for(self.guest) {
            return self.begin_anew();
        }
        if hold.stage == Stage::Loaded && self.goal != Goal::Running {
            return Ok(Some(Ensured::Unchanged));
        }
        if !running::await_listening(self.place, self.name, self.deadline)? {
            return Ok(None);
        }
        let was = hold.stage;
        // What is loaded already only goes on: it waits for nobody.
        let _turn = match was == Stage::Spawned {
            true => Some(resume::turn(self.host.cache_dir(), self.deadline)?),
            false => None,
        };
        match self.advance(None, &mut hold) {
            Ok(()) if self.goal == Goal::Running || hold.stage != was => Ok(Some(Ensured::Changed)),
            Ok(()) => Ok(Some(Ensured::Unchanged)),
            // Once it may have executed something, only the monitor knows.
            Err(error) if hold.stage.readiness().is_none() => Err(error),
            Err(error) => {
                tracing::debug!(%error, "what was prepared is of no use");
                self.begin_anew()
            }
        }
    }

    /// A guest that runs or ran, or of which nothing is known.
    fn settle_started(&self, hold: Option<Hold>) -> Result<Option<Ensured>, DriverError> {
        if !running::await_listening(self.place, self.name, self.deadline)? {
            return Ok(None);
        }
        if hold.is_none() && !matches!(self.guest.start, Start::Resume { .. }) {
            return Ok(Some(Ensured::Unchanged));
        }
        let mut qmp = self.connect()?;
        match qmp.status(self.deadline).map_err(unknown)?.as_str() {
            "inmigrate" => {
                drop(qmp);
                self.begin_anew()
            }
            "paused" if hold.is_some() || self.place.is_resumed()? => {
                if hold.is_none() {
                    self.pull_links(&mut qmp)?;
                }
                Hold::at(self.name, Stage::Moving).write(self.place)?;
                self.go_on(&mut qmp)?;
                Ok(Some(Ensured::Changed))
            }
            _ => {
                hold::remove(self.place)?;
                Ok(Some(Ensured::Unchanged))
            }
        }
    }

    /// Brings a process that has executed nothing to the goal. The monitor is connected to when
    /// none is given.
    pub fn advance(&self, qmp: Option<Qmp>, hold: &mut Hold) -> Result<(), DriverError> {
        let mut qmp = match qmp {
            Some(qmp) => qmp,
            None => self.connect()?,
        };
        if hold.stage == Stage::Spawned {
            if self.goal == Goal::Prepared(Readiness::Spawned) {
                return resume::expect(&mut qmp, self.deadline);
            }
            self.load(&mut qmp)?;
            self.pull_links(&mut qmp)?;
        }
        if self.goal == Goal::Running {
            hold.move_to(Stage::Moving, self.place)?;
            return self.go_on(&mut qmp);
        }
        hold.move_to(Stage::Loaded, self.place)
    }

    fn load(&self, qmp: &mut Qmp) -> Result<(), DriverError> {
        let Start::Resume { image } = &self.guest.start else {
            return Err(stampo_driver::memory_image::nothing_to_prepare(self.guest));
        };
        // Whoever had it loaded may have died before that was noted.
        if qmp.status(self.deadline).map_err(unknown)? == "paused" {
            return Ok(());
        }
        resume::load(qmp, self.host, &MemoryImageDir::at(image), self.deadline)
    }

    fn pull_links(&self, qmp: &mut Qmp) -> Result<(), DriverError> {
        let mut pull = || -> Result<(), WireError> {
            let args = self.name.arguments().map_err(WireError::Io)?;
            qmp.set_links(&Machine::read(&args).netdevs, false, self.deadline)
        };
        pull().map_err(|error| failed("its links were not pulled", &error))
    }

    fn go_on(&self, qmp: &mut Qmp) -> Result<(), DriverError> {
        let told = qmp.go_on(self.deadline);
        told.map_err(|error| failed("the guest was not told to go on", &error))?;
        hold::remove(self.place)
    }

    fn connect(&self) -> Result<Qmp, DriverError> {
        Qmp::connect(&self.place.qmp_socket(), self.deadline).map_err(unknown)
    }

    /// Ends a process that has executed nothing: its disk is as it was.
    fn begin_anew(&self) -> Result<Option<Ensured>, DriverError> {
        let ended = end(self.name);
        ended.map_err(DriverError::io("end the process of", self.place.dir()))?;
        self.place.unmark_resumed()?;
        hold::remove(self.place)?;
        Ok(None)
    }
}

/// Lets a guest go on that was paused, or may have been.
pub(crate) fn go_on(
    place: &Place,
    name: &ProcessName,
    deadline: Deadline,
) -> Result<(), DriverError> {
    Hold::at(name, Stage::Moving).write(place)?;
    let told = Qmp::connect(&place.qmp_socket(), deadline).and_then(|mut qmp| qmp.go_on(deadline));
    match told {
        Ok(()) => hold::remove(place),
        Err(error) => {
            tracing::debug!(%error, "the paused guest was not let go on");
            Ok(())
        }
    }
}

/// Stops a running guest between two instructions.
pub(crate) fn pause(
    place: &Place,
    name: &ProcessName,
    not_running: impl Fn() -> DriverError,
    deadline: Deadline,
) -> Result<Ensured, DriverError> {
    match Hold::of(place, name)?.map(|hold| hold.stage) {
        Some(Stage::Paused) => return Ok(Ensured::Unchanged),
        Some(Stage::Spawned | Stage::Loaded) => return Err(not_running()),
        None | Some(Stage::Moving) => {}
    }
    let stopped = |error: WireError| failed("the guest was not stopped", &error);
    let mut qmp = Qmp::connect(&place.qmp_socket(), deadline).map_err(stopped)?;
    if qmp.status(deadline).map_err(stopped)? == "inmigrate" {
        return Err(not_running());
    }
    let mut hold = Hold::at(name, Stage::Moving);
    hold.write(place)?;
    qmp.stop(deadline).map_err(stopped)?;
    hold.move_to(Stage::Paused, place)?;
    Ok(Ensured::Changed)
}

fn end(name: &ProcessName) -> std::io::Result<()> {
    let held: Option<Held> = name.hold()?;
    let Some(held) = held else {
        return Ok(());
    };
    held.kill()?;
    if held.wait_gone(GONE)? {
        Ok(())
    } else {
        Err(std::io::Error::other("it was killed and is still there"))
    }
}

fn unknown(error: WireError) -> DriverError {
    failed("the guest's state is unknown", &error)
}

fn failed(what: &str, error: &WireError) -> DriverError {
    DriverError::Program {
        program: "qemu".to_owned(),
        why: format!("{what}: {error}"),
    }
}
