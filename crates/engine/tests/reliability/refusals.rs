//! Bad input of every kind: refused with its reason before anything is made.

use crate::clean::assert_clean;
use crate::home::*;
use stampo_core::goal::CloneKind;
use stampo_core::hardware::Hardware;
use stampo_core::lifecycle::{State, Verb};
use stampo_core::names::NamePattern;
use stampo_core::plan::{CloneSpec, PlanRefusal};
use stampo_core::size::ByteSize;
use stampo_engine::{Engine, EngineError, GuestCommand, ImportSource, Resize, Streams};
use stampo_guest::seal::Selection;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

type Ask = fn(&Engine) -> Result<(), EngineError>;

/// What is asked, of a home with web@1 (published), draft@1, and the guests `app` (linked, running),
/// `full` (stopped) and `gone` (removed with a grace time); and words of the answer.
const REFUSED: [(&str, Ask, &str); 39] = [
    (
        "import of nothing",
        |e| import_as(e, |s| s.source = "/nonexistent".into()),
        "read /nonexistent",
    ),
    (
        "import of a directory",
        |e| import_as(e, |s| s.source = "/".into()),
        "not a regular file",
    ),
    (
        "import of another format",
        |e| import_as(e, |s| s.format = "vmdk".into()),
        "qcow2 or raw",
    ),
    (
        "import with a short sum",
        |e| import_as(e, |s| s.sha256 = Some("12".into())),
        "import",
    ),
    (
        "import without processors",
        |e| import_as(e, |s| s.hardware.cpus = 0),
        "processor",
    ),
    (
        "import with a wrong sum",
        |e| import_as(e, |s| s.sha256 = Some("0".repeat(64))),
        "SHA-256",
    ),
    (
        "build of nonsense",
        |e| build(e, "nonsense ="),
        "read the recipe",
    ),
    (
        "build with an unknown key",
        |e| build(e, "colour = \"red\""),
        "colour",
    ),
    (
        "build from nothing",
        |e| build(e, "from = \"nothing@1\""),
        "nothing",
    ),
    (
        "build from an import",
        |e| build(e, "from = \"web@1\""),
        "imported",
    ),
    (
        "seal of nothing",
        |e| seal(e, "nothing").map(drop),
        "find template nothing",
    ),
    (
        "seal of a published version",
        |e| seal(e, "web@1").map(drop),
        "published",
    ),
    (
        "seal of unknown items",
        |e| seal_only(e, "nonsense"),
        "nonsense",
    ),
    (
        "publish of a draft",
        |e| publish(e, "draft@1").map(drop),
        "draft",
    ),
    (
        "publish twice",
        |e| publish(e, "web@1").map(drop),
        "published",
    ),
    (
        "purge of a published version",
        |e| change(e, "web@1", Verb::Purge),
        "published",
    ),
    (
        "purge of a version that is not there",
        |e| change(e, "web@7", Verb::Purge),
        "web@7",
    ),
    (
        "restore of a draft",
        |e| change(e, "draft@1", Verb::Restore),
        "draft",
    ),
    (
        "accept without a reason",
        |e| e.accept(&reference("web"), "x", None, " ").map(drop),
        "reason",
    ),
    (
        "accept of nothing",
        |e| e.accept(&reference("web"), "x", None, "y").map(drop),
        "finding x",
    ),
    ("clone of a draft", |e| clone_of(e, "draft@1"), "draft"),
    ("clone of nothing", |e| clone_of(e, "nothing"), "nothing"),
    (
        "no clones",
        |e| clone_as(e, |s| s.count = Some(0)),
        "1 to 1000",
    ),
    (
        "too many clones",
        |e| clone_as(e, |s| s.count = Some(1001)),
        "1 to 1000",
    ),
    (
        "clone of a taken name",
        |e| clone(e, "app", &spec()).map(drop),
        "app",
    ),
    (
        "clone of a bad name",
        |e| clone(e, "a b", &spec()).map(drop),
        "a b",
    ),
    (
        "clones of one name",
        |e| clone(e, "x", &two()).map(drop),
        "{n}",
    ),
    (
        "a smaller disk",
        |e| clone_as(e, |s| s.disk_size = Some(ByteSize(1 << 20))),
        "shrink",
    ),
    (
        "an odd disk",
        |e| clone_as(e, |s| s.disk_size = Some(ByteSize((17 << 20) + 1))),
        "MiB",
    ),
    (
        "a huge further disk",
        |e| clone_as(e, |s| s.extra_disks = vec![ByteSize(1 << 60)]),
        "64 TiB",
    ),
    (
        "no memory",
        |e| clone_as(e, |s| s.memory = Some(ByteSize(1))),
        "memory",
    ),
    (
        "a bad key",
        |e| {
            clone_as(e, |s| {
                s.personalisation.ssh_authorized_keys = vec!["x".into()]
            })
        },
        "key",
    ),
    (
        "rename to a taken name",
        |e| e.rename(&name("app"), &name("full")).map(drop),
        "full exists",
    ),
    (
        "resize of a running guest",
        |e| e.resize(&name("app"), Resize::default()).map(drop),
        "stop it",
    ),
    (
        "a disk that shrinks",
        |e| resize(e, ByteSize(1 << 20)),
        "shrink",
    ),
    (
        "flatten of a full clone",
        |e| e.submit_flatten(&name("full")).map(drop),
        "full clone already",
    ),
    (
        "restore of a guest that is there",
        |e| e.restore_guest(&name("app")).map(drop),
        "trashed",
    ),
    (
        "start of a removed guest",
        |e| e.start(&name("gone")).map(drop),
        "trashed",
    ),
    (
        "a relative path",
        |e| e.write_file(&name("full"), "etc/x", b""),
        "absolute path",
    ),
];

