//! Drift of real ext4 filesystems: inode numbers and times as the kernel would leave them, and what
//! was written past them.

use crate::fs_support::{FileDisk, Image};
use stampo_guest::drift::{Baseline, Class, Drift, Options, compare, compare_rest};
use stampo_guest::fs::{Owner, open_write_at};
use std::fs;
use std::ops::Range;

const FILES: usize = 300;
const SECRET: &str = "the content of a program that nobody is to change 0123456789";

fn version() -> Image {
    let tree = tempfile::tempdir().expect("a directory");
    let put = |path: &str, text: &str| {
        let path = tree.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(path, text).expect("write");
    };
    put("etc/os-release", "ID=debian\n");
    put("etc/ssh/sshd_config", "PermitRootLogin no\n");
    put("usr/bin/tool", &SECRET.repeat(40));
    put(
        "var/lib/dpkg/status",
        "Package: tool\nVersion: 1\nArchitecture: all\n\n",
    );
    put("var/lib/dpkg/info/tool.list", "/usr/bin/tool\n");
    for number in 0..FILES {
        put(
            &format!("usr/share/doc/{number}"),
            &format!("text {number}").repeat(60),
        );
    }
    Image::make(&["-t", "ext4"], 32, Some(tree.path()))
}

/// A copy, as a clone's disk is one.
fn clone_of(image: &Image) -> Image {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("fs.raw");
    fs::copy(&image.path, &path).expect("copy");
    Image { dir, path }
}

fn drift(version: &Image, guest: &Image, options: &Options) -> Drift {
    compare(
        version.reader().as_ref(),
        guest.reader().as_ref(),
        &Baseline::default(),
        options,
    )
}

/// Writes over the bytes of a file without the filesystem's knowledge; where they lie.
fn forge(guest: &Image) -> Range<u64> {
    let mut bytes = guest.bytes();
    let at = bytes
        .windows(SECRET.len())
        .position(|part| part == SECRET.as_bytes())
        .expect("the file's content");
    bytes[at..at + 3].copy_from_slice(b"THE");
    fs::write(&guest.path, bytes).expect("write");
    let block = at as u64 / 4096 * 4096;
    block..block + 4096
}

#[test]
fn only_what_was_written_to_is_read() {
    let version = version();
    let guest = clone_of(&version);
    let options = Options::default();
    let found = drift(&version, &guest, &options);
    assert_eq!((found.findings, found.unknowns), (Vec::new(), Vec::new()));
    assert_eq!(found.candidates, 0);
    let mut fs = open_write_at(FileDisk::writable(&guest.path), 1_900_000_000).expect("open");
    fs.write(
        "/etc/ssh/sshd_config",
        b"PermitRootLogin yes\n",
        Owner::root(0o644),
    )
    .expect("write");
    fs.finish().expect("finish");
    let found = drift(&version, &guest, &options);
    let security: Vec<_> = found.paths(Class::Security).into_iter().collect();
    assert_eq!(security, ["/etc/ssh/sshd_config"]);
    assert_eq!(found.findings.len(), 1, "{found:?}");
    assert!(found.candidates < 5, "{}", found.candidates);
    assert!(found.sampled < FILES / 10, "{}", found.sampled);
}

#[test]
fn restored_times_and_size_do_not_hide_a_change() {
    let version = version();
    let guest = clone_of(&version);
    let before = version.reader().metadata("/usr/bin/tool").expect("there");
    let mut content = SECRET.repeat(40);
    content.replace_range(0..3, "THE");
    let now_s = before.mtime_s + 100;
    let mut fs = open_write_at(FileDisk::writable(&guest.path), now_s).expect("open");
    let owner = Owner {
        uid: before.uid,
        gid: before.gid,
        mode: before.mode,
    };
    fs.write("/usr/bin/tool", content.as_bytes(), owner)
        .expect("write");
    fs.finish().expect("finish");
    // touch -d; a ctime can't be put back so.
    guest.debugfs(&[format!("sif /usr/bin/tool mtime @{}", before.mtime_s)]);
    let after = guest.reader().metadata("/usr/bin/tool").expect("there");
    assert_eq!(
        (after.mtime_s, after.size_bytes),
        (before.mtime_s, before.size_bytes)
    );
    let found = drift(&version, &guest, &Options::default());
    assert!(
        found.paths(Class::Security).contains("/usr/bin/tool"),
        "{found:?}"
    );
}

#[test]
fn what_is_written_past_the_filesystem_is_found_by_its_blocks_or_by_reading_everything() {
    let version = version();
    let guest = clone_of(&version);
    let place = forge(&guest);
    let found = |options: Options| {
        let found = drift(&version, &guest, &options);
        let only: Vec<_> = found.findings.iter().map(|one| one.path.clone()).collect();
        assert!(only.is_empty() || only == ["/usr/bin/tool"], "{only:?}");
        found
            .findings
            .first()
            .map(|one| (one.class, one.what.clone()))
    };
    let forged = Some((
        Class::Security,
        vec![
            "content".to_owned(),
            "its times say that it was not written".to_owned(),
        ],
    ));
    assert_eq!(
        found(Options {
            paranoid: true,
            ..Options::default()
        }),
        forged
    );
    let touched = |ranges| Options {
        touched: Some(ranges),
        ..Options::default()
    };
    assert_eq!(found(touched(vec![0..1024, place])), forged);
    assert_eq!(
        found(touched(vec![0..1024; 1])),
        None,
        "then the blocks are the version's"
    );
    // Of a hundred samples about one meets the file: chance finds it in the end.
    let met = (0..2000).any(|seed| {
        found(Options {
            seed,
            ..Options::default()
        }) == forged
    });
    assert!(met, "no sample met it");
}

#[test]
fn parts_of_the_disk_without_a_tree_are_compared_by_their_bytes() {
    let dir = tempfile::tempdir().expect("a directory");
    let [version, guest] = ["version", "guest"].map(|name| dir.path().join(name));
    // An MBR with two Linux partitions of 1 MiB, at 1 and 2 MiB.
    let mut bytes = vec![0; 4 << 20];
    for (slot, start) in [(0, 2048_u32), (1, 4096)] {
        let at = 446 + slot * 16;
        bytes[at + 4] = 0x83;
        bytes[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
        bytes[at + 12..at + 16].copy_from_slice(&2048_u32.to_le_bytes());
    }
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    fs::write(&version, &bytes).expect("write");
    let compared = |places: &[usize], touched: Option<&[Range<u64>]>| {
        let mut changed = bytes.clone();
        for place in places {
            changed[*place] ^= 1;
        }
        fs::write(&guest, changed).expect("write");
        let disks = (FileDisk::read_only(&version), FileDisk::read_only(&guest));
        let parts = compare_rest(&disks.0, &disks.1, Some(1), touched).expect("compared");
        let differ = parts.into_iter().filter(|part| part.is_same != Some(true));
        differ.map(|part| part.name).collect::<Vec<_>>()
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(compared(&[], None), none);
    assert_eq!(
        compared(&[1 << 20], None),
        none,
        "the root is not its business"
    );
    assert_eq!(compared(&[7], None), ["the boot code"]);
    assert_eq!(
        compared(&[1000], None),
        ["what lies before the first partition"]
    );
    assert_eq!(compared(&[(2 << 20) + 5], None), ["partition 2"]);
    let untouched = 0..2 << 20;
    assert_eq!(
        compared(&[(2 << 20) + 5], Some(&[untouched])),
        none,
        "the blocks say so"
    );
}
