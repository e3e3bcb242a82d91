//! The commands that are killed: how the home is before, the command, and whether it is done.

use crate::home::*;
use crate::instant::{fits, unfit_home};
use crate::leases;
use crate::pools;
use stampo_core::goal::CloneKind;
use stampo_core::guest::GuestState;
use stampo_core::ids::ImageId;
use stampo_core::instant::Instant;
use stampo_core::lifecycle::{State, Verb};
use stampo_core::plan::CloneSpec;
use stampo_core::size::ByteSize;
use stampo_driver::Power;
use stampo_engine::{
    Damage, DamageOutcome, Engine, EngineError, Removal, Resize, ScrubOptions, Unwatched,
};
use stampo_image::identity::leaf_index;
use stampo_image::progress;
use stampo_store::OperationState;
use std::sync::OnceLock;
use std::time::Duration;

/// One command.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name, as the child is told.
    pub name: &'static str,
    /// The home before it.
    pub prepare: fn() -> Home,
    /// The command.
    pub act: fn(&Engine) -> Result<(), EngineError>,
    /// Whether its effect is there.
    pub done: fn(&Engine) -> bool,
}

pub fn by_name(name: &str) -> Case {
    let found = all()
        .into_iter()
        .chain(on_real_guests())
        .chain([URL, leases::TIED])
        .find(|case| case.name == name);
    found.unwrap_or_else(|| panic!("no case {name}"))
}

/// What `downloads.rs` runs in a child.
const URL: Case = Case {
    name: "import_of_a_url",
    prepare: Home::empty,
    act: crate::downloads::import_of_a_url,
    done: |e| is(e, "child@1", State::Draft),
};

/// The commands that only `real.rs` kills, at points of its own.
fn on_real_guests() -> [Case; 2] {
    [
        Case {
            name: "clone_real",
            prepare: Home::published,
            act: |e| clone(e, "app", &crate::real::small()).map(drop),
            done: |e| running(e) == 1,
        },
        Case {
            name: "remove_db",
            prepare: Home::published,
            act: |e| e.remove(&name("db"), None),
            done: |e| ready(e).is_empty(),
        },
    ]
}

/// Every case.
pub fn all() -> Vec<Case> {
    let mut cases = usual();
    cases.extend(crate::governance::cases());
    cases.extend(crate::retention::cases());
    cases.extend(crate::real::cases());
    cases.extend(crate::approval::cases());
    cases.extend(crate::audit::cases());
    cases.extend(pools::cases());
    cases
}