fn import_as(engine: &Engine, change: fn(&mut ImportSource)) -> Result<(), EngineError> {
    let mut source = import_source(source());
    source.hardware = Hardware::default();
    change(&mut source);
    let import = engine.submit_import(&template("new"), source)?;
    engine
        .run_import(import, &stampo_engine::Unwatched)
        .map(drop)
}

fn build(engine: &Engine, recipe: &str) -> Result<(), EngineError> {
    engine
        .submit_build(&template("new"), recipe, Path::new("/"))
        .map(drop)
}

fn seal_only(engine: &Engine, item: &str) -> Result<(), EngineError> {
    let selection = Selection {
        only: vec![item.to_owned()],
        ..Selection::default()
    };
    engine.submit_seal(&reference("draft"), selection).map(drop)
}

fn change(engine: &Engine, version: &str, verb: Verb) -> Result<(), EngineError> {
    engine.change_version(&reference(version), verb).map(drop)
}

fn clone_as(engine: &Engine, change: fn(&mut CloneSpec)) -> Result<(), EngineError> {
    let mut spec = spec();
    change(&mut spec);
    clone(engine, "new-{n}", &spec).map(drop)
}

fn clone_of(engine: &Engine, version: &str) -> Result<(), EngineError> {
    let pattern = stampo_core::names::NamePattern::new("new");
    engine
        .submit_clone(&reference(version), &pattern, &spec())
        .map(drop)
}

fn two() -> CloneSpec {
    CloneSpec {
        count: Some(2),
        ..spec()
    }
}

fn resize(engine: &Engine, size: ByteSize) -> Result<(), EngineError> {
    let to = Resize {
        disk_size: Some(size),
        ..Resize::default()
    };
    engine.resize(&name("full"), to).map(drop)
}

fn home() -> Home {
    let home = Home::published();
    let engine = home.engine();
    import(&engine, "draft", source()).expect("imported");
    let start = |start, kind| CloneSpec {
        start: Some(start),
        kind: Some(kind),
        ..spec()
    };
    clone(&engine, "app", &start(true, CloneKind::Linked)).expect("cloned");
    clone(&engine, "full", &start(false, CloneKind::Full)).expect("cloned");
    clone(&engine, "gone", &start(false, CloneKind::Linked)).expect("cloned");
    engine
        .remove(&name("gone"), Some(Duration::from_secs(3600)))
        .expect("removed");
    drop(engine);
    home
}

