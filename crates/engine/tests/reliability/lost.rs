//! A catalog that is lost, or damaged: what comes back of it, word for word.

use crate::clean::assert_clean;
use crate::home::*;
use stampo_core::goal::CloneKind;
use stampo_core::guest::GuestState;
use stampo_core::ids::TemplateId;
use stampo_core::lifecycle::{State, Verb};
use stampo_core::names::NamePattern;
use stampo_core::plan::CloneSpec;
use stampo_driver::Power;
use stampo_engine::{Engine, EngineError, Faults, ScrubOptions, Unwatched};
use stampo_store::{GuestRow, StoreError, VersionRow};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// Everything of a home that has to come back.
struct Known {
    versions: Vec<VersionRow>,
    exceptions: Vec<String>,
    guests: Vec<GuestRow>,
    host_names: Vec<String>,
    /// The process of each guest that runs.
    processes: Vec<String>,
    items: Vec<String>,
}

/// What an engine knows, without what is new in every catalog: ids of templates, and when a guest's
/// row was last written.
fn known(engine: &Engine) -> Known {
    let read = engine.store().read(|tx| {
        let mut versions = tx.versions()?;
        let mut guests = tx.guests()?;
        guests.sort_by_key(|row| row.id.to_string());
        let (mut exceptions, mut host_names, mut items) = (Vec::new(), Vec::new(), Vec::new());
        for row in &versions {
            let found = tx.exceptions(row.id)?;
            exceptions.extend(
                found
                    .iter()
                    .map(|found| format!("{} {found:?}", row.label())),
            );
        }
        for row in &guests {
            host_names.push(format!("{} {:?}", row.name, tx.host_name(row.id)?));
            // Those of a running guest are read when its passport is next asked for.
            let facts = match process(engine, row) {
                Some(_) => Vec::new(),
                None => tx.facts(row.id)?,
            };
            let of = |fact: &stampo_store::FactRow| {
                format!("{} {} {}", row.name, fact.fact.item, fact.fact.location)
            };
            items.extend(facts.iter().map(of));
        }
        let nil = TemplateId(uuid::Uuid::nil());
        versions.iter_mut().for_each(|row| row.template_id = nil);
        guests.iter_mut().for_each(|row| row.changed_ms = 0);
        Ok::<_, EngineError>(Known {
            processes: guests
                .iter()
                .filter_map(|row| process(engine, row))
                .collect(),
            versions,
            exceptions,
            guests,
            host_names,
            items,
        })
    });
    read.expect("rows")
}

fn process(engine: &Engine, row: &GuestRow) -> Option<String> {
    match engine.power(row) {
        Power::Running { pid, .. } => Some(format!("{} {pid}", row.name)),
        _ => None,
    }
}

/// Fails with what differs, part by part.
fn assert_same(now: &Known, before: &Known, what: &str) {
    let labels = |known: &Known| -> Vec<String> {
        let rows = known.versions.iter();
        rows.map(|row| format!("{} {}", row.label(), row.state))
            .collect()
    };
    assert_eq!(labels(now), labels(before), "{what}");
    for (now, before) in now.versions.iter().zip(&before.versions) {
        assert!(now == before, "{what}: {} differs", before.label());
    }
    assert_eq!(now.exceptions, before.exceptions, "{what}");
    assert_eq!(now.guests, before.guests, "{what}");
    assert_eq!(now.host_names, before.host_names, "{what}");
    assert_eq!(now.processes, before.processes, "{what}");
    assert_eq!(now.items, before.items, "{what}");
}

/// A home with a version in every state that is in use and keeps its bytes, one that was built and
/// one that adds to it, and guests of every kind.
fn everything() -> Home {
    let home = sealed_with_finding();
    let engine = home.engine();
    for finding in findings(&engine) {
        let accepted = engine.accept(&reference("web"), &finding, None, "a test keeps it");
        accepted.expect("accepted");
    }
    publish(&engine, "web").expect("published");
    lineage(&engine);
    states(&home, &engine);
    guests(&engine);
    drop(engine);
    home
}

