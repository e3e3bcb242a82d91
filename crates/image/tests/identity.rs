//! The image-id does not depend on how a disk is stored, and verification finds every change.

use proptest::prelude::*;
use stampo_image::device::BlockDevice;
use stampo_image::identity::{
    IdentityError, LEAF_BYTES, LeafIndex, image_id, leaf_index, leaf_index_of_device, update,
    verify,
};
use stampo_image::progress::Unwatched;
use stampo_image::raw::RawFile;
use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use tempfile::TempDir;

/// Pieces of a disk: where, how long, which byte (0 writes real zeros, not a hole).
type Pieces = Vec<(u64, usize, u8)>;

fn write_disk(path: &Path, size: u64, pieces: &Pieces) -> Vec<u8> {
    let mut model = vec![0; size as usize];
    let file = File::create(path).expect("create");
    file.set_len(size).expect("size");
    for (at, length, byte) in pieces {
        let at = at % size;
        let length = (*length as u64).min(size - at) as usize;
        file.write_all_at(&vec![*byte; length], at).expect("write");
        model[at as usize..at as usize + length].fill(*byte);
    }
    model
}

/// The id straight from its definition, without threads, holes or leaves that are skipped early.
fn id_by_definition(disk: &[u8]) -> String {
    let mut text = b"stampo image v1\n".to_vec();
    text.extend_from_slice(&(disk.len() as u64).to_le_bytes());
    for (number, leaf) in disk.chunks(LEAF_BYTES as usize).enumerate() {
        if leaf.iter().any(|byte| *byte != 0) {
            text.extend_from_slice(&(number as u64).to_le_bytes());
            text.extend_from_slice(blake3::hash(leaf).as_bytes());
        }
    }
    blake3::hash(&text).to_hex().to_string()
}

fn scratch() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("make a directory");
    let path = dir.path().join("disk.raw");
    (dir, path)
}

