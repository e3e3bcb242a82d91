//! Freezing a version: its memory image, made by booting it once out of sight.
//!
//! ```text
//! begun ─→ overlay ─→ define ─→ start ─→ settled ─→ sync, links down ─→ memory image ─→ sidecar
//!                                              ended ←─ guest's directory gone ←─ rename ←──┘
//! ```
//! The hidden guest has a directory among the guests and no row: its id is in the operation.
//! Nothing of it is of use before the rename, so everything up to it is taken back when this fails
//! or its process dies; from then on it is finished. What a memory image is on disk is in
//! `image.rs`; what is done with one is not here.

mod again;
mod image;

use crate::engine::Engine;
use crate::error::EngineError;
use crate::version::Bare;
use crate::work::{Watch, Work};
pub(crate) use image::Kept;
use image::{DISK, FrozenSidecar, Hashes, SIDECAR};
use stampo_agent_protocol::{Request, Response};
use stampo_core::ids::{GuestId, ImageId, OperationId};
use stampo_core::lifecycle::State;
use stampo_core::names::VersionRef;
use stampo_core::network::Mac;
use stampo_core::size::ByteSize;
use stampo_driver::{
    Disk, DiskFormat, DriverError, ExecRequest, GuestDefinition, Link, MemoryImage, NicDefinition,
    Start,
};
use stampo_image::durable;
use stampo_image::overlay::create_overlay;
use stampo_policy::Point;
use stampo_store::{OperationRow, OperationState, Tx, VersionRow};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The key in a freeze's request that holds the hidden guest's id.
const HIDDEN: &str = "hidden_guest";

/// How long a guest may take until it has settled. Emulated ones need minutes.
const SETTLE_LIMIT: Duration = Duration::from_secs(15 * 60);

/// How long one question to the agent may take before it is asked whether to stop.
const ASK: Duration = Duration::from_secs(2);

/// How long stampo's own agent may take to say that it is there; the system has settled by then.
const HELLO_LIMIT: Duration = Duration::from_secs(20);

/// How long it may take to prepare the guest.
const PREPARE_LIMIT: Duration = Duration::from_secs(60);

/// How long the guest may take to write to its disks what it still holds.
const SYNC_LIMIT: Duration = Duration::from_secs(120);

/// Waits until everything that starts with the system has started; 127 where there is no systemd.
const AWAIT_SYSTEM: &str = "command -v systemctl > /dev/null || exit 127; \
     exec systemctl is-system-running --wait";

/// Waits until no interface but the loopback has a carrier (sysfs-class-net), 30 s at most.
const AWAIT_UNPLUGGED: &str = "plugged() { for nic in /sys/class/net/*; do [ -e $nic/device ] \
     && [ \"$(cat $nic/carrier 2> /dev/null)\" = 1 ] && return 0; done; return 1; }; \
     left=300; while plugged; do left=$((left - 1)); [ $left -gt 0 ] || exit 1; sleep 0.1; done";

/// How long the guest may take to say that its links are down.
const UNPLUGGED_LIMIT: Duration = Duration::from_secs(120);

/// A freeze that was accepted.
pub struct Freeze {
    /// The operation.
    pub operation: OperationId,
    /// The version.
    pub version: VersionRow,
    hidden: GuestId,
}

/// A version's memory image, as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// Its directory.
    pub directory: PathBuf,
    /// Its manifest.
    pub image: MemoryImage,
}

impl Engine {
    /// Claims a version for freezing.
    pub fn submit_freeze(&self, reference: &VersionRef) -> Result<Freeze, EngineError> {
        // Asked before the catalog is held: a driver may have to probe.
        if !self.driver.capabilities()?.memory_images {
            return Err(EngineError::Conflict {
                act: format!("freeze {reference}"),
                why: "memory images can't be made here; see: stampo doctor".to_owned(),
            });
        }
        self.gate(Point::Freeze, &self.version_row(reference)?)?;
        let hidden = GuestId(Uuid::new_v4());
        // Durably: without its operation nobody would find the hidden guest again.
        let freeze = self.store.write_durably(|tx| {
            let mut row = self.find_version(tx, reference, Bare::Newest)?;
            self.refuse_if_busy(tx, &row)?;
            self.refuse_freeze(tx, &row)?;
            let request = serde_json::json!({ HIDDEN: hidden.to_string() });
            let operation = self.new_operation("freeze", &row.label(), request);
            row.operation = Some(operation.id);
            tx.insert_operation(&operation)?;
            tx.update_version(&row)?;
            self.audit(tx, "freeze", &row.label(), "begun")?;
            Ok::<_, EngineError>(Freeze {
                operation: operation.id,
                version: row,
                hidden,
            })
        })?;
        self.faults.reach("freeze.begun");
        Ok(freeze)
    }

