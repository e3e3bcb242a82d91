//! Files and the console of guests: through the agent while they run, on their disk while they don't.

use crate::engine::Engine;
use crate::error::EngineError;
use stampo_core::names::GuestName;
use stampo_driver::{DriverError, Power};
use std::path::PathBuf;
use std::time::Duration;

/// The largest file that is copied through the engine.
pub const FILE_LIMIT_BYTES: u64 = 1 << 30;
/// The largest file that is read through the agent, which sends it as text.
const AGENT_FILE_LIMIT_BYTES: usize = 64 << 20;
/// How long the agent may take for a file.
const FILE_TIME: Duration = Duration::from_secs(300);

impl Engine {
    /// The socket of a running guest's serial console.
    pub fn console(&self, name: &GuestName) -> Result<PathBuf, EngineError> {
        let row = self.guest_row(name)?;
        if !matches!(self.power(&row), Power::Running { .. }) {
            let why = format!("it does not run; start it first: stampo start {name}");
            return Err(EngineError::Conflict {
                act: format!("open the console of {name}"),
                why,
            });
        }
        Ok(self.driver.console_socket(row.id)?)
    }

    /// The file that a guest's serial console is logged to.
    pub fn console_log(&self, name: &GuestName) -> Result<PathBuf, EngineError> {
        let row = self.guest_row(name)?;
        // Asked first: a guest that the driver has lost is defined again.
        let power = self.power(&row);
        match self.driver.console_log(row.id) {
            Err(DriverError::NotFound(_)) => Err(EngineError::Conflict {
                act: format!("find the log of {name}"),
                why: match power {
                    Power::Unknown { reason } => reason,
                    _ => format!("it is {}", row.state),
                },
            }),
            other => Ok(other?),
        }
    }

    /// A known_hosts file with exactly this guest's host keys, so that ssh needs no trust on first
    /// use. Empty when the guest makes its own keys.
    pub fn known_hosts(&self, name: &GuestName) -> Result<PathBuf, EngineError> {
        let row = self.ready_guest(name, "reach")?;
        let lines: String = row
            .host_keys
            .iter()
            .map(|key| format!("{name} {key}\n"))
            .collect();
        let path = self.guest_dir(row.id).join("known_hosts");
        stampo_image::durable::write_file_durably(&path, lines.as_bytes(), 0o600)
            .map_err(EngineError::room("write the guest's known_hosts"))?;
        Ok(path)
    }

    /// Reads a regular file of a guest.
    pub fn read_file(&self, name: &GuestName, path: &str) -> Result<Vec<u8>, EngineError> {
        let row = self.ready_guest(name, "read a file of")?;
        check_path(path)?;
        self.audit_begun("read_file", name.as_str(), path)?;
        // Asked of one that is paused too: it refuses. Its disk must not be read beside it.
        if let Power::Running { .. } | Power::Paused { .. } = self.power(&row) {
            return self
                .driver
                .agent_read_file(row.id, path, AGENT_FILE_LIMIT_BYTES, FILE_TIME)
                .map_err(EngineError::in_guest(name));
        }
        let act = || format!("read {path} of {name}");
        let disk = self.open_disk(&row, false)?;
        let fs = stampo_guest::fs::open_read(disk).map_err(EngineError::room(act()))?;
        fs.read(path, FILE_LIMIT_BYTES)
            .map_err(EngineError::room(act()))
    }

    /// Writes a regular file of a guest. On a disk, an existing file keeps its owner and mode.
    pub fn write_file(
        &self,
        name: &GuestName,
        path: &str,
        content: &[u8],
    ) -> Result<(), EngineError> {
        let row = self.ready_guest(name, "write a file of")?;
        check_path(path)?;
        // Asked of one that is paused too: it refuses. Its disk must not be read beside it.
        if let Power::Running { .. } | Power::Paused { .. } = self.power(&row) {
            self.store
                .write(|tx| self.audit(tx, "write_file", name.as_str(), path))?;
            return self
                .driver
                .agent_write_file(row.id, path, content, FILE_TIME)
                .map_err(EngineError::in_guest(name));
        }
        self.write_on_disk(name, path, content)
    }
}

fn check_path(path: &str) -> Result<(), EngineError> {
    if path.starts_with('/') && !path.contains('\0') && path.len() <= 4096 {
        return Ok(());
    }
    let why = "write an absolute path in the guest".to_owned();
    Err(EngineError::Usage {
        act: format!("use {path:?}"),
        why,
    })
}
