//! What follows from verdicts, and where: a site's pack is asked at the points of
//! `stampo_policy::point`, and what it enforces there is refused.
//!
//! ```text
//! gate ─ the disk is read ──────────────→ a report is recorded ─→ refused, or what is to be told
//!      └ what a report read before ─→ a decision ─────────────────┘
//! ```
//! A decision from a report's evidence is remembered under everything that it depends on: the digests
//! of the evidence, the pack, the exceptions and what was accepted, and the day. Whatever changes,
//! another key is looked for. A clone is decided about in the transaction that reserves it.

use super::exceptions::counting_exceptions;
use super::{image_of, parse};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::work::Work;
use serde::{Deserialize, Serialize};
use stampo_core::date::DAY_S;
use stampo_core::ids::ImageId;
use stampo_image::device::BlockDevice;
use stampo_image::raw::RawFile;
use stampo_policy::point::Looks;
use stampo_policy::{Evidence, Exception, Mode, Pack, Point, Report, Subject, evaluate};
use stampo_store::{Tx, VersionRow};
use std::path::Path;
use std::sync::Arc;

/// What follows for one version at one point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Decision {
    /// Why it is refused.
    refusal: Option<String>,
    /// What is to be told.
    warnings: Vec<String>,
}

/// Everything that a decision depends on.
struct Question {
    pack: String,
    /// The digest of the newest evidence of the version's bytes.
    evidence: Option<String>,
    exceptions: Vec<Exception>,
    accepted: Vec<stampo_guest::seal::proof::Exception>,
    /// The first second of the day.
    day_s: i64,
    key: String,
}

impl Engine {
    /// Judges a version that is about to be used: what the site's pack wants to be told. Nothing is
    /// done where the site has no pack, or one that says nothing about this point.
    ///
    /// # Errors
    /// [`EngineError::Policy`] where the pack refuses it.
    pub(crate) fn gate(&self, point: Point, row: &VersionRow) -> Result<Vec<String>, EngineError> {
        if self.pack_at(point)?.is_none() {
            return Ok(Vec::new());
        }
        let has_record = || {
            let found = |tx: &Tx<'_>| tx.newest_policy_evidence(row.id, &image_of(row));
            Ok::<_, EngineError>(self.store.read(found)?.is_some())
        };
        let reads_disk = match point.looks() {
            Looks::AtTheDisk => true,
            Looks::AtTheRecord => false,
            Looks::AtTheRecordOrDisk => !has_record()?,
        };
        if reads_disk {
            return self.gate_disk(point, row, || self.open_image(row));
        }
        self.remember_decision(point, row)?;
        self.store.read(|tx| self.gate_in(tx, point, row))
    }

    /// As [`Engine::gate`], for a disk that may be in no image yet: the row names the image that it
    /// would be.
    pub(crate) fn gate_disk(
        &self,
        point: Point,
        row: &VersionRow,
        disk: impl FnOnce() -> Result<Arc<dyn BlockDevice>, EngineError>,
    ) -> Result<Vec<String>, EngineError> {
        let Some(pack) = self.pack_at(point)? else {
            return Ok(Vec::new());
        };
        let label = row.label();
        let judged = disk()
            .and_then(|disk| self.gather_evidence(row, disk))
            .and_then(|evidence| self.judge_policy(row, &evidence, &pack));
        let decision = match judged {
            Ok(judged) => Decision::of(&judged.report, &label, point),
            Err(error) => {
                let why = format!("it could not be looked into: {}", error.chain());
                Decision::unknown(&pack, &label, point, why)
            }
        };
        decision.follow(label)
    }

    /// Judges a disk that is about to become a version's, as a phase where the site asks for it.
    pub(crate) fn gate_born(
        &self,
        work: &Work<'_>,
        point: Point,
        row: &VersionRow,
        image: ImageId,
        disk: &Path,
    ) -> Result<(), EngineError> {
        if self.pack_at(point)?.is_none() {
            return Ok(());
        }
        let judged = VersionRow {
            image: Some(image),
            ..row.clone()
        };
        work.phase(&row.label(), "policy", || {
            let told = self.gate_disk(point, &judged, || {
                let opened = RawFile::open_read_only(disk);
                Ok(Arc::new(opened.map_err(EngineError::io("open", disk))?))
            })?;
            let detail = match told.is_empty() {
                true => "nothing to be told".to_owned(),
                false => told.join("; "),
            };
            Ok(((), detail))
        })
    }

    /// As [`Engine::gate`], from the newest report's evidence alone: no disk is read.
    pub(crate) fn gate_in(
        &self,
        tx: &Tx<'_>,
        point: Point,
        row: &VersionRow,
    ) -> Result<Vec<String>, EngineError> {
        let Some(question) = self.question(tx, point, row)? else {
            return Ok(Vec::new());
        };
        let decision = match remembered(tx, &question)? {
            Some(decision) => decision,
            None => decide(tx, point, row, &question)?,
        };
        decision.follow(row.label())
    }

