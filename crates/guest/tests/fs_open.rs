//! Finding the system on a disk, e2fsck's verdict, and a UUID of one's own.

use crate::fs_support::{FileDisk, Image, run, tool};
use stampo_guest::fs::check::{CheckError, Verdict, e2fsck_clean, e2fsck_clean_within};
use stampo_guest::fs::{
    Ext4Writer, FsError, Owner, find_root, open_read, open_write, open_write_at,
};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;
use uuid::Uuid;

const MIB: u64 = 1 << 20;

fn system(args: &[&str], megabytes: u32, directories: &[&str]) -> Image {
    let tree = tempfile::tempdir().expect("make a directory");
    for directory in directories {
        std::fs::create_dir_all(tree.path().join(directory)).expect("mkdir");
    }
    if directories.contains(&"etc") {
        std::fs::write(tree.path().join("etc/os-release"), "ID=test\n").expect("write");
    }
    Image::make(args, megabytes, Some(tree.path()))
}

/// A disk with an MBR whose partitions hold these bytes, each from the next mebibyte on.
fn disk(parts: &[Vec<u8>]) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().expect("make a directory");
    let path = dir.path().join("disk ?offset=1.raw");
    let file = File::create(&path).expect("create");
    let mut start = MIB;
    let mut table = [0; 512];
    for (index, part) in parts.iter().enumerate() {
        let entry = &mut table[446 + 16 * index..][..16];
        entry[4] = 0x83;
        entry[8..12].copy_from_slice(&((start / 512) as u32).to_le_bytes());
        entry[12..16].copy_from_slice(&((part.len() / 512) as u32).to_le_bytes());
        file.write_all_at(part, start).expect("write");
        start = (start + part.len() as u64).next_multiple_of(MIB);
    }
    table[510..].copy_from_slice(&[0x55, 0xaa]);
    file.write_all_at(&table, 0).expect("write");
    file.set_len(start + MIB).expect("size");
    (dir, path)
}

fn magic(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut part = vec![0; 2 << 20];
    part[at..at + bytes.len()].copy_from_slice(bytes);
    part
}

#[test]
fn the_system_is_found_among_other_partitions() {
    let data = system(&["-t", "ext4"], 8, &["etc-of-nobody"]);
    let half = system(&["-t", "ext4"], 8, &["etc"]);
    let whole = system(&["-t", "ext4"], 8, &["etc", "usr/bin"]);
    let swap = magic(4086, b"SWAPSPACE2");
    let (_dir, path) = disk(&[swap, data.bytes(), half.bytes(), whole.bytes()]);
    let root = find_root(FileDisk::read_only(&path)).expect("find");
    assert_eq!((root.number, root.size_bytes), (Some(4), 8 * MIB));
    assert_eq!(root.start_bytes, (1 + 2 + 8 + 8) * MIB);

    let mut fs = open_write(FileDisk::writable(&path)).expect("open");
    fs.write("/etc/hostname", b"clone\n", Owner::root(0o644))
        .expect("write");
    fs.finish().expect("finish");
    let fs = open_read(FileDisk::read_only(&path)).expect("open");
    assert_eq!(fs.read("/etc/hostname", 10).expect("read"), b"clone\n");
    // The path has a question mark, after which e2fsck would expect options.
    assert_eq!(
        e2fsck_clean(&path, root.start_bytes).expect("check"),
        Verdict::Clean
    );
}

#[test]
fn a_filesystem_on_the_bare_disk_is_a_system_too() {
    let image = system(&["-t", "ext4"], 16, &["etc", "usr"]);
    let root = find_root(FileDisk::read_only(&image.path)).expect("find");
    assert_eq!((root.number, root.start_bytes), (None, 0));
}

#[test]
fn other_disks_are_refused_by_name_and_with_advice() {
    for (part, name) in [
        (magic(0, b"XFSB"), "xfs"),
        (magic(0x1_0040, b"_BHRfS_M"), "btrfs"),
        (
            magic(512, b"LABELONE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0LVM2 001"),
            "LVM2_member",
        ),
        (magic(0, b"LUKS\xba\xbe\0\x02"), "crypto_LUKS"),
    ] {
        let (_dir, path) = disk(&[part]);
        let before = std::fs::read(&path).expect("read");
        let error = open_write(FileDisk::writable(&path)).err().expect(name);
        match &error {
            FsError::Unsupported { filesystem, why } => {
                assert_eq!(filesystem, name);
                assert!(why.contains("template") || why.contains("ext4"), "{why}");
            }
            other => panic!("{name}: {other:?}"),
        }
        assert!(
            std::fs::read(&path).expect("read") == before,
            "{name}: the disk changed"
        );
    }
    let (_dir, path) = disk(&[vec![0; 2 << 20]]);
    assert!(matches!(
        open_read(FileDisk::read_only(&path)),
        Err(FsError::NoSystem)
    ));
}

#[test]
fn a_read_only_disk_can_be_read_and_not_written() {
    let image = system(&["-t", "ext4"], 16, &["etc", "usr"]);
    assert!(open_read(FileDisk::read_only(&image.path)).is_ok());
    let error = open_write(FileDisk::read_only(&image.path))
        .err()
        .expect("read-only");
    assert!(matches!(error, FsError::Device(_)), "{error:?}");
}

