//! [`QemuDriver`]: the trait's calls, each handed to the file of its verb.

use crate::abandoned;
use crate::agent::Agent;
use crate::argv::{self, Machine};
use crate::channel;
use crate::hold::{Hold, Stage};
use crate::host::Host;
use crate::options::Options;
use crate::place::Place;
use crate::process::ProcessName;
use crate::qmp::Qmp;
use crate::record;
use crate::settle::{self, Goal};
use crate::strangers;
use crate::wire::{Deadline, WireError, printable};
use crate::{freeze, listening, resume, running, start, stop, tpm};
use stampo_agent_protocol::{Request, Response};
use stampo_core::hardware::Firmware;
use stampo_core::ids::GuestId;
use stampo_driver::{
    Capabilities, Driver, DriverError, Ensured, ExecOutcome, ExecRequest, Foreign, GuestDefinition,
    Listening, MemoryImage, MemoryImageDir, Power, Readiness, Start, StopMethod, StoppedBy,
};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Guests as QEMU processes of this host. Everything that is known of them is in the guests'
/// directory: any number of these, in any number of processes, may use one directory.
pub struct QemuDriver {
    guests_dir: PathBuf,
    host: Host,
    /// Guests that this process started, to be reaped when they end. Nothing else depends on it.
    children: Mutex<Vec<Child>>,
}

impl QemuDriver {
    /// The guests of this directory, which is made when missing. No program is started.
    pub fn open(guests_dir: &Path, options: Options) -> Result<Self, DriverError> {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(guests_dir);
        made.map_err(DriverError::io("create", guests_dir))?;
        let guests_dir = guests_dir
            .canonicalize()
            .map_err(DriverError::io("resolve", guests_dir))?;
        let host = Host::new(options, &guests_dir);
        Ok(QemuDriver {
            guests_dir,
            host,
            children: Mutex::new(Vec::new()),
        })
    }

    fn place(&self, id: GuestId) -> Place {
        Place::of(&self.guests_dir, id)
    }

    /// Ends what runs of a guest whose directory is gone: somebody removed it, and its records with it.
    /// Where it is there its records tell, and no other process is looked at.
    fn end_abandoned(&self, place: &Place, id: GuestId) -> Result<Ensured, DriverError> {
        if place.dir().exists() {
            return Ok(Ensured::Unchanged);
        }
        match self.end_without_directory(&[id])? {
            0 => Ok(Ensured::Unchanged),
            _ => Ok(Ensured::Changed),
        }
    }

    /// The place of a guest that is defined.
    fn defined(&self, id: GuestId) -> Result<(Place, GuestDefinition), DriverError> {
        let place = self.place(id);
        let definition = place.definition()?.ok_or(DriverError::NotFound(id))?;
        Ok((place, definition))
    }

    /// The place of a guest that is defined, by a definition that need not be of use: what a guest
    /// does is known without it.
    fn known(&self, id: GuestId) -> Result<Place, DriverError> {
        let place = self.place(id);
        match place.is_defined()? {
            true => Ok(place),
            false => Err(DriverError::NotFound(id)),
        }
    }

    /// The place of a guest that runs.
    fn running(&self, id: GuestId) -> Result<Place, DriverError> {
        match self.found(id)? {
            (place, Some((_, None))) => Ok(place),
            _ => Err(DriverError::NotRunning(id)),
        }
    }

    /// A guest's place, and its process, with why that executes nothing.
    fn found(&self, id: GuestId) -> Result<Found, DriverError> {
        let place = self.known(id)?;
        let Some(name) = running::find(&place, id)? else {
            return Ok((place, None));
        };
        // What is just being told to stop or to go on may execute something.
        let hold = Hold::of(&place, &name)?.filter(|hold| hold.stage != Stage::Moving);
        Ok((place, Some((name, hold.map(|hold| hold.stage)))))
    }

