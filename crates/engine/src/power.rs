//! Starting and stopping guests, and waiting until ssh answers.

use crate::clone::disk_name;
use crate::engine::{Engine, in_pool};
use crate::error::EngineError;
use crate::guest_op::Ask;
use stampo_core::goal::CloneKind;
use stampo_core::guest::GuestState;
use stampo_core::names::GuestName;
use stampo_core::personalisation::Network;
use stampo_driver::{DriverError, Power, StopMethod, StoppedBy};
use stampo_store::{GuestRow, StoreError};
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long one try to reach ssh may take. Emulated guests are slow to answer.
const TRY: Duration = Duration::from_secs(3);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest identification line of an ssh server (RFC 4253, section 4.2).
const BANNER_BYTES: u64 = 255;

impl Engine {
    /// Starts a guest unless it runs.
    pub fn start(&self, name: &GuestName) -> Result<GuestRow, EngineError> {
        self.ready_guest(name, "start")?;
        let ask = Ask {
            verb: "start",
            name,
            from: Some(GuestState::Ready),
            request: serde_json::Value::Null,
            detail: "",
        };
        // Claimed, so that nobody edits its disk or removes it meanwhile.
        let (id, row) = self.claim_guest(&ask, |_, row| {
            self.refuse_without_disk(row, "start")?;
            self.refuse_without_base(row)
        })?;
        let (_, row) = self.with_claimed(id, row, |_, row| {
            self.driver.ensure_defined(&self.definition(row)?)?;
            self.start_row(row)?;
            if row.plan.fork.is_some() {
                // Whoever was about to plug it in may have died.
                self.driver.set_links(row.id, true)?;
            }
            Ok(())
        })?;
        Ok(row)
    }

    /// Stops a guest: agent, then ACPI, then kill; at once with `kill`.
    pub fn stop(&self, name: &GuestName, kill: bool) -> Result<StoppedBy, EngineError> {
        let row = self.ready_guest(name, "stop")?;
        let method = if kill {
            StopMethod::Kill
        } else {
            StopMethod::Graceful {
                agent: self.settings.stop_agent,
                acpi: self.settings.stop_acpi,
            }
        };
        self.audit_begun(
            "stop",
            name.as_str(),
            if kill { "by killing it" } else { "" },
        )?;
        let by = match self.driver.ensure_stopped(row.id, method) {
            // Another process has removed it since.
            Err(DriverError::NotFound(_)) => {
                return Err(EngineError::NotFound {
                    what: "guest",
                    name: name.to_string(),
                });
            }
            other => other?,
        };
        self.store
            .write(|tx| self.audit(tx, "stop", name.as_str(), &format!("{by:?}")))?;
        Ok(by)
    }

    /// What a guest does now; a driver that can't tell gives `Unknown`, never `Stopped`.
    ///
    /// A complete guest that the driver has lost is defined again first: it may run all the same.
    /// `Undefined` is only a guest that is not complete, or gone.
    pub fn power(&self, row: &GuestRow) -> Power {
        match self.observe(row) {
            Power::Undefined if row.state == GuestState::Ready => self.power_of_lost(row),
            power => power,
        }
    }

    fn observe(&self, row: &GuestRow) -> Power {
        self.driver
            .observe(row.id)
            .unwrap_or_else(|error| Power::Unknown {
                reason: error.to_string(),
            })
    }

    fn power_of_lost(&self, row: &GuestRow) -> Power {
        let defined = match row.operation {
            None => self.define_again(&row.name),
            Some(_) => Ok(()),
        };
        match self.observe(row) {
            // Whoever removes a guest says so in its row before the driver forgets it.
            Power::Undefined if self.is_complete(row) => {
                let why = defined.err().map(|error| format!(": {}", error.chain()));
                let why = why.unwrap_or_default();
                let reason =
                    format!("its definition is lost, so nothing tells whether it runs{why}");
                Power::Unknown { reason }
            }
            power => power,
        }
    }

    /// Whether a guest is complete still. One whose row can't be read now may be.
    fn is_complete(&self, row: &GuestRow) -> bool {
        let found: Result<_, StoreError> = self.store.read(|tx| tx.guest(row.id));
        found.map_or(true, |found| {
            found.is_some_and(|row| row.state.is_complete())
        })
    }

