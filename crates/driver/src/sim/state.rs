//! The simulated guests' state on disk: one JSON file for each guest, changed by rename.
//!
//! The lock is an advisory `flock` on one file of the guests' directory; the kernel releases it
//! when a process dies, however it dies.

use super::agent::Inside;
use super::commands::Running;
use super::steer::Manners;
use crate::{DriverError, Ensured, GuestDefinition, Power, Readiness};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use stampo_agent_protocol::Timings;
use stampo_core::ids::GuestId;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The name of a guest's file in its directory.
const STATE_FILE: &str = "simulated.json";

/// One simulated guest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Guest {
    pub definition: GuestDefinition,
    pub run: Option<Run>,
    /// Why its process, if there is one, executes nothing.
    #[serde(default)]
    pub hold: Option<Hold>,
    pub manners: Manners,
    pub blind: Option<String>,
    /// The cables of its interfaces are pulled.
    #[serde(default)]
    pub links_down: bool,
    /// It has gone on from its memory image.
    #[serde(default)]
    pub resumed: bool,
    /// What its own agent would tell of it.
    #[serde(default)]
    pub inside: Inside,
    /// What its own agent says of its start.
    #[serde(default)]
    pub timings: Option<Timings>,
    /// What its own agent runs, by session.
    #[serde(default)]
    pub commands: BTreeMap<u64, Running>,
    /// Program → exit code, standard output, standard error.
    pub answers: BTreeMap<String, (i32, Vec<u8>, Vec<u8>)>,
    /// Files written through the agent.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Guest {
    pub fn new(definition: GuestDefinition) -> Self {
        Guest {
            definition,
            run: None,
            hold: None,
            manners: Manners::default(),
            blind: None,
            links_down: false,
            resumed: false,
            inside: Inside::default(),
            timings: None,
            commands: BTreeMap::new(),
            answers: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }

    /// Whether its process has executed something.
    pub fn is_started(&self) -> bool {
        self.run.is_some() && !matches!(self.hold, Some(Hold::Prepared { .. }))
    }

    pub fn power(&self) -> Power {
        match (&self.blind, &self.run, &self.hold) {
            (Some(reason), ..) => Power::Unknown {
                reason: reason.clone(),
            },
            (None, None, _) => Power::Stopped,
            (None, Some(run), None) => Power::Running {
                pid: run.pid,
                uptime_ms: run.uptime_ms(),
            },
            (None, Some(run), Some(_)) => Power::Paused {
                pid: run.pid,
                uptime_ms: run.uptime_ms(),
            },
        }
    }

    /// Ends its process.
    pub fn end(&mut self) {
        self.commands.clear();
        self.run = None;
        self.hold = None;
    }

    /// An error while the guest can't be seen: nothing may be decided then.
    pub fn check_sight(&self) -> Result<(), DriverError> {
        match &self.blind {
            None => Ok(()),
            Some(why) => Err(DriverError::Program {
                program: "the simulated guest".to_owned(),
                why: format!("its state is unknown: {why}"),
            }),
        }
    }
}

/// Why a process executes nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Hold {
    /// It was brought so far, for this definition.
    Prepared {
        readiness: Readiness,
        definition: Box<GuestDefinition>,
    },
    /// It was stopped between two instructions.
    Paused,
}

/// A simulated process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Run {
    pub pid: u32,
    started_ms: u64,
}

impl Run {
    /// A process with a number above any that Linux gives out (2^22), so that nothing real can be
    /// hit by it.
    pub fn begin() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let serial = NEXT.fetch_add(1, Ordering::Relaxed) & 0xff;
        let pid = (1 << 30) | ((std::process::id() & 0x3f_ffff) << 8) | serial;
        Run {
            pid,
            started_ms: now_ms(),
        }
    }

    pub fn uptime_ms(&self) -> u64 {
        now_ms().saturating_sub(self.started_ms)
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The directory of simulated guests.
pub(super) struct Shelf {
    dir: PathBuf,
}

impl Shelf {
    pub fn open(dir: &Path) -> Result<Self, DriverError> {
        fs::create_dir_all(dir).map_err(DriverError::io("create", dir))?;
        Ok(Shelf {
            dir: dir.to_owned(),
        })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Held until the returned file is dropped.
    pub fn lock(&self) -> Result<File, DriverError> {
        let path = self.dir.join(".simulated.lock");
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(DriverError::io("open", &path))?;
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|e| DriverError::io("lock", &path)(e.into()))?;
        Ok(file)
    }

    pub fn read(&self, id: GuestId) -> Result<Option<Guest>, DriverError> {
        let path = self.state_path(id);
        let text = match fs::read(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(DriverError::io("read", &path))?,
        };
        let guest =
            serde_json::from_slice(&text).map_err(|e| DriverError::io("parse", &path)(e.into()))?;
        Ok(Some(guest))
    }

    pub fn write(&self, guest: &Guest) -> Result<(), DriverError> {
        let dir = &guest.definition.directory;
        fs::create_dir_all(dir).map_err(DriverError::io("create", dir))?;
        let text = serde_json::to_vec_pretty(guest)
            .map_err(|e| DriverError::io("encode", dir)(e.into()))?;
        let path = self.state_path(guest.definition.id);
        let fresh = path.with_extension("new");
        // Its bytes are durable and its name is not, as with a real driver's definition.
        let written = File::create(&fresh).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()
        });
        written.map_err(DriverError::io("write", &fresh))?;
        fs::rename(&fresh, &path).map_err(DriverError::io("rename", &fresh))
    }

    pub fn remove(&self, id: GuestId) -> Result<Ensured, DriverError> {
        let path = self.state_path(id);
        match fs::remove_file(&path) {
            Ok(()) => Ok(Ensured::Changed),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Ensured::Unchanged),
            Err(e) => Err(DriverError::io("remove", &path)(e)),
        }
    }

    pub fn list(&self) -> Result<Vec<GuestId>, DriverError> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(DriverError::io("list", &self.dir))? {
            let name = entry
                .map_err(DriverError::io("list", &self.dir))?
                .file_name();
            let id = name.to_str().and_then(|name| name.parse::<GuestId>().ok());
            ids.extend(id.filter(|id| self.state_path(*id).exists()));
        }
        ids.sort();
        Ok(ids)
    }

    pub fn console_log(guest: &Guest) -> PathBuf {
        guest.definition.directory.join("console.log")
    }

    pub fn append_console(&self, guest: &Guest, line: &str) -> Result<(), DriverError> {
        let path = Self::console_log(guest);
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(DriverError::io("open", &path))?;
        file.write_all(line.as_bytes())
            .map_err(DriverError::io("write", &path))
    }

    fn state_path(&self, id: GuestId) -> PathBuf {
        self.dir.join(id.to_string()).join(STATE_FILE)
    }
}
