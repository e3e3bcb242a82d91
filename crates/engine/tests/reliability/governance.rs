//! What is decided about versions: the table of states cell by cell, dates, revocation, channels.

use crate::cases::{Case, freeze, is};
use crate::clean::assert_clean;
use crate::home::*;
use crate::pools::{fill, pooled, wanted};
use libtest_mimic::Trial;
use stampo_core::channel::MoveKind;
use stampo_core::lifecycle::{
    Bytes, InChannel, NewClones, Standing, State, Statement, Verb, meaning,
};
use stampo_core::pool::Depth;
use stampo_engine::{Engine, EngineError, Faults, Governed, Mark};
use stampo_store::{Store, VersionRow};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("each_cell_of_the_table_of_states_is_so", each_cell),
        trial("revoking_takes_channels_and_descendants_along", revoking),
        trial(
            "a_descendant_of_what_is_revoked_is_not_published",
            late_descendant,
        ),
        trial("a_date_is_enforced_before_anybody_records_it", dates),
        trial("a_channel_goes_back_to_what_is_good", rollback),
        trial("latest_moves_to_complete_evidence_only", latest),
        trial("what_is_on_hold_is_not_freed", hold),
        trial("decisions_come_back_after_the_catalog_is_lost", lost),
        trial(
            "five_hundred_histories_keep_the_rules",
            crate::histories::run,
        ),
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
            "deprecate",
            two,
            |e| said(e, "web@1", Verb::Deprecate).map(drop),
            |e| is(e, "web@1", State::Deprecated),
        ),
        case(
            "obsolete",
            two_with_channel,
            |e| said(e, "web@2", Verb::Obsolete).map(drop),
            |e| is(e, "web@2", State::Obsolete) && stable(e) == Some(1),
        ),
        case("reinstate", deprecated, reinstate, |e| {
            is(e, "web@1", State::Published)
        }),
        case("revoke", family, revoke_all, |e| {
            is(e, "web@2", State::Revoked)
                && is(e, "child@1", State::Revoked)
                && stable(e) == Some(1)
        }),
        case(
            "hold",
            two,
            |e| {
                e.mark(&reference("web@1"), &Mark::Hold("court".to_owned()))
                    .map(drop)
            },
            |e| row(e, "web@1").governance.hold.is_some(),
        ),
        case(
            "end_of_life",
            two,
            |e| {
                e.mark(&reference("web@1"), &Mark::EndOfLife(Some(i64::MAX)))
                    .map(drop)
            },
            |e| row(e, "web@1").governance.end_of_life_ms.is_some(),
        ),
        case(
            "date",
            overdue,
            |e| e.enforce().map(drop),
            |e| is(e, "web@2", State::Obsolete) && stable(e) == Some(1),
        ),
        case(
            "channel_set",
            two,
            |e| set(e, "web@2"),
            |e| stable(e) == Some(2),
        ),
        case(
            "channel_rollback",
            two_with_channel,
            |e| e.roll_back_channel(&reference(STABLE), None).map(drop),
            |e| stable(e) == Some(1),
        ),
        case(
            "channel_remove",
            two_with_channel,
            |e| e.remove_channel(&reference(STABLE)),
            |e| stable(e).is_none(),
        ),
    ]
}

const STABLE: &str = "web:stable";

pub fn row(engine: &Engine, version: &str) -> VersionRow {
    engine.version_row(&reference(version)).expect("a version")
}

pub fn set(engine: &Engine, version: &str) -> Result<(), EngineError> {
    let to = reference(version);
    engine.set_channel(&reference(STABLE), &to, None).map(drop)
}

/// The number of the version that the channel points to.
pub fn stable(engine: &Engine) -> Option<u32> {
    let channels = engine.channels().expect("channels");
    channels.first().map(|(_, version)| version.number)
}

pub fn said(engine: &Engine, version: &str, verb: Verb) -> Result<Governed, EngineError> {
    let said = Statement {
        reason: Some("keys leak".to_owned()),
        ..Statement::default()
    };
    engine.govern(&reference(version), verb, &said)
}

fn reinstate(engine: &Engine) -> Result<(), EngineError> {
    said(engine, "web@1", Verb::Reinstate).map(drop)
}

fn revoke_all(engine: &Engine) -> Result<(), EngineError> {
    let said = Statement {
        reason: Some("keys leak".to_owned()),
        cves: vec!["CVE-2026-0001".parse().expect("an id")],
        cascade: true,
        ..Statement::default()
    };
    engine
        .govern(&reference("web@2"), Verb::Revoke, &said)
        .map(drop)
}

