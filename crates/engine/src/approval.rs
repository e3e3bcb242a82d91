//! Approvals: the site's settings, and how a version stands by them.
//!
//! Whether a version is approved is nowhere recorded. It is computed each time, by
//! `stampo_core::approval`, from what people signed, the settings, what is so now, and the clock.
//! Signing is in `approval/sign.rs`, the file for strangers in `approval/bundle.rs`.

mod bundle;
mod sign;

pub use bundle::verify_bundle;
pub use sign::{Spoken, ToSay};

use crate::engine::Engine;
use crate::error::EngineError;
use crate::work::{Unwatched, Work};
use stampo_attest::settings::Settings as ApprovalSettings;
use stampo_attest::signature::{APPROVAL_NAMESPACE, Key};
use stampo_attest::statement::{Approval, Statement};
use stampo_core::approval::{
    Asked, Bound, Decision, Moment, Preset, Principal, Said, Void, Vote, decide, may_purge,
    vote_counts,
};
use stampo_core::lifecycle::{State, Verb};
use stampo_image::{durable, regular};
use stampo_policy::Report;
use stampo_store::{ApprovalRow, OperationState, Tx, VersionRow};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The key of the settings in the catalog.
const SETTING: &str = "approval.settings";
/// The copy of the settings in the home, for when the catalog is lost.
const FILE: &str = "approval.yaml";
/// The kind of the operation that writes the copy.
pub(crate) const SET: &str = "approval set";
/// What is done to a version before anybody approves it.
const MAKING: [&str; 3] = ["build", "import", "seal"];

/// One thing that somebody said, and whether it counts now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaidOf {
    /// What was said.
    pub said: Approval,
    /// The fingerprint of the key; empty where nobody had to sign.
    pub key: String,
    /// Why it does not count, if it does not.
    pub void: Option<Void>,
}

/// How a version stands by the settings.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovalStanding {
    /// What the settings ask for.
    pub preset: Preset,
    /// How many approvals they ask for.
    pub needed: u32,
    /// What was said, in order.
    pub said: Vec<SaidOf>,
    /// What it comes to.
    pub decision: Decision,
}

/// What was said about a version, read and checked.
struct Heard {
    settings: ApprovalSettings,
    rows: Vec<(ApprovalRow, Statement)>,
    votes: Vec<Vote>,
    authors: BTreeSet<Principal>,
    now: Bound,
}

impl Heard {
    fn asked(&self, now_ms: i64, moment: Moment) -> Asked<'_> {
        Asked {
            rule: &self.settings.rule,
            authors: &self.authors,
            votes: &self.votes,
            now: &self.now,
            now_ms,
            moment,
        }
    }
}

impl Engine {
    /// The settings that count, and whether the site has set any.
    pub fn approval_settings(&self) -> Result<(ApprovalSettings, bool), EngineError> {
        self.store.read(|tx| self.approval_settings_in(tx))
    }

    fn approval_settings_in(&self, tx: &Tx<'_>) -> Result<(ApprovalSettings, bool), EngineError> {
        let text = match tx.setting(SETTING)? {
            Some(text) => Some(text),
            None => self.approval_copy()?,
        };
        match text {
            Some(text) => Ok((parse(&text)?, true)),
            None => Ok((ApprovalSettings::default(), false)),
        }
    }

    fn approval_file(&self) -> PathBuf {
        self.home.join(FILE)
    }

