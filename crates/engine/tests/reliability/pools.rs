//! Pools and leases on simulated guests: what is kept ready, who gets it, and what goes by itself.

use crate::cases::{Case, forks, freeze, frozen_home, ready, state};
use crate::clean::assert_clean;
use crate::home::*;
use crate::instant::{evidence, sim};
use libtest_mimic::Trial;
use stampo_agent_protocol::Evidence;
use stampo_core::guest::GuestState;
use stampo_core::lease::{Ending, Span};
use stampo_core::lifecycle::Verb;
use stampo_core::names::PoolName;
use stampo_core::plan::CloneSpec;
use stampo_core::pool::{Depth, Pool};
use stampo_core::size::ByteSize;
use stampo_driver::Power;
use stampo_driver::sim::ForkManners;
use stampo_engine::{
    Agreed, Engine, EngineError, Faults, GuestLeases, PoolChange, Settings, Tending, Unwatched,
};
use stampo_store::GuestRow;
use std::collections::BTreeSet;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("members_are_paused_and_unlike", members_are_unlike),
        trial(
            "a_taken_member_is_a_machine_of_its_own",
            taken_at_each_depth,
        ),
        trial("a_pool_is_filled_again", filled_again),
        trial("a_withdrawn_version_drains_its_pool", withdrawn),
        trial("pools_are_drained_without_being_filled", drained_alone),
        trial("a_pool_follows_its_template", follows),
        trial("a_smaller_pool_lets_members_go", smaller),
        trial("a_dead_member_is_replaced", dead_member),
        trial("a_member_that_can_not_be_proven_is_gone", unproven_member),
        trial("what_no_member_can_be_made_of_is_refused", refusals),
        trial("two_who_take_get_two", two_takers),
        trial("members_of_a_lost_catalog_go", lost_catalog),
        trial("a_channel_is_followed", follows_channel),
        trial("a_lease_ends_its_guest", lease_ends),
        trial("a_guest_goes_with_whom_it_is_tied_to", tied),
        trial("a_lease_can_be_cleared_and_extended", extended),
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
            "pool_fill",
            || pool_of(Depth::Warm),
            fill,
            |e| pooled(e).len() == 2,
        ),
        case(
            "pool_fill_loaded",
            || pool_of(Depth::Loaded),
            fill,
            |e| pooled(e).len() == 2,
        ),
        case(
            "pool_take",
            || filled(Depth::Warm),
            take,
            |e| ready(e).len() == 1,
        ),
        case(
            "pool_take_spawned",
            || filled(Depth::Spawned),
            take,
            |e| ready(e).len() == 1,
        ),
        case(
            "pool_remove",
            || filled(Depth::Warm),
            remove,
            |e| pooled(e).is_empty() && all(e).is_empty(),
        ),
        case("lease_end", leased, tend, |e| ready(e).is_empty()),
    ]
}

pub fn ci() -> PoolName {
    "ci".parse().expect("a name")
}

pub fn wanted(depth: Depth) -> Pool {
    Pool {
        name: ci(),
        from: reference("web"),
        warm: 2,
        depth,
        spec: CloneSpec::default(),
        generation: 1,
    }
}

/// A home with a frozen version and a pool that has nothing yet.
pub fn pool_of(depth: Depth) -> Home {
    let home = frozen_home();
    home.engine().create_pool(&wanted(depth)).expect("a pool");
    home
}

/// The same, with two members.
pub fn filled(depth: Depth) -> Home {
    let home = pool_of(depth);
    fill(&home.engine()).expect("filled");
    home
}

/// A home with a guest whose lease is over.
pub fn leased() -> Home {
    let home = one_guest();
    let now = agreed(0, Ending::Remove);
    home.engine().set_lease(&name("app"), now).expect("a lease");
    home
}

pub fn agreed(seconds: u64, ending: Ending) -> Agreed {
    Agreed {
        span: Span::of_seconds(seconds),
        ending,
        tied: false,
    }
}

/// Looks until nothing is missing.
pub fn fill(engine: &Engine) -> Result<(), EngineError> {
    loop {
        let tended = tended(engine)?;
        if tended.made == 0 && tended.missing == 0 {
            return Ok(());
        }
    }
}

pub fn tend(engine: &Engine) -> Result<(), EngineError> {
    tended(engine).map(drop)
}

/// One look at which nothing failed.
fn tended(engine: &Engine) -> Result<Tending, EngineError> {
    let tended = engine.tend_one()?;
    match tended.failures.first() {
        None => Ok(tended),
        Some(why) => Err(EngineError::Conflict {
            act: "tend".to_owned(),
            why: why.clone(),
        }),
    }
}