    fn refuse_freeze(&self, tx: &Tx<'_>, row: &VersionRow) -> Result<(), EngineError> {
        let refused = |why: String| {
            Err(EngineError::Conflict {
                act: format!("freeze {}", row.label()),
                why,
            })
        };
        match row.state {
            State::Sealed | State::Published | State::Deprecated => {}
            State::Draft => return refused("it is a draft; seal it first".to_owned()),
            state => return refused(format!("it is {state}, and no clone is made of it")),
        }
        if let Some(base) = &row.image {
            self.hidden_guest(row, base, GuestId(Uuid::nil()))?;
        }
        self.refuse_freeze_again(tx, row)?;
        let (needed, free) = (row.hardware.memory, self.free_for_guests()?);
        if free < needed {
            // The memory is a file: where it has no room left, the guest would be killed.
            return refused(format!(
                "its memory needs {needed}, and {free} are free where guests are kept; see what can \
                 go: stampo gc --dry-run"
            ));
        }
        Ok(())
    }

    /// Carries out an accepted freeze.
    pub fn run_freeze(&self, freeze: Freeze, watch: &dyn Watch) -> Result<Frozen, EngineError> {
        let work = Work::new(self, freeze.operation, watch);
        let label = freeze.version.label();
        let error = match self.caught(|| self.freeze_version(&work, &freeze)) {
            Ok(frozen) => return Ok(frozen),
            Err(error) if work.is_cancelled() => {
                tracing::debug!(error = %error.chain(), "a cancelled freeze");
                EngineError::Cancelled
            }
            Err(error) => error,
        };
        let state = match error {
            EngineError::Cancelled => OperationState::Undone,
            _ => OperationState::Failed,
        };
        let chain = error.chain();
        let ended = match self.named_memory(&freeze.version, freeze.operation) {
            // It is complete and stays; the next start removes what could not be removed.
            Ok(Some(_)) => {
                work.release(&error);
                Ok(())
            }
            Ok(None) => self.end_freeze(&work, &freeze.version, freeze.hidden, state, &chain),
            Err(unknown) => Err(unknown),
        };
        if let Err(undone) = ended {
            tracing::warn!(error = %undone.chain(), "a freeze is settled at the next start");
            work.release(&undone);
        }
        self.audit_failure("freeze", &label, state.as_str(), &chain);
        Err(error)
    }

    /// The memory image that this operation has put in its place.
    fn named_memory(
        &self,
        row: &VersionRow,
        operation: OperationId,
    ) -> Result<Option<image::Kept>, EngineError> {
        let kept = self.memory_images(row)?;
        Ok(kept
            .into_iter()
            .find(|kept| kept.sidecar.operation == operation))
    }

    /// The free space where guests are kept.
    pub(crate) fn free_for_guests(&self) -> Result<ByteSize, EngineError> {
        let dir = self.driver.guests_dir();
        let stat = rustix::fs::statvfs(dir)
            .map_err(|error| EngineError::io("examine", dir)(error.into()))?;
        Ok(ByteSize(stat.f_bavail.saturating_mul(stat.f_frsize)))
    }

    fn freeze_version(&self, work: &Work<'_>, freeze: &Freeze) -> Result<Frozen, EngineError> {
        let (row, label) = (&freeze.version, freeze.version.label());
        let base = row.image.clone().ok_or_else(|| EngineError::NotFound {
            what: "the image of",
            name: label.clone(),
        })?;
        let guest = self.hidden_guest(row, &base, freeze.hidden)?;
        work.phase(&label, "boot", || {
            self.boot_hidden(row, &base, &guest)?;
            let settled = self.await_settled(work, &guest)?;
            Ok(((), settled))
        })?;
        self.faults.reach("freeze.settled");
        let agent = self.own_agent(&guest);
        let image = work.phase(&label, "freeze", || {
            if agent.is_some() {
                self.prepare_agent(&guest)?;
            }
            self.agent_shell(&guest, "sync", SYNC_LIMIT)?;
            self.driver.set_links(guest.id, false)?;
            self.await_unplugged(&guest)?;
            let (_, image) = self.driver.ensure_frozen(guest.id)?;
            let saved = image.saved_after_us as f64 / 1000.0;
            let detail = format!("{saved:.1} ms, {} of devices", ByteSize(image.state_bytes));
            Ok((image, detail))
        })?;
        self.faults.reach("freeze.frozen");
        let directory = self.adopt_memory(row, &base, &guest, (&image, agent), work.id)?;
        self.end_freeze(work, row, guest.id, OperationState::Done, "")?;
        Ok(Frozen { directory, image })
    }

