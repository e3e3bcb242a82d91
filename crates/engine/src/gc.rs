//! Collecting what nothing needs any more, and saying why everything else stays.
//!
//! Roots are: versions that are not purged, linked clones, and images that a living operation
//! works on. What has no root goes; nothing else is ever looked at, so a file that stampo did not
//! make is safe anywhere.

mod guests;

use crate::engine::Engine;
use crate::error::EngineError;
use crate::import::DOWNLOAD;
use stampo_core::ids::{GuestId, ImageId, VersionId};
use stampo_core::lifecycle::{State, Verb};
use stampo_core::names::{VersionRef, VersionSelect};
use stampo_core::retention::Fate;
use stampo_core::size::ByteSize;
use stampo_store::{GuestRow, VersionRow};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

/// How long an interrupted download is kept.
const DOWNLOAD_GRACE: Duration = Duration::from_secs(7 * 24 * 3600);

/// One thing in the store, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// What it is.
    pub kind: SubjectKind,
    /// Its name.
    pub name: String,
    /// The bytes that it takes.
    pub size: ByteSize,
    /// Whether it goes.
    pub goes: bool,
    /// Why.
    pub reason: String,
}

/// The names of the guests that stay and need an image.
type Readers = HashMap<ImageId, Vec<String>>;

/// What a subject is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectKind {
    /// A version.
    Version(VersionRef),
    /// An image without a version.
    Image(ImageId),
    /// A guest.
    Guest(GuestId),
    /// A part of a download that an interrupted import left, by its name.
    Staging,
}

impl Subject {
    /// What has changed since it was judged stays, and says why.
    fn stays_for(&mut self, error: &EngineError) {
        self.goes = false;
        self.reason = format!("it could not go: {}", error.chain());
    }
}

impl Engine {
    /// Everything that collection looks at. Changes nothing.
    pub fn gc_plan(&self, now: bool) -> Result<Vec<Subject>, EngineError> {
        let mut subjects = Vec::new();
        // Guests first: a version whose last readers go can go with them.
        let (guests, versions) = self
            .store
            .read(|tx| Ok::<_, EngineError>((tx.guests()?, tx.versions()?)))?;
        let mut readers = Readers::new();
        for row in guests {
            let subject = self.judge_guest(&row, now)?;
            if !subject.goes && row.reads_image() {
                let of_image = readers.entry(row.image.clone()).or_default();
                of_image.push(row.name.to_string());
            }
            subjects.push(subject);
        }
        subjects.extend(self.unknown_guests()?);
        let mut freed = Vec::new();
        let fates = self.fates()?;
        for row in versions {
            if row.state != State::Purged {
                let subject = self.judge_version(&row, now, &readers, &fates)?;
                freed.extend(
                    row.image
                        .filter(|_| subject.goes)
                        .map(|i| (subjects.len(), i)),
                );
                subjects.push(subject);
            }
        }
        self.keep_doubtful(&mut subjects, &freed)?;
        for image in self.image_ids()? {
            subjects.extend(self.judge_image(&image)?);
        }
        subjects.extend(self.judge_downloads(now)?);
        Ok(subjects)
    }

    /// Guests that lie there and are not in the catalog. They stay: a rescan may bring them back, and
    /// says why if it can't.
    fn unknown_guests(&self) -> Result<Vec<Subject>, EngineError> {
        // Listed first: one that is made meanwhile has its row by then.
        let dirs = crate::rescan::list(self.driver.guests_dir())?;
        let known: HashSet<GuestId> = self.store.read(|tx| tx.guest_ids())?.into_iter().collect();
        let mut damaged = self.store.read(|tx| tx.damaged_guest_ids())?;
        damaged.sort_unstable();
        let mut subjects = Vec::new();
        for dir in dirs {
            let name = dir.file_name().and_then(|name| name.to_str());
            let Some((name, Ok(id))) = name.map(|name| (name, name.parse::<GuestId>())) else {
                continue;
            };
            let is_damaged = damaged.binary_search_by(|id| id.as_str().cmp(name)).is_ok();
            if known.contains(&id) || is_damaged || !dir.join(crate::sidecar::GUEST).exists() {
                continue;
            }
            subjects.push(Subject {
                kind: SubjectKind::Guest(id),
                name: name.to_owned(),
                size: ByteSize(usage_of(&dir)),
                goes: false,
                reason: "the catalog does not know this guest: stampo store rescan".to_owned(),
            });
        }
        Ok(subjects)
    }