    /// Decides and remembers, outside of the transaction that will ask.
    pub(crate) fn remember_decision(
        &self,
        point: Point,
        row: &VersionRow,
    ) -> Result<(), EngineError> {
        let decided = self.store.read(|tx| {
            let Some(question) = self.question(tx, point, row)? else {
                return Ok(None);
            };
            match remembered(tx, &question)? {
                Some(_) => Ok(None),
                None => decide(tx, point, row, &question).map(|made| Some((question, made))),
            }
        })?;
        let Some((question, decision)) = decided else {
            return Ok(());
        };
        let text = serde_json::to_string(&decision).map_err(EngineError::room("decide"))?;
        self.store
            .write(|tx| tx.put_policy_decision(&question.key, question.day_s, &text))?;
        Ok(())
    }

    /// The site's pack, if something follows from it at this point.
    pub(crate) fn pack_at(&self, point: Point) -> Result<Option<Pack>, EngineError> {
        let (pack, is_site) = self.policy_pack()?;
        Ok(Some(pack).filter(|pack| is_site && says_something(pack, point)))
    }

    /// What has to be decided; `None` where the site has no pack.
    fn question(
        &self,
        tx: &Tx<'_>,
        point: Point,
        row: &VersionRow,
    ) -> Result<Option<Question>, EngineError> {
        let Some(pack) = super::site_pack(tx)? else {
            return Ok(None);
        };
        let (label, image) = (row.label(), image_of(row));
        let evidence = tx.newest_policy_evidence(row.id, &image)?;
        let exceptions = counting_exceptions(tx)?;
        let rows = tx.exceptions(row.id)?;
        let accepted: Vec<_> = rows
            .iter()
            .map(|row| (&row.finding, &row.path, &row.reason))
            .collect();
        let day_s = (self.now_ms() / 1000).div_euclid(DAY_S) * DAY_S;
        let edition = stampo_policy::check::EDITION;
        let pack_digest = blake3::hash(pack.as_bytes()).to_hex().to_string();
        let of_version = (point, label, image, &evidence, accepted);
        let key = stampo_policy::digest(&(edition, day_s, pack_digest, of_version, &exceptions));
        let accepted = crate::seal::exceptions(&rows);
        Ok(Some(Question {
            pack,
            evidence,
            exceptions,
            accepted,
            day_s,
            key,
        }))
    }
}

/// An error where the report refuses this.
pub(crate) fn refuse_at(point: Point, label: &str, report: &Report) -> Result<(), EngineError> {
    Decision::of(report, label, point)
        .follow(label.to_owned())
        .map(drop)
}

/// Whether something may follow at this point. Where the disk is read anyway, that it is recorded is
/// enough.
fn says_something(pack: &Pack, point: Point) -> bool {
    let counts = |mode| mode != Mode::Audit || point.looks() == Looks::AtTheDisk;
    let of_all = pack.mode == Mode::Enforce && pack.at.contains(&point);
    let mut rules = pack.rules.iter();
    of_all || rules.any(|rule| counts(rule.mode) && rule.at.contains(&point))
}

/// What was decided before; nothing that is not as it was written.
fn remembered(tx: &Tx<'_>, question: &Question) -> Result<Option<Decision>, EngineError> {
    let text = tx.policy_decision(&question.key)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

fn decide(
    tx: &Tx<'_>,
    point: Point,
    row: &VersionRow,
    question: &Question,
) -> Result<Decision, EngineError> {
    let pack = parse(&question.pack)?;
    if !says_something(&pack, point) {
        return Ok(Decision::nothing());
    }
    let (label, image) = (row.label(), image_of(row));
    let Some(digest) = &question.evidence else {
        let why = "it was never looked into: stampo policy check".to_owned();
        return Ok(Decision::unknown(&pack, &label, point, why));
    };
    let body = super::input(tx, digest)?;
    let mut evidence: Evidence =
        serde_json::from_str(&body).map_err(EngineError::room("read the evidence"))?;
    evidence.accept(&question.accepted);
    let subject = Subject::new(&label, &image, &question.exceptions);
    let report = evaluate(&evidence, &pack, &subject, question.day_s);
    Ok(Decision::of(&report, &label, point))
}

impl Decision {
    fn nothing() -> Self {
        Decision {
            refusal: None,
            warnings: Vec::new(),
        }
    }

    fn of(report: &Report, label: &str, point: Point) -> Self {
        let warned = report.warned_at(point);
        Decision {
            refusal: report.refusal_at(point),
            warnings: warned
                .map(|o| format!("{label}: {}: {}", o.check, o.verdict.as_str()))
                .collect(),
        }
    }

    /// Where nothing is known, what is enforced is refused.
    fn unknown(pack: &Pack, label: &str, point: Point, why: String) -> Self {
        let mut rules = pack.rules.iter();
        let is_enforced = rules.any(|r| r.mode == Mode::Enforce && r.at.contains(&point))
            || (pack.mode == Mode::Enforce && pack.at.contains(&point));
        match is_enforced {
            true => Decision {
                refusal: Some(why),
                warnings: Vec::new(),
            },
            false => Decision {
                refusal: None,
                warnings: vec![format!("{label}: {why}")],
            },
        }
    }

    fn follow(self, label: String) -> Result<Vec<String>, EngineError> {
        match self.refusal {
            Some(why) => Err(EngineError::Policy { label, why }),
            None => Ok(self.warnings),
        }
    }
}
