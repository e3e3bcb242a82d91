//! The API's part about conformity, over an engine in this process.

use crate::local::Local;
use crate::problem::problem;
use stampo_api::{
    Kind, PolicyAcceptRequest, PolicyApi, PolicyCheck, PolicyException, PolicyForm, PolicyOutcome,
    PolicyPack, PolicyRecheck, PolicyReplay, PolicyReport, Problem, Reply,
};
use stampo_core::names::VersionRef;
use stampo_engine::{PolicyReport as Recorded, Rechecked, Replay};
use stampo_policy::check::{Check, Default as ParamDefault};
use stampo_policy::exception::RawException;
use stampo_policy::report::Outcome;
use stampo_policy::{Pack, checks, export};
use stampo_store::PolicyExceptionRow;

impl PolicyApi for Local {
    fn policy_checks(&self) -> Reply<Vec<PolicyCheck>> {
        Ok(checks().map(wire_check).collect())
    }

    fn policy_pack(&self) -> Reply<PolicyPack> {
        let (pack, is_of_site) = self.engine.policy_pack().map_err(|error| problem(&error))?;
        Ok(wire_pack(pack, is_of_site))
    }

    fn set_policy_pack(&self, text: Option<&str>) -> Reply<PolicyPack> {
        let set = self.engine.set_policy_pack(text);
        let (pack, is_of_site) = set.map_err(self.refuse("policy set", "site"))?;
        Ok(wire_pack(pack, is_of_site))
    }

    fn policy_check(&self, version: &VersionRef, pack: Option<&str>) -> Reply<PolicyReport> {
        let resource = version.to_string();
        let checked = self.engine.policy_check(version, pack);
        wire_report(&checked.map_err(self.refuse("policy check", &resource))?)
    }

    fn policy_recheck(&self, is_fresh: bool) -> Reply<Vec<PolicyRecheck>> {
        let done = self.engine.policy_recheck(is_fresh);
        let done = done.map_err(|error| problem(&error))?;
        Ok(done.into_iter().map(wire_recheck).collect())
    }

    fn policy_reports(&self, version: Option<&VersionRef>, limit: u32) -> Reply<Vec<PolicyReport>> {
        let found = self.engine.policy_reports(version, limit);
        found
            .map_err(|error| problem(&error))?
            .iter()
            .map(wire_report)
            .collect()
    }

    fn policy_report(&self, id: &str) -> Reply<PolicyReport> {
        let found = self.engine.policy_report(id);
        wire_report(&found.map_err(|error| problem(&error))?)
    }

    fn policy_export(&self, id: &str, form: PolicyForm) -> Reply<String> {
        let found = self
            .engine
            .policy_report(id)
            .map_err(|error| problem(&error))?;
        match form {
            PolicyForm::Sarif => {
                serde_json::to_string_pretty(&export::sarif(&found.report)).map_err(unprintable)
            }
            PolicyForm::Junit => Ok(export::junit(&found.report)),
        }
    }

    fn policy_replay(&self, id: &str) -> Reply<PolicyReplay> {
        let replay = self
            .engine
            .policy_replay(id)
            .map_err(|error| problem(&error))?;
        Ok(PolicyReplay {
            recorded: wire_report(&replay.recorded)?,
            is_same: replay.is_same,
            is_same_evidence: replay.is_same_evidence,
            differences: differences(&replay),
        })
    }

    fn policy_accept(&self, request: PolicyAcceptRequest) -> Reply<PolicyException> {
        let check = request.check.clone();
        let raw = RawException {
            check: request.check,
            subject: request.subject,
            path: request.path,
            owner: request.owner,
            reason: request.reason,
            expires: request.expires,
        };
        let accepted = self.engine.policy_accept(raw);
        wire_exception(accepted.map_err(self.refuse("policy accept", &check))?)
    }

    fn policy_unaccept(&self, id: &str) -> Reply<()> {
        let taken = self.engine.policy_unaccept(id);
        taken.map_err(self.refuse("policy unaccept", id))
    }

