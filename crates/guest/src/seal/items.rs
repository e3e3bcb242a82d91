//! The table of everything that sealing looks for, and the types of its rows.
//!
//! This file is the index: the rows are in `items/`, one file for each area. A row is data. What
//! a rewriting row does to bytes is in `rewrite/`; how paths are matched is in `pattern.rs`; the
//! planner decides nothing that is not written in a row.
//!
//! The table does not claim to find every secret of a guest. The proof (`proof/`) has knowledge of
//! its own and looks at the result without this table.

mod accounts;
mod agents;
mod cloud;
mod keys;
mod logs;
mod network;
mod services;
mod spools;
mod storage;
mod system;

use super::guest::Guest;
use std::fmt;

/// What kind of thing an item is; usable wherever an item's id is, for all items of the area.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    /// The machine's own ids, names and seeds.
    System,
    /// Ids of storage initiators, arrays and volumes.
    Storage,
    /// Leases, pinned MAC addresses, ids of the network's clients.
    Network,
    /// Keys that belong to the machine.
    Keys,
    /// What cloud-init and installers left.
    Cloud,
    /// Ids of agents that report to somewhere, and registrations.
    Agents,
    /// Ids of services that the guest offers.
    Services,
    /// Passwords, keys, histories and tokens of people.
    Accounts,
    /// Logs and crash reports.
    Logs,
    /// Caches, temporary files, queues, backups.
    Spools,
}

impl Area {
    /// The name that a user writes.
    pub const fn name(self) -> &'static str {
        match self {
            Area::System => "system",
            Area::Storage => "storage",
            Area::Network => "network",
            Area::Keys => "keys",
            Area::Cloud => "cloud",
            Area::Agents => "agents",
            Area::Services => "services",
            Area::Accounts => "accounts",
            Area::Logs => "logs",
            Area::Spools => "spools",
        }
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a rewriting row makes of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Rewritten {
    /// There is nothing in it to change.
    Same,
    /// The new content.
    Content(Vec<u8>),
    /// Nothing that is worth keeping would stay: the file goes.
    Gone,
}

/// Makes a file's new content. It must give [`Rewritten::Same`] for what it made itself.
pub type Rewrite = fn(&[u8], &Guest) -> Rewritten;

/// Looks at a file's content and says what a person has to know of it; never a secret's value.
pub type Detect = fn(&[u8], &Guest) -> Option<String>;

/// What is done with what a row's paths match.
#[derive(Clone, Copy)]
pub enum Action {
    /// Files, links and whole directories go.
    Remove,
    /// A link that points to exactly this text goes; nothing else does.
    RemoveLinkTo(&'static str),
    /// Regular files keep their owner and mode and lose their content; links are left alone.
    Empty,
    /// The path is a regular file of exactly this content, made where it is missing.
    Ensure {
        /// The whole content.
        content: &'static str,
        /// Permission bits of a file that is made; an existing one keeps its own.
        mode: u32,
    },
    /// Where something is at the path, it becomes a link to this target.
    Link(&'static str),
    /// Regular files are changed inside; links are never written through.
    Rewrite(Rewrite),
    /// Removed, and made again in each clone by the unit that is named.
    Regenerate(&'static str),
    /// Not changed, because sealing can't mend it: a person is told, and what to do.
    Notice(Option<Detect>, &'static str),
    /// The same in every clone on purpose; listed so that the reason can be read.
    Keep,
}

impl Action {
    /// One word for tables and plans.
    pub const fn name(&self) -> &'static str {
        match self {
            Action::Remove | Action::RemoveLinkTo(_) => "remove",
            Action::Empty => "empty",
            Action::Ensure { .. } | Action::Rewrite(_) | Action::Link(_) => "rewrite",
            Action::Regenerate(_) => "regenerate",
            Action::Notice(..) => "notice",
            Action::Keep => "keep",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy)]
pub struct SealItem {
    /// Its stable name, for selections and reports.
    pub id: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Where it is: absolute paths with `*`, `?` and `[0-9]` inside a component, `**` for any
    /// number of directories, and a leading `~` for every home directory.
    pub paths: &'static [&'static str],
    /// What is done with it.
    pub action: Action,
    /// Why.
    pub why: &'static str,
    /// The item applies where one of these paths exists; without any, always.
    pub needs: &'static [&'static str],
    /// Done only when it is asked for.
    pub optional: bool,
    /// Its removed bytes are looked for on the whole disk afterwards.
    pub secret: bool,
}

impl SealItem {
    /// The item applies only where one of these paths exists.
    const fn needs(mut self, needs: &'static [&'static str]) -> Self {
        self.needs = needs;
        self
    }

    /// The item is done only when it is asked for.
    const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// The removed bytes must not be found on the disk afterwards.
    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

impl fmt::Debug for SealItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealItem")
            .field("id", &self.id)
            .field("action", &self.action.name())
            .finish()
    }
}

/// A row, for the files of `items/`.
const fn row(
    id: &'static str,
    what: &'static str,
    paths: &'static [&'static str],
    action: Action,
    why: &'static str,
) -> SealItem {
    SealItem {
        id,
        what,
        paths,
        action,
        why,
        needs: &[],
        optional: false,
        secret: false,
    }
}

/// The whole table. The order counts: the first row that claims a path has it, so that narrow
/// rows stand before wide ones (the journal before all logs, cloud-init's network files before
/// network files in general).
pub const TABLE: &[(Area, &[SealItem])] = &[
    (Area::Cloud, cloud::ITEMS),
    (Area::System, system::ITEMS),
    (Area::Storage, storage::ITEMS),
    (Area::Network, network::ITEMS),
    (Area::Keys, keys::ITEMS),
    (Area::Agents, agents::ITEMS),
    (Area::Services, services::ITEMS),
    (Area::Accounts, accounts::ITEMS),
    (Area::Spools, spools::ITEMS),
    (Area::Logs, logs::ITEMS),
];

/// Every row with its area, in the order of the table.
pub fn items() -> impl Iterator<Item = (Area, &'static SealItem)> {
    TABLE
        .iter()
        .flat_map(|(area, rows)| rows.iter().map(move |row| (*area, row)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_unique_and_never_an_areas_name() {
        let mut names: BTreeSet<&str> = TABLE.iter().map(|(area, _)| area.name()).collect();
        for (_, item) in items() {
            let shape = item
                .id
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            assert!(shape && !item.id.is_empty(), "{:?}", item.id);
            // The area of logs has a row that takes "all other logs" and is called so.
            assert!(
                item.id == "logs" || names.insert(item.id),
                "{:?} is there twice",
                item.id
            );
        }
    }

    #[test]
    fn every_row_says_what_where_and_why_in_lower_case_fragments() {
        for (_, item) in items() {
            assert!(!item.paths.is_empty(), "{}", item.id);
            for path in item.paths.iter().chain(item.needs) {
                assert!(
                    crate::seal::pattern::is_valid(path),
                    "{}: {path:?}",
                    item.id
                );
            }
            for text in [item.what, item.why] {
                assert!(
                    text.len() > 10 && !text.ends_with('.') && !text.contains("  "),
                    "{}: {text:?}",
                    item.id
                );
            }
        }
    }

    #[test]
    fn rows_that_make_a_file_name_it_exactly_and_say_when() {
        for (_, item) in items() {
            if matches!(item.action, Action::Ensure { .. }) {
                assert!(
                    item.paths.len() == 1 && !item.paths[0].contains(['*', '?', '[', '~']),
                    "{}",
                    item.id
                );
                assert!(!item.needs.is_empty(), "{}", item.id);
            }
        }
    }
}