/// `web@1` and `web@2`, both published.
pub fn two() -> Home {
    let home = Home::published();
    publish_another(&home.engine(), "web");
    home
}

fn publish_another(engine: &Engine, template: &str) {
    import(engine, template, source()).expect("imported");
    seal(engine, template).expect("sealed");
    publish(engine, template).expect("published");
}

/// With `web:stable`, which pointed to `web@1` and points to `web@2`.
fn two_with_channel() -> Home {
    let home = two();
    let engine = home.engine();
    set(&engine, "web@1").expect("set");
    set(&engine, "web@2").expect("set");
    home
}

fn deprecated() -> Home {
    let home = two();
    said(&home.engine(), "web@1", Verb::Deprecate).expect("deprecated");
    home
}

/// With `child@1`, which says that it was built from `web@2`.
fn family() -> Home {
    let home = two_with_channel();
    let engine = home.engine();
    publish_another(&engine, "child");
    descend(&engine, "child@1", "web@2");
    home
}

/// A version's origin as a build records it; its sidecar is written again.
fn descend(engine: &Engine, version: &str, parent: &str) {
    let mut row = row(engine, version);
    row.origin = serde_json::json!({ "kind": "build", "parent": parent });
    engine
        .store()
        .write(|tx| tx.update_version(&row))
        .expect("written");
    let none = Mark::EndOfLife(None);
    engine
        .mark(&reference(version), &none)
        .expect("its sidecar");
}

/// A date of `web@2` has come, and nobody came by since.
fn overdue() -> Home {
    let home = two_with_channel();
    let past = Mark::EndOfLife(Some(1));
    home.engine()
        .mark(&reference("web@2"), &past)
        .expect("marked");
    home
}

fn plan(engine: &Engine, version: &str) -> Result<Vec<String>, EngineError> {
    let pattern = stampo_core::names::NamePattern::new("new");
    let plan = engine.plan_clones(&reference(version), &pattern, &spec())?;
    Ok(plan.warnings)
}

fn label_of(engine: &Engine, reference_to: &str) -> Option<String> {
    let row = engine.version_row(&reference(reference_to));
    row.ok().map(|row| row.label())
}

/// Every state, by force, and what then happens.
fn each_cell() {
    for state in State::ALL {
        let home = two_with_channel();
        let engine = home.engine();
        freeze(&engine).expect("frozen");
        engine.create_pool(&wanted(Depth::Loaded)).expect("a pool");
        fill(&engine).expect("filled");
        assert_eq!(pooled(&engine).len(), 2);
        let mut version = row(&engine, "web@2");
        version.state = state;
        engine
            .store()
            .write(|tx| tx.update_version(&version))
            .expect("forced");
        check_row(&engine, state);
        drop(engine);
    }
}

fn check_row(engine: &Engine, state: State) {
    let meant = meaning(state);
    let version = row(engine, "web@2");
    let clones = match plan(engine, "web@2") {
        Ok(warnings) if warnings.iter().any(|w| w.contains("deprecated")) => NewClones::Warned,
        Ok(_) => NewClones::Yes,
        Err(error) => {
            assert!(error.chain().contains(state.as_str()), "{}", error.chain());
            NewClones::No
        }
    };
    assert_eq!(clones, meant.clones, "{state}");
    assert_eq!(
        engine.standing_of_clones(&version).0,
        meant.standing,
        "{state}"
    );
    let fresh = engine.set_channel(&reference("web:new"), &reference("web@2"), None);
    assert_eq!(fresh.is_ok(), meant.channel == InChannel::May, "{state}");
    let is_latest = label_of(engine, "web:latest") == Some(version.label());
    assert_eq!(is_latest, meant.channel == InChannel::May, "{state}");
    let stays = matches!(meant.channel, InChannel::May | InChannel::Stays);
    engine.settle_channels().expect("settled");
    let expected = if stays { 2 } else { 1 };
    let channels = engine.channels().expect("channels");
    let (_, pointed) = channels
        .iter()
        .find(|(c, _)| c.name.as_str() == "stable")
        .expect("stable");
    assert_eq!(pointed.number, expected, "{state}");
    engine.tend_pools().expect("tended");
    let kept = pooled(engine)
        .iter()
        .filter(|guest| guest.version == version.id)
        .count();
    assert_eq!(kept > 0, meant.pooled, "{state}: {kept} pooled");
    engine.remove_pool(&crate::pools::ci()).expect("removed");
    check_bytes(engine, state, meant.bytes);
}

