//! Rot: a bit that flips anywhere in the store is found by a scrub.
//!
//! One store with every kind of version is made, and then one bit after the other is flipped, looked
//! for, and flipped back: in data and holes of disks, in leaf indexes, in sidecars, and in the
//! catalog's file. A flip in the catalog is *harmless* when an independent reader of the file, SQLite
//! alone, sees the same schema, the same settings and the same rows as before and finds no fault:
//! bytes of free pages, unused bytes of pages, fields of the header that nobody reads. Those are
//! counted and printed, nothing is asked of them, and another bit is flipped instead.
//!
//! `STAMPO_SEED=n` repeats a run; `STAMPO_LONG=1` flips ten times as many bits.

mod catalog;
mod flip;
mod store;

use crate::cases::{flip_a_bit_at, verify};
use crate::home::{Home, ROTTEN, import, make_filesystem, open, reference, seal, source};
use crate::seed::{is_long, seed};
use flip::{Flip, Place};
use stampo_core::lifecycle::State;
use stampo_engine::{
    Damage, DamageOutcome, DamagedThing, Engine, EngineError, Faults, ScrubOptions, ScrubReport,
    Unwatched,
};
use stampo_image::identity::{LEAF_BYTES, LeafIndex, leaf_index};
use stampo_image::progress;
use stampo_store::VersionRow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use store::{Pristine, pristine};

/// Bits that `./test` flips.
const FLIPS: u64 = 1000;

/// What became of the flips, for people.
type Tally = Mutex<BTreeMap<String, u64>>;

