//! The sidecars of versions and guests, compared with their rows.
//!
//! Rows come first (`rows.rs`). A sidecar that is damaged, missing, or of before is made again from
//! its rows, when the checksums of all of them are right: one that was left open is no better than
//! the sidecar, and may be what is wrong. A sidecar that is right and *newer* than its row shows
//! that an older catalog was put back; that is for `store rescan`. What an operation works on is
//! left alone: its sidecar may be of the moment before.

use super::{Damage, DamageOutcome, DamagedThing, ScrubReport};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::sidecar::{
    Dated, GUEST, GuestSidecar, Protection, VersionSidecar, guest_sidecar, read_sidecar,
    version_sidecar, write_sidecar,
};
use crate::work::Work;
use stampo_core::ids::{GuestId, VersionId};
use stampo_core::lifecycle::State;
use stampo_store::Tx;
use std::path::PathBuf;

/// How often the watcher is told and asked.
const TELL_EVERY: usize = 64;

/// What to do about a sidecar whose rows are not right.
const MEND_ROWS: &str = "see to the damaged row first; what the sidecar holds is as it was found";
/// What to do about a sidecar that can't be written.
const LOOK_AT_HOST: &str = "look at the directory of the file, then: stampo store scrub";

/// A sidecar as it should be.
struct Expected<T> {
    path: PathBuf,
    name: String,
    sidecar: T,
    made_of: Vec<Rows>,
}

/// Rows that a sidecar is made of: a table, and a column and its value if not all of them count. A
/// row whose reference has changed belongs to another one now, so all rows of small tables count.
type Rows = (&'static str, Option<(&'static str, String)>);

/// What was found of one sidecar.
enum Found {
    Right,
    /// Right, and without a checksum.
    Unprotected,
    /// Not right, and older than the row or damaged.
    Damaged(String),
    /// Right, and newer than its row.
    Newer,
    /// Not as its rows say, or damaged, and left so: why.
    Left(String, &'static str),
}

impl Engine {
    /// Checks the sidecars of all versions and guests whose rows can be read.
    pub(super) fn scrub_sidecars(
        &self,
        work: &Work<'_>,
        report: &mut ScrubReport,
    ) -> Result<(), EngineError> {
        let (versions, guests) = self
            .store
            .read(|tx| Ok::<_, EngineError>((tx.version_ids()?, tx.guest_ids()?)))?;
        let all = (versions.len() + guests.len()) as u64;
        let mut done = 0;
        let mut tell = || {
            done += 1;
            if done % TELL_EVERY == 0 {
                work.progress("sidecars", done as u64, all);
                return work.not_cancelled();
            }
            Ok(())
        };
        for id in versions {
            self.scrub_sidecar(report, DamagedThing::VersionSidecar, |tx, busy| {
                self.expected_of_version(tx, id, busy)
            })?;
            tell()?;
        }
        for id in guests {
            self.scrub_sidecar(report, DamagedThing::GuestSidecar, |tx, busy| {
                self.expected_of_guest(tx, id, busy)
            })?;
            tell()?;
        }
        Ok(())
    }