fn check_bytes(engine: &Engine, state: State, bytes: Bytes) {
    let plan = engine.gc_plan(true).expect("judged");
    let subject = plan.iter().find(|subject| subject.name == "web@2");
    let goes = subject.is_some_and(|subject| subject.goes);
    let is_rubbish = bytes == Bytes::Collected || state == State::Failed;
    assert_eq!(goes, is_rubbish, "{state}: collected");
    let purged = engine
        .change_version(&reference("web@2"), Verb::Purge)
        .is_ok();
    let may_go = match bytes {
        Bytes::Mutable | Bytes::Collected | Bytes::Evidence | Bytes::Changed => true,
        Bytes::None => state == State::Failed,
        Bytes::Kept | Bytes::Freed => false,
    };
    assert_eq!(purged, may_go, "{state}: purged by name");
}

/// Seen by another connection at the moment of the commit: there is no moment in between.
fn revoking() {
    let home = family();
    let seen = Arc::new(Mutex::new(None));
    let (keep, catalog) = (seen.clone(), home.path().join("catalog.db"));
    let faults = Faults::new(move |point| {
        if point == "version.committed" {
            let store = Store::open(&catalog).expect("a catalog");
            let found = store.read(|tx| {
                let states: Vec<State> = tx.versions()?.iter().map(|row| row.state).collect();
                Ok::<_, stampo_store::StoreError>((tx.channels()?, states))
            });
            *keep.lock().expect("nobody panics") = Some(found.expect("read"));
        }
    });
    let engine = open(&home.path(), faults);
    clone(&engine, "app", &spec()).expect("cloned of the newest");
    revoke_all(&engine).expect("revoked");
    let (channels, states) = seen
        .lock()
        .expect("nobody panics")
        .take()
        .expect("committed");
    assert_eq!(channels[0].version, row(&engine, "web@1").id);
    let revoked = states
        .iter()
        .filter(|state| **state == State::Revoked)
        .count();
    assert_eq!(revoked, 2);
    let child = row(&engine, "child@1")
        .governance
        .revoked
        .expect("recorded");
    assert_eq!(child.through.as_deref(), Some("web@2"));
    let refused = plan(&engine, "web@2").expect_err("revoked").chain();
    assert!(refused.contains("keys leak (CVE-2026-0001)"), "{refused}");
    let guest = engine.guest_row(&name("app")).expect("a guest");
    let of = engine
        .store()
        .read(|tx| tx.version(guest.version))
        .expect("read");
    let standing = engine.standing_of_clones(&of.expect("a version"));
    assert_eq!(standing.0, Standing::Revoked);
    let history = engine.channel_history(&reference(STABLE)).expect("read");
    let last = history.last().expect("moves");
    assert_eq!(
        (last.kind, last.from, last.to),
        (MoveKind::Withdrawn, Some(2), Some(1))
    );
    for verb in [Verb::Publish, Verb::Reinstate, Verb::Retire, Verb::Restore] {
        assert!(said(&engine, "web@2", verb).is_err(), "{verb:?}");
    }
    drop(engine);
    assert_clean(&home.path(), "revoked");
}

fn late_descendant() {
    let home = two();
    let engine = home.engine();
    import(&engine, "child", source()).expect("imported");
    seal(&engine, "child").expect("sealed");
    descend(&engine, "child@1", "web@2");
    revoke_all(&engine).expect("revoked");
    assert!(is(&engine, "child@1", State::Revoked));
    import(&engine, "child", source()).expect("imported");
    descend(&engine, "child@2", "web@2");
    seal(&engine, "child@2").expect("sealed");
    let refused = publish(&engine, "child@2").expect_err("refused").chain();
    assert!(refused.contains("descends from a revoked one"), "{refused}");
}

fn dates() {
    let home = two_with_channel();
    let engine = home.engine();
    let now_ms = jiff_now();
    let soon = Statement {
        obsolete_ms: Some(now_ms + 1500),
        retire_ms: Some(now_ms + 1500),
        replacement: Some("web@1".to_owned()),
        ..Statement::default()
    };
    engine
        .govern(&reference("web@2"), Verb::Deprecate, &soon)
        .expect("deprecated");
    let warnings = plan(&engine, "web@2").expect("a plan");
    assert!(
        warnings[0].contains("use web@1 instead; no new clones from"),
        "{warnings:?}"
    );
    std::thread::sleep(Duration::from_millis(1600));
    assert!(
        is(&engine, "web@2", State::Deprecated),
        "nobody has come by"
    );
    let refused = plan(&engine, "web@2")
        .expect_err("its date has come")
        .chain();
    assert!(refused.contains("it is obsolete"), "{refused}");
    let done: Vec<Verb> = engine
        .enforce()
        .expect("enforced")
        .iter()
        .map(|d| d.verb)
        .collect();
    assert_eq!(done, [Verb::Obsolete, Verb::Retire]);
    assert!(is(&engine, "web@2", State::Retired));
    assert_eq!(stable(&engine), Some(1));
    assert_eq!(engine.enforce().expect("nothing left"), []);
    drop(engine);
    assert_clean(&home.path(), "dates");
}

