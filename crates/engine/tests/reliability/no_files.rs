//! Something else than a file where the store has a small file: nothing waits for it, and it is
//! told.

use crate::home::*;
use crate::rot::scrub;
use stampo_engine::{DamageOutcome, Engine};
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

/// Far more than any of this takes.
const LIMIT: Duration = Duration::from_secs(60);

/// What is put in the place of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thing {
    Pipe,
    Socket,
    Link,
    Directory,
}

const THINGS: [Thing; 4] = [Thing::Pipe, Thing::Socket, Thing::Link, Thing::Directory];

impl Thing {
    /// Puts it in the place of the file at `path`.
    fn replace(self, path: &Path) {
        let aside = path.with_file_name("aside");
        fs::rename(path, &aside).expect("moved");
        match self {
            Thing::Pipe => {
                let mode = rustix::fs::Mode::from_raw_mode(0o600);
                rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).expect("a FIFO");
            }
            Thing::Socket => {
                // Made elsewhere: the path of a socket has at most 107 bytes.
                let dir = tempfile::tempdir().expect("a directory");
                let short = dir.path().join("s");
                drop(UnixListener::bind(&short).expect("a socket"));
                let moved = Command::new("mv").args([&*short, path]).status();
                assert!(moved.expect("mv").success());
            }
            Thing::Link => std::os::unix::fs::symlink(&aside, path).expect("a link"),
            Thing::Directory => fs::create_dir(path).expect("a directory"),
        }
    }
}

/// What `act` gives; fails when it takes too long, as one that waits for a pipe does.
fn in_time<T: Send + 'static>(what: &str, act: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(act()));
    match told.recv_timeout(LIMIT) {
        Ok(value) => value,
        Err(error) => panic!("{what}: it waits, or it failed: {error}"),
    }
}

/// The small files that can be replaced: the leaf index, the version's sidecar, the guest's.
fn small_files(engine: &Engine) -> [PathBuf; 3] {
    let row = engine.version_row(&reference("web")).expect("a version");
    let guest = engine.guest_row(&name("app")).expect("a guest");
    let image = engine.home().join("images").join(guest.image.as_str());
    let guest = engine.home().join("guests").join(guest.id.to_string());
    [
        image.join("leaves.bin"),
        image.join(format!("version-{}.json", row.id)),
        guest.join("guest.json"),
    ]
}

/// A scrub writes the file anew, or says what to look at where something else is in the way.
pub fn a_scrub_waits_for_no_pipe_and_tells_what_is_no_file() {
    for thing in THINGS {
        for at in 0..3 {
            let home = one_guest();
            let engine = home.engine();
            let path = small_files(&engine)[at].clone();
            let what = format!("{thing:?} at {}", path.display());
            thing.replace(&path);
            let report = in_time(&what, move || scrub(&engine)).expect("a report");
            let [damage] = &report.damage[..] else {
                panic!("{what}: {report:?}");
            };
            assert_eq!(damage.path, path, "{what}");
            if thing == Thing::Directory {
                assert_eq!(damage.outcome, DamageOutcome::Open, "{what}");
                assert!(damage.remedy.contains("look at"), "{what}: {damage:?}");
            } else {
                assert_eq!(damage.outcome, DamageOutcome::Mended, "{what}");
                let report = scrub(&home.engine()).expect("a report");
                assert_eq!(report.damage, [], "{what}");
            }
        }
    }
}

/// Recovery and a rescan of a home whose catalog is lost read the sidecars, too.
pub fn a_rescan_waits_for_no_pipe_and_refuses_what_is_no_file() {
    for thing in THINGS {
        for at in [1, 2] {
            let home = one_guest();
            let path = small_files(&home.engine())[at].clone();
            let what = format!("{thing:?} at {}", path.display());
            thing.replace(&path);
            lose_catalog(&home.path());
            let place = home.path();
            let found = in_time(&what, move || recovered(&place).rescan()).expect("a rescan");
            let shown = path.display().to_string();
            let why = found.refused.iter().find(|(path, _)| *path == shown);
            let (_, why) = why.unwrap_or_else(|| panic!("{what}: {found:?}"));
            let told = ["no regular file", "symbolic link"];
            assert!(told.iter().any(|part| why.contains(part)), "{what}: {why}");
        }
    }
}
