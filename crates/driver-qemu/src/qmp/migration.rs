//! Saving a machine's devices to a file and loading them, over QMP.
//!
//! QEMU calls it migration (`qapi/migration.json`). The memory itself is left out of it
//! (`x-ignore-shared`): it is a file of its own. The end is told by an event, so nothing polls.

use super::Qmp;
use crate::wire::{Deadline, WireError};
use serde_json::{Value, json};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

/// The name under which a file is handed to QEMU.
const HANDED: &str = "state";

impl Qmp {
    /// What the machine does: `running`, `paused`, `inmigrate` (waiting to be loaded), …
    pub fn status(&mut self, deadline: Deadline) -> Result<String, WireError> {
        let value = self.command("query-status", json!({}), deadline)?;
        match value.get("status").and_then(Value::as_str) {
            Some(status) => Ok(status.to_owned()),
            None => Err(WireError::Malformed(
                "query-status gave no status".to_owned(),
            )),
        }
    }

    /// Stops the processors between two instructions.
    pub fn stop(&mut self, deadline: Deadline) -> Result<(), WireError> {
        self.command("stop", json!({}), deadline).map(drop)
    }

    /// Lets the processors go on.
    pub fn go_on(&mut self, deadline: Deadline) -> Result<(), WireError> {
        self.command("cont", json!({}), deadline).map(drop)
    }

    /// Plugs in, or pulls, the cables of these interfaces.
    pub fn set_links(
        &mut self,
        netdevs: &[String],
        up: bool,
        deadline: Deadline,
    ) -> Result<(), WireError> {
        for name in netdevs {
            self.command("set_link", json!({"name": name, "up": up}), deadline)?;
        }
        Ok(())
    }

    /// Takes networks off, which no interface is connected to directly.
    pub fn remove_networks(
        &mut self,
        netdevs: &[String],
        deadline: Deadline,
    ) -> Result<(), WireError> {
        for name in netdevs {
            self.command("netdev_del", json!({"id": name}), deadline)?;
        }
        Ok(())
    }

    /// What must be set before a save or a load.
    pub fn prepare_migration(&mut self, deadline: Deadline) -> Result<(), WireError> {
        let on = |name: &str| json!({"capability": name, "state": true});
        let capabilities = json!({"capabilities": [on("x-ignore-shared"), on("events")]});
        self.command("migrate-set-capabilities", capabilities, deadline)
            .map(drop)
    }

    /// Saves the devices of a stopped machine: to the file at this path, or to the open one, for a
    /// QEMU that takes no path.
    pub fn save(
        &mut self,
        path: &Path,
        open: Option<&File>,
        deadline: Deadline,
    ) -> Result<(), WireError> {
        self.migrate("migrate", path, open, deadline)
    }

    /// Loads the devices of a machine that was started to wait for them.
    pub fn load(
        &mut self,
        path: &Path,
        open: Option<&File>,
        deadline: Deadline,
    ) -> Result<(), WireError> {
        self.migrate("migrate-incoming", path, open, deadline)
    }

    fn migrate(
        &mut self,
        command: &str,
        path: &Path,
        open: Option<&File>,
        deadline: Deadline,
    ) -> Result<(), WireError> {
        let uri = match open {
            Some(file) => {
                self.hand_over(HANDED, file, deadline)?;
                format!("fd:{HANDED}")
            }
            None => file_uri(path)?,
        };
        self.migrations.clear();
        self.command(command, json!({"uri": uri}), deadline)?;
        self.await_migration(command, deadline)
    }

    /// Gives QEMU an open file under a name.
    fn hand_over(&mut self, name: &str, file: &File, deadline: Deadline) -> Result<(), WireError> {
        let id = self.number();
        let request = json!({"execute": "getfd", "arguments": {"fdname": name}, "id": id});
        let line = format!("{request}\n");
        self.wire
            .send_with(line.as_bytes(), file.as_fd(), deadline)?;
        self.answer("getfd", id, deadline).map(drop)
    }

    /// Waits for the event that tells the end.
    fn await_migration(&mut self, command: &str, deadline: Deadline) -> Result<(), WireError> {
        loop {
            match self.migrations.pop_front().as_deref() {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => return Err(self.why_failed(command, deadline)),
                Some(_) => {}
                None => {
                    let message = self.message(deadline)?;
                    self.remember(&message);
                }
            }
        }
    }

    fn why_failed(&mut self, command: &str, deadline: Deadline) -> WireError {
        match self.command("query-migrate", json!({}), deadline) {
            Ok(answer) => {
                let why = answer.get("error-desc").and_then(Value::as_str);
                WireError::refused(command, why.unwrap_or("it failed"))
            }
            Err(error) => error,
        }
    }
}

/// A path in the only form that has no options in it.
fn file_uri(path: &Path) -> Result<String, WireError> {
    let text = path.to_str().filter(|text| !text.contains(",offset="));
    match text {
        Some(text) => Ok(format!("file:{text}")),
        None => Err(WireError::Malformed(format!(
            "the path {} can't be told to QEMU",
            path.display()
        ))),
    }
}