pub fn take(engine: &Engine) -> Result<(), EngineError> {
    match engine.take(&ci(), None)? {
        Some(_) => Ok(()),
        // Interrupted: the member that was being taken is gone, and so may the last be.
        None => {
            fill(engine)?;
            engine.take(&ci(), None)?.expect("one is ready");
            Ok(())
        }
    }
}

pub fn remove(engine: &Engine) -> Result<(), EngineError> {
    match engine.remove_pool(&ci()) {
        // It was removed, and what it had was not: whoever tends next sees to that.
        Err(EngineError::NotFound { .. }) => tend(engine),
        other => other.map(drop),
    }
}

pub fn all(engine: &Engine) -> Vec<GuestRow> {
    engine.store().read(|tx| tx.guests()).expect("rows")
}

/// The members that wait.
pub fn pooled(engine: &Engine) -> Vec<GuestRow> {
    let mut rows = all(engine);
    rows.retain(|row| row.state == GuestState::Pooled);
    rows
}

fn names_of(rows: &[GuestRow]) -> Vec<&str> {
    rows.iter().map(|row| row.name.as_str()).collect()
}

fn is_paused(engine: &Engine, row: &GuestRow) -> bool {
    matches!(engine.driver().observe(row.id), Ok(Power::Paused { .. }))
}

fn members_are_unlike() {
    for depth in Depth::ALL {
        let home = filled(depth);
        let engine = home.engine();
        let members = pooled(&engine);
        assert_eq!(names_of(&members), ["ci-1", "ci-2"], "{depth}");
        for row in &members {
            assert!(is_paused(&engine, row), "{depth}: {}", row.name);
            assert_eq!(row.operation, None);
        }
        assert!(ready(&engine).is_empty(), "nobody has taken them");
        let refused = engine
            .start(&members[0].name)
            .expect_err("it is the pool's");
        assert!(refused.chain().contains("pooled"), "{}", refused.chain());
        drop(engine);
        assert_clean(&home.path(), depth.as_str());
    }
}

fn taken_at_each_depth() {
    for depth in Depth::ALL {
        let home = filled(depth);
        let engine = home.engine();
        let taken: Vec<GuestRow> = (0..2)
            .map(|_| engine.take(&ci(), None).expect("taken").expect("one").guest)
            .collect();
        assert_eq!(
            names_of(&taken),
            ["ci-1", "ci-2"],
            "{depth}: in their order"
        );
        assert!(engine.take(&ci(), None).expect("asked").is_none());
        let told: Vec<Evidence> = taken.iter().map(|row| evidence(&engine, row)).collect();
        let distinct = |what: &str, of: &dyn Fn(&Evidence) -> String| {
            let values: BTreeSet<String> = told.iter().map(of).collect();
            assert_eq!(values.len(), told.len(), "{depth}: {what}: {values:?}");
        };
        distinct("machine-id", &|e| e.machine_id.clone());
        distinct("host name", &|e| e.hostname.clone());
        distinct("MAC", &|e| e.interfaces[0].mac.to_string());
        distinct("host key", &|e| e.host_keys[0].public.clone());
        distinct("randomness", &|e| e.randomness.to_string());
        for row in &taken {
            assert_eq!(row.state, GuestState::Ready);
            let power = engine.driver().observe(row.id).expect("seen");
            assert!(matches!(power, Power::Running { .. }), "{depth}: {power:?}");
            assert!(sim(&home).links_are_up(row.id).expect("it runs"), "{depth}");
            // It is a guest like any other now.
            engine.stop(&row.name, true).expect("stopped");
            engine.start(&row.name).expect("started");
        }
        drop(engine);
        assert_clean(&home.path(), depth.as_str());
    }
}

fn filled_again() {
    let home = filled(Depth::Warm);
    let engine = home.engine();
    engine.take(&ci(), None).expect("taken").expect("one");
    fill(&engine).expect("filled");
    assert_eq!(
        names_of(&pooled(&engine)),
        ["ci-2", "ci-3"],
        "no name twice"
    );
    assert_eq!(ready(&engine), ["ci-1"]);
    engine.remove(&name("ci-1"), None).expect("removed");
    engine.take(&ci(), None).expect("taken").expect("one");
    fill(&engine).expect("filled");
    assert_eq!(names_of(&pooled(&engine)), ["ci-3", "ci-4"]);
}

