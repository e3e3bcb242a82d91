//! Makes a plan: holds the table against a guest, by reading only.

use super::firstboot;
use super::guest::{Guest, READ_LIMIT_BYTES, exists_any};
use super::items::{Action, Area, Detect, Rewrite, Rewritten, SealItem, items};
use super::pattern::{Hit, Kind, Tree};
use super::plan::{Change, Content, Notice, SealPlan, Skipped, State, Step};
use super::selection::{Selection, SelectionError};
use crate::fs::{FsError, GuestRead, Metadata, Owner};
use std::collections::BTreeSet;

/// Why no plan could be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The selection is wrong.
    #[error("choose what to seal")]
    Selection(#[from] SelectionError),
    /// The guest's filesystem could not be read.
    #[error("read what has to be sealed")]
    Read(#[from] FsError),
}

/// Holds the table against a guest. Reads only; the guest is not changed.
pub fn plan(reader: &dyn GuestRead, selection: &Selection) -> Result<SealPlan, PlanError> {
    selection.check()?;
    let tree = Tree::new(reader);
    let guest = Guest::read(&tree)?;
    let mut planner = Planner {
        tree,
        guest,
        selection,
        claimed: BTreeSet::new(),
        plan: SealPlan::default(),
    };
    for (area, item) in items() {
        planner.item(area, item)?;
    }
    planner.first_boot()?;
    Ok(planner.plan)
}

/// A plan in the making.
struct Planner<'a> {
    tree: Tree<'a>,
    guest: Guest,
    selection: &'a Selection,
    /// Paths that a row has taken, or that a row which was left out would have taken.
    claimed: BTreeSet<String>,
    plan: SealPlan,
}

/// What a row makes of a path.
enum Decision {
    Nothing,
    Change {
        before: State,
        after: State,
        step: Step,
    },
    Skip(&'static str),
    Tell(String),
}

impl Planner<'_> {
    /// Holds one row against the guest.
    fn item(&mut self, area: Area, item: &'static SealItem) -> Result<(), FsError> {
        if matches!(item.action, Action::Keep) {
            return Ok(());
        }
        let taken = self.selection.takes(area, item);
        let hits = self.hits(item)?;
        if hits.is_empty()
            || (!item.needs.is_empty() && !exists_any(self.tree.reader(), item.needs)?)
        {
            return Ok(());
        }
        for hit in hits {
            match hit {
                Hit::Entry(path, kind) => self.entry(item, taken, path, Some(kind))?,
                Hit::LinkOnTheWay { link, rest } => {
                    self.link_on_the_way(item, taken, link, &rest)?
                }
                Hit::Unnamed(directory) if taken => {
                    self.skip(item.id, directory, "an entry's name is not UTF-8");
                }
                Hit::Unnamed(_) => {}
            }
        }
        Ok(())
    }

    /// Everything that a row's paths match. A row that makes a missing file has it as a hit.
    fn hits(&self, item: &SealItem) -> Result<BTreeSet<Hit>, FsError> {
        let mut hits = BTreeSet::new();
        for pattern in item.paths {
            match pattern.strip_prefix("~/") {
                Some(rest) => {
                    for home in &self.guest.homes {
                        hits.extend(self.tree.find(&format!("{home}/{rest}"))?);
                    }
                }
                None => hits.extend(self.tree.find(pattern)?),
            }
            if matches!(item.action, Action::Ensure { .. }) && hits.is_empty() {
                hits.insert(Hit::Entry((*pattern).to_owned(), Kind::Special));
            }
        }
        Ok(hits)
    }

    /// A link stands on the way: told, unless it leads to where another pattern of the row looks.
    fn link_on_the_way(
        &mut self,
        item: &'static SealItem,
        taken: bool,
        link: String,
        rest: &str,
    ) -> Result<(), FsError> {
        let target = String::from_utf8_lossy(&self.tree.reader().read_link(&link)?).into_owned();
        let there = format!("{}/{rest}", lexical(&link, &target));
        if taken && !item.paths.contains(&there.as_str()) {
            self.skip(
                item.id,
                link,
                "a link stands in the way and is not followed",
            );
        }
        Ok(())
    }

