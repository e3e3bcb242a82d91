//! Retention: the site's settings, what they come to, and doing it.
//!
//! ```text
//! facts of all versions at once ─→ fate of each ─→ for each change, in a transaction of its own:
//!                                                  facts again, fate again, the change, audit
//! ```
//! Which version stays and why is `stampo_core::retention`'s affair. It is done once a day by
//! whatever comes first, a command or the process that tends pools, and when somebody asks for it.
//! A date that these rules set is asked about once more when it comes: see
//! [`Engine::lift_if_kept`].

use crate::engine::Engine;
use crate::error::EngineError;
use crate::govern::By;
use crate::work::{Unwatched, Work};
use stampo_core::ids::{OperationId, VersionId};
use stampo_core::lifecycle::{State, Statement, Verb};
use stampo_core::retention::{ACTOR, Facts, Fate, fate};
use stampo_policy::Point;
use stampo_policy::retention::Retention;
use stampo_store::{Tx, VersionRow};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The key of the settings in the catalog. Empty: there are none.
const SETTING: &str = "retention.settings";
/// The key of the day on which they were last applied.
const APPLIED: &str = "retention.applied";
/// The kind of the operation that changes nothing but dates.
const DATES: &str = "retention";
/// What the audit calls the making of clones.
const CLONE: &str = "clone";
/// How long the daily run may keep a command. The next one goes on.
const PIECE: Duration = Duration::from_millis(200);

/// A version, and what becomes of it.
#[derive(Debug, Clone)]
pub struct Retained {
    /// The version, `name@N`.
    pub label: String,
    /// Its state, after what was done.
    pub state: State,
    /// What the rules say.
    pub fate: Fate,
    /// Why it could not be done.
    pub failed: Option<String>,
}

/// What is looked at besides the rows of versions, of all of them at once.
struct Gathered {
    channels: HashMap<VersionId, Vec<String>>,
    guests: HashMap<VersionId, usize>,
    cloned: HashMap<String, i64>,
    newer: HashMap<VersionId, u32>,
}

impl Gathered {
    fn new(tx: &Tx<'_>, rows: &[VersionRow]) -> Result<Gathered, EngineError> {
        let mut channels: HashMap<VersionId, Vec<String>> = HashMap::new();
        for channel in tx.channels()? {
            let of_version = channels.entry(channel.version).or_default();
            of_version.push(channel.name.to_string());
        }
        // They come by template, the newest first.
        let (mut newer, mut last, mut published) = (HashMap::new(), None, 0);
        for row in rows {
            if last != Some(row.template_id) {
                (last, published) = (Some(row.template_id), 0);
            }
            newer.insert(row.id, published);
            published += u32::from(row.state == State::Published);
        }
        Ok(Gathered {
            channels,
            guests: tx.guest_counts()?,
            cloned: tx.all_last_done_ms(CLONE)?,
            newer,
        })
    }

    fn facts<'a>(&self, row: &'a VersionRow) -> Facts<'a> {
        Facts {
            state: row.state,
            governance: &row.governance,
            newer_published: self.newer.get(&row.id).copied().unwrap_or_default(),
            channels: self.channels.get(&row.id).cloned().unwrap_or_default(),
            clones: self.guests.get(&row.id).copied().unwrap_or_default(),
            cloned_ms: self.cloned.get(&row.label()).copied(),
            created_ms: row.created_ms,
            changed_ms: row.changed_ms,
        }
    }
}

/// The same of one version.
fn facts_of<'a>(tx: &Tx<'_>, row: &'a VersionRow) -> Result<Facts<'a>, EngineError> {
    let channels = tx.channels_to(row.id)?;
    Ok(Facts {
        state: row.state,
        governance: &row.governance,
        newer_published: tx.newer_published(row.template_id, row.number)?,
        channels: channels.iter().map(|row| row.name.to_string()).collect(),
        clones: tx.guest_count(row.id)?,
        cloned_ms: tx.last_done_ms(CLONE, &row.label())?,
        created_ms: row.created_ms,
        changed_ms: row.changed_ms,
    })
}

fn parse(text: &str) -> Result<Retention, EngineError> {
    Retention::parse(text).map_err(|error| EngineError::Usage {
        act: "use these retention settings".to_owned(),
        why: crate::error::chain(&error),
    })
}

fn settings_in(tx: &Tx<'_>) -> Result<Option<Retention>, EngineError> {
    let text = tx.setting(SETTING)?.filter(|text| !text.is_empty());
    text.as_deref().map(parse).transpose()
}

impl Engine {
    /// The site's settings; `None`: everything stays.
    pub fn retention(&self) -> Result<Option<Retention>, EngineError> {
        self.store.read(settings_in)
    }

