//! Tables made by sfdisk are read as sfdisk reads them, and stay clean for it after our changes.

mod support;

use proptest::prelude::*;
use stampo_image::device::BlockDevice;
use stampo_image::partition::{
    Grown, Layout, Partition, PartitionError, PartitionKind, Table, grow_last, renew_guids,
    renew_signature,
};
use stampo_image::raw::RawFile;
use std::path::{Path, PathBuf};
use support::{must, sfdisk, text};
use tempfile::TempDir;
use uuid::Uuid;

const MIB: u64 = 1 << 20;

/// The layout of Debian's cloud images: numbers 1, 14 and 15, the last on disk is number 1.
const CLOUD: &str = "label: gpt\nlabel-id: 11111111-2222-3333-4444-555555555555\n\
    15: start=8192, size=20480, type=U, name=\"EFI \u{e9}\"\n\
    14: start=2048, size=6144, type=21686148-6449-6E6F-744E-656564454649\n\
    1: start=28672, type=L, name=root\n";
const MBR: &str = "label: dos\nlabel-id: 0x12345678\n\
    1: start=2048, size=20480, type=83, bootable\n2: start=22528, type=83\n";
const LOGICAL: &str = "label: dos\n1: start=2048, size=20480, type=83\n\
    2: start=22528, size=60000, type=5\n5: start=24576, size=8192, type=82\n\
    6: start=40960, size=8192, type=83\n";

fn disk(size: u64, script: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("make a directory");
    let path = dir.path().join("disk.raw");
    RawFile::create(&path, size).expect("create");
    sfdisk(&path, script);
    (dir, path)
}

fn read(path: &Path) -> Layout {
    Layout::read(&RawFile::open_read_only(path).expect("open")).expect("read the table")
}

/// start, size and id of each partition by number, as sfdisk prints them.
fn by_sfdisk(path: &Path) -> Vec<(u32, u64, u64, Option<Uuid>)> {
    let json: serde_json::Value =
        serde_json::from_str(&must("sfdisk", &["--json", text(path)])).expect("JSON");
    let mut found: Vec<_> = json["partitiontable"]["partitions"]
        .as_array()
        .expect("partitions")
        .iter()
        .map(|p| {
            let node = p["node"].as_str().expect("node");
            let digits = node.rfind(|c: char| !c.is_ascii_digit()).expect("a name") + 1;
            let index = node[digits..].parse().expect("a number");
            let number = |key: &str| p[key].as_u64().expect("a number") * 512;
            (
                index,
                number("start"),
                number("size"),
                p["uuid"].as_str().and_then(|u| u.parse().ok()),
            )
        })
        .collect();
    found.sort();
    found
}

fn ours(layout: &Layout) -> Vec<(u32, u64, u64, Option<Uuid>)> {
    let mut all: Vec<_> = layout
        .partitions
        .iter()
        .map(|p| (p.index, p.start_bytes, p.size_bytes, p.guid))
        .collect();
    all.sort();
    all
}

fn must_be_clean(path: &Path) {
    let output = support::tool("sfdisk", &["--verify", text(path)]);
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(
        output.status.success() && printed.contains("No errors detected"),
        "{printed}"
    );
    for complaint in ["mismatch", "corrupt", "will be corrected", "not in the end"] {
        assert!(!printed.contains(complaint), "{printed}");
    }
}

fn grow_file(path: &PathBuf, size: u64) -> RawFile {
    let file = std::fs::File::options()
        .write(true)
        .open(path)
        .expect("open");
    file.set_len(size).expect("grow");
    RawFile::open_writable(path).expect("open")
}

