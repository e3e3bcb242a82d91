//! Instant clones on simulated guests, honest and not: what is handed out is a machine of its own,
//! and what can't be shown to be one is gone.

use crate::cases::{forks, freeze, frozen_home};
use crate::clean::assert_clean;
use crate::home::*;
use libtest_mimic::Trial;
use stampo_agent_protocol::{Evidence, Hex32, Request, Response};
use stampo_core::goal::CloneKind;
use stampo_core::instant::Instant;
use stampo_core::lifecycle::Verb;
use stampo_core::names::NamePattern;
use stampo_core::personalisation::User;
use stampo_core::plan::{CloneSpec, PlanRefusal};
use stampo_core::size::ByteSize;
use stampo_driver::sim::{ForkManners, SimDriver};
use stampo_driver::{Driver, Power};
use stampo_engine::{Engine, EngineError, Faults, Removal, Settings, Unwatched, Watch};
use stampo_store::{EventRow, GuestRow};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("forks_share_nothing_with_anybody", forks_share_nothing),
        trial("a_fork_that_is_not_proven_is_gone", unproven_forks_are_gone),
        trial("nobody_waits_for_addresses_unasked", no_wait),
        trial("who_cancels_waits_for_no_address", cancelled_connecting),
        trial("all_forks_are_themselves_before_one_connects", in_order),
        trial("of_two_doubles_one_is_destroyed", doubles_are_destroyed),
        trial("who_may_log_in_to_a_fork", logins),
        trial("what_a_fork_can_not_have_is_refused", refused_options),
        trial("without_a_memory_image_there_are_no_forks", not_frozen),
        trial("a_useless_memory_image_is_said_and_clones_boot", fallback),
        trial("a_useless_memory_image_is_frozen_again", frozen_again),
        trial("memory_is_promised_once", admission),
        trial("a_fork_stays_itself", lifecycle),
        trial("a_base_with_forks_is_kept", purge_is_refused),
        trial("a_fork_without_an_identity_is_made_anew", made_anew),
    ]
}

/// A home with a frozen version, after the host was given another driver than its memory image was made with.
pub fn unfit_home() -> Home {
    let home = frozen_home();
    make_unfit(&home);
    home
}

/// Has its memory image made with another driver.
pub fn make_unfit(home: &Home) {
    let images = std::fs::read_dir(home.path().join("images")).expect("images");
    let manifest = images
        .flatten()
        .flat_map(|image| std::fs::read_dir(image.path()).expect("listed").flatten())
        .map(|entry| entry.path().join("image.json"))
        .find(|path| path.exists())
        .expect("a memory image");
    let text = std::fs::read_to_string(&manifest).expect("readable");
    let other = text.replace("\"driver\": \"simulated\"", "\"driver\": \"qemu\"");
    assert_ne!(text, other);
    std::fs::write(&manifest, other).expect("written");
}

pub fn fits(engine: &Engine) -> bool {
    let pattern = NamePattern::new("ci-{n}");
    engine
        .plan_clones(&reference("web"), &pattern, &forks(1))
        .is_ok()
}

pub fn sim(home: &Home) -> SimDriver {
    SimDriver::open(&home.path().join("guests")).expect("a simulated driver")
}

pub fn evidence(engine: &Engine, row: &GuestRow) -> Evidence {
    let asked = Request::Identify {
        nonce: Hex32([3; 32]),
    };
    match engine
        .driver()
        .ask_agent(row.id, &asked, Duration::from_secs(1))
    {
        Ok(Response::Identity(evidence)) => *evidence,
        other => panic!("{}: {other:?}", row.name),
    }
}

fn rows(engine: &Engine) -> Vec<GuestRow> {
    engine.store().read(|tx| tx.guests()).expect("rows")
}

fn memory_files(home: &Home) -> Vec<(PathBuf, String)> {
    let images = std::fs::read_dir(home.path().join("images")).expect("images");
    let inside = images.flatten().flat_map(|image| {
        let entries = std::fs::read_dir(image.path()).expect("an image");
        entries
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().starts_with("memory-"))
    });
    let mut files: Vec<_> = inside
        .flat_map(|dir| std::fs::read_dir(dir.path()).expect("listed").flatten())
        .map(|file| {
            let bytes = std::fs::read(file.path()).expect("readable");
            (file.path(), blake3::hash(&bytes).to_string())
        })
        .collect();
    files.sort();
    files
}

