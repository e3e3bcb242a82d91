//! Images of the pool and who needs them: the one place where an image is taken away.
//!
//! An image is needed by a version that is not purged, by a guest that reads it, and by a running
//! operation that is about to give it to a version. The question and the move out of the pool are
//! one writing transaction, so that no other process can begin to need it in between: whoever makes
//! a version records the image in its operation before the bytes come into the pool. Its bytes are
//! freed after that transaction. The rows themselves are asked, never an index of them, and only
//! rows whose checksums are right are believed.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::sidecar::{GuestSidecar, Protection, VersionSidecar, read_sidecar};
use stampo_core::ids::{GuestId, ImageId, OperationId};
use stampo_core::lifecycle::State;
use stampo_store::{GuestRow, Tx};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The key in an operation's request that holds the image it is about to give to a version.
pub(crate) const PENDING_IMAGE: &str = "pending_image";

/// The tables whose rows can name an image and are few; guests' rows are judged one by one. A
/// version is found by way of its template.
const NAMING: [&str; 3] = ["templates", "versions", "operations"];

impl Engine {
    /// Removes an image and everything beside it unless something needs it. Whether it is gone.
    ///
    /// `by` is the operation that asks; its own claim on the image does not count.
    pub(crate) fn drop_unneeded_image(
        &self,
        image: &ImageId,
        by: Option<OperationId>,
    ) -> Result<bool, EngineError> {
        let act = || EngineError::room(format!("remove the image {}", image.short()));
        let taken_out = self.store.write(|tx| {
            let is_needed = self.image_need(tx, image, by)?.is_some();
            if is_needed || self.unknown_need(tx, image)?.is_some() {
                return Ok(None);
            }
            self.pool.bury_image(image).map(Some).map_err(act())
        })?;
        let Some(grave) = taken_out else {
            return Ok(false);
        };
        self.faults.reach("image.buried");
        // Nobody waits for the catalog while many gigabytes are freed. What is not erased because
        // this process dies goes with the trash, at the next start.
        if let Some(grave) = grave {
            self.pool.erase(&grave).map_err(act())?;
        }
        Ok(true)
    }

    /// Why an image has to stay; `None` when nothing in the catalog needs it.
    pub(crate) fn image_need(
        &self,
        tx: &Tx<'_>,
        image: &ImageId,
        by: Option<OperationId>,
    ) -> Result<Option<String>, EngineError> {
        if let Some(version) = tx.image_holders(image)?.first() {
            return Ok(Some(format!("{} has it", version.label())));
        }
        let readers = tx.image_readers(image)?;
        if !readers.is_empty() {
            return Ok(Some(format!("read by {}", guest_names(&readers))));
        }
        let pending = tx.image_workers()?.into_iter().any(|operation| {
            Some(operation.id) != by && operation.request[PENDING_IMAGE] == image.as_str()
        });
        if pending {
            return Ok(Some("an operation works on it".to_owned()));
        }
        self.image_doubt(tx, image)
    }

    /// Whether any row that could name an image has changed by itself.
    pub(crate) fn has_doubt(&self, tx: &Tx<'_>) -> Result<bool, EngineError> {
        if damaged_of(tx, &NAMING)?.is_some() {
            return Ok(true);
        }
        Ok(!tx.damaged_guest_ids()?.is_empty())
    }

    /// Why what the rows say is no reason to delete the bytes of an image: one of those that could
    /// name it has changed by itself. `None` when they can be believed.
    pub(crate) fn image_doubt(
        &self,
        tx: &Tx<'_>,
        image: &ImageId,
    ) -> Result<Option<String>, EngineError> {
        let may_name =
            |table: &str| format!("a damaged row of {table} may have named it: stampo store scrub");
        if let Some(table) = damaged_of(tx, &NAMING)? {
            return Ok(Some(may_name(table)));
        }
        let damaged = tx.damaged_guest_ids()?;
        let reads_another = |id: &String| {
            let id: Option<GuestId> = id.parse().ok();
            id.is_some_and(|id| self.reads_another_image(id, image))
        };
        Ok((!damaged.iter().all(reads_another)).then(|| may_name("guests")))
    }