    fn policy_exceptions(&self) -> Reply<Vec<PolicyException>> {
        let found = self.engine.policy_exceptions();
        found
            .map_err(|error| problem(&error))?
            .into_iter()
            .map(wire_exception)
            .collect()
    }
}

fn wire_check(check: &Check) -> PolicyCheck {
    let value = |default: &ParamDefault| match default {
        ParamDefault::Number(number) => serde_json::json!(number),
        ParamDefault::List(items) => serde_json::json!(items),
    };
    let params = check.params.iter();
    PolicyCheck {
        id: check.id.to_owned(),
        title: check.title.to_owned(),
        severity: check.severity.as_str().to_owned(),
        applies_to: check.when.as_str().to_owned(),
        rationale: check.rationale.to_owned(),
        remedy: check.remedy_for("NAME@N"),
        refs: check.refs.iter().map(|text| (*text).to_owned()).collect(),
        params: params
            .map(|param| (param.name.to_owned(), value(&param.default)))
            .collect(),
    }
}

fn wire_recheck(one: Rechecked) -> PolicyRecheck {
    PolicyRecheck {
        version: one.label,
        verdict: one.verdict.as_str().to_owned(),
        was: one.was,
        refused: one.refused,
        changes: one.changes,
        report: one.report,
        failed: one.failed,
    }
}

fn wire_pack(pack: Pack, is_of_site: bool) -> PolicyPack {
    PolicyPack {
        digest: pack.digest(),
        mode: pack.mode.as_str().to_owned(),
        checks: pack.rules.len(),
        name: pack.name,
        version: pack.version,
        is_of_site,
        text: pack.text,
    }
}

fn wire_report(recorded: &Recorded) -> Reply<PolicyReport> {
    let report = &recorded.report;
    let counts = report.counts.iter();
    Ok(PolicyReport {
        id: recorded.id.clone(),
        version: report.subject.name.clone(),
        image: report.subject.image.clone(),
        at: report.at.clone(),
        actor: recorded.actor.clone(),
        pack: format!("{} {}", report.pack.name, report.pack.version),
        pack_digest: report.pack.digest.clone(),
        evidence_digest: report.evidence.clone(),
        report_digest: recorded.digest.clone(),
        verdict: report.verdict.as_str().to_owned(),
        refused: report.refused,
        counts: counts
            .map(|(verdict, count)| (verdict.as_str().to_owned(), *count))
            .collect(),
        outcomes: report
            .outcomes
            .iter()
            .map(wire_outcome)
            .collect::<Reply<_>>()?,
    })
}

/// A report's outcome has the same fields under the same names as its wire type.
fn wire_outcome(outcome: &Outcome) -> Reply<PolicyOutcome> {
    let value = serde_json::to_value(outcome).map_err(unprintable)?;
    serde_json::from_value(value).map_err(unprintable)
}

fn wire_exception(row: PolicyExceptionRow) -> Reply<PolicyException> {
    Ok(PolicyException {
        id: row.id,
        accepted: serde_json::from_value(row.exception).map_err(unprintable)?,
        actor: row.actor,
        created_ms: row.created_ms,
    })
}

fn differences(replay: &Replay) -> Vec<String> {
    let then = &replay.recorded.report.outcomes;
    let now = &replay.again.outcomes;
    let verdict = |outcomes: &[Outcome], id: &str| {
        let found = outcomes.iter().find(|outcome| outcome.check == id);
        found.map_or("absent", |outcome| outcome.verdict.as_str())
    };
    let mut ids: Vec<&str> = then
        .iter()
        .chain(now)
        .map(|outcome| outcome.check.as_str())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let line = |id: &str| format!("{id}: {} then, {} now", verdict(then, id), verdict(now, id));
    let differs =
        |id: &&str| then.iter().find(|o| o.check == **id) != now.iter().find(|o| o.check == **id);
    ids.iter()
        .filter(|id| differs(id))
        .map(|id| line(id))
        .collect()
}

fn unprintable(error: serde_json::Error) -> Problem {
    Problem::new(Kind::Failed, format!("print the report: {error}"))
}
