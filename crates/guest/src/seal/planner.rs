//! Makes a plan: holds the table against a guest, by reading only.
//!
//! This walks over rows and paths and settles who has a path: the first row that takes it, or the
//! user who wants it kept. What a row makes of one path is in `decide.rs`.

use super::agent;
use super::decide::{Decision, Look};
use super::firstboot;
use super::guest::{Guest, exists_any};
use super::items::{Action, Area, SealItem, items};
use super::pattern::{Hit, Kind, Tree};
use super::plan::{Change, Content, Notice, SealPlan, Skipped, State, Step};
use super::selection::{Selection, SelectionError};
use crate::fs::{FsError, GuestRead, Owner};
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
    let look = Look { tree, guest };
    let mut planner = Planner {
        look,
        selection,
        claimed: BTreeSet::new(),
        plan: SealPlan::default(),
    };
    for (area, item) in items() {
        planner.item(area, item)?;
    }
    planner.first_boot()?;
    planner.agent()?;
    Ok(planner.plan)
}

/// A plan in the making.
struct Planner<'a> {
    look: Look<'a>,
    selection: &'a Selection,
    /// Paths that a row has taken, or that a row which was left out would have taken.
    claimed: BTreeSet<String>,
    plan: SealPlan,
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
            || (!item.needs.is_empty() && !exists_any(self.look.tree.reader(), item.needs)?)
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
                    for home in &self.look.guest.homes {
                        hits.extend(self.look.tree.find(&format!("{home}/{rest}"))?);
                    }
                }
                None => hits.extend(self.look.tree.find(pattern)?),
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
        let target =
            String::from_utf8_lossy(&self.look.tree.reader().read_link(&link)?).into_owned();
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
        let decision = match self.look.decide(item, &path, kind) {
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

    /// The unit and the script that make again what was taken away.
    fn first_boot(&mut self) -> Result<(), FsError> {
        if !self.selection.takes_first_boot() {
            return Ok(());
        }
        let selection = self.selection;
        let Some(script) =
            firstboot::script(self.look.tree.reader(), &|id| selection.takes_id(id))?
        else {
            return Ok(());
        };
        if !firstboot::can_run(&self.look.guest) {
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
        self.link(firstboot::ITEM, firstboot::WANTS_PATH, firstboot::UNIT_PATH)
    }

    /// The guest agent, its unit and what enables it.
    fn agent(&mut self) -> Result<(), FsError> {
        if !self.selection.takes_agent() {
            return Ok(());
        }
        if let Some(why) = agent::obstacle(self.look.tree.reader(), &self.look.guest)? {
            self.skip(agent::ITEM, agent::PROGRAM_PATH.to_owned(), why);
            return Ok(());
        }
        let (program, unit) = (agent::PROGRAM.to_vec(), agent::UNIT_CONTENT.into());
        self.file(agent::ITEM, agent::PROGRAM_PATH, program, 0o755)?;
        self.file(agent::ITEM, agent::UNIT_PATH, unit, 0o644)?;
        self.link(agent::ITEM, agent::WANTS_PATH, agent::UNIT_PATH)
    }

    /// A link of ours that enables a unit, where it is not there yet.
    fn link(&mut self, item: &'static str, path: &str, target: &str) -> Result<(), FsError> {
        let before = self.look.state(path)?;
        let target = target.to_owned();
        let after = State::Link {
            target: target.clone(),
        };
        if before != after && self.way_is_free(item, path)? {
            self.add(item, path, before, after, Step::Symlink(target));
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
        let before = self.look.state(path)?;
        let after = State::File {
            size_bytes: content.len() as u64,
        };
        let limit_bytes = content.len() as u64;
        if before == after && self.look.tree.reader().read(path, limit_bytes)? == content {
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
            match self.look.tree.at(parent)? {
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
