//! Retention: what stays and why, what goes and how.

use crate::cases::{Case, is};
use crate::clean::assert_clean;
use crate::governance::{row, said, set, two};
use crate::home::*;
use libtest_mimic::Trial;
use stampo_core::lifecycle::{State, Verb};
use stampo_core::plan::CloneSpec;
use stampo_engine::{Engine, Mark, Retained, Unwatched};
use stampo_store::StoreError;
use std::time::Duration;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("retention_says_what_keeps_each_version", survivors),
        trial("retention_withdraws_in_steps_and_takes_it_back", steps),
        trial("retention_leaves_what_a_person_decided", persons),
        trial("retention_is_applied_once_a_day", daily),
        trial("retention_retires_what_nobody_published", unpublished),
        trial("retention_without_sense_is_refused", refused),
        trial("a_date_of_retention_is_lifted_when_it_comes", lifted),
        trial("an_end_of_life_is_not_lifted", end_of_life),
    ]
}

/// The commands that are killed, fail, and lose power.
pub fn cases() -> Vec<Case> {
    let case = |name, prepare, act, done| Case {
        name,
        prepare,
        act,
        done,
    };
    vec![
        case(
            "retention_set",
            two,
            |e| e.set_retention(Some(LAST)).map(drop),
            |e| e.retention().is_ok_and(|settings| settings.is_some()),
        ),
        case(
            "retention_apply",
            two_with_rules,
            |e| e.apply_retention().map(drop),
            |e| is(e, "web@1", State::Deprecated),
        ),
        case(
            "retention_lift",
            overdue_and_kept,
            |e| e.enforce().map(drop),
            |e| row(e, "web@1").governance.obsolete_ms.is_none(),
        ),
    ]
}

/// The newest stays.
const LAST: &str = "schema: stampo.retention/1\nrules:\n  keep-last: 1\n";
/// The same, in no time.
const AT_ONCE: &str = "schema: stampo.retention/1
rules:
  keep-last: 1
  obsolete-after: 1s
  retire-after: 1s
";

/// With settings that keep `web@2` and not `web@1`.
fn two_with_rules() -> Home {
    let home = two();
    set_rules(&home.engine(), LAST);
    home
}

/// The date of `web@1` has come, and somebody holds it since.
fn overdue_and_kept() -> Home {
    let home = two();
    let engine = home.engine();
    set_rules(&engine, AT_ONCE);
    engine.apply_retention().expect("applied");
    let held = Mark::Hold("court".to_owned());
    engine.mark(&reference("web@1"), &held).expect("held");
    std::thread::sleep(Duration::from_millis(1100));
    home
}

fn set_rules(engine: &Engine, text: &str) {
    engine.set_retention(Some(text)).expect("set");
}

fn applied(engine: &Engine) -> Vec<Retained> {
    engine.apply_retention().expect("applied")
}

/// What is to become of a version, and why.
fn fate(engine: &Engine, version: &str) -> (&'static str, String) {
    let plan = engine.retention_plan().expect("a plan");
    let one = plan.iter().find(|one| one.label == version);
    let fate = &one.expect("judged").fate;
    (fate.what(), fate.why())
}

fn stays(engine: &Engine, version: &str, why: &str) {
    let (what, because) = fate(engine, version);
    assert_eq!((what, because.as_str()), ("stays", why), "{version}");
}