/// What is of no use goes without waiting for what is made.
fn drained_alone() {
    let home = filled(Depth::Loaded);
    let engine = home.engine();
    assert_eq!(engine.drain_pools().expect("looked"), 0);
    let more = PoolChange {
        warm: Some(4),
        ..PoolChange::default()
    };
    engine.change_pool(&ci(), &more).expect("more are missing");
    engine
        .change_version(&reference("web"), Verb::Obsolete)
        .expect("obsolete");
    assert_eq!(engine.drain_pools().expect("drained"), 2);
    assert_eq!(all(&engine), [], "none is made");
}

fn withdrawn() {
    let home = filled(Depth::Loaded);
    let engine = home.engine();
    engine
        .change_version(&reference("web"), Verb::Retire)
        .expect("retired");
    assert!(
        engine.take(&ci(), None).expect("asked").is_none(),
        "before it is tended, too"
    );
    tend(&engine).expect("tended");
    assert_eq!(all(&engine), []);
    assert_eq!(engine.pool(&ci()).expect("it is there").version, None);
    // Its bytes can go: nothing reads them.
    engine
        .change_version(&reference("web"), Verb::Purge)
        .expect("purged");
    drop(engine);
    assert_clean(&home.path(), "withdrawn");
}

/// Members of the version before stay until those of the next are ready.
fn follows() {
    let home = filled(Depth::Warm);
    let engine = home.engine();
    import(&engine, "web", source()).expect("imported");
    seal(&engine, "web@2").expect("sealed");
    publish(&engine, "web@2").expect("published");
    let tended = engine.tend_one().expect("tended");
    assert!(
        tended.failures[0].contains("no memory image"),
        "{:?}",
        tended.failures
    );
    let status = engine.pool(&ci()).expect("it is there");
    assert!(status.row.error.is_some_and(|why| why.contains("freeze")));
    assert_eq!(status.version.as_deref(), Some("web@2"));
    assert_eq!(names_of(&status.ready), ["ci-1", "ci-2"]);
    let taken = engine
        .take(&ci(), None)
        .expect("taken")
        .expect("one of before");
    assert_eq!(taken.guest.name.as_str(), "ci-1");
    freeze(&engine).expect("frozen");
    fill(&engine).expect("filled");
    let second = engine
        .version_row(&reference("web@2"))
        .expect("a version")
        .id;
    let members = pooled(&engine);
    assert_eq!(members.len(), 2);
    assert!(members.iter().all(|row| row.version == second));
    assert_eq!(engine.pool(&ci()).expect("it is there").row.error, None);
}

fn smaller() {
    let home = filled(Depth::Spawned);
    let engine = home.engine();
    let one = PoolChange {
        warm: Some(1),
        ..PoolChange::default()
    };
    engine.change_pool(&ci(), &one).expect("changed");
    tend(&engine).expect("tended");
    assert_eq!(names_of(&pooled(&engine)), ["ci-1"], "the youngest goes");
    let deeper = PoolChange {
        depth: Some(Depth::Warm),
        ..PoolChange::default()
    };
    engine.change_pool(&ci(), &deeper).expect("changed");
    fill(&engine).expect("filled");
    let members = pooled(&engine);
    assert_eq!(names_of(&members), ["ci-3"]);
    assert!(
        members[0]
            .plan
            .fork
            .as_ref()
            .is_some_and(|fork| fork.identified)
    );
    engine.remove_pool(&ci()).expect("removed");
    assert_eq!(all(&engine), []);
    assert!(!engine.needs_tending().expect("asked"));
    drop(engine);
    assert_clean(&home.path(), "smaller");
}

fn dead_member() {
    let home = filled(Depth::Warm);
    let engine = home.engine();
    let first = &pooled(&engine)[0];
    let kill = stampo_driver::StopMethod::Kill;
    engine
        .driver()
        .ensure_stopped(first.id, kill)
        .expect("killed");
    let taken = engine.take(&ci(), None).expect("taken").expect("the other");
    assert_eq!(taken.guest.name.as_str(), "ci-2");
    fill(&engine).expect("filled");
    assert_eq!(names_of(&pooled(&engine)), ["ci-3", "ci-4"]);
}

fn unproven_member() {
    for (depth, manners) in [
        (Depth::Warm, ForkManners::Silent),
        (Depth::Loaded, ForkManners::NoClock),
    ] {
        let home = filled(depth);
        let engine = home.engine();
        sim(&home).set_fork_manners(manners).expect("steered");
        let taken = engine.take(&ci(), None).expect("tried");
        assert_eq!(taken, None, "{depth}: {manners:?}");
        assert_eq!(all(&engine), [], "{depth}: both were tried, and are gone");
        drop(engine);
        assert_clean(&home.path(), depth.as_str());
    }
}