    /// The machine that is booted to be frozen: the version's hardware, with a network that leads
    /// nowhere but to the host's user-mode one.
    pub(crate) fn hidden_guest(
        &self,
        row: &VersionRow,
        base: &ImageId,
        id: GuestId,
    ) -> Result<GuestDefinition, EngineError> {
        let directory = self.guest_dir(id);
        let nics = row.hardware.nics.iter().map(|nic| NicDefinition {
            mac: Mac::from_random(rand::random()),
            model: nic.model,
            link: Link::User {
                ssh_port: None,
                guest_address: None,
            },
        });
        let guest = GuestDefinition {
            id,
            name: format!("freeze-{}", row.label()),
            hardware: row.hardware.clone(),
            disks: vec![Disk {
                path: directory.join(DISK),
                format: DiskFormat::Qcow2,
                backing: Some(self.pool.image_disk(base)),
                layers: Vec::new(),
                serial: "root".to_owned(),
            }],
            seed: None,
            nics: nics.collect(),
            generation_id: Uuid::new_v4(),
            serial: "frozen".to_owned(),
            provenance: format!("stampo:template={};image={base}", row.label()),
            start: Start::BootToFreeze {
                image: directory.join("memory"),
            },
            directory,
        };
        guest.check_start()?;
        Ok(guest)
    }

    fn boot_hidden(
        &self,
        row: &VersionRow,
        base: &ImageId,
        guest: &GuestDefinition,
    ) -> Result<(), EngineError> {
        self.pool
            .ensure_guest_dir(guest.id)
            .map_err(EngineError::room("make a place for freezing"))?;
        self.faults.reach("freeze.placed");
        let disk = &guest.disks[0].path;
        create_overlay(disk, &self.pool.image_disk(base), row.virtual_size.bytes())
            .map_err(EngineError::room("make the overlay"))?;
        self.faults.reach("freeze.disk");
        self.driver.ensure_defined(guest)?;
        self.faults.reach("freeze.defined");
        self.driver.ensure_running(guest.id)?;
        self.faults.reach("freeze.started");
        Ok(())
    }