fn survivors() {
    let home = two();
    let engine = home.engine();
    stays(&engine, "web@1", "not for these rules");
    set_rules(&engine, LAST);
    stays(&engine, "web@2", "the newest published");
    assert_eq!(fate(&engine, "web@1").0, "deprecate");
    set(&engine, "web@1").expect("set");
    stays(&engine, "web@1", "on stable");
    copies(&engine, "app-{n}", 2);
    let held = Mark::Hold("court".to_owned());
    engine.mark(&reference("web@1"), &held).expect("held");
    stays(
        &engine,
        "web@1",
        "on stable; 2 guests are made of it; on hold: court",
    );
    let of_gc = |version: &str| {
        let plan = engine.gc_plan(false).expect("a plan");
        let subject = plan.into_iter().find(|subject| subject.name == version);
        subject.expect("judged").reason
    };
    assert_eq!(of_gc("web@2"), "published: the newest published");
    let younger = LAST.replace("keep-last: 1", "keep-last: 0\n  younger-than: 1d");
    set_rules(&engine, &younger);
    let why = fate(&engine, "web@2").1;
    assert!(why.starts_with("too young until 2"), "{why}");
    let cloned = LAST.replace("keep-last: 1", "keep-last: 0\n  cloned-within: 1d");
    set_rules(&engine, &cloned);
    let why = fate(&engine, "web@1").1;
    assert!(why.contains("cloned too lately until 2"), "{why}");
    assert_eq!(fate(&engine, "web@2").0, "deprecate", "nobody cloned it");
    for one in engine.retention_plan().expect("a plan") {
        assert_eq!(row(&engine, &one.label).state, State::Published);
    }
    drop(engine);
    assert_clean(&home.path(), "survivors");
}

fn steps() {
    let home = two();
    let engine = home.engine();
    set_rules(&engine, LAST);
    let done = applied(&engine);
    let changed: Vec<_> = done.iter().filter(|one| one.fate.is_change()).collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
    let withdrawn = row(&engine, "web@1");
    assert_eq!(withdrawn.state, State::Deprecated);
    let governance = &withdrawn.governance;
    assert_eq!(governance.replacement.as_deref(), Some("web@2"));
    let (obsolete, retire) = (governance.obsolete_ms, governance.retire_ms);
    let days = retire.expect("a date") - obsolete.expect("a date");
    assert_eq!(days, 30 * 86_400_000);
    assert_eq!(fate(&engine, "web@1").0, "goes");
    let audit = engine.store().read(|tx| tx.audit(1)).expect("the audit");
    assert_eq!(
        (audit[0].actor.as_str(), audit[0].action.as_str()),
        ("retention", "deprecate")
    );
    // A clone keeps it again.
    copies(&engine, "app", 1);
    assert_eq!(fate(&engine, "web@1").0, "lift");
    applied(&engine);
    let kept = row(&engine, "web@1");
    assert_eq!(
        (kept.state, kept.governance.retire_ms),
        (State::Deprecated, None)
    );
    stays(&engine, "web@1", "1 guest is made of it");
    // And without it, it goes on.
    remove_for_ever(&engine, "app");
    assert_eq!(fate(&engine, "web@1").0, "resume");
    applied(&engine);
    assert!(row(&engine, "web@1").governance.obsolete_ms.is_some());
    // Without settings nothing that they began goes on.
    engine.set_retention(None).expect("none");
    applied(&engine);
    assert_eq!(row(&engine, "web@1").governance.obsolete_ms, None);
    drop(engine);
    // What was decided is in the sidecars too.
    lose_catalog(&home.path());
    let engine = home.engine();
    engine.rescan().expect("a rescan");
    assert!(is(&engine, "web@1", State::Deprecated));
    drop(engine);
    assert_clean(&home.path(), "steps");
}

/// Makes clones of `web@1`.
fn copies(engine: &Engine, pattern: &str, count: u32) {
    let spec = CloneSpec {
        count: Some(count),
        ..spec()
    };
    clone_of(engine, "web@1", pattern, &spec, &Unwatched).expect("cloned");
}

fn remove_for_ever(engine: &Engine, guest: &str) {
    engine.remove(&name(guest), None).expect("removed");
}

fn persons() {
    let home = two();
    let engine = home.engine();
    said(&engine, "web@1", Verb::Deprecate).expect("deprecated");
    set_rules(&engine, AT_ONCE);
    stays(&engine, "web@1", "not for these rules");
    applied(&engine);
    assert_eq!(row(&engine, "web@1").governance.retire_ms, None);
    said(&engine, "web@1", Verb::Reinstate).expect("reinstated");
    applied(&engine);
    assert!(is(&engine, "web@1", State::Deprecated), "now by the rules");
    // Whoever says it again has decided.
    said(&engine, "web@1", Verb::Deprecate).expect("deprecated");
    std::thread::sleep(Duration::from_millis(1100));
    engine.enforce().expect("enforced");
    assert!(is(&engine, "web@1", State::Deprecated));
}