fn usual() -> Vec<Case> {
    let case = |name, prepare, act, done| Case {
        name,
        prepare,
        act,
        done,
    };
    vec![
        case(
            "import",
            Home::empty,
            |e| import(e, "web", source()).map(drop),
            |e| is(e, "web@1", State::Draft) && has_bytes_of_source(e, "web@1"),
        ),
        case(
            "import_of_the_same_bytes",
            Home::draft,
            |e| import(e, "twin", source()).map(drop),
            |e| is(e, "twin@1", State::Draft) && has_bytes_of_source(e, "twin@1"),
        ),
        case(
            "seal",
            Home::draft,
            |e| seal(e, "web").map(drop),
            |e| is(e, "web@1", State::Sealed),
        ),
        case(
            "seal_of_shared_bytes",
            twins,
            |e| seal(e, "web").map(drop),
            |e| is(e, "web@1", State::Sealed) && is(e, "twin@1", State::Draft),
        ),
        case(
            "publish",
            sealed,
            |e| publish(e, "web").map(drop),
            |e| is(e, "web@1", State::Published),
        ),
        case(
            "retire",
            Home::published,
            |e| change(e, Verb::Retire),
            |e| is(e, "web@1", State::Retired),
        ),
        case(
            "restore",
            retired,
            |e| change(e, Verb::Restore),
            |e| is(e, "web@1", State::Sealed),
        ),
        case(
            "purge",
            retired,
            |e| change(e, Verb::Purge),
            |e| is(e, "web@1", State::Purged),
        ),
        case("freeze", sealed, freeze, |e| frozen(e) == 1),
        case("freeze_again", unfit_home, freeze, fits),
        case("purge_frozen", retired_and_frozen, purge, |e| {
            is(e, "web@1", State::Purged)
        }),
        case("purge_one_of_two_frozen", frozen_with_twin, purge, |e| {
            is(e, "web@1", State::Purged) && is(e, "twin@1", State::Draft)
        }),
        case(
            "verify",
            Home::published,
            |e| verify(e, "web"),
            |e| is(e, "web@1", State::Published),
        ),
        case(
            "clone_linked",
            Home::published,
            |e| clone(e, "app-{n}", &three()).map(drop),
            |e| ready(e) == ["app-1", "app-2", "app-3"] && running(e) == 3 && have_own_keys(e),
        ),
        case(
            "clone_full",
            Home::published,
            |e| clone(e, "app", &full()).map(drop),
            |e| ready(e) == ["app"] && have_own_keys(e) && has_own_name(e, "app"),
        ),
        case(
            "clone_plain",
            Home::published,
            |e| clone(e, "app", &plain()).map(drop),
            |e| ready(e) == ["app"],
        ),
        case("clone_instant", frozen_home, clone_instant, |e| {
            ready(e) == ["ci"] && running(e) == 1
        }),
        case(
            "start_instant",
            one_stopped_fork,
            |e| e.start(&name("ci-1")).map(drop),
            |e| running(e) == 1,
        ),
        case(
            "start",
            one_guest,
            |e| e.start(&name("app")).map(drop),
            |e| running(e) == 1,
        ),
        case(
            "remove",
            one_running,
            |e| e.remove(&name("app"), None),
            |e| ready(e).is_empty(),
        ),
        case(
            "remove_many",
            three_running,
            |e| remove_three(e, true),
            |e| ready(e).is_empty(),
        ),
        case(
            "remove_many_stopped",
            || {
                with(Home::published(), |e| {
                    clone(e, "app-{n}", &three_stopped()).map(drop)
                })
            },
            |e| remove_three(e, false),
            |e| ready(e).is_empty(),
        ),
        case(
            "trash",
            one_running,
            |e| e.remove(&name("app"), Some(HOUR)),
            |e| state(e, "app") == Some(GuestState::Trashed),
        ),
        case(
            "restore_guest",
            one_trashed,
            |e| e.restore_guest(&name("app")).map(drop),
            |e| ready(e) == ["app"],
        ),
        case(
            "rename",
            one_running,
            |e| e.rename(&name("app"), &name("db")).map(drop),
            |e| ready(e) == ["db"] && running(e) == 1,
        ),
        case(
            "resize_linked",
            one_guest,
            |e| e.resize(&name("app"), larger()).map(drop),
            grown,
        ),
        case(
            "resize_full",
            one_full,
            |e| e.resize(&name("app"), larger()).map(drop),
            grown,
        ),
        case("flatten", one_guest, flatten, |e| {
            kind(e, "app") == Some(CloneKind::Full)
        }),
        case("capture", one_guest, captured, |e| {
            is(e, "golden@1", State::Draft) && ready(e) == ["app"]
        }),
        case("capture_running", one_running, captured, |e| {
            // That it goes on is asked in `capture.rs`: power that is lost stops it.
            is(e, "golden@1", State::Draft)
        }),
        case(
            "write_file",
            one_guest,
            |e| e.write_file(&name("app"), "/root/x", b"y"),
            |e| matches!(e.read_file(&name("app"), "/root/x"), Ok(text) if text == b"y"),
        ),
        case("quarantine", rotten, find_rot, |e| {
            is(e, "web@1", State::Quarantined)
        }),
        case("scrub", rotten, scrub_rot, |e| {
            is(e, "web@1", State::Quarantined)
        }),
        case("accept", sealed_with_finding, accept, is_accepted),
        case(
            "build",
            Home::empty,
            |e| crate::system::build(e, "web"),
            |e| is(e, "web@1", State::Draft),
        ),
        case("failing_build", Home::published, failing_build, |e| {
            e.home().join("build-failed.log").exists()
        }),
        case(
            "gc",
            rubbish,
            |e| e.gc(true).map(drop),
            |e| is(e, "web@1", State::Purged) && ready(e).is_empty(),
        ),
        case("rescan", without_catalog, rescan, |e| {
            is(e, "web@1", State::Published) && ready(e) == ["app"]
        }),
    ]
}

