//! Rows that have changed while their checksums did not: nothing that is right is lost for them.

use crate::home::*;
use crate::rot::scrub;
use rusqlite::Connection;
use stampo_engine::{DamageOutcome, DamagedThing, Engine, ScrubReport};
use std::fs;
use std::path::{Path, PathBuf};

/// Changes a table by `sql` and leaves the checksums of its rows as they are.
fn rot(home: &Path, table: &str, sql: &str) {
    let connection = Connection::open(home.join("catalog.db")).expect("a catalog");
    let trigger: String = connection
        .query_row(
            "SELECT sql FROM sqlite_schema WHERE name = ?1 || '_updated'",
            [table],
            |row| row.get(0),
        )
        .expect("a trigger");
    let all = format!("DROP TRIGGER {table}_updated; {sql}; {trigger}");
    connection.execute_batch(&all).expect("changed");
}

/// The sidecar of `web@1`.
fn sidecar(engine: &Engine) -> PathBuf {
    let row = engine.version_row(&reference("web")).expect("a version");
    let image = row.image.expect("an image");
    let dir = engine.home().join("images").join(image.as_str());
    dir.join(format!("version-{}.json", row.id))
}

fn outcome(report: &ScrubReport, what: DamagedThing) -> Vec<DamageOutcome> {
    let damage = report.damage.iter().filter(|damage| damage.what == what);
    damage.map(|damage| damage.outcome).collect()
}

/// Neither is judged by the other, however often one looks.
pub fn of_a_damaged_row_and_a_damaged_sidecar_nothing_is_mended() {
    let home = Home::published();
    let engine = home.engine();
    let path = sidecar(&engine);
    let damaged = fs::read_to_string(&path)
        .expect("readable")
        .replace("\"number\": 1", "\"number\": 3");
    fs::write(&path, &damaged).expect("written");
    rot(&home.path(), "versions", "UPDATE versions SET number = 2");
    for _ in 0..2 {
        let report = scrub(&engine).expect("a scrub");
        for what in [DamagedThing::Row, DamagedThing::VersionSidecar] {
            assert_eq!(outcome(&report, what), [DamageOutcome::Open], "{report:?}");
        }
        assert_eq!(fs::read_to_string(&path).expect("readable"), damaged);
        let rows = engine.store().read(|tx| tx.versions()).expect("rows");
        assert_eq!(rows[0].number, 2);
    }
}

/// A row that can't be mended while something else runs: its sidecar waits.
pub fn a_right_sidecar_is_not_overwritten_from_a_damaged_row() {
    let home = Home::published();
    let engine = home.engine();
    let path = sidecar(&engine);
    let right = fs::read(&path).expect("readable");
    let import = engine
        .submit_import(&template("new"), import_source(source()))
        .expect("submitted");
    rot(
        &home.path(),
        "versions",
        "UPDATE versions SET virtual_bytes = 512 WHERE image_id IS NOT NULL",
    );
    let report = scrub(&engine).expect("a scrub");
    for what in [DamagedThing::Row, DamagedThing::VersionSidecar] {
        assert_eq!(outcome(&report, what), [DamageOutcome::Open], "{report:?}");
    }
    assert!(fs::read(&path).expect("readable") == right);
    engine
        .run_import(import, &stampo_engine::Unwatched)
        .expect("imported");
    let report = scrub(&engine).expect("a scrub");
    assert_eq!(outcome(&report, DamagedThing::Row), [DamageOutcome::Mended]);
    assert!(fs::read(&path).expect("readable") == right);
}