    /// An error unless the guest is known not to run.
    pub(crate) fn refuse_unless_stopped(
        &self,
        row: &GuestRow,
        act: &str,
    ) -> Result<(), EngineError> {
        let act = format!("{act} {}", row.name);
        match self.power(row) {
            Power::Stopped | Power::Undefined => Ok(()),
            Power::Running { .. } => {
                let why = format!("it runs; stop it first: stampo stop {}", row.name);
                Err(EngineError::Conflict { act, why })
            }
            Power::Paused { .. } => {
                let paused = || format!("it is paused; end it first: stampo stop {}", row.name);
                let why = in_pool(row).unwrap_or_else(paused);
                Err(EngineError::Conflict { act, why })
            }
            Power::Unknown { reason } => Err(EngineError::Conflict { act, why: reason }),
        }
    }

    /// No guest is without its disk: an older catalog was put back, or somebody took it away.
    pub(crate) fn refuse_without_disk(&self, row: &GuestRow, act: &str) -> Result<(), EngineError> {
        let disk = self.guest_dir(row.id).join(disk_name(row.kind));
        if disk.exists() {
            return Ok(());
        }
        let (disk, name) = (disk.display(), &row.name);
        Err(EngineError::Conflict {
            act: format!("{act} {name}"),
            why: format!("its disk is missing: {disk}; put it back, or: stampo rm {name}"),
        })
    }

    /// A linked clone can't run without the image that it reads.
    fn refuse_without_base(&self, row: &GuestRow) -> Result<(), EngineError> {
        let base = self.pool.image_disk(&row.image);
        if row.kind == CloneKind::Linked && !base.exists() {
            let why = format!("the image that it reads is gone: {}", base.display());
            return Err(EngineError::Conflict {
                act: format!("start {}", row.name),
                why,
            });
        }
        Ok(())
    }

    /// Where ssh reaches a guest; `None` when only a DHCP server knows.
    pub fn ssh_address(row: &GuestRow) -> Option<SocketAddr> {
        let nic = row.plan.nics.first()?;
        if let Some(port) = nic.ssh_port {
            return Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        }
        match &nic.network {
            Network::Static { address, .. } => Some(SocketAddr::new(address.address, 22)),
            Network::Dhcp => None,
        }
    }

    /// Waits until a guest's ssh server identifies itself. Milliseconds since the guest started.
    pub fn wait_ssh(&self, name: &GuestName, timeout: Duration) -> Result<u64, EngineError> {
        let row = self.ready_guest(name, "reach")?;
        let act = || format!("reach ssh of {name}");
        let address = Engine::ssh_address(&row).ok_or_else(|| EngineError::Conflict {
            act: act(),
            why: "its address comes from a DHCP server; ask that server, or give --address"
                .to_owned(),
        })?;
        let start = Instant::now();
        loop {
            let Power::Running { uptime_ms, .. } = self.power(&row) else {
                let why = format!("it does not run; see what it said last: stampo logs {name}");
                return Err(EngineError::Conflict { act: act(), why });
            };
            if has_ssh_banner(address) {
                return Ok(uptime_ms);
            }
            if start.elapsed() > timeout {
                let why = format!(
                    "no answer from {address} within {} s; see its console: stampo logs {name}",
                    timeout.as_secs()
                );
                return Err(EngineError::Conflict { act: act(), why });
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Whether an ssh server identifies itself there (RFC 4253, section 4.2). A forwarded port accepts
/// connections before the guest does, so an open port alone proves nothing.
fn has_ssh_banner(address: SocketAddr) -> bool {
    let Ok(stream) = TcpStream::connect_timeout(&address, TRY) else {
        return false;
    };
    if stream.set_read_timeout(Some(TRY)).is_err() {
        return false;
    }
    let mut line = Vec::new();
    let read = BufReader::new(stream.take(BANNER_BYTES)).read_until(b'\n', &mut line);
    read.is_ok() && line.starts_with(b"SSH-2.0-")
}