/// `base@1`, and `child@1`, which was built from it.
fn lineage(engine: &Engine) {
    crate::system::build(engine, "base").expect("built");
    seal(engine, "base").expect("sealed");
    if publish(engine, "base").is_err() {
        for finding in findings_of(engine, "base@1") {
            let accepted = engine.accept(&reference("base"), &finding, None, "a small system");
            accepted.expect("accepted");
        }
        publish(engine, "base").expect("published");
    }
    crate::system::build_from(engine, "child", "from = \"base@1\"\n").expect("built");
}

/// Versions of `old` that are a draft, sealed, retired and in quarantine.
fn states(home: &Home, engine: &Engine) {
    for number in 1..=4 {
        let file = home.path().with_file_name(format!("old-{number}.raw"));
        make_filesystem(&file, &[("etc/old", &format!("{number}\n"))]);
        import(engine, "old", &file).expect("imported");
        if number > 1 {
            seal(engine, &format!("old@{number}")).expect("sealed");
        }
    }
    let retired = engine.change_version(&reference("old@3"), Verb::Retire);
    retired.expect("retired");
    let row = engine.version_row(&reference("old@4")).expect("a version");
    let image = row.image.expect("an image");
    crate::cases::flip_a_bit(&home.path(), image.as_str());
    let scrub = engine
        .submit_scrub(ScrubOptions::default())
        .expect("submitted");
    assert!(
        engine.run_scrub(&scrub, &Unwatched).is_err(),
        "it is damaged"
    );
}

/// A running linked clone, a stopped full one, one that was renamed, one in the trash.
fn guests(engine: &Engine) {
    clone(engine, "app", &spec()).expect("cloned");
    engine.start(&name("app")).expect("started");
    let full = CloneSpec {
        kind: Some(CloneKind::Full),
        ..spec()
    };
    clone(engine, "full", &full).expect("cloned");
    clone(engine, "first", &spec()).expect("cloned");
    engine
        .rename(&name("first"), &name("second"))
        .expect("renamed");
    clone(engine, "gone", &spec()).expect("cloned");
    engine.remove(&name("gone"), Some(HOUR)).expect("trashed");
}

/// Versions with their lineage, states and exceptions, and guests, running ones too.
pub fn a_lost_catalog_comes_back_as_it_was() {
    let home = everything();
    let before = known(&home.engine());
    check_fixture(&before);
    lose_catalog(&home.path());
    let engine = home.engine();
    assert!(engine.is_catalog_lost().expect("asked"));
    let found = engine.rescan().expect("a rescan");
    assert_eq!(found.refused, []);
    assert_same(&known(&engine), &before, "a rescan");
    assert!(!engine.is_catalog_lost().expect("asked"));
    let again = engine.rescan().expect("a rescan");
    assert!(again.versions.is_empty() && again.guests.is_empty());
}

/// The home holds what the test is about.
fn check_fixture(before: &Known) {
    let states: Vec<State> = before.versions.iter().map(|row| row.state).collect();
    for state in [
        State::Draft,
        State::Sealed,
        State::Published,
        State::Retired,
        State::Quarantined,
    ] {
        assert!(states.contains(&state), "{state} is missing");
    }
    let parents = before.versions.iter().map(|row| &row.origin["parent"]);
    assert_eq!(parents.filter(|parent| **parent == "base@1").count(), 1);
    let trashed = before
        .guests
        .iter()
        .filter(|row| row.state == GuestState::Trashed);
    assert_eq!(trashed.count(), 1);
    assert_eq!(before.processes.len(), 1);
    assert!(!before.exceptions.is_empty() && !before.items.is_empty());
    assert!(before.host_names.iter().any(|text| text.contains("first")));
}

/// A way to damage a catalog.
type Damage = fn(&mut Vec<u8>);

/// Each way to damage a catalog as a whole, and whether it is only as good as lost.
const DAMAGES: [(&str, Damage); 6] = [
    ("random bytes", |bytes| {
        let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(1);
        rand::RngCore::fill_bytes(&mut rng, bytes);
    }),
    ("cut in the middle", |bytes| bytes.truncate(bytes.len() / 2)),
    ("cut in a page", |bytes| {
        bytes.truncate(bytes.len() / 3 * 2 - 1000);
    }),
    ("cut in the header", |bytes| bytes.truncate(50)),
    ("a page of zeros", |bytes| bytes[4096..8192].fill(0)),
    ("text", |bytes| {
        *bytes = b"this is not a catalog\n".repeat(400)
    }),
];