/// The same edits with the same clock give the same bytes; the clock is in them.
/// e2fsck would look for that device among those of the host.
#[test]
fn a_journal_on_another_device_is_refused_before_anything_is_changed() {
    use std::os::unix::fs::FileExt;
    let image = system(&["-t", "ext4", "-O", "^metadata_csum"], 16, &["etc", "usr"]);
    let file = std::fs::File::options().write(true).open(&image.path);
    let file = file.expect("the image");
    for (at, bytes) in [(0xd0, &[0xab; 16][..]), (0xe0, &[0; 4])] {
        let before = image.bytes();
        file.write_all_at(bytes, 1024 + at).expect("written");
        let refused = stampo_guest::fs::open_write(FileDisk::writable(&image.path));
        let error = refused.map(drop).expect_err("must be refused").to_string();
        assert!(
            error.contains("its journal is on another device"),
            "{error}"
        );
        file.write_all_at(&before[1024 + at as usize..][..bytes.len()], 1024 + at)
            .expect("written");
    }
    stampo_guest::fs::open_write(FileDisk::writable(&image.path)).expect("its own journal");
}

#[test]
fn edits_are_reproducible() {
    let image = system(&["-t", "ext4"], 16, &["etc", "usr"]);
    let original = image.bytes();
    let edit = || {
        std::fs::write(&image.path, &original).expect("restore");
        let mut fs = open_write_at(FileDisk::writable(&image.path), 1_700_000_000).expect("open");
        fs.write("/etc/hostname", b"clone\n", Owner::root(0o644))
            .expect("write");
        fs.create_dir_all("/usr/a/b", Owner::root(0o700))
            .expect("mkdir");
        fs.symlink("/etc/localtime", "/usr/share/zoneinfo/UTC")
            .expect("link");
        fs.finish().expect("finish");
        image.bytes()
    };
    assert!(edit() == edit(), "two runs differ");
    let found = image.reader().metadata("/etc/hostname").expect("metadata");
    assert_eq!(
        (found.mtime_s, found.ctime_s),
        (1_700_000_000, 1_700_000_000)
    );
    image.assert_clean("edited");
}

#[test]
fn the_verdict_of_e2fsck_is_told() {
    let image = system(&["-t", "ext4"], 16, &["etc", "usr"]);
    assert_eq!(e2fsck_clean(&image.path, 0).expect("check"), Verdict::Clean);
    image.debugfs(&["clri /etc/os-release".into()]);
    match e2fsck_clean(&image.path, 0).expect("check") {
        Verdict::Dirty(lines) => {
            assert!(
                lines.iter().any(|line| line.contains("os-release")),
                "{lines:?}"
            );
        }
        Verdict::Clean => panic!("a cleared inode is not clean"),
    }
    let noise = image.dir.path().join("noise");
    std::fs::write(&noise, vec![7; 4 << 20]).expect("write");
    assert!(matches!(
        e2fsck_clean(&noise, 0),
        Err(CheckError::GaveUp { .. })
    ));
    let missing = e2fsck_clean(Path::new("/nowhere/at/all"), 0);
    assert!(matches!(missing, Err(CheckError::Open { .. })));
    let late = e2fsck_clean_within(&image.path, 0, Duration::ZERO);
    assert!(
        matches!(late, Err(CheckError::TimeLimit(_)) | Ok(Verdict::Dirty(_))),
        "{late:?}"
    );
}

/// Where only the superblocks depend on the UUID they all get the new one; elsewhere nothing
/// changes and the caller is told.
#[test]
fn a_uuid_of_its_own() {
    let cases: [(&[&str], bool); 6] = [
        (&["-t", "ext4", "-O", "metadata_csum_seed"], true),
        (&["-t", "ext4", "-O", "^metadata_csum"], true),
        (
            &[
                "-t",
                "ext4",
                "-O",
                "metadata_csum_seed,^sparse_super,^resize_inode",
            ],
            true,
        ),
        (&["-t", "ext4", "-O", "^metadata_csum_seed"], false),
        (&["-t", "ext4", "-O", "^metadata_csum,uninit_bg"], false),
        (&["-t", "ext2", "-b", "1024"], true),
    ];
    for (args, possible) in cases {
        let image = system(args, 300, &["etc", "usr"]);
        let old = image.reader().uuid().expect("uuid");
        let new = Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef);
        let mut fs = Ext4Writer::open(FileDisk::writable(&image.path)).expect("open");
        assert_eq!(fs.set_uuid(new).expect("set"), possible, "{args:?}");
        assert_eq!(fs.uuid().expect("uuid"), if possible { new } else { old });
        fs.write("/etc/new", b"x", Owner::root(0o644))
            .expect("write");
        fs.finish().expect("finish");
        image.assert_clean(&format!("{args:?}"));
        let expected = if possible { new } else { old };
        let header = run("dumpe2fs", &["-h", image.name()]);
        assert!(header.contains(&expected.to_string()), "{args:?}: {header}");
        assert_eq!(image.reader().uuid().expect("uuid"), expected);
        let backup = if args.contains(&"1024") {
            ("8193", "1024")
        } else {
            ("32768", "4096")
        };
        let (at, size) = (
            format!("superblock={}", backup.0),
            format!("blocksize={}", backup.1),
        );
        let copy = tool("dumpe2fs", &["-h", "-o", &at, "-o", &size, image.name()]);
        let text = String::from_utf8_lossy(&copy.stdout);
        assert!(
            text.contains(&expected.to_string()),
            "{args:?}, the copy: {text}"
        );
    }
}
