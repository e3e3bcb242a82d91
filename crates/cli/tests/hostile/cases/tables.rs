//! Partition tables and containers that lie, and images that are none or want too much.

use super::{Case, disk, file, refused};
use crate::chain::Step;
use std::fs::File;
use std::os::unix::fs::FileExt;

pub fn cases() -> Vec<Case> {
    let mut cases = disguised();
    cases.extend(tables());
    cases.extend(images());
    cases
}

fn put(file: &File, at: u64, bytes: &[u8]) {
    file.write_all_at(bytes, at).expect("written");
}

/// An MBR with these partitions: type, first sector, sectors.
fn mbr(file: &File, at: u64, entries: &[(u8, u32, u32)]) {
    for (number, (kind, first, count)) in (0..).zip(entries) {
        let mut entry = [0; 16];
        entry[4] = *kind;
        entry[8..12].copy_from_slice(&first.to_le_bytes());
        entry[12..].copy_from_slice(&count.to_le_bytes());
        put(file, at + 446 + 16 * number, &entry);
    }
    put(file, at + 510, &[0x55, 0xaa]);
}

/// A friendly guest that is something else as well.
fn disguised() -> Vec<Case> {
    let inspect = |why| refused(Step::Inspect, why);
    let import = |why| refused(Step::Import, why);
    vec![
        disk("also a qcow2", import("qcow2"), |f| {
            put(f, 0, b"QFI\xfb\0\0\0\x03")
        }),
        disk("also a VMDK", import("vmdk"), |f| put(f, 0, b"KDMV")),
        disk("also LUKS", import("looks like LUKS"), |f| {
            put(f, 0, b"LUKS\xba\xbe\0\x01")
        }),
        disk("also RAID", inspect("software RAID"), |f| {
            put(f, 0, &0xa92b_4efc_u32.to_le_bytes());
            put(f, 4, &1_u32.to_le_bytes());
        }),
        disk("also LVM", inspect("logical volumes"), |f| {
            put(f, 512, b"LABELONE");
            put(f, 512 + 24, b"LVM2 001");
        }),
    ]
}

fn tables() -> Vec<Case> {
    let inspect = |why| refused(Step::Inspect, why);
    vec![
        disk("a partition past the end", inspect("partition"), |f| {
            mbr(f, 0, &[(0x83, 2048, u32::MAX)])
        }),
        disk("partitions that overlap", inspect("partition"), |f| {
            mbr(f, 0, &[(0x83, 64, 8000), (0x83, 100, 8000)]);
        }),
        disk("a partition that is the table", inspect("partition"), |f| {
            mbr(f, 0, &[(0x83, 0, 8000)])
        }),
        disk("extended partitions in a ring", inspect("partition"), |f| {
            mbr(f, 0, &[(0x05, 8192, 8192)]);
            mbr(f, 8192 * 512, &[(0x83, 1, 1), (0x05, 0, 8192)]);
        }),
        disk("a protective table and no GPT", inspect("partition"), |f| {
            mbr(f, 0, &[(0xee, 1, u32::MAX)]);
        }),
        disk("a GPT of 2^32 entries", inspect("partition"), |f| {
            mbr(f, 0, &[(0xee, 1, 32_767)]);
            gpt(f, 512, u32::MAX, 128);
        }),
        disk(
            "a GPT of entries of 2^31 bytes",
            inspect("partition"),
            |f| {
                mbr(f, 0, &[(0xee, 1, 32_767)]);
                gpt(f, 512, 128, 1 << 31);
            },
        ),
    ]
}

/// A GPT header with a right checksum of its own and lies in it (UEFI specification, section 5.3).
fn gpt(file: &File, at: u64, entries: u32, entry_bytes: u32) {
    let mut header = [0; 92];
    header[..8].copy_from_slice(b"EFI PART");
    header[8..12].copy_from_slice(&0x1_0000_u32.to_le_bytes());
    header[12..16].copy_from_slice(&92_u32.to_le_bytes());
    header[24..32].copy_from_slice(&1_u64.to_le_bytes());
    header[32..40].copy_from_slice(&32_767_u64.to_le_bytes());
    header[40..48].copy_from_slice(&34_u64.to_le_bytes());
    header[48..56].copy_from_slice(&32_734_u64.to_le_bytes());
    header[72..80].copy_from_slice(&2_u64.to_le_bytes());
    header[80..84].copy_from_slice(&entries.to_le_bytes());
    header[84..88].copy_from_slice(&entry_bytes.to_le_bytes());
    let sum = crc32fast::hash(&header);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    put(file, at, &header);
}

/// A qcow2 header of version 3: clusters of 64 KiB, with these fields.
fn qcow2(file: &File, size_bytes: u64, l1_entries: u32, l1_at: u64) {
    let mut header = [0; 104];
    header[..4].copy_from_slice(b"QFI\xfb");
    header[4..8].copy_from_slice(&3_u32.to_be_bytes());
    header[20..24].copy_from_slice(&16_u32.to_be_bytes());
    header[24..32].copy_from_slice(&size_bytes.to_be_bytes());
    header[36..40].copy_from_slice(&l1_entries.to_be_bytes());
    header[40..48].copy_from_slice(&l1_at.to_be_bytes());
    header[48..56].copy_from_slice(&(1_u64 << 16).to_be_bytes());
    header[56..60].copy_from_slice(&1_u32.to_be_bytes());
    header[96..100].copy_from_slice(&4_u32.to_be_bytes());
    header[100..104].copy_from_slice(&104_u32.to_be_bytes());
    put(file, 0, &header);
    file.set_len(4 << 20).expect("a sparse file");
}

/// Sizes that want more memory or disk than there is, through the whole program.
fn images() -> Vec<Case> {
    let import = |why| refused(Step::Import, why);
    vec![
        file("an empty file", "raw", import("empty"), |_| {}),
        file("a file of an odd size", "raw", import("512"), |f| {
            put(f, 0, &[7; 1000])
        }),
        file(
            "raw of 8 TiB of nothing",
            "raw",
            import("are allowed"),
            |f| {
                f.set_len(8 << 40).expect("a sparse file");
            },
        ),
        file(
            "qcow2 of 2^64 bytes",
            "qcow2",
            import("it claims a disk of"),
            |f| {
                qcow2(f, u64::MAX - 511, 1, 2 << 16);
            },
        ),
        file(
            "qcow2 of 2^63 bytes",
            "qcow2",
            import("it claims a disk of"),
            |f| {
                qcow2(f, 1 << 63, u32::MAX, 2 << 16);
            },
        ),
        file(
            "qcow2 with a map of 32 GiB",
            "qcow2",
            import("its L1 table has"),
            |f| {
                qcow2(f, 1 << 30, u32::MAX, 2 << 16);
            },
        ),
        file(
            "qcow2 with a map past the end",
            "qcow2",
            import("end"),
            |f| {
                qcow2(f, 1 << 30, 2, u64::MAX - (1 << 16) + 1);
            },
        ),
        file("qcow2 of zeros", "qcow2", import("qcow2"), |f| {
            f.set_len(1 << 20).expect("a sparse file");
        }),
    ]
}