#[test]
fn a_gpt_is_read_as_sfdisk_made_it() {
    let (_dir, path) = disk(64 * MIB, CLOUD);
    let layout = read(&path);
    let disk_guid = "11111111-2222-3333-4444-555555555555"
        .parse()
        .expect("a GUID");
    assert_eq!(layout.table, Table::Gpt { disk_guid });
    assert_eq!(ours(&layout), by_sfdisk(&path));
    let names: Vec<_> = layout
        .partitions
        .iter()
        .map(|p| (p.index, p.name.as_deref()))
        .collect();
    assert_eq!(
        names,
        [(1, Some("root")), (14, Some("")), (15, Some("EFI \u{e9}"))]
    );
    let efi = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
        .parse()
        .expect("a GUID");
    assert_eq!(layout.partitions[2].kind, PartitionKind::Gpt(efi));
    assert_eq!(layout.last().map(|p| p.index), Some(1));
}

#[test]
fn an_mbr_and_its_logical_partitions_are_read_as_sfdisk_made_them() {
    for script in [MBR, LOGICAL] {
        let (_dir, path) = disk(64 * MIB, script);
        let layout = read(&path);
        let without_extended: Vec<_> = by_sfdisk(&path)
            .into_iter()
            .filter(|p| script == MBR || p.0 != 2)
            .collect();
        assert_eq!(ours(&layout), without_extended);
    }
    let (_dir, path) = disk(64 * MIB, MBR);
    assert_eq!(
        read(&path).table,
        Table::Mbr {
            signature: 0x1234_5678
        }
    );
}

#[test]
fn a_grown_gpt_is_clean_keeps_its_numbers_and_can_be_grown_again() {
    let (_dir, path) = disk(64 * MIB, CLOUD);
    let before = read(&path);
    for size in [128 * MIB, 3000 * MIB + 512] {
        let device = grow_file(&path, size);
        let grown = grow_last(&device).expect("grow");
        let Grown::Changed {
            partition,
            old_size_bytes,
        } = &grown
        else {
            panic!("{grown:?}")
        };
        assert_eq!(partition.index, 1);
        assert!(*old_size_bytes < partition.size_bytes);
        let end = partition.start_bytes + partition.size_bytes;
        assert!(
            size - end < 24 * 1024 && end % 4096 == 0,
            "ends {} before",
            size - end
        );
        must_be_clean(&path);
        assert_eq!(ours(&read(&path)), by_sfdisk(&path));
        let again = grow_last(&device).expect("grow");
        assert_eq!(again, Grown::Unchanged(partition.clone()));
    }
    let after = read(&path);
    assert_eq!(after.table, before.table);
    assert_eq!(after.partitions[1..], before.partitions[1..]);
}

#[test]
fn the_old_backup_does_not_stay_inside_the_grown_partition() {
    let (_dir, path) = disk(64 * MIB, CLOUD);
    let device = grow_file(&path, 256 * MIB);
    grow_last(&device).expect("grow");
    let mut old = vec![1; 33 * 512];
    device.read_at(64 * MIB - 33 * 512, &mut old).expect("read");
    assert!(old.iter().all(|byte| *byte == 0));
}

#[test]
fn free_space_behind_the_last_partition_is_used_without_a_larger_disk() {
    let (_dir, path) = disk(64 * MIB, "label: gpt\nstart=2048, size=8192, type=L\n");
    let device = RawFile::open_writable(&path).expect("open");
    assert!(matches!(
        grow_last(&device).expect("grow"),
        Grown::Changed { .. }
    ));
    must_be_clean(&path);
}

#[test]
fn a_grown_mbr_is_clean_and_a_logical_partition_is_refused() {
    let (_dir, path) = disk(64 * MIB, MBR);
    let device = grow_file(&path, 128 * MIB);
    let Grown::Changed { partition, .. } = grow_last(&device).expect("grow") else {
        panic!("nothing grew")
    };
    assert_eq!((partition.index, partition.start_bytes), (2, 22528 * 512));
    assert_eq!(partition.start_bytes + partition.size_bytes, 128 * MIB);
    must_be_clean(&path);
    let (_dir, path) = disk(64 * MIB, LOGICAL);
    let device = grow_file(&path, 128 * MIB);
    let before = std::fs::read(&path).expect("read");
    assert!(matches!(
        grow_last(&device),
        Err(PartitionError::CannotGrow(_))
    ));
    assert!(
        std::fs::read(&path).expect("read") == before,
        "a refusal changes nothing"
    );
}