/// See the file's head.
pub fn each_of_a_thousand_flipped_bits_is_found() {
    let seed = seed();
    let flips = if is_long() { 10 * FLIPS } else { FLIPS };
    println!("STAMPO_SEED={seed}: {flips} flips");
    let (next, found, tally) = (AtomicU64::new(0), AtomicU64::new(0), Tally::default());
    let prepared = store::prepare();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let home = Home::copy_of(&prepared.path());
                let whole = pristine(&home.path());
                while found.load(Ordering::Relaxed) < flips {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if flip_one(&home.path(), &whole, seed, number, &tally) {
                        found.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    for (what, count) in tally.into_inner().expect("no thread panicked") {
        println!("{count:>6} {what}");
    }
}

/// Whether there was something to find, which was found then.
fn flip_one(home: &Path, whole: &Pristine, seed: u64, number: u64, tally: &Tally) -> bool {
    let flip = Flip::choose(home, seed, number);
    let what = format!("STAMPO_SEED={seed}, flip {number}: {flip}");
    flip.apply();
    let class = match flip.place {
        Place::DiskData | Place::DiskHole => disk(home, whole, &flip, &what),
        Place::Leaves | Place::VersionSidecar | Place::GuestSidecar => {
            redundant(home, whole, &flip, &what)
        }
        Place::Catalog => catalog::flipped(home, whole, &flip, &what),
    };
    whole.put_back(home);
    let mut tally = tally.lock().expect("no thread panicked");
    *tally.entry(format!("{}: {class}", flip.place)).or_default() += 1;
    class != catalog::HARMLESS
}

/// A scrub of everything.
pub fn scrub(engine: &Engine) -> Result<ScrubReport, EngineError> {
    let scrub = engine.submit_scrub(ScrubOptions::default())?;
    match engine.run_scrub(&scrub, &Unwatched) {
        Err(EngineError::Damage { found }) => {
            let report = engine.scrub_report(scrub.operation)?;
            assert!(!report.damage.is_empty());
            for name in report.clones() {
                assert!(found.contains(&name), "the error names {name}: {found}");
            }
            Ok(report)
        }
        other => other,
    }
}

fn only(report: &ScrubReport, what: &str) -> Damage {
    assert_eq!(report.damage.len(), 1, "{what}: {report:?}");
    report.damage[0].clone()
}

/// A flipped bit of a disk: the place, the versions and the clones are named, all versions with
/// these bytes are in quarantine and stay there, and nothing else is touched.
fn disk(home: &Path, whole: &Pristine, flip: &Flip, what: &str) -> String {
    let engine = open(home, Faults::default());
    let damage = only(&scrub(&engine).expect(what), what);
    assert_eq!(damage.what, DamagedThing::Disk, "{what}");
    assert_eq!(damage.outcome, DamageOutcome::Quarantined, "{what}");
    assert_eq!(damage.path, flip.path, "{what}");
    let leaf = flip.offset >> 20 << 20;
    assert!(
        damage.place.contains(&format!("bytes {leaf}-")),
        "{what}: {damage:?}"
    );
    let image = flip.path.parent().expect("a directory");
    let image = image.file_name().expect("a name").to_string_lossy();
    let (versions, clones) = whole.users_of(&image);
    assert_eq!(
        (&damage.subjects, &damage.clones),
        (&versions, &clones),
        "{what}"
    );
    for row in engine.store().read(|tx| tx.versions()).expect("rows") {
        let before = whole.state_of(&row.label());
        let expected = match versions.contains(&row.label()) {
            true => State::Quarantined,
            false => before,
        };
        assert_eq!(row.state, expected, "{what}: {}", row.label());
    }
    let audited = engine.store().read(|tx| tx.audit(10)).expect("rows");
    let audited = audited.iter().filter(|row| row.action == "quarantine");
    assert_eq!(audited.count(), versions.len(), "{what}: the audit");
    flip.apply();
    // With the bit back the bytes are right, and no one is let out of quarantine for that.
    whole_again(&engine, flip, what);
    format!("found, {} quarantined", versions.len())
}

/// A second scrub finds nothing. It is asked for one flip in four: it takes as long as the first.
fn whole_again(engine: &Engine, flip: &Flip, what: &str) {
    if flip.offset.is_multiple_of(4) {
        assert_eq!(scrub(engine).expect(what).damage, [], "{what}");
    }
}

/// A flipped bit of a file that can be made again: it is as it was, and nothing else has changed.
fn redundant(home: &Path, whole: &Pristine, flip: &Flip, what: &str) -> String {
    let engine = open(home, Faults::default());
    let damage = only(&scrub(&engine).expect(what), what);
    let expected = match flip.place {
        Place::Leaves => DamagedThing::LeafIndex,
        Place::VersionSidecar => DamagedThing::VersionSidecar,
        _ => DamagedThing::GuestSidecar,
    };
    assert_eq!(damage.what, expected, "{what}");
    assert_eq!(damage.outcome, DamageOutcome::Mended, "{what}");
    assert_eq!(damage.path, flip.path, "{what}");
    assert_eq!(damage.subjects, whole.subjects_of(&flip.path), "{what}");
    let bytes = std::fs::read(&flip.path).expect("readable");
    let before = whole.file(&flip.path);
    match flip.place {
        // It is newer than it was, and so has another checksum.
        Place::GuestSidecar => assert_eq!(undated(&bytes), undated(before), "{what}"),
        _ => assert!(bytes == before, "{what}: not as it was"),
    }
    whole_again(&engine, flip, what);
    let rows = engine.store().read(|tx| tx.versions()).expect("rows");
    for row in rows {
        assert_eq!(row.state, whole.state_of(&row.label()), "{what}");
    }
    "found and mended".to_owned()
}

/// A sidecar without what tells when it was written.
fn undated(bytes: &[u8]) -> serde_json::Value {
    let mut sidecar: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
    let fields = sidecar.as_object_mut().expect("an object");
    for field in ["changed_ms", "checksum"] {
        fields.remove(field).expect("a field");
    }
    sidecar
}

/// A file of the drafts below that no item of the seal table is about, in a leaf that sealing changes.
const MOTD: &str = "a word of the day that nothing changes\n";

/// A draft with more than one leaf of data, and its disk.
fn draft() -> (Home, PathBuf) {
    let source = tempfile::tempdir().expect("a temporary directory");
    let path = source.path().join("source.raw");
    let data = "0123456789abcdef".repeat(512 << 10);
    make_filesystem(&path, &[("etc/motd.own", MOTD), ("srv/data", &data)]);
    let home = Home::empty();
    let row = import(&home.engine(), "web", &path).expect("an import");
    let disk = disk_of(&home, &row);
    (home, disk)
}

fn leaves(disk: &Path) -> LeafIndex {
    leaf_index(disk, &progress::Unwatched).expect("an index")
}

/// A bit of a draft that flips before it is sealed is found in the sealed version, too.
pub fn sealing_hides_no_rot_of_the_draft() {
    let (home, disk) = draft();
    let before = leaves(&disk);
    let after = seal(&home.engine(), "web@1").expect("sealed");
    let after = leaves(&disk_of(&home, &after));
    let kept = before.leaves().iter().find(|l| after.leaves().contains(l));
    let (leaf, _) = kept.expect("a leaf of data that sealing leaves alone");
    verify(&home.engine(), "web@1").expect("whole");

    let (home, disk) = draft();
    let at = usize::try_from(leaf * LEAF_BYTES).expect("16 MiB at most") + 4711;
    flip_a_bit_at(&disk, at);
    let sealed = seal(&home.engine(), "web@1").expect("sealed");
    assert_eq!(sealed.verified_ms, None, "nobody has read that leaf");
    let found = verify(&home.engine(), "web@1");
    assert!(
        matches!(found, Err(EngineError::Rot { .. })),
        "a flipped bit of leaf {leaf} became part of the version: {found:?}"
    );
}

fn assert_quarantined(home: &Home, sealed: Result<VersionRow, EngineError>) {
    let why = sealed.expect_err("its bytes have changed");
    assert!(matches!(why, EngineError::Rot { .. }), "{}", why.chain());
    let row = home.engine().version_row(&reference("web@1"));
    assert_eq!(row.expect("a version").state, State::Quarantined);
    std::fs::write(home.path().with_file_name(ROTTEN), "").expect("marked");
    crate::clean::assert_clean(&home.path(), "a draft that has rotted");
}

/// Where sealing changes a leaf, the copy's hash is taken of new bytes: the old ones are judged.
pub fn sealing_finds_rot_in_what_it_changes() {
    let (home, disk) = draft();
    let bytes = std::fs::read(&disk).expect("readable");
    let found = bytes.windows(MOTD.len()).position(|w| w == MOTD.as_bytes());
    let at = found.expect("the file");
    let before = leaves(&disk);
    let after = seal(&home.engine(), "web@1").expect("sealed");
    let after = leaves(&disk_of(&home, &after));
    let changed = before.differences(&after);
    assert!(changed.iter().any(|range| range.contains(&(at as u64))));

    let (home, disk) = draft();
    flip_a_bit_at(&disk, at);
    assert_quarantined(&home, seal(&home.engine(), "web@1"));
}

/// Without a leaf index the image id still tells whether the draft is right.
pub fn sealing_without_a_leaf_index_finds_rot_anywhere() {
    let (home, disk) = draft();
    flip_a_bit_at(&disk.with_file_name("leaves.bin"), 40);
    seal(&home.engine(), "web@1").expect("its bytes are right");
    verify(&home.engine(), "web@1").expect("whole");

    let (home, disk) = draft();
    flip_a_bit_at(&disk.with_file_name("leaves.bin"), 40);
    let data = std::fs::read(&disk).expect("readable");
    let at = data
        .windows(32)
        .rposition(|w| w == b"0123456789abcdef0123456789abcdef");
    flip_a_bit_at(&disk, at.expect("the last of the data"));
    assert_quarantined(&home, seal(&home.engine(), "web@1"));
}

/// A disk that was changed or lost, and its good bytes imported again: the new version has them.
pub fn good_bytes_that_come_again_replace_wrong_ones() {
    type Loss = (&'static str, fn(&Path));
    let losses: [Loss; 3] = [
        ("changed", |disk| flip_a_bit_at(disk, 1 << 20)),
        ("lost", |disk| std::fs::remove_file(disk).expect("removed")),
        ("no file", |disk| {
            std::fs::remove_file(disk).expect("removed");
            let made = std::process::Command::new("mkfifo").arg(disk).status();
            assert!(made.expect("mkfifo").success());
        }),
    ];
    for (what, lose) in losses {
        let home = Home::draft();
        let engine = home.engine();
        let first = engine.version_row(&reference("web@1")).expect("a version");
        let disk = disk_of(&home, &first);
        lose(&disk);
        if what == "changed" {
            verify(&engine, "web@1").expect_err("it has changed");
        }
        let again = import(&engine, "web", source()).expect(what);
        assert_eq!((again.state, &again.image), (State::Draft, &first.image));
        assert!(again.verified_ms.is_some());
        verify(&engine, "web@2").expect(what);
        assert_eq!(leaves(&disk).image_id(), first.image.expect("an image"));
        drop(engine);
        if what == "changed" {
            continue; // Nothing leads web@1 out of quarantine.
        }
        crate::clean::assert_clean(&home.path(), what);
    }
}

fn disk_of(home: &Home, row: &VersionRow) -> PathBuf {
    let image = row.image.as_ref().expect("an image");
    home.path()
        .join("images")
        .join(image.as_str())
        .join("disk.raw")
}
