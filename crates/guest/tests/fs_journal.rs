//! Unclean journals, made without mounting: the blocks by which two filesystems differ are put
//! into the journal of the first, so that its replay has to give the second.

use crate::fs_support::{
    FileDisk, Image, Tree, assert_same, first_opinion, run, second_opinion, tool,
};
use stampo_guest::fs::{Ext4Reader, Ext4Writer, Owner, discard_free};
use std::os::unix::fs::FileExt;

const NOW: i64 = 1_900_000_000;
/// A block that begins like a block of the journal itself has to be escaped in it.
const JOURNAL_MAGIC: [u8; 4] = [0xc0, 0x3b, 0x39, 0x98];

/// A filesystem before and after some edits, and with the edits in its journal only.
struct Unclean {
    image: Image,
    after: Tree,
    block_size: usize,
}

fn copy_of(image: &Image) -> Image {
    let dir = tempfile::tempdir().expect("make a directory");
    let path = dir.path().join("fs.raw");
    std::fs::copy(&image.path, &path).expect("copy");
    Image { dir, path }
}

fn populated(args: &[&str]) -> Image {
    let tree = tempfile::tempdir().expect("make a directory");
    std::fs::create_dir(tree.path().join("etc")).expect("mkdir");
    for index in 0..300 {
        let name = tree.path().join(format!("etc/file-{index}"));
        std::fs::write(name, format!("old {index}").repeat(index)).expect("write");
    }
    Image::make(args, 64, Some(tree.path()))
}

fn edited(image: &Image) -> Image {
    let copy = copy_of(image);
    let mut fs = Ext4Writer::with_clock(FileDisk::writable(&copy.path), NOW).expect("open");
    for index in 0..60 {
        let path = format!("/etc/file-{index}");
        fs.write(
            &path,
            format!("new {index}").repeat(500).as_bytes(),
            Owner::root(0o600),
        )
        .expect("write");
    }
    for index in 100..160 {
        assert!(fs.remove(&format!("/etc/file-{index}")).expect("remove"));
    }
    let escaped = [&JOURNAL_MAGIC[..], &[7; 5000]].concat();
    fs.write("/etc/magic", &escaped, Owner::root(0o644))
        .expect("write");
    fs.create_dir_all("/var/lib/new", Owner::root(0o700))
        .expect("mkdir");
    fs.finish().expect("finish");
    copy.assert_clean("after the edits");
    copy
}

impl Unclean {
    /// `format` is how debugfs opens the journal: its version and whether it has checksums.
    fn make(args: &[&str], format: &str) -> Unclean {
        let image = populated(args);
        let target = edited(&image);
        let after = second_opinion(&target.path);
        let block_size = match run("dumpe2fs", &["-h", image.name()])
            .lines()
            .find_map(|line| line.strip_prefix("Block size:"))
        {
            Some(size) => size.trim().parse().expect("a number"),
            None => panic!("dumpe2fs names no block size"),
        };
        let unclean = Unclean {
            image,
            after,
            block_size,
        };
        unclean.log(&target, format);
        unclean
    }

    /// Writes the blocks in which `target` differs into the journal: garbage and half of them in a
    /// first transaction, the truth in a second, and a block that is revoked in a third.
    fn log(&self, target: &Image, format: &str) {
        let (old, new) = (self.image.bytes(), target.bytes());
        let changed: Vec<usize> = (0..old.len() / self.block_size)
            .filter(|&block| {
                let range = block * self.block_size..(block + 1) * self.block_size;
                old[range.clone()] != new[range]
            })
            .collect();
        assert!(
            changed.len() > 20,
            "the edits changed {} blocks",
            changed.len()
        );
        let list = |blocks: &[usize]| {
            blocks
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(",")
        };
        let file = |name: &str, bytes: &[u8]| {
            let path = self.image.dir.path().join(name);
            std::fs::write(&path, bytes).expect("write blocks");
            path.to_str().expect("text").to_owned()
        };
        let truth: Vec<u8> = changed
            .iter()
            .flat_map(|block| &new[block * self.block_size..(block + 1) * self.block_size])
            .copied()
            .collect();
        let half = &changed[changed.len() / 2..];
        let garbage = file("garbage", &vec![0xa5; half.len() * self.block_size]);
        let truth = file("truth", &truth);
        // The last block of the filesystem is free; a write to it that is revoked must not happen.
        let last = old.len() / self.block_size - 1;
        let revoked = file("revoked", &vec![0x5a; self.block_size]);
        let said = self.image.debugfs(&[
            format!("jo {format}"),
            format!("jw -b {} {garbage}", list(half)),
            format!("jw -b {last} {revoked}"),
            format!("jw -b {} {truth}", list(&changed)),
            format!("jw -r {last}"),
            "jc".into(),
        ]);
        let header = run("dumpe2fs", &["-h", self.image.name()]);
        assert!(
            header.contains("needs_recovery"),
            "debugfs {format}: {said}\n{header}"
        );
    }
}

