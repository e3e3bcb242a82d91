//! The daily re-check: what versions come to today, by the pack and the exceptions of today.
//!
//! It judges what reports read before, so it costs no disk; a version of which there is no report is
//! read once. Only what came out otherwise is recorded. It is done by whatever comes first on a day:
//! a command, a piece at a time, or the process that tends pools.

use super::{image_of, input};
use crate::engine::Engine;
use crate::error::EngineError;
use stampo_policy::{Evidence, Pack, Report, Verdict};
use stampo_store::{PolicyReportRow, VersionRow};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// The key of how far it is: the day, and the version that was the last.
const SETTING: &str = "policy.rechecked";
/// How long it may keep a command. The next one goes on.
const PIECE: Duration = Duration::from_millis(200);

/// How a version came out.
#[derive(Debug, Clone)]
pub struct Rechecked {
    /// The version, `name@N`.
    pub label: String,
    /// How it ended; unknown when it could not be judged.
    pub verdict: Verdict,
    /// How the last report ended.
    pub was: Option<String>,
    /// Whether something is refused.
    pub refused: bool,
    /// The checks that came out otherwise, with their verdicts then and now.
    pub changes: Vec<String>,
    /// The report that was recorded.
    pub report: Option<String>,
    /// Why it could not be judged.
    pub failed: Option<String>,
}

impl Engine {
    /// Judges every version that is offered or has guests: from the newest report's evidence, or from
    /// the disk when asked to.
    pub fn policy_recheck(&self, is_fresh: bool) -> Result<Vec<Rechecked>, EngineError> {
        let pack = self.policy_pack()?.0;
        let rows = self.versions_in_use("")?;
        let all = rows.iter().map(|row| self.recheck(row, &pack, is_fresh));
        let all: Vec<Rechecked> = all.collect();
        self.note_recheck(&self.today(), None)?;
        Ok(all)
    }

    /// Goes on with the re-check of today; what came out otherwise. Nothing is done where the site
    /// has no pack.
    pub fn recheck_when_due(&self) -> Result<Vec<Rechecked>, EngineError> {
        let (site, noted) = self
            .store
            .read(|tx| Ok::<_, EngineError>((super::site_pack(tx)?, tx.setting(SETTING)?)))?;
        let (Some(text), today) = (site, self.today()) else {
            return Ok(Vec::new());
        };
        let noted = noted.unwrap_or_default();
        if noted == today {
            return Ok(Vec::new());
        }
        let last = noted.strip_prefix(&format!("{today} ")).unwrap_or_default();
        let pack = super::parse(&text)?;
        let begun = Instant::now();
        let mut found = Vec::new();
        for row in self.versions_in_use(last)? {
            found.push(self.recheck(&row, &pack, false));
            if begun.elapsed() > PIECE {
                self.note_recheck(&today, Some(&row))?;
                return Ok(otherwise(found));
            }
        }
        self.note_recheck(&today, None)?;
        Ok(otherwise(found))
    }

    pub(crate) fn today(&self) -> String {
        stampo_core::date::day(self.now_ms() / 1000)
    }

    fn note_recheck(&self, today: &str, last: Option<&VersionRow>) -> Result<(), EngineError> {
        let text = last.map_or_else(|| today.to_owned(), |row| format!("{today} {}", row.id));
        self.store.write(|tx| tx.set_setting(SETTING, &text))?;
        Ok(())
    }

    /// The versions that are offered or have guests, after the one with this id.
    fn versions_in_use(&self, after: &str) -> Result<Vec<VersionRow>, EngineError> {
        let (mut rows, guests) = self
            .store
            .read(|tx| Ok::<_, EngineError>((tx.versions()?, tx.guests()?)))?;
        let used: HashSet<_> = guests.into_iter().map(|guest| guest.version).collect();
        rows.retain(|row| {
            let is_used = row.state.is_clonable() || used.contains(&row.id);
            is_used && row.image.is_some() && row.id.to_string().as_str() > after
        });
        rows.sort_by_key(|row| row.id.to_string());
        Ok(rows)
    }

    fn recheck(&self, row: &VersionRow, pack: &Pack, is_fresh: bool) -> Rechecked {
        let failed = |error: EngineError| Rechecked {
            label: row.label(),
            verdict: Verdict::Unknown,
            was: None,
            refused: false,
            changes: Vec::new(),
            report: None,
            failed: Some(error.chain()),
        };
        self.recheck_one(row, pack, is_fresh).unwrap_or_else(failed)
    }

    fn recheck_one(
        &self,
        row: &VersionRow,
        pack: &Pack,
        is_fresh: bool,
    ) -> Result<Rechecked, EngineError> {
        let reports = self.store.read(|tx| tx.policy_reports(Some(row.id), 1))?;
        let mut reports = reports.into_iter();
        let last = reports.next().filter(|last| last.image == image_of(row));
        let evidence = match last.as_ref().filter(|_| !is_fresh) {
            Some(last) => self.kept_evidence(row, last)?,
            None => self.gather_evidence(row, self.open_image(row)?)?,
        };
        let report = self.evaluate_now(row, &evidence, pack)?;
        let before = last.as_ref().map(super::recorded).transpose()?;
        let changes = before
            .as_ref()
            .map_or_else(Vec::new, |before| changes(&before.report, &report));
        let is_news = before.is_none() || !changes.is_empty();
        let kept = is_news.then(|| self.judge_policy(row, &evidence, pack));
        Ok(Rechecked {
            label: row.label(),
            verdict: report.verdict,
            was: last.map(|last| last.verdict),
            refused: report.refused,
            changes,
            report: kept.transpose()?.map(|kept| kept.id),
            failed: None,
        })
    }

    /// What a report read, with what is accepted for the version now, and the updates that there are now.
    fn kept_evidence(
        &self,
        row: &VersionRow,
        last: &PolicyReportRow,
    ) -> Result<Evidence, EngineError> {
        let (body, accepted) = self.store.read(|tx| {
            Ok::<_, EngineError>((input(tx, &last.evidence)?, tx.exceptions(row.id)?))
        })?;
        let mut evidence: Evidence =
            serde_json::from_str(&body).map_err(EngineError::room("read the evidence"))?;
        evidence.accept(&crate::seal::exceptions(&accepted));
        evidence.updates = self.security_updates(&evidence.inspection)?;
        Ok(evidence)
    }
}

/// What somebody should know of.
fn otherwise(found: Vec<Rechecked>) -> Vec<Rechecked> {
    let is_news = |one: &Rechecked| !one.changes.is_empty() || one.failed.is_some();
    found.into_iter().filter(is_news).collect()
}

/// The checks whose verdicts differ. What the pack does not ask any more is no news, nor is what it
/// asks since and is in order.
fn changes(then: &Report, now: &Report) -> Vec<String> {
    let verdict = |report: &Report, id: &str| {
        let found = report.outcomes.iter().find(|outcome| outcome.check == id);
        found.map_or("absent", |outcome| outcome.verdict.as_str())
    };
    let differs = |id: &&str| match (verdict(then, id), verdict(now, id)) {
        ("absent", "pass" | "not-applicable") => false,
        (then, now) => then != now,
    };
    let line = |id: &str| format!("{id}: {} then, {} now", verdict(then, id), verdict(now, id));
    let ids = now.outcomes.iter().map(|outcome| outcome.check.as_str());
    ids.filter(differs).map(line).collect()
}