fn forks_share_nothing() {
    let home = frozen_home();
    let engine = home.engine();
    let before = memory_files(&home);
    assert_eq!(before.len(), 5, "{before:?}");
    let made = clone(&engine, "ci-{n}", &forks(5)).expect("cloned");
    assert_eq!(made.len(), 5);
    let told: Vec<Evidence> = made.iter().map(|row| evidence(&engine, row)).collect();
    let distinct = |what: &str, of: &dyn Fn(&Evidence) -> String| {
        let values: BTreeSet<String> = told.iter().map(of).collect();
        assert_eq!(values.len(), told.len(), "{what}: {values:?}");
    };
    distinct("machine-id", &|e| e.machine_id.clone());
    distinct("host name", &|e| e.hostname.clone());
    distinct("MAC", &|e| e.interfaces[0].mac.to_string());
    distinct("host key", &|e| e.host_keys[0].public.clone());
    distinct("boot id", &|e| e.boot_id.clone());
    for (row, told) in made.iter().zip(&told) {
        assert_eq!(told.hostname, row.name.as_str());
        assert_eq!(
            told.interfaces[0].mac.to_string(),
            row.plan.nics[0].mac.to_string()
        );
        assert_eq!(row.host_keys, [told.host_keys[0].public.clone()]);
        assert!(sim(&home).links_are_up(row.id).expect("it runs"));
        assert_eq!(row.plan.kind_name(), "instant");
    }
    assert!(memory_files(&home) == before, "the image is as it was");
    drop(engine);
    assert_clean(&home.path(), "forks");
}

/// One that does not meet what it was told is destroyed, and nothing of it remains.
fn unproven_forks_are_gone() {
    for (manners, word) in [
        (ForkManners::NoClock, "clock"),
        (ForkManners::NoUser, "no such user"),
        (ForkManners::NoAddress, "no address"),
        (ForkManners::Silent, "reach the guest agent"),
    ] {
        let home = frozen_home();
        let engine = home.engine();
        sim(&home).set_fork_manners(manners).expect("steered");
        let mut asked = forks(2);
        asked.personalisation = spec().personalisation;
        let error = clone(&engine, "ci-{n}", &asked).expect_err("not handed out");
        assert!(
            error.chain().contains(word),
            "{manners:?}: {}",
            error.chain()
        );
        assert_eq!(rows(&engine), [], "{manners:?}");
        assert_eq!(engine.driver().list().expect("a list"), [], "{manners:?}");
        drop(engine);
        assert_clean(&home.path(), word);
        // The same names are free again.
        sim(&home)
            .set_fork_manners(ForkManners::Honest)
            .expect("steered");
        clone(&home.engine(), "ci-{n}", &forks(2)).expect("cloned");
    }
}

/// Machines that go on alike are found by what they show; also when the first was made before, and
/// its passport has been read since.
fn doubles_are_destroyed() {
    for (manners, item) in [
        (ForkManners::SameRandomness, "fork.randomness"),
        (ForkManners::SameHostKey, "ssh.host-key.ed25519"),
    ] {
        let home = frozen_home();
        let engine = home.engine();
        sim(&home).set_fork_manners(manners).expect("steered");
        let error = clone(&engine, "ci-{n}", &forks(3)).expect_err("two doubles");
        assert!(
            matches!(
                error,
                EngineError::Partial {
                    failed: 2,
                    all: 3,
                    ..
                }
            ),
            "{manners:?}: {}",
            error.chain()
        );
        assert!(error.chain().contains(item), "{}", error.chain());
        let left = rows(&engine);
        assert_eq!(left.len(), 1, "one of them is itself");
        if manners == ForkManners::SameRandomness {
            engine.passports(&[]).expect("read");
        }
        let error = clone(&engine, "late", &forks(1)).expect_err("another double");
        assert!(error.chain().contains(item), "{}", error.chain());
        assert!(error.chain().contains(left[0].name.as_str()));
        assert_eq!(rows(&engine).len(), 1);
        assert_eq!(engine.driver().list().expect("a list").len(), 1);
        drop(engine);
        assert_clean(&home.path(), item);
    }
}