    /// The copy in the home. A catalog that was lost must not make a site less strict.
    fn approval_copy(&self) -> Result<Option<String>, EngineError> {
        let path = self.approval_file();
        let most = stampo_attest::settings::LONGEST_SETTINGS as u64;
        match regular::read(&path, most) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(EngineError::io("read", path)(error)),
        }
    }

    /// Sets the settings from a file's text.
    pub fn set_approval(&self, text: &str) -> Result<ApprovalSettings, EngineError> {
        self.keep_approval(|_| parse(text))
    }

    /// Sets another preset; the signers stay.
    pub fn set_approval_preset(&self, preset: Preset) -> Result<ApprovalSettings, EngineError> {
        self.keep_approval(|before| before.with_preset(preset).map_err(unusable))
    }

    fn keep_approval(
        &self,
        change: impl FnOnce(&ApprovalSettings) -> Result<ApprovalSettings, EngineError>,
    ) -> Result<ApprovalSettings, EngineError> {
        let operation = self.new_operation(SET, "site", serde_json::Value::Null);
        let settings = self.store.write_durably(|tx| {
            let (before, _) = self.approval_settings_in(tx)?;
            let settings = change(&before)?;
            tx.set_setting(SETTING, &settings.text())?;
            tx.insert_operation(&operation)?;
            let detail = format!(
                "{}, {} approvals, {} signers, {}; before: {}, {}",
                settings.rule.preset.as_str(),
                settings.rule.needed,
                settings.signers.len(),
                settings.digest(),
                before.rule.preset.as_str(),
                before.digest(),
            );
            self.audit(tx, SET, "site", &detail)?;
            Ok::<_, EngineError>(settings)
        })?;
        self.faults.reach("approval.set");
        self.finish_approval_set(&Work::new(self, operation.id, &Unwatched))?;
        Ok(settings)
    }

    /// Writes the copy of the settings. Recovery does so too.
    pub(crate) fn finish_approval_set(&self, work: &Work<'_>) -> Result<(), EngineError> {
        let text: Option<String> = self.store.read(|tx| tx.setting(SETTING))?;
        if let Some(text) = text {
            durable::write_file_durably(&self.approval_file(), text.as_bytes(), 0o600)
                .map_err(EngineError::room("keep the approval settings"))?;
        }
        self.faults.reach("approval.kept");
        work.end(OperationState::Done, None, |_| Ok(()))
    }

    /// How a version stands by the settings; `None` where nothing is asked and nothing was said.
    pub fn approval_standing(
        &self,
        row: &VersionRow,
    ) -> Result<Option<ApprovalStanding>, EngineError> {
        let heard = self.store.read(|tx| {
            let asks = self.approval_settings_in(tx)?.0.rule.asks();
            match asks || !tx.approvals(row.id)?.is_empty() {
                true => self.hear(tx, row).map(Some),
                false => Ok(None),
            }
        })?;
        let Some(heard) = heard else {
            return Ok(None);
        };
        let asked = heard.asked(self.now_ms(), moment_of(row.state));
        let said = heard.rows.iter().zip(&heard.votes);
        let said = said.map(|((kept, statement), vote)| SaidOf {
            said: statement.predicate.clone(),
            key: fingerprint(&kept.key),
            void: vote_counts(&asked, vote).err(),
        });
        Ok(Some(ApprovalStanding {
            preset: heard.settings.rule.preset,
            needed: heard.settings.rule.needed,
            said: said.collect(),
            decision: decide(&asked),
        }))
    }

    /// Everything that was said about a version, and what is so of it now.
    fn hear(&self, tx: &Tx<'_>, row: &VersionRow) -> Result<Heard, EngineError> {
        let (settings, _) = self.approval_settings_in(tx)?;
        let mut rows = Vec::new();
        let mut votes = Vec::new();
        for kept in tx.approvals(row.id)? {
            // One that can't be read counts for nothing: its signature would be wrong as well.
            let Ok(statement) = Statement::parse(&kept.statement) else {
                continue;
            };
            votes.push(vote(&settings, &kept, &statement));
            rows.push((kept, statement));
        }
        let makers = tx.actors_of(&row.label(), &MAKING)?;
        Ok(Heard {
            authors: authors(&settings, &rows, &makers),
            now: self.bound(tx, row)?,
            settings,
            rows,
            votes,
        })
    }

    /// What an approval would be bound to now. Without a report nothing is equal to it.
    fn bound(&self, tx: &Tx<'_>, row: &VersionRow) -> Result<Bound, EngineError> {
        let report = newest_report(tx, row)?;
        Ok(Bound {
            image: image_of(row),
            policy: self.pack_of(tx)?.0.digest(),
            report: report
                .map(|(report, _)| conclusion(&report))
                .unwrap_or_default(),
        })
    }

    /// Whether the settings ask for an approval that there is not.
    pub(crate) fn needs_approval(
        &self,
        tx: &Tx<'_>,
        row: &VersionRow,
        verb: Verb,
    ) -> Result<bool, EngineError> {
        let (settings, _) = self.approval_settings_in(tx)?;
        let rule = &settings.rule;
        let moment = moment_of(row.state);
        // Offered before anybody asked, and not asked about each time it is used.
        let is_offered = moment == Moment::Using && verb != Verb::Reinstate;
        if !rule.asks() || (is_offered && !rule.verify_at_clone) {
            return Ok(false);
        }
        let heard = self.hear(tx, row)?;
        Ok(match decide(&heard.asked(self.now_ms(), moment)) {
            Decision::BrokenGlass { .. } => verb == Verb::Approve,
            decision => !decision.allows(),
        })
    }

    /// By whose word a version is published, for the audit. Called when its state is new already.
    pub(crate) fn who_approved(
        &self,
        tx: &Tx<'_>,
        row: &VersionRow,
    ) -> Result<String, EngineError> {
        let asks = self.approval_settings_in(tx)?.0.rule.asks();
        if !asks {
            return Ok("approved by who published it".to_owned());
        }
        let heard = self.hear(tx, row)?;
        Ok(
            match decide(&heard.asked(self.now_ms(), Moment::Publishing)) {
                Decision::BrokenGlass { by, .. } => format!("BREAK-GLASS by {}", names(&by)),
                decision => in_words(&decision),
            },
        )
    }

    /// Makes the report anew that approvals are compared with, unless the site's pack did.
    pub(crate) fn renew_report(
        &self,
        row: &VersionRow,
        reference: &stampo_core::names::VersionRef,
    ) -> Result<(), EngineError> {
        let (settings, _) = self.approval_settings()?;
        let is_judged = self.pack_at(stampo_policy::Point::Publish)?.is_some();
        let may_be = matches!(row.state, State::Sealed | State::Approved);
        if settings.rule.asks() && !is_judged && may_be && row.image.is_some() {
            self.policy_check(reference, None)?;
        }
        Ok(())
    }

    /// Refuses to clone what is not approved, where the settings ask for that each time. What is
    /// offered without its approvals is told in any case.
    pub(crate) fn gate_approval(
        &self,
        tx: &Tx<'_>,
        row: &VersionRow,
    ) -> Result<Vec<String>, EngineError> {
        let (settings, _) = self.approval_settings_in(tx)?;
        if !settings.rule.asks() {
            return Ok(Vec::new());
        }
        let heard = self.hear(tx, row)?;
        match decide(&heard.asked(self.now_ms(), Moment::Using)) {
            Decision::BrokenGlass { by, .. } => Ok(vec![format!(
                "{} is offered without its approvals: {} broke the glass: stampo template show {}",
                row.label(),
                names(&by),
                row.label(),
            )]),
            decision if settings.rule.verify_at_clone && !decision.allows() => {
                Err(EngineError::Approval {
                    act: "clone",
                    label: row.label(),
                    why: in_words(&decision),
                })
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Refuses to free the bytes of a version to who made or approved it, where the settings keep
    /// that apart.
    pub(crate) fn refuse_purge_by(
        &self,
        tx: &Tx<'_>,
        row: &VersionRow,
        actor: &str,
    ) -> Result<(), EngineError> {
        if !self.approval_settings_in(tx)?.0.rule.purger_apart {
            return Ok(());
        }
        let heard = self.hear(tx, row)?;
        let purger = uid_of(actor).and_then(|uid| heard.settings.signer_with_uid(uid));
        let purger = purger.map(|signer| &signer.principal);
        if may_purge(&heard.settings.rule, purger, &heard.authors, &heard.votes) {
            return Ok(());
        }
        let why = match purger {
            Some(who) => format!("{who} made or approved it; somebody else has to purge it"),
            None => format!(
                "{actor} is nobody whom the approval settings name; give the signer a uid there"
            ),
        };
        Err(EngineError::Approval {
            act: "purge",
            label: row.label(),
            why,
        })
    }
}

/// For what a version's approvals are asked for in this state.
fn moment_of(state: State) -> Moment {
    match state {
        State::Published | State::Deprecated | State::Obsolete => Moment::Using,
        _ => Moment::Publishing,
    }
}

/// What somebody said, with what the settings make of them now.
fn vote(settings: &ApprovalSettings, row: &ApprovalRow, statement: &Statement) -> Vote {
    let said = &statement.predicate;
    let key = Key::parse(&row.key).ok();
    let signer = key.as_ref().and_then(|key| settings.signer_of(key));
    let signer = signer.filter(|signer| signer.principal == said.by);
    let verified = key.is_some_and(|key| {
        key.verify(APPROVAL_NAMESPACE, &row.statement, &row.signature)
            .is_ok()
    });
    Vote {
        principal: said.by.clone(),
        said: said.said,
        about: statement.bound(),
        at_ms: said.at_ms,
        is_proven: verified && signer.is_some(),
        is_person: signer.is_some_and(|signer| !signer.is_robot),
        roles: signer
            .map(|signer| signer.roles.clone())
            .unwrap_or_default(),
    }
}

/// Who made a version: who submitted it, and who built, imported or sealed it on this host.
fn authors(
    settings: &ApprovalSettings,
    rows: &[(ApprovalRow, Statement)],
    makers: &[String],
) -> BTreeSet<Principal> {
    let said = || rows.iter().map(|(_, statement)| statement);
    let submitted = said().filter(|one| one.predicate.said == Said::Submitted);
    let mut authors: BTreeSet<Principal> = submitted.map(|one| one.predicate.by.clone()).collect();
    let recorded = said().flat_map(|one| one.predicate.makers.iter());
    for maker in makers.iter().chain(recorded) {
        let signer = uid_of(maker).and_then(|uid| settings.signer_with_uid(uid));
        authors.extend(signer.map(|signer| signer.principal.clone()));
    }
    authors
}

/// The user id in `local:anna(1000)` or `local:1000`: the part that is a fact.
fn uid_of(actor: &str) -> Option<u32> {
    let rest = actor.strip_prefix("local:")?;
    match rest.rsplit_once('(') {
        Some((_, uid)) => uid.strip_suffix(')')?.parse().ok(),
        None => rest.parse().ok(),
    }
}

/// The newest report of a version's bytes, with its digest.
fn newest_report(tx: &Tx<'_>, row: &VersionRow) -> Result<Option<(Report, String)>, EngineError> {
    let image = image_of(row);
    let found = tx.policy_reports(Some(row.id), 1)?;
    let Some(kept) = found.into_iter().find(|kept| kept.image == image) else {
        return Ok(None);
    };
    let report: Report = serde_json::from_value(kept.report)
        .map_err(EngineError::room(format!("read the report {}", kept.id)))?;
    Ok(Some((report, kept.digest)))
}

/// The digest of what a report says, whenever it was made.
fn conclusion(report: &Report) -> String {
    Report {
        at: String::new(),
        ..report.clone()
    }
    .digest()
}

fn image_of(row: &VersionRow) -> String {
    row.image
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default()
}

fn fingerprint(key: &str) -> String {
    Key::parse(key)
        .map(|key| key.fingerprint())
        .unwrap_or_default()
}

fn parse(text: &str) -> Result<ApprovalSettings, EngineError> {
    ApprovalSettings::parse(text).map_err(unusable)
}

fn unusable(error: stampo_attest::settings::SettingsError) -> EngineError {
    EngineError::Usage {
        act: "use the approval settings".to_owned(),
        why: format!("failed to {}", crate::error::chain(&error)),
    }
}

/// People in one line.
fn names(by: &BTreeSet<Principal>) -> String {
    let names: Vec<String> = by.iter().map(ToString::to_string).collect();
    match names.is_empty() {
        true => "nobody".to_owned(),
        false => names.join(", "),
    }
}

/// What a decision says, in one line.
pub fn in_words(decision: &Decision) -> String {
    match decision {
        Decision::NotNeeded => "nobody has to approve it".to_owned(),
        Decision::Approved { by, .. } => format!("approved by {}", names(by)),
        Decision::BrokenGlass { by, .. } => format!("{} broke the glass", names(by)),
        Decision::Missing { by, more, roles } => {
            let roles: Vec<String> = roles
                .iter()
                .map(|(role, n)| format!("{n} of {role}"))
                .collect();
            let among = match roles.is_empty() {
                true => String::new(),
                false => format!(", among them {}", roles.join(" and ")),
            };
            format!("approved by {}; {more} more needed{among}", names(by))
        }
    }
}