fn check(args: &[&str], format: &str) {
    let what = format!("{args:?} {format:?}");
    let unclean = Unclean::make(args, format);
    let image = &unclean.image;
    let before = image.bytes();

    // e2fsck's own replay is the ground truth.
    let truth = copy_of(image);
    let code = tool("e2fsck", &["-y", "-E", "journal_only", truth.name()])
        .status
        .code();
    assert!(
        matches!(code, Some(0 | 1)),
        "{what}: e2fsck replays: {code:?}"
    );
    assert_same(
        &unclean.after,
        &second_opinion(&truth.path),
        &format!("{what}, e2fsck"),
    );

    let reader = Ext4Reader::open(FileDisk::read_only(&image.path)).expect("open");
    assert_same(
        &unclean.after,
        &first_opinion(reader.as_ref()),
        &format!("{what}, reader"),
    );
    drop(reader);
    let reader = Ext4Reader::open(FileDisk::writable(&image.path)).expect("open");
    assert_eq!(
        reader.read("/etc/magic", 9000).expect("escaped")[..4],
        JOURNAL_MAGIC
    );
    drop(reader);
    assert!(image.bytes() == before, "{what}: reading changed the image");

    // A writer that is dropped leaves even the journal as it was.
    drop(Ext4Writer::open(FileDisk::writable(&image.path)).expect("open"));
    assert!(
        image.bytes() == before,
        "{what}: opening for writing changed the image"
    );
    assert!(
        discard_free(FileDisk::writable(&image.path)).is_err(),
        "{what}: wiped while unclean"
    );
    assert!(
        image.bytes() == before,
        "{what}: the refused wipe changed the image"
    );

    let fs = Ext4Writer::with_clock(FileDisk::writable(&image.path), NOW).expect("open");
    assert_same(
        &unclean.after,
        &first_opinion(fs.as_ref()),
        &format!("{what}, writer"),
    );
    fs.finish().expect("finish");
    image.assert_clean(&what);
    assert_same(
        &unclean.after,
        &second_opinion(&image.path),
        &format!("{what}, replayed"),
    );
    let mut last = vec![0; unclean.block_size];
    let file = std::fs::File::open(&image.path).expect("open");
    file.read_exact_at(&mut last, before.len() as u64 - unclean.block_size as u64)
        .expect("read");
    assert!(
        last.iter().all(|byte| *byte == 0),
        "{what}: a revoked block was replayed"
    );
}

#[test]
fn a_journal_without_checksums() {
    check(&["-t", "ext4", "-O", "^metadata_csum"], "");
}

#[test]
fn a_journal_with_checksums() {
    check(&["-t", "ext4"], "-c -v 3");
}

#[test]
fn a_journal_with_the_older_checksums() {
    check(&["-t", "ext4"], "-c -v 2");
}

#[test]
fn a_journal_of_32_bit_blocks() {
    check(&["-t", "ext4", "-O", "^64bit"], "-c");
}

#[test]
fn a_journal_of_blocks_of_1k() {
    check(&["-t", "ext4", "-b", "1024"], "-c");
}

#[test]
fn a_journal_of_ext3() {
    check(&["-t", "ext3"], "");
}

/// A damaged journal is no reason to show an older state of the filesystem.
#[test]
fn a_damaged_copy_in_the_journal_is_an_error() {
    let unclean = Unclean::make(&["-t", "ext4"], "-c -v 3");
    let place = run("debugfs", &["-R", "bmap <8> 2", unclean.image.name()]);
    let block: u64 = place.trim().parse().expect("a block");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&unclean.image.path)
        .expect("open");
    file.write_all_at(b"flip", block * unclean.block_size as u64 + 100)
        .expect("write");
    for result in [
        Ext4Reader::open(FileDisk::read_only(&unclean.image.path)).map(drop),
        Ext4Writer::open(FileDisk::writable(&unclean.image.path)).map(drop),
    ] {
        let error = result.expect_err("a damaged journal").to_string();
        assert!(error.contains("checksum"), "{error}");
    }
}
