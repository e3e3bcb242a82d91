//! Changes of a version's state, and what is recorded beside it: reasons, dates, holds.
//!
//! ```text
//! find, ask core, record, move channels back, audit (one durable commit) ─→ sidecars ─→ end
//! ```
//! Everything that a change brings with it is in that one commit: a version that is revoked, what
//! descends from it, and the channels that pointed to any of them. Recovery writes the sidecars of
//! all versions that the operation holds.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::version::{Bare, parent_label, revoked_ancestor};
use crate::work::{Unwatched, Work};
use stampo_core::ids::OperationId;
use stampo_core::lifecycle::{
    Evidence, Notice, Refusal, Standing, State, Statement, StatementError, Verb, check_reason, due,
    record, transition,
};
use stampo_core::names::VersionRef;
use stampo_policy::Point;
use stampo_store::{Tx, VersionRow};
use std::collections::HashSet;

/// Who is in the audit when a date does something.
const SCHEDULE: &str = "schedule";

/// A channel that was moved because its version can't be used any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedBack {
    /// The channel, `web:stable`.
    pub channel: String,
    /// Where it pointed, `name@N`.
    pub from: String,
    /// Where it points now; `None`: there was no good version before.
    pub to: Option<String>,
}

/// A change and what it brought with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Governed {
    /// The version as it is now.
    pub version: VersionRow,
    /// Descendants that were revoked with it.
    pub descendants: Vec<VersionRow>,
    /// Channels that were moved back.
    pub channels: Vec<MovedBack>,
}

/// A date that has come, and what it did.
#[derive(Debug, Clone, PartialEq)]
pub struct Enforced {
    /// What was done.
    pub verb: Verb,
    /// The change.
    pub governed: Governed,
}

/// What is set on a version besides its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// Its bytes must stay, for this reason.
    Hold(String),
    /// They need not stay any more.
    Release,
    /// When what it holds is not maintained any more, in milliseconds since 1970; `None`: never.
    EndOfLife(Option<i64>),
}

impl Mark {
    fn verb(&self) -> &'static str {
        match self {
            Mark::Hold(_) => "hold",
            Mark::Release => "release",
            Mark::EndOfLife(_) => "end-of-life",
        }
    }
}

/// In whose name and as part of what a version is changed.
pub(crate) struct By<'a> {
    pub(crate) operation: OperationId,
    pub(crate) actor: &'a str,
}

impl Engine {
    /// Moves a version to the state that `verb` leads to.
    pub fn change_version(
        &self,
        reference: &VersionRef,
        verb: Verb,
    ) -> Result<VersionRow, EngineError> {
        let governed = self.govern(reference, verb, &Statement::default())?;
        Ok(governed.version)
    }

    /// Moves a version to the state that `verb` leads to, with what is said about it.
    pub fn govern(
        &self,
        reference: &VersionRef,
        verb: Verb,
        said: &Statement,
    ) -> Result<Governed, EngineError> {
        let row = self.version_row(reference)?;
        let label = row.label();
        let point = match verb {
            Verb::Publish => Some(Point::Publish),
            Verb::Retire | Verb::Purge => Some(Point::Delete),
            _ => None,
        };
        if let Some(point) = point {
            self.gate(point, &row)?;
        }
        if verb == Verb::Publish {
            self.renew_report(&row, reference)?;
        }
        let operation = self.new_operation(verb.as_str(), &label, serde_json::Value::Null);
        let by = By {
            operation: operation.id,
            actor: &self.settings.actor,
        };
        let governed = self.store.write_durably(|tx| {
            let row = self.find_version(tx, reference, Bare::Newest)?;
            let governed = self.change_in(tx, row, verb, Some(said), &by)?;
            tx.insert_operation(&operation)?;
            Ok::<_, EngineError>(governed)
        })?;
        self.finish_governed(operation.id, governed)
    }