fn daily() {
    let home = two();
    let engine = home.engine();
    assert!(engine.apply_retention_when_due().expect("none").is_empty());
    set_rules(&engine, LAST);
    assert!(
        engine
            .apply_retention_when_due()
            .expect("not yet")
            .is_empty()
    );
    let yesterday: Result<_, StoreError> = engine
        .store()
        .write(|tx| tx.set_setting("retention.applied", "2020-01-01"));
    yesterday.expect("written");
    let done = engine.apply_retention_when_due().expect("due");
    assert_eq!(done.len(), 1, "{done:?}");
    assert!(is(&engine, "web@1", State::Deprecated));
    said(&engine, "web@1", Verb::Reinstate).expect("reinstated");
    assert!(engine.apply_retention_when_due().expect("done").is_empty());
}

fn unpublished() {
    let home = Home::published();
    let engine = home.engine();
    import(&engine, "web", source()).expect("imported");
    seal(&engine, "web").expect("sealed");
    set_rules(&engine, &format!("{LAST}  unpublished-after: 1h\n"));
    let why = fate(&engine, "web@2").1;
    assert!(why.starts_with("too young until 2"), "{why}");
    set_rules(&engine, &format!("{LAST}  unpublished-after: 1s\n"));
    let held = Mark::Hold("court".to_owned());
    engine.mark(&reference("web@2"), &held).expect("held");
    std::thread::sleep(Duration::from_millis(1100));
    stays(&engine, "web@2", "on hold: court");
    engine
        .mark(&reference("web@2"), &Mark::Release)
        .expect("released");
    std::thread::sleep(Duration::from_millis(1100));
    applied(&engine);
    assert!(is(&engine, "web@2", State::Retired));
    assert!(is(&engine, "web@1", State::Published));
    drop(engine);
    assert_clean(&home.path(), "unpublished");
}

fn refused() {
    let home = two_with_rules();
    let engine = home.engine();
    let wrong = LAST.replace("keep-last", "keep-lost");
    let error = engine
        .set_retention(Some(&wrong))
        .expect_err("no such rule");
    assert!(error.chain().contains("keep-lost"), "{}", error.chain());
    let kept = engine.retention().expect("settings").expect("set");
    assert_eq!(kept.text, LAST, "what was there stays");
}

fn lifted() {
    let home = overdue_and_kept();
    let engine = home.engine();
    assert_eq!(engine.enforce().expect("enforced"), []);
    let kept = row(&engine, "web@1");
    assert_eq!(
        (kept.state, kept.governance.obsolete_ms),
        (State::Deprecated, None)
    );
    engine
        .mark(&reference("web@1"), &Mark::Release)
        .expect("released");
    applied(&engine);
    std::thread::sleep(Duration::from_millis(2100));
    let verbs: Vec<Verb> = engine
        .enforce()
        .expect("enforced")
        .iter()
        .map(|d| d.verb)
        .collect();
    assert_eq!(verbs, [Verb::Obsolete, Verb::Retire], "nothing keeps it");
    drop(engine);
    assert_clean(&home.path(), "lifted");
}

fn end_of_life() {
    let home = overdue_and_kept();
    let engine = home.engine();
    let past = Mark::EndOfLife(Some(1));
    engine.mark(&reference("web@1"), &past).expect("marked");
    engine.enforce().expect("enforced");
    let ended = row(&engine, "web@1");
    assert_eq!(ended.state, State::Obsolete);
    std::thread::sleep(Duration::from_millis(1100));
    engine.enforce().expect("enforced");
    let kept = row(&engine, "web@1");
    assert_eq!(
        (kept.state, kept.governance.retire_ms),
        (State::Obsolete, None),
        "somebody holds it"
    );
}