/// A fork whose maker died after telling it who it is goes on as another process, told anew.
fn made_anew() {
    for point in ["fork.resumed", "fork.told"] {
        let home = frozen_home();
        let ended = crate::crash::run_child("clone_instant", &home.path(), point);
        assert!(!ended.success(), "{point}: {ended}");
        let pid = |engine: &Engine| {
            let row = rows(engine).remove(0);
            match engine.driver().observe(row.id).expect("in sight") {
                Power::Running { pid, .. } => pid,
                other => panic!("{point}: {other:?}"),
            }
        };
        let before = pid(&open(&home.path(), Faults::default()));
        let engine = home.engine();
        assert_ne!(pid(&engine), before, "{point}: the same process went on");
        drop(engine);
        assert_clean(&home.path(), point);
    }
}

/// Who does not wait for addresses is given a fork without one; who does is not.
fn no_wait() {
    let home = frozen_home();
    let engine = home.engine();
    sim(&home)
        .set_fork_manners(ForkManners::NoAddress)
        .expect("steered");
    let asked = CloneSpec {
        no_wait: true,
        ..forks(2)
    };
    let made = clone(&engine, "ci-{n}", &asked).expect("cloned");
    for row in &made {
        assert!(sim(&home).links_are_up(row.id).expect("it runs"));
    }
    let error = clone(&engine, "late-{n}", &forks(1)).expect_err("not handed out");
    assert!(error.chain().contains("no address"), "{}", error.chain());
    assert_eq!(rows(&engine).len(), 2);
    drop(engine);
    assert_clean(&home.path(), "no wait");
}

/// A fork waits for an address for minutes; whoever cancels meanwhile does not.
fn cancelled_connecting() {
    /// Cancelled a second after the guest of this home was plugged in: it waits for its address then.
    struct WhenPlugged(PathBuf, OnceLock<std::time::Instant>);
    impl Watch for WhenPlugged {
        fn event(&self, _: &EventRow) {}
        fn progress(&self, _: &str, _: u64, _: u64) {}
        fn is_cancelled(&self) -> bool {
            let sim = SimDriver::open(&self.0).expect("a simulated driver");
            let guests = sim.list().expect("listed");
            let mut plugged = guests.iter().map(|id| sim.links_are_up(*id));
            if plugged.any(|up| up.unwrap_or(false)) {
                self.1.get_or_init(std::time::Instant::now);
            }
            let waits = self.1.get().map(std::time::Instant::elapsed);
            waits.is_some_and(|waits| waits > Duration::from_secs(1))
        }
    }
    let home = frozen_home();
    let engine = home.engine();
    let slow = sim(&home).set_fork_manners(ForkManners::SlowAddress);
    slow.expect("steered");
    let begun = std::time::Instant::now();
    let watch = WhenPlugged(home.path().join("guests"), OnceLock::new());
    let result = clone_watched(&engine, "ci", &forks(1), &watch);
    assert!(matches!(result, Err(EngineError::Cancelled)), "{result:?}");
    // The wait itself is three minutes.
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(rows(&engine), []);
    drop(engine);
    assert_clean(&home.path(), "cancelled while it connects");
}

/// The phases of an operation, in the order in which they ended.
#[derive(Default)]
struct Phases(Mutex<Vec<String>>);

impl Watch for Phases {
    fn event(&self, event: &EventRow) {
        let mut ended = self.0.lock().expect("nobody panicked");
        ended.push(event.phase.clone());
    }

    fn progress(&self, _: &str, _: u64, _: u64) {}

    fn is_cancelled(&self) -> bool {
        false
    }
}

fn in_order() {
    let home = frozen_home();
    let engine = home.engine();
    let phases = Phases::default();
    clone_watched(&engine, "ci-{n}", &forks(9), &phases).expect("cloned");
    let ended = phases.0.into_inner().expect("nobody panicked");
    let count = |phase: &str| ended.iter().filter(|ended| *ended == phase).count();
    assert_eq!((count("link"), count("connect")), (9, 9), "{ended:?}");
    let last_link = ended.iter().rposition(|phase| phase == "link");
    let first_connect = ended.iter().position(|phase| phase == "connect");
    assert!(last_link < first_connect, "{ended:?}");
}

