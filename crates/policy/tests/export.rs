//! What other programs read: nothing is left out, and hostile names do not break the form.

use crate::guests::{NOW_S, good, report, report_by};
use stampo_policy::export::{junit, sarif};
use stampo_policy::{Pack, Verdict};

const EVIL: &str = "/srv/<b>&\"]]> %41\u{1}é";

#[test]
fn sarif_has_every_finding_and_every_unknown() {
    let tree = good().file_as(EVIL, "x", stampo_guest::fs::Owner::root(0o4755));
    let report = report(&tree);
    let log = sarif(&report);
    let results = log["runs"][0]["results"].as_array().expect("results");
    let open = results
        .iter()
        .filter(|result| result["kind"] == "open")
        .count();
    let unknown = report.counts[&Verdict::Unknown];
    assert_eq!(open, unknown);
    let findings: usize = report
        .outcomes
        .iter()
        .map(|outcome| outcome.findings.len())
        .sum();
    assert_eq!(results.len(), findings + open);
    let rules = log["runs"][0]["tool"]["driver"]["rules"]
        .as_array()
        .expect("rules");
    assert_eq!(rules.len(), report.outcomes.len());
    for result in results {
        let index = result["ruleIndex"].as_u64().expect("a number") as usize;
        assert_eq!(rules[index]["id"], result["ruleId"]);
    }
    let setuid = results
        .iter()
        .find(|result| result["ruleId"] == "files.setuid")
        .expect("found");
    let place = &setuid["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    assert_eq!(place, "srv/%3Cb%3E%26%22%5D%5D%3E%20%2541%01%C3%A9");
}

#[test]
fn junit_fails_what_is_not_only_recorded() {
    let tree = good().file_as(EVIL, "x", stampo_guest::fs::Owner::root(0o4755));
    let text = |mode: &str| {
        let pack =
            format!("schema: stampo.policy-pack/1\nname: '<a>'\nversion: '1'\nmode: {mode}\n");
        junit(&report_by(
            &tree,
            &Pack::parse(&pack).expect("sound"),
            NOW_S,
        ))
    };
    assert!(text("audit").contains(" failures=\"0\""));
    let failing = text("enforce");
    assert!(
        failing.contains(" failures=\"3\""),
        "one finding and two unknown"
    );
    assert!(failing.contains("web@3 by &lt;a&gt;"));
    assert!(!failing.contains("<b>") && !failing.contains('\u{1}'));
    let opened = failing.matches("<testcase ").count();
    assert_eq!(opened, failing.matches("</testcase>").count());
}

#[test]
fn junit_fails_where_nothing_applies() {
    let pack = "schema: stampo.policy-pack/1\nname: a\nversion: '1'\nbase: none\n";
    let text = junit(&report_by(
        &good(),
        &Pack::parse(pack).expect("sound"),
        NOW_S,
    ));
    assert!(text.contains(" failures=\"1\"") && text.contains("no check applied"));
}