    /// Sets the settings from a file's text, or takes them away. The daily run begins tomorrow, so
    /// that there is time to look at what it will do.
    pub fn set_retention(&self, text: Option<&str>) -> Result<Option<Retention>, EngineError> {
        let settings = text.map(parse).transpose()?;
        let text = text.unwrap_or_default();
        self.faults.reach("retention.read");
        self.store.write_durably(|tx| {
            tx.set_setting(SETTING, text)?;
            tx.set_setting(APPLIED, &self.today())?;
            let detail = match text.is_empty() {
                true => "none".to_owned(),
                false => format!("blake3:{}", blake3::hash(text.as_bytes()).to_hex()),
            };
            Ok::<_, EngineError>(self.audit(tx, "retention set", "site", &detail)?)
        })?;
        self.faults.reach("retention.set");
        Ok(settings)
    }

    /// What becomes of each version that is not purged. Changes nothing.
    pub fn retention_plan(&self) -> Result<Vec<Retained>, EngineError> {
        let judged = self.judge_retention()?;
        Ok(judged.into_iter().map(|(_, one)| one).collect())
    }

    /// By the version, for collection; empty where the site has no settings.
    pub(crate) fn fates(&self) -> Result<HashMap<VersionId, Fate>, EngineError> {
        if self.retention()?.is_none() {
            return Ok(HashMap::new());
        }
        let judged = self.judge_retention()?;
        Ok(judged.into_iter().map(|(id, one)| (id, one.fate)).collect())
    }

    fn judge_retention(&self) -> Result<Vec<(VersionId, Retained)>, EngineError> {
        let now_ms = self.now_ms();
        self.store.read(|tx| {
            let settings = settings_in(tx)?;
            let rows = tx.versions()?;
            let gathered = Gathered::new(tx, &rows)?;
            let judge = |row: &VersionRow| {
                let rules = settings
                    .as_ref()
                    .and_then(|settings| settings.rules_of(row.template.as_str()));
                let retained = Retained {
                    label: row.label(),
                    state: row.state,
                    fate: fate(rules.as_ref(), &gathered.facts(row), now_ms),
                    failed: None,
                };
                (row.id, retained)
            };
            let left = rows.iter().filter(|row| row.state != State::Purged);
            Ok(left.map(judge).collect())
        })
    }

    /// Does what the settings ask for now.
    pub fn apply_retention(&self) -> Result<Vec<Retained>, EngineError> {
        Ok(self.apply_within(None)?.0)
    }

    /// Goes on with the daily run; what was done. Nothing is done where the site has no settings.
    pub fn apply_retention_when_due(&self) -> Result<Vec<Retained>, EngineError> {
        let (has_settings, applied) = self.store.read(|tx| {
            let has_settings = tx.setting(SETTING)?.is_some_and(|text| !text.is_empty());
            Ok::<_, EngineError>((has_settings, tx.setting(APPLIED)?))
        })?;
        if !has_settings || applied.as_deref() == Some(self.today().as_str()) {
            return Ok(Vec::new());
        }
        let (mut all, is_done) = self.apply_within(Some(PIECE))?;
        if is_done {
            let today = self.today();
            self.store.write(|tx| tx.set_setting(APPLIED, &today))?;
        }
        all.retain(|one| one.fate.is_change());
        Ok(all)
    }

    /// Does what there is to do, as long as there is time; whether that was all.
    fn apply_within(&self, most: Option<Duration>) -> Result<(Vec<Retained>, bool), EngineError> {
        let begun = Instant::now();
        let mut failure = None;
        let mut all = Vec::new();
        for (id, mut one) in self.judge_retention()? {
            if !one.fate.is_change() {
                all.push(one);
                continue;
            }
            if most.is_some_and(|most| begun.elapsed() > most) {
                return Ok((all, false));
            }
            match self.apply_to(id, &one.fate) {
                Ok(Some((state, fate))) => (one.state, one.fate) = (state, fate),
                Ok(None) => one.failed = Some("something works on it".to_owned()),
                Err(error @ EngineError::Store(_)) => return Err(error),
                Err(error) if error.is_refusal() || matches!(error, EngineError::Policy { .. }) => {
                    let why = error.chain();
                    let verb = one.fate.what();
                    self.audit_failure_as(ACTOR, verb, &one.label, "refused", &why);
                    one.failed = Some(why);
                }
                // The others go their way nevertheless.
                Err(error) => {
                    let act = match one.fate {
                        Fate::Deprecate { .. } | Fate::Retire => one.fate.what(),
                        _ => "set the dates of",
                    };
                    let act = format!("{act} {}", one.label);
                    failure.get_or_insert(EngineError::room(act)(error));
                }
            }
            self.faults.reach("retention.applied");
            all.push(one);
        }
        failure.map_or(Ok((all, true)), Err)
    }