/// Whether a version is what was imported, to the byte. That its digest is right says less: it was
/// taken of what had been written.
fn has_bytes_of_source(engine: &Engine, version: &str) -> bool {
    static IMAGE: OnceLock<ImageId> = OnceLock::new();
    let expected = IMAGE.get_or_init(|| {
        let index = leaf_index(source(), &progress::Unwatched);
        index.expect("an index").image_id()
    });
    let row = engine.version_row(&reference(version)).expect("a version");
    row.image.as_ref() == Some(expected)
}

/// Whether every guest was personalised: it has host keys.
fn have_own_keys(engine: &Engine) -> bool {
    let rows = engine.store().read(|tx| tx.guests()).expect("rows");
    rows.iter().all(|row| !row.host_keys.is_empty())
}

/// Whether a guest that does not run has its own name inside.
fn has_own_name(engine: &Engine, guest: &str) -> bool {
    let inside = engine.read_file(&name(guest), "/etc/hostname");
    inside.is_ok_and(|text| text == format!("{guest}\n").as_bytes())
}

/// Freezes the version.
pub fn freeze(engine: &Engine) -> Result<(), EngineError> {
    let freeze = engine.submit_freeze(&reference("web"))?;
    engine.run_freeze(freeze, &Unwatched).map(drop)
}

fn frozen(engine: &Engine) -> usize {
    let row = engine.version_row(&reference("web")).expect("a version");
    engine.frozen(&row).expect("readable").len()
}

/// One with `web@1`, published and frozen.
pub fn frozen_home() -> Home {
    with(Home::published(), freeze)
}

/// Instant clones.
pub fn forks(count: u32) -> CloneSpec {
    CloneSpec {
        count: Some(count),
        instant: Some(Instant::Only),
        ..CloneSpec::default()
    }
}

fn clone_instant(engine: &Engine) -> Result<(), EngineError> {
    clone(engine, "ci", &forks(1)).map(drop)
}

fn one_stopped_fork() -> Home {
    with(frozen_home(), |e| {
        clone(e, "ci-{n}", &forks(1))?;
        e.stop(&name("ci-1"), true).map(drop)
    })
}

fn retired_and_frozen() -> Home {
    let home = Home::published();
    let engine = home.engine();
    freeze(&engine).expect("frozen");
    change(&engine, Verb::Retire).expect("retired");
    home
}

/// Its bytes stay when it goes: another version has them.
fn frozen_with_twin() -> Home {
    let home = retired_and_frozen();
    let engine = home.engine();
    let row = engine.version_row(&reference("web")).expect("a version");
    let image = row.image.expect("an image");
    let disk = home
        .path()
        .join("images")
        .join(image.as_str())
        .join("disk.raw");
    let twin = import(&engine, "twin", &disk).expect("imported");
    assert_eq!(twin.image, Some(image), "the same bytes");
    home
}

fn purge(engine: &Engine) -> Result<(), EngineError> {
    change(engine, Verb::Purge)
}

fn rotten() -> Home {
    let home = Home::published();
    let engine = home.engine();
    let image = engine
        .version_row(&reference("web"))
        .expect("a version")
        .image;
    flip_a_bit(&home.path(), image.expect("an image").as_str());
    home
}

/// Damages the disk of an image.
pub fn flip_a_bit(home: &std::path::Path, image: &str) {
    flip_a_bit_at(&home.join("images").join(image).join("disk.raw"), 70_000);
    std::fs::write(home.with_file_name(ROTTEN), "").expect("marked");
}

