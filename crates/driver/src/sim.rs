//! A simulated driver: guests that are files, so that an engine can be killed at any step.
//!
//! It is kept in step with real drivers by running the same conformance suite. All state is on
//! disk under the guests' directory and changes by rename, so a process that is killed loses
//! nothing, and several processes may use one directory at once, as with a real driver.
//!
//! It does not imitate time: a stop is instant. It does not read disks: whether a disk file exists
//! is not its business. What an engine test can steer is in `sim/steer.rs`.

mod agent;
mod commands;
mod memory;
mod start;
mod state;
mod steer;

pub use agent::ForkManners;
pub use steer::{Failure, Manners, Step, When};

use crate::{
    Acceleration, Capabilities, Driver, DriverError, Ensured, ExecOutcome, ExecRequest, Foreign,
    GuestDefinition, Listening, MemoryImage, Power, Readiness, StopMethod, StoppedBy,
};
use stampo_agent_protocol::{Request, Response, Timings};
use stampo_core::hardware::Firmware;
use stampo_core::ids::GuestId;
use state::{Guest, Shelf};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Guests that are files in a directory.
pub struct SimDriver {
    shelf: Shelf,
}

impl SimDriver {
    /// The simulated guests of this directory, which is made when missing.
    pub fn open(guests_dir: &Path) -> Result<Self, DriverError> {
        Ok(SimDriver {
            shelf: Shelf::open(guests_dir)?,
        })
    }

    /// Makes the next passage of `step` fail, in whichever process it happens. The order survives
    /// this process and is used up when it fires.
    pub fn fail_at(&self, step: Step, when: When, failure: Failure) -> Result<(), DriverError> {
        steer::order(self.shelf.dir(), step, when, failure)
    }

    /// How the guest behaves when it is asked to stop, and whether its agent answers.
    pub fn set_manners(&self, id: GuestId, manners: Manners) -> Result<(), DriverError> {
        self.change(id, |guest| guest.manners = manners)
    }

    /// What the agents answer when `program` (the first of `argv`) is run. Without a script the
    /// answer is exit code 0 and no output.
    pub fn script_exec(
        &self,
        id: GuestId,
        program: &str,
        outcome: &ExecOutcome,
    ) -> Result<(), DriverError> {
        let answer = (
            outcome.exit_code,
            outcome.stdout.clone(),
            outcome.stderr.clone(),
        );
        self.change(id, |guest| {
            guest.answers.insert(program.to_owned(), answer);
        })
    }

    /// How guests that go on from a memory image behave when they are told who they are, in
    /// whichever process they are told.
    pub fn set_fork_manners(&self, manners: ForkManners) -> Result<(), DriverError> {
        agent::set_manners(self.shelf.dir(), manners)
    }

    /// What stampo's own agent in the guest says of its start.
    pub fn script_timings(&self, id: GuestId, timings: &Timings) -> Result<(), DriverError> {
        self.change(id, |guest| guest.timings = Some(timings.clone()))
    }

    /// Ends the guest from outside, as a crash of its process would.
    pub fn crash_guest(&self, id: GuestId) -> Result<(), DriverError> {
        self.change(id, Guest::end)
    }

    /// Whether the cables of the guest's interfaces are plugged in.
    pub fn links_are_up(&self, id: GuestId) -> Result<bool, DriverError> {
        Ok(!self.started(id)?.links_down)
    }

    /// Makes `observe` and everything that relies on it answer "unknown", or sight again.
    pub fn blind(&self, id: GuestId, reason: Option<&str>) -> Result<(), DriverError> {
        self.change(id, |guest| guest.blind = reason.map(str::to_owned))
    }

    fn change(&self, id: GuestId, act: impl FnOnce(&mut Guest)) -> Result<(), DriverError> {
        let _lock = self.shelf.lock()?;
        let mut guest = self.shelf.read(id)?.ok_or(DriverError::NotFound(id))?;
        act(&mut guest);
        self.shelf.write(&guest)
    }

    /// Runs `act` between the crash points of `step`.
    fn step<T>(
        &self,
        step: Step,
        act: impl FnOnce() -> Result<T, DriverError>,
    ) -> Result<T, DriverError> {
        steer::pass(self.shelf.dir(), step, When::Before)?;
        let done = act()?;
        steer::pass(self.shelf.dir(), step, When::After)?;
        Ok(done)
    }

