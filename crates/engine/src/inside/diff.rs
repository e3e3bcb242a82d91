//! `template diff`: what is different between two versions, and whose machines that concerns.
//!
//! Both disks are read; nothing is recorded.

use crate::engine::Engine;
use crate::error::EngineError;
use stampo_core::names::{GuestName, VersionRef};
use stampo_guest::fs::open_read;
use stampo_guest::inspect::look::Look;
use stampo_guest::inspect::{inspect_tree, listening, manifest, sysctl};
use stampo_inventory::diff::{self, Change, Facts, FileChanges, Sheet};
use stampo_store::VersionRow;

/// What is different between two versions.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The version that is compared.
    pub before: VersionRow,
    /// The version that it is compared with.
    pub after: VersionRow,
    /// Facts that are different.
    pub changes: Vec<Change>,
    /// Files that are different, by class.
    pub files: Vec<FileChanges>,
    /// What could not be compared.
    pub unknowns: Vec<String>,
    /// The guests that were cloned from the first of them.
    pub guests: Vec<GuestName>,
}

impl Engine {
    /// Compares two versions.
    pub fn diff(&self, before: &VersionRef, after: &VersionRef) -> Result<Difference, EngineError> {
        let (before, after) = (self.version_row(before)?, self.version_row(after)?);
        // Both are read at the same time: each keeps one processor busy.
        let (old, new) = std::thread::scope(|scope| {
            let old = scope.spawn(|| self.sheet(&before));
            let new = self.sheet(&after);
            let old = old.join();
            (
                old.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                new,
            )
        });
        let (old, new) = (old?, new?);
        let of = |row: &VersionRow, sheet: &Sheet| {
            let label = row.label();
            let told = sheet.unknowns.iter().map(|why| format!("{label}: {why}"));
            told.collect::<Vec<_>>()
        };
        let unknowns = [of(&before, &old), of(&after, &new)].concat();
        let mut guests = self.store.read(|tx| tx.guest_names())?;
        Ok(Difference {
            changes: diff::changes(&old, &new),
            files: diff::file_changes(&old, &new),
            unknowns,
            guests: guests.remove(&before.id).unwrap_or_default(),
            before,
            after,
        })
    }

    /// What a version is, as far as it is compared.
    fn sheet(&self, row: &VersionRow) -> Result<Sheet, EngineError> {
        let act = || format!("read what is inside {}", row.label());
        let fs = open_read(self.open_image(row)?).map_err(EngineError::room(act()))?;
        let inspection = inspect_tree(fs.as_ref());
        let mut look = Look::new(fs.as_ref());
        let ports = listening::read(&mut look, &inspection.services, inspection.sshd.as_ref());
        let settings = sysctl::read(&mut look).into_iter();
        let settings = settings
            .map(|(key, setting)| (key, setting.value))
            .collect();
        let (files, gaps) = manifest::read(fs.as_ref());
        let mut sections = diff::sections(&inspection, ports, settings);
        if let Some((_, sizes)) = sections.iter_mut().find(|(name, _)| *name == "sizes") {
            sizes.insert("disk".into(), row.virtual_size.0.to_string());
            sizes.insert("data".into(), row.data.0.to_string());
        }
        sections.push(("findings", findings(row)));
        let mut unknowns = inspection.unknowns;
        unknowns.extend(look.into_unknowns());
        unknowns.extend(gaps);
        if row.proof.is_none() {
            unknowns.push("findings: there is no seal proof".to_owned());
        }
        unknowns.sort();
        unknowns.dedup();
        Ok(Sheet {
            sections,
            files,
            unknowns,
        })
    }
}

/// The findings of a version's seal proof.
fn findings(row: &VersionRow) -> Facts {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let proof = row.proof.iter();
    let found = proof
        .filter_map(|proof| proof["findings"].as_array())
        .flatten();
    found
        .map(|one| {
            (
                format!("{} {}", text(&one["id"]), text(&one["path"])),
                text(&one["what"]),
            )
        })
        .collect()
}
