//! A home that is put back to how it was before a command, again and again.
//!
//! It is always at the same path, since definitions and overlays hold paths. It lies in memory
//! where there is room: a killed process loses nothing that it wrote, so a disk would add only
//! waiting.

use super::child::command;
use super::tracer::{self, Traced};
use crate::cases::Case;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::home::{Home, recovered};
use crate::power::Expected;

/// The place where a case is repeated.
pub struct Stage {
    /// The home that the commands work on.
    pub home: Home,
    /// The same before the command.
    prepared: PathBuf,
    /// What the catalog says before the command.
    pub expected: Expected,
}

impl Stage {
    /// Prepares the case's home.
    pub fn of(case: &Case) -> Stage {
        let home = (case.prepare)();
        let prepared = home.path().with_file_name("prepared");
        // The home of a command that makes the home is not there yet.
        fs::create_dir_all(home.path()).expect("a directory");
        copy(&home.path(), &prepared);
        let expected = Expected::of(&home);
        let stage = Stage {
            home,
            prepared,
            expected,
        };
        // Opening it has changed it.
        stage.reset();
        stage
    }

    /// Carries out the case's command without a fault; all of its calls.
    pub fn undisturbed(&self, case: &Case) -> Traced {
        let mut child = command(case.name, &self.home.path());
        let all = tracer::run(&mut child, &self.said(), &|_| None, true);
        let (name, said) = (case.name, &all.said);
        assert!(all.succeeded(), "{name} does not succeed: {said}");
        all
    }

    /// Fails unless a command that is not done has changed nothing that the catalog tells of.
    pub fn check_absent(&self, case: &Case, is_done: bool, what: &str) {
        if !is_done {
            let engine = recovered(&self.home.path());
            self.expected.check_absent(case, &engine, what);
        }
    }

    /// Puts the home back.
    pub fn reset(&self) {
        fs::remove_dir_all(self.home.path()).expect("the last home goes");
        copy(&self.prepared, &self.home.path());
    }

    /// A file beside the home, for what a child says.
    pub fn said(&self) -> PathBuf {
        self.home.path().with_file_name("said")
    }

    /// How many bytes the home takes on disk, the catalog left out: it keeps the room it had once.
    pub fn allocated_bytes(&self) -> u64 {
        allocated_bytes(&self.home.path())
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp")
        .args(["-a", "--sparse=always"])
        .args([from, to])
        .status();
    assert!(
        status.expect("cp").success(),
        "the home could not be copied"
    );
}

fn allocated_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).expect("a directory");
    let size = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.expect("an entry");
        let found = entry.metadata().expect("metadata");
        let name = entry.file_name();
        if found.is_dir() {
            allocated_bytes(&entry.path())
        } else if name.to_string_lossy().starts_with("catalog.db") {
            0
        } else {
            found.blocks() * 512
        }
    };
    entries.map(size).sum()
}
