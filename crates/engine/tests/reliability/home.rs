//! Homes to break: a tiny real guest filesystem, imported, sealed and published once, copied often.

use libtest_mimic::Trial;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use stampo_core::hardware::Hardware;
use stampo_core::lifecycle::Verb;
use stampo_core::names::{GuestName, NamePattern, TemplateName, VersionRef};
use stampo_core::personalisation::Personalisation;
use stampo_core::plan::CloneSpec;
use stampo_driver::sim::SimDriver;
use stampo_driver::{Driver, DriverError};
use stampo_engine::{Engine, EngineError, Faults, ImportSource, Settings, Unwatched, Watch};
use stampo_guest::seal::Selection;
use stampo_store::{GuestRow, VersionRow};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use tempfile::TempDir;

/// A key that nobody has the other half of.
pub const SSH_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8f2n0vV8yHq0j3yQ0b0o2d8o2u0u6m6YV0m1p9c3rT test";

/// Beside a home: its guests are real ones.
pub const REAL: &str = "real-guests";
/// Beside a home: its catalog was taken away and has not been rebuilt yet.
pub const LOST: &str = "lost-catalog";
/// Beside a home: a test has damaged an image in it.
pub const ROTTEN: &str = "rotten-on-purpose";

/// What a Debian guest has, as far as the engine looks at it.
const FILES: [(&str, &str); 13] = [
    ("usr/lib/systemd/systemd", "x"),
    ("usr/lib/systemd/systemd-growfs", "x"),
    ("usr/sbin/sshd", "x"),
    ("usr/sbin/ifup", "x"),
    ("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n"),
    ("etc/hostname", "template\n"),
    ("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 template\n"),
    ("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
    ("etc/group", "root:x:0:\n"),
    ("etc/shadow", "root:*:19000:0:99999:7:::\n"),
    ("etc/fstab", "LABEL=root / ext4 defaults 0 1\n"),
    ("etc/machine-id", "4a1c8f0e9b7d4d5b8c6e2f3a1b0c9d8e\n"),
    ("var/log/syslog", "a line\n"),
];

/// A file of the guest whose every byte differs from what other places of a disk hold.
pub const DATA: &str = "srv/payload";

/// What is in [`DATA`].
pub fn data() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let mut bytes = vec![0; 256 << 10];
        StdRng::seed_from_u64(7).fill(bytes.as_mut_slice());
        bytes
    })
}

thread_local! {
    static IN_MEMORY: Cell<bool> = const { Cell::new(false) };
}

/// Makes the homes of `act` in memory, where there is room: for tests that make very many of them
/// and don't ask what the disk does.
pub fn in_memory<T>(act: impl FnOnce() -> T) -> T {
    const NEEDED_BYTES: u64 = 1 << 30;
    let room = rustix::fs::statvfs("/dev/shm").map(|stat| stat.f_bavail * stat.f_frsize);
    in_place(room.is_ok_and(|bytes| bytes >= NEEDED_BYTES), act)
}

fn in_place<T>(in_memory: bool, act: impl FnOnce() -> T) -> T {
    let outer = IN_MEMORY.replace(in_memory);
    let result = act();
    IN_MEMORY.set(outer);
    result
}

/// A home of its own, gone when the test ends.
pub struct Home {
    dir: TempDir,
}

impl Home {
    /// An empty one.
    pub fn empty() -> Home {
        let (place, prefix) = match IN_MEMORY.get() {
            true => (PathBuf::from("/dev/shm"), "home-in-memory-"),
            false => (std::env::temp_dir(), "stampo-"),
        };
        Home {
            dir: tempfile::Builder::new()
                .prefix(prefix)
                .tempdir_in(place)
                .expect("a temporary directory"),
        }
    }

    /// One with `web@1`, published.
    pub fn published() -> Home {
        Home::copy_of(published_home())
    }

    /// One with `web@1`, a draft.
    pub fn draft() -> Home {
        Home::copy_of(draft_home())
    }

    /// A copy of another one.
    pub fn copy_of(other: &Path) -> Home {
        let home = Home::empty();
        let status = Command::new("cp")
            .args(["-a", "--sparse=always"])
            .arg(other)
            .arg(home.path())
            .status();
        assert!(
            status.expect("cp").success(),
            "the home could not be copied"
        );
        home
    }

