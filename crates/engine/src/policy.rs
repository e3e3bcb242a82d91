//! Conformity of versions: checks are asked, reports are recorded and made again, and what a site
//! enforces is refused.
//!
//! `stampo-policy` judges; this file gives it the disk, the site's pack, the exceptions and the
//! moment, and keeps what it was given, so that any verdict can be reproduced. What follows from a
//! verdict, and where, is in `gate.rs`. A site that has set no pack enforces nothing.

mod exceptions;
mod gate;
mod recheck;

pub(crate) use gate::refuse_at;
pub use recheck::Rechecked;

use crate::engine::Engine;
use crate::error::EngineError;
use exceptions::counting_exceptions;
use stampo_core::names::VersionRef;
use stampo_image::device::BlockDevice;
use stampo_policy::{Evidence, Exception, Pack, Report, Subject, evaluate, gather};
use stampo_store::{PolicyReportRow, Tx, VersionRow};
use std::sync::Arc;

/// The key of the site's pack among the settings.
const SETTING: &str = "policy.pack";

/// A report with the id under which it is kept.
#[derive(Debug, Clone)]
pub struct PolicyReport {
    /// Its id.
    pub id: String,
    /// Who asked.
    pub actor: String,
    /// The digest that was recorded with it.
    pub digest: String,
    /// The report.
    pub report: Report,
}

/// A report that was made again from what was kept.
#[derive(Debug, Clone)]
pub struct Replay {
    /// As it was recorded.
    pub recorded: PolicyReport,
    /// As it comes out now, for the moment of the recorded one.
    pub again: Report,
    /// Whether the two are the same, to the byte, and as they were signed by their digest.
    pub is_same: bool,
    /// Whether the image still tells the same; `None` when its bytes are gone or can't be read.
    pub is_same_evidence: Option<bool>,
}

impl Engine {
    /// The pack that counts: the site's, or the built-in one; and whether it is the site's.
    pub fn policy_pack(&self) -> Result<(Pack, bool), EngineError> {
        self.store.read(|tx| self.pack_of(tx))
    }

    pub(crate) fn pack_of(&self, tx: &Tx<'_>) -> Result<(Pack, bool), EngineError> {
        match site_pack(tx)? {
            Some(text) => Ok((parse(&text)?, true)),
            None => Ok((Pack::built_in(), false)),
        }
    }

    /// Sets the site's pack; without one, the built-in pack counts again.
    pub fn set_policy_pack(&self, text: Option<&str>) -> Result<(Pack, bool), EngineError> {
        let pack = text.map_or_else(|| Ok(Pack::built_in()), parse)?;
        let detail = format!("{} {}, {}", pack.name, pack.version, pack.digest());
        self.store.write_durably(|tx| {
            tx.set_setting(SETTING, text.unwrap_or_default())?;
            self.audit(tx, "policy set", "site", &detail)?;
            Ok::<_, EngineError>(())
        })?;
        Ok((pack, text.is_some()))
    }

    /// Reads a version's disk, judges it, and records the report.
    pub fn policy_check(
        &self,
        reference: &VersionRef,
        pack: Option<&str>,
    ) -> Result<PolicyReport, EngineError> {
        let row = self.version_row(reference)?;
        let pack = match pack {
            Some(text) => parse(text)?,
            None => self.policy_pack()?.0,
        };
        let evidence = self.gather_evidence(&row, self.open_image(&row)?)?;
        self.judge_policy(&row, &evidence, &pack)
    }

    /// What a disk of a version tells, with what was accepted for it.
    fn gather_evidence(
        &self,
        row: &VersionRow,
        disk: Arc<dyn BlockDevice>,
    ) -> Result<Evidence, EngineError> {
        let look = format!("look into {}", row.label());
        let mut evidence = gather(disk).map_err(EngineError::room(look))?;
        let accepted = self.store.read(|tx| tx.exceptions(row.id))?;
        evidence.accept(&crate::seal::exceptions(&accepted));
        evidence.updates = self.security_updates(&evidence.inspection)?;
        Ok(evidence)
    }

    /// Judges what was read by the exceptions of now, and records nothing.
    fn evaluate_now(
        &self,
        row: &VersionRow,
        evidence: &Evidence,
        pack: &Pack,
    ) -> Result<Report, EngineError> {
        let exceptions = self.store.read(counting_exceptions)?;
        let (label, image) = (row.label(), image_of(row));
        let subject = Subject::new(&label, &image, &exceptions);
        Ok(evaluate(evidence, pack, &subject, self.now_ms() / 1000))
    }

    /// Judges what was read, and records the report.
    fn judge_policy(
        &self,
        row: &VersionRow,
        evidence: &Evidence,
        pack: &Pack,
    ) -> Result<PolicyReport, EngineError> {
        let exceptions = self.store.read(counting_exceptions)?;
        let at_s = self.now_ms() / 1000;
        let label = row.label();
        let image = image_of(row);
        let subject = Subject::new(&label, &image, &exceptions);
        let report = evaluate(evidence, pack, &subject, at_s);
        let kept = PolicyReportRow {
            id: uuid::Uuid::from_bytes(Self::random16())
                .simple()
                .to_string(),
            version: row.id,
            subject: label.clone(),
            image: image.clone(),
            at_s,
            pack: report.pack.digest.clone(),
            evidence: report.evidence.clone(),
            exceptions: json(&exceptions)?,
            digest: report.digest(),
            verdict: report.verdict.as_str().to_owned(),
            refused: report.refused,
            report: json(&report)?,
            actor: self.settings.actor.clone(),
        };
        let body = json(evidence)?.to_string();
        let detail = format!(
            "{}: {}, report {}",
            kept.verdict,
            in_numbers(&report),
            kept.id
        );
        self.store.write(|tx| {
            tx.put_policy_input(&kept.evidence, &body)?;
            tx.put_policy_input(&kept.pack, &pack.text)?;
            tx.insert_policy_report(&kept)?;
            self.audit(tx, "policy check", &label, &detail)?;
            Ok::<_, EngineError>(())
        })?;
        Ok(PolicyReport {
            id: kept.id,
            actor: kept.actor,
            digest: kept.digest,
            report,
        })
    }

