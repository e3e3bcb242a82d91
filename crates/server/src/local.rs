//! The API over an engine in this process.

use crate::answer::Bridge;
use crate::convert::{self, store_problem};
use crate::open::refused;
use crate::pools::agreed;
use crate::problem::problem;
use crate::tender;
use stampo_api::{
    AcceptRequest, Api, Boot, BuildRequest, CaptureRequest, CloneRequest, DoctorReport,
    ExecRequest, ExecStreams, GcReport, Guest, ImportRequest, Kind, Operation, Outcome, Passport,
    Problem, Reply, RescanReport, ResizeRequest, ScrubReport, ScrubRequest, SealPlan, SealRequest,
    StopReply, Verification, Version, Watch,
};
use stampo_core::ids::OperationId;
use stampo_core::lifecycle::State;
use stampo_core::names::{GuestName, VersionRef};
use stampo_core::plan::ClonePlan;
use stampo_driver::StoppedBy;
use stampo_driver_qemu::Options;
use stampo_driver_qemu::doctor::{DoctorOptions, checks};
use stampo_engine::{
    Build, Capture, Engine, EngineError, Flatten, Freeze, GuestCommand, Import, ImportSource,
    PassportOf, Removal, Resize, Scrub, ScrubOptions, Seal, Streams, Verify,
};
use stampo_guest::seal::Selection;
use stampo_store::{GuestRow, OperationRow, VersionRow};
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Slower than this a disk is never done, and a cancelled scrub waits for its next leaf.
const SLOWEST: u64 = 1 << 20;

/// Work that was accepted and waits for someone to follow it.
enum Job {
    Build(Box<Build>),
    Import(Box<Import>),
    Capture(Box<Capture>),
    Seal(Box<Seal>),
    Verify(Box<Verify>),
    Freeze(Box<Freeze>),
    Scrub(Box<Scrub>),
    Flatten(Box<Flatten>),
    Clone,
}

/// The API in this process.
pub struct Local {
    pub(crate) engine: Engine,
    jobs: Mutex<HashMap<OperationId, Job>>,
}

impl Local {
    /// The API over this engine.
    pub fn new(engine: Engine) -> Self {
        Local {
            engine,
            jobs: Mutex::default(),
        }
    }

    /// Keeps accepted work until it is followed.
    fn accept_job(&self, id: OperationId, job: Job) -> Reply<Operation> {
        self.jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, job);
        Ok(convert::operation(self.operation_row(id)?))
    }

    fn operation_row(&self, id: OperationId) -> Reply<OperationRow> {
        let row = self
            .engine
            .store()
            .read(|tx| tx.operation(id))
            .map_err(store_problem)?;
        row.ok_or_else(|| {
            problem(&EngineError::NotFound {
                what: "operation",
                name: id.to_string(),
            })
        })
    }

    /// An error of a change as a problem, with an audit record.
    pub(crate) fn refuse<'a>(
        &'a self,
        action: &'a str,
        resource: &'a str,
    ) -> impl Fn(EngineError) -> Problem + 'a {
        move |error| refused(&self.engine, action, resource, &error)
    }

    fn wire_guest(&self, row: &GuestRow) -> Reply<Guest> {
        convert::guest(&self.engine, row)
    }

    /// Carries out a job; the version it made and the guests.
    fn run(
        &self,
        id: OperationId,
        job: Job,
        watch: &dyn Watch,
    ) -> Result<(Option<VersionRow>, Vec<GuestRow>), EngineError> {
        let bridge = Bridge(watch);
        let version = |row: VersionRow| (Some(row), Vec::new());
        let made = |row: VersionRow| {
            self.engine.record_packages_of(&row);
            (Some(row), Vec::new())
        };
        match job {
            Job::Build(build) => self.engine.run_build(*build, &bridge).map(made),
            Job::Import(import) => self.engine.run_import(*import, &bridge).map(made),
            Job::Capture(capture) => self.engine.run_capture(*capture, &bridge).map(made),
            Job::Seal(seal) => self.engine.run_seal(*seal, &bridge).map(made),
            Job::Verify(verify) => self.engine.run_verify(*verify, &bridge).map(version),
            Job::Freeze(freeze) => {
                let row = freeze.version.clone();
                self.engine
                    .run_freeze(*freeze, &bridge)
                    .map(|_| version(row))
            }
            Job::Scrub(scrub) => self
                .engine
                .run_scrub(&scrub, &bridge)
                .map(|_| (None, Vec::new())),
            Job::Flatten(flatten) => self
                .engine
                .run_flatten(*flatten, &bridge)
                .map(|row| (None, vec![row])),
            Job::Clone => self
                .engine
                .clone_guests(id, &bridge)
                .map(|rows| (None, rows)),
        }
    }
}