    /// The directory that it is in, with whatever belongs to the test.
    pub fn ground(&self) -> &Path {
        self.dir.path()
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// An engine on it that has recovered.
    pub fn engine(&self) -> Engine {
        recovered(&self.path())
    }
}

/// An engine on this home.
pub fn open(home: &Path, faults: Faults) -> Engine {
    let settings = Settings {
        // One after the other, so that the points come in the same order each time.
        parallel: 1,
        actor: "local:test".to_owned(),
        ..Settings::default()
    };
    open_with(home, faults, settings)
}

/// An engine on this home, if its catalog can be opened.
pub fn try_open(home: &Path) -> Result<Engine, EngineError> {
    let driver = SimDriver::open(&home.join("guests")).expect("a simulated driver");
    Engine::open(home, Arc::new(driver), Settings::default())
}

/// The driver of a home: a simulated one, unless it is marked.
pub fn driver(home: &Path) -> Result<Arc<dyn Driver>, DriverError> {
    let guests = home.join("guests");
    Ok(match home.with_file_name(REAL).exists() {
        true => Arc::new(crate::real::driver(&guests)?),
        false => Arc::new(SimDriver::open(&guests)?),
    })
}

/// An engine on this home with these settings.
pub fn open_with(home: &Path, faults: Faults, settings: Settings) -> Engine {
    let driver = driver(home).expect("a driver");
    Engine::open(home, driver, settings)
        .expect("an engine")
        .with_faults(faults)
        .with_installer(Arc::new(crate::system::SmallSystem))
}

/// An engine on this home that has recovered.
pub fn recovered(home: &Path) -> Engine {
    let engine = open(home, Faults::default());
    engine.recover().expect("recovery");
    engine
}

/// For a child: where the filesystem is that its parent made.
pub const SOURCE: &str = "STAMPO_TEST_SOURCE";

/// The guest's filesystem that is imported everywhere, made once. Never changed.
pub fn source() -> &'static Path {
    static GIVEN: OnceLock<Option<PathBuf>> = OnceLock::new();
    let given = GIVEN.get_or_init(|| std::env::var_os(SOURCE).map(PathBuf::from));
    if let Some(path) = given {
        return path;
    }
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = Home::empty().dir;
        let path = dir.path().join("source.raw");
        make_filesystem(&path, &[]);
        share(dir);
        path
    })
}

/// A guest's filesystem with these files besides the usual ones.
pub fn make_filesystem(path: &Path, more: &[(&str, &str)]) {
    let tree = tempfile::tempdir().expect("a temporary directory");
    for (name, content) in FILES.iter().chain(more) {
        let file = tree.path().join(name);
        fs::create_dir_all(file.parent().expect("a parent")).expect("make a directory");
        fs::write(file, content).expect("write a file");
    }
    for name in ["root", "home", "tmp", "run", "var/lib", "srv"] {
        fs::create_dir_all(tree.path().join(name)).expect("make a directory");
    }
    fs::write(tree.path().join(DATA), data()).expect("write a file");
    // Made first: mke2fs says so when it has to.
    let file = fs::File::create_new(path).expect("make a file");
    file.set_len(16 << 20).expect("a sparse file");
    let status = Command::new("mke2fs")
        .args([
            "-q",
            "-F",
            "-t",
            "ext4",
            "-L",
            "root",
            "-E",
            "root_owner=0:0",
        ])
        .args(["-d".as_ref(), tree.path().as_os_str()])
        .arg(path)
        .status();
    let status = status.expect("mke2fs can't be started: apt install e2fsprogs");
    assert!(status.success(), "mke2fs failed");
}

/// Directories that all tests share. Statics are never dropped, so [`remove_shared`] does it.
static SHARED: Mutex<Vec<TempDir>> = Mutex::new(Vec::new());

fn share(dir: TempDir) {
    SHARED.lock().expect("nobody panics").push(dir);
}

/// Removes what all tests shared, once they have ended.
pub fn remove_shared() {
    SHARED.lock().expect("nobody panics").clear();
}

fn draft_home() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let home = Home::empty();
        import(&home.engine(), "web", source()).expect("imported");
        let path = home.path();
        share(home.dir);
        path
    })
}

fn published_home() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let home = Home::draft();
        let engine = home.engine();
        seal(&engine, "web").expect("sealed");
        publish(&engine, "web").expect("published");
        drop(engine);
        let path = home.path();
        share(home.dir);
        path
    })
}

/// The files of a catalog.
pub const CATALOG: [&str; 3] = ["catalog.db", "catalog.db-wal", "catalog.db-shm"];