fn disk() -> impl Strategy<Value = (u64, Pieces)> {
    let piece = (
        0..5 * LEAF_BYTES,
        1..200_000_usize,
        prop::sample::select(vec![0, 0, 1, 255]),
    );
    (1..5 * LEAF_BYTES, prop::collection::vec(piece, 0..6))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_id_is_the_definition_whatever_the_holes((size, pieces) in disk()) {
        let (dir, path) = scratch();
        let model = write_disk(&path, size, &pieces);
        let dense = dir.path().join("dense.raw");
        std::fs::write(&dense, &model).expect("write");
        let expected = id_by_definition(&model);
        for file in [&path, &dense] {
            let id = image_id(file, &Unwatched).expect("hash");
            prop_assert_eq!(id.as_str(), expected.as_str());
        }
        let device = RawFile::open_read_only(&path).expect("open");
        let index = leaf_index_of_device(&device, &Unwatched).expect("hash");
        let id = index.image_id();
        prop_assert_eq!(id.as_str(), expected.as_str());
    }

    #[test]
    fn hashing_what_changed_gives_the_same_as_hashing_all(
        (size, pieces) in disk(),
        (_, changes) in disk(),
        new_size in 1..5 * LEAF_BYTES,
    ) {
        let (_dir, path) = scratch();
        write_disk(&path, size, &pieces);
        let before = leaf_index(&path, &Unwatched).expect("hash");
        let file = File::options().write(true).open(&path).expect("open");
        file.set_len(new_size).expect("resize");
        let mut changed = Vec::new();
        for (at, length, byte) in &changes {
            let at = at % new_size;
            let length = (*length as u64).min(new_size - at);
            file.write_all_at(&vec![*byte; length as usize], at).expect("write");
            changed.push(at..at + length);
        }
        let updated = update(&before, &path, &changed, &Unwatched).expect("hash");
        prop_assert_eq!(updated, leaf_index(&path, &Unwatched).expect("hash"));
    }

    #[test]
    fn one_changed_byte_is_found_in_its_leaf((size, pieces) in disk(), at in any::<u64>()) {
        let (_dir, path) = scratch();
        let model = write_disk(&path, size, &pieces);
        let stored = leaf_index(&path, &Unwatched).expect("hash").encode();
        let record = LeafIndex::decode(&stored).expect("decode");
        verify(&path, &record, &Unwatched).expect("unchanged");
        let at = at % size;
        let file = File::options().write(true).open(&path).expect("open");
        file.write_all_at(&[model[at as usize] ^ 0x10], at).expect("write");
        match verify(&path, &record, &Unwatched) {
            Err(IdentityError::Corrupt { leaf, offset }) => {
                prop_assert_eq!((leaf, offset), (at / LEAF_BYTES, at / LEAF_BYTES * LEAF_BYTES));
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }
}

#[test]
fn known_ids_never_change() {
    let (_dir, path) = scratch();
    let id = |size: u64, pieces: &Pieces| {
        write_disk(&path, size, pieces);
        image_id(&path, &Unwatched).expect("hash").to_string()
    };
    // Recorded once from `id_by_definition`; a change here is a change of the format.
    assert_eq!(
        id(3 * LEAF_BYTES, &vec![]),
        "ebc2de08279194279ab3e457b46b24b04a0952373a29469c518a344b901013aa",
    );
    assert_eq!(
        id(
            2 * LEAF_BYTES + 100,
            &vec![(5, 10, 7), (2 * LEAF_BYTES, 100, 9)]
        ),
        "f645adf63d0eb68a3dd49e228c1e2ab35457dcf0f7f436c5fdf08dc88e6ca72a",
    );
}

#[test]
fn a_shorter_disk_is_reported_as_such() {
    let (_dir, path) = scratch();
    write_disk(&path, 3 * LEAF_BYTES, &vec![(0, 10, 1)]);
    let record = leaf_index(&path, &Unwatched).expect("hash");
    File::options()
        .write(true)
        .open(&path)
        .expect("open")
        .set_len(LEAF_BYTES)
        .expect("cut");
    let error = verify(&path, &record, &Unwatched).expect_err("must be found");
    assert!(matches!(error, IdentityError::Size { .. }), "{error:?}");
}

#[test]
fn hashing_stops_when_asked() {
    let (_dir, path) = scratch();
    write_disk(&path, 8 * LEAF_BYTES, &vec![(0, 8 << 20, 1)]);
    let set = AtomicBool::new(true);
    assert!(matches!(
        image_id(&path, &set),
        Err(IdentityError::Cancelled)
    ));
    let after_three = |done: u64, total: u64| {
        assert!(done <= total && total == 8 * LEAF_BYTES);
        if done >= 3 * LEAF_BYTES {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    assert!(matches!(
        image_id(&path, &after_three),
        Err(IdentityError::Cancelled)
    ));
}

#[test]
fn a_read_error_names_the_place() {
    struct Broken;
    impl BlockDevice for Broken {
        fn size_bytes(&self) -> u64 {
            4 * LEAF_BYTES
        }
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
            buf.fill(1);
            if offset == 2 * LEAF_BYTES {
                Err(std::io::Error::other("bad sector"))
            } else {
                Ok(())
            }
        }
        fn write_at(&self, _: u64, _: &[u8]) -> std::io::Result<()> {
            Err(std::io::ErrorKind::PermissionDenied.into())
        }
        fn discard(&self, _: u64, _: u64) -> std::io::Result<()> {
            Err(std::io::ErrorKind::PermissionDenied.into())
        }
        fn flush(&self) -> std::io::Result<()> {
            Ok(())
        }
        fn is_writable(&self) -> bool {
            false
        }
    }
    let error = leaf_index_of_device(&Broken, &Unwatched).expect_err("must fail");
    assert_eq!(
        error.to_string(),
        format!("read a disk at byte {}", 2 * LEAF_BYTES)
    );
}