/// Every file outside of the catalog with its size, and every row.
fn everything(home: &Path, engine: &Engine) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![home.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory") {
            let entry = entry.expect("an entry");
            let path = entry.path();
            let meta = entry.metadata().expect("metadata");
            if meta.is_dir() {
                waiting.push(path);
            } else if !path.to_string_lossy().contains("catalog.db") {
                found.insert(path.display().to_string(), meta.len().to_string());
            }
        }
    }
    let rows = |what: &str, text: String| (what.to_owned(), text);
    let versions = engine.store().read(|tx| tx.versions()).expect("rows");
    let guests = engine.store().read(|tx| tx.guests()).expect("rows");
    let templates = engine.store().read(|tx| tx.templates()).expect("rows");
    found.extend([
        rows("versions", format!("{versions:?}")),
        rows("guests", format!("{guests:?}")),
        rows("templates", format!("{templates:?}")),
    ]);
    found
}

pub fn bad_input_is_refused_before_anything_is_made() {
    let home = home();
    let engine = home.engine();
    let before = everything(&home.path(), &engine);
    let operations = |e: &Engine| {
        e.store()
            .read(|tx| tx.recent_operations(1000))
            .expect("rows")
            .len()
    };
    for (what, ask, words) in REFUSED {
        let count = operations(&engine);
        let error = match ask(&engine) {
            Err(error) => error.chain(),
            Ok(()) => panic!("{what}: accepted"),
        };
        assert!(
            error.contains(words),
            "{what}: {error:?} does not say {words:?}"
        );
        assert_eq!(everything(&home.path(), &engine), before, "{what}");
        // A checksum needs the whole file to be read: that import is an operation that failed.
        if what != "import with a wrong sum" {
            assert_eq!(operations(&engine), count, "{what}: it left an operation");
        }
    }
    drop(engine);
    assert_clean(&home.path(), "after all refusals");
}

/// What an interrupted import downloaded stays for the next try, until it is collected.
pub fn an_interrupted_download_is_collected() {
    let home = home();
    let engine = home.engine();
    let part = home.path().join("downloads/0123abcd.part");
    std::fs::create_dir_all(part.parent().expect("a parent")).expect("made");
    std::fs::write(&part, "half").expect("written");
    engine.gc(false).expect("collected");
    assert!(part.exists(), "it may still be gone on with");
    engine.gc(true).expect("collected");
    assert!(!part.exists(), "it stays for ever");
}

pub fn a_base_with_linked_clones_is_refused_with_their_names() {
    let home = home();
    let engine = home.engine();
    change(&engine, "web@1", Verb::Retire).expect("retired");
    let error = change(&engine, "web@1", Verb::Purge).expect_err("it is read");
    let EngineError::HasLinkedClones { clones, .. } = &error else {
        panic!("{error:?}");
    };
    let clones: Vec<&str> = clones.iter().map(|name| name.as_str()).collect();
    assert_eq!(clones, ["app", "gone"]);
    let streams = Streams {
        stdin: None,
        stdin_first: false,
        stdout: &mut std::io::sink(),
        stderr: &mut std::io::sink(),
        signal: &mut || None,
    };
    let error = engine.exec(&name("app"), &GuestCommand::default(), streams);
    let error = error.expect_err("no program");
    assert!(matches!(error, EngineError::Usage { .. }), "{error:?}");
}

/// Not "the image is missing": it is not there yet.
pub fn a_version_that_is_being_made_is_refused_for_its_state() {
    let home = home();
    let engine = home.engine();
    engine
        .submit_import(&template("web"), import_source(source()))
        .expect("submitted");
    let one = NamePattern::new("one");
    let error = engine
        .plan_clones(&reference("web@2"), &one, &spec())
        .expect_err("it is building");
    let refusal = PlanRefusal::NotClonable {
        label: "web@2".to_owned(),
        state: State::Building,
        advice: String::new(),
    };
    assert!(
        matches!(&error, EngineError::Plan(found) if *found == refusal),
        "{error:?}"
    );
}
