//! The API's part about approvals, over an engine in this process; and checking a bundle, which
//! needs none.

use crate::convert;
use crate::local::Local;
use crate::problem::problem;
use stampo_api::{
    ApprovalApi, ApprovalSaid, ApprovalSettings, ApprovalStatus, BundleProof, BundleSaid, Reply,
    SayRequest, Spoken, StatementRequest, StatementToSign,
};
use stampo_attest::bundle::Checked;
use stampo_attest::settings::Settings;
use stampo_attest::signature::APPROVAL_NAMESPACE;
use stampo_attest::statement::Approval;
use stampo_core::approval::{Decision, Preset, Said};
use stampo_core::names::VersionRef;
use stampo_engine::{ApprovalStanding, Engine, EngineError};
use stampo_store::VersionRow;
use std::path::Path;

impl ApprovalApi for Local {
    fn approval_settings(&self) -> Reply<ApprovalSettings> {
        let found = self.engine.approval_settings();
        let (settings, is_of_site) = found.map_err(|error| problem(&error))?;
        Ok(wire(&settings, is_of_site))
    }

    fn set_approval(&self, text: &str) -> Reply<ApprovalSettings> {
        self.kept(self.engine.set_approval(text))
    }

    fn set_approval_preset(&self, preset: Preset) -> Reply<ApprovalSettings> {
        self.kept(self.engine.set_approval_preset(preset))
    }

    fn statement(&self, request: StatementRequest) -> Reply<StatementToSign> {
        let resource = request.version.to_string();
        let made = self.engine.to_say(
            &request.version,
            request.said,
            request.key.as_deref(),
            &request.comment,
        );
        let made = made.map_err(self.refuse(action(request.said), &resource))?;
        Ok(StatementToSign {
            statement: made.statement,
            by: made.by.to_string(),
            namespace: APPROVAL_NAMESPACE.to_owned(),
            is_enough: made.is_enough,
        })
    }

    fn say(&self, request: SayRequest) -> Reply<Spoken> {
        let resource = request.version.to_string();
        let said = stampo_attest::statement::Statement::parse(&request.statement);
        let action = said.map_or("approve", |said| action(said.predicate.said));
        let spoken = self.engine.say(
            &request.version,
            &request.statement,
            &request.signature,
            &request.key,
        );
        let spoken = spoken.map_err(self.refuse(action, &resource))?;
        Ok(Spoken {
            version: convert::version(&self.engine, &spoken.version)?,
            standing: spoken.in_words(),
        })
    }

    fn bundle(&self, version: &VersionRef) -> Reply<String> {
        let text = self.engine.approval_bundle(version);
        text.map_err(|error| problem(&error))
    }
}

impl Local {
    fn kept(&self, set: Result<Settings, EngineError>) -> Reply<ApprovalSettings> {
        let settings = set.map_err(self.refuse("approval set", "site"))?;
        Ok(wire(&settings, true))
    }
}

/// What the audit calls it.
fn action(said: Said) -> &'static str {
    match said {
        Said::Submitted => "submit",
        Said::Approved => "approve",
        Said::Rejected => "reject",
        Said::BrokeGlass => "break-glass",
    }
}

fn wire(settings: &Settings, is_of_site: bool) -> ApprovalSettings {
    ApprovalSettings {
        preset: settings.rule.preset.as_str().to_owned(),
        needed: settings.rule.needed,
        expires_days: settings.rule.expires_days(),
        verify_at_clone: settings.rule.verify_at_clone,
        signers: settings.signers.len(),
        is_of_site,
        digest: settings.digest(),
        text: settings.text(),
    }
}

/// How a version stands by the settings.
pub(crate) fn status(engine: &Engine, row: &VersionRow) -> Reply<Option<ApprovalStatus>> {
    let standing = engine.approval_standing(row);
    let standing = standing.map_err(|error| problem(&error))?;
    Ok(standing.map(|standing| {
        let ApprovalStanding {
            preset,
            needed,
            said,
            decision,
        } = standing;
        ApprovalStatus {
            preset: preset.as_str().to_owned(),
            needed,
            is_approved: decision.allows(),
            standing: stampo_engine::decision_in_words(&decision),
            until_ms: match decision {
                Decision::Approved { until_ms, .. } | Decision::BrokenGlass { until_ms, .. } => {
                    Some(until_ms)
                }
                _ => None,
            },
            broke_glass: match &decision {
                Decision::BrokenGlass { by, .. } => by.iter().map(ToString::to_string).collect(),
                _ => Vec::new(),
            },
            said: said
                .into_iter()
                .map(|one| wire_said(one.said, one.key, one.void.map(|void| void.to_string())))
                .collect(),
        }
    }))
}

fn wire_said(said: Approval, key: String, void: Option<String>) -> ApprovalSaid {
    ApprovalSaid {
        said: said.said.as_str().to_owned(),
        by: said.by.to_string(),
        at_ms: said.at_ms,
        comment: said.comment,
        key,
        void,
    }
}

/// What a bundle proves to somebody who trusts the keys of these lines. Needs no home.
pub fn verify_bundle(file: &Path, disk: Option<&Path>, keys: &[String]) -> Reply<BundleProof> {
    let proof = stampo_engine::verify_bundle(file, disk, keys);
    let proof = proof.map_err(|error| problem(&error))?;
    // What is no JSON was signed for as it is.
    let document = |text: &String| {
        serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::String(text.clone()))
    };
    let wire = |one: Checked| BundleSaid {
        said: wire_said(one.said, one.key, None),
        is_trusted: one.trusted,
    };
    Ok(BundleProof {
        version: proof.version,
        image: proof.image,
        is_disk_compared: disk.is_some(),
        said: proof.statements.into_iter().map(wire).collect(),
        reports: proof.reports.iter().map(document).collect(),
        provenances: proof.provenances.iter().map(document).collect(),
    })
}
