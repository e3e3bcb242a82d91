//! JUnit's XML, for CI servers: a test case for each check.
//!
//! A check that fails or is unknown is a failure unless its mode only records it; an unknown one
//! says so. What does not apply is skipped. Warnings and accepted findings are in the output.

use crate::check::Verdict;
use crate::pack::Mode;
use crate::report::{Finding, Outcome, Report};

/// The report as one test suite.
pub fn junit(report: &Report) -> String {
    let count = |test: fn(&Outcome) -> bool| report.outcomes.iter().filter(|o| test(o)).count();
    let mut failures = count(is_failure);
    let nothing = report.nothing_applied();
    failures += usize::from(nothing);
    let tests = report.outcomes.len() + usize::from(nothing);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let name = escape(&format!("{} by {}", report.subject.name, report.pack.name));
    out.push_str(&format!(
        "<testsuites>\n<testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" \
         skipped=\"{}\" time=\"0\" timestamp=\"{}\">\n",
        count(is_skipped),
        escape(report.at.trim_end_matches('Z')),
    ));
    for outcome in &report.outcomes {
        out.push_str(&case(outcome));
    }
    if nothing {
        out.push_str("<testcase name=\"something applies\" classname=\"stampo\" time=\"0\">\n");
        out.push_str("<failure message=\"no check applied\" type=\"fail\"/>\n</testcase>\n");
    }
    out.push_str("</testsuite>\n</testsuites>\n");
    out
}

fn is_bad(outcome: &Outcome) -> bool {
    matches!(outcome.verdict, Verdict::Fail | Verdict::Unknown)
}

fn is_failure(outcome: &Outcome) -> bool {
    is_bad(outcome) && outcome.mode != Mode::Audit
}

fn is_skipped(outcome: &Outcome) -> bool {
    outcome.verdict == Verdict::NotApplicable
}

fn case(outcome: &Outcome) -> String {
    let area = outcome.check.split('.').next().unwrap_or_default();
    let mut out = format!(
        "<testcase name=\"{}\" classname=\"stampo.{}\" time=\"0\">\n",
        escape(&outcome.check),
        escape(area)
    );
    let text = escape(&lines(outcome));
    if is_failure(outcome) {
        let (message, kind) = (escape(&outcome.title), outcome.verdict.as_str());
        out.push_str(&format!(
            "<failure message=\"{message}\" type=\"{kind}\">{text}</failure>\n"
        ));
    } else if is_skipped(outcome) {
        out.push_str(&format!(
            "<skipped message=\"{}\"/>\n",
            escape(&outcome.why.join("; "))
        ));
    } else if outcome.verdict != Verdict::Pass || !outcome.findings.is_empty() {
        out.push_str(&format!("<system-out>{text}</system-out>\n"));
    }
    out.push_str("</testcase>\n");
    out
}

fn lines(outcome: &Outcome) -> String {
    let line = |finding: &Finding| match &finding.accepted {
        Some(reason) => format!("accepted: {}: {}: {reason}\n", finding.path, finding.what),
        None => format!("{}: {}\n", finding.path, finding.what),
    };
    let mut text = format!("{}\n", outcome.verdict.as_str());
    text.extend(outcome.findings.iter().map(line));
    text.extend(outcome.why.iter().map(|why| format!("{why}\n")));
    if is_bad(outcome) {
        text.push_str(&format!(
            "why: {}\nto mend it: {}\n",
            outcome.rationale, outcome.remedy
        ));
    }
    text
}

/// Text for XML 1.0: what it has no place for becomes a replacement character.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push('\n'),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
