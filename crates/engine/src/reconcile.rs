//! Recovery: going on with, or undoing, what a dead process left.
//!
//! It runs at the start of every command and costs a few listings and queries when there is
//! nothing to do, however many guests there are. Clones are gone on with, since their steps take
//! milliseconds; work that takes minutes (build, import, seal, flatten) is undone unless it was
//! committed, since nobody waits for it any more; changes of a guest or a version are finished.
//! Nothing is touched that a living process works on.

use crate::approval::SET;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::guest_op::Ask;
use crate::pool::{FILL, TAKE};
use crate::work::{Unwatched, Watch, Work};
use stampo_core::guest::GuestState;
use stampo_core::ids::GuestId;
use stampo_core::names::GuestName;
use stampo_image::process_identity::ProcessIdentity;
use stampo_store::{GuestRow, OperationRow, OperationState, Tx};
use std::collections::HashSet;

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
    /// Ends every operation whose process is gone, and removes what such processes left behind.
    pub fn recover(&self) -> Result<Vec<Recovered>, EngineError> {
        let running = self.store.read(|tx| tx.running_operations())?;
        let mut recovered = Vec::new();
        for row in running {
            if self.claim(row.id)? {
                recovered.push(self.recover_one(&row)?);
            }
        }
        self.sweep_staging()?;
        self.sweep_images()?;
        // A command that came to its end has defined what it made. What is lost later is found
        // when the guest is next looked at, see `Engine::power`: there may be very many.
        if !recovered.is_empty() {
            self.define_lost_guests()?;
        }
        Ok(recovered)
    }

    /// Removes staging directories of processes that are gone, and empties the trash.
    pub(crate) fn sweep_staging(&self) -> Result<(), EngineError> {
        let is_live = |owner: &ProcessIdentity| owner.is_alive().unwrap_or(true);
        self.pool
            .sweep_staging(&is_live)
            .map_err(EngineError::room("sweep the staging directory"))?;
        Ok(())
    }

    /// Gives the driver again what it should know and does not: the definitions of complete guests.
    /// Looks at every guest.
    pub(crate) fn define_lost_guests(&self) -> Result<(), EngineError> {
        let mut lost = self.store.read(|tx| tx.idle_guests(GuestState::Ready))?;
        // Listed after that: a guest that was complete then is defined by now.
        let defined: HashSet<GuestId> = self.driver.list()?.into_iter().collect();
        lost.retain(|(id, _)| !defined.contains(id));
        for (_, name) in lost {
            if let Err(error) = self.define_again(&name) {
                tracing::warn!(guest = %name, error = %error.chain(), "a guest can't be defined");
            }
        }
        Ok(())
    }

    /// Defines a complete guest that the driver does not know. Refused without its disk, and when
    /// another process has it by now: then it is in good hands.
    pub(crate) fn define_again(&self, name: &GuestName) -> Result<(), EngineError> {
        let ask = Ask {
            verb: "define",
            name,
            from: Some(GuestState::Ready),
            request: serde_json::Value::Null,
            detail: "the driver did not know it",
        };
        let has_disk = |_: &Tx<'_>, row: &mut GuestRow| self.refuse_without_disk(row, "define");
        let (operation, row) = self.claim_guest(&ask, has_disk)?;
        let work = Work::new(self, operation, &Unwatched);
        // Ended in any case: its row was not changed, so there is nothing to finish.
        let (state, failure) = match self.settle_guest(&row) {
            Ok(()) => (OperationState::Done, None),
            Err(error) => (OperationState::Failed, Some(error)),
        };
        let why = failure.as_ref().map(EngineError::chain);
        if let Err(error) = work.end(state, why.as_deref(), |_| Ok(())) {
            work.release(&error);
            return Err(error);
        }
        self.faults.reach("guest.ended");
        failure.map_or(Ok(()), Err)
    }

    fn recover_one(&self, row: &OperationRow) -> Result<Recovered, EngineError> {
        let work = Work::new(self, row.id, &Unwatched);
        let result = self.caught(|| match row.kind.as_str() {
            "clone" => self.recover_clone(&work),
            FILL => self.run_clone(&work).map(|_| ()),
            TAKE => self.recover_take(&work),
            "rescan" => self.take_in_sidecars(&work).map(|_| ()),
            "scrub" => self.recover_scrub(&work),
            SET => self.finish_approval_set(&work),
            "freeze" => self.recover_freeze(&work, row),
            "capture" => self.recover_capture(&work, row),
            "build" | "import" | "seal" | "verify" => self.recover_version(&work, row),
            "remove" | "trash" | "restore_guest" | "rename" | "resize" | "flatten"
            | "write_file" | "start" | "define" => {
                self.recover_guest_op(&work, &row.kind, &row.request)
            }
            _ => self.recover_change(&work, row),
        });
        let ended = self.store.read(|tx| tx.operation(row.id))?;
        let state = ended.map_or(OperationState::Failed, |row| row.state);
        if let Err(error) = &result
            && state == OperationState::Running
        {
            work.release(error);
        }
        Ok(Recovered {
            kind: row.kind.clone(),
            subject: row.subject.clone(),
            state,
            error: result.err().map(|error| error.chain()),
        })
    }

    /// A change of versions whose commit happened: only the part after it is left to do.
    fn recover_change(&self, work: &Work<'_>, row: &OperationRow) -> Result<(), EngineError> {
        let versions = self.store.read(|tx| tx.versions_of_operation(row.id))?;
        match versions.is_empty() {
            false => self.finish_change(work),
            true => work.end(OperationState::Undone, Some("interrupted"), |_| Ok(())),
        }
    }

    /// Asks an operation to stop and to undo what it made.
    pub fn cancel(&self, id: stampo_core::ids::OperationId) -> Result<(), EngineError> {
        self.store.write(|tx| {
            let Some(row) = tx.operation(id)? else {
                return Err(EngineError::NotFound {
                    what: "operation",
                    name: id.to_string(),
                });
            };
            tx.cancel_operation(id)?;
            let detail = format!("{} {}", row.kind, row.subject);
            Ok(self.audit(tx, "cancel", &id.to_string(), &detail)?)
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
                OperationState::Undone => return Err(EngineError::cancelled(&row.kind)),
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
