//! What others do to guests with leases and to pools between a look and what follows from it, and
//! what a catalog from a backup says of them.

use crate::cases::{freeze, ready, state};
use crate::clean::assert_clean;
use crate::home::*;
use crate::older::{back_up, put_back};
use crate::pools::{agreed, ci, fill, filled, leased, pool_of, pooled, tend, wanted};
use libtest_mimic::Trial;
use stampo_core::guest::GuestState;
use stampo_core::lease::{Ending, Span};
use stampo_core::pool::{Depth, Pool};
use stampo_engine::{Engine, Faults};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("a_lease_that_was_given_anew_meanwhile_counts", given_anew),
        trial("a_lease_that_was_cleared_meanwhile_is_gone", cleared),
        trial("a_warning_takes_back_no_extension", warned),
        trial("a_lease_follows_its_guest_to_another_name", renamed),
        trial("a_guest_of_an_older_catalog_keeps_its_lease", older_lease),
        trial("a_member_of_an_older_catalog_is_somebodys", older_member),
        trial("a_pool_of_the_same_name_has_members_of_its_own", same_name),
        trial("a_version_that_is_asked_for_is_what_is_given", version_of),
    ]
}

/// An engine for which `act` happens once, by another process, when it comes to `point`.
fn interfered(home: &Home, point: &'static str, act: fn(&Engine)) -> Engine {
    let (path, done): (PathBuf, _) = (home.path(), AtomicBool::new(false));
    let faults = Faults::new(move |reached| {
        if reached == point && !done.swap(true, Ordering::SeqCst) {
            act(&open(&path, Faults::default()));
        }
    });
    open(&home.path(), faults)
}

fn until_ms(engine: &Engine, guest: &str) -> Option<i64> {
    let row = engine.guest_row(&name(guest)).expect("a guest");
    let found = engine.store().read(|tx| tx.lease(row.id)).expect("read");
    found.map(|lease| lease.lease.until_ms)
}

fn given_anew() {
    let home = leased();
    let engine = interfered(&home, "lease.due", |other| {
        let hour = agreed(3600, Ending::Remove);
        other.set_lease(&name("app"), hour).expect("a lease");
    });
    tend(&engine).expect("tended");
    assert_eq!(ready(&engine), ["app"]);
    assert!(until_ms(&engine, "app").is_some());
}

fn cleared() {
    let home = leased();
    let engine = interfered(&home, "lease.due", |other| {
        assert!(other.clear_lease(&name("app")).expect("cleared"));
    });
    tend(&engine).expect("tended");
    assert_eq!(ready(&engine), ["app"]);
}

fn warned() {
    let home = one_guest();
    let engine = interfered(&home, "lease.due", |other| {
        let day = agreed(86_400, Ending::Remove);
        other.set_lease(&name("app"), day).expect("a lease");
    });
    let row = engine.guest_row(&name("app")).expect("a guest");
    engine
        .set_lease(&name("app"), agreed(3600, Ending::Remove))
        .expect("a lease");
    let soon = engine.store().write(|tx| {
        let mut lease = tx.lease(row.id)?.expect("a lease");
        // Its end is near, and nobody was told.
        lease.lease.until_ms -= Span::of_seconds(3540).ms();
        tx.put_lease(&lease)?;
        Ok::<_, stampo_store::StoreError>(lease.lease.until_ms)
    });
    let soon = soon.expect("written");
    tend(&engine).expect("tended");
    let until = until_ms(&engine, "app").expect("a lease");
    assert!(until > soon + 1_000_000, "{until} is not long after {soon}");
}

/// And another guest gets the name that it had.
fn renamed() {
    let home = leased();
    clone(&home.engine(), "other", &spec()).expect("cloned");
    let engine = interfered(&home, "lease.due", |other| {
        other.rename(&name("app"), &name("first")).expect("renamed");
        other.rename(&name("other"), &name("app")).expect("renamed");
    });
    tend(&engine).expect("tended");
    assert_eq!(ready(&engine), ["app"], "the one without a lease");
    assert_eq!(state(&engine, "first"), None);
    drop(engine);
    assert_clean(&home.path(), "renamed");
}

