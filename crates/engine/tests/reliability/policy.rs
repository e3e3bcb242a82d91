//! Conformity: what a site enforces is refused, what it accepts is not, reports come out again.

use crate::home::*;
use libtest_mimic::Trial;
use stampo_core::names::NamePattern;
use stampo_engine::{Engine, EngineError};
use stampo_policy::exception::RawException;

/// A pack that enforces one check, which the filesystem of these tests fails or passes.
fn pack(rule: &str) -> String {
    format!(
        "schema: stampo.policy-pack/1\nname: site\nversion: '1'\nbase: none\nchecks:\n  {rule}\n"
    )
}

/// No guest agent is in the filesystem of these tests.
const FAILS: &str = "software.guest-agent: {mode: enforce}";
const WARNS: &str = "software.guest-agent: {mode: warn}";
/// And nothing is known of its security updates.
const UNKNOWN: &str = "software.guest-agent: {}\n  software.security-updates: {mode: enforce}";
const PASSES: &str = "files.world-writable: {mode: enforce}";

pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn()| {
        Trial::test(format!("policy_{name}"), move || {
            test();
            Ok(())
        })
    };
    vec![
        trial("what_a_site_enforces_is_not_published", publishing),
        trial("what_a_site_enforces_is_not_cloned", cloning),
        trial("a_site_without_a_pack_refuses_nothing", nothing),
        trial("an_exception_lets_through_until_it_is_damaged", exceptions),
        trial("a_recorded_report_comes_out_again", replay),
    ]
}

fn set(engine: &Engine, rule: &str) {
    let set = engine.set_policy_pack(Some(&pack(rule)));
    set.expect("a sound pack");
}

fn sealed(home: &Home) -> Engine {
    let engine = home.engine();
    import(&engine, "web", source()).expect("imported");
    seal(&engine, "web@1").expect("sealed");
    engine
}

fn assert_refused<T: std::fmt::Debug>(done: Result<T, EngineError>, check: &str) {
    match done {
        Err(EngineError::Policy { why, .. }) => assert!(why.contains(check), "{why}"),
        other => panic!("not refused: {other:?}"),
    }
}

fn publishing() {
    let home = Home::empty();
    let engine = sealed(&home);
    set(&engine, FAILS);
    assert_refused(publish(&engine, "web@1"), "software.guest-agent");
    let reports = engine.policy_reports(None, 10).expect("reports");
    assert!(
        reports.len() == 1 && reports[0].report.refused,
        "it is recorded"
    );
    set(&engine, PASSES);
    publish(&engine, "web@1").expect("it passes");
}

fn cloning() {
    let home = Home::published();
    let engine = home.engine();
    set(&engine, FAILS);
    assert_refused(clone(&engine, "never-looked-into", &spec()), "policy check");
    engine
        .policy_check(&reference("web@1"), None)
        .expect("checked");
    assert_refused(clone(&engine, "fails", &spec()), "software.guest-agent");
    set(&engine, WARNS);
    let plan = engine.plan_clones(&reference("web@1"), &NamePattern::new("warned"), &spec());
    let warnings = plan.expect("a plan").warnings;
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("software.guest-agent")),
        "{warnings:?}"
    );
    clone(&engine, "warned", &spec()).expect("only warned");
}

fn nothing() {
    let home = Home::empty();
    let engine = sealed(&home);
    let judged = engine
        .policy_check(&reference("web@1"), None)
        .expect("checked");
    assert!(!judged.report.refused);
    publish(&engine, "web@1").expect("published");
    let used = engine
        .policy_check(&reference("web@1"), Some(&pack(UNKNOWN)))
        .expect("checked");
    assert!(
        used.report.refused,
        "what is unknown is refused where it is enforced"
    );
    clone(&engine, "app", &spec()).expect("a pack that was used once is not the site's");
}

fn exceptions() {
    let home = Home::empty();
    let engine = sealed(&home);
    set(&engine, FAILS);
    let raw = RawException {
        check: "software.guest-agent".into(),
        subject: "web@*".into(),
        path: None,
        owner: "ann".into(),
        reason: "the lab has none".into(),
        expires: "2999-12-31".into(),
    };
    let ended = RawException {
        expires: "1999-12-31".into(),
        ..raw.clone()
    };
    assert!(engine.policy_accept(ended).is_err(), "it would never count");
    let row = engine.policy_accept(raw).expect("accepted");
    publish(&engine, "web@1").expect("accepted");
    clone(&engine, "app", &spec()).expect("accepted");
    let catalog = rusqlite::Connection::open(home.path().join("catalog.db")).expect("opens");
    // As rot would: without the triggers that keep the checksums.
    catalog
        .execute_batch(
            "DROP TRIGGER policy_exceptions_updated;
             UPDATE policy_exceptions SET exception = replace(exception, 'web@*', 'wxb@*');
             UPDATE policy_exceptions SET exception = replace(exception, 'wxb@*', '*');",
        )
        .expect("changed");
    assert_refused(clone(&engine, "other", &spec()), "software.guest-agent");
    engine.policy_unaccept(&row.id).expect("taken back");
    assert!(engine.policy_exceptions().expect("none").is_empty());
    assert_refused(clone(&engine, "other", &spec()), "software.guest-agent");
}

fn replay() {
    let home = Home::published();
    let engine = home.engine();
    let first = engine
        .policy_check(&reference("web@1"), Some(&pack(PASSES)))
        .expect("checked");
    let replayed = engine.policy_replay(&first.id[..8]).expect("kept");
    assert!(replayed.is_same);
    assert_eq!(replayed.is_same_evidence, Some(true));
    assert!(matches!(
        engine.policy_replay("nothing"),
        Err(EngineError::NotFound { .. })
    ));
    let catalog = rusqlite::Connection::open(home.path().join("catalog.db")).expect("opens");
    catalog
        .execute_batch(
            "DROP TRIGGER policy_reports_updated;
             UPDATE policy_reports SET report = replace(report, '\"pass\"', '\"fail\"');",
        )
        .expect("changed");
    assert!(!engine.policy_replay(&first.id).expect("kept").is_same);
}