    /// The part after the commit.
    fn finish_governed(
        &self,
        operation: OperationId,
        mut governed: Governed,
    ) -> Result<Governed, EngineError> {
        self.faults.reach("version.committed");
        self.finish_change(&Work::new(self, operation, &Unwatched))?;
        self.faults.reach("version.ended");
        governed.version.operation = None;
        for row in &mut governed.descendants {
            row.operation = None;
        }
        Ok(governed)
    }

    /// A change with everything that it brings with it. A date says nothing: what was said before
    /// stays.
    pub(crate) fn change_in(
        &self,
        tx: &Tx<'_>,
        row: VersionRow,
        verb: Verb,
        said: Option<&Statement>,
        by: &By<'_>,
    ) -> Result<Governed, EngineError> {
        let version = self.change_one(tx, row, verb, said, by)?;
        let descendants = match said.filter(|said| verb == Verb::Revoke && said.cascade) {
            Some(said) => self.revoke_descendants(tx, &version, said, by)?,
            None => Vec::new(),
        };
        // After all states: a channel must not be moved back to what goes as well.
        let mut channels = Vec::new();
        for row in std::iter::once(&version).chain(&descendants) {
            channels.append(&mut self.withdraw_from_channels(tx, row, by.operation, by.actor)?);
        }
        Ok(Governed {
            version,
            descendants,
            channels,
        })
    }

    /// The change of one version.
    fn change_one(
        &self,
        tx: &Tx<'_>,
        mut row: VersionRow,
        verb: Verb,
        said: Option<&Statement>,
        by: &By<'_>,
    ) -> Result<VersionRow, EngineError> {
        self.refuse_if_busy(tx, &row)?;
        let evidence = self.evidence(tx, &row, verb)?;
        row.state = transition(row.state, verb, evidence).map_err(|source| {
            if let Refusal::HasLinkedClones(_) = source {
                return self.linked_clones_error(tx, &row);
            }
            EngineError::Refused {
                label: row.label(),
                source,
            }
        })?;
        if row.state == State::Purged {
            self.refuse_doubtful_purge(tx, &row)?;
            self.refuse_purge_by(tx, &row, by.actor)?;
        }
        row.changed_ms = self.now_ms();
        if let Some(said) = said {
            check_replacement(&row, said)?;
            record(&mut row.governance, verb, said, by.actor, row.changed_ms)
                .map_err(|error| unsaid(verb.as_str(), &row, &error))?;
        }
        row.operation = Some(by.operation);
        tx.update_version(&row)?;
        let advice = match verb {
            Verb::Publish => self.who_approved(tx, &row)?,
            Verb::Deprecate | Verb::Obsolete | Verb::Revoke => row.governance.advice(row.state),
            _ => said
                .and_then(|said| said.reason.clone())
                .unwrap_or_default(),
        };
        let colon = if advice.is_empty() { "" } else { ": " };
        let detail = format!("{}{colon}{advice}", row.state);
        self.audit_as(tx, by.actor, verb.as_str(), &row.label(), &detail)?;
        Ok(row)
    }

    /// Revokes whatever was built from a version, and from that. Drafts are left out: they are not
    /// offered to anybody, and publishing looks at their ancestors.
    fn revoke_descendants(
        &self,
        tx: &Tx<'_>,
        root: &VersionRow,
        said: &Statement,
        by: &By<'_>,
    ) -> Result<Vec<VersionRow>, EngineError> {
        let all = tx.versions()?;
        let mut family = HashSet::from([root.label()]);
        let mut left: Vec<VersionRow> = all.into_iter().filter(|row| row.id != root.id).collect();
        let mut revoked = Vec::new();
        let said = Statement {
            through: Some(root.label()),
            ..said.clone()
        };
        loop {
            let is_child = |row: &VersionRow| parent_label(row).is_some_and(|p| family.contains(p));
            let (children, others): (Vec<_>, Vec<_>) = left.into_iter().partition(is_child);
            if children.is_empty() {
                return Ok(revoked);
            }
            left = others;
            for row in children {
                family.insert(row.label());
                if transition(row.state, Verb::Revoke, Evidence::default()).is_ok() {
                    revoked.push(self.change_one(tx, row, Verb::Revoke, Some(&said), by)?);
                }
            }
        }
    }

