//! Places for unfinished work, each with an owner, so that only the work of the dead is swept.
//!
//! The owner's record lies beside the directory and is written first and removed last. So a
//! directory always has a record, whenever a crash comes, and the directory itself can be renamed
//! to where its content belongs.

use super::{DIR_MODE, Pool, PoolError, list};
use crate::durable::{ensure_dir, ensure_removed, write_file_durably};
use crate::process_identity::ProcessIdentity;
use crate::regular;
use stampo_core::ids::ImageId;
use std::path::{Path, PathBuf};
use std::time::Duration;
use uuid::Uuid;

/// Writing a record or a sidecar takes milliseconds; one that is half written after this was abandoned.
const STALE_AFTER: Duration = Duration::from_secs(3600);

/// A record is about a hundred bytes.
const MAX_RECORD_BYTES: u64 = 64 << 10;

/// A directory for unfinished work. It is removed with everything in it when this is dropped.
#[derive(Debug)]
pub struct Staging {
    id: Uuid,
    dir: PathBuf,
    keep: bool,
}

/// What sweeping found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Removed: their owner is dead.
    pub removed: Vec<Uuid>,
    /// Left alone: their owner is alive.
    pub alive: Vec<Uuid>,
    /// Left alone: it can't be told who owns them.
    pub unknown: Vec<PathBuf>,
}

impl Staging {
    /// Its id, to record it with an operation before anything is done in it.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Leaves the directory where it is, for [`Pool::ensure_staging`] in a later step.
    ///
    /// Its owner is still this process: once that has ended, a sweep may remove it.
    pub fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // In this order: see the head of the file. What fails here, the next sweep repeats.
        if let Err(error) =
            ensure_removed(&self.dir).and_then(|()| ensure_removed(&owner_path(&self.dir)))
        {
            tracing::warn!(%error, "unfinished work stays behind");
        }
    }
}

/// Where the owner of the staging directory `dir` is recorded.
fn owner_path(dir: &Path) -> PathBuf {
    dir.with_extension("owner")
}

impl Pool {
    /// A new place for unfinished work, owned by this process.
    pub fn stage(&self) -> Result<Staging, PoolError> {
        self.ensure_staging(Uuid::new_v4())
    }

    /// The place `id` for unfinished work, owned by this process from now on; made if missing.
    ///
    /// For an operation that goes on after a crash: what its first process left is still there,
    /// unless a sweep came first. Only who holds the operation's lease may call this.
    pub fn ensure_staging(&self, id: Uuid) -> Result<Staging, PoolError> {
        let dir = self.staging_dir().join(id.to_string());
        let record = owner_path(&dir);
        let me = ProcessIdentity::current()
            .and_then(|me| serde_json::to_vec(&me).map_err(Into::into))
            .map_err(PoolError::while_doing("name the owner of", &dir))?;
        write_file_durably(&record, &me, 0o600)?;
        ensure_dir(&dir, DIR_MODE)?;
        Ok(Staging {
            id,
            dir,
            keep: false,
        })
    }

    /// Removes the unfinished work of owners that are not alive, by the word of `is_live`
    /// (usually [`ProcessIdentity::is_alive`]), and empties the trash.
    ///
    /// Start-up calls it after it has taken up again what can be resumed.
    pub fn sweep_staging(
        &self,
        is_live: &dyn Fn(&ProcessIdentity) -> bool,
    ) -> Result<Swept, PoolError> {
        let mut swept = Swept::default();
        let mut seen = std::collections::BTreeSet::new();
        for path in list(&self.staging_dir())? {
            let Some(id) = staging_id(&path) else {
                match is_partial_record(&path) {
                    true if is_stale(&path) => ensure_removed(&path)?,
                    true => {}
                    false => swept.unknown.push(path),
                }
                continue;
            };
            if seen.insert(id) {
                self.sweep_one(id, is_live, &mut swept)?;
            }
        }
        self.empty_trash()?;
        Ok(swept)
    }

    /// Removes the half-written sidecars that a crash left in the directories of images long ago.
    /// One that is written again replaces it anyway. Looks at every image.
    pub fn sweep_sidecars(&self) -> Result<(), PoolError> {
        for dir in list(&self.images_dir())? {
            let is_image = |name: &str| name.parse::<ImageId>().is_ok();
            if !dir
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(is_image)
            {
                continue;
            }
            for path in list(&dir)? {
                if is_partial_sidecar(&path) && is_stale(&path) {
                    ensure_removed(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Sweeps the staging directory `id`, or the record that is left of it.
    fn sweep_one(
        &self,
        id: Uuid,
        is_live: &dyn Fn(&ProcessIdentity) -> bool,
        swept: &mut Swept,
    ) -> Result<(), PoolError> {
        let dir = self.staging_dir().join(id.to_string());
        let record = owner_path(&dir);
        let owner = regular::read(&record, MAX_RECORD_BYTES)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<ProcessIdentity>(&bytes).ok());
        match owner {
            // Its owner may have finished between the listing and now.
            None if !dir.exists() => {}
            None => swept.unknown.push(dir),
            Some(owner) if is_live(&owner) => swept.alive.push(id),
            Some(_) => {
                self.throw_away(&dir)?;
                ensure_removed(&record)?;
                swept.removed.push(id);
            }
        }
        Ok(())
    }
}

/// The id of the staging directory that `path` is, or whose record it is.
fn staging_id(path: &Path) -> Option<Uuid> {
    let name = path.file_name()?.to_str()?;
    Uuid::parse_str(name.strip_suffix(".owner").unwrap_or(name)).ok()
}

/// Whether `path` was written so long ago that nobody can still be writing it.
fn is_stale(path: &Path) -> bool {
    let modified = std::fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > STALE_AFTER))
}

/// Whether `path` is a record that its process is just writing, or died while writing.
fn is_partial_record(path: &Path) -> bool {
    is_partial(path, "", ".owner")
}

/// The same of a version's sidecar.
fn is_partial_sidecar(path: &Path) -> bool {
    is_partial(path, "version-", ".json")
}

/// Whether a file between a UUID's `before` and `after` is only half written.
fn is_partial(path: &Path, before: &str, after: &str) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let whole = name.and_then(|name| name.strip_prefix('.')?.strip_suffix(".partial"));
    let id = whole.and_then(|name| name.strip_prefix(before)?.strip_suffix(after));
    id.is_some_and(|id| Uuid::parse_str(id).is_ok())
}