    /// An error when the guest's process ends before the time is over.
    fn wait_for_address(&self, id: GuestId, wait: Duration) -> Result<(), DriverError> {
        let begun = Instant::now();
        while begun.elapsed() < wait {
            self.running(id)?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// A guest that runs, or did until it was paused.
    fn started(&self, id: GuestId) -> Result<Guest, DriverError> {
        let guest = self.shelf.read(id)?.ok_or(DriverError::NotFound(id))?;
        guest.check_sight()?;
        if guest.is_started() {
            Ok(guest)
        } else {
            Err(DriverError::NotRunning(id))
        }
    }

    fn running(&self, id: GuestId) -> Result<Guest, DriverError> {
        let guest = self.started(id)?;
        match guest.hold {
            None => Ok(guest),
            Some(_) => Err(DriverError::NotRunning(id)),
        }
    }

    /// Changes a guest under the lock, by what it says that it did.
    fn ensure(
        &self,
        id: GuestId,
        act: impl FnOnce(&mut Guest) -> Result<Ensured, DriverError>,
    ) -> Result<Ensured, DriverError> {
        let _lock = self.shelf.lock()?;
        let mut guest = self.shelf.read(id)?.ok_or(DriverError::NotFound(id))?;
        guest.check_sight()?;
        let ensured = act(&mut guest)?;
        if ensured == Ensured::Changed {
            self.shelf.write(&guest)?;
        }
        Ok(ensured)
    }

    fn answering(&self, id: GuestId, waited: Duration) -> Result<Guest, DriverError> {
        let guest = self.running(id)?;
        let agent = guest.manners.agent;
        if agent {
            Ok(guest)
        } else {
            Err(DriverError::AgentSilent { guest: id, waited })
        }
    }

    /// Refuses when a forwarded port is used by another simulated guest or by a real program.
    fn check_ports(&self, guest: &Guest) -> Result<(), DriverError> {
        for port in guest.definition.forwarded_ports() {
            let busy = |why: String| DriverError::Busy {
                resource: format!("port {port}"),
                why,
            };
            for other in self.list()? {
                let Some(other) = self.shelf.read(other)? else {
                    continue;
                };
                let same = other.definition.forwarded_ports().any(|p| p == port);
                if same && other.run.is_some() && other.definition.id != guest.definition.id {
                    return Err(busy(format!("guest {} uses it", other.definition.name)));
                }
            }
            TcpListener::bind(("127.0.0.1", port)).map_err(|e| busy(e.to_string()))?;
        }
        Ok(())
    }
}

impl Driver for SimDriver {
    fn capabilities(&self) -> Result<Capabilities, DriverError> {
        Ok(Capabilities {
            driver: "simulated".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            acceleration: Acceleration::Tcg {
                reason: "guests are simulated".to_owned(),
            },
            firmware: vec![Firmware::Bios, Firmware::Uefi],
            tpm: true,
            bridge: true,
            memory_images: true,
        })
    }

    fn ensure_defined(&self, definition: &GuestDefinition) -> Result<Ensured, DriverError> {
        definition.check_directory(self.guests_dir())?;
        definition.check_start()?;
        self.step(Step::Define, || {
            let _lock = self.shelf.lock()?;
            let old = self.shelf.read(definition.id)?;
            if old
                .as_ref()
                .is_some_and(|old| old.definition == *definition)
            {
                return Ok(Ensured::Unchanged);
            }
            let guest = match old {
                Some(old) => Guest {
                    definition: definition.clone(),
                    ..old
                },
                None => Guest::new(definition.clone()),
            };
            self.shelf.write(&guest)?;
            Ok(Ensured::Changed)
        })
    }

    fn ensure_running(&self, id: GuestId) -> Result<Ensured, DriverError> {
        self.step(Step::Start, || {
            self.ensure(id, |guest| {
                start::run(guest, &self.shelf, &|guest| self.check_ports(guest))
            })
        })
    }

    fn ensure_prepared(&self, id: GuestId, readiness: Readiness) -> Result<Ensured, DriverError> {
        self.step(Step::Prepare, || {
            self.ensure(id, |guest| {
                start::prepare(guest, readiness, &|guest| self.check_ports(guest))
            })
        })
    }

    fn ensure_paused(&self, id: GuestId) -> Result<Ensured, DriverError> {
        self.step(Step::Pause, || self.ensure(id, start::pause))
    }

    fn ensure_stopped(&self, id: GuestId, method: StopMethod) -> Result<StoppedBy, DriverError> {
        self.step(Step::Stop, || {
            let _lock = self.shelf.lock()?;
            let mut guest = self.shelf.read(id)?.ok_or(DriverError::NotFound(id))?;
            guest.check_sight()?;
            if guest.run.is_none() {
                return Ok(StoppedBy::Already);
            }
            let hears = guest.is_started();
            guest.end();
            self.shelf.write(&guest)?;
            Ok(match method {
                StopMethod::Graceful { .. } if hears && guest.manners.agent => StoppedBy::Agent,
                StopMethod::Graceful { .. } if hears && guest.manners.acpi => StoppedBy::Acpi,
                StopMethod::Graceful { .. } | StopMethod::Kill => StoppedBy::Kill,
            })
        })
    }

    fn ensure_undefined(&self, id: GuestId) -> Result<Ensured, DriverError> {
        self.step(Step::Undefine, || {
            let _lock = self.shelf.lock()?;
            if let Some(guest) = self.shelf.read(id)? {
                guest.check_sight()?;
            }
            self.shelf.remove(id)
        })
    }

    fn strangers(&self) -> Result<Vec<Foreign>, DriverError> {
        Ok(Vec::new())
    }

    fn end_without_directory(&self, _: &[GuestId]) -> Result<usize, DriverError> {
        // A simulated guest is what is in its directory.
        Ok(0)
    }

    fn ensure_frozen(&self, id: GuestId) -> Result<(Ensured, MemoryImage), DriverError> {
        self.step(Step::Freeze, || {
            let _lock = self.shelf.lock()?;
            let mut guest = self.shelf.read(id)?.ok_or(DriverError::NotFound(id))?;
            guest.check_sight()?;
            let frozen = memory::freeze(&guest)?;
            guest.end();
            self.shelf.write(&guest)?;
            Ok(frozen)
        })
    }

    fn check_resume(&self, definition: &GuestDefinition) -> Result<(), DriverError> {
        definition.check_start()?;
        memory::origin(definition).map(drop)
    }

    fn set_links(&self, id: GuestId, up: bool) -> Result<(), DriverError> {
        self.step(Step::Links, || {
            self.started(id)?;
            self.change(id, |guest| guest.links_down = !up)
        })
    }

    fn observe(&self, id: GuestId) -> Result<Power, DriverError> {
        self.step(Step::Observe, || {
            let guest = self.shelf.read(id)?;
            Ok(guest.map_or(Power::Undefined, |guest| guest.power()))
        })
    }

    fn list(&self) -> Result<Vec<GuestId>, DriverError> {
        self.shelf.list()
    }

    fn listening(&self, id: GuestId) -> Result<Listening, DriverError> {
        let guest = self.running(id)?;
        let silent = agent::manners(self.shelf.dir())? == ForkManners::Silent;
        Ok(Listening {
            own: guest.manners.agent && !silent,
            qemu: guest.manners.agent,
        })
    }

    fn agent_ping(&self, id: GuestId, timeout: Duration) -> Result<(), DriverError> {
        self.step(Step::Agent, || self.answering(id, timeout).map(drop))
    }

    fn agent_exec(&self, id: GuestId, request: &ExecRequest) -> Result<ExecOutcome, DriverError> {
        self.step(Step::Agent, || {
            let guest = self.answering(id, request.timeout)?;
            let program = request.argv.first().map(String::as_str).unwrap_or_default();
            let (exit_code, stdout, stderr) =
                guest.answers.get(program).cloned().unwrap_or_default();
            Ok(ExecOutcome {
                exit_code,
                stdout,
                stderr,
            })
        })
    }

    fn agent_read_file(
        &self,
        id: GuestId,
        path: &str,
        limit: usize,
        timeout: Duration,
    ) -> Result<Vec<u8>, DriverError> {
        self.step(Step::Agent, || {
            let guest = self.answering(id, timeout)?;
            let failed = |why: &str| DriverError::Program {
                program: format!("read {path} in the guest"),
                why: why.to_owned(),
            };
            let bytes = guest
                .files
                .get(path)
                .ok_or_else(|| failed("no such file"))?;
            if bytes.len() > limit {
                return Err(failed(&format!("it is larger than {limit} bytes")));
            }
            Ok(bytes.clone())
        })
    }

    fn agent_write_file(
        &self,
        id: GuestId,
        path: &str,
        bytes: &[u8],
        timeout: Duration,
    ) -> Result<(), DriverError> {
        self.step(Step::Agent, || {
            self.answering(id, timeout)?;
            self.change(id, |guest| {
                guest.files.insert(path.to_owned(), bytes.to_vec());
            })
        })
    }

    fn console_socket(&self, id: GuestId) -> Result<PathBuf, DriverError> {
        self.running(id)?;
        let what = "open the console of a simulated guest".to_owned();
        Err(DriverError::Unsupported {
            what,
            why: "it has none, only a log".to_owned(),
        })
    }

    fn ask_agent(
        &self,
        id: GuestId,
        request: &Request,
        timeout: Duration,
    ) -> Result<Response, DriverError> {
        self.step(Step::Agent, || {
            let mut guest = self.answering(id, timeout)?;
            let manners = agent::manners(self.shelf.dir())?;
            if let (Request::Connect(asked), ForkManners::SlowAddress) = (request, manners) {
                self.wait_for_address(id, Duration::from_millis(asked.wait_ms.into()))?;
            }
            let response = agent::answer(&mut guest, request, manners)?;
            self.change(id, |kept| {
                kept.inside = guest.inside;
                kept.files = guest.files;
                kept.commands = guest.commands;
            })?;
            // As a real driver gives it.
            if let Response::Refused(refusal) = response {
                return Err(DriverError::Refused(refusal.why));
            }
            Ok(response)
        })
    }

    fn console_log(&self, id: GuestId) -> Result<PathBuf, DriverError> {
        let guest = self.shelf.read(id)?.ok_or(DriverError::NotFound(id))?;
        Ok(Shelf::console_log(&guest))
    }

    fn definition(&self, id: GuestId) -> Result<GuestDefinition, DriverError> {
        Ok(self
            .shelf
            .read(id)?
            .ok_or(DriverError::NotFound(id))?
            .definition)
    }

    fn guests_dir(&self) -> &Path {
        self.shelf.dir()
    }
}

#[cfg(test)]
mod tests;