    /// Decides on one path and notes the outcome.
    fn entry(
        &mut self,
        item: &'static SealItem,
        taken: bool,
        path: String,
        kind: Option<Kind>,
    ) -> Result<(), FsError> {
        let settled = match item.action {
            // Several notices may be about one file, and about one that is rewritten.
            Action::Notice(..) => self.goes(&path),
            _ => self.is_claimed(&path),
        };
        if settled {
            return Ok(());
        }
        let decision = match self.decide(item, &path, kind) {
            Err(FsError::Unsuitable { .. }) => {
                Decision::Skip("it is too large or not a regular file")
            }
            other => other?,
        };
        match decision {
            Decision::Nothing => {}
            Decision::Tell(detail) if taken => {
                let Action::Notice(_, remedy) = item.action else {
                    return Ok(());
                };
                self.plan.notices.push(Notice {
                    item: item.id,
                    path,
                    detail,
                    remedy,
                });
            }
            Decision::Skip(why) if taken => self.skip(item.id, path, why),
            Decision::Change {
                before,
                after,
                step,
            } if taken => {
                self.change(item, path, before, after, step);
            }
            Decision::Change { .. } => {
                let why = if item.optional {
                    "done only when it is asked for"
                } else {
                    "not selected"
                };
                // A wider row must not do what the user left out by name.
                if self.selection.except.iter().any(|name| name == item.id) {
                    self.claimed.insert(path.clone());
                }
                self.skip(item.id, path, why);
            }
            Decision::Tell(_) | Decision::Skip(_) => {}
        }
        Ok(())
    }

    /// Whether a row has this path, or a directory that it is in, already.
    fn is_claimed(&self, path: &str) -> bool {
        self.claimed.contains(path)
            || path
                .match_indices('/')
                .any(|(at, _)| at > 0 && self.claimed.contains(&path[..at]))
    }