fn anna() -> User {
    User {
        name: "anna".to_owned(),
        ..User::default()
    }
}

/// Keys reach the guest; more than it can be told, and users that the template has not, are refused
/// before anything is made.
fn logins() {
    let home = frozen_home();
    let engine = home.engine();
    let mut asked = forks(2);
    asked.personalisation = spec().personalisation;
    for row in clone(&engine, "ci-{n}", &asked).expect("cloned") {
        let keys = engine.driver().agent_read_file(
            row.id,
            "~root/.ssh/authorized_keys",
            4096,
            Duration::from_secs(1),
        );
        let keys = String::from_utf8(keys.expect("it was told")).expect("text");
        assert_eq!(keys, format!("{SSH_KEY}\n"));
    }
    let many = (0..65).map(|n| format!("{SSH_KEY} number-{n}"));
    let mut many_keys = asked.clone();
    many_keys.personalisation.ssh_authorized_keys = many.collect();
    let mut long_key = asked.clone();
    long_key.personalisation.ssh_authorized_keys = vec![format!("{SSH_KEY} {}", "x".repeat(5000))];
    let mut nobody = asked;
    nobody.personalisation.users = vec![anna()];
    for (spec, word) in [
        (many_keys, "64 keys"),
        (long_key, "one short line"),
        (nobody, "no user anna"),
    ] {
        let error = clone(&engine, "more-{n}", &spec).expect_err(word);
        assert!(matches!(error, EngineError::Usage { .. }), "{error:?}");
        assert!(error.chain().contains(word), "{}", error.chain());
        assert_eq!(rows(&engine).len(), 2, "{word}");
    }
    drop(engine);
    assert_clean(&home.path(), "logins");
}

fn refused_options() {
    let home = frozen_home();
    let engine = home.engine();
    let with = |change: fn(&mut CloneSpec)| {
        let mut spec = forks(1);
        change(&mut spec);
        spec
    };
    let table = [
        ("--full", with(|s| s.kind = Some(CloneKind::Full))),
        ("--cpus", with(|s| s.cpus = Some(3))),
        ("--memory", with(|s| s.memory = Some(ByteSize::mib(640)))),
        (
            "--disk-size",
            with(|s| s.disk_size = Some(ByteSize::gib(1))),
        ),
        (
            "--add-disk",
            with(|s| s.extra_disks = vec![ByteSize::mib(1)]),
        ),
        ("--no-start", with(|s| s.start = Some(false))),
        (
            "--no-personalisation",
            with(|s| s.no_personalisation = true),
        ),
        ("--user", with(|s| s.personalisation.users = vec![anna()])),
        (
            "sudo",
            with(|s| {
                s.personalisation = spec().personalisation;
                let sudo = true;
                s.personalisation.users = vec![User { sudo, ..anna() }];
            }),
        ),
        (
            "--time-zone",
            with(|s| s.personalisation.time_zone = Some("Europe/Rome".into())),
        ),
        (
            "--user-data",
            with(|s| s.personalisation.user_data = Some("x".into())),
        ),
    ];
    for (option, spec) in table {
        let error = clone(&engine, "ci-{n}", &spec).expect_err(option);
        let EngineError::Plan(PlanRefusal::NotInstant { option: named, .. }) = &error else {
            panic!("{option}: {}", error.chain());
        };
        assert!(named.contains(option), "{option}: {named}");
    }
    // What is as in the version is no wish for something else.
    let same = with(|s| {
        s.cpus = Some(1);
        s.memory = Some(ByteSize::mib(512));
    });
    clone(&engine, "ci-{n}", &same).expect("cloned");
}