/// Flips a bit of a read-only disk.
pub fn flip_a_bit_at(disk: &std::path::Path, at: usize) {
    let mut bytes = std::fs::read(disk).expect("readable");
    bytes[at] ^= 1;
    // In its place: the file is read-only, its directory is not.
    std::fs::remove_file(disk).expect("removed");
    std::fs::write(disk, bytes).expect("written");
    let mut mode = std::fs::metadata(disk).expect("metadata").permissions();
    mode.set_readonly(true);
    std::fs::set_permissions(disk, mode).expect("read-only");
}

fn find_rot(engine: &Engine) -> Result<(), EngineError> {
    match verify(engine, "web@1") {
        Err(EngineError::Rot { .. }) => Ok(()),
        Ok(()) => panic!("the damage was not seen"),
        Err(error) => Err(error),
    }
}

/// How a line of a command begins that tells of something that it could not do.
pub const TOLD: &str = "told: ";

fn is_open(damage: &Damage) -> bool {
    damage.outcome == DamageOutcome::Open
}

fn scrub_rot(engine: &Engine) -> Result<(), EngineError> {
    let scrub = engine.submit_scrub(ScrubOptions::default())?;
    match engine.run_scrub(&scrub, &Unwatched) {
        Err(EngineError::Damage { .. }) => {
            // A scrub goes on past what it can't write, and tells of it as the command would.
            let report = engine.scrub_report(scrub.operation)?;
            for damage in report.damage.iter().filter(|d| is_open(d)) {
                eprintln!("{TOLD}{}", damage.why);
            }
            Ok(())
        }
        Ok(_) => panic!("the damage was not seen"),
        Err(error) => Err(error),
    }
}

fn accept(engine: &Engine) -> Result<(), EngineError> {
    for finding in findings(engine) {
        engine.accept(&reference("web"), &finding, None, "a test keeps it")?;
    }
    Ok(())
}

fn is_accepted(engine: &Engine) -> bool {
    let row = engine.version_row(&reference("web@1")).expect("a version");
    engine.open_finding_count(&row).expect("a count") == Some(0)
}

/// A build whose archive can't be reached. A whole build takes minutes: the testbed makes one.
fn failing_build(engine: &Engine) -> Result<(), EngineError> {
    let recipe = "release = \"bookworm\"\nmirror = \"http://127.0.0.1:9/debian\"\n";
    let build = engine.submit_build(&template("new"), recipe, std::path::Path::new("/"))?;
    match engine.run_build(build, &Unwatched) {
        Ok(_) => panic!("nothing listens on port 9"),
        // One that could not be kept is named, too.
        Err(error)
            if error.chain().contains("build-failed.log")
                && engine.home().join("build-failed.log").exists() => {}
        // A fault of a test.
        Err(error) => return Err(error),
    }
    let last = engine.store().read(|tx| tx.recent_operations(1))?.remove(0);
    // A fault of a test: its end could not be recorded, and is left to recovery.
    if last.state != OperationState::Running {
        let kept = last.error.unwrap_or_default();
        assert!(kept.contains("build-failed.log"), "{kept}");
    }
    Ok(())
}

const HOUR: Duration = Duration::from_secs(3600);

fn three() -> CloneSpec {
    CloneSpec {
        count: Some(3),
        start: Some(true),
        disk_size: Some(ByteSize(20 << 20)),
        extra_disks: vec![ByteSize(1 << 20)],
        ..spec()
    }
}

fn three_stopped() -> CloneSpec {
    CloneSpec {
        start: Some(false),
        ..three()
    }
}

fn full() -> CloneSpec {
    CloneSpec {
        kind: Some(CloneKind::Full),
        ..spec()
    }
}

fn plain() -> CloneSpec {
    CloneSpec {
        no_personalisation: true,
        ..spec()
    }
}

