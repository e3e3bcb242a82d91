//! One real build from the archive, and a second one from the first one's lock.
//!
//! Slow (about a minute each on an idle machine) and the only test here that needs the network.
//! With `STAMPO_TESTBED` set to a directory, the first build's disk and lock stay there as
//! `built/disk.raw` and `built/packages.lock`, for tests that need a real Debian guest.

use stampo_build::{BuildProgress, Built, Loaded, Mmdebstrap, PackageLock, Phase, Recipe, build};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

/// Remembers the phases, and cancels in one of them.
struct Watch {
    phases: Mutex<Vec<Phase>>,
    cancel_in: Option<Phase>,
}

impl Watch {
    fn new(cancel_in: Option<Phase>) -> Self {
        Watch {
            phases: Mutex::new(Vec::new()),
            cancel_in,
        }
    }
}

impl BuildProgress for Watch {
    fn phase(&self, phase: Phase) {
        self.phases.lock().expect("no panic").push(phase);
    }
    fn detail(&self, _: &str) {}
    fn is_cancelled(&self) -> bool {
        let phases = self.phases.lock().expect("no panic");
        self.cancel_in.is_some_and(|phase| phases.contains(&phase))
    }
}

fn web() -> Recipe {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/web.toml");
    Loaded::from_path(&path).expect("examples/web.toml").recipe
}

fn build_in(recipe: &Recipe, staging: &Path) -> Built {
    std::fs::create_dir_all(staging).expect("a directory");
    let watch = Watch::new(None);
    let built = build(recipe, staging, &Mmdebstrap, &watch)
        .unwrap_or_else(|error| panic!("failed to {error}"));
    let phases = watch.phases.into_inner().expect("no panic");
    assert_eq!(phases, Phase::ALL, "every phase is told once, in order");
    built
}

/// Whether two files hold the same bytes, without holding both in memory.
fn same(one: &Path, two: &Path) -> bool {
    let open = |path: &Path| File::open(path).expect("a disk");
    let (mut one, mut two) = (open(one), open(two));
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let length = one.read(&mut a).expect("readable");
        if two.read_exact(&mut b[..length]).is_err() || a[..length] != b[..length] {
            return false;
        }
        if length == 0 {
            return two.read(&mut b).expect("readable") == 0;
        }
    }
}

#[test]
fn a_repeated_build_gives_the_same_disk() {
    let start = Instant::now();
    let dir = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let kept = std::env::var_os("STAMPO_TESTBED").map(|place| PathBuf::from(place).join("built"));
    let place = kept.clone().unwrap_or_else(|| dir.path().join("one"));
    let recipe = web();
    let one = build_in(&recipe, &place);
    // Past the capture of a passing test's output: the time is what people look for here.
    let _ = writeln!(
        std::io::stderr(),
        "built in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    std::fs::write(place.join("packages.lock"), one.lock.to_toml()).expect("a file");
    assert!(
        one.package_list
            .iter()
            .any(|package| package.name == "nginx-light")
    );
    let text = std::fs::read_to_string(place.join("packages.lock")).expect("a file");
    let lock = PackageLock::from_toml(&text).expect("a lock");
    let again = Recipe {
        lock: Some(lock),
        ..recipe
    };
    let two = build_in(&again, &dir.path().join("two"));
    assert_eq!(
        one.tree_digest, two.tree_digest,
        "something else was installed"
    );
    assert_eq!(one.lock, two.lock);
    assert!(
        same(&one.disk, &two.disk),
        "the same tree became other bytes"
    );
}

#[test]
fn a_package_that_does_not_exist_is_named_and_nothing_stays() {
    let dir = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let mut recipe = web();
    recipe.packages.insert("no-such-package".to_owned());
    let watch = Watch::new(None);
    let error = build(&recipe, dir.path(), &Mmdebstrap, &watch)
        .expect_err("must fail")
        .to_string();
    assert!(
        error.contains("find the package \"no-such-package\""),
        "{error}"
    );
    assert!(!dir.path().join("disk.raw").exists());
}

#[test]
fn a_build_that_is_cancelled_while_packages_are_installed_ends_soon() {
    let dir = tempfile::tempdir_in("/var/tmp").expect("a directory");
    let watch = Watch::new(Some(Phase::Essential));
    let error = build(&web(), dir.path(), &Mmdebstrap, &watch)
        .expect_err("must be cancelled")
        .to_string();
    assert!(error.contains("cancelled"), "{error}");
    assert!(!dir.path().join("disk.raw").exists());
    let phases = watch.phases.into_inner().expect("no panic");
    assert_eq!(phases.last(), Some(&Phase::Essential), "nothing went on");
}