    /// Does to one version what the settings ask for now; its state, and what that was. `None` when
    /// something works on it.
    fn apply_to(
        &self,
        id: VersionId,
        planned: &Fate,
    ) -> Result<Option<(State, Fate)>, EngineError> {
        if *planned == Fate::Retire
            && let Some(row) = self.store.read(|tx| tx.version(id))?
        {
            self.gate(Point::Delete, &row)?;
        }
        let done = self.store.write_durably(|tx| {
            let row = tx.version(id)?;
            let Some(row) = row.filter(|row| self.refuse_if_busy(tx, row).is_ok()) else {
                return Ok(None);
            };
            let fate = self.fate_in(tx, &row)?;
            // What would be retired now and was not then was not asked about at the gate.
            if !fate.is_change() || (fate == Fate::Retire && *planned != Fate::Retire) {
                return Ok(Some((row.state, fate, None)));
            }
            let (operation, state) = self.do_in(tx, row, &fate)?;
            Ok::<_, EngineError>(Some((state, fate, Some(operation))))
        })?;
        let Some((state, fate, operation)) = done else {
            return Ok(None);
        };
        if let Some(operation) = operation {
            self.faults.reach("retention.committed");
            self.finish_change(&Work::new(self, operation, &Unwatched))?;
        }
        Ok(Some((state, fate)))
    }

    fn fate_in(&self, tx: &Tx<'_>, row: &VersionRow) -> Result<Fate, EngineError> {
        let settings = settings_in(tx)?;
        let rules = settings.and_then(|settings| settings.rules_of(row.template.as_str()));
        Ok(fate(rules.as_ref(), &facts_of(tx, row)?, self.now_ms()))
    }

    fn do_in(
        &self,
        tx: &Tx<'_>,
        row: VersionRow,
        fate: &Fate,
    ) -> Result<(OperationId, State), EngineError> {
        let (verb, said) = match fate {
            Fate::Deprecate {
                obsolete_ms,
                retire_ms,
            } => {
                let latest = self.latest(tx, row.template_id)?;
                let said = Statement {
                    reason: Some("nothing of the retention settings keeps it".to_owned()),
                    replacement: latest.filter(|l| l.id != row.id).map(|l| l.label()),
                    obsolete_ms: Some(*obsolete_ms),
                    retire_ms: Some(*retire_ms),
                    ..Statement::default()
                };
                (Verb::Deprecate, said)
            }
            Fate::Retire => {
                let said = Statement {
                    reason: Some(fate.why()),
                    ..Statement::default()
                };
                (Verb::Retire, said)
            }
            Fate::Resume {
                obsolete_ms,
                retire_ms,
            } => return self.set_dates(tx, row, (*obsolete_ms, Some(*retire_ms)), fate),
            _ => return self.set_dates(tx, row, (None, None), fate),
        };
        let operation = self.new_operation(verb.as_str(), &row.label(), serde_json::Value::Null);
        let by = By {
            operation: operation.id,
            actor: ACTOR,
        };
        let governed = self.change_in(tx, row, verb, Some(&said), &by)?;
        tx.insert_operation(&operation)?;
        Ok((operation.id, governed.version.state))
    }

    /// Sets when a version becomes obsolete and when it is retired.
    fn set_dates(
        &self,
        tx: &Tx<'_>,
        mut row: VersionRow,
        dates: (Option<i64>, Option<i64>),
        fate: &Fate,
    ) -> Result<(OperationId, State), EngineError> {
        let operation = self.new_operation(DATES, &row.label(), serde_json::Value::Null);
        (row.governance.obsolete_ms, row.governance.retire_ms) = dates;
        row.changed_ms = self.now_ms();
        row.operation = Some(operation.id);
        tx.insert_operation(&operation)?;
        tx.update_version(&row)?;
        self.audit_as(tx, ACTOR, fate.what(), &row.label(), &fate.why())?;
        Ok((operation.id, row.state))
    }

    /// Lifts the dates that these rules set, when one of them has come and something keeps the
    /// version again: the operation that has to be finished. Called before a date is enforced, in
    /// the same transaction.
    pub(crate) fn lift_if_kept(
        &self,
        tx: &Tx<'_>,
        row: &VersionRow,
        verb: Verb,
    ) -> Result<Option<OperationId>, EngineError> {
        let deprecated = row.governance.deprecated.as_ref();
        let is_theirs = deprecated.is_some_and(|notice| notice.actor == ACTOR);
        // The end of life is not theirs.
        let is_past = row.governance.is_past_end_of_life(self.now_ms());
        if !is_theirs || (verb == Verb::Obsolete && is_past) {
            return Ok(None);
        }
        match self.fate_in(tx, row)? {
            fate @ Fate::Lift(_) => Ok(Some(self.do_in(tx, row.clone(), &fate)?.0)),
            _ => Ok(None),
        }
    }
}