fn larger() -> Resize {
    Resize {
        cpus: Some(3),
        memory: None,
        disk_size: Some(ByteSize(24 << 20)),
    }
}

fn with(home: Home, act: impl FnOnce(&Engine) -> Result<(), EngineError>) -> Home {
    if let Err(error) = act(&home.engine()) {
        panic!("the home can't be prepared: {}", error.chain());
    }
    home
}

fn twins() -> Home {
    with(Home::draft(), |e| import(e, "twin", source()).map(drop))
}

fn sealed() -> Home {
    with(Home::draft(), |e| seal(e, "web").map(drop))
}

fn retired() -> Home {
    with(Home::published(), |e| change(e, Verb::Retire))
}

fn one_full() -> Home {
    with(Home::published(), |e| clone(e, "app", &full()).map(drop))
}

pub fn one_running() -> Home {
    with(one_guest(), |e| e.start(&name("app")).map(drop))
}

fn three_running() -> Home {
    with(Home::published(), |e| {
        clone(e, "app-{n}", &three()).map(drop)
    })
}

fn remove_three(engine: &Engine, force: bool) -> Result<(), EngineError> {
    let removal = Removal { keep: None, force };
    engine.remove_all(&["app-3", "app-1", "app-2"].map(name), removal)
}

fn one_trashed() -> Home {
    with(one_running(), |e| e.remove(&name("app"), Some(HOUR)))
}

fn rubbish() -> Home {
    with(one_trashed(), |e| change(e, Verb::Retire))
}

fn without_catalog() -> Home {
    let home = one_guest();
    lose_catalog(&home.path());
    std::fs::write(home.path().with_file_name(LOST), "").expect("marked");
    home
}

/// What could not be taken in is an error, as it is for `stampo`'s exit code.
fn rescan(engine: &Engine) -> Result<(), EngineError> {
    match engine.rescan()?.refused.into_iter().next() {
        None => Ok(()),
        Some((what, why)) => Err(EngineError::Room {
            act: format!("take in {what}"),
            source: why.into(),
        }),
    }
}

fn change(engine: &Engine, verb: Verb) -> Result<(), EngineError> {
    engine.change_version(&reference("web@1"), verb).map(drop)
}

pub fn verify(engine: &Engine, version: &str) -> Result<(), EngineError> {
    let verify = engine.submit_verify(&reference(version))?;
    engine.run_verify(verify, &Unwatched).map(drop)
}

fn flatten(engine: &Engine) -> Result<(), EngineError> {
    let flatten = engine.submit_flatten(&name("app"))?;
    engine.run_flatten(flatten, &Unwatched).map(drop)
}

fn captured(engine: &Engine) -> Result<(), EngineError> {
    capture(engine, "app").map(drop)
}

pub fn is(engine: &Engine, version: &str, state: State) -> bool {
    engine
        .version_row(&reference(version))
        .is_ok_and(|row| row.state == state)
}

pub fn state(engine: &Engine, guest: &str) -> Option<GuestState> {
    engine.guest_row(&name(guest)).ok().map(|row| row.state)
}

fn kind(engine: &Engine, guest: &str) -> Option<CloneKind> {
    engine.guest_row(&name(guest)).ok().map(|row| row.kind)
}

fn grown(engine: &Engine) -> bool {
    engine
        .guest_row(&name("app"))
        .is_ok_and(|row| row.plan.disk_size == ByteSize(24 << 20) && row.plan.hardware.cpus == 3)
}

/// The names of all complete guests.
pub fn ready(engine: &Engine) -> Vec<String> {
    let rows = engine.store().read(|tx| tx.guests()).expect("rows");
    let complete = rows.iter().filter(|row| row.state.is_complete());
    complete.map(|row| row.name.to_string()).collect()
}

fn running(engine: &Engine) -> usize {
    let rows = engine.store().read(|tx| tx.guests()).expect("rows");
    let powers = rows.iter().map(|row| engine.power(row));
    powers
        .filter(|power| matches!(power, Power::Running { .. }))
        .count()
}