/// It is refused by name, with exit code 4's kind of error, and replaced.
pub fn a_damaged_catalog_is_refused_by_name_and_replaced() {
    let home = one_guest();
    let engine = home.engine();
    let before = known(&engine);
    engine.store().checkpoint().expect("one file");
    drop(engine);
    let path = home.path().join("catalog.db");
    let sound = fs::read(&path).expect("readable");
    for (how, damage) in DAMAGES {
        let mut bytes = sound.clone();
        damage(&mut bytes);
        fs::write(&path, bytes).expect("written");
        let error = match use_it(&home.path()) {
            Ok(()) => panic!("{how}: not seen"),
            Err(EngineError::Store(error)) => error,
            Err(error) => panic!("{how}: {}", error.chain()),
        };
        assert!(error.is_damage(), "{how}: {error:?}");
        let moved = Engine::move_damaged_catalog(&home.path()).expect(how);
        let engine = home.engine();
        assert_eq!(engine.rescan().expect("a rescan").refused, [], "{how}");
        assert_same(&known(&engine), &before, how);
        assert!(moved.exists(), "{how}: nothing is deleted");
    }
}

/// What every command does first, and a look at the whole.
fn use_it(home: &Path) -> Result<(), EngineError> {
    let engine = try_open(home)?;
    engine.recover()?;
    engine.submit_scrub(ScrubOptions::default()).map(drop)
}

/// What is made before the rescan takes the number of nothing that is brought back.
pub fn what_is_made_before_a_rescan_gets_a_number_of_its_own() {
    let home = one_guest();
    lose_catalog(&home.path());
    let engine = home.engine();
    let made = import(&engine, "web", source()).expect("imported");
    assert_eq!(made.number, 2);
    assert_eq!(engine.rescan().expect("a rescan").refused, []);
    for (version, state) in [("web@1", State::Published), ("web@2", State::Draft)] {
        let row = engine.version_row(&reference(version)).expect(version);
        assert_eq!(row.state, state, "{version}");
    }
    drop(engine);
    assert_clean(&home.path(), "brought back");
}

/// A catalog of length zero holds nothing, so it is as good as lost; and neither a sound catalog
/// nor one that is in use is moved.
pub fn an_empty_catalog_is_a_lost_one_and_one_in_use_stays() {
    let home = one_guest();
    let before = known(&home.engine());
    let refused = Engine::move_damaged_catalog(&home.path());
    assert!(refused.is_err_and(|error| error.chain().contains("it is sound")));
    lose_catalog(&home.path());
    fs::write(home.path().join("catalog.db"), "").expect("written");
    let engine = home.engine();
    assert!(engine.is_catalog_lost().expect("asked"));
    engine.rescan().expect("a rescan");
    assert_same(&known(&engine), &before, "an empty file");
    engine.store().checkpoint().expect("one file");
    drop(engine);
    let path = home.path().join("catalog.db");
    let mut bytes = fs::read(&path).expect("readable");
    // Who acted, in an audit record.
    let needle = b"local:test";
    let at = bytes
        .windows(needle.len())
        .rposition(|window| window == needle);
    bytes[at.expect("an audit record")] ^= 1;
    fs::write(&path, bytes).expect("written");
    let user = open(&home.path(), Faults::default());
    user.store().read(|tx| tx.versions()).expect("rows");
    let refused = Engine::move_damaged_catalog(&home.path());
    let why = refused.expect_err("it is in use").chain();
    assert!(why.contains("another process"), "{why}");
    drop(user);
    Engine::move_damaged_catalog(&home.path()).expect("moved");
}

fn port_of(engine: &Engine, guest: &str) -> u16 {
    let row = engine.guest_row(&name(guest)).expect("a guest");
    row.plan.nics[0].ssh_port.expect("a port")
}