fn operation_id(text: &str) -> Reply<OperationId> {
    text.parse()
        .map_err(|error| Problem::from_error(Kind::Usage, &error))
}

fn selection(request: &SealRequest) -> Selection {
    Selection {
        only: request.only.clone(),
        except: request.except.clone(),
        also: request.also.clone(),
        keep: request.keep.clone(),
    }
}

impl Api for Local {
    fn doctor(&self) -> Reply<DoctorReport> {
        let options = DoctorOptions {
            home: self.engine.home().to_owned(),
            driver: Options::default(),
        };
        let checks = checks(&options).into_iter().map(convert::check);
        Ok(DoctorReport {
            checks: checks.collect(),
        })
    }

    fn build(&self, request: BuildRequest) -> Reply<Operation> {
        let build = self
            .engine
            .submit_build(&request.name, &request.recipe, &request.directory)
            .map_err(self.refuse("build", request.name.as_str()))?;
        self.accept_job(build.operation, Job::Build(Box::new(build)))
    }

    fn import(&self, request: ImportRequest) -> Reply<Operation> {
        let source = ImportSource {
            source: request.source,
            format: request.format,
            sha256: request.sha256,
            hardware: request.hardware,
        };
        let import = self
            .engine
            .submit_import(&request.name, source)
            .map_err(self.refuse("import", request.name.as_str()))?;
        self.accept_job(import.operation, Job::Import(Box::new(import)))
    }

    fn capture(&self, request: CaptureRequest) -> Reply<Operation> {
        let capture = self
            .engine
            .submit_capture(&request.guest, &request.name)
            .map_err(self.refuse("capture", request.guest.as_str()))?;
        self.accept_job(capture.operation, Job::Capture(Box::new(capture)))
    }

    fn seal(&self, request: SealRequest) -> Reply<Operation> {
        let resource = request.version.to_string();
        let seal = self
            .engine
            .submit_seal(&request.version, selection(&request))
            .map_err(self.refuse("seal", &resource))?;
        self.accept_job(seal.operation, Job::Seal(Box::new(seal)))
    }

    fn seal_plan(&self, request: SealRequest) -> Reply<SealPlan> {
        let chosen = selection(&request);
        chosen
            .check()
            .map_err(|error| Problem::from_error(Kind::Usage, &error))?;
        let (row, plan) = self
            .engine
            .seal_plan(&request.version, &chosen)
            .map_err(|error| problem(&error))?;
        Ok(convert::seal_plan(row.label(), &plan))
    }

    fn verify(&self, version: &VersionRef) -> Reply<Operation> {
        let resource = version.to_string();
        let verify = self
            .engine
            .submit_verify(version)
            .map_err(self.refuse("verify", &resource))?;
        self.accept_job(verify.operation, Job::Verify(Box::new(verify)))
    }

    fn freeze(&self, version: &VersionRef) -> Reply<Operation> {
        let resource = version.to_string();
        let freeze = self
            .engine
            .submit_freeze(version)
            .map_err(self.refuse("freeze", &resource))?;
        self.accept_job(freeze.operation, Job::Freeze(Box::new(freeze)))
    }