    /// Waits until the guest has settled; by which sign.
    fn await_settled(
        &self,
        work: &Work<'_>,
        guest: &GuestDefinition,
    ) -> Result<String, EngineError> {
        let begun = Instant::now();
        loop {
            work.check_cancelled()?;
            let asked = Instant::now();
            match self.driver.agent_ping(guest.id, ASK) {
                Ok(()) => break,
                Err(DriverError::AgentSilent { .. }) if begun.elapsed() < SETTLE_LIMIT => {
                    // A guest without an open channel answers at once that it does not answer.
                    std::thread::sleep((ASK / 10).saturating_sub(asked.elapsed()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let left = SETTLE_LIMIT.saturating_sub(begun.elapsed());
        let outcome = self.agent_shell(guest, AWAIT_SYSTEM, left)?;
        let said = String::from_utf8_lossy(&outcome.stdout).trim().to_owned();
        match outcome.exit_code {
            0 => Ok("the system runs".to_owned()),
            // Some service failed, here as in every clone: that is the template's affair.
            _ if said == "degraded" => Ok("the system runs, degraded".to_owned()),
            127 => Ok("the guest agent answers; there is no systemd".to_owned()),
            code => Err(EngineError::Conflict {
                act: format!("wait until {} has settled", guest.name),
                why: format!("systemctl says {said:?} and ends with {code}"),
            }),
        }
    }

    /// The version of stampo's own agent in the guest, if it has one.
    fn own_agent(&self, guest: &GuestDefinition) -> Option<String> {
        match self
            .driver
            .ask_agent(guest.id, &Request::Hello, HELLO_LIMIT)
        {
            Ok(Response::Hello(hello)) => Some(hello.agent),
            Ok(other) => {
                tracing::warn!(guest = %guest.name, ?other, "no greeting from stampo's agent");
                None
            }
            Err(error) => {
                tracing::warn!(guest = %guest.name, %error, "no instant clones: no agent of ours");
                None
            }
        }
    }

    /// Has stampo's agent do what every clone would do in the same way. An older one can't, and its
    /// clones do it themselves.
    fn prepare_agent(&self, guest: &GuestDefinition) -> Result<(), EngineError> {
        let asked = self
            .driver
            .ask_agent(guest.id, &Request::Prepare, PREPARE_LIMIT);
        match asked {
            Ok(Response::Prepared) => Ok(()),
            Err(error @ DriverError::AgentSilent { .. }) => Err(error.into()),
            other => {
                tracing::warn!(guest = %guest.name, ?other, "the agent did not prepare the freeze");
                Ok(())
            }
        }
    }

    /// Waits until the guest's kernel knows that its links are down. A guest that is frozen before
    /// would learn it in every fork, after the fork has been asked whether it is plugged in: stampo's
    /// agent goes first, before the kernel's own threads.
    fn await_unplugged(&self, guest: &GuestDefinition) -> Result<(), EngineError> {
        let outcome = self.agent_shell(guest, AWAIT_UNPLUGGED, UNPLUGGED_LIMIT)?;
        if outcome.exit_code != 0 {
            tracing::warn!(guest = %guest.name, "it still says that it has a link");
        }
        Ok(())
    }

    fn agent_shell(
        &self,
        guest: &GuestDefinition,
        script: &str,
        timeout: Duration,
    ) -> Result<stampo_driver::ExecOutcome, EngineError> {
        let request = ExecRequest {
            argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            input: Vec::new(),
            timeout,
        };
        Ok(self.driver.agent_exec(guest.id, &request)?)
    }

    /// Puts the memory image, with the disk that belongs to it, beside the version's image.
    fn adopt_memory(
        &self,
        row: &VersionRow,
        base: &ImageId,
        guest: &GuestDefinition,
        (image, agent): (&MemoryImage, Option<String>),
        operation: OperationId,
    ) -> Result<PathBuf, EngineError> {
        let made = guest.directory.join("memory");
        let disk = made.join(DISK);
        std::fs::rename(&guest.disks[0].path, &disk).map_err(EngineError::io("rename", &disk))?;
        image::seal_disk(&disk)?;
        let hashes = Hashes::of(&made)?;
        let sidecar = FrozenSidecar::new(row, base, image, operation, self.now_ms(), agent, hashes);
        crate::sidecar::write_sidecar(&made.join(SIDECAR), &sidecar)?;
        durable::fsync_dir(&made).map_err(EngineError::room("make the memory image durable"))?;
        self.faults.reach("freeze.assembled");
        self.driver.ensure_undefined(guest.id)?;
        let directory = self.memory_dir(base, row.id, &image.machine_hash);
        self.replace_memory(row, base, &directory)?;
        durable::rename_durably(&made, &directory)
            .map_err(EngineError::room("name the memory image"))?;
        self.faults.reach("freeze.named");
        Ok(directory)
    }

    /// Removes the hidden guest and ends the operation.
    fn end_freeze(
        &self,
        work: &Work<'_>,
        row: &VersionRow,
        hidden: GuestId,
        state: OperationState,
        why: &str,
    ) -> Result<(), EngineError> {
        self.driver.ensure_undefined(hidden)?;
        self.faults.reach("freeze.undefined");
        self.pool
            .ensure_guest_removed(hidden)
            .map_err(EngineError::room("remove the frozen guest"))?;
        self.faults.reach("freeze.removed");
        let error = (state != OperationState::Done).then_some(why);
        work.end(state, error, |tx| match state {
            OperationState::Done => self.audit(tx, "frozen", &row.label(), ""),
            _ => Ok(()),
        })?;
        self.faults.reach("freeze.ended");
        Ok(())
    }

    /// Recovery of a freeze: finishes one whose memory image has its name, takes back all others.
    pub(crate) fn recover_freeze(
        &self,
        work: &Work<'_>,
        operation: &OperationRow,
    ) -> Result<(), EngineError> {
        let versions = self
            .store
            .read(|tx| tx.versions_of_operation(operation.id))?;
        let hidden = operation.request[HIDDEN]
            .as_str()
            .map(str::parse::<GuestId>);
        let (Some(row), Some(Ok(hidden))) = (versions.first(), hidden) else {
            return work.end(OperationState::Undone, Some("interrupted"), |_| Ok(()));
        };
        if let Some(frozen) = self.named_memory(row, operation.id)? {
            // Whoever named it may have died before that was durable.
            durable::fsync_parent(&frozen.directory)
                .map_err(EngineError::room("make the memory image durable"))?;
            return self.end_freeze(work, row, hidden, OperationState::Done, "");
        }
        let why = "interrupted; nothing of it remains";
        self.end_freeze(work, row, hidden, OperationState::Undone, why)
    }

    /// Where a version's memory image of this machine is, or will be.
    pub(crate) fn memory_dir(
        &self,
        base: &ImageId,
        version: stampo_core::ids::VersionId,
        machine_hash: &str,
    ) -> PathBuf {
        let name = image::name(version, machine_hash);
        self.pool.image_dir(base).join(name)
    }
}
