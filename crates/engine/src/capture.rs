//! Capturing a guest: what its disk has become, as a new draft version of a template.
//!
//! ```text
//! begun ─→ (running: sync, pause) ─→ its disk, copied or flattened ─→ (goes on) ─→ digest ─→ version row
//! ```
//! The guest is claimed meanwhile, so nobody starts, changes or removes it. One that runs stands still
//! while the part of its disk that is its own is copied, and goes on before anything else is done: what
//! is captured is its disk at one moment. Its memory is not: a memory image is made of the sealed version
//! (`freeze/`), since what was sealed away from a disk would still be in the memory of whoever used it.

use crate::clone::disk_name;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::exec::{GuestCommand, Streams};
use crate::guest_op::Ask;
use crate::work::{PhaseProgress, Watch, Work};
use serde::Serialize;
use stampo_core::goal::CloneKind;
use stampo_core::guest::GuestState;
use stampo_core::ids::OperationId;
use stampo_core::lifecycle::{Evidence, Verb, transition};
use stampo_core::names::{GuestName, TemplateName};
use stampo_core::size::ByteSize;
use stampo_driver::Power;
use stampo_image::copy::{Method, copy_image};
use stampo_image::flatten::flatten;
use stampo_store::{GuestRow, OperationRow, VersionRow};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a guest may take to write to its disk what it still holds.
const SYNC_LIMIT: Duration = Duration::from_secs(120);

/// Where a captured version comes from.
#[derive(Debug, Clone, Serialize)]
struct CaptureOrigin<'a> {
    kind: &'a str,
    guest: &'a str,
    parent: Option<String>,
}

/// A capture that was accepted.
pub struct Capture {
    /// The operation.
    pub operation: OperationId,
    /// The version, in state *building*.
    pub version: VersionRow,
    guest: GuestRow,
}

impl Engine {
    /// Claims a guest, and reserves the next version of the template for what its disk has become.
    pub fn submit_capture(
        &self,
        guest: &GuestName,
        template: &TemplateName,
    ) -> Result<Capture, EngineError> {
        let row = self.ready_guest(guest, "capture")?;
        let parent = self.store.read(|tx| tx.version(row.version))?;
        let origin = CaptureOrigin {
            kind: "capture",
            guest: guest.as_str(),
            parent: parent.map(|version| version.label()),
        };
        let origin =
            serde_json::to_value(origin).map_err(EngineError::room("record the capture"))?;
        // Durably: a sidecar of the guest must not be newer than its row.
        let (operation, version, guest) = self.store.write_durably(|tx| {
            let (operation, version) = self.begin_version_in(tx, "capture", template, origin)?;
            let ask = Ask {
                verb: "capture",
                name: guest,
                from: Some(GuestState::Ready),
                request: serde_json::Value::Null,
                detail: &version.label(),
            };
            let guest = self.claim_in(tx, operation, &ask, |_, _| Ok(()))?;
            Ok::<_, EngineError>((operation, version, guest))
        })?;
        self.faults.reach("capture.begun");
        Ok(Capture {
            operation,
            version,
            guest,
        })
    }

    /// Carries out an accepted capture.
    pub fn run_capture(
        &self,
        capture: Capture,
        watch: &dyn Watch,
    ) -> Result<VersionRow, EngineError> {
        let work = Work::new(self, capture.operation, watch);
        self.carry_out(&work, || self.capture_version(&work, capture))
    }

    fn capture_version(
        &self,
        work: &Work<'_>,
        capture: Capture,
    ) -> Result<VersionRow, EngineError> {
        let (mut row, guest) = (capture.version, capture.guest);
        let label = row.label();
        let staging = self
            .pool
            .stage()
            .map_err(EngineError::room("make a place for the capture"))?;
        self.faults.reach("capture.staged");
        let disk = staging.path().join("disk.raw");
        self.capture_disk(work, &guest, &label, &disk)?;
        self.faults.reach("capture.whole");
        if !guest.plan.extra_disks.is_empty() {
            let count = guest.plan.extra_disks.len();
            let detail = format!("{count} further disks of {} are not captured", guest.name);
            work.event(&label, "capture", &detail, Duration::ZERO)?;
        }
        row.hardware = guest.plan.hardware;
        self.adopt_disk(work, &mut row, &disk)?;
        row.state = transition(row.state, Verb::Finish, Evidence::default())
            .map_err(|source| EngineError::Refused { label, source })?;
        self.commit_version(work, &mut row, "capture")?;
        Ok(row)
    }

    fn capture_disk(
        &self,
        work: &Work<'_>,
        guest: &GuestRow,
        label: &str,
        disk: &Path,
    ) -> Result<(), EngineError> {
        match self.power(guest) {
            Power::Running { .. } => self.capture_running(work, guest, label, disk),
            Power::Stopped | Power::Undefined => {
                let own = self.guest_dir(guest.id).join(disk_name(guest.kind));
                self.make_whole(work, guest, label, &own, disk)
            }
            power => Err(not_still(guest, power)),
        }
    }