    /// Sets or takes away what holds beside a version's state.
    pub fn mark(&self, reference: &VersionRef, mark: &Mark) -> Result<VersionRow, EngineError> {
        let operation =
            self.new_operation(mark.verb(), &reference.to_string(), serde_json::Value::Null);
        let mut row = self.store.write_durably(|tx| {
            let mut row = self.find_version(tx, reference, Bare::Newest)?;
            self.refuse_if_busy(tx, &row)?;
            if matches!(row.state, State::Purged | State::Building | State::Failed) {
                return Err(EngineError::Conflict {
                    act: format!("{} {}", mark.verb(), row.label()),
                    why: format!("it is {}: there is nothing to keep", row.state),
                });
            }
            let detail = self.set_mark(&mut row, mark)?;
            row.changed_ms = self.now_ms();
            row.operation = Some(operation.id);
            tx.insert_operation(&operation)?;
            tx.update_version(&row)?;
            self.audit(tx, mark.verb(), &row.label(), &detail)?;
            Ok::<_, EngineError>(row)
        })?;
        self.faults.reach("mark.committed");
        self.finish_change(&Work::new(self, operation.id, &Unwatched))?;
        row.operation = None;
        Ok(row)
    }

    /// Changes the record; what the audit says of it.
    fn set_mark(&self, row: &mut VersionRow, mark: &Mark) -> Result<String, EngineError> {
        match mark {
            Mark::Hold(reason) => {
                let reason =
                    check_reason(Some(reason)).map_err(|error| unsaid(mark.verb(), row, &error))?;
                row.governance.hold = Some(Notice {
                    reason: reason.to_owned(),
                    actor: self.settings.actor.clone(),
                    at_ms: self.now_ms(),
                });
                Ok(reason.to_owned())
            }
            Mark::Release => {
                let held = row.governance.hold.take();
                held.map(|held| format!("was held: {}", held.reason))
                    .ok_or_else(|| EngineError::Conflict {
                        act: format!("release {}", row.label()),
                        why: "it is not on hold".to_owned(),
                    })
            }
            Mark::EndOfLife(date) => {
                row.governance.end_of_life_ms = *date;
                Ok(date.map_or_else(|| "none".to_owned(), stampo_core::date::text))
            }
        }
    }

    /// How the clones of a version stand to it, and what their users should know.
    pub fn standing_of_clones(&self, row: &VersionRow) -> (Standing, String) {
        let standing = row.governance.standing(row.state, self.now_ms());
        let advice = match standing {
            Standing::Current => String::new(),
            _ => row.governance.advice(self.standing(row)),
        };
        (standing, advice)
    }

    /// The channels that point to a version, `web:stable`.
    pub fn channels_of(&self, row: &VersionRow) -> Result<Vec<String>, EngineError> {
        let found = self.store.read(|tx| tx.channels_to(row.id))?;
        let name = |row: stampo_store::ChannelRow| format!("{}:{}", row.template, row.name);
        Ok(found.into_iter().map(name).collect())
    }

    /// The nearest ancestor that was revoked together with its descendants, `name@N`.
    pub fn revoked_ancestor_of(&self, row: &VersionRow) -> Result<Option<String>, EngineError> {
        let found = self.store.read(|tx| revoked_ancestor(tx, row))?;
        Ok(found.map(|row| row.label()))
    }

    /// The version that is to be used instead of another, `name@N`. It has to be published.
    pub fn replacement(&self, reference: &VersionRef) -> Result<String, EngineError> {
        let row = self
            .store
            .read(|tx| self.find_version(tx, reference, Bare::Clonable))?;
        match self.standing(&row) {
            State::Published => Ok(row.label()),
            state => Err(EngineError::Conflict {
                act: format!("replace a version by {}", row.label()),
                why: format!("it is {state}, not published"),
            }),
        }
    }