/// A port that was free when the clone was planned, and in use when the guest was started.
pub fn a_lost_catalog_comes_back_with_the_port_that_a_guest_found() {
    let home = Home::published();
    let engine = home.engine();
    let started = CloneSpec {
        start: Some(true),
        ..spec()
    };
    let one = NamePattern::new("app");
    let (operation, _) = engine
        .submit_clone(&reference("web"), &one, &started)
        .expect("submitted");
    let planned = port_of(&engine, "app");
    let other_program = TcpListener::bind(("127.0.0.1", planned)).expect("it was free");
    engine
        .clone_guests(operation.id, &Unwatched)
        .expect("cloned");
    drop(other_program);
    assert_ne!(port_of(&engine, "app"), planned);
    clone(&engine, "next", &spec()).expect("cloned");
    let before = known(&engine);
    drop(engine);
    lose_catalog(&home.path());
    let engine = home.engine();
    let found = engine.rescan().expect("a rescan");
    assert_eq!(found.refused, []);
    assert_same(&known(&engine), &before, "a rescan");
}

/// As a power loss leaves it between the row and the sidecar of a guest that found another port.
pub fn two_sidecars_that_name_one_port_are_two_guests() {
    let home = Home::published();
    let engine = home.engine();
    clone(&engine, "app", &spec()).expect("cloned");
    let port = port_of(&engine, "app");
    let set = |guest: &str, port: u16| {
        let mut row = engine.guest_row(&name(guest)).expect("a guest");
        row.plan.nics[0].ssh_port = Some(port);
        let done: Result<_, StoreError> = engine.store().write(|tx| {
            tx.update_guest(&row)?;
            tx.replace_nics(&row)
        });
        done.expect("written");
    };
    // No sidecar is written for this one.
    set("app", port + 4000);
    clone(&engine, "next", &spec()).expect("cloned");
    set("next", port);
    engine
        .rename(&name("next"), &name("last"))
        .expect("renamed");
    drop(engine);
    lose_catalog(&home.path());
    let engine = home.engine();
    let found = engine.rescan().expect("a rescan");
    assert_eq!((found.refused, found.guests.len()), (vec![], 2));
    assert_ne!(port_of(&engine, "app"), port_of(&engine, "last"));
    drop(engine);
    assert_clean(&home.path(), "with two ports");
}

/// Its version's sidecar is lost with the catalog: nothing but the guest tells that the bytes are
/// needed.
pub fn a_linked_clone_keeps_the_image_of_a_lost_version() {
    let home = Home::published();
    let engine = home.engine();
    clone(&engine, "app", &spec()).expect("cloned");
    let row = engine.guest_row(&name("app")).expect("a guest");
    drop(engine);
    lose_catalog(&home.path());
    let dir = home.path().join("images").join(row.image.as_str());
    let sidecars = fs::read_dir(&dir).expect("a directory").flatten();
    let sidecars = sidecars.filter(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with("version-")
    });
    assert_eq!(
        sidecars
            .filter(|entry| fs::remove_file(entry.path()).is_ok())
            .count(),
        1
    );
    let engine = home.engine();
    let found = engine.rescan().expect("a rescan");
    assert_eq!((found.versions.len(), found.guests.len()), (0, 1));
    for subjects in [engine.gc_plan(true), engine.gc(true)] {
        let subjects = subjects.expect("judged");
        let image = subjects
            .iter()
            .find(|subject| subject.name == row.image.short());
        let image = image.expect("the image is judged");
        assert!(!image.goes && image.reason == "read by app", "{image:?}");
    }
    assert!(dir.join("disk.raw").exists(), "the clone's base is gone");
    engine.start(&name("app")).expect("it starts");
}

/// What a crash left of a sidecar goes with a collection, and not while somebody may still write it.
pub fn a_collection_removes_half_written_sidecars() {
    let home = Home::published();
    let engine = home.engine();
    let row = engine.version_row(&reference("web@1")).expect("a version");
    let image = row.image.expect("an image");
    let partial = home
        .path()
        .join("images")
        .join(image.as_str())
        .join(format!(".version-{}.json.partial", row.id));
    fs::write(&partial, "half").expect("written");
    engine.gc(true).expect("collected");
    assert!(partial.exists(), "somebody may be writing it");
    let file = fs::File::options().write(true).open(&partial);
    let long_ago = std::time::SystemTime::now() - 2 * HOUR;
    file.and_then(|file| file.set_modified(long_ago))
        .expect("aged");
    engine.gc_plan(true).expect("judged");
    assert!(partial.exists(), "a plan changes nothing");
    engine.gc(false).expect("collected");
    assert!(!partial.exists(), "it stays for ever");
}
