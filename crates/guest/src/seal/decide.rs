//! What a row makes of what is at one path: the actions of the table, by reading only.
//!
//! Which paths are looked at, and whether the outcome is taken, is the planner's.

use super::guest::{Guest, READ_LIMIT_BYTES};
use super::items::{Action, Detect, Rewrite, Rewritten, SealItem};
use super::pattern::{Hit, Kind, Tree};
use super::plan::{Content, State, Step};
use crate::fs::{FsError, Metadata, Owner};

/// What a row makes of a path.
pub(super) enum Decision {
    Nothing,
    Change {
        before: State,
        after: State,
        step: Step,
    },
    Skip(&'static str),
    Tell(String),
}

/// A guest as it is before sealing.
pub(super) struct Look<'a> {
    pub(super) tree: Tree<'a>,
    pub(super) guest: Guest,
}

impl Look<'_> {
    /// What a row makes of what is at a path.
    pub(super) fn decide(
        &self,
        item: &SealItem,
        path: &str,
        kind: Option<Kind>,
    ) -> Result<Decision, FsError> {
        let reader = self.tree.reader();
        match (item.action, kind) {
            (Action::Keep, _) => Ok(Decision::Nothing),
            (Action::Ensure { content, mode }, _) => self.ensure(path, content, mode),
            (Action::Remove | Action::Regenerate(_), Some(_)) => self.removal(path),
            (Action::RemoveLinkTo(target), Some(Kind::Symlink))
                if reader.read_link(path)? == target.as_bytes() =>
            {
                self.removal(path)
            }
            (Action::Empty, Some(Kind::File)) => self.emptying(path),
            (Action::Link(target), Some(kind)) => self.linking(path, kind, target),
            (Action::Rewrite(rewrite), Some(Kind::File)) => self.rewriting(path, rewrite),
            (Action::Rewrite(_), Some(Kind::Symlink)) => {
                Ok(Decision::Skip("a link is not written through"))
            }
            (Action::Notice(detect, _), Some(kind)) => self.notice(path, kind, detect),
            _ => Ok(Decision::Nothing),
        }
    }

    fn removal(&self, path: &str) -> Result<Decision, FsError> {
        let before = self.state(path)?;
        let step = match before {
            State::Absent => return Ok(Decision::Nothing),
            State::Directory { .. } => Step::RemoveTree,
            _ => Step::Remove,
        };
        Ok(Decision::Change {
            before,
            after: State::Absent,
            step,
        })
    }

    fn emptying(&self, path: &str) -> Result<Decision, FsError> {
        let metadata = self.tree.reader().metadata(path)?;
        if metadata.size_bytes == 0 {
            return Ok(Decision::Nothing);
        }
        Ok(write(&metadata, Vec::new()))
    }

    fn ensure(&self, path: &str, content: &str, mode: u32) -> Result<Decision, FsError> {
        let reader = self.tree.reader();
        match self.tree.at(path)? {
            Some(Kind::Directory) => Ok(Decision::Skip("a directory is in its place")),
            Some(Kind::File) => {
                let metadata = reader.metadata(path)?;
                let same = metadata.size_bytes == content.len() as u64
                    && reader.read(path, READ_LIMIT_BYTES)? == content.as_bytes();
                Ok(if same {
                    Decision::Nothing
                } else {
                    write(&metadata, content.into())
                })
            }
            _ => Ok(Decision::Change {
                before: self.state(path)?,
                after: State::File {
                    size_bytes: content.len() as u64,
                },
                step: Step::Write(Content(content.into()), Owner::root(mode)),
            }),
        }
    }

    fn linking(&self, path: &str, kind: Kind, target: &str) -> Result<Decision, FsError> {
        if kind == Kind::Directory {
            return Ok(Decision::Skip("a directory is in its place"));
        }
        let before = self.state(path)?;
        let after = State::Link {
            target: target.to_owned(),
        };
        if before == after {
            return Ok(Decision::Nothing);
        }
        Ok(Decision::Change {
            before,
            after,
            step: Step::Symlink(target.to_owned()),
        })
    }

    fn rewriting(&self, path: &str, rewrite: Rewrite) -> Result<Decision, FsError> {
        let reader = self.tree.reader();
        let content = reader.read(path, READ_LIMIT_BYTES)?;
        match rewrite(&content, &self.guest) {
            Rewritten::Same => Ok(Decision::Nothing),
            Rewritten::Gone => self.removal(path),
            Rewritten::Content(new) => Ok(write(&reader.metadata(path)?, new)),
        }
    }

    fn notice(&self, path: &str, kind: Kind, detect: Option<Detect>) -> Result<Decision, FsError> {
        let Some(detect) = detect else {
            return Ok(Decision::Tell("present".to_owned()));
        };
        if kind != Kind::File {
            return Ok(Decision::Nothing);
        }
        let content = self.tree.reader().read(path, READ_LIMIT_BYTES)?;
        Ok(detect(&content, &self.guest).map_or(Decision::Nothing, Decision::Tell))
    }

    /// What is at a path now.
    pub(super) fn state(&self, path: &str) -> Result<State, FsError> {
        let reader = self.tree.reader();
        Ok(match self.tree.at(path)? {
            None => State::Absent,
            Some(Kind::File) => State::File {
                size_bytes: reader.metadata(path)?.size_bytes,
            },
            Some(Kind::Symlink) => State::Link {
                target: String::from_utf8_lossy(&reader.read_link(path)?).into_owned(),
            },
            Some(Kind::Special) => State::Special,
            Some(Kind::Directory) => {
                let (mut entries, mut size_bytes) = (0, 0);
                for hit in self.tree.find(&format!("{path}/**"))? {
                    entries += 1;
                    if let Hit::Entry(file, Kind::File) = hit {
                        size_bytes += reader.metadata(&file)?.size_bytes;
                    }
                }
                State::Directory {
                    entries,
                    size_bytes,
                }
            }
        })
    }
}

/// A file keeps its owner and mode and gets a new content.
fn write(metadata: &Metadata, content: Vec<u8>) -> Decision {
    let owner = Owner {
        uid: metadata.uid,
        gid: metadata.gid,
        mode: metadata.mode,
    };
    Decision::Change {
        before: State::File {
            size_bytes: metadata.size_bytes,
        },
        after: State::File {
            size_bytes: content.len() as u64,
        },
        step: Step::Write(Content(content), owner),
    }
}