fn refusals() {
    let home = Home::published();
    let engine = home.engine();
    let refused = |pool: &Pool, word: &str| {
        let error = engine.create_pool(pool).expect_err("refused");
        assert!(error.chain().contains(word), "{}", error.chain());
        assert_eq!(engine.pools().expect("read"), []);
    };
    refused(&wanted(Depth::Warm), "no memory image");
    let none = Pool {
        from: reference("db"),
        ..wanted(Depth::Warm)
    };
    refused(&none, "db");
    let many = Pool {
        warm: 10_000,
        ..wanted(Depth::Warm)
    };
    refused(&many, "at most");
    let long = Pool {
        name: "x".repeat(60).parse().expect("a name"),
        ..wanted(Depth::Warm)
    };
    refused(&long, "at most");
    freeze(&engine).expect("frozen");
    let larger = Pool {
        spec: CloneSpec {
            cpus: Some(64),
            ..forks(1)
        },
        ..wanted(Depth::Warm)
    };
    refused(&larger, "--cpus");
    drop(engine);
    // Room for two guests of 512 MiB with what their processes take, and not for a third.
    let settings = Settings {
        guest_memory: Some(ByteSize::mib(2 * (512 + 168) + 100)),
        ..Settings::default()
    };
    let engine = open_with(&home.path(), Faults::default(), settings);
    let of = |warm| Pool {
        warm,
        ..wanted(Depth::Warm)
    };
    let error = engine.create_pool(&of(3)).expect_err("too many");
    assert!(error.chain().contains("the host has"), "{}", error.chain());
    engine.create_pool(&of(1)).expect("made");
    let set = |warm| {
        let change = PoolChange {
            warm: Some(warm),
            ..PoolChange::default()
        };
        engine.change_pool(&ci(), &change)
    };
    let error = set(4).expect_err("too many");
    assert!(error.chain().contains("the host has"), "{}", error.chain());
    assert_eq!(set(2).expect("two").pool.warm, 2);
    engine.remove_pool(&ci()).expect("removed");
    engine.create_pool(&wanted(Depth::Warm)).expect("made");
    let twice = engine.create_pool(&wanted(Depth::Warm)).expect_err("twice");
    assert!(twice.chain().contains("pool set ci"), "{}", twice.chain());
}

fn two_takers() {
    let home = filled(Depth::Warm);
    let taken: Vec<String> = std::thread::scope(|scope| {
        let taker = || {
            let engine = open(&home.path(), stampo_engine::Faults::default());
            let taken = engine.take(&ci(), None).expect("taken").expect("one");
            taken.guest.name.to_string()
        };
        let both = [scope.spawn(taker), scope.spawn(taker)];
        both.map(|one| one.join().expect("no panic")).to_vec()
    });
    assert_ne!(taken[0], taken[1]);
    assert_eq!(ready(&home.engine()).len(), 2);
}

/// A pool of a channel goes where the channel goes, and has nothing when its version is withdrawn.
fn follows_channel() {
    let home = frozen_home();
    let engine = home.engine();
    let stable = reference("web:stable");
    let refused = |result: Result<(), EngineError>, word: &str| {
        let error = result.expect_err("refused");
        assert!(error.chain().contains(word), "{}", error.chain());
    };
    let set = |to: &str| engine.set_channel(&stable, &reference(to), None).map(drop);
    refused(clone_of_stable(&engine), "web:stable");
    refused(set("web@7"), "web@7");
    set("web@1").expect("set");
    let pool = Pool {
        from: stable.clone(),
        ..wanted(Depth::Loaded)
    };
    engine.create_pool(&pool).expect("a pool");
    import(&engine, "web", source()).expect("imported");
    refused(set("web@2"), "draft");
    seal(&engine, "web@2").expect("sealed");
    publish(&engine, "web@2").expect("published");
    fill(&engine).expect("filled");
    let of = |number: &str| {
        engine
            .version_row(&reference(number))
            .expect("a version")
            .id
    };
    let are_of = |number: &str| {
        let members = pooled(&engine);
        members.len() == 2 && members.iter().all(|row| row.version == of(number))
    };
    assert!(are_of("web@1"), "the newest is not what the channel means");
    let freeze_it = engine
        .submit_freeze(&reference("web@2"))
        .expect("submitted");
    engine.run_freeze(freeze_it, &Unwatched).expect("frozen");
    set("web@2").expect("moved");
    fill(&engine).expect("filled");
    assert!(are_of("web@2"));
    engine
        .change_version(&reference("web@2"), Verb::Retire)
        .expect("retired");
    fill(&engine).expect("filled");
    assert!(are_of("web@1"), "the channel was moved back");
    engine
        .change_version(&reference("web@1"), Verb::Retire)
        .expect("retired");
    tend(&engine).expect("tended");
    assert_eq!(pooled(&engine), []);
    refused(clone_of_stable(&engine), "web@1 is retired");
    engine.remove_channel(&stable).expect("removed");
    assert_eq!(engine.channels().expect("read"), []);
}

