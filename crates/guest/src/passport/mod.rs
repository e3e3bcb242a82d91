//! Passport: every identity item of one guest, as facts that can be compared with other guests'.
//!
//! A fact holds a keyed hash and never the value: whoever reads the catalog learns which guests
//! share something and not what. The items stand in one table, `items.rs`; where bytes come from is
//! behind [`FactSource`], so that a disk and a guest agent give the same facts. Comparing is
//! [`stampo_core::identity::verdict`]'s work. Access keys and passwords are not items: guests share
//! them because somebody asked for it.

mod items;
mod shell;
mod source;

pub use items::{ITEMS, Item};
pub use shell::ShellFacts;
pub use source::{AgentFiles, Content, DiskSource, FactSource};

use crate::fs::GuestRead;
use items::read_item;
use stampo_core::identity::{FactValue, IdentityFact};

/// All facts of a guest, read from its disk.
///
/// `salt` is the catalog's own secret; facts made with different salts can't be compared. An item
/// that can't be read becomes [`FactValue::Unknown`], so this never fails.
pub fn read_facts(
    reader: &dyn GuestRead,
    shell: &ShellFacts,
    salt: &[u8; 32],
) -> Vec<IdentityFact> {
    with_shell(&facts_of_disk(reader, salt), shell, salt)
}

/// What only the disk decides of [`read_facts`]: the same for every disk with the same bytes.
pub fn facts_of_disk(reader: &dyn GuestRead, salt: &[u8; 32]) -> Vec<IdentityFact> {
    facts_inside(&DiskSource(reader), salt)
}

/// [`read_facts`], of what [`facts_of_disk`] read before.
pub fn with_shell(
    inside: &[IdentityFact],
    shell: &ShellFacts,
    salt: &[u8; 32],
) -> Vec<IdentityFact> {
    let mut all = shell.facts(&Hasher(salt));
    all.extend_from_slice(inside);
    for fact in &mut all {
        // A failure to read is never excused.
        if let Some(why) = shell.kept.get(&fact.item)
            && !matches!(fact.value, FactValue::Unknown(_))
        {
            fact.value = FactValue::Kept(why.clone());
        }
    }
    all
}

/// All facts of a running guest, out of the files that its agent gave: see [`patterns`].
pub fn facts_from_agent(
    files: &AgentFiles,
    shell: &ShellFacts,
    salt: &[u8; 32],
) -> Vec<IdentityFact> {
    with_shell(&facts_inside(files, salt), shell, salt)
}

/// Facts of values that were learned otherwise than from files: item, place and value of each.
/// They are comparable with facts of the same items that were read from a disk.
pub fn facts_of_values(values: &[(&str, &str, &[u8])], salt: &[u8; 32]) -> Vec<IdentityFact> {
    let hasher = Hasher(salt);
    let facts = values
        .iter()
        .map(|(item, place, value)| fact(item, place, hasher.present(item, value)));
    facts.collect()
}

/// The facts of what the host gives, alone.
pub fn facts_of_shell(shell: &ShellFacts, salt: &[u8; 32]) -> Vec<IdentityFact> {
    with_shell(&[], shell, salt)
}

fn facts_inside(source: &dyn FactSource, salt: &[u8; 32]) -> Vec<IdentityFact> {
    let hasher = Hasher(salt);
    let mut all = Vec::new();
    if let Some(uuid) = source.filesystem_uuid() {
        let value = match uuid {
            Ok(uuid) => hasher.present("filesystem.uuid", uuid.as_bytes()),
            Err(why) => FactValue::Unknown(why),
        };
        all.push(fact("filesystem.uuid", "the superblock of /", value));
    }
    for item in ITEMS {
        read_item(item, source, &hasher, &mut all);
    }
    all
}

/// Turns each fact that is the template's own into [`FactValue::Kept`], where the item's table says
/// why sharing it does no harm. `template` are the facts of the version, made with the same salt.
pub fn explain(facts: &mut [IdentityFact], template: &[IdentityFact]) {
    for fact in facts {
        let same = |other: &&IdentityFact| other.item == fact.item && other.value == fact.value;
        let is_template = matches!(fact.value, FactValue::Present(_))
            && template.iter().any(|other| same(&other));
        if is_template && let Some(why) = why_shared(&fact.item) {
            fact.value = FactValue::Kept(why.to_owned());
        }
    }
}

fn why_shared(item: &str) -> Option<&'static str> {
    shell::why_shared(item).or_else(|| {
        let row = ITEMS.iter().find(|row| row.names(item))?;
        row.shared_because
    })
}

/// Every path that the passport looks at, as shell patterns: at most one `*`, in the last
/// component. Fetch what matches, and list what does not exist as [`Content::Absent`].
pub fn patterns() -> impl Iterator<Item = &'static str> {
    ITEMS.iter().flat_map(|item| {
        std::iter::once(item.path)
            .chain(item.applies.iter().copied())
            .chain(item.made_by.iter().copied())
    })
}

fn fact(item: &str, location: &str, value: FactValue) -> IdentityFact {
    IdentityFact {
        item: item.to_owned(),
        location: location.to_owned(),
        value,
    }
}

/// BLAKE3 keyed with the catalog's salt, over the item's name, a NUL and the value: equal values
/// of two different items can't be linked either.
struct Hasher<'a>(&'a [u8; 32]);

impl Hasher<'_> {
    fn present(&self, item: &str, value: &[u8]) -> FactValue {
        let mut hasher = blake3::Hasher::new_keyed(self.0);
        hasher.update(item.as_bytes()).update(&[0]).update(value);
        FactValue::Present(hasher.finalize().to_hex().to_string())
    }
}