    fn start(
        &self,
        definition: &GuestDefinition,
        place: &Place,
        goal: Goal,
    ) -> Result<Ensured, DriverError> {
        let (ensured, children) = start::ensure(definition, place, &self.host, goal)?;
        self.reap(children);
        Ok(ensured)
    }

    /// Collects the exit states of children that have ended.
    fn reap(&self, started: Vec<Child>) {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        children.extend(started);
    }

    /// Talks to the guest's agent before `limit` has passed.
    fn with_agent<T>(
        &self,
        id: GuestId,
        limit: Duration,
        act: impl FnOnce(&mut Agent, Deadline) -> Result<T, WireError>,
    ) -> Result<T, DriverError> {
        let place = self.running(id)?;
        let deadline = Deadline::after(limit);
        let silent = |error: WireError| match error {
            WireError::Timeout | WireError::Connect(_) => DriverError::AgentSilent {
                guest: id,
                waited: limit,
            },
            error => agent_error(&error),
        };
        let mut agent = Agent::connect(&place.agent_socket(), deadline).map_err(silent)?;
        act(&mut agent, deadline).map_err(|error| match error {
            WireError::Timeout => DriverError::Program {
                program: "the guest agent".to_owned(),
                why: format!(
                    "it answers, but the work was not done within {:.1} s",
                    limit.as_secs_f64()
                ),
            },
            error => agent_error(&error),
        })
    }
}

/// See [`QemuDriver::found`].
type Found = (Place, Option<(ProcessName, Option<Stage>)>);

fn agent_error(error: &WireError) -> DriverError {
    DriverError::Program {
        program: "the guest agent".to_owned(),
        why: printable(&error.to_string()),
    }
}

impl Driver for QemuDriver {
    fn capabilities(&self) -> Result<Capabilities, DriverError> {
        self.host.capabilities()
    }

    fn ensure_defined(&self, definition: &GuestDefinition) -> Result<Ensured, DriverError> {
        definition.check_directory(&self.guests_dir)?;
        let place = self.place(definition.id);
        // Building the arguments is the check: what can't be started can't be defined.
        argv::check(definition, self.host.uefi())?;
        place.ensure_dir()?;
        let Some(_lock) = place.lock(self.host.options().start_limit)? else {
            return Err(busy(definition.name.as_str()));
        };
        if definition.firmware() == Firmware::Uefi {
            self.ensure_vars(&place)?;
        }
        if definition.hardware.tpm {
            self.host.swtpm().ok_or_else(tpm::missing)?;
            tpm::ensure_state(&place)?;
        }
        if place.usable_definition()?.as_ref() == Some(definition) {
            return Ok(Ensured::Unchanged);
        }
        record::write(&place.definition_path(), definition)?;
        Ok(Ensured::Changed)
    }

    fn ensure_running(&self, id: GuestId) -> Result<Ensured, DriverError> {
        let (place, definition) = self.defined(id)?;
        self.start(&definition, &place, Goal::Running)
    }

    fn ensure_prepared(&self, id: GuestId, readiness: Readiness) -> Result<Ensured, DriverError> {
        let (place, definition) = self.defined(id)?;
        self.start(&definition, &place, Goal::Prepared(readiness))
    }

    fn ensure_paused(&self, id: GuestId) -> Result<Ensured, DriverError> {
        let place = self.known(id)?;
        let limit = self.host.options().start_limit;
        let Some(_lock) = place.lock(limit)? else {
            return Err(busy(&id.to_string()));
        };
        let not_running = || DriverError::NotRunning(id);
        let name = running::find(&place, id)?.ok_or_else(not_running)?;
        settle::pause(&place, &name, not_running, Deadline::after(limit))
    }

    fn ensure_stopped(&self, id: GuestId, method: StopMethod) -> Result<StoppedBy, DriverError> {
        let place = self.known(id)?;
        let stopped = stop::ensure(&place, id, method);
        self.reap(Vec::new());
        stopped
    }

