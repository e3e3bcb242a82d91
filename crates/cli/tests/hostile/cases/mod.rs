//! Hostile disks: a name, how each is made, and how it has to end.
//!
//! The rows are grouped by what is hostile in them.

mod kinds;
mod links;
mod metadata;
mod sizes;
mod tables;
mod texts;

use crate::chain::Step;
use crate::tree::Tree;
use std::fs::File;
use std::path::Path;

/// How a case has to end.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// Every command works, and the clone is right.
    Cloned,
    /// This command is refused, and says this.
    Refused(Step, &'static str),
}

/// How a disk is made.
enum Make {
    /// From a tree with something hostile in it.
    Tree(fn(&mut Tree)),
    /// From the disk of a friendly guest.
    Disk(fn(&File)),
    /// From nothing.
    File(fn(&File)),
}

/// One hostile disk.
pub struct Case {
    pub name: &'static str,
    pub format: &'static str,
    make: Make,
    pub end: End,
    /// Files of the clone, and what each has to contain.
    pub holds: &'static [(&'static str, &'static str)],
}

impl Case {
    /// Makes the disk at `path`.
    pub fn make(&self, outside: &Path, path: &Path) {
        let mut tree = Tree::friendly(outside);
        let open = || {
            File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
        };
        match self.make {
            Make::Tree(trap) => {
                trap(&mut tree);
                tree.into_disk(path);
            }
            Make::Disk(change) => {
                tree.into_disk(path);
                change(&open().expect("the disk"));
            }
            Make::File(fill) => fill(&open().expect("a file")),
        }
    }
}

/// All of them.
pub fn all() -> Vec<Case> {
    let groups = [
        friendly(),
        links::cases(),
        kinds::cases(),
        sizes::cases(),
        texts::cases(),
        metadata::cases(),
        tables::cases(),
    ];
    groups.into_iter().flatten().collect()
}

/// The measure of all others.
fn friendly() -> Vec<Case> {
    vec![tree("a friendly guest", End::Cloned, |_| {})]
}

const fn refused(step: Step, why: &'static str) -> End {
    End::Refused(step, why)
}

fn tree(name: &'static str, end: End, trap: fn(&mut Tree)) -> Case {
    Case {
        name,
        format: "raw",
        make: Make::Tree(trap),
        end,
        holds: &[],
    }
}

fn disk(name: &'static str, end: End, change: fn(&File)) -> Case {
    Case {
        name,
        format: "raw",
        make: Make::Disk(change),
        end,
        holds: &[],
    }
}

fn file(name: &'static str, format: &'static str, end: End, fill: fn(&File)) -> Case {
    Case {
        name,
        format,
        make: Make::File(fill),
        end,
        holds: &[],
    }
}

impl Case {
    /// The same, and this is in the clone.
    fn holds(self, holds: &'static [(&'static str, &'static str)]) -> Case {
        Case { holds, ..self }
    }
}