    /// Captures a guest that goes on afterwards.
    fn capture_running(
        &self,
        work: &Work<'_>,
        guest: &GuestRow,
        label: &str,
        disk: &Path,
    ) -> Result<(), EngineError> {
        let own = self.guest_dir(guest.id).join(disk_name(guest.kind));
        let copy = disk.with_file_name(disk_name(guest.kind));
        work.phase(label, "copy", || {
            let synced = self.sync_guest(guest);
            let paused = Instant::now();
            self.driver
                .ensure_paused(guest.id)
                .map_err(EngineError::in_guest(&guest.name))?;
            self.faults.reach("capture.paused");
            let phase = "copy";
            let copied = copy_image(&own, &copy, Method::Auto, &PhaseProgress { work, phase });
            // Whatever came of it, the guest goes on.
            let resumed = self.go_on(work, guest);
            let stood_still = paused.elapsed();
            self.faults.reach("capture.resumed");
            resumed?;
            work.not_cancelled()?;
            let copied = copied.map_err(EngineError::room("copy the guest's disk"))?;
            let how = match &synced {
                Ok(()) => String::new(),
                Err(error) => format!(
                    "; as after a power loss, since it could not be told to write what it held: {}",
                    error.chain()
                ),
            };
            let detail = format!(
                "{} in {} ms, in which {} stood still{how}",
                ByteSize(copied.copied_bytes),
                stood_still.as_millis(),
                guest.name
            );
            Ok(((), detail))
        })?;
        match guest.kind {
            CloneKind::Linked => self.make_whole(work, guest, label, &copy, disk),
            CloneKind::Full => {
                std::fs::rename(&copy, disk).map_err(EngineError::io("rename", disk))
            }
        }
    }

    /// Lets a guest that stood still go on. Where that fails, the next command tries it again.
    fn go_on(&self, work: &Work<'_>, guest: &GuestRow) -> Result<(), EngineError> {
        let resumed = self.driver.ensure_running(guest.id);
        resumed.map(drop).map_err(|error| {
            work.leave_open();
            EngineError::in_guest(&guest.name)(error)
        })
    }

    /// Makes the raw disk that a guest sees of the file that is its own.
    fn make_whole(
        &self,
        work: &Work<'_>,
        guest: &GuestRow,
        label: &str,
        own: &Path,
        disk: &Path,
    ) -> Result<(), EngineError> {
        work.phase(label, "capture", || {
            let phase = "capture";
            let progress = PhaseProgress { work, phase };
            let act = || {
                EngineError::room::<Box<dyn std::error::Error + Send + Sync>>(format!(
                    "capture the disk of {}",
                    guest.name
                ))
            };
            let made = match guest.kind {
                CloneKind::Linked => {
                    let base = self.pool.image_disk(&guest.image);
                    flatten(own, &base, disk, &progress)
                        .map(|made| made.copied_bytes)
                        .map_err(|error| act()(error.into()))
                }
                CloneKind::Full => copy_image(own, disk, Method::Auto, &progress)
                    .map(|made| made.copied_bytes)
                    .map_err(|error| act()(error.into())),
            };
            work.not_cancelled()?;
            Ok(((), format!("{} copied", ByteSize(made?))))
        })
    }

    /// Has a running guest write to its disk what it still holds.
    fn sync_guest(&self, guest: &GuestRow) -> Result<(), EngineError> {
        let sync = GuestCommand {
            argv: vec!["sync".to_owned()],
            limit: Some(SYNC_LIMIT),
            ..GuestCommand::default()
        };
        let streams = Streams {
            stdin: None,
            stdin_first: false,
            stdout: &mut std::io::sink(),
            stderr: &mut std::io::sink(),
            signal: &mut || None,
        };
        match self.exec_in(guest, &sync, streams)? {
            0 => Ok(()),
            code => Err(EngineError::Conflict {
                act: format!("run sync in {}", guest.name),
                why: format!("it ended with {code}"),
            }),
        }
    }

    /// Recovery of a capture: a guest that its dead process left standing still goes on.
    pub(crate) fn recover_capture(
        &self,
        work: &Work<'_>,
        operation: &OperationRow,
    ) -> Result<(), EngineError> {
        for guest in self.store.read(|tx| tx.guests_of_operation(work.id))? {
            if let Power::Paused { .. } = self.power(&guest) {
                self.go_on(work, &guest)?;
            }
        }
        self.faults.reach("capture.goes-on");
        self.recover_version(work, operation)
    }
}

fn not_still(guest: &GuestRow, power: Power) -> EngineError {
    let why = match power {
        Power::Unknown { reason } => format!("it is not known whether it runs: {reason}"),
        _ => format!("it stands still; let it go on: stampo start {}", guest.name),
    };
    EngineError::Conflict {
        act: format!("capture {}", guest.name),
        why,
    }
}