    fn verification(&self, version: &VersionRef) -> Reply<Verification> {
        let row = self
            .engine
            .version_row(version)
            .map_err(|error| problem(&error))?;
        let exceptions = self
            .engine
            .store()
            .read(|tx| tx.exceptions(row.id))
            .map_err(store_problem)?;
        let Some(proof) = &row.proof else {
            let what = format!("find the proof of {}: it is a {}", row.label(), row.state);
            return Err(Problem::new(Kind::NotFound, what)
                .hint(format!("stampo template seal {}", row.label())));
        };
        let proof = serde_json::from_value(proof.clone()).map_err(|error| {
            Problem::new(Kind::Failed, format!("read the stored proof: {error}"))
        })?;
        Ok(convert::verification(&row, &proof, &exceptions))
    }

    fn accept(&self, request: AcceptRequest) -> Reply<Version> {
        let resource = request.version.to_string();
        let row = self
            .engine
            .accept(
                &request.version,
                &request.finding,
                request.path.as_deref(),
                &request.reason,
            )
            .map_err(self.refuse("accept", &resource))?;
        convert::version(&self.engine, &row)
    }

    fn versions(&self, all: bool) -> Reply<Vec<Version>> {
        let (rows, counts) = self
            .engine
            .store()
            .read(|tx| Ok((tx.versions()?, tx.guest_counts()?)))
            .map_err(store_problem)?;
        let shown = rows
            .iter()
            .filter(|row| all || !matches!(row.state, State::Purged | State::Building));
        shown
            .map(|row| {
                let count = counts.get(&row.id).copied().unwrap_or(0);
                convert::version_with(&self.engine, row, count)
            })
            .collect()
    }

    fn version(&self, version: &VersionRef) -> Reply<Version> {
        let row = self
            .engine
            .version_row(version)
            .map_err(|error| problem(&error))?;
        convert::version(&self.engine, &row)
    }

    fn inspect(&self, version: &VersionRef) -> Reply<serde_json::Value> {
        self.engine
            .inspect(version)
            .map_err(|error| problem(&error))
    }

    fn clone_plan(&self, request: CloneRequest) -> Reply<ClonePlan> {
        // Whoever clones asks for the plan first: what is refused here was meant to be made.
        let resource = request.version.to_string();
        self.engine
            .plan_clones(&request.version, &request.name, &request.spec)
            .map_err(self.refuse("clone", &resource))
    }

    fn clone_guests(&self, request: CloneRequest) -> Reply<Operation> {
        let resource = request.version.to_string();
        let (operation, _) = self
            .engine
            .submit_leased(
                &request.version,
                &request.name,
                &request.spec,
                request.lease.map(agreed),
            )
            .map_err(self.refuse("clone", &resource))?;
        if request.lease.is_some() {
            // The guests are on their way. Why nobody will end them, the next command says.
            tender::ensure(self.engine.home()).ok();
        }
        self.accept_job(operation.id, Job::Clone)
    }

    fn flatten(&self, guest: &GuestName) -> Reply<Operation> {
        let flatten = self
            .engine
            .submit_flatten(guest)
            .map_err(self.refuse("flatten", guest.as_str()))?;
        self.accept_job(flatten.operation, Job::Flatten(Box::new(flatten)))
    }

    fn guests(&self, all: bool) -> Reply<Vec<Guest>> {
        // Read once: there may be very many guests.
        let (rows, versions, leases) = self
            .engine
            .store()
            .read(|tx| Ok((tx.guests()?, tx.versions()?, tx.leases()?)))
            .map_err(store_problem)?;
        let ends: HashMap<_, _> = leases
            .right
            .iter()
            .map(|row| (row.lease.guest, row.lease.until_ms))
            .collect();
        let versions: HashMap<_, _> = versions.iter().map(|v| (v.id, v)).collect();
        let origin = |row: &GuestRow| {
            let version = versions.get(&row.version).copied();
            convert::Origin::of(&self.engine, row, version)
        };
        let shown = rows.iter().filter(|row| all || row.state.is_complete());
        Ok(shown
            .map(|row| {
                let ends_ms = ends.get(&row.id).copied();
                convert::guest_with(&self.engine, row, origin(row), ends_ms)
            })
            .collect())
    }