    /// Removes what can go. The subjects with what became of them; an error when something could
    /// not be removed, after everything else was.
    pub fn gc(&self, now: bool) -> Result<Vec<Subject>, EngineError> {
        let mut subjects = self.gc_plan(now)?;
        self.faults.reach("gc.judged");
        let mut failure = self.collect_guests(&mut subjects, now).err();
        self.faults.reach("gc.removed");
        for subject in subjects.iter_mut().filter(|subject| subject.goes) {
            match self.collect(subject) {
                Ok(()) => {}
                Err(error) if error.is_refusal() => subject.stays_for(&error),
                // The rest goes nevertheless: room may be what is missing.
                Err(error) => {
                    let act = format!("remove {}", subject.name);
                    failure.get_or_insert(EngineError::room(act)(error));
                }
            }
            self.faults.reach("gc.removed");
        }
        self.sweep_staging()?;
        let swept = self.pool.sweep_sidecars();
        swept.map_err(EngineError::room("sweep half-written sidecars"))?;
        failure.map_or(Ok(subjects), Err)
    }

    fn collect(&self, subject: &Subject) -> Result<(), EngineError> {
        match &subject.kind {
            SubjectKind::Version(reference) => {
                self.change_version(reference, Verb::Purge).map(drop)
            }
            // They went together before.
            SubjectKind::Guest(_) => Ok(()),
            SubjectKind::Image(image) => self.drop_unneeded_image(image, None).map(drop),
            SubjectKind::Staging => self.forget_download(&subject.name),
        }
    }

    /// Keeps versions whose images, by their places in `freed`, a damaged row or a guest that the catalog
    /// does not know may need.
    fn keep_doubtful(
        &self,
        subjects: &mut [Subject],
        freed: &[(usize, ImageId)],
    ) -> Result<(), EngineError> {
        if freed.is_empty() {
            return Ok(());
        }
        // All rows are looked at once, and not for each version, when they are right.
        let has_doubt = self.store.read(|tx| self.has_doubt(tx))?;
        let strangers = self.store.read(|tx| self.unknown_readers(tx))?;
        for (at, image) in freed {
            let doubt = match has_doubt {
                true => self.store.read(|tx| self.image_doubt(tx, image))?,
                false => None,
            };
            if let Some(why) = doubt.or_else(|| strangers.need_of(image)) {
                (subjects[*at].goes, subjects[*at].reason) = (false, why);
            }
        }
        Ok(())
    }

    fn judge_version(
        &self,
        row: &VersionRow,
        now: bool,
        readers: &Readers,
        fates: &HashMap<VersionId, Fate>,
    ) -> Result<Subject, EngineError> {
        let (goes, mut reason) = self.fate_of_version(row, now, readers)?;
        match fates.get(&row.id) {
            None | Some(Fate::NotTheirs) => {}
            Some(fate) => reason = format!("{reason}: {}", fate.why()),
        }
        let size = match &row.image {
            Some(image) => self.image_usage(image),
            None => 0,
        };
        let reference = VersionRef {
            template: row.template.clone(),
            select: VersionSelect::Number(row.number),
        };
        let kind = SubjectKind::Version(reference);
        Ok(Subject {
            kind,
            name: row.label(),
            size: ByteSize(size),
            goes,
            reason,
        })
    }

