//! The pool keeps what is published, sweeps only what the dead left, and can be listed again.

use stampo_core::ids::{GuestId, ImageId};
use stampo_image::identity::{LeafIndex, leaf_index};
use stampo_image::lock::lock_shared;
use stampo_image::pool::{Pool, PoolError, Published, Staging, Swept};
use stampo_image::process_identity::ProcessIdentity;
use stampo_image::progress::Unwatched;
use stampo_image::raw::RawFile;
use stampo_image::{device::BlockDevice, identity::IdentityError};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use uuid::Uuid;

const MIB: u64 = 1 << 20;

fn pool() -> (TempDir, Pool) {
    let dir = tempfile::tempdir().expect("make a directory");
    let pool = Pool::open(&dir.path().join("home")).expect("open");
    (dir, pool)
}

/// A disk of 64 MiB with one leaf of `byte`, and its index.
fn staged(dir: &Path, byte: u8) -> (PathBuf, LeafIndex) {
    let path = dir.join(format!("disk-{byte}.raw"));
    let raw = RawFile::create(&path, 64 * MIB).expect("create");
    raw.write_at(5 * MIB, &vec![byte; 1 << 20]).expect("write");
    let index = leaf_index(&path, &Unwatched).expect("hash");
    (path, index)
}

fn publish(pool: &Pool, byte: u8) -> ImageId {
    let staging = pool.stage().expect("stage");
    let (path, index) = staged(staging.path(), byte);
    let manifest = [("manifest.json", &b"{}"[..])];
    let published = pool
        .publish_image(&path, &index, &manifest)
        .expect("publish");
    assert!(matches!(published, Published::Created(_)));
    index.image_id()
}

/// Leaves `staging` as a process does that is killed.
fn abandon(pool: &Pool, staging: Staging) {
    let record = pool.staging_dir().join(format!("{}.owner", staging.id()));
    let owner: ProcessIdentity =
        serde_json::from_slice(&std::fs::read(&record).expect("read")).expect("a record");
    let owner = ProcessIdentity {
        start_ticks: owner.start_ticks + 1,
        ..owner
    };
    std::fs::write(&record, serde_json::to_vec(&owner).expect("JSON")).expect("write");
    staging.keep();
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("stat").permissions().mode() & 0o7777
}

fn count(dir: &Path) -> usize {
    std::fs::read_dir(dir).expect("list").count()
}

#[test]
fn a_new_pool_is_closed_to_others() {
    let (_dir, pool) = pool();
    for dir in [
        pool.images_dir(),
        pool.guests_dir(),
        pool.staging_dir(),
        pool.trash_dir(),
    ] {
        assert_eq!(mode(&dir), 0o700);
    }
    assert_eq!(mode(pool.home()), 0o700);
    Pool::open(pool.home()).expect("open again");
}

#[test]
fn a_published_image_is_whole_read_only_and_verifiable() {
    let (_dir, pool) = pool();
    let id = publish(&pool, 1);
    assert_eq!(mode(&pool.image_disk(&id)), 0o444);
    pool.verify_image(&id, &Unwatched).expect("verify");
    assert_eq!(
        pool.read_sidecar(&id, "manifest.json").expect("read"),
        b"{}"
    );
    assert_eq!(count(&pool.staging_dir()), 0, "nothing stays behind");
    let image = pool.image(id.clone()).expect("find");
    assert_eq!(
        (image.size_bytes, image.sidecars),
        (64 * MIB, vec!["manifest.json".to_owned()])
    );
    assert!(
        (MIB..2 * MIB).contains(&image.allocated_bytes),
        "{}",
        image.allocated_bytes
    );
}

