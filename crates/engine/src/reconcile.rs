//! Recovery: going on with, or undoing, what a dead process left.
//!
//! It runs at the start of every command and costs one query when there is nothing to do. Clones
//! are gone on with, since their steps take milliseconds; work that takes minutes (build, import,
//! seal, flatten) is undone, since nobody waits for it any more. Nothing is touched that a living
//! process works on.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::work::{Unwatched, Watch, Work};
use stampo_core::lifecycle::State;
use stampo_image::process_identity::ProcessIdentity;
use stampo_store::{OperationRow, OperationState};

/// One operation that was found without its process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The verb.
    pub kind: String,
    /// What it worked on.
    pub subject: String,
    /// How it ended now.
    pub state: OperationState,
    /// What could not be done.
    pub error: Option<String>,
}

impl Engine {
    /// Ends every operation whose process is gone, and sweeps what such processes left in staging.
    pub fn recover(&self) -> Result<Vec<Recovered>, EngineError> {
        let running = self.store.read(|tx| tx.running_operations())?;
        let mut recovered = Vec::new();
        for row in running {
            if self.claim(row.id)? {
                recovered.push(self.recover_one(&row)?);
            }
        }
        if !recovered.is_empty() {
            self.sweep_staging()?;
        }
        Ok(recovered)
    }

    /// Removes staging directories of processes that are gone.
    pub(crate) fn sweep_staging(&self) -> Result<(), EngineError> {
        let is_live = |owner: &ProcessIdentity| owner.is_alive().unwrap_or(true);
        self.pool
            .sweep_staging(&is_live)
            .map_err(EngineError::room("sweep the staging directory"))?;
        Ok(())
    }

    fn recover_one(&self, row: &OperationRow) -> Result<Recovered, EngineError> {
        let work = Work::new(self, row.id, &Unwatched);
        let result = match row.kind.as_str() {
            "clone" => self.run_clone(&work).map(|_| ()),
            "remove" => self.finish_removals(&work),
            "build" | "import" | "seal" | "verify" | "flatten" => self.undo(&work, row),
            _ => self.recover_change(&work, row),
        };
        let ended = self.store.read(|tx| tx.operation(row.id))?;
        let state = ended.map_or(OperationState::Failed, |row| row.state);
        Ok(Recovered {
            kind: row.kind.clone(),
            subject: row.subject.clone(),
            state,
            error: result.err().map(|error| error.chain()),
        })
    }

    /// A change of state whose commit happened: only the part after it is left to do.
    fn recover_change(&self, work: &Work<'_>, row: &OperationRow) -> Result<(), EngineError> {
        let versions = self.store.read(|tx| tx.versions())?;
        match versions
            .into_iter()
            .find(|version| version.operation == Some(row.id))
        {
            Some(version) => self.finish_change(work, version.id),
            None => work.end(OperationState::Undone, Some("interrupted"), |_| Ok(())),
        }
    }

    /// Takes back a build, import, seal, verification or flattening that did not come to its end.
    pub(crate) fn undo(&self, work: &Work<'_>, row: &OperationRow) -> Result<(), EngineError> {
        self.end_unfinished(
            work,
            OperationState::Undone,
            "interrupted; nothing of it remains",
        )?;
        self.drop_pending_image(row)
    }

    /// Removes the image that an ended operation had moved into the pool, if no version has it.
    pub(crate) fn drop_pending_image(&self, row: &OperationRow) -> Result<(), EngineError> {
        let Some(image) = row.request.get("pending_image").and_then(|v| v.as_str()) else {
            return Ok(());
        };
        let image = image
            .parse()
            .map_err(EngineError::room("read the operation's image"))?;
        if self
            .store
            .read(|tx| tx.versions_with_image(&image))?
            .is_empty()
        {
            self.pool
                .remove_image(&image)
                .map_err(EngineError::room("remove an unused image"))?;
        }
        Ok(())
    }

    /// Ends an operation that made nothing: versions that never had bytes disappear, the others
    /// are as they were before.
    pub(crate) fn end_unfinished(
        &self,
        work: &Work<'_>,
        state: OperationState,
        why: &str,
    ) -> Result<(), EngineError> {
        work.end(state, Some(why), |tx| {
            for version in tx.versions()? {
                if version.operation == Some(work.id) && version.state == State::Building {
                    tx.delete_version(version.id)?;
                }
            }
            Ok(())
        })
    }

    /// Works on an operation of this process, or watches one of another, until it ends.
    pub fn follow(
        &self,
        id: stampo_core::ids::OperationId,
        watch: &dyn Watch,
    ) -> Result<(), EngineError> {
        let mut seen = 0;
        loop {
            let row = self.store.read(|tx| tx.operation(id))?;
            let row = row.ok_or(EngineError::NotFound {
                what: "operation",
                name: id.to_string(),
            })?;
            for event in self.store.read(|tx| tx.events_after(id, seen))? {
                seen = event.sequence;
                watch.event(&event);
            }
            match row.state {
                OperationState::Done => return Ok(()),
                OperationState::Undone => return Err(EngineError::Cancelled),
                OperationState::Failed => {
                    let why = row.error.unwrap_or_default();
                    return Err(EngineError::Conflict {
                        act: format!("{} {}", row.kind, row.subject),
                        why,
                    });
                }
                OperationState::Running if watch.is_cancelled() => {
                    self.store.write(|tx| tx.cancel_operation(id))?;
                }
                OperationState::Running => {}
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}