    /// As [`Engine::image_doubt`], of what the rows say of versions alone.
    pub(crate) fn version_doubt(&self, tx: &Tx<'_>) -> Result<Option<String>, EngineError> {
        let damaged = damaged_of(tx, &["templates", "versions"])?;
        Ok(damaged.map(|table| format!("a row of {table} is damaged: stampo store scrub")))
    }

    /// Whether a guest's sidecar, which is right, tells that it was made of another image.
    fn reads_another_image(&self, id: GuestId, image: &ImageId) -> bool {
        let path = self.guest_dir(id).join(crate::sidecar::GUEST);
        match read_sidecar::<GuestSidecar>(&path) {
            Ok((sidecar, Protection::Right)) => sidecar.id == id && sidecar.image != *image,
            _ => false,
        }
    }

    /// Why an image has to stay although nothing in the catalog needs it: a rescan could bring back
    /// what does.
    pub(crate) fn unknown_need(
        &self,
        tx: &Tx<'_>,
        image: &ImageId,
    ) -> Result<Option<String>, EngineError> {
        if self.has_unknown_sidecars(tx, image)? {
            return Ok(Some(unknown("its sidecar names a version")));
        }
        Ok(self.unknown_readers(tx)?.need_of(image))
    }

    /// Why an image that `by` would remove has to stay, when no version that is known has it.
    pub(crate) fn strange_need(
        &self,
        tx: &Tx<'_>,
        image: &ImageId,
        by: OperationId,
    ) -> Result<Option<String>, EngineError> {
        if !tx.image_holders(image)?.is_empty() {
            return Ok(None);
        }
        match self.image_need(tx, image, Some(by))? {
            Some(need) => Ok(Some(need)),
            None => self.unknown_need(tx, image),
        }
    }

