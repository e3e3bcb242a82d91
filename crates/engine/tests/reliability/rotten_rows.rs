//! Rows that have changed while their checksums did not: nothing that is right is lost for them.

use crate::home::*;
use crate::rot::scrub;
use rusqlite::Connection;
use stampo_core::lifecycle::Verb;
use stampo_engine::{DamageOutcome, DamagedThing, Engine, ScrubOptions, ScrubReport, Watch};
use stampo_store::EventRow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

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

fn disk(engine: &Engine) -> PathBuf {
    sidecar(engine).with_file_name("disk.raw")
}

/// Recovery and `gc` run before the rows are looked at.
pub fn an_image_that_a_damaged_row_released_stays() {
    let home = Home::published();
    let disk = disk(&home.engine());
    rot(
        &home.path(),
        "versions",
        "UPDATE versions SET state = 'purged', changed_ms = changed_ms + 1",
    );
    let engine = home.engine();
    assert!(disk.exists(), "recovery took it away");
    let report = scrub(&engine).expect("a scrub");
    assert_eq!(outcome(&report, DamagedThing::Row), [DamageOutcome::Mended]);
    assert_eq!(scrub(&engine).expect("a scrub").damage, []);
}

/// The version is purged by right; what its linked clone reads is not known from a damaged row.
pub fn an_image_that_a_damaged_guest_reads_stays() {
    let home = one_guest();
    let disk = disk(&home.engine());
    rot(&home.path(), "guests", "UPDATE guests SET kind = 'full'");
    let engine = home.engine();
    for verb in [Verb::Retire, Verb::Purge] {
        let changed = engine.change_version(&reference("web@1"), verb);
        changed.expect("the catalog knows no reader");
    }
    drop(home.engine());
    assert!(disk.exists());
}

/// A wrong name of a template is written into no sidecar.
pub fn a_template_gets_its_name_back_from_the_sidecars() {
    let home = Home::published();
    let engine = home.engine();
    let path = sidecar(&engine);
    let right = fs::read(&path).expect("readable");
    for wrong in ["wet", "WEB"] {
        let sql = format!("UPDATE templates SET name = '{wrong}'");
        rot(&home.path(), "templates", &sql);
        let report = scrub(&engine).expect("a scrub");
        assert_eq!(report.damage.len(), 1, "{report:?}");
        assert_eq!(outcome(&report, DamagedThing::Row), [DamageOutcome::Mended]);
        assert!(fs::read(&path).expect("readable") == right);
        engine.version_row(&reference("web")).expect("its name");
    }
    assert_eq!(scrub(&engine).expect("a scrub").damage, []);
}

/// Nothing leads out of quarantine, so a mount that is not there must not lead into it.
pub fn a_disk_that_is_not_there_or_no_file_quarantines_nothing() {
    let home = Home::published();
    let engine = home.engine();
    let disk = disk(&engine);
    let aside = disk.with_file_name("aside");
    fs::rename(&disk, &aside).expect("moved");
    for is_pipe in [false, true] {
        if is_pipe {
            let made = std::process::Command::new("mkfifo").arg(&disk).status();
            assert!(made.expect("mkfifo").success());
        }
        let report = scrub(&engine).expect("a scrub");
        let found = outcome(&report, DamagedThing::Disk);
        assert_eq!(found, [DamageOutcome::Open], "{report:?}");
    }
    fs::rename(&aside, &disk).expect("put back");
    assert_eq!(scrub(&engine).expect("a scrub").damage, []);
}

/// Whatever is missing, the rest is looked at and the report is kept.
pub fn what_cannot_be_written_ends_no_scrub() {
    let home = Home::published();
    let engine = home.engine();
    let dir = disk(&engine).parent().expect("a directory").to_owned();
    fs::rename(&dir, dir.with_file_name("aside")).expect("moved");
    let report = scrub(&engine).expect("a report");
    for what in [DamagedThing::VersionSidecar, DamagedThing::Disk] {
        assert_eq!(outcome(&report, what), [DamageOutcome::Open], "{report:?}");
    }
    fs::rename(dir.with_file_name("aside"), &dir).expect("put back");
    assert_eq!(scrub(&engine).expect("a scrub").damage, []);
}

/// Purges `web@1` when its disk is being read.
struct Purger<'a>(&'a Engine, Once);

impl Watch for Purger<'_> {
    fn event(&self, _: &EventRow) {}
    fn progress(&self, phase: &str, _: u64, _: u64) {
        if phase == "disk" {
            self.1.call_once(|| {
                let purged = self.0.change_version(&reference("web@1"), Verb::Purge);
                purged.expect("purged");
            });
        }
    }
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// What nobody needs any more is not missed.
pub fn a_draft_that_is_purged_during_a_scrub_is_no_damage() {
    let home = Home::draft();
    let engine = home.engine();
    let disk = disk(&engine);
    let submitted = engine.submit_scrub(ScrubOptions::default());
    let purger = Purger(&engine, Once::new());
    let report = engine.run_scrub(&submitted.expect("submitted"), &purger);
    assert_eq!(report.expect("nothing is damaged").damage, []);
    assert!(purger.1.is_completed() && !disk.exists());
}
