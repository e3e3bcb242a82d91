//! An index of the catalog that has changed by itself: its rows are right, and no image goes.
//!
//! The checksums of rows say nothing of an index, and a command does not read the whole catalog
//! before it deletes something. So each test flips one bit in the one entry that would speak for an
//! image, and then does what would delete it.

use crate::home::*;
use rusqlite::Connection;
use stampo_core::lifecycle::Verb;
use stampo_engine::{Engine, Faults};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Flips a bit of the entry number `entry` that has `text` in it, of an index that is one page.
fn rot_index(home: &Path, index: &str, text: &str, entry: usize) {
    let path = home.join("catalog.db");
    let sql = Connection::open(&path).expect("a catalog");
    let checkpoint = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    let busy = sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], checkpoint);
    assert_eq!(busy.expect("everything in one file"), 0);
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    let root: u32 = sql.query_row(root, [index], |row| row.get(0)).expect(index);
    let size: u32 = sql
        .query_row("PRAGMA page_size", [], |row| row.get(0))
        .expect("a size");
    drop(sql);
    let (root, size) = (u64::from(root), u64::from(size));
    let file = File::options().read(true).write(true).open(&path);
    let file = file.expect("opened");
    let mut page = vec![0; usize::try_from(size).expect("small")];
    file.read_exact_at(&mut page, (root - 1) * size)
        .expect("read");
    assert_eq!(
        page[0], 0x0a,
        "{index} is one leaf (SQLite, file format, 1.6)"
    );
    let mut found = (0..page.len()).filter(|at| page[*at..].starts_with(text.as_bytes()));
    let at = found.nth(entry).expect("an entry");
    // In a digit if there is one, so that an image id stays one.
    let digit = (at..at + text.len()).find(|at| page[*at].is_ascii_digit());
    let at = digit.unwrap_or(at + 2);
    let byte = [page[at] ^ 1];
    let at = (root - 1) * size + at as u64;
    file.write_all_at(&byte, at).expect("written");
}

fn images(home: &Path) -> usize {
    let images = fs::read_dir(home.join("images")).expect("listed");
    images
        .filter(|dir| {
            dir.as_ref()
                .expect("listed")
                .path()
                .join("disk.raw")
                .exists()
        })
        .count()
}

fn image_of(engine: &Engine, version: &str) -> String {
    let row = engine.version_row(&reference(version)).expect("a version");
    row.image.expect("an image").to_string()
}

/// The index of guests by image does not lead to a linked clone any more.
pub fn an_index_that_hides_a_clone_releases_no_image() {
    let home = one_guest();
    let engine = home.engine();
    let retired = engine.change_version(&reference("web@1"), Verb::Retire);
    retired.expect("retired");
    let image = image_of(&engine, "web@1");
    drop(engine);
    rot_index(&home.path(), "guests_image", &image, 0);
    let engine = home.engine();
    for subjects in [engine.gc_plan(true), engine.gc(true)] {
        let subjects = subjects.expect("a plan");
        let version = subjects.iter().find(|s| s.name == "web@1").expect("listed");
        assert!(
            !version.goes && version.reason.contains("app"),
            "{version:?}"
        );
    }
    let refused = engine.change_version(&reference("web@1"), Verb::Purge);
    let why = refused.expect_err("app reads it").chain();
    assert!(why.contains("app"), "{why}");
    assert_eq!(images(&home.path()), 1);
}

/// The index of versions by image does not lead to the other version with these bytes any more,
/// whose sidecar is lost too.
pub fn an_index_that_hides_a_version_releases_no_image() {
    for entry in [0, 1] {
        let home = Home::draft();
        let engine = home.engine();
        let twin = import(&engine, "twin", source()).expect("imported");
        let image = image_of(&engine, "web@1");
        let sidecar = format!("images/{image}/version-{}.json", twin.id);
        fs::remove_file(home.path().join(sidecar)).expect("removed");
        drop(engine);
        rot_index(&home.path(), "versions_image", &image, entry);
        let engine = home.engine();
        // SQLite refuses it when the entry is that of web@1, which it would have to change.
        let _ = engine.change_version(&reference("web@1"), Verb::Purge);
        assert_eq!(images(&home.path()), 1, "twin@1 has lost its bytes");
    }
}

/// The index of operations by state does not lead to an import that runs any more.
pub fn an_index_that_hides_an_operation_releases_no_image() {
    let home = Home::empty();
    let path = home.path();
    let looks = Arc::new(AtomicUsize::new(0));
    let (place, seen) = (path.clone(), looks.clone());
    let faults = Faults::new(move |point| {
        if point == "born.published" {
            rot_index(&place, "operations_state", "running", 0);
            drop(recovered(&place));
            seen.store(images(&place), Ordering::SeqCst);
            // A second time flips it back, so that the import can end.
            rot_index(&place, "operations_state", "ruoning", 0);
        }
    });
    let engine = open(&path, faults);
    import(&engine, "web", source()).expect("imported");
    assert_eq!(looks.load(Ordering::SeqCst), 1, "the image is gone");
}