#[test]
fn renewed_guids_are_the_given_ones_and_the_table_is_clean() {
    let (_dir, path) = disk(64 * MIB, CLOUD);
    let before = read(&path);
    let device = RawFile::open_writable(&path).expect("open");
    let disk_guid = Uuid::from_u128(0xabcd);
    let guid = |p: &Partition| Uuid::from_u128(u128::from(p.index) << 64 | 7);
    renew_guids(&device, disk_guid, &mut |p| guid(p)).expect("renew");
    must_be_clean(&path);
    let after = read(&path);
    assert_eq!(after.table, Table::Gpt { disk_guid });
    for (new, old) in after.partitions.iter().zip(&before.partitions) {
        assert_eq!(
            new,
            &Partition {
                guid: Some(guid(old)),
                ..old.clone()
            }
        );
    }
    assert_eq!(ours(&after), by_sfdisk(&path));
    assert!(matches!(
        renew_signature(&device, 1),
        Err(PartitionError::NoTable("MBR"))
    ));
}

#[test]
fn a_renewed_signature_is_the_given_one_and_nothing_else_changes() {
    let (_dir, path) = disk(64 * MIB, MBR);
    let before = read(&path);
    let device = RawFile::open_writable(&path).expect("open");
    renew_signature(&device, 0xcafe_f00d).expect("renew");
    must_be_clean(&path);
    assert!(must("sfdisk", &["--disk-id", text(&path)]).contains("0xcafef00d"));
    assert_eq!(read(&path).partitions, before.partitions);
    let refused = renew_guids(&device, Uuid::nil(), &mut |_| Uuid::nil());
    assert!(matches!(refused, Err(PartitionError::NoTable("GPT"))));
}

#[test]
fn a_damaged_main_table_is_read_from_its_backup_and_mended_by_a_change() {
    let (_dir, path) = disk(64 * MIB, CLOUD);
    let expected = read(&path);
    let device = RawFile::open_writable(&path).expect("open");
    device
        .write_at(512 + 56, &[0xff; 8])
        .expect("damage the header");
    assert_eq!(read(&path), expected);
    let Table::Gpt { disk_guid } = expected.table else {
        panic!("no GPT")
    };
    renew_guids(&device, disk_guid, &mut |p| p.guid.expect("a GUID")).expect("renew");
    must_be_clean(&path);
    assert_eq!(read(&path), expected);
    device.write_at(512, &[0; 512]).expect("destroy one");
    device
        .write_at(64 * MIB - 512, &[0; 512])
        .expect("destroy the other");
    assert!(matches!(
        Layout::read(&device),
        Err(PartitionError::GptDamaged(_))
    ));
}

#[test]
fn a_table_of_4096_byte_sectors_is_read_and_grown() {
    let dir = tempfile::tempdir().expect("make a directory");
    let path = dir.path().join("disk.raw");
    RawFile::create(&path, 64 * MIB).expect("create");
    let sectors = gpt::disk::LogicalBlockSize::Lb4096;
    let mut file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .expect("open");
    gpt::mbr::ProtectiveMBR::with_lb_size((64 * MIB / 4096) as u32 - 1)
        .overwrite_lba0(&mut file)
        .expect("write the MBR");
    let config = || {
        gpt::GptConfig::new()
            .writable(true)
            .logical_block_size(sectors)
    };
    let mut made = config()
        .create_from_device(file, None)
        .expect("make a table");
    let kind = gpt::partition_types::LINUX_FS;
    made.add_partition("one", 8 * MIB, kind.clone(), 0, None)
        .expect("add");
    made.add_partition("two", 16 * MIB, kind, 0, None)
        .expect("add");
    made.write().expect("write");

    let layout = read(&path);
    assert_eq!((layout.sector_bytes, layout.partitions.len()), (4096, 2));
    assert_eq!(layout.partitions[0].size_bytes, 8 * MIB);
    let device = grow_file(&path, 128 * MIB);
    assert!(matches!(
        grow_last(&device).expect("grow"),
        Grown::Changed { .. }
    ));
    // The other reader wants both copies to be valid.
    let judged = config()
        .only_valid_headers(true)
        .open(&path)
        .expect("a valid table");
    let two = &judged.partitions()[&2];
    let last = read(&path).last().cloned().expect("a partition");
    assert_eq!(two.first_lba * 4096, last.start_bytes);
    assert_eq!(
        (two.last_lba + 1) * 4096,
        last.start_bytes + last.size_bytes
    );
    assert!(128 * MIB - (last.start_bytes + last.size_bytes) <= 6 * 4096);
}