/// Takes the catalog away; nothing works on the home.
pub fn lose_catalog(home: &Path) {
    for name in CATALOG {
        let _ = fs::remove_file(home.join(name));
    }
}

pub fn name(text: &str) -> GuestName {
    text.parse().expect("a guest's name")
}

pub fn reference(text: &str) -> VersionRef {
    text.parse().expect("a version")
}

pub fn template(text: &str) -> TemplateName {
    text.parse().expect("a template's name")
}

/// A raw file as it is imported.
pub fn import_source(path: &Path) -> ImportSource {
    ImportSource {
        source: path.display().to_string(),
        format: "raw".to_owned(),
        sha256: None,
        hardware: Hardware::default(),
    }
}

pub fn import(engine: &Engine, to: &str, path: &Path) -> Result<VersionRow, EngineError> {
    let import = engine.submit_import(&template(to), import_source(path))?;
    engine.run_import(import, &Unwatched)
}

pub fn seal(engine: &Engine, version: &str) -> Result<VersionRow, EngineError> {
    let seal = engine.submit_seal(&reference(version), Selection::default())?;
    engine.run_seal(seal, &Unwatched)
}

pub fn publish(engine: &Engine, version: &str) -> Result<VersionRow, EngineError> {
    engine.change_version(&reference(version), Verb::Publish)
}

/// Clones that are personalised, with what every user gives.
pub fn spec() -> CloneSpec {
    CloneSpec {
        start: Some(false),
        personalisation: Personalisation {
            ssh_authorized_keys: vec![SSH_KEY.to_owned()],
            ..Personalisation::default()
        },
        ..CloneSpec::default()
    }
}

pub fn clone(
    engine: &Engine,
    pattern: &str,
    spec: &CloneSpec,
) -> Result<Vec<GuestRow>, EngineError> {
    clone_watched(engine, pattern, spec, &Unwatched)
}

/// What this guest has become, as `golden`.
pub fn capture(engine: &Engine, guest: &str) -> Result<VersionRow, EngineError> {
    let template: TemplateName = "golden".parse().expect("a name");
    let capture = engine.submit_capture(&name(guest), &template)?;
    engine.run_capture(capture, &Unwatched)
}

pub fn clone_watched(
    engine: &Engine,
    pattern: &str,
    spec: &CloneSpec,
    watch: &dyn Watch,
) -> Result<Vec<GuestRow>, EngineError> {
    clone_of(engine, "web", pattern, spec, watch)
}

pub fn clone_of(
    engine: &Engine,
    version: &str,
    pattern: &str,
    spec: &CloneSpec,
    watch: &dyn Watch,
) -> Result<Vec<GuestRow>, EngineError> {
    let pattern = NamePattern::new(pattern);
    let (operation, _) = engine.submit_clone(&reference(version), &pattern, spec)?;
    engine.clone_guests(operation.id, watch)
}

/// A home with one linked clone that does not run, `app`.
pub fn one_guest() -> Home {
    let home = Home::published();
    clone(&home.engine(), "app", &spec()).expect("cloned");
    home
}

/// A home with `web@1`, sealed, with an identity item that was kept and so is found.
pub fn sealed_with_finding() -> Home {
    let home = Home::empty();
    let source = home.dir.path().join("source.raw");
    make_filesystem(
        &source,
        &[
            ("usr/sbin/iscsid", "x"),
            (
                "etc/iscsi/initiatorname.iscsi",
                "InitiatorName=iqn.1993-08.org.debian:01:5f0a3c9e1b2d\n",
            ),
        ],
    );
    let engine = home.engine();
    import(&engine, "web", &source).expect("imported");
    let selection = Selection {
        keep: vec!["/etc/iscsi".to_owned()],
        ..Selection::default()
    };
    let seal = engine
        .submit_seal(&reference("web"), selection)
        .expect("submitted");
    engine.run_seal(seal, &Unwatched).expect("sealed");
    drop(engine);
    home
}

/// The ids of what the proof of `web@1` found.
pub fn findings(engine: &Engine) -> Vec<String> {
    findings_of(engine, "web@1")
}

/// The ids of what the proof of a version found.
pub fn findings_of(engine: &Engine, version: &str) -> Vec<String> {
    let row = engine.version_row(&reference(version)).expect("a version");
    let proof = row.proof.expect("a proof");
    let found = proof["findings"].as_array().expect("a list").iter();
    found
        .map(|finding| finding["id"].as_str().expect("an id").to_owned())
        .collect()
}

/// A test that is a function.
pub fn trial(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}
