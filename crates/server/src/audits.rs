//! The API's part about the audit, over an engine in this process.

use crate::convert::store_problem;
use crate::local::Local;
use crate::problem::problem;
use serde_json::{Value, json};
use stampo_api::{
    AuditApi, AuditCheckpoint, AuditFault, AuditFilter, AuditForm, AuditRecord, AuditVerification,
    Kind, Problem, Reply,
};
use stampo_engine::{AuditVerified, Checkpoint};
use stampo_store::{AuditFilter as Filter, AuditRow};

/// How many records are read at once.
const AT_ONCE: u32 = 4096;

impl AuditApi for Local {
    fn audit(&self, filter: &AuditFilter, limit: u32) -> Reply<Vec<AuditRecord>> {
        let rows = self
            .engine
            .store()
            .read(|tx| tx.audit_where(&of_store(filter), limit))
            .map_err(store_problem)?;
        Ok(rows.into_iter().map(record).collect())
    }

    fn audit_verify(&self, kept: &[AuditCheckpoint]) -> Reply<AuditVerification> {
        let kept: Vec<Checkpoint> = kept.iter().cloned().map(of_engine).collect();
        let found = self.engine.audit_verify(&kept);
        found.map(wire).map_err(|error| problem(&error))
    }

    fn audit_checkpoint(&self) -> Reply<Option<AuditCheckpoint>> {
        let made = self.engine.audit_checkpoint();
        let made = made.map_err(|error| problem(&error))?;
        Ok(made.map(|one| AuditCheckpoint {
            text: one.text,
            signature: one.signature,
            key: one.key,
        }))
    }

    fn audit_export(
        &self,
        filter: &AuditFilter,
        form: AuditForm,
        line: &mut dyn FnMut(&str) -> Reply<()>,
    ) -> Reply<()> {
        let mut last = 0;
        loop {
            let rows = self.engine.store().read(|tx| tx.audit_after(last, AT_ONCE));
            let rows = rows.map_err(store_problem)?;
            let Some(end) = rows.last() else {
                return Ok(());
            };
            last = end.sequence;
            for row in rows.into_iter().filter(|row| passes(filter, row)) {
                let value = match form {
                    AuditForm::Jsonl => serde_json::to_value(record(row)).map_err(|error| {
                        Problem::new(Kind::Failed, format!("print a record: {error}"))
                    })?,
                    AuditForm::Ocsf => ocsf(&row),
                };
                line(&value.to_string())?;
            }
        }
    }
}

fn passes(filter: &AuditFilter, row: &AuditRow) -> bool {
    let is = |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|one| one == has);
    is(&filter.actor, &row.actor)
        && is(&filter.action, &row.action)
        && is(&filter.resource, &row.resource)
        && is(&filter.outcome, &row.outcome)
        && filter.since_ms.is_none_or(|since| row.at_ms >= since)
}

/// An event of the Open Cybersecurity Schema Framework 1.3.0: class API Activity (6003) of the
/// category Application Activity (6). Source: <https://schema.ocsf.io/1.3.0/classes/api_activity>.
fn ocsf(row: &AuditRow) -> Value {
    let activity = match row.action.as_str() {
        "build" | "import" | "clone" | "freeze" | "pool create" => 1,
        "read_file" | "policy check" => 2,
        "purge" | "remove" | "pool remove" | "gc" => 4,
        "exec" | "stop" | "start" => 99,
        _ => 3,
    };
    // 1 is a success, 2 a failure, 99 another: begun, and nothing more is known here.
    let (status, severity) = match row.outcome.as_str() {
        "ok" => (1, 1),
        "begun" => (99, 1),
        "refused" => (2, 3),
        _ => (2, 2),
    };
    let severity = match row.action.as_str() {
        "break-glass" | "damage" | "quarantine" => 4,
        _ => severity,
    };
    json!({
        "activity_id": activity,
        "category_uid": 6,
        "class_uid": 6003,
        "type_uid": 600_300 + activity,
        "severity_id": severity,
        "status_id": status,
        "status": row.outcome,
        "status_detail": row.detail,
        "message": format!("{} {}", row.action, row.resource),
        "time": row.at_ms,
        "actor": { "user": { "name": row.actor } },
        "api": { "operation": row.action },
        "resources": [{ "name": row.resource }],
        "src_endpoint": { "name": "localhost" },
        "metadata": {
            "version": "1.3.0",
            "product": { "name": "stampo", "vendor_name": "stampo",
                         "version": env!("CARGO_PKG_VERSION") },
            "sequence": row.sequence,
            "uid": row.link,
        },
    })
}

fn of_store(filter: &AuditFilter) -> Filter {
    let AuditFilter {
        actor,
        action,
        resource,
        outcome,
        since_ms,
    } = filter.clone();
    Filter {
        actor,
        action,
        resource,
        outcome,
        since_ms,
    }
}

fn of_engine(one: AuditCheckpoint) -> Checkpoint {
    Checkpoint {
        text: one.text,
        signature: one.signature,
        key: one.key,
    }
}

fn record(row: AuditRow) -> AuditRecord {
    AuditRecord {
        sequence: row.sequence,
        at_ms: row.at_ms,
        actor: row.actor,
        action: row.action,
        resource: row.resource,
        outcome: row.outcome,
        detail: row.detail,
        link: row.link,
    }
}

fn wire(found: AuditVerified) -> AuditVerification {
    AuditVerification {
        is_whole: found.faults.is_empty(),
        unseen: found.unseen(),
        records: found.records,
        checkpoints: found.checkpoints,
        covered: found.covered,
        key: found.key,
        faults: found
            .faults
            .into_iter()
            .map(|fault| AuditFault {
                sequence: fault.sequence,
                what: fault.what,
            })
            .collect(),
    }
}