fn jiff_now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.expect("after 1970").as_millis()).expect("fits")
}

fn rollback() {
    let home = two_with_channel();
    let engine = home.engine();
    publish_another(&engine, "web");
    set(&engine, "web@3").expect("set");
    said(&engine, "web@2", Verb::Revoke).expect("revoked");
    assert_eq!(stable(&engine), Some(3), "it did not point there");
    let back = || {
        engine
            .roll_back_channel(&reference(STABLE), Some("slow"))
            .map(drop)
    };
    back().expect("rolled back");
    assert_eq!(stable(&engine), Some(1), "not to what is revoked");
    assert!(
        back()
            .expect_err("refused")
            .chain()
            .contains("no usable version before web@1")
    );
    said(&engine, "web@1", Verb::Obsolete).expect("obsolete");
    assert_eq!(stable(&engine), None);
    let why = plan(&engine, STABLE).expect_err("refused").chain();
    assert!(why.contains("web@1 is obsolete"), "{why}");
    let refused = engine.set_channel(&reference("web:latest"), &reference("web@3"), None);
    assert!(refused.is_err(), "latest moves by itself");
    drop(engine);
    assert_clean(&home.path(), "rollback");
}

fn latest() {
    let home = sealed_with_finding();
    let engine = home.engine();
    for finding in findings(&engine) {
        engine
            .accept(&reference("web@1"), &finding, None, "a test")
            .expect("accepted");
    }
    publish(&engine, "web@1").expect("published");
    assert_eq!(plan(&engine, "web").expect("a plan"), [] as [String; 0]);
    let id = row(&engine, "web@1").id;
    engine
        .store()
        .write(|tx| tx.replace_exceptions(id, &[]))
        .expect("taken away");
    for name in ["web", "web:latest"] {
        assert!(
            matches!(plan(&engine, name), Err(EngineError::NotFound { .. })),
            "{name}"
        );
    }
    assert!(
        plan(&engine, "web@1").is_ok(),
        "by its number it is what it was"
    );
}

fn hold() {
    let home = two();
    let engine = home.engine();
    let held = Mark::Hold("court".to_owned());
    engine.mark(&reference("web@1"), &held).expect("held");
    engine
        .change_version(&reference("web@1"), Verb::Retire)
        .expect("retired");
    let refused = engine.change_version(&reference("web@1"), Verb::Purge);
    assert!(refused.expect_err("held").chain().contains("on hold"));
    let stays = engine.gc(true).expect("collected");
    let subject = stays.iter().find(|s| s.name == "web@1").expect("judged");
    assert_eq!(
        (subject.goes, subject.reason.as_str()),
        (false, "on hold: court")
    );
    engine
        .mark(&reference("web@1"), &Mark::Release)
        .expect("released");
    assert!(
        engine.mark(&reference("web@1"), &Mark::Release).is_err(),
        "it is not held"
    );
    engine.gc(true).expect("collected");
    assert!(is(&engine, "web@1", State::Purged));
}

fn lost() {
    let home = family();
    let engine = home.engine();
    revoke_all(&engine).expect("revoked");
    said(&engine, "web@1", Verb::Deprecate).expect("deprecated");
    engine
        .mark(&reference("web@1"), &Mark::Hold("court".to_owned()))
        .expect("held");
    let all = |engine: &Engine| {
        let mut versions = engine.store().read(|tx| tx.versions()).expect("rows");
        for row in &mut versions {
            // Made anew with the catalog.
            row.template_id = stampo_core::ids::TemplateId(uuid::Uuid::nil());
        }
        let history = engine.channel_history(&reference(STABLE)).expect("moves");
        let history: Vec<_> = history
            .into_iter()
            .map(|m| (m.sequence, m.kind, m.from, m.to, m.actor, m.reason, m.at_ms))
            .collect();
        (versions, stable(engine), history)
    };
    let before = all(&engine);
    assert_eq!(before.2.len(), 3);
    drop(engine);
    lose_catalog(&home.path());
    let engine = home.engine();
    engine.rescan().expect("rebuilt");
    assert_eq!(all(&engine), before);
}
