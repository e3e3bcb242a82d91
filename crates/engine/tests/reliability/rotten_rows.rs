//! Rows that have changed while their checksums did not: nothing that is right is lost for them.

use crate::home::*;
use crate::rot::scrub;
use rusqlite::Connection;
use stampo_core::lifecycle::{State, Verb};
use stampo_engine::{
    DamageOutcome, DamagedThing, Engine, Faults, ScrubOptions, ScrubReport, Watch,
};
use stampo_store::EventRow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};

/// Changes a table by `sql` and leaves the checksums of its rows as they are.
pub fn rot(home: &Path, table: &str, sql: &str) {
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

/// Its purge is refused, by name and by `gc`, and says what to do; nothing is changed.
fn assert_kept(engine: &Engine, disk: &Path, table: &str) {
    let told = |why: &str| {
        let parts = ["a damaged row of", table, "stampo store scrub"];
        assert!(parts.iter().all(|part| why.contains(part)), "{why}");
    };
    let refused = engine.change_version(&reference("web@1"), Verb::Purge);
    told(&refused.expect_err("the row may need its bytes").chain());
    for subjects in [engine.gc_plan(true), engine.gc(true)] {
        let subjects = subjects.expect("a plan");
        let version = subjects.iter().find(|s| s.name == "web@1").expect("listed");
        assert!(!version.goes, "{version:?}");
        told(&version.reason);
    }
    let row = engine.version_row(&reference("web@1")).expect("a version");
    assert_eq!(row.state, State::Retired);
    assert!(disk.exists());
}

fn retire(engine: &Engine) {
    let retired = engine.change_version(&reference("web@1"), Verb::Retire);
    retired.expect("retired");
}

/// What a linked clone reads is not known from a damaged row.
pub fn an_image_that_a_damaged_guest_reads_stays() {
    let home = one_guest();
    let disk = disk(&home.engine());
    rot(&home.path(), "guests", "UPDATE guests SET kind = 'full'");
    let engine = home.engine();
    retire(&engine);
    assert_kept(&engine, &disk, "guests");
    let report = scrub(&engine).expect("a scrub");
    assert_eq!(outcome(&report, DamagedThing::Row), [DamageOutcome::Mended]);
    let refused = engine.change_version(&reference("web@1"), Verb::Purge);
    let why = refused.expect_err("app reads it").chain();
    assert!(why.contains("app"), "{why}");
}

/// Of a guest without a sidecar nothing but its row tells what it reads.
pub fn an_image_that_a_damaged_guest_without_a_sidecar_may_read_stays() {
    let home = one_guest();
    let engine = home.engine();
    let disk = disk(&engine);
    let app = engine.guest_row(&name("app")).expect("a guest");
    let dir = home.path().join("guests").join(app.id.to_string());
    fs::remove_file(dir.join("guest.json")).expect("removed");
    let zeros = "0".repeat(64);
    let sql = format!("UPDATE guests SET image_id = '{zeros}'");
    rot(&home.path(), "guests", &sql);
    retire(&engine);
    assert_kept(&engine, &disk, "guests");
    drop(home.engine());
    assert!(disk.exists());
}

/// A home with `app`, a linked clone whose row has rotted and whose sidecar is lost.
fn doubtful() -> (Home, Engine) {
    let home = one_guest();
    let engine = home.engine();
    let app = engine.guest_row(&name("app")).expect("a guest");
    let dir = home.path().join("guests").join(app.id.to_string());
    fs::remove_file(dir.join("guest.json")).expect("removed");
    rot(&home.path(), "guests", "UPDATE guests SET kind = 'full'");
    (home, engine)
}

/// What was sealed away lies in the draft's bytes; if they can't go, somebody is told.
pub fn a_draft_that_a_damaged_row_may_need_is_told_of() {
    let (home, engine) = doubtful();
    let other = home.path().with_file_name("other.raw");
    make_filesystem(&other, &[("etc/other", "yes")]);
    import(&engine, "other", &other).expect("imported");
    seal(&engine, "other").expect("sealed");
    let read = |tx: &stampo_store::Tx<'_>| {
        let last = tx.recent_operations(1)?.remove(0);
        tx.events_after(last.id, 0)
    };
    let events = engine.store().read(read).expect("events");
    let told = events.iter().find(|event| event.phase == "tidy");
    let detail = &told.expect("a word of the draft").detail;
    let parts = ["the draft's bytes", "row of guests", "stampo store scrub"];
    assert!(parts.iter().all(|part| detail.contains(part)), "{detail}");
}

/// With another version that has its image, no byte goes with a version, whatever a guest needs.
pub fn a_version_whose_image_another_keeps_goes_for_all_doubt() {
    let (_home, engine) = doubtful();
    let disk = disk(&engine);
    for twin in ["one", "two"] {
        import(&engine, twin, &disk).expect("imported");
    }
    let purged = engine.change_version(&reference("one@1"), Verb::Purge);
    purged.expect("web@1 keeps the bytes");
    assert!(disk.exists());
    // Whether it keeps them is not known from a row that has rotted.
    let sql = "UPDATE versions SET virtual_bytes = 512 WHERE state = 'published'";
    rot(engine.home(), "versions", sql);
    let refused = engine.change_version(&reference("two@1"), Verb::Purge);
    let why = refused.expect_err("web@1 is in doubt").chain();
    assert!(why.contains("row of versions"), "{why}");
}

/// A guest whose sidecar tells that it is of another image holds only that one.
pub fn a_damaged_guest_holds_no_image_of_others() {
    let home = one_guest();
    let other = home.path().with_file_name("other.raw");
    make_filesystem(&other, &[("etc/other", "yes")]);
    let engine = home.engine();
    import(&engine, "other", &other).expect("imported");
    rot(&home.path(), "guests", "UPDATE guests SET kind = 'full'");
    let purged = engine.change_version(&reference("other@1"), Verb::Purge);
    purged.expect("app does not read it");
}

/// While an import is about to give an image to its version, only its operation speaks for it.
pub fn an_image_that_a_damaged_operation_works_on_stays() {
    let home = Home::empty();
    let path = home.path();
    let looked = Arc::new(AtomicBool::new(false));
    let (place, seen) = (path.clone(), looked.clone());
    let faults = Faults::new(move |point| {
        if point == "born.published" {
            for change in ["state = 'done'", "state = 'running', request = '{}'"] {
                let sql = format!("UPDATE operations SET {change}");
                rot(&place, "operations", &sql);
                let other = recovered(&place);
                other.gc(true).expect("collected");
                let images = fs::read_dir(place.join("images")).expect("listed");
                assert_eq!(images.count(), 1, "{change}: the image is gone");
                seen.store(true, Ordering::SeqCst);
            }
        }
    });
    let engine = open(&path, faults);
    import(&engine, "web", source()).expect("imported");
    assert!(looked.load(Ordering::SeqCst));
    let report = scrub(&engine).expect("a scrub");
    let kept = outcome(&report, DamagedThing::Row);
    assert!(!kept.contains(&DamageOutcome::Open), "{report:?}");
    assert_eq!(scrub(&engine).expect("a scrub").damage, []);
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