#[test]
fn a_changed_disk_is_found_and_named() {
    let (_dir, pool) = pool();
    let id = publish(&pool, 1);
    let disk = pool.image_disk(&id);
    std::fs::set_permissions(&disk, Permissions::from_mode(0o600)).expect("chmod");
    RawFile::open_writable(&disk)
        .expect("open")
        .write_at(9 * MIB + 3, b"x")
        .expect("write");
    let error = pool
        .verify_image(&id, &Unwatched)
        .expect_err("must be found");
    let PoolError::Identity {
        source: IdentityError::Corrupt { leaf, offset },
        ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!((leaf, offset), (9, 9 * MIB));
}

#[test]
fn an_index_of_another_image_is_refused() {
    let (_dir, pool) = pool();
    let (one, two) = (publish(&pool, 1), publish(&pool, 2));
    let leaves = |id| pool.image_dir(id).join("leaves.bin");
    std::fs::copy(leaves(&two), leaves(&one)).expect("copy");
    let error = pool
        .verify_image(&one, &Unwatched)
        .expect_err("must be found");
    assert!(matches!(error, PoolError::ForeignIndex(id) if id == one));
}

#[test]
fn publishing_again_changes_nothing_but_adds_sidecars() {
    let (_dir, pool) = pool();
    let id = publish(&pool, 1);
    let staging = pool.stage().expect("stage");
    let (path, index) = staged(staging.path(), 1);
    let more = [("second.json", &b"2"[..])];
    for _ in 0..2 {
        // The second time the staged disk is gone, as after a crash behind the rename.
        let published = pool.publish_image(&path, &index, &more).expect("publish");
        assert_eq!(published, Published::Unchanged(pool.image_disk(&id)));
        assert!(!path.exists());
    }
    let image = pool.image(id).expect("find");
    assert_eq!(image.sidecars, ["manifest.json", "second.json"]);
}

#[test]
fn a_disk_that_is_not_as_long_as_its_index_is_not_published() {
    let (_dir, pool) = pool();
    let staging = pool.stage().expect("stage");
    let (path, index) = staged(staging.path(), 1);
    std::fs::File::options()
        .write(true)
        .open(&path)
        .expect("open")
        .set_len(MIB)
        .expect("cut");
    let error = pool
        .publish_image(&path, &index, &[])
        .expect_err("must be refused");
    assert!(matches!(error, PoolError::Size { .. }));
    assert!(pool.scan().expect("scan").images.is_empty());
}

#[test]
fn sidecar_names_can_not_leave_the_image() {
    let (_dir, pool) = pool();
    let id = publish(&pool, 1);
    for name in [
        "",
        "../x",
        "a/b",
        ".hidden",
        "disk.raw",
        "leaves.bin",
        "Upper",
        "a\0b",
        &"x".repeat(101),
    ] {
        let error = pool
            .write_sidecar(&id, name, b"x")
            .expect_err("must be refused");
        assert!(
            matches!(error, PoolError::SidecarName(_)),
            "{name:?}: {error}"
        );
    }
    pool.write_sidecar(&id, "manifest.json", b"new")
        .expect("replace");
    assert_eq!(
        pool.read_sidecar(&id, "manifest.json").expect("read"),
        b"new"
    );
    pool.ensure_sidecar_removed(&id, "manifest.json")
        .expect("remove");
    assert!(pool.read_sidecar(&id, "manifest.json").is_err());
}

#[test]
fn removing_an_image_is_refused_while_it_is_open_and_repeatable_after() {
    let (_dir, pool) = pool();
    let id = publish(&pool, 1);
    let user = std::fs::File::open(pool.image_disk(&id)).expect("open");
    let lock = lock_shared(&user).expect("lock");
    assert!(matches!(pool.remove_image(&id), Err(PoolError::InUse(_))));
    pool.verify_image(&id, &Unwatched)
        .expect("it is still there");
    drop(lock);
    for _ in 0..2 {
        pool.remove_image(&id).expect("remove");
        assert!(!pool.image_dir(&id).exists());
    }
    assert_eq!(count(&pool.trash_dir()), 0);
    assert!(matches!(pool.image(id), Err(PoolError::NoImage(_))));
}

#[test]
fn a_scan_lists_images_and_names_what_is_strange() {
    let (_dir, pool) = pool();
    let mut ids = vec![publish(&pool, 1), publish(&pool, 2)];
    ids.sort();
    std::fs::create_dir(pool.images_dir().join("not-an-id")).expect("mkdir");
    std::fs::create_dir(pool.images_dir().join("0".repeat(64))).expect("mkdir");
    let scan = pool.scan().expect("scan");
    assert_eq!(
        scan.images.iter().map(|i| i.id.clone()).collect::<Vec<_>>(),
        ids
    );
    assert_eq!(scan.strange.len(), 2, "{:?}", scan.strange);
}

#[test]
fn only_the_work_of_the_dead_is_swept() {
    let (_dir, pool) = pool();
    let mine = pool.stage().expect("stage");
    let dead = pool.stage().expect("stage");
    std::fs::write(dead.path().join("half"), b"x").expect("write");
    let dead_id = dead.id();
    abandon(&pool, dead);
    let record = pool.staging_dir().join(format!("{dead_id}.owner"));
    let orphan = pool.staging_dir().join(Uuid::new_v4().to_string());
    std::fs::create_dir(&orphan).expect("mkdir");

    let is_live = |owner: &ProcessIdentity| owner.is_alive().expect("ask");
    let swept = pool.sweep_staging(&is_live).expect("sweep");
    assert_eq!(swept.removed, [dead_id]);
    assert_eq!(swept.alive, [mine.id()]);
    assert_eq!(swept.unknown, std::slice::from_ref(&orphan));
    assert!(mine.path().exists() && orphan.exists() && !record.exists());
    assert!(!pool.staging_dir().join(dead_id.to_string()).exists());
}

#[test]
fn a_record_that_a_crash_left_half_written_is_swept_when_it_is_old() {
    let (_dir, pool) = pool();
    let half = |hours: u64| {
        let path = pool
            .staging_dir()
            .join(format!(".{}.owner.partial", Uuid::new_v4()));
        let file = std::fs::File::create(&path).expect("create");
        let at = SystemTime::now() - Duration::from_secs(hours * 3600);
        file.set_modified(at).expect("set the time");
        path
    };
    let (fresh, old) = (half(0), half(2));
    let swept = pool.sweep_staging(&|_| true).expect("sweep");
    assert!(fresh.exists() && !old.exists());
    assert_eq!(swept, Swept::default());
}

#[test]
fn a_sidecar_that_a_crash_left_half_written_is_swept_when_it_is_old() {
    let (_dir, pool) = pool();
    let image = pool.images_dir().join("0".repeat(64));
    let other = pool.images_dir().join("somebody's");
    let half = |dir: &Path, name: String, hours: u64| {
        std::fs::create_dir_all(dir).expect("mkdir");
        let path = dir.join(name);
        let file = std::fs::File::create(&path).expect("create");
        let at = SystemTime::now() - Duration::from_secs(hours * 3600);
        file.set_modified(at).expect("set the time");
        path
    };
    let sidecar = || format!(".version-{}.json.partial", Uuid::new_v4());
    let old = half(&image, sidecar(), 2);
    let kept = [
        half(&image, sidecar(), 0),
        half(&image, ".version-1.json.partial".to_owned(), 2),
        half(&image, format!("version-{}.json", Uuid::new_v4()), 2),
        half(&other, sidecar(), 2),
    ];
    pool.sweep_sidecars().expect("sweep");
    assert!(!old.exists());
    assert!(kept.iter().all(|path| path.exists()), "{kept:?}");
}

#[test]
fn dropped_staging_is_gone_and_kept_staging_is_found_again() {
    let (_dir, pool) = pool();
    let id = Uuid::new_v4();
    let staging = pool.ensure_staging(id).expect("stage");
    std::fs::write(staging.path().join("half"), b"x").expect("write");
    staging.keep();
    let again = pool.ensure_staging(id).expect("stage");
    assert_eq!(
        std::fs::read(again.path().join("half")).expect("read"),
        b"x"
    );
    drop(again);
    assert_eq!(count(&pool.staging_dir()), 0);
}

#[test]
fn a_crash_before_the_image_appears_lets_publishing_be_repeated() {
    let (_dir, pool) = pool();
    let staging = pool.stage().expect("stage");
    let (path, index) = staged(staging.path(), 1);
    // The state at the moment before the last rename: the disk linked into a birth place.
    let birth = pool.stage().expect("stage");
    std::fs::create_dir(birth.path().join("image")).expect("mkdir");
    std::fs::hard_link(&path, birth.path().join("image/disk.raw")).expect("link");
    abandon(&pool, birth);
    let swept = pool
        .sweep_staging(&|owner| owner.is_alive().expect("ask"))
        .expect("sweep");
    assert_eq!((swept.removed.len(), swept.alive.len()), (1, 1));
    let published = pool.publish_image(&path, &index, &[]).expect("publish");
    assert!(matches!(published, Published::Created(_)));
    pool.verify_image(&index.image_id(), &Unwatched)
        .expect("verify");
}

#[test]
fn guests_and_usage() {
    let (_dir, pool) = pool();
    let guest = GuestId(Uuid::new_v4());
    let before = pool.usage().expect("measure");
    let dir = pool.ensure_guest_dir(guest).expect("make");
    assert_eq!(mode(&dir), 0o700);
    std::fs::write(dir.join("overlay"), vec![1; 3 << 20]).expect("write");
    publish(&pool, 1);
    let usage = pool.usage().expect("measure");
    assert!(
        usage.guests_bytes - before.guests_bytes >= 3 * MIB,
        "{usage:?}"
    );
    assert!(usage.images_bytes - before.images_bytes >= MIB, "{usage:?}");
    assert!(usage.free_bytes > 0);
    for _ in 0..2 {
        pool.ensure_guest_removed(guest).expect("remove");
        assert!(!dir.exists());
    }
}
