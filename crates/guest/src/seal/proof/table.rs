//! Everything that must not be in a template: the index of the table and its row type.
//!
//! A row is data: where to look, what makes it a finding, what to do about it. The rows are in
//! `table/`, one file for each area. The engine that goes through them is in `engine.rs`. The
//! table does not share a line with the seal's own: a mistake there must not repeat itself here.
//! The list follows what distributions and programs document about their state files.

mod agents;
mod network;
mod platform;
mod residue;
mod secrets;
mod system;

use super::report::Kind;

/// Grows with each change of what is looked for.
pub const EDITION: u32 = 1;

/// What makes an entry at one of a row's paths a finding. Directories never are.
#[derive(Debug, Clone, Copy)]
pub enum Test {
    /// It is there: file, link or special file.
    Absent,
    /// It is there and no link, because a link to the right place is the remedy.
    AbsentOrLink,
    /// It is a file with content.
    Empty,
    /// The function sees something in its text.
    Text(fn(&str) -> Vec<String>),
    /// The function sees something in its name.
    Name(fn(&str) -> Option<String>),
}

/// One row: something that must not be there.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// A stable name, `area.thing`.
    pub id: &'static str,
    /// What kind of thing it is.
    pub kind: Kind,
    /// What it is, in words.
    pub what: &'static str,
    /// Where: path patterns, see [`super::glob`]; `~` is every home directory.
    pub paths: &'static [&'static str],
    /// What makes it a finding.
    pub test: Test,
    /// How to mend it.
    pub remedy: &'static str,
}

const fn check(
    id: &'static str,
    kind: Kind,
    what: &'static str,
    paths: &'static [&'static str],
    test: Test,
    remedy: &'static str,
) -> Check {
    Check {
        id,
        kind,
        what,
        paths,
        test,
        remedy,
    }
}

/// Every row.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    [
        system::CHECKS,
        network::CHECKS,
        agents::CHECKS,
        platform::CHECKS,
        secrets::CHECKS,
        residue::CHECKS,
    ]
    .into_iter()
    .flatten()
}