    /// Checks one sidecar, and writes it again when it is not right. It is judged a second time
    /// in a writing transaction, in which no other process can change its row.
    fn scrub_sidecar<T: Dated>(
        &self,
        report: &mut ScrubReport,
        what: DamagedThing,
        expect: impl Fn(&Tx<'_>, &mut Vec<String>) -> Result<Option<Expected<T>>, EngineError>,
    ) -> Result<(), EngineError> {
        let mut busy = Vec::new();
        let first = self.store.read(|tx| expect(tx, &mut busy))?;
        report.busy.append(&mut busy);
        let Some(first) = first else {
            return Ok(());
        };
        report.sidecars_read += 1;
        if matches!(judge(&first)?, Found::Right) {
            return Ok(());
        }
        let settled = self.store.write(|tx| {
            let Some(expected) = expect(tx, &mut busy)? else {
                return Ok(None);
            };
            let found = mend(tx, &expected)?;
            Ok::<_, EngineError>(Some((expected, found)))
        })?;
        report.busy.append(&mut busy);
        if let Some((expected, found)) = settled {
            record(report, what, expected, found);
        }
        Ok(())
    }

    fn expected_of_version(
        &self,
        tx: &Tx<'_>,
        id: VersionId,
        busy: &mut Vec<String>,
    ) -> Result<Option<Expected<VersionSidecar>>, EngineError> {
        let Some(row) = readable(tx.version(id))?.filter(|row| row.state != State::Purged) else {
            return Ok(None);
        };
        if row.operation.is_some() {
            busy.push(row.label());
            return Ok(None);
        }
        Ok(version_sidecar(tx, &row)?.map(|sidecar| Expected {
            path: self.version_sidecar_path(&sidecar.image, row.id),
            name: row.label(),
            made_of: vec![
                ("versions", Some(("id", row.id.to_string()))),
                ("templates", None),
                ("exceptions", None),
                ("channel_moves", None),
                ("approvals", Some(("version_id", row.id.to_string()))),
            ],
            sidecar,
        }))
    }

    fn expected_of_guest(
        &self,
        tx: &Tx<'_>,
        id: GuestId,
        busy: &mut Vec<String>,
    ) -> Result<Option<Expected<GuestSidecar>>, EngineError> {
        let Some(row) = readable(tx.guest(id))? else {
            return Ok(None);
        };
        if row.operation.is_some() {
            busy.push(row.name.to_string());
            return Ok(None);
        }
        // Its directory is what its sidecar lies in: without it there is no guest to describe.
        let dir = self.guest_dir(row.id);
        if !dir.is_dir() {
            return Ok(None);
        }
        let version = readable(tx.version(row.version))?;
        let label = version.map(|version| version.label()).unwrap_or_default();
        Ok(Some(Expected {
            path: dir.join(GUEST),
            name: row.name.to_string(),
            sidecar: guest_sidecar(&row, label, tx.host_name(row.id)?),
            made_of: vec![
                ("guests", Some(("id", row.id.to_string()))),
                ("versions", Some(("id", row.version.to_string()))),
                ("templates", None),
                ("host_names", None),
            ],
        }))
    }
}

/// The row, or none when it can't be read: that was reported before.
fn readable<T>(row: Result<Option<T>, stampo_store::StoreError>) -> Result<Option<T>, EngineError> {
    match row {
        Err(error) if error.is_damage() => Ok(None),
        other => Ok(other?),
    }
}

fn judge<T: Dated>(expected: &Expected<T>) -> Result<Found, EngineError> {
    let (sidecar, protection) = match read_sidecar::<T>(&expected.path) {
        Ok(read) => read,
        Err(error) => return Ok(Found::Damaged(error.chain())),
    };
    let is_same = sidecar.is_same(&expected.sidecar)?;
    Ok(match (is_same, protection) {
        (true, Protection::Right) => Found::Right,
        (true, _) => Found::Unprotected,
        (false, Protection::Right) if sidecar.is_newer(&expected.sidecar)? => Found::Newer,
        (false, _) => Found::Damaged("it says something else than the catalog".to_owned()),
    })
}

/// Judges a sidecar and writes it again when it is not right and its rows are. A sidecar that can't
/// be written is no reason to look at nothing else.
fn mend<T: Dated>(tx: &Tx<'_>, expected: &Expected<T>) -> Result<Found, EngineError> {
    let found = judge(expected)?;
    let why = match &found {
        Found::Unprotected => "it has no checksum",
        Found::Damaged(why) => why,
        _ => return Ok(found),
    };
    for (table, only) in &expected.made_of {
        let only = only.as_ref().map(|(column, value)| (*column, &**value));
        if tx.has_damage(table, only)? {
            let why = format!("{why}; a row of {table} that it is made of is damaged too");
            return Ok(Found::Left(why, MEND_ROWS));
        }
    }
    Ok(match write_sidecar(&expected.path, &expected.sidecar) {
        Ok(()) => found,
        Err(error) => Found::Left(format!("{why}; {}", error.chain()), LOOK_AT_HOST),
    })
}

fn record<T>(report: &mut ScrubReport, what: DamagedThing, expected: Expected<T>, found: Found) {
    let (why, outcome, remedy) = match found {
        Found::Right => return,
        Found::Unprotected => {
            report.protected.push(expected.path);
            return;
        }
        Found::Damaged(why) => (why, DamageOutcome::Mended, ""),
        Found::Newer => {
            let why = "it is newer than the catalog: an older catalog was put back";
            (why.to_owned(), DamageOutcome::Open, "stampo store rescan")
        }
        Found::Left(why, remedy) => (why, DamageOutcome::Open, remedy),
    };
    report.damage.push(Damage {
        what,
        path: expected.path,
        place: String::new(),
        why,
        subjects: vec![expected.name],
        clones: Vec::new(),
        outcome,
        remedy: remedy.to_owned(),
    });
}