    fn guest(&self, guest: &GuestName) -> Reply<Guest> {
        self.wire_guest(
            &self
                .engine
                .guest_row(guest)
                .map_err(|error| problem(&error))?,
        )
    }

    fn start(&self, guest: &GuestName) -> Reply<Guest> {
        let row = self
            .engine
            .start(guest)
            .map_err(self.refuse("start", guest.as_str()))?;
        self.wire_guest(&row)
    }

    fn stop(&self, guest: &GuestName, kill: bool) -> Reply<StopReply> {
        let by = self
            .engine
            .stop(guest, kill)
            .map_err(self.refuse("stop", guest.as_str()))?;
        let by = match by {
            StoppedBy::Already => "already",
            StoppedBy::Agent => "agent",
            StoppedBy::Acpi => "acpi",
            StoppedBy::Kill => "kill",
        };
        Ok(StopReply { by: by.to_owned() })
    }

    fn rename(&self, guest: &GuestName, name: &GuestName) -> Reply<Guest> {
        let row = self
            .engine
            .rename(guest, name)
            .map_err(self.refuse("rename", guest.as_str()))?;
        self.wire_guest(&row)
    }

    fn resize(&self, request: ResizeRequest) -> Reply<Guest> {
        let to = Resize {
            cpus: request.cpus,
            memory: request.memory,
            disk_size: request.disk_size,
        };
        let name = request.guest.as_str();
        let row = self
            .engine
            .resize(&request.guest, to)
            .map_err(self.refuse("resize", name))?;
        self.wire_guest(&row)
    }

    fn remove(&self, guests: &[GuestName], keep_s: Option<u64>, force: bool) -> Reply<()> {
        let keep = keep_s.map(Duration::from_secs);
        let names: Vec<&str> = guests.iter().map(GuestName::as_str).collect();
        self.engine
            .remove_all(guests, Removal { keep, force })
            .map_err(self.refuse("remove", &names.join(" ")))
    }

    fn restore_guest(&self, guest: &GuestName) -> Reply<Guest> {
        let row = self
            .engine
            .restore_guest(guest)
            .map_err(self.refuse("restore", guest.as_str()))?;
        self.wire_guest(&row)
    }

    fn wait_ssh(&self, guest: &GuestName, timeout_s: u64) -> Reply<u64> {
        self.engine
            .wait_ssh(guest, Duration::from_secs(timeout_s))
            .map_err(|error| problem(&error))
    }

    fn boot(&self, guest: &GuestName) -> Reply<Boot> {
        convert::boot(self.engine.boot(guest))
    }

    fn wait_system(&self, guest: &GuestName, timeout_s: u64) -> Reply<Boot> {
        let timeout = Duration::from_secs(timeout_s);
        convert::boot(self.engine.wait_system(guest, timeout))
    }

    fn exec(&self, request: ExecRequest, streams: ExecStreams<'_>) -> Reply<i32> {
        let command = GuestCommand {
            argv: request.argv,
            env: request.env,
            cwd: request.cwd,
            user: request.user,
            limit: request.timeout_s.map(Duration::from_secs),
        };
        let streams = Streams {
            stdin: streams.stdin,
            stdin_first: request.stdin_first,
            stdout: streams.stdout,
            stderr: streams.stderr,
            signal: streams.signal,
        };
        self.engine
            .exec(&request.guest, &command, streams)
            .map_err(self.refuse("exec", request.guest.as_str()))
    }

    fn read_file(&self, guest: &GuestName, path: &str) -> Reply<Vec<u8>> {
        self.engine
            .read_file(guest, path)
            .map_err(self.refuse("read_file", guest.as_str()))
    }

    fn write_file(&self, guest: &GuestName, path: &str, content: &[u8]) -> Reply<()> {
        self.engine
            .write_file(guest, path, content)
            .map_err(self.refuse("write_file", guest.as_str()))
    }

