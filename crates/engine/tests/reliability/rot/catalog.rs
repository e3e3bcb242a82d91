//! A flipped bit in the catalog's file.

use super::flip::Flip;
use super::store::Pristine;
use super::{DamageOutcome, DamagedThing, only, scrub};
use crate::home::{reference, try_open};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};
use stampo_core::lifecycle::Verb;
use stampo_engine::{Engine, EngineError, ScrubReport};
use std::path::Path;

/// What is said of a flip that changes nothing that anybody reads.
pub const HARMLESS: &str = "harmless: nobody reads it";

/// Everything that SQLite itself reads from a catalog: schema, settings of the file, rows.
#[derive(PartialEq)]
pub struct Content {
    schema: Vec<String>,
    settings: Vec<String>,
    rows: Vec<(String, Vec<Vec<Value>>)>,
}

/// What a reader that is not ours finds; none when it finds a fault. The file is not touched.
pub fn content(bytes: &[u8]) -> Option<Content> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("written");
    let uri = format!("file:{}?immutable=1", file.path().display());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let sql = Connection::open_with_flags(uri, flags).ok()?;
    let text = |query: &str| -> rusqlite::Result<Vec<String>> {
        sql.prepare(query)?
            .query_map([], |row| row.get(0))?
            .collect()
    };
    if text("PRAGMA integrity_check").ok()? != ["ok"] {
        return None;
    }
    let schema =
        text("SELECT type || name || tbl_name || ifnull(sql, '') FROM sqlite_schema").ok()?;
    let settings = ["user_version", "encoding"].map(|name| {
        sql.query_row(
            &format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}"),
            [],
            |r| r.get(0),
        )
    });
    let settings: Vec<String> = settings.into_iter().collect::<Result<_, _>>().ok()?;
    let tables = text("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").ok()?;
    let mut rows = Vec::new();
    for table in tables {
        let found = rows_of(&sql, &table).ok()?;
        rows.push((table, found));
    }
    Some(Content {
        schema,
        settings,
        rows,
    })
}

fn rows_of(sql: &Connection, table: &str) -> rusqlite::Result<Vec<Vec<Value>>> {
    let mut statement = sql.prepare(&format!("SELECT rowid, * FROM {table} NOT INDEXED"))?;
    let columns = statement.column_count();
    let read = |row: &rusqlite::Row<'_>| (0..columns).map(|at| row.get(at)).collect();
    statement.query_map([], read)?.collect()
}

/// The flip is found unless it is harmless; what became of it.
pub fn flipped(home: &Path, whole: &Pristine, flip: &Flip, what: &str) -> String {
    let bytes = std::fs::read(&flip.path).expect("readable");
    if content(&bytes).is_some_and(|now| now == whole.content) {
        return HARMLESS.to_owned();
    }
    let found = try_open(home).and_then(|engine| {
        keeps_bases(home, &engine, whole, what);
        let report = scrub(&engine)?;
        Ok((engine, report))
    });
    match found {
        Ok((engine, report)) => in_rows(&engine, whole, &report, what),
        Err(error) => refused(&error, what),
    }
}

/// Whatever has changed, and before anybody has looked for it: a purge deletes nothing that a linked
/// clone reads. Nearly always it is refused, for one reason or another.
fn keeps_bases(home: &Path, engine: &Engine, whole: &Pristine, what: &str) {
    for version in ["web@1", "old@1"] {
        let _ = engine.change_version(&reference(version), Verb::Purge);
    }
    for disk in whole.bases(home) {
        assert!(disk.exists(), "{what}: {} is gone", disk.display());
    }
}

/// Damage in a row: the table and the row are named, and what is said of it is true.
fn in_rows(engine: &Engine, whole: &Pristine, report: &ScrubReport, what: &str) -> String {
    let row = only(report, what);
    assert_eq!(row.what, DamagedThing::Row, "{what}: {row:?}");
    assert!(
        row.place.starts_with("row ") && !row.why.is_empty(),
        "{what}: {row:?}"
    );
    let again = scrub(engine).expect(what);
    match row.outcome {
        DamageOutcome::Mended | DamageOutcome::Kept => {
            assert_eq!(again.damage, [], "{what}");
            let rows = engine.store().read(|tx| tx.versions());
            assert_eq!(rows.expect("rows"), whole.versions, "{what}");
        }
        DamageOutcome::Open => assert_eq!(again.damage.len(), report.damage.len(), "{what}"),
        DamageOutcome::Quarantined => panic!("{what}: a row's bytes are not a disk's"),
    }
    format!("found, the row is {}", row.outcome.as_str())
}

/// The catalog as a whole is refused, by name.
fn refused(error: &EngineError, what: &str) -> String {
    let text = error.chain();
    assert!(text.contains("catalog"), "{what}: {text}");
    match error {
        EngineError::Store(error) if error.is_damage() => "found, the file is refused".to_owned(),
        _ => format!("found, the file can't be used: {text}"),
    }
}
