//! A guest's directory: the names of everything that the driver keeps in it.
//!
//! ```text
//! definition.json  what the guest is made of        console.log   what the guest wrote
//! process.json     the running process's name       console.sock  its serial console
//! lock             held while a guest is started    qmp.sock      QEMU's monitor
//! vars.fd          its own firmware variables       agent.sock    the guest agent
//! tpm/, tpm.sock   its own TPM                      channel.sock  stampo's own agent
//! resumed          it went on from a memory image   qemu.pid      written by QEMU
//! hold.json        why its process executes nothing qemu.log      QEMU's own complaints
//! ```
//! The directory belongs to the caller, who may keep disks in it; the driver touches only these.

use crate::record;
use crate::wire::Deadline;
use rustix::fs::{FlockOperation, OFlags, flock};
use stampo_core::ids::GuestId;
use stampo_driver::{DriverError, GuestDefinition};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One guest's directory.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    dir: PathBuf,
}

impl Place {
    /// The place of this guest under the guests' directory.
    pub fn of(guests_dir: &Path, id: GuestId) -> Self {
        Place {
            dir: guests_dir.join(id.to_string()),
        }
    }

    /// The place that is this directory.
    pub fn at(dir: &Path) -> Self {
        Place {
            dir: dir.to_owned(),
        }
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn definition_path(&self) -> PathBuf {
        self.dir.join("definition.json")
    }

    pub fn process_path(&self) -> PathBuf {
        self.dir.join("process.json")
    }

    /// Why the process executes nothing.
    pub fn hold_path(&self) -> PathBuf {
        self.dir.join("hold.json")
    }

    pub fn console_log(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    /// The console log of before, when that had become too large.
    pub fn old_console_log(&self) -> PathBuf {
        self.dir.join("console.log.old")
    }

    /// What QEMU itself has to say.
    pub fn complaints(&self) -> PathBuf {
        self.dir.join("qemu.log")
    }

    pub fn console_socket(&self) -> PathBuf {
        self.dir.join("console.sock")
    }

    pub fn qmp_socket(&self) -> PathBuf {
        self.dir.join("qmp.sock")
    }

    pub fn agent_socket(&self) -> PathBuf {
        self.dir.join("agent.sock")
    }

    /// The channel to stampo's own agent.
    pub fn channel_socket(&self) -> PathBuf {
        self.dir.join("channel.sock")
    }

    pub fn pid_file(&self) -> PathBuf {
        self.dir.join("qemu.pid")
    }

    pub fn vars(&self) -> PathBuf {
        self.dir.join("vars.fd")
    }

    pub fn tpm_dir(&self) -> PathBuf {
        self.dir.join("tpm")
    }

    pub fn tpm_socket(&self) -> PathBuf {
        self.dir.join("tpm.sock")
    }

    fn resumed_path(&self) -> PathBuf {
        self.dir.join("resumed")
    }

    /// Whether the guest may have gone on from its memory image.
    pub fn is_resumed(&self) -> Result<bool, DriverError> {
        let path = self.resumed_path();
        path.try_exists()
            .map_err(DriverError::io("look for", &path))
    }

    /// Marks, durably, that the guest may go on from its memory image from now on.
    pub fn mark_resumed(&self) -> Result<(), DriverError> {
        let path = self.resumed_path();
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let options = options.create(true).append(true).mode(0o600);
            options.open(&path)?.sync_all()?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(DriverError::io("write", &path))
    }

    /// Takes the mark back: it turned out that the guest executed nothing.
    pub fn unmark_resumed(&self) -> Result<(), DriverError> {
        remove_file(&self.resumed_path())
    }

    fn lock_path(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// How a program that is started in this directory can name one of its sockets: in full when
    /// that fits into a socket address, else by its bare name.
    pub fn socket_argument(&self, socket: &Path) -> PathBuf {
        match socket.file_name() {
            Some(name) if socket.as_os_str().len() > stampo_driver::socket::LONGEST_PATH => {
                name.into()
            }
            _ => socket.to_owned(),
        }
    }

    /// Makes the directory, readable only by its owner: whoever reaches the sockets rules the
    /// guest.
    pub fn ensure_dir(&self) -> Result<(), DriverError> {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir);
        made.map_err(DriverError::io("create", &self.dir))
    }

    /// The recorded definition; `None` when the guest is not defined. One that can't be used is an
    /// error.
    pub fn definition(&self) -> Result<Option<GuestDefinition>, DriverError> {
        record::read(&self.definition_path())
    }

    /// As [`Place::definition`]; `None` also for a record that can't be used, since it says no more
    /// than a missing one and is written anew like one.
    pub fn usable_definition(&self) -> Result<Option<GuestDefinition>, DriverError> {
        match self.definition() {
            Err(error) if record::is_unusable(&error) => Ok(None),
            read => read,
        }
    }

    /// Whether there is a record of a definition, whatever it says.
    pub fn is_defined(&self) -> Result<bool, DriverError> {
        let path = self.definition_path();
        match fs::symlink_metadata(&path) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(DriverError::io("look for", &path)(e)),
        }
    }

    /// Takes the guest's lock, waiting for at most `limit`. The kernel releases it when this
    /// process ends, however it ends. `None` when another process held it all the time.
    pub fn lock(&self, limit: Duration) -> Result<Option<File>, DriverError> {
        let path = self.lock_path();
        let opened = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            // A FIFO in its place would keep us waiting for a reader.
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(&path);
        let file = opened.map_err(DriverError::io("open", &path))?;
        let deadline = Deadline::after(limit);
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(file)),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(e) => return Err(DriverError::io("lock", &path)(e.into())),
            }
            if !deadline.sleep(Duration::from_millis(20)) {
                return Ok(None);
            }
        }
    }

    /// Removes what a QEMU that has ended may have left. Only under the lock, and only when the
    /// guest does not run.
    pub fn sweep(&self) -> Result<(), DriverError> {
        let sockets = [
            self.qmp_socket(),
            self.agent_socket(),
            self.channel_socket(),
            self.console_socket(),
            self.tpm_socket(),
        ];
        for path in
            sockets
                .iter()
                .chain([&self.process_path(), &self.hold_path(), &self.pid_file()])
        {
            remove_file(path)?;
        }
        Ok(())
    }

    /// Removes everything that the driver made, the definition first: from then on the guest is
    /// undefined, and what a crash leaves behind is only files in the caller's directory.
    pub fn forget(&self) -> Result<(), DriverError> {
        remove_file(&self.definition_path())?;
        self.sweep()?;
        remove_file(&self.vars())?;
        remove_file(&self.resumed_path())?;
        for log in [
            self.console_log(),
            self.old_console_log(),
            self.complaints(),
        ] {
            remove_file(&log)?;
        }
        match fs::remove_dir_all(self.tpm_dir()) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                Err(DriverError::io("remove", &self.tpm_dir())(e))
            }
            _ => Ok(()),
        }
    }
}

/// Removes a file; it may be missing.
pub(crate) fn remove_file(path: &Path) -> Result<(), DriverError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(DriverError::io("remove", path)(e)),
        _ => Ok(()),
    }
}
