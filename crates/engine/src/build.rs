//! Building a draft version from a recipe.

use crate::engine::Engine;
use crate::error::{EngineError, chain};
use crate::work::{Watch, Work};
use serde::{Deserialize, Serialize};
use stampo_build::{BuildProgress, Loaded, PackageLock, Phase, Recipe};
use stampo_core::ids::OperationId;
use stampo_core::lifecycle::{Evidence, Verb, transition};
use stampo_core::names::TemplateName;
use stampo_image::durable;
use stampo_store::VersionRow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Where a built version comes from: all that a repeated build, or a child, needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BuildOrigin {
    /// Always `build`.
    pub kind: String,
    /// The complete recipe, the parent's included.
    pub recipe: Recipe,
    /// The packages with their versions, the sources and the time stamp.
    pub lock: PackageLock,
    /// BLAKE3 of the installed system before it became a filesystem.
    pub tree_digest: String,
    /// What the same digest in a repeated build depends on.
    pub reproducibility: Vec<String>,
    /// The version that this one adds to, `name@N`.
    pub parent: Option<String>,
}

/// A build that was accepted: its version is reserved, nothing else exists.
pub struct Build {
    /// The operation.
    pub operation: OperationId,
    /// The version, in state *building*.
    pub version: VersionRow,
    recipe: Recipe,
    parent: Option<String>,
}

impl Engine {
    /// Checks a recipe and reserves the next version of the template for it.
    pub fn submit_build(
        &self,
        template: &TemplateName,
        recipe: &str,
        directory: &Path,
    ) -> Result<Build, EngineError> {
        let loaded = Loaded::from_toml(recipe, directory).map_err(|error| EngineError::Usage {
            act: "read the recipe".to_owned(),
            why: chain(&error),
        })?;
        let (recipe, parent) = self.with_parent(loaded)?;
        let origin = serde_json::json!({ "kind": "build" });
        let (operation, version) = self.begin_version("build", template, origin)?;
        self.faults.reach("build.begun");
        Ok(Build {
            operation,
            version,
            recipe,
            parent,
        })
    }

    /// The recipe together with that of the version it adds to.
    fn with_parent(&self, loaded: Loaded) -> Result<(Recipe, Option<String>), EngineError> {
        let Some(reference) = &loaded.recipe.from else {
            return Ok((loaded.recipe, None));
        };
        let parent = self
            .store
            .read(|tx| self.find_version(tx, reference, crate::version::Bare::Clonable))?;
        let act = || format!("add to {}", parent.label());
        let state = self.standing(&parent);
        if !state.is_clonable() {
            let why = format!("it is {state}, not published");
            return Err(EngineError::Conflict { act: act(), why });
        }
        let origin: BuildOrigin = serde_json::from_value(parent.origin.clone()).map_err(|_| {
            let why = "it was imported, so there is no recipe to add to; only built versions can \
                       be added to"
                .to_owned();
            EngineError::Conflict { act: act(), why }
        })?;
        let sum = stampo_build::inherit(
            &origin.recipe,
            Some(&origin.lock),
            &loaded.written,
            &loaded.recipe,
        )
        .map_err(|error| EngineError::Usage {
            act: act(),
            why: chain(&error),
        })?;
        Ok((sum, Some(parent.label())))
    }

    /// Carries out an accepted build.
    pub fn run_build(&self, build: Build, watch: &dyn Watch) -> Result<VersionRow, EngineError> {
        let work = Work::new(self, build.operation, watch);
        self.carry_out(&work, || self.build_version(&work, build))
    }

    fn build_version(&self, work: &Work<'_>, build: Build) -> Result<VersionRow, EngineError> {
        let mut row = build.version;
        let staging = self
            .pool
            .stage()
            .map_err(EngineError::room("make a place for the build"))?;
        self.faults.reach("build.staged");
        let progress = Phases::new(work, row.label());
        let installer = self.installer.as_ref();
        let result = stampo_build::build(&build.recipe, staging.path(), installer, &progress);
        progress.end()?;
        let built = match result {
            Ok(built) => built,
            Err(error) => {
                let log = match self.keep_build_log(staging.path()) {
                    Ok(Some(kept)) => format!(" (its log: {})", kept.display()),
                    Ok(None) => String::new(),
                    Err(lost) => format!(" (its log may be lost: {})", lost.chain()),
                };
                let act = format!("build {} in {}{log}", row.label(), staging.path().display());
                return Err(EngineError::room(act)(error));
            }
        };
        self.faults.reach("build.built");
        row.hardware = built.hardware;
        let origin = BuildOrigin {
            kind: "build".to_owned(),
            recipe: build.recipe,
            lock: built.lock,
            tree_digest: built.tree_digest,
            reproducibility: built.reproducibility,
            parent: build.parent,
        };
        row.origin = serde_json::to_value(origin).map_err(EngineError::room("record the build"))?;
        self.adopt_disk(work, &mut row, &built.disk)?;
        row.state = transition(row.state, Verb::Finish, Evidence::default()).map_err(|source| {
            EngineError::Refused {
                label: row.label(),
                source,
            }
        })?;
        self.commit_version(work, &mut row, "build")?;
        Ok(row)
    }

    /// Keeps the log of the last build that failed where a user can find it, if there is one.
    fn keep_build_log(&self, staging: &Path) -> Result<Option<PathBuf>, EngineError> {
        let kept = self.home.join("build-failed.log");
        let log = [staging.to_owned(), staging.join("scratch")]
            .into_iter()
            .map(|place| place.join(stampo_build::LOG))
            .find(|log| log.exists());
        let Some(log) = log else {
            return Ok(None);
        };
        durable::fsync_file(&log)
            .and_then(|()| durable::rename_durably(&log, &kept))
            .map_err(EngineError::room("keep it"))?;
        Ok(Some(kept))
    }
}

/// Turns the phases of a build into events of the operation.
struct Phases<'w, 'a> {
    work: &'w Work<'a>,
    subject: String,
    current: Mutex<Option<(Phase, Instant)>>,
}

impl<'w, 'a> Phases<'w, 'a> {
    fn new(work: &'w Work<'a>, subject: String) -> Self {
        Phases {
            work,
            subject,
            current: Mutex::new(None),
        }
    }

    /// Records the phase that has just ended.
    fn end(&self) -> Result<(), EngineError> {
        let ended = self
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match ended {
            Some((phase, start)) => {
                let name = format!("{phase:?}").to_lowercase();
                self.work
                    .event(&self.subject, &name, phase.title(), start.elapsed())
            }
            None => Ok(()),
        }
    }
}

impl BuildProgress for Phases<'_, '_> {
    fn phase(&self, phase: Phase) {
        if let Err(error) = self.end() {
            tracing::warn!(%error, "a phase could not be recorded");
        }
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((phase, Instant::now()));
        self.work.progress(phase.title(), 0, 0);
        let faults = &self.work.engine.faults;
        faults.reach(&format!("build.{phase:?}").to_lowercase());
    }

    fn detail(&self, text: &str) {
        self.work.progress(text, 0, 0);
    }

    fn is_cancelled(&self) -> bool {
        self.work.is_cancelled()
    }
}