    fn ensure_undefined(&self, id: GuestId) -> Result<Ensured, DriverError> {
        let place = self.place(id);
        if !place.is_defined()? {
            return self.end_abandoned(&place, id);
        }
        let Some(_lock) = place.lock(self.host.options().start_limit)? else {
            return Err(busy(&id.to_string()));
        };
        stop::ensure(&place, id, StopMethod::Kill)?;
        tpm::dismiss(&place);
        self.reap(Vec::new());
        place.forget()?;
        self.end_abandoned(&place, id)?;
        Ok(Ensured::Changed)
    }

    fn end_without_directory(&self, ids: &[GuestId]) -> Result<usize, DriverError> {
        let ended = abandoned::end(ids);
        self.reap(Vec::new());
        ended.map_err(DriverError::io("look for processes in", Path::new("/proc")))
    }

    fn ensure_frozen(&self, id: GuestId) -> Result<(Ensured, MemoryImage), DriverError> {
        let (place, definition) = self.defined(id)?;
        let frozen = freeze::ensure(&definition, &place, &self.host);
        self.reap(Vec::new());
        frozen
    }

    fn check_resume(&self, definition: &GuestDefinition) -> Result<(), DriverError> {
        definition.check_start()?;
        let Start::Resume { image } = &definition.start else {
            return Ok(());
        };
        let place = self.place(definition.id);
        resume::check(definition, &place, &self.host, &MemoryImageDir::at(image)).map(drop)
    }

    fn set_links(&self, id: GuestId, up: bool) -> Result<(), DriverError> {
        let (place, found) = self.found(id)?;
        let name = match found {
            Some((name, None | Some(Stage::Paused))) => name,
            _ => return Err(DriverError::NotRunning(id)),
        };
        let deadline = Deadline::after(self.host.options().start_limit);
        let set = || -> Result<(), WireError> {
            let args = name.arguments().map_err(WireError::Io)?;
            let mut qmp = Qmp::connect(&place.qmp_socket(), deadline)?;
            qmp.set_links(&Machine::read(&args).netdevs, up, deadline)
        };
        set().map_err(|error| DriverError::Program {
            program: "qemu".to_owned(),
            why: format!("the links were not set: {error}"),
        })
    }

    fn strangers(&self) -> Result<Vec<Foreign>, DriverError> {
        strangers::find(&self.guests_dir)
            .map_err(DriverError::io("look for machines in", Path::new("/proc")))
    }

    fn observe(&self, id: GuestId) -> Result<Power, DriverError> {
        self.reap(Vec::new());
        let place = self.place(id);
        if !place.is_defined()? {
            return Ok(Power::Undefined);
        }
        let found = self.found(id).and_then(|(place, found)| {
            let Some((name, stage)) = found else {
                // Without a definition of use it can't be started: it is to be defined again.
                return Ok(match place.usable_definition()? {
                    Some(_) => Power::Stopped,
                    None => Power::Undefined,
                });
            };
            let uptime_ms = name
                .uptime_ms()
                .map_err(DriverError::io("read", Path::new("/proc/uptime")))?;
            let pid = name.pid;
            Ok(match stage {
                None => Power::Running { pid, uptime_ms },
                Some(_) => Power::Paused { pid, uptime_ms },
            })
        });
        Ok(found.unwrap_or_else(|error| Power::Unknown {
            reason: with_causes(&error),
        }))
    }