    /// Whether a change removes this path, or a directory that it is in.
    fn goes(&self, path: &str) -> bool {
        let covers = |gone: &str| {
            path.strip_prefix(gone)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.plan
            .changes
            .iter()
            .any(|change| change.after == State::Absent && covers(&change.path))
    }

    /// Whether a claimed path is inside of this one.
    fn has_claimed_inside(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        self.claimed
            .range(prefix.clone()..)
            .next()
            .is_some_and(|first| first.starts_with(&prefix))
    }

    fn change(&mut self, item: &SealItem, path: String, before: State, after: State, step: Step) {
        let kept = self.selection.keeps(&path);
        let holds_kept = matches!(step, Step::RemoveTree) && self.holds_kept(&path);
        if kept || holds_kept {
            let why = if kept {
                "to be kept"
            } else {
                "something in it is to be kept"
            };
            self.claimed.insert(path.clone());
            return self.skip(item.id, path, why);
        }
        self.claimed.insert(path.clone());
        let action = item.action.name();
        self.plan.changes.push(Change {
            item: item.id,
            path,
            action,
            before,
            after,
            step,
            secret: item.secret,
        });
    }

    /// Whether a tree cannot go as a whole: the user keeps something in it, or left out a row
    /// that has something in it.
    fn holds_kept(&self, path: &str) -> bool {
        let removed = |claimed: &str| {
            self.plan
                .changes
                .iter()
                .any(|change| change.path == claimed)
        };
        let prefix = format!("{path}/");
        self.selection.keeps_below(path)
            || (self.has_claimed_inside(path)
                && self
                    .claimed
                    .range(prefix.clone()..)
                    .take_while(|claimed| claimed.starts_with(&prefix))
                    .any(|claimed| !removed(claimed)))
    }

    fn skip(&mut self, item: &'static str, path: String, why: &'static str) {
        let skipped = Skipped { item, path, why };
        if !self.plan.skipped.contains(&skipped) {
            self.plan.skipped.push(skipped);
        }
    }

    /// What a row makes of what is at a path.
    fn decide(&self, item: &SealItem, path: &str, kind: Option<Kind>) -> Result<Decision, FsError> {
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
    fn state(&self, path: &str) -> Result<State, FsError> {
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

    /// The unit and the script that make again what was taken away.
    fn first_boot(&mut self) -> Result<(), FsError> {
        if !self.selection.takes_first_boot() {
            return Ok(());
        }
        let selection = self.selection;
        let Some(script) = firstboot::script(self.tree.reader(), &|id| selection.takes_id(id))?
        else {
            return Ok(());
        };
        if !firstboot::can_run(&self.guest) {
            self.plan.notices.push(Notice {
                item: firstboot::ITEM,
                path: String::new(),
                detail: "the guest has no systemd".to_owned(),
                remedy: firstboot::WITHOUT_SYSTEMD,
            });
            return Ok(());
        }
        self.file(
            firstboot::ITEM,
            firstboot::SCRIPT_PATH,
            script.into_bytes(),
            0o755,
        )?;
        self.file(
            firstboot::ITEM,
            firstboot::UNIT_PATH,
            firstboot::UNIT_CONTENT.into(),
            0o644,
        )?;
        self.wants_link()
    }

    /// Enables the unit.
    fn wants_link(&mut self) -> Result<(), FsError> {
        let before = self.state(firstboot::WANTS_PATH)?;
        let after = State::Link {
            target: firstboot::UNIT_PATH.to_owned(),
        };
        if before != after && self.way_is_free(firstboot::ITEM, firstboot::WANTS_PATH)? {
            let step = Step::Symlink(firstboot::UNIT_PATH.to_owned());
            self.add(firstboot::ITEM, firstboot::WANTS_PATH, before, after, step);
        }
        Ok(())
    }

    /// A file of ours, where it is not there yet.
    fn file(
        &mut self,
        item: &'static str,
        path: &str,
        content: Vec<u8>,
        mode: u32,
    ) -> Result<(), FsError> {
        if !self.way_is_free(item, path)? {
            return Ok(());
        }
        let before = self.state(path)?;
        let after = State::File {
            size_bytes: content.len() as u64,
        };
        if before == after && self.tree.reader().read(path, READ_LIMIT_BYTES)? == content {
            return Ok(());
        }
        self.add(
            item,
            path,
            before,
            after,
            Step::Write(Content(content), Owner::root(mode)),
        );
        Ok(())
    }

    fn add(&mut self, item: &'static str, path: &str, before: State, after: State, step: Step) {
        let action = if before == State::Absent {
            "add"
        } else {
            "rewrite"
        };
        self.plan.changes.push(Change {
            item,
            path: path.to_owned(),
            action,
            before,
            after,
            step,
            secret: false,
        });
    }

    /// Whether no link and no file stands where a path needs a directory.
    fn way_is_free(&mut self, item: &'static str, path: &str) -> Result<bool, FsError> {
        let parents = path
            .match_indices('/')
            .map(|(at, _)| &path[..at])
            .filter(|p| !p.is_empty());
        for parent in parents {
            match self.tree.at(parent)? {
                None => return Ok(true),
                Some(Kind::Directory) => {}
                Some(_) => {
                    self.skip(
                        item,
                        path.to_owned(),
                        "something that is no directory stands in the way",
                    );
                    return Ok(false);
                }
            }
        }
        Ok(true)
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

/// Where a link points to, by its text alone.
fn lexical(link: &str, target: &str) -> String {
    let parent = &link[..link.rfind('/').unwrap_or(0)];
    let whole = if target.starts_with('/') {
        target.to_owned()
    } else {
        format!("{parent}/{target}")
    };
    let mut path: Vec<&str> = Vec::new();
    for component in whole.split('/') {
        match component {
            "" | "." => {}
            ".." => drop(path.pop()),
            name => path.push(name),
        }
    }
    format!("/{}", path.join("/"))
}
