//! One import of a URL at a time: the place of its download is the same for all of them.
//!
//! The lock is a file of its own under `locks/`, taken with flock(2), so that it ends with the
//! process that holds it. It is held from before the first byte until the download is taken in and
//! forgotten. The file stays: removing it would let two processes lock two files of one name.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::work::Work;
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeSet;
use std::fs::File;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often a lock that another process holds is asked for again.
const PAUSE: Duration = Duration::from_millis(200);

/// The names that this process holds: flock(2) does not tell, as it belongs to an open file.
static HELD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A download that is this process's alone, until this is dropped.
pub(crate) struct DownloadLock {
    name: String,
    _file: File,
}

impl Drop for DownloadLock {
    fn drop(&mut self) {
        HELD.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.name);
    }
}

impl Engine {
    /// Waits until the download of this name is ours. Cancelling ends the wait.
    pub(crate) fn lock_download(
        &self,
        work: &Work<'_>,
        name: &str,
    ) -> Result<DownloadLock, EngineError> {
        loop {
            if let Some(lock) = self.try_lock_download(name)? {
                return Ok(lock);
            }
            work.check_cancelled()?;
            work.progress("wait for another import of this URL", 0, 0);
            std::thread::sleep(PAUSE);
        }
    }

    /// The lock of a download, unless somebody has it.
    pub(crate) fn try_lock_download(
        &self,
        name: &str,
    ) -> Result<Option<DownloadLock>, EngineError> {
        let dir = self.home.join("locks");
        stampo_image::durable::ensure_dir(&dir, 0o700)
            .map_err(EngineError::room("make a place for locks"))?;
        let path = dir.join(name);
        let file = File::options().append(true).create(true).open(&path);
        let file = file.map_err(EngineError::io("open", &path))?;
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if held.contains(name) || flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        held.insert(name.to_owned());
        Ok(Some(DownloadLock {
            name: name.to_owned(),
            _file: file,
        }))
    }

    /// Whether this process holds the lock of this download.
    pub(crate) fn holds_download(name: &str) -> bool {
        HELD.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(name)
    }
}