    /// Whether a version goes, and why.
    fn fate_of_version(
        &self,
        row: &VersionRow,
        now: bool,
        readers: &Readers,
    ) -> Result<(bool, String), EngineError> {
        let clones = row.image.as_ref().and_then(|image| readers.get(image));
        let grace_ms = i64::try_from(self.settings.retired_grace.as_millis()).unwrap_or(i64::MAX);
        let left_ms = row.changed_ms.saturating_add(grace_ms) - self.now_ms();
        if let Some(hold) = &row.governance.hold {
            return Ok((false, format!("on hold: {}", hold.reason)));
        }
        Ok(match (row.state, clones) {
            (State::Retired, Some(clones)) => {
                let mut names: Vec<&str> = clones.iter().map(String::as_str).collect();
                names.sort_unstable_by_key(|name| (name.len(), *name));
                let names = names.join(", ");
                let why = format!("read by {names}: flatten or remove them first");
                (false, why)
            }
            (State::Retired, None) if now || left_ms <= 0 => (true, "retired".to_owned()),
            (State::Retired, None) => {
                let days = left_ms / 86_400_000;
                (
                    false,
                    format!("retired, restorable for {days} more days (or: stampo gc --now)"),
                )
            }
            (State::Failed, _) => (true, "it could not be made".to_owned()),
            (state, _) => (false, state.to_string()),
        })
    }

    /// Downloads that no running import goes on with. They are kept for a while, so that the same
    /// import can go on with them.
    fn judge_downloads(&self, now: bool) -> Result<Vec<Subject>, EngineError> {
        let paths = crate::rescan::list(&self.home.join("downloads"))?;
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let running = self.store.read(|tx| tx.running_operations())?;
        let mut subjects = Vec::new();
        for path in paths {
            let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else {
                continue;
            };
            let plain = name.trim_start_matches('.');
            let is_used = running.iter().any(|operation| {
                let used = operation
                    .request
                    .get(DOWNLOAD)
                    .and_then(|used| used.as_str());
                used.is_some_and(|used| plain.starts_with(used))
            });
            let meta = std::fs::metadata(&path).ok();
            let age = meta
                .as_ref()
                .and_then(|meta| meta.modified().ok()?.elapsed().ok());
            let is_old = age.is_some_and(|age| age > DOWNLOAD_GRACE);
            let (goes, reason) = match () {
                () if is_used => (false, "an import works on it"),
                () if now || is_old => (true, "a download that no import goes on with"),
                () => (false, "a download that the same import can go on with"),
            };
            subjects.push(Subject {
                kind: SubjectKind::Staging,
                name: plain.to_owned(),
                size: ByteSize(meta.map_or(0, |meta| meta.len())),
                goes,
                reason: reason.to_owned(),
            });
        }
        Ok(subjects)
    }

    /// An image is judged only when no version has it; then its version's own line is enough.
    fn judge_image(&self, image: &ImageId) -> Result<Option<Subject>, EngineError> {
        let judged = self.store.read(|tx| {
            if !tx.versions_with_image(image)?.is_empty() {
                return Ok::<_, EngineError>(None);
            }
            let mut need = self.image_need(tx, image, None)?;
            if need.is_none() {
                need = self.unknown_need(tx, image)?;
            }
            Ok(Some(match need {
                Some(need) => (false, need),
                None => (true, "no version has it".to_owned()),
            }))
        })?;
        let Some((goes, reason)) = judged else {
            return Ok(None);
        };
        let size = ByteSize(self.image_usage(image));
        let kind = SubjectKind::Image(image.clone());
        Ok(Some(Subject {
            kind,
            name: image.short().to_owned(),
            size,
            goes,
            reason,
        }))
    }

    /// The bytes that an image takes; 0 when it is gone.
    fn image_usage(&self, image: &ImageId) -> u64 {
        self.pool
            .image(image.clone())
            .map_or(0, |image| image.allocated_bytes)
    }

    /// The bytes that a guest's own files take on the host.
    pub fn guest_usage(&self, row: &GuestRow) -> u64 {
        usage_of(&self.guest_dir(row.id))
    }
}

/// The bytes that the files in a directory take on the host.
fn usage_of(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|meta| meta.blocks() * 512)
        .sum()
}
