//! A copy has the same content and the same holes, and appears whole or not at all.

use stampo_image::copy::{CopyError, Method, Used, copy_image, probe_reflink};
use stampo_image::durable::partial_path;
use stampo_image::identity::image_id;
use stampo_image::progress::Unwatched;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

/// A disk of 256 MiB with 3 MiB of data.
fn source() -> (TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().expect("make a directory");
    let (from, to) = (dir.path().join("from.raw"), dir.path().join("to.raw"));
    let file = File::create(&from).expect("create");
    file.set_len(256 * MIB).expect("size");
    file.write_all_at(&vec![1; 2 << 20], 10 * MIB)
        .expect("write");
    file.write_all_at(&vec![2; 1 << 20], 255 * MIB)
        .expect("write");
    (dir, from, to)
}

#[test]
fn a_sparse_copy_is_equal_and_keeps_the_holes() {
    let (_dir, from, to) = source();
    let copied = copy_image(&from, &to, Method::Sparse, &Unwatched).expect("copy");
    assert_eq!((copied.used, copied.size_bytes), (Used::Sparse, 256 * MIB));
    assert!(
        (3 * MIB..4 * MIB).contains(&copied.copied_bytes),
        "{copied:?}"
    );
    let id = |path| image_id(path, &Unwatched).expect("hash");
    assert_eq!(id(&from), id(&to));
    let used = std::fs::metadata(&to).expect("stat").blocks() * 512;
    assert!(used < 4 * MIB, "{used} bytes used");
}

#[test]
fn auto_uses_a_reflink_exactly_where_the_probe_says_so() {
    let (dir, from, to) = source();
    let copied = copy_image(&from, &to, Method::Auto, &Unwatched).expect("copy");
    let can = probe_reflink(dir.path()).expect("probe");
    assert_eq!(copied.used == Used::Reflink, can);
    assert_eq!(copied.copied_bytes == 0, can);
    let only = copy_image(
        &from,
        &dir.path().join("only.raw"),
        Method::Reflink,
        &Unwatched,
    );
    assert_eq!(only.is_ok(), can);
    assert!(can || matches!(only, Err(CopyError::NoReflink(_))));
}

#[test]
fn an_existing_target_is_left_alone() {
    let (_dir, from, to) = source();
    std::fs::write(&to, b"precious").expect("write");
    let error = copy_image(&from, &to, Method::Auto, &Unwatched).expect_err("must be refused");
    assert!(matches!(error, CopyError::Exists(_)));
    assert_eq!(std::fs::read(&to).expect("read"), b"precious");
}

#[test]
fn a_cancelled_copy_leaves_nothing_and_a_crashed_one_is_replaced() {
    let (_dir, from, to) = source();
    let stop = AtomicBool::new(true);
    let error = copy_image(&from, &to, Method::Sparse, &stop).expect_err("must stop");
    assert!(matches!(error, CopyError::Cancelled(_)));
    assert!(!to.exists() && !partial_path(&to).exists());
    std::fs::write(partial_path(&to), b"left by a crash").expect("write");
    copy_image(&from, &to, Method::Sparse, &Unwatched).expect("copy");
    assert!(to.exists() && !partial_path(&to).exists());
}

#[test]
fn a_directory_is_not_an_image() {
    let (dir, _, to) = source();
    let error = copy_image(dir.path(), &to, Method::Auto, &Unwatched).expect_err("must fail");
    assert!(matches!(error, CopyError::Source { .. }), "{error:?}");
    assert!(!to.exists());
}