    /// Does what dates that have come ask for. Runs at the start of every command, and from time to time where a process stays.
    pub fn enforce(&self) -> Result<Vec<Enforced>, EngineError> {
        let mut done = Vec::new();
        for id in self.store.read(|tx| tx.due_versions(self.now_ms()))? {
            // Two dates may have come: obsolete, then retired.
            while let Some(enforced) = self.enforce_one(id)? {
                done.push(enforced);
            }
        }
        Ok(done)
    }

    /// As [`Engine::settle_channels`], after something that is told in any case: if this fails, the
    /// next command does it.
    pub(crate) fn settle_channels_or_warn(&self) {
        if let Err(error) = self.settle_channels() {
            tracing::warn!(
                error = error.chain(),
                "channels still point to what has changed"
            );
        }
    }

    /// Moves channels away from versions that were found to be of no use by something else than a
    /// change here: quarantine, or an older stampo.
    pub fn settle_channels(&self) -> Result<Vec<MovedBack>, EngineError> {
        let unusable: Vec<State> = State::ALL
            .into_iter()
            .filter(|state| !state.stays_in_channel())
            .collect();
        let mut moved = Vec::new();
        for id in self.store.read(|tx| tx.pointed_versions(&unusable))? {
            let done = self.store.write_durably(|tx| {
                let row = tx.version(id)?;
                let Some(row) = row.filter(|row| self.refuse_if_busy(tx, row).is_ok()) else {
                    return Ok(None);
                };
                let request = serde_json::Value::Null;
                let operation = self.new_operation("channel withdrawn", &row.label(), request);
                let moved = self.withdraw_from_channels(tx, &row, operation.id, SCHEDULE)?;
                tx.insert_operation(&operation)?;
                Ok::<_, EngineError>(Some((operation.id, moved)))
            })?;
            let Some((operation, mut channels)) = done else {
                continue;
            };
            self.faults.reach("settle.committed");
            self.finish_change(&Work::new(self, operation, &Unwatched))?;
            moved.append(&mut channels);
        }
        Ok(moved)
    }

    /// Does what the first date of a version asks for; `None` when there is nothing to do, or
    /// something works on it: the next command comes by again, and nobody clones it meanwhile.
    fn enforce_one(
        &self,
        id: stampo_core::ids::VersionId,
    ) -> Result<Option<Enforced>, EngineError> {
        let done = self.store.write_durably(|tx| {
            let Some(row) = tx.version(id)? else {
                return Ok(None);
            };
            let verb = due(row.state, &row.governance, self.now_ms());
            let Some(verb) = verb.filter(|_| self.refuse_if_busy(tx, &row).is_ok()) else {
                return Ok(None);
            };
            if let Some(lifted) = self.lift_if_kept(tx, &row, verb)? {
                return Ok(Some((lifted, None)));
            }
            let request = serde_json::Value::Null;
            let operation = self.new_operation(verb.as_str(), &row.label(), request);
            let by = By {
                operation: operation.id,
                actor: SCHEDULE,
            };
            let governed = self.change_in(tx, row, verb, None, &by)?;
            tx.insert_operation(&operation)?;
            Ok::<_, EngineError>(Some((operation.id, Some((verb, governed)))))
        })?;
        match done {
            None => Ok(None),
            Some((operation, Some((verb, governed)))) => Ok(Some(Enforced {
                verb,
                governed: self.finish_governed(operation, governed)?,
            })),
            Some((operation, None)) => {
                self.faults.reach("retention.committed");
                self.finish_change(&Work::new(self, operation, &Unwatched))?;
                Ok(None)
            }
        }
    }
}

/// Refuses a version as its own replacement.
fn check_replacement(row: &VersionRow, said: &Statement) -> Result<(), EngineError> {
    if said.replacement.as_deref() != Some(row.label().as_str()) {
        return Ok(());
    }
    Err(EngineError::Usage {
        act: format!("replace {}", row.label()),
        why: "it can't replace itself".to_owned(),
    })
}

fn unsaid(verb: &str, row: &VersionRow, error: &StatementError) -> EngineError {
    EngineError::Usage {
        act: format!("{verb} {}", row.label()),
        why: error.to_string(),
    }
}
