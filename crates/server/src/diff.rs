//! From the engine's difference of two versions to the API's.

use stampo_api::{DiffChange, DiffFiles, TemplateDiff};
use stampo_engine::Difference;

pub(crate) fn wire(found: Difference) -> TemplateDiff {
    let changes = found.changes.into_iter().map(|one| DiffChange {
        section: one.section,
        name: one.name,
        before: one.before,
        after: one.after,
    });
    let files = found.files.into_iter().map(|one| DiffFiles {
        class: one.class,
        added: one.added,
        removed: one.removed,
        changed: one.changed,
    });
    TemplateDiff {
        before: found.before.label(),
        after: found.after.label(),
        changes: changes.collect(),
        files: files.collect(),
        unknown: found.unknowns,
        guests: found.guests.iter().map(ToString::to_string).collect(),
    }
}
