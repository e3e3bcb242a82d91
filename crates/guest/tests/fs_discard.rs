//! Removing a file does not remove its bytes. After `discard_free` they are gone, and nothing else.

use crate::fs_support::{FileDisk, Image, assert_same, comb, first_opinion, run, second_opinion};
use stampo_guest::fs::residue::{MAX_RESIDUE, residue};
use stampo_guest::fs::{Ext4Writer, Owner, discard_free};
use std::os::unix::fs::FileExt;

const NOW: i64 = 1_900_000_000;
/// In the content of removed files.
const CONTENT: &[u8] = b"-----BEGIN SECRET KEY 7f3a-----";
/// In the names of removed files, and in targets of removed links.
const NAME: &str = "name-of-a-removed-thing";

fn content(index: usize) -> Vec<u8> {
    let mut bytes = vec![b'.'; index % 3 * 4000];
    bytes.extend(CONTENT);
    bytes.extend(index.to_string().bytes());
    bytes
}

fn found(image: &Image) -> (usize, usize) {
    let disk = FileDisk::read_only(&image.path);
    let of = |needle: &[u8]| residue(disk.as_ref(), &[needle]).expect("search").len();
    (of(CONTENT), of(NAME.as_bytes()))
}

/// A filesystem with 1,000 secrets from the start, among files that stay.
fn with_secrets(args: &[&str]) -> Image {
    let tree = tempfile::tempdir().expect("make a directory");
    let directory = tree.path().join("mixed");
    std::fs::create_dir_all(tree.path().join("only/below")).expect("mkdir");
    std::fs::create_dir(&directory).expect("mkdir");
    comb(&tree.path().join("kept-comb"), 200, 4096);
    for index in 0..500 {
        std::fs::write(directory.join(format!("{NAME}-{index}")), content(index)).expect("write");
        let only = tree.path().join(format!("only/below/{NAME}-{index}"));
        std::fs::write(only, content(index)).expect("write");
        std::fs::write(
            directory.join(format!("kept-{index}")),
            vec![b'k'; index * 20],
        )
        .expect("write");
    }
    Image::make(args, 300, Some(tree.path()))
}

/// Adds another 1,000 secrets, then removes all 2,000 of them.
fn remove_everything(image: &Image) {
    let mut fs = Ext4Writer::with_clock(FileDisk::writable(&image.path), NOW).expect("open");
    let owner = Owner::root(0o600);
    for index in 500..1500 {
        fs.write(&format!("/mixed/{NAME}-{index}"), &content(index), owner)
            .expect("write");
    }
    fs.symlink("/mixed/link", &format!("/short/{NAME}"))
        .expect("link");
    fs.symlink("/mixed/long-link", &format!("/{}/{NAME}", "l".repeat(80)))
        .expect("link");
    fs.finish().expect("finish");
    image.assert_clean("with secrets");
    let mut fs = Ext4Writer::with_clock(FileDisk::writable(&image.path), NOW).expect("open");
    for index in 0..1500 {
        assert!(
            fs.remove(&format!("/mixed/{NAME}-{index}"))
                .expect("remove")
        );
    }
    assert!(fs.remove("/mixed/link").expect("remove"));
    assert!(fs.remove("/mixed/long-link").expect("remove"));
    assert!(fs.remove_all("/only").expect("remove"));
    fs.finish().expect("finish");
    image.assert_clean("without secrets");
}

fn check(args: &[&str]) {
    let what = format!("{args:?}");
    let image = with_secrets(args);
    remove_everything(&image);
    let (contents, names) = found(&image);
    assert_eq!(
        contents, MAX_RESIDUE,
        "{what}: few contents were left, so this proves nothing"
    );
    assert!(
        names > 0,
        "{what}: no names were left, so this proves nothing"
    );
    plant(&image);
    let before = second_opinion(&image.path);

    let done = discard_free(FileDisk::writable(&image.path)).expect("discard");
    assert_eq!(
        found(&image),
        (0, 0),
        "{what}: contents and names after {done:?}"
    );
    image.assert_clean(&what);
    assert_same(&before, &second_opinion(&image.path), &what);
    assert_same(&before, &first_opinion(image.reader().as_ref()), &what);
    assert!(done.free_bytes > 50 << 20, "{done:?}");
    assert!(
        done.file_ends >= 1 && done.directory_blocks >= 1,
        "{done:?}"
    );

    // The second time there is nothing left to rewrite.
    let again = discard_free(FileDisk::writable(&image.path)).expect("discard again");
    assert_eq!((again.file_ends, again.directory_blocks), (0, 0));
    // And the filesystem can still be written.
    let mut fs = Ext4Writer::open(FileDisk::writable(&image.path)).expect("open");
    fs.write("/mixed/new", &vec![1; 3 << 20], Owner::root(0o644))
        .expect("write");
    fs.finish().expect("finish");
    image.assert_clean(&what);
}

