//! SARIF 2.1.0 (OASIS, "Static Analysis Results Interchange Format"), for code-scanning pages.
//!
//! Paths are those in the guest, relative to its root. What is accepted is a suppressed result, and
//! what is unknown is a result of the kind `open`: neither is left out.

use crate::check::{Severity, Verdict};
use crate::report::{Finding, Outcome, Report};
use serde_json::{Value, json};

/// The report as a SARIF log.
pub fn sarif(report: &Report) -> Value {
    let rules: Vec<Value> = report.outcomes.iter().map(rule).collect();
    let results: Vec<Value> = report
        .outcomes
        .iter()
        .enumerate()
        .flat_map(|(index, outcome)| results(index, outcome))
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "stampo",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "originalUriBaseIds": {"GUEST": {"uri": "file:///"}},
            "properties": {
                "subject": report.subject.name,
                "image": report.subject.image,
                "pack": report.pack.digest,
                "evidence": report.evidence,
                "verdict": report.verdict,
            },
            "results": results,
        }],
    })
}

fn rule(outcome: &Outcome) -> Value {
    json!({
        "id": outcome.check,
        "shortDescription": {"text": outcome.title},
        "fullDescription": {"text": outcome.rationale},
        "help": {"text": outcome.remedy},
        "defaultConfiguration": {"level": level(outcome.severity)},
        "properties": {
            "tags": outcome.refs,
            "security-severity": score(outcome.severity),
        },
    })
}

fn results(index: usize, outcome: &Outcome) -> Vec<Value> {
    let mut all: Vec<Value> = outcome
        .findings
        .iter()
        .map(|finding| result(index, outcome, finding))
        .collect();
    if outcome.verdict == Verdict::Unknown {
        all.push(json!({
            "ruleId": outcome.check,
            "ruleIndex": index,
            "kind": "open",
            "level": "none",
            "message": {"text": format!("it is not known whether {}: {}", outcome.title, outcome.why.join("; "))},
        }));
    }
    all
}

fn result(index: usize, outcome: &Outcome, finding: &Finding) -> Value {
    let level = if finding.warning {
        "note"
    } else {
        level(outcome.severity)
    };
    let mut result = json!({
        "ruleId": outcome.check,
        "ruleIndex": index,
        "kind": "fail",
        "level": level,
        "message": {"text": format!("{}: {}. To mend it: {}", finding.path, finding.what, outcome.remedy)},
    });
    if let Some(path) = finding.path.strip_prefix('/') {
        let place = json!({"uri": uri(path), "uriBaseId": "GUEST"});
        result["locations"] = json!([{"physicalLocation": {"artifactLocation": place}}]);
    }
    if let Some(reason) = &finding.accepted {
        result["suppressions"] = json!([{"kind": "external", "justification": reason}]);
    }
    result
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "note",
        Severity::Medium => "warning",
        Severity::High | Severity::Critical => "error",
    }
}

/// What code-scanning pages sort by.
fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "3.0",
        Severity::Medium => "5.5",
        Severity::High => "8.0",
        Severity::Critical => "9.5",
    }
}

/// A path as a URI reference (RFC 3986): everything but unreserved bytes and `/` is escaped.
fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