    /// Whether a sidecar beside this image names a version that a rescan could bring back: one that
    /// the catalog does not know, or knows only as it was before (an older catalog was put back). A
    /// version that the catalog knows, at least as new, with another image (its draft was sealed)
    /// or as purged has left its sidecar behind.
    fn has_unknown_sidecars(&self, tx: &Tx<'_>, image: &ImageId) -> Result<bool, EngineError> {
        for path in self.version_sidecars(image)? {
            // A sidecar that can't be read is not ours to judge, so its image stays.
            let Ok((sidecar, _)) = read_sidecar::<VersionSidecar>(&path) else {
                return Ok(true);
            };
            let left_behind = tx.version(sidecar.id)?.is_some_and(|row| {
                let elsewhere = row.image.as_ref() != Some(image) || row.state == State::Purged;
                elsewhere && row.changed_ms >= sidecar.changed_ms
            });
            if !left_behind {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The images that guests read of which the catalog does not know. A guest whose row is damaged is
    /// a case of [`Engine::image_doubt`].
    pub(crate) fn unknown_readers(&self, tx: &Tx<'_>) -> Result<UnknownReaders, EngineError> {
        let mut found = UnknownReaders::default();
        for dir in crate::rescan::list(self.driver.guests_dir())? {
            let path = dir.join(crate::sidecar::GUEST);
            match read_sidecar::<GuestSidecar>(&path) {
                // The row itself is read: an index can still name one that is lost.
                Ok((sidecar, _)) => match tx.guest(sidecar.id) {
                    Ok(Some(_)) => {}
                    Err(error) if !error.is_damage() => return Err(error.into()),
                    _ => drop(found.images.insert(sidecar.image)),
                },
                // It may read any image: without its row nothing tells.
                Err(_) if path.exists() && !self.knows_guest_of(tx, &dir)? => {
                    found.unreadable.get_or_insert(path);
                }
                Err(_) => {}
            }
        }
        Ok(found)
    }

    /// Whether the guest that a directory is named after is in the catalog.
    fn knows_guest_of(&self, tx: &Tx<'_>, dir: &Path) -> Result<bool, EngineError> {
        let name = dir.file_name().and_then(|name| name.to_str());
        let id: Option<GuestId> = name.and_then(|name| name.parse().ok());
        Ok(match id {
            Some(id) => tx.has_guest(id)?,
            None => true,
        })
    }

    /// Removes images that nothing knows of: no version, no guest, no running operation, and no
    /// sidecar that a rescan could use. One listing and one query when there are none.
    pub(crate) fn sweep_images(&self) -> Result<(), EngineError> {
        // Listed first: an image that comes later is not in the list.
        let on_disk = self.image_names()?;
        if on_disk.is_empty() {
            return Ok(());
        }
        let known = self.store.read(|tx| tx.images_of_versions())?;
        for image in on_disk.iter().filter(|image| !known.contains(image)) {
            let is_lost = self.store.read(|tx| {
                let needed = self.image_need(tx, image, None)?.is_some();
                Ok::<_, EngineError>(!needed && !self.has_unknown_sidecars(tx, image)?)
            })?;
            if is_lost && self.drop_unneeded_image(image, None)? {
                tracing::info!(image = image.short(), "removed an image that nothing knew");
            }
        }
        Ok(())
    }

    /// The names of the image directories, without looking into them.
    pub(crate) fn image_names(&self) -> Result<Vec<ImageId>, EngineError> {
        let dir = self.pool.images_dir();
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&dir).map_err(EngineError::io("list", &dir))? {
            let entry = entry.map_err(EngineError::io("list", &dir))?;
            names.extend(
                entry
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse().ok()),
            );
        }
        Ok(names)
    }

    /// Every whole image in the pool.
    pub(crate) fn image_ids(&self) -> Result<Vec<ImageId>, EngineError> {
        let scan = self
            .pool
            .scan()
            .map_err(EngineError::room("list the images"))?;
        for (path, why) in &scan.strange {
            tracing::warn!(path = %path.display(), why, "something among the images is no image");
        }
        Ok(scan.images.into_iter().map(|image| image.id).collect())
    }

    /// The version sidecars of an image.
    pub(crate) fn version_sidecars(&self, image: &ImageId) -> Result<Vec<PathBuf>, EngineError> {
        let is_sidecar = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with("version-") && name.ends_with(".json"))
        };
        Ok(crate::rescan::list(&self.pool.image_dir(image))?
            .into_iter()
            .filter(is_sidecar)
            .collect())
    }
}

/// What guests read of which the catalog does not know.
#[derive(Debug, Default)]
pub(crate) struct UnknownReaders {
    images: HashSet<ImageId>,
    /// A sidecar that can't be read.
    unreadable: Option<PathBuf>,
}

impl UnknownReaders {
    /// Why they need an image, if they do.
    pub(crate) fn need_of(&self, image: &ImageId) -> Option<String> {
        if self.images.contains(image) {
            return Some(unknown("it is read by a guest"));
        }
        self.unreadable.as_ref().map(|path| {
            let path = path.display();
            format!("a guest that can't be read may need it, {path}: stampo store rescan")
        })
    }
}

fn unknown(what: &str) -> String {
    format!("{what} that the catalog does not know: stampo store rescan")
}

/// The first of these tables that has a row which has changed by itself.
fn damaged_of<'t>(tx: &Tx<'_>, tables: &[&'t str]) -> Result<Option<&'t str>, EngineError> {
    for table in tables {
        if tx.has_damage(table, None)? {
            return Ok(Some(table));
        }
    }
    Ok(None)
}

/// Their names, for a sentence.
pub(crate) fn guest_names(guests: &[GuestRow]) -> String {
    let names: Vec<&str> = guests.iter().map(|guest| guest.name.as_str()).collect();
    names.join(", ")
}