/// Puts secrets where only a kernel leaves them: behind the end of a file, into the journal's log,
/// into the slot of an inode that is not in use, into preallocated space.
fn plant(image: &Image) {
    image.debugfs(&[
        "write /dev/null kept-prealloc".into(),
        "fallocate kept-prealloc 0 3".into(),
    ]);
    let debugfs = |request: &str| run("debugfs", &["-R", request, image.name()]);
    let header = run("dumpe2fs", &["-h", image.name()]);
    let number = |line: &str| -> u64 {
        let value = header
            .lines()
            .find_map(|l| l.strip_prefix(line))
            .expect("a line of dumpe2fs");
        value.trim().parse().expect("a number")
    };
    let block_size = number("Block size:");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&image.path)
        .expect("open");
    let put = |at: u64| {
        file.write_all_at(CONTENT, at).expect("plant");
        file.write_all_at(NAME.as_bytes(), at + CONTENT.len() as u64)
            .expect("plant");
    };
    let block = |request: &str| -> u64 {
        let text = debugfs(request);
        let first = text.split_whitespace().next().expect("a block");
        first
            .parse()
            .unwrap_or_else(|_| panic!("debugfs {request}: {text}"))
    };
    // `kept-3` has 60 bytes.
    put(block("bmap /mixed/kept-3 0") * block_size + 60);
    put(block("bmap /kept-prealloc 1") * block_size + 8);
    if header.contains("has_journal") {
        put(block("bmap <8> 5") * block_size + 12);
    }
    let unused = number("Inode count:") - 2;
    let place = debugfs(&format!("imap <{unused}>"));
    let (_, located) = place.split_once("located at block ").expect("a place");
    let (table, inside) = located.trim().split_once(", offset 0x").expect("a block");
    let table: u64 = table.parse().expect("a block");
    let inside = u64::from_str_radix(inside, 16).expect("hex");
    put(table * block_size + inside + 20);
}

#[test]
fn the_defaults_of_mke2fs() {
    check(&["-t", "ext4"]);
}

#[test]
fn a_seed_and_an_orphan_file() {
    check(&["-t", "ext4", "-O", "orphan_file,metadata_csum_seed"]);
}

#[test]
fn blocks_of_1k_without_checksums() {
    check(&["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"]);
}

#[test]
fn old_group_checksums_without_flexible_groups() {
    check(&[
        "-t",
        "ext4",
        "-O",
        "^metadata_csum,uninit_bg,^flex_bg,^resize_inode",
    ]);
}

#[test]
fn no_journal() {
    check(&["-t", "ext4", "-O", "^has_journal"]);
}

/// Clearing what removed names left behind gives the block a new checksum: over damage it would
/// make a wrong name look like a right one.
#[test]
fn a_damaged_directory_is_refused_and_does_not_become_a_good_one() {
    let tree = tempfile::tempdir().expect("make a directory");
    for name in ["etc/os-release-of-the-guest", "etc/another"] {
        std::fs::create_dir_all(tree.path().join("etc")).expect("mkdir");
        std::fs::write(tree.path().join(name), "x").expect("write");
    }
    let image = Image::make(&["-t", "ext4"], 16, Some(tree.path()));
    let bytes = image.bytes();
    let name = b"os-release-of-the-guest";
    let at = bytes.windows(name.len()).position(|window| window == name);
    let file = std::fs::File::options().write(true).open(&image.path);
    let file = file.expect("the image");
    file.write_all_at(b"O", at.expect("the name is on the disk") as u64)
        .expect("written");
    let damaged = image.bytes();
    let error = discard_free(FileDisk::writable(&image.path)).expect_err("it is damaged");
    assert!(
        error
            .to_string()
            .contains("checksum of a block of directory"),
        "{error}"
    );
    let place = at.expect("found") / 4096 * 4096;
    assert!(image.bytes()[place..place + 4096] == damaged[place..place + 4096]);
}
