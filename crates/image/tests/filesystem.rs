//! What tools made is recognised, and containers come before what seems to be inside them.

mod support;

use stampo_image::device::BlockDevice;
use stampo_image::filesystem::{FilesystemKind, identify};
use stampo_image::raw::RawFile;
use std::path::PathBuf;
use support::{must, text};
use tempfile::TempDir;

const SIZE: u64 = 16 << 20;

fn scratch() -> (TempDir, PathBuf, RawFile) {
    let dir = tempfile::tempdir().expect("make a directory");
    let path = dir.path().join("fs.raw");
    let device = RawFile::create(&path, SIZE).expect("create");
    (dir, path, device)
}

/// Where on a device, and which bytes.
type Pieces<'a> = &'a [(u64, &'a [u8])];

fn with(pieces: Pieces<'_>) -> RawFile {
    let (_dir, _, device) = scratch();
    for (at, bytes) in pieces {
        device.write_at(*at, bytes).expect("write");
    }
    device
}

const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";

#[test]
fn ext_filesystems_are_told_apart_with_label_and_uuid() {
    for kind in ["ext2", "ext3", "ext4"] {
        let (_dir, path, device) = scratch();
        must(
            "mke2fs",
            &["-q", "-t", kind, "-L", "a label", "-U", ID, text(&path)],
        );
        let found = identify(&device).expect("look");
        assert_eq!(found.kind.name(), kind);
        assert_eq!(
            (found.label.as_deref(), found.uuid.as_deref()),
            (Some("a label"), Some(ID))
        );
        let FilesystemKind::Ext(features) = found.kind else {
            panic!("{found:?}")
        };
        assert!(!features.needs_recovery());
        must(
            "debugfs",
            &["-w", "-R", "feature needs_recovery", text(&path)],
        );
        let FilesystemKind::Ext(features) = identify(&device).expect("look").kind else {
            panic!("not ext any more")
        };
        assert!(features.needs_recovery());
    }
}

#[test]
fn swap_space_is_found_with_label_and_uuid() {
    let (_dir, path, device) = scratch();
    must("mkswap", &["-q", "-L", "swappy", "-U", ID, text(&path)]);
    let found = identify(&device).expect("look");
    assert_eq!(found.kind, FilesystemKind::Swap);
    assert_eq!(
        (found.label.as_deref(), found.uuid.as_deref()),
        (Some("swappy"), Some(ID))
    );
}

#[test]
fn the_others_are_found_by_their_documented_magic_numbers() {
    let boot = |at: usize, name: &[u8]| {
        let mut sector = vec![0; 512];
        sector[at..at + name.len()].copy_from_slice(name);
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector
    };
    let raid = [0xa92b_4efc_u32.to_le_bytes(), 1_u32.to_le_bytes()].concat();
    let mut lvm = b"LABELONE".to_vec();
    lvm.resize(24, 0);
    lvm.extend_from_slice(b"LVM2 001");
    let cases: [(FilesystemKind, Pieces<'_>); 12] = [
        (FilesystemKind::Xfs, &[(0, b"XFSB")]),
        (FilesystemKind::Btrfs, &[(0x10040, b"_BHRfS_M")]),
        (FilesystemKind::Vfat, &[(0, &boot(54, b"FAT16   "))]),
        (FilesystemKind::Vfat, &[(0, &boot(82, b"FAT32   "))]),
        (FilesystemKind::Ntfs, &[(0, &boot(3, b"NTFS    "))]),
        (FilesystemKind::Lvm, &[(512, &lvm)]),
        (FilesystemKind::Luks, &[(0, b"LUKS\xba\xbe\x00\x02")]),
        (FilesystemKind::MdRaid, &[(4096, &raid)]),
        (
            FilesystemKind::MdRaid,
            &[(SIZE - 8192, &raid), (1024 + 56, &[0x53, 0xef])],
        ),
        (FilesystemKind::MdRaid, &[(SIZE - 65536, &raid[..4])]),
        (FilesystemKind::Iso9660, &[(32768, b"\x01CD001")]),
        (FilesystemKind::Squashfs, &[(0, b"hsqs")]),
    ];
    for (kind, pieces) in cases {
        assert_eq!(identify(&with(pieces)).expect("look").kind, kind);
    }
}

#[test]
fn nothing_random_or_tiny_is_unknown() {
    assert_eq!(
        identify(&with(&[])).expect("look").kind,
        FilesystemKind::Unknown
    );
    assert_eq!(
        identify(&with(&[(0, &[0x5a; 70_000])])).expect("look").kind,
        FilesystemKind::Unknown
    );
    for size in [0, 1, 511, 1024, 4096, 65_537] {
        let file = tempfile::tempfile().expect("make a file");
        file.set_len(size).expect("size");
        let device = RawFile::from_file(file, false).expect("a disk");
        assert_eq!(
            identify(&device).expect("look").kind,
            FilesystemKind::Unknown
        );
    }
}