    fn list(&self) -> Result<Vec<GuestId>, DriverError> {
        let failed = || DriverError::io("list", &self.guests_dir);
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.guests_dir).map_err(failed())? {
            let name = entry.map_err(failed())?.file_name();
            let id: Option<GuestId> = name.to_str().and_then(|name| name.parse().ok());
            // A UUID has other spellings; the directory has only one.
            let id = id.filter(|id| name.to_str() == Some(id.to_string().as_str()));
            ids.extend(id.filter(|id| self.place(*id).definition_path().exists()));
        }
        ids.sort();
        Ok(ids)
    }

    fn listening(&self, id: GuestId) -> Result<Listening, DriverError> {
        let place = self.running(id)?;
        let asked = listening::ask(&place, Deadline::after(listening::LIMIT));
        asked.map_err(|error| DriverError::Program {
            program: "qemu".to_owned(),
            why: format!("it does not say which agents listen: {error}"),
        })
    }

    fn agent_ping(&self, id: GuestId, timeout: Duration) -> Result<(), DriverError> {
        self.with_agent(id, timeout, |_, _| Ok(()))
    }

    fn agent_exec(&self, id: GuestId, request: &ExecRequest) -> Result<ExecOutcome, DriverError> {
        self.with_agent(id, request.timeout, |agent, deadline| {
            agent.exec(request, deadline)
        })
    }

    fn agent_read_file(
        &self,
        id: GuestId,
        path: &str,
        limit: usize,
        timeout: Duration,
    ) -> Result<Vec<u8>, DriverError> {
        self.with_agent(id, timeout, |agent, deadline| {
            agent.read_file(path, limit, deadline)
        })
    }

    fn agent_write_file(
        &self,
        id: GuestId,
        path: &str,
        bytes: &[u8],
        timeout: Duration,
    ) -> Result<(), DriverError> {
        self.with_agent(id, timeout, |agent, deadline| {
            agent.write_file(path, bytes, deadline)
        })
    }

    fn console_socket(&self, id: GuestId) -> Result<PathBuf, DriverError> {
        Ok(self.running(id)?.console_socket())
    }

    fn ask_agent(
        &self,
        id: GuestId,
        request: &Request,
        timeout: Duration,
    ) -> Result<Response, DriverError> {
        let place = self.running(id)?;
        let deadline = Deadline::after(timeout);
        let answer = channel::ask(&place.channel_socket(), request, deadline);
        answer.map_err(|error| match error {
            WireError::Timeout | WireError::Connect(_) => DriverError::AgentSilent {
                guest: id,
                waited: timeout,
            },
            // Already made printable: they are the guest's words.
            WireError::Refused { why, .. } => DriverError::Refused(why),
            error => DriverError::Program {
                program: "stampo's agent in the guest".to_owned(),
                why: printable(&error.to_string()),
            },
        })
    }

    fn console_log(&self, id: GuestId) -> Result<PathBuf, DriverError> {
        Ok(self.known(id)?.console_log())
    }

    fn definition(&self, id: GuestId) -> Result<GuestDefinition, DriverError> {
        Ok(self.defined(id)?.1)
    }

    fn guests_dir(&self) -> &Path {
        &self.guests_dir
    }
}

impl QemuDriver {
    /// The guest's own variable store. One that is there is kept: it holds the boot entries.
    fn ensure_vars(&self, place: &Place) -> Result<(), DriverError> {
        let vars = place.vars();
        if vars.exists() {
            return Ok(());
        }
        let template = &self.host.uefi().ok_or_else(argv::no_uefi)?.vars_template;
        let copy = || -> std::io::Result<()> {
            let mut from = fs::File::open(template)?;
            let mut fresh = tempfile::NamedTempFile::new_in(place.dir())?;
            std::io::copy(&mut from, &mut fresh)?;
            fresh.as_file().sync_all()?;
            fresh.persist(&vars).map(drop).map_err(|e| e.error)
        };
        copy().map_err(DriverError::io("write", &vars))
    }
}

/// The refusal while another process holds the guest's lock.
pub(crate) fn busy(guest: &str) -> DriverError {
    DriverError::Busy {
        resource: format!("guest {guest}"),
        why: "another process has been starting or changing it for a long time".to_owned(),
    }
}

/// An error and its causes on one line, for a reason that is not an error any more.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
