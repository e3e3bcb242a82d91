//! Hundreds of damaged filesystems: every reader and writer gives an answer or an error, soon,
//! and never a panic.

use crate::fs_support::{Dice, FileDisk, Image, comb, tool};
use stampo_guest::fs::{
    Ext4Reader, Ext4Writer, FileKind, FsError, GuestRead, Owner, discard_free, open_write,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Longest time that one damaged filesystem may take.
const PATIENCE: Duration = Duration::from_secs(10);

fn original(args: &[&str]) -> Image {
    let tree = tempfile::tempdir().expect("make a directory");
    for index in 0..60 {
        let directory = tree.path().join(format!("d{}", index % 7));
        std::fs::create_dir_all(&directory).expect("mkdir");
        std::fs::write(directory.join(format!("f{index}")), vec![b'x'; index * 97]).expect("write");
    }
    std::fs::create_dir(tree.path().join("etc")).expect("mkdir");
    std::fs::write(tree.path().join("etc/os-release"), "ID=test").expect("write");
    std::os::unix::fs::symlink("d1/f1", tree.path().join("link")).expect("symlink");
    comb(&tree.path().join("comb"), 60, 4096);
    let image = Image::make(&[args, &["-J", "size=4"]].concat(), 12, Some(tree.path()));
    image.debugfs(&["ea_set /comb user.note something".into()]);
    image
}

/// Every directory, file, link and attribute, without end only in the number of entries.
fn read_all(fs: &dyn GuestRead) -> Result<usize, FsError> {
    let mut rest = vec![String::new()];
    let mut entries = 0;
    while let Some(directory) = rest.pop() {
        for (entry, metadata) in fs.read_dir_with_metadata(&format!("{directory}/"))? {
            entries += 1;
            let Ok(name) = String::from_utf8(entry.name) else {
                continue;
            };
            let path = format!("{directory}/{name}");
            // Errors of one entry do not end the walk, as in an inspection.
            match metadata.map(|metadata| metadata.kind) {
                Ok(FileKind::Directory) if entries < 2000 => rest.push(path.clone()),
                Ok(FileKind::File) => drop(fs.read(&path, 1 << 24)),
                Ok(FileKind::Symlink) => drop(fs.read_link(&path)),
                _ => {}
            }
            drop(fs.xattrs(&path));
        }
    }
    Ok(entries)
}

fn edit(path: &std::path::Path) -> Result<(), FsError> {
    let mut fs = open_write(FileDisk::writable(path))?;
    fs.write("/etc/hostname", b"clone", Owner::root(0o644))?;
    fs.write("/d1/f1", &[1; 9000], Owner::root(0o644))?;
    fs.remove("/comb")?;
    fs.remove_all("/d3")?;
    fs.create_dir_all("/var/lib/x", Owner::root(0o755))?;
    fs.symlink("/link", "elsewhere")?;
    fs.finish()
}

/// What became of the cases.
#[derive(Debug, Default)]
struct Tally {
    read: usize,
    edited: usize,
    refused: usize,
    wiped: usize,
}

fn one(image: &Image, original: &[u8], targets: &[usize], dice: &mut Dice, tally: &mut Tally) {
    let mut bytes = original.to_vec();
    for _ in 0..1 + dice.below(12) {
        let at = targets[dice.below(targets.len())];
        match dice.below(3) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = dice.next() as u8,
            _ => {
                let end = (at + 1 + dice.below(64)).min(bytes.len());
                let noise = dice.bytes(end - at);
                bytes[at..end].copy_from_slice(&noise);
            }
        }
    }
    std::fs::write(&image.path, &bytes).expect("write");
    let read = Ext4Reader::open(FileDisk::read_only(&image.path))
        .and_then(|reader| read_all(reader.as_ref()));
    tally.read += usize::from(read.is_ok());
    match edit(&image.path) {
        Ok(()) => tally.edited += 1,
        Err(_) => {
            tally.refused += 1;
            assert!(image.bytes() == bytes, "a refused edit changed the image");
        }
    }
    tally.wiped += usize::from(discard_free(FileDisk::writable(&image.path)).is_ok());
}

fn damage(args: &[&str], cases: u64) {
    let image = original(args);
    image.assert_clean("before");
    let bytes = image.bytes();
    // What is neither empty nor content: structures, names, the journal's superblock.
    let targets: Vec<usize> = (1024..bytes.len())
        .filter(|&at| bytes[at] != 0 && bytes[at] != b'x')
        .collect();
    let mut tally = Tally::default();
    for case in 0..cases {
        let start = Instant::now();
        let mut dice = Dice(0x9e37_79b9 + case * 7919);
        let run = AssertUnwindSafe(|| one(&image, &bytes, &targets, &mut dice, &mut tally));
        assert!(catch_unwind(run).is_ok(), "{args:?}: case {case} panicked");
        assert!(
            start.elapsed() < PATIENCE,
            "{args:?}: case {case} took {:?}",
            start.elapsed()
        );
    }
    eprintln!("{args:?}: {tally:?}");
    assert!(
        tally.read > 0 && tally.refused > 0,
        "{tally:?}: the damage was not of both kinds"
    );
}

#[test]
fn damaged_filesystems_with_checksums() {
    damage(&["-t", "ext4"], 150);
}

/// Without checksums the damage goes deeper.
#[test]
fn damaged_filesystems_without_checksums() {
    damage(&["-t", "ext4", "-O", "^metadata_csum"], 150);
}

#[test]
fn damaged_filesystems_with_block_maps() {
    damage(&["-t", "ext3"], 100);
}

/// Cut short at any place, a filesystem is an error.
#[test]
fn truncated_filesystems_are_refused() {
    let image = original(&["-t", "ext4"]);
    let bytes = image.bytes();
    for length in [
        0,
        1,
        1023,
        1024,
        1500,
        2047,
        2048,
        4096,
        100_000,
        bytes.len() - 1,
    ] {
        std::fs::write(&image.path, &bytes[..length]).expect("write");
        assert!(
            Ext4Reader::open(FileDisk::read_only(&image.path)).is_err(),
            "{length}"
        );
        assert!(
            Ext4Writer::open(FileDisk::writable(&image.path)).is_err(),
            "{length}"
        );
    }
    assert!(tool("e2fsck", &["-V"]).status.success());
}