fn clone_of_stable(engine: &Engine) -> Result<(), EngineError> {
    let spec = CloneSpec::default();
    let unwatched = &Unwatched;
    clone_of(engine, "web:stable", "one", &spec, unwatched).map(drop)
}

/// Nobody knows their pool any more, so they go; what was taken is found again.
fn lost_catalog() {
    for depth in [Depth::Loaded, Depth::Warm] {
        let home = filled(depth);
        let engine = home.engine();
        engine.take(&ci(), None).expect("taken").expect("one");
        drop(engine);
        lose_catalog(&home.path());
        let engine = home.engine();
        engine.rescan().expect("rebuilt");
        assert_eq!(ready(&engine), ["ci-1"], "{depth}");
        assert!(engine.needs_tending().expect("asked"));
        tend(&engine).expect("tended");
        assert_eq!(names_of(&all(&engine)), ["ci-1"], "{depth}");
        assert!(!engine.needs_tending().expect("asked"));
        drop(engine);
        assert_clean(&home.path(), depth.as_str());
    }
}

fn lease_ends() {
    for (ending, left) in [
        (Ending::Remove, None),
        (Ending::Trash, Some(GuestState::Trashed)),
    ] {
        let home = one_guest();
        let engine = home.engine();
        engine
            .set_lease(&name("app"), agreed(3600, ending))
            .expect("a lease");
        tend(&engine).expect("tended");
        assert_eq!(ready(&engine), ["app"], "its time is not over");
        engine
            .set_lease(&name("app"), agreed(0, ending))
            .expect("a lease");
        assert!(engine.needs_tending().expect("asked"));
        tend(&engine).expect("tended");
        assert_eq!(state(&engine, "app"), left);
        assert!(!engine.needs_tending().expect("asked"), "its lease is gone");
        drop(engine);
        assert_clean(&home.path(), ending.as_str());
    }
}

/// The guest of a process that was killed goes although its time is not over.
fn tied() {
    let home = filled(Depth::Warm);
    let engine = home.engine();
    let hour = Agreed {
        tied: true,
        ..agreed(3600, Ending::Remove)
    };
    let taken = engine.take(&ci(), Some(hour)).expect("taken").expect("one");
    tend(&engine).expect("tended");
    assert_eq!(ready(&engine), [taken.guest.name.as_str()], "we live");
    // Somebody else gives it more time, and it goes with us all the same.
    let lease = |tx: &stampo_store::Tx<'_>| tx.lease(taken.guest.id);
    let mut row = engine.store().read(lease).expect("read").expect("a lease");
    let me = row.tied_to.clone().expect("tied");
    row.tied_to = Some(me.replace("\"pid\":", "\"pid\":4194303, \"was\":"));
    assert_ne!(row.tied_to.as_deref(), Some(me.as_str()));
    engine
        .store()
        .write(|tx| tx.put_lease(&row))
        .expect("written");
    let more = agreed(7200, Ending::Remove);
    engine.set_lease(&taken.guest.name, more).expect("extended");
    let kept = engine.store().read(lease).expect("read").expect("a lease");
    assert_eq!(kept.tied_to, row.tied_to);
    tend(&engine).expect("tended");
    assert!(ready(&engine).is_empty(), "whom it is tied to is not there");
}

fn extended() {
    let home = one_guest();
    let engine = home.engine();
    assert!(!engine.clear_lease(&name("app")).expect("asked"));
    engine
        .set_lease(&name("app"), agreed(0, Ending::Remove))
        .expect("a lease");
    engine
        .set_lease(&name("app"), agreed(3600, Ending::Remove))
        .expect("extended");
    tend(&engine).expect("tended");
    assert_eq!(ready(&engine), ["app"]);
    engine
        .set_lease(&name("app"), agreed(0, Ending::Remove))
        .expect("over");
    assert!(engine.clear_lease(&name("app")).expect("cleared"));
    tend(&engine).expect("tended");
    assert_eq!(ready(&engine), ["app"]);
    assert_eq!(engine.leases().expect("read"), GuestLeases::default());
}