fn not_frozen() {
    let home = Home::published();
    let engine = home.engine();
    for wanted in [Instant::Only, Instant::Prefer] {
        let spec = CloneSpec {
            instant: Some(wanted),
            ..forks(1)
        };
        match clone(&engine, "ci-{n}", &spec) {
            Err(EngineError::Plan(PlanRefusal::NotFrozen(label))) => assert_eq!(label, "web@1"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(rows(&engine), []);
}

/// The reason is in the plan, on the guest, and in its sidecar; and `only` means only.
fn fallback() {
    let unanswered = Home::published();
    let driver = sim(&unanswered);
    driver
        .set_fork_manners(ForkManners::Silent)
        .expect("steered");
    freeze(&unanswered.engine()).expect("frozen");
    driver
        .set_fork_manners(ForkManners::Honest)
        .expect("steered");
    for (home, word) in [
        (unanswered, "agent did not answer"),
        (unfit_home(), "made by qemu"),
    ] {
        let engine = home.engine();
        let error = clone(&engine, "ci-{n}", &forks(1)).expect_err("only instant ones");
        assert!(
            matches!(&error, EngineError::Plan(PlanRefusal::MemoryUnfit { why, .. }) if why.contains(word)),
            "{}",
            error.chain()
        );
        let spec = CloneSpec {
            instant: Some(Instant::Prefer),
            ..forks(1)
        };
        let plan = engine
            .plan_clones(
                &reference("web"),
                &stampo_core::names::NamePattern::new("ci-{n}"),
                &spec,
            )
            .expect("a plan");
        assert!(plan.warnings.iter().any(|w| w.contains(word)), "{plan:?}");
        let made = clone(&engine, "ci-{n}", &spec).expect("it boots");
        let row = &made[0];
        assert_eq!(row.plan.kind_name(), "linked");
        let why = row.plan.fallback.clone().expect("a reason");
        assert!(why.contains(word), "{why}");
        assert!(matches!(engine.power(row), Power::Running { .. }));
        drop(engine);
        assert_clean(&home.path(), word);
        lose_catalog(&home.path());
        let engine = home.engine();
        engine.rescan().expect("a rescan");
        let again = rows(&engine);
        assert_eq!(again[0].plan.fallback, Some(why));
    }
}

/// One command makes it anew, unless it is of use, or used.
fn frozen_again() {
    let refused = |engine: &Engine, words: [&str; 2]| {
        let why = freeze(engine).expect_err("refused").chain();
        assert!(words.iter().all(|word| why.contains(word)), "{why}");
    };
    let home = frozen_home();
    refused(
        &home.engine(),
        ["fits this host", "stampo clone --instant web@1"],
    );
    clone(&home.engine(), "ci", &forks(1)).expect("cloned");
    let before = memory_files(&home);
    make_unfit(&home);
    let engine = home.engine();
    refused(&engine, ["ci goes on from it", "stampo stop ci"]);
    engine.stop(&name("ci"), true).expect("stopped");
    freeze(&engine).expect("frozen again");
    assert_eq!(
        memory_files(&home).len(),
        before.len(),
        "the old one is gone"
    );
    clone(&engine, "late", &forks(1)).expect("cloned");
    engine.start(&name("ci")).expect("it boots");
    drop(engine);
    assert_clean(&home.path(), "frozen again");
    // A member that waits for it goes with its pool.
    let home = crate::pools::filled(stampo_core::pool::Depth::Spawned);
    make_unfit(&home);
    refused(
        &home.engine(),
        ["ci-1 goes on from it", "stampo pool rm ci"],
    );
    // One that nobody can read is no hindrance.
    let home = frozen_home();
    for (path, _) in memory_files(&home) {
        if path.extension().is_some_and(|end| end == "json") {
            std::fs::write(path, "{").expect("written");
        }
    }
    freeze(&home.engine()).expect("frozen again");
    clone(&home.engine(), "ci", &forks(1)).expect("cloned");
    drop(home.engine());
    assert_clean(&home.path(), "unreadable");
}

/// Room for three guests of 512 MiB with what their processes take, and not for a fourth.
fn admission() {
    let home = frozen_home();
    let settings = Settings {
        parallel: 1,
        guest_memory: Some(ByteSize::mib(3 * (512 + 168) + 100)),
        actor: "local:test".to_owned(),
        ..Settings::default()
    };
    let engine = open_with(&home.path(), Faults::default(), settings);
    let refused = |spec: &CloneSpec| match clone(&engine, "more-{n}", spec) {
        Err(EngineError::Plan(PlanRefusal::NoMemory {
            asked,
            promised,
            total,
        })) => {
            assert_eq!(total, ByteSize::mib(3 * 680 + 100));
            (asked.bytes() >> 20, promised.bytes() >> 20)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&forks(4)), (4 * 680, 0));
    assert_eq!(rows(&engine), [], "refused before the first act");
    clone(&engine, "ci-{n}", &forks(2)).expect("two");
    clone(&engine, "stopped", &spec()).expect("one that does not run");
    assert_eq!(refused(&forks(2)), (2 * 680, 2 * 680));
    clone(&engine, "third", &forks(1)).expect("a third");
    assert_eq!(refused(&forks(1)), (680, 3 * 680));
    let over = CloneSpec {
        overcommit_memory: true,
        ..forks(1)
    };
    clone(&engine, "over", &over).expect("as asked");
    for guest in ["over", "ci-1"] {
        engine.stop(&name(guest), true).expect("stopped");
    }
    clone(&engine, "fourth", &forks(1)).expect("room again");
}

/// Stopped and started, renamed, resized, flattened, and found again without a catalog.
fn lifecycle() {
    let home = frozen_home();
    let engine = home.engine();
    let row = clone(&engine, "ci-{n}", &forks(1))
        .expect("cloned")
        .remove(0);
    let before = evidence(&engine, &row);
    engine.stop(&name("ci-1"), true).expect("stopped");
    let row = engine.start(&name("ci-1")).expect("started");
    let after = evidence(&engine, &row);
    assert_eq!(after.machine_id, before.machine_id);
    assert_eq!(after.interfaces[0].mac, before.interfaces[0].mac);
    assert_eq!(after.host_keys, before.host_keys);
    assert!(sim(&home).links_are_up(row.id).expect("it runs"));
    engine.rename(&name("ci-1"), &name("db")).expect("renamed");
    engine.stop(&name("db"), true).expect("stopped");
    let larger = stampo_engine::Resize {
        cpus: Some(2),
        memory: None,
        disk_size: Some(ByteSize::mib(24)),
    };
    engine.resize(&name("db"), larger).expect("resized");
    engine.start(&name("db")).expect("a larger machine boots");
    engine.stop(&name("db"), true).expect("stopped");
    let kept = engine.guest_row(&name("db")).expect("a row");
    drop(engine);
    assert_clean(&home.path(), "resized");
    lose_catalog(&home.path());
    let engine = home.engine();
    engine.rescan().expect("a rescan");
    let found = engine.guest_row(&name("db")).expect("found again");
    assert_eq!(
        (&found.plan, &found.host_keys),
        (&kept.plan, &kept.host_keys)
    );
    let flatten = engine.submit_flatten(&name("db")).expect("claimed");
    let full = engine.run_flatten(flatten, &Unwatched).expect("flattened");
    assert_eq!(full.plan.kind_name(), "full");
    engine.start(&name("db")).expect("started");
    drop(engine);
    assert_clean(&home.path(), "flattened");
}

/// Also where another version has the same bytes: the memory image is this version's alone.
fn purge_is_refused() {
    for has_twin in [false, true] {
        let home = frozen_home();
        let engine = home.engine();
        clone(&engine, "ci-{n}", &forks(2)).expect("cloned");
        if has_twin {
            let row = engine.version_row(&reference("web")).expect("a version");
            let image = row.image.expect("an image").to_string();
            let disk = home.path().join("images").join(image).join("disk.raw");
            import(&engine, "twin", &disk).expect("imported");
        }
        engine
            .change_version(&reference("web@1"), Verb::Retire)
            .expect("retired");
        match engine.change_version(&reference("web@1"), Verb::Purge) {
            Err(EngineError::HasLinkedClones { clones, .. }) => {
                assert_eq!(clones, ["ci-1", "ci-2"].map(name));
            }
            other => panic!("{has_twin}: {other:?}"),
        }
        let names = ["ci-1", "ci-2"].map(name);
        let running = Removal {
            keep: None,
            force: true,
        };
        engine.remove_all(&names, running).expect("removed");
        engine
            .change_version(&reference("web@1"), Verb::Purge)
            .expect("nothing reads it any more");
        assert_eq!(memory_files(&home), []);
        drop(engine);
        assert_clean(&home.path(), "purged");
    }
}