    /// The recorded reports of a version, or of all, the newest first.
    pub fn policy_reports(
        &self,
        reference: Option<&VersionRef>,
        limit: u32,
    ) -> Result<Vec<PolicyReport>, EngineError> {
        let version = reference.map(|of| self.version_row(of)).transpose()?;
        let rows = self
            .store
            .read(|tx| tx.policy_reports(version.map(|row| row.id), limit))?;
        rows.iter().map(recorded).collect()
    }

    /// A recorded report; the id may be cut short.
    pub fn policy_report(&self, id: &str) -> Result<PolicyReport, EngineError> {
        recorded(&self.policy_report_row(id)?)
    }

    fn policy_report_row(&self, id: &str) -> Result<PolicyReportRow, EngineError> {
        let mut found = self.store.read(|tx| tx.policy_reports_named(id))?;
        match (found.pop(), found.is_empty()) {
            (Some(row), true) if !id.is_empty() => Ok(row),
            (Some(_), _) => Err(EngineError::Usage {
                act: format!("find the report {id}"),
                why: "more than one begins like this".to_owned(),
            }),
            (None, _) => Err(EngineError::NotFound {
                what: "report",
                name: id.to_owned(),
            }),
        }
    }

    /// Makes a recorded report again from what it was made of, and looks into the image again where
    /// that is still there.
    pub fn policy_replay(&self, id: &str) -> Result<Replay, EngineError> {
        let row = self.policy_report_row(id)?;
        let recorded = recorded(&row)?;
        let (evidence, pack) = self
            .store
            .read(|tx| Ok::<_, EngineError>((input(tx, &row.evidence)?, input(tx, &row.pack)?)))?;
        let evidence: Evidence =
            serde_json::from_str(&evidence).map_err(EngineError::room("read the evidence"))?;
        let exceptions: Vec<Exception> = serde_json::from_value(row.exceptions.clone())
            .map_err(EngineError::room("read the exceptions"))?;
        let subject = Subject::new(&row.subject, &row.image, &exceptions);
        let again = evaluate(&evidence, &parse(&pack)?, &subject, row.at_s);
        let is_same = again == recorded.report && again.digest() == row.digest;
        Ok(Replay {
            is_same,
            is_same_evidence: self.is_same_evidence(&row, &evidence),
            recorded,
            again,
        })
    }

    /// Whether the image tells what was recorded.
    fn is_same_evidence(&self, row: &PolicyReportRow, kept: &Evidence) -> Option<bool> {
        let version: VersionRow = self.store.read(|tx| tx.version(row.version)).ok()??;
        if image_of(&version) != row.image {
            return None;
        }
        let mut fresh = gather(self.open_image(&version).ok()?).ok()?;
        // What was accepted or imported since is no change of the image.
        fresh.accepted.clone_from(&kept.accepted);
        fresh.updates.clone_from(&kept.updates);
        Some(fresh.digest() == row.evidence)
    }
}

/// The text of the site's pack.
fn site_pack(tx: &Tx<'_>) -> Result<Option<String>, EngineError> {
    Ok(tx.setting(SETTING)?.filter(|text| !text.is_empty()))
}

/// The id of the image of a version; empty when it has none.
fn image_of(row: &VersionRow) -> String {
    let image = row.image.as_ref();
    image.map(ToString::to_string).unwrap_or_default()
}

fn input(tx: &Tx<'_>, digest: &str) -> Result<String, EngineError> {
    tx.policy_input(digest)?
        .ok_or_else(|| EngineError::NotFound {
            what: "what a report was made of,",
            name: digest.to_owned(),
        })
}

fn recorded(row: &PolicyReportRow) -> Result<PolicyReport, EngineError> {
    let report = serde_json::from_value(row.report.clone())
        .map_err(EngineError::room(format!("read the report {}", row.id)))?;
    Ok(PolicyReport {
        id: row.id.clone(),
        actor: row.actor.clone(),
        digest: row.digest.clone(),
        report,
    })
}

fn parse(text: &str) -> Result<Pack, EngineError> {
    Pack::parse(text).map_err(|error| {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        EngineError::Usage {
            act: "use the check pack".to_owned(),
            why: format!("failed to {error}{}", source.unwrap_or_default()),
        }
    })
}

fn json<T: serde::Serialize>(value: &T) -> Result<serde_json::Value, EngineError> {
    serde_json::to_value(value).map_err(EngineError::room("record the report"))
}

fn in_numbers(report: &Report) -> String {
    let counts = report.counts.iter();
    let counts: Vec<String> = counts
        .map(|(verdict, count)| format!("{count} {}", verdict.as_str()))
        .collect();
    counts.join(", ")
}
