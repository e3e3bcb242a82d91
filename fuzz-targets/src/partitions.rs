//! Partition tables: reading, growing the last partition, giving out new ids.
//!
//! The input: flags, the disk's size in 64 KiB, how much longer it became, then its first bytes.
//! With the first flag the checksums of a GPT are made right and the copy at the end is made from
//! the one at the beginning, so that what is behind both checks is reached.

use crate::bytes::Bytes;
use crate::disk::MemoryDisk;
use stampo_image::device::BlockDevice;
use stampo_image::partition::{Grown, Layout, Table, grow_last, renew_guids, renew_signature};
use std::sync::Arc;

const UNIT: u64 = 64 << 10;

/// Reads the table and changes it in every way that stampo does.
pub fn table(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let (flags, size, more) = (bytes.u8(), bytes.u8(), bytes.u8());
    let size = (1 + u64::from(size)) * UNIT;
    let disk = MemoryDisk::new(Arc::from(bytes.rest()), size);
    if flags & 1 != 0 {
        complete_gpt(&disk, if flags & 2 == 0 { 512 } else { 4096 });
    }
    let disk = disk.grown(u64::from(more) * UNIT);
    let Ok(layout) = Layout::read(&disk) else {
        return;
    };
    check(&layout, disk.size_bytes());
    grow(&disk, &layout);
    renew(&disk);
}

fn check(layout: &Layout, disk_bytes: u64) {
    let mut end = 0;
    let mut by_start = layout.partitions.clone();
    by_start.sort_by_key(|partition| partition.start_bytes);
    for partition in &by_start {
        assert!(partition.size_bytes > 0 && partition.start_bytes >= end);
        end = partition.start_bytes + partition.size_bytes;
        assert!(end <= disk_bytes);
    }
    let mut numbers: Vec<u32> = layout.partitions.iter().map(|p| p.index).collect();
    numbers.dedup();
    assert!(numbers.is_sorted() && numbers.len() == layout.partitions.len());
}

fn grow(disk: &MemoryDisk, before: &Layout) {
    let Ok(grown) = grow_last(disk) else { return };
    let after = Layout::read(disk).expect("a table that was just written");
    check(&after, disk.size_bytes());
    let last = match &grown {
        Grown::Unchanged(partition) => partition,
        Grown::Changed {
            partition,
            old_size_bytes,
        } => {
            assert!(partition.size_bytes > *old_size_bytes, "it became smaller");
            partition
        }
    };
    for (old, new) in before.partitions.iter().zip(&after.partitions) {
        if new == last {
            assert!(old.index == new.index && old.start_bytes == new.start_bytes);
        } else {
            assert_eq!(old, new, "another partition was changed");
        }
    }
    let again = grow_last(disk).expect("it could grow a moment ago");
    assert!(matches!(again, Grown::Unchanged(_)), "{again:?}");
}

fn renew(disk: &MemoryDisk) {
    let before = Layout::read(disk).expect("it was read before");
    let mut number = 1;
    let mut next = |_: &_| {
        number += 1;
        uuid::Uuid::from_u128(number)
    };
    let renewed = renew_guids(disk, uuid::Uuid::from_u128(1), &mut next)
        .or_else(|_| renew_signature(disk, 0x1234_5678));
    if renewed.is_err() {
        return;
    }
    let after = Layout::read(disk).expect("a table that was just written");
    let places = |layout: &Layout| -> Vec<_> {
        let parts = layout.partitions.iter();
        parts
            .map(|p| (p.index, p.start_bytes, p.size_bytes))
            .collect()
    };
    assert_eq!(places(&before), places(&after));
    match after.table {
        Table::Gpt { disk_guid } => assert_eq!(disk_guid, uuid::Uuid::from_u128(1)),
        Table::Mbr { signature } => assert_eq!(signature, 0x1234_5678),
        Table::None => panic!("a table is gone"),
    }
}

/// Makes the checksums of a GPT right, and its copy at the end (UEFI 2.10, section 5.3.2).
fn complete_gpt(disk: &MemoryDisk, sector: u64) {
    let mut head = vec![0; 92];
    if disk.read_at(sector, &mut head).is_err() {
        return;
    }
    let word = |head: &[u8], at: usize| {
        u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
    };
    head[..12].copy_from_slice(b"EFI PART\x00\x00\x01\x00");
    head[12..16].copy_from_slice(&92_u32.to_le_bytes());
    head[24..32].copy_from_slice(&1_u64.to_le_bytes());
    let entries_bytes = (u64::from(word(&head, 80)) * u64::from(word(&head, 84))).min(1 << 20);
    let mut entries = vec![0; entries_bytes as usize];
    let last = disk.size_bytes() / sector - 1;
    let copy = last.saturating_sub(entries_bytes.div_ceil(sector));
    if disk
        .read_at(u64::from(word(&head, 72)) * sector, &mut entries)
        .is_err()
    {
        return;
    }
    let sum = crc32fast::hash(&entries);
    head[32..40].copy_from_slice(&last.to_le_bytes());
    head[88..92].copy_from_slice(&sum.to_le_bytes());
    disk.patch(sector, &summed(head.clone()));
    head[24..32].copy_from_slice(&last.to_le_bytes());
    head[32..40].copy_from_slice(&1_u64.to_le_bytes());
    head[72..80].copy_from_slice(&copy.to_le_bytes());
    disk.patch(copy * sector, &entries);
    disk.patch(last * sector, &summed(head));
}

fn summed(mut head: Vec<u8>) -> Vec<u8> {
    head[16..20].fill(0);
    let sum = crc32fast::hash(&head);
    head[16..20].copy_from_slice(&sum.to_le_bytes());
    head
}