#[test]
fn a_bare_filesystem_is_no_table() {
    let dir = tempfile::tempdir().expect("make a directory");
    let path = dir.path().join("fs.raw");
    RawFile::create(&path, 16 * MIB).expect("create");
    assert_eq!(read(&path).table, Table::None);
    must("mke2fs", &["-q", "-t", "ext4", text(&path)]);
    let layout = read(&path);
    assert_eq!((layout.table, layout.partitions.len()), (Table::None, 0));
    let device = RawFile::open_writable(&path).expect("open");
    assert!(matches!(
        grow_last(&device),
        Err(PartitionError::NoTable(_))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever a hostile table says, reading and changing it end without a panic, and whatever
    /// is accepted lies on the disk without overlaps.
    #[test]
    fn a_hostile_table_is_refused_or_harmless(
        gpt in any::<bool>(),
        changes in prop::collection::vec((0_usize..1024 + 512, any::<u8>()), 1..12),
        mend in any::<bool>(),
    ) {
        let disk = scribbled(gpt, &changes, mend);
        if let Ok(layout) = Layout::read(&disk) {
            let mut all: Vec<_> = layout.partitions.iter().collect();
            all.sort_by_key(|p| p.start_bytes);
            for p in &all {
                prop_assert!(p.size_bytes > 0 && p.start_bytes + p.size_bytes <= disk.size_bytes());
            }
            for pair in all.windows(2) {
                prop_assert!(pair[0].start_bytes + pair[0].size_bytes <= pair[1].start_bytes);
            }
        }
        let _ = grow_last(&disk);
        let _ = renew_guids(&disk, Uuid::nil(), &mut |_| Uuid::nil());
    }
}

/// A small disk with a good table in which bytes were changed; `mend` makes its checksums right
/// again, so that the checks behind them are reached.
fn scribbled(gpt: bool, changes: &[(usize, u8)], mend: bool) -> RawFile {
    static TABLES: std::sync::OnceLock<[Vec<u8>; 2]> = std::sync::OnceLock::new();
    let tables = TABLES.get_or_init(|| {
        [CLOUD, LOGICAL].map(|script| {
            let (_dir, path) = disk(48 * MIB, script);
            std::fs::read(&path).expect("read")[..34 * 512].to_vec()
        })
    });
    let mut head = tables[usize::from(!gpt)].clone();
    for (at, byte) in changes {
        head[*at] = *byte;
    }
    if gpt && mend {
        let entries = crc32fast::hash(&head[1024..1024 + 128 * 128]);
        head[512 + 88..512 + 92].copy_from_slice(&entries.to_le_bytes());
        head[512 + 16..512 + 20].fill(0);
        let header = crc32fast::hash(&head[512..512 + 92]);
        head[512 + 16..512 + 20].copy_from_slice(&header.to_le_bytes());
    }
    let file = tempfile::tempfile().expect("make a file");
    file.set_len(48 * MIB).expect("size");
    let disk = RawFile::from_file(file, true).expect("a disk");
    disk.write_at(0, &head).expect("write");
    disk
}
