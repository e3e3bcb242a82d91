//! The plan of a sealing: pure data, made by reading only, with no choice left for `apply`.
//!
//! A plan can be printed (`--dry-run`) and stored. It holds sizes and names, never a secret:
//! the new content of files is in it for `apply`, but neither its `Debug` nor its serialised form
//! shows it. What makes a plan is in `planner.rs`.

use crate::fs::Owner;
use serde::Serialize;
use std::fmt;

/// Everything that one sealing will do, and what it will not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SealPlan {
    /// What is done, in this order.
    pub changes: Vec<Change>,
    /// What rows matched but are not done, with the reason.
    pub skipped: Vec<Skipped>,
    /// What a person has to know, because sealing cannot mend it.
    pub notices: Vec<Notice>,
}

/// One change at one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The row's id.
    pub item: &'static str,
    /// The path in the guest.
    pub path: String,
    /// The row's action, in one word.
    pub action: &'static str,
    /// What is there now.
    pub before: State,
    /// What will be there.
    pub after: State,
    /// What `apply` does.
    #[serde(skip)]
    pub(super) step: Step,
    /// Whether the bytes that go must not be found on the disk afterwards.
    #[serde(skip)]
    pub(super) secret: bool,
}

/// What is at a path, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum State {
    /// Nothing.
    Absent,
    /// A regular file.
    File {
        /// Its content in bytes.
        size_bytes: u64,
    },
    /// A directory with everything below it.
    Directory {
        /// How many entries are below it.
        entries: u64,
        /// The content of all files below it, in bytes.
        size_bytes: u64,
    },
    /// A symbolic link.
    Link {
        /// Where it points to.
        target: String,
    },
    /// A FIFO, a socket or a device.
    Special,
}

/// What was matched and is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The row's id.
    pub item: &'static str,
    /// The path in the guest.
    pub path: String,
    /// Why.
    pub why: &'static str,
}

/// What sealing found and cannot mend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// The row's id.
    pub item: &'static str,
    /// The path in the guest; empty where it is about the guest as a whole.
    pub path: String,
    /// What was found; never a secret.
    pub detail: String,
    /// What to do.
    pub remedy: &'static str,
}

/// One act of `apply`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Remove a file, link or special file.
    Remove,
    /// Remove a directory and all below it.
    RemoveTree,
    /// Put a regular file there, with missing parents (root:root 0755).
    Write(Content, Owner),
    /// Put a link there, with missing parents (root:root 0755).
    Symlink(String),
}

/// Bytes that no log and no plan shows.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Content(pub(super) Vec<u8>);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

impl SealPlan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Absent => write!(f, "nothing"),
            State::File { size_bytes } => write!(f, "{size_bytes} bytes"),
            State::Directory {
                entries,
                size_bytes,
            } => write!(f, "{entries} entries, {size_bytes} bytes"),
            State::Link { target } => write!(f, "link to {}", printable(target)),
            State::Special => write!(f, "a special file"),
        }
    }
}

/// One line: `-` for what goes, `+` for what is new, `~` for what changes.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (&self.before, &self.after) {
            (_, State::Absent) => '-',
            (State::Absent, _) => '+',
            _ => '~',
        };
        write!(f, "{sign} {}  ({}", printable(&self.path), self.before)?;
        if self.after != State::Absent {
            write!(f, " → {}", self.after)?;
        }
        write!(f, ")  {}: {}", self.item, self.action)
    }
}

/// The diff that `--dry-run` prints.
impl fmt::Display for SealPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        for skipped in &self.skipped {
            writeln!(
                f,
                "  {}  {}: left, {}",
                printable(&skipped.path),
                skipped.item,
                skipped.why
            )?;
        }
        for notice in &self.notices {
            let path = printable(&notice.path);
            writeln!(
                f,
                "! {path}  {}: {}; {}",
                notice.item, notice.detail, notice.remedy
            )?;
        }
        Ok(())
    }
}

/// A guest's path without anything that a terminal would obey.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_form_of_a_plan_shows_new_content_or_obeys_a_hostile_name() {
        let change = Change {
            item: "root-password",
            path: "/etc/sh\u{1b}[2Jadow".into(),
            action: "rewrite",
            before: State::File { size_bytes: 9 },
            after: State::File { size_bytes: 6 },
            step: Step::Write(Content(b"hunter2".to_vec()), Owner::root(0o640)),
            secret: true,
        };
        let plan = SealPlan {
            changes: vec![change],
            ..SealPlan::default()
        };
        let shown = format!(
            "{plan:?} {plan} {}",
            serde_json::to_string(&plan).expect("serialises")
        );
        assert!(
            !shown.contains("hunter2") && !shown.contains('\u{1b}'),
            "{shown}"
        );
        assert!(
            shown.contains("(9 bytes → 6 bytes)  root-password: rewrite"),
            "{shown}"
        );
    }
}