/// What it says of a guest that was changed since is no reason to end it.
fn older_lease() {
    let home = leased();
    let backup = tempfile::tempdir().expect("a directory");
    back_up(&home.path(), backup.path());
    std::thread::sleep(Duration::from_millis(2));
    let engine = home.engine();
    assert!(engine.clear_lease(&name("app")).expect("cleared"));
    engine.rename(&name("app"), &name("db")).expect("renamed");
    drop(engine);
    put_back(backup.path(), &home.path());
    let engine = home.engine();
    let failures = engine.tend_one().expect("tended").failures;
    assert!(
        failures.len() == 1 && failures[0].contains("stampo store rescan"),
        "{failures:?}"
    );
    assert_eq!(ready(&engine), ["app"]);
}

/// A member that was taken after the backup is neither drained nor given to another; not even when
/// whoever has it made it wait, so that it looks like a member.
fn older_member() {
    for (depth, is_paused) in Depth::ALL
        .map(|depth| [(depth, false), (depth, true)])
        .concat()
    {
        let home = filled(depth);
        let backup = tempfile::tempdir().expect("a directory");
        back_up(&home.path(), backup.path());
        std::thread::sleep(Duration::from_millis(2));
        let engine = home.engine();
        let taken = engine.take(&ci(), None).expect("taken").expect("one").guest;
        if is_paused {
            engine.driver().ensure_paused(taken.id).expect("paused");
        }
        let before = engine.driver().observe(taken.id).expect("seen");
        drop(engine);
        put_back(backup.path(), &home.path());
        let engine = home.engine();
        let again = engine.take(&ci(), None).expect("taken").expect("the other");
        assert_ne!(again.guest.id, taken.id, "{depth}");
        tend(&engine).expect("tended");
        let power = engine.driver().observe(taken.id).expect("seen");
        let same = std::mem::discriminant(&power) == std::mem::discriminant(&before);
        assert!(same, "{depth}: {before:?}, then {power:?}");
        engine.rescan().expect("a rescan");
        assert_eq!(state(&engine, "ci-1"), Some(GuestState::Ready), "{depth}");
    }
}

/// Members that were being made when their pool was removed are not the next one's.
fn same_name() {
    let home = pool_of(Depth::Warm);
    let engine = interfered(&home, "keep.paused", |other| {
        other.remove_pool(&ci()).expect("removed");
        let one = Pool {
            warm: 1,
            ..wanted(Depth::Loaded)
        };
        other.create_pool(&one).expect("made");
    });
    tend(&engine).expect("tended");
    assert_eq!(pooled(&engine), [], "they were the first one's");
    fill(&engine).expect("filled");
    let depths: Vec<Depth> = pooled(&engine)
        .iter()
        .filter_map(|row| Some(row.plan.member.as_ref()?.depth))
        .collect();
    assert_eq!(depths, [Depth::Loaded]);
    assert_eq!(engine.pool(&ci()).expect("it is there").row.error, None);
    drop(engine);
    assert_clean(&home.path(), "same name");
}

/// A pool gives members of the version before for a while; who names a version wants that one.
fn version_of() {
    let home = filled(Depth::Loaded);
    let engine = home.engine();
    import(&engine, "web", source()).expect("imported");
    seal(&engine, "web@2").expect("sealed");
    publish(&engine, "web@2").expect("published");
    freeze(&engine).expect("frozen");
    let newest = engine.take_of(&reference("web"), None).expect("asked");
    assert_eq!(newest, None, "only members of web@1 are ready");
    fill(&engine).expect("filled");
    let taken = engine.take_of(&reference("web@2"), None).expect("asked");
    let second = engine.version_row(&reference("web@2")).expect("a version");
    assert_eq!(taken.expect("one").guest.version, second.id);
}
