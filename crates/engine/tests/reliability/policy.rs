//! Conformity: what a site enforces is refused, what it accepts is not, reports come out again.

use crate::home::*;
use libtest_mimic::Trial;
use stampo_core::lifecycle::{State, Verb};
use stampo_core::names::NamePattern;
use stampo_engine::{BomForm, Engine, EngineError};
use stampo_policy::Point;
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
    vec![
        trial("policy_what_a_site_enforces_is_not_published", publishing),
        trial("policy_what_a_site_enforces_is_not_cloned", cloning),
        trial("policy_a_site_without_a_pack_refuses_nothing", nothing),
        trial(
            "policy_an_exception_lets_through_until_it_is_damaged",
            exceptions,
        ),
        trial("policy_each_point_asks_and_no_other", points),
        trial(
            "policy_a_decision_is_remembered_until_something_changes",
            decisions,
        ),
        trial("policy_a_decision_from_memory_takes_no_time", speed),
        trial(
            "policy_what_was_read_of_other_bytes_is_no_evidence",
            other_bytes,
        ),
        trial("policy_what_came_out_otherwise_is_told_once", rechecks),
        trial("policy_a_recorded_report_comes_out_again", replay),
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

/// What comes to each point, and how to see that nothing was done.
type Act = fn(&Engine) -> Result<(), EngineError>;
type AtPoint = (Point, fn() -> Home, Act);
const ACTS: [AtPoint; 7] = [
    (Point::Import, Home::empty, |engine| {
        import(engine, "db", source()).map(drop)
    }),
    (Point::Seal, Home::draft, |engine| {
        seal(engine, "web@1").map(drop)
    }),
    (Point::Publish, sealed_home, |engine| {
        publish(engine, "web@1").map(drop)
    }),
    (Point::Clone, checked_home, |engine| {
        clone(engine, "app", &spec()).map(drop)
    }),
    (Point::Freeze, Home::published, crate::cases::freeze),
    (Point::Delete, Home::published, |engine| {
        engine
            .change_version(&reference("web@1"), Verb::Retire)
            .map(drop)
    }),
    (Point::Export, Home::published, |engine| {
        let form = BomForm::CycloneDx;
        engine
            .bill_of_materials(&reference("web@1"), form)
            .map(drop)
    }),
];

fn sealed_home() -> Home {
    let home = Home::empty();
    sealed(&home);
    home
}

fn checked_home() -> Home {
    let home = Home::published();
    let checked = home.engine().policy_check(&reference("web@1"), None);
    checked.expect("checked");
    home
}

/// What can be seen of a home: states of versions, guests, memory images.
fn seen(engine: &Engine) -> (Vec<(String, State)>, usize) {
    let store = engine.store();
    let versions = store.read(|tx| tx.versions()).expect("versions");
    let guests = store.read(|tx| tx.guests()).expect("guests");
    let states = versions.iter().map(|row| (row.label(), row.state));
    (states.collect(), guests.len())
}

fn points() {
    for (point, home, act) in ACTS {
        let home = home();
        let engine = home.engine();
        set(
            &engine,
            &format!(
                "software.guest-agent: {{mode: enforce, at: [{}]}}",
                point.as_str()
            ),
        );
        let before = seen(&engine);
        assert_refused(act(&engine), "software.guest-agent");
        assert_eq!(seen(&engine), before, "{point:?}: nothing was done");
        let others: Vec<&str> = stampo_policy::point::POINTS
            .iter()
            .filter(|row| row.point != point)
            .map(|row| row.point.as_str())
            .collect();
        set(
            &engine,
            &format!(
                "software.guest-agent: {{mode: enforce, at: [{}]}}",
                others.join(", ")
            ),
        );
        act(&engine).unwrap_or_else(|error| panic!("{point:?}: {error}"));
    }
}

/// How many decisions the catalog remembers.
fn remembered(home: &Home) -> i64 {
    let catalog = rusqlite::Connection::open(home.path().join("catalog.db")).expect("opens");
    let sql = "SELECT count(*) FROM policy_decisions";
    catalog
        .query_row(sql, [], |row| row.get(0))
        .expect("a count")
}

fn decisions() {
    let home = checked_home();
    let engine = home.engine();
    set(&engine, PASSES);
    let plan = || engine.plan_clones(&reference("web@1"), &NamePattern::new("app"), &spec());
    plan().expect("it passes");
    plan().expect("it passes again");
    assert_eq!(remembered(&home), 1);
    set(&engine, FAILS);
    assert_refused(plan(), "software.guest-agent");
    assert_refused(plan(), "software.guest-agent");
    assert_eq!(remembered(&home), 2, "another pack, another decision");
    let raw = RawException {
        check: "software.guest-agent".into(),
        subject: "web@1".into(),
        path: None,
        owner: "ann".into(),
        reason: "a lab".into(),
        expires: "2999-12-31".into(),
    };
    let row = engine.policy_accept(raw).expect("accepted");
    plan().expect("accepted");
    engine.policy_unaccept(&row.id).expect("taken back");
    assert_refused(plan(), "software.guest-agent");
    let catalog = rusqlite::Connection::open(home.path().join("catalog.db")).expect("opens");
    let good = r#"{"refusal":null,"warnings":[]}"#;
    catalog
        .execute_batch(&format!(
            "DROP TRIGGER policy_decisions_updated;
             UPDATE policy_decisions SET decision = '{good}';"
        ))
        .expect("changed");
    assert_refused(plan(), "software.guest-agent");
    // Those of another day are forgotten when the next is remembered.
    catalog
        .execute_batch("UPDATE policy_decisions SET day_s = day_s - 86400")
        .expect("changed");
    set(&engine, WARNS);
    plan().expect("only warned");
    assert_eq!(remembered(&home), 1);
}

fn speed() {
    let home = checked_home();
    let engine = home.engine();
    let plan = || engine.plan_clones(&reference("web@1"), &NamePattern::new("app"), &spec());
    let fastest = |tries: u32| {
        let once = |_| {
            let start = std::time::Instant::now();
            plan().expect("a plan");
            start.elapsed()
        };
        (0..tries).map(once).min().expect("one")
    };
    let without = fastest(20);
    let all = "schema: stampo.policy-pack/1\nname: site\nversion: '1'\n\
               checks: {files.world-writable: {mode: enforce}}\n";
    engine.set_policy_pack(Some(all)).expect("a sound pack");
    let start = std::time::Instant::now();
    plan().expect("a plan");
    let first = start.elapsed();
    let with = fastest(20);
    eprintln!("a plan: {without:?}; with a decision that is made: {first:?}, remembered: {with:?}");
    let more = with.saturating_sub(without);
    assert!(more < std::time::Duration::from_millis(5), "{more:?}");
}

fn other_bytes() {
    let home = Home::draft();
    let engine = home.engine();
    engine
        .policy_check(&reference("web@1"), None)
        .expect("the draft");
    seal(&engine, "web@1").expect("sealed");
    publish(&engine, "web@1").expect("published");
    set(&engine, PASSES);
    assert_refused(clone(&engine, "app", &spec()), "never looked into");
}

fn rechecks() {
    let home = Home::published();
    let engine = home.engine();
    assert!(engine.recheck_when_due().expect("due").is_empty());
    set(&engine, FAILS);
    let raw = RawException {
        check: "software.guest-agent".into(),
        subject: "web@1".into(),
        path: None,
        owner: "ann".into(),
        reason: "a lab".into(),
        expires: "2999-12-31".into(),
    };
    let row = engine.policy_accept(raw).expect("accepted");
    let reports = || engine.policy_reports(None, 99).expect("reports").len();
    let first = engine.policy_recheck(false).expect("checked");
    assert!(first[0].was.is_none() && first[0].report.is_some() && !first[0].refused);
    assert!(first[0].changes.is_empty() && reports() == 1);
    engine.policy_unaccept(&row.id).expect("taken back");
    assert!(
        engine.recheck_when_due().expect("not due").is_empty(),
        "it was done today"
    );
    let catalog = rusqlite::Connection::open(home.path().join("catalog.db")).expect("opens");
    catalog
        .execute_batch(
            "DROP TRIGGER settings_updated;
             UPDATE settings SET value = '2020-01-01' WHERE key = 'policy.rechecked';",
        )
        .expect("changed");
    let found = engine.recheck_when_due().expect("due");
    assert_eq!(
        found[0].changes,
        ["software.guest-agent: pass then, fail now"]
    );
    assert!(found[0].refused && reports() == 2, "it is recorded");
    assert!(engine.recheck_when_due().expect("done").is_empty());
    let again = engine.policy_recheck(false).expect("checked");
    assert!(again[0].refused && again[0].changes.is_empty() && reports() == 2);
    let fresh = engine.policy_recheck(true).expect("read again");
    assert!(fresh[0].refused && fresh[0].report.is_none());
    let image = engine
        .version_row(&reference("web@1"))
        .expect("a row")
        .image;
    let image = image.expect("an image").to_string();
    let disk = home.path().join("images").join(image).join("disk.raw");
    std::fs::remove_file(disk).expect("removed");
    let blind = engine.policy_recheck(true).expect("it goes on");
    assert!(blind[0].failed.is_some() && blind[0].verdict == stampo_policy::Verdict::Unknown);
}
