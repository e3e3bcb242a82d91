//! Collecting guests: judged for the list, and judged again in the transaction that claims them.
//!
//! Apart from the rest, because between the two somebody may bring a guest back, or remove it and
//! give its name to another. So a guest is told by its id, and what is no longer as it was judged
//! stays. Taking it away is not done here, but in `clone/destroy.rs`.

use super::{Subject, SubjectKind};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::remove::subject;
use crate::sidecar::OUTDATED;
use stampo_core::guest::GuestState;
use stampo_core::ids::GuestId;
use stampo_core::size::ByteSize;
use stampo_driver::Power;
use stampo_store::{GuestRow, OperationRow, Tx};
use std::collections::HashMap;

impl Engine {
    pub(super) fn judge_guest(&self, row: &GuestRow, now: bool) -> Result<Subject, EngineError> {
        let (mut goes, mut reason) = self.fate_of_guest(row, now);
        // A row that is as it was listed, after its sidecar was read, is not one that another
        // process is changing.
        if goes
            && self.store.read(|tx| self.is_outdated(tx, row))?
            && self.store.read(|tx| tx.guest(row.id))?.as_ref() == Some(row)
        {
            (goes, reason) = (false, OUTDATED.to_owned());
        }
        Ok(Subject {
            kind: SubjectKind::Guest(row.id),
            name: row.name.to_string(),
            size: ByteSize(self.guest_usage(row)),
            goes,
            reason,
        })
    }

    /// Whether a guest goes by what its row says, and why.
    fn fate_of_guest(&self, row: &GuestRow, now: bool) -> (bool, String) {
        let ended = row.keep_until_ms.is_none_or(|until| until <= self.now_ms());
        let (goes, reason) = match row.state {
            GuestState::Trashed if now || ended => (true, "removed, its grace time is over"),
            GuestState::Trashed => (false, "removed, restorable until its grace time ends"),
            GuestState::Destroying if row.operation.is_none() => {
                (true, "its removal came to no end")
            }
            state => (false, state.as_str()),
        };
        (goes, reason.to_owned())
    }

    /// Takes away the guests that were judged to go, with one operation. Those that have changed
    /// since stay, and their subjects say why.
    pub(super) fn collect_guests(
        &self,
        subjects: &mut [Subject],
        now: bool,
    ) -> Result<(), EngineError> {
        let going = subjects.iter().filter(|subject| subject.goes);
        let going: Vec<(GuestId, String)> = going
            .filter_map(|subject| match subject.kind {
                SubjectKind::Guest(id) => Some((id, subject.name.clone())),
                _ => None,
            })
            .collect();
        if going.is_empty() {
            return Ok(());
        }
        let names: Vec<&String> = going.iter().map(|(_, name)| name).collect();
        let operation = self.new_operation("remove", &subject(&names), serde_json::Value::Null);
        let (rows, stays) = self.claim_to_collect(&operation, &going, now)?;
        for subject in subjects {
            if let SubjectKind::Guest(id) = subject.kind
                && let Some(error) = stays.get(&id)
            {
                subject.stays_for(error);
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        self.faults.reach("gc.claimed");
        self.settle_claimed(operation.id, &rows)
    }

    /// Claims those that go still; the others with what stands in the way. The operation is
    /// recorded only with a guest.
    fn claim_to_collect(
        &self,
        operation: &OperationRow,
        going: &[(GuestId, String)],
        now: bool,
    ) -> Result<(Vec<GuestRow>, HashMap<GuestId, EngineError>), EngineError> {
        self.store.write_durably(|tx| {
            let mut rows = Vec::new();
            let mut stays = HashMap::new();
            for (id, name) in going {
                match self.find_collectable(tx, *id, name, now) {
                    Ok(row) => rows.push(row),
                    Err(error) if error.is_refusal() => drop(stays.insert(*id, error)),
                    Err(error) => return Err(error),
                }
            }
            if !rows.is_empty() {
                tx.insert_operation(operation)?;
            }
            for row in &mut rows {
                row.state = GuestState::Destroying;
                self.hold(tx, operation.id, row, ("remove", ""))?;
            }
            Ok((rows, stays))
        })
    }

    /// The guest of this id, if it goes still. `name` is the one that it was judged under.
    fn find_collectable(
        &self,
        tx: &Tx<'_>,
        id: GuestId,
        name: &str,
        now: bool,
    ) -> Result<GuestRow, EngineError> {
        let row = tx.guest(id)?.ok_or_else(|| EngineError::NotFound {
            what: "guest",
            name: name.to_owned(),
        })?;
        self.refuse_if_guest_busy(tx, &row, "remove")?;
        self.refuse_outdated(tx, &row, "remove")?;
        let why = match self.fate_of_guest(&row, now) {
            // It was brought back and renamed: who was shown the list doesn't know this name.
            (true, _) if row.name.as_str() != name => format!("named {}", row.name),
            (true, _) => return self.refuse_if_trashed_runs(&row).map(|()| row),
            (false, why) => why,
        };
        Err(EngineError::Conflict {
            act: format!("remove {name}"),
            why: format!("by now it is {why}"),
        })
    }

    /// A trashed guest that nothing holds was stopped, and can't be started: that one runs, only an
    /// older catalog that was put back can bring about. Asked in the transaction that claims it, so
    /// that both are of one moment.
    fn refuse_if_trashed_runs(&self, row: &GuestRow) -> Result<(), EngineError> {
        let why = match self.power(row) {
            _ if row.state != GuestState::Trashed => return Ok(()),
            Power::Stopped | Power::Undefined => return Ok(()),
            Power::Running { .. } => "it runs, although it is removed".to_owned(),
            Power::Paused { .. } => "its process is there, although it is removed".to_owned(),
            Power::Unknown { reason } => format!("it may run: {reason}"),
        };
        Err(EngineError::Conflict {
            act: format!("remove {}", row.name),
            why: format!(
                "{why}: stampo undelete {0}, or stampo rm --force {0}",
                row.name
            ),
        })
    }
}