    fn console(&self, guest: &GuestName) -> Reply<PathBuf> {
        self.engine.console(guest).map_err(|error| problem(&error))
    }

    fn console_log(&self, guest: &GuestName) -> Reply<PathBuf> {
        self.engine
            .console_log(guest)
            .map_err(|error| problem(&error))
    }

    fn known_hosts(&self, guest: &GuestName) -> Reply<PathBuf> {
        self.engine
            .known_hosts(guest)
            .map_err(|error| problem(&error))
    }

    fn passports(&self, guests: &[GuestName]) -> Reply<Vec<Passport>> {
        let read = self
            .engine
            .passports(guests)
            .map_err(|error| problem(&error))?;
        let with_origin = |passport: PassportOf| {
            let row = self.engine.guest_row(&passport.guest);
            let row = row.map_err(|error| problem(&error))?;
            let version = self.engine.store().read(|tx| tx.version(row.version));
            let version = version.map_err(store_problem)?;
            let origin = convert::Origin::of(&self.engine, &row, version.as_ref());
            Ok(convert::passport(passport, origin))
        };
        read.into_iter().map(with_origin).collect()
    }

    fn gc(&self, apply: bool, now: bool) -> Reply<GcReport> {
        let subjects = if apply {
            self.engine.gc(now).map_err(self.refuse("gc", "store"))?
        } else {
            self.engine.gc_plan(now).map_err(|error| problem(&error))?
        };
        Ok(convert::gc(apply, subjects))
    }

    fn rescan(&self) -> Reply<RescanReport> {
        let found = self
            .engine
            .rescan()
            .map_err(self.refuse("rescan", "store"))?;
        Ok(RescanReport {
            versions: found.versions,
            guests: found.guests,
            undefined: found.undefined,
            refused: found.refused,
        })
    }

    fn scrub(&self, request: ScrubRequest) -> Reply<Operation> {
        let limit = request.limit.map(|limit| limit.bytes());
        if limit.is_some_and(|limit| limit < SLOWEST) {
            let what = "scrub at this pace: it is below 1M a second";
            return Err(Problem::new(Kind::Usage, what));
        }
        let options = ScrubOptions {
            older_than: request.older_than_s.map(Duration::from_secs),
            limit: limit.and_then(NonZeroU64::new),
        };
        let scrub = self
            .engine
            .submit_scrub(options)
            .map_err(self.refuse("scrub", "store"))?;
        self.accept_job(scrub.operation, Job::Scrub(Box::new(scrub)))
    }

    fn scrub_report(&self, operation: &str) -> Reply<ScrubReport> {
        let report = self
            .engine
            .scrub_report(operation_id(operation)?)
            .map_err(|error| problem(&error))?;
        Ok(convert::scrub(report))
    }

    fn operations(&self, limit: u32) -> Reply<Vec<Operation>> {
        let rows = self
            .engine
            .store()
            .read(|tx| tx.recent_operations(limit))
            .map_err(store_problem)?;
        Ok(rows.into_iter().map(convert::operation).collect())
    }

    fn follow(&self, operation: &str, watch: &dyn Watch) -> Reply<Outcome> {
        let id = operation_id(operation)?;
        let job = self
            .jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
        let (version, guests) = match job {
            Some(job) => self.run(id, job, watch).map_err(|error| problem(&error))?,
            None => {
                self.engine
                    .follow(id, &Bridge(watch))
                    .map_err(|error| problem(&error))?;
                (None, Vec::new())
            }
        };
        let guests = guests
            .iter()
            .map(|row| self.wire_guest(row))
            .collect::<Reply<Vec<_>>>()?;
        let operation = convert::operation(self.operation_row(id)?);
        Ok(Outcome {
            operation,
            version: version.map(|row| row.label()),
            guests,
        })
    }

    fn cancel(&self, operation: &str) -> Reply<()> {
        let id = operation_id(operation)?;
        self.engine
            .cancel(id)
            .map_err(self.refuse("cancel", operation))
    }
}
