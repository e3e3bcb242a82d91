//! The PC partition table: four entries in the first sector, logical partitions in a chain.
//!
//! Form: UEFI 2.10, section 5.2.1 (the MBR) and table 5.4; the chain of extended boot records as
//! Linux reads it (block/partitions/msdos.c). Offsets are in sectors of 512 bytes.

use super::{
    GROW_ALIGN_BYTES, Layout, MAX_LOGICAL, Partition, PartitionError, PartitionKind, Table, le_u32,
    put,
};
use crate::device::BlockDevice;

/// Bytes of a sector of this table.
pub(super) const SECTOR_BYTES: u64 = 512;
/// Where the four entries begin, and the bytes of one.
const ENTRIES_AT: usize = 446;
const ENTRY_BYTES: usize = 16;
/// Where the disk's signature lies.
const SIGNATURE_AT: usize = 440;
/// Type of the entry that protects a GPT.
const PROTECTIVE: u8 = 0xee;

/// The first sector of a disk that has a partition table.
pub(super) struct BootSector([u8; SECTOR_BYTES as usize]);

/// One entry of a boot sector.
struct Entry {
    kind: u8,
    start: u64,
    sectors: u64,
}

/// Whether a signature is set where there was none.
#[derive(PartialEq, Eq)]
pub(super) enum Replace {
    Always,
    IfSet,
}

impl BootSector {
    /// The boot sector of `device`; `None` when it holds no partition table.
    pub fn read(device: &dyn BlockDevice) -> Result<Option<Self>, PartitionError> {
        if device.size_bytes() < SECTOR_BYTES {
            return Ok(None);
        }
        let sector = Self::read_at(device, 0)?;
        Ok(sector.filter(|sector| !sector.is_filesystem()))
    }

    /// The boot record in sector `sector`, if that is one.
    fn read_at(device: &dyn BlockDevice, sector: u64) -> Result<Option<Self>, PartitionError> {
        let mut bytes = [0; SECTOR_BYTES as usize];
        device
            .read_at(sector * SECTOR_BYTES, &mut bytes)
            .map_err(PartitionError::read)?;
        // As Linux does: any other boot indicator means code or data, not entries.
        let indicators = (0..4).all(|i| matches!(bytes[ENTRIES_AT + i * ENTRY_BYTES], 0 | 0x80));
        Ok((bytes[510..] == [0x55, 0xaa] && indicators).then_some(BootSector(bytes)))
    }

    /// Whether this is the boot sector of a filesystem that covers the bare disk.
    fn is_filesystem(&self) -> bool {
        let starts = |at: usize, text: &[u8]| self.0[at..].starts_with(text);
        let signed = starts(54, b"FAT") || starts(82, b"FAT") || starts(3, b"NTFS");
        (signed || starts(3, b"EXFAT")) && self.entries().iter().all(|e| e.kind == 0)
    }

    /// Whether the sector only protects a GPT.
    pub fn is_protective(&self) -> bool {
        self.entries().iter().any(|entry| entry.kind == PROTECTIVE)
    }

    fn signature(&self) -> u32 {
        le_u32(&self.0, SIGNATURE_AT)
    }

    fn entries(&self) -> [Entry; 4] {
        std::array::from_fn(|i| {
            let at = ENTRIES_AT + i * ENTRY_BYTES;
            Entry {
                kind: self.0[at + 4],
                start: u64::from(le_u32(&self.0, at + 8)),
                sectors: u64::from(le_u32(&self.0, at + 12)),
            }
        })
    }

    /// Makes entry `number` (from 0) `sectors` long.
    fn set_sectors(&mut self, number: usize, sectors: u32) {
        put(
            &mut self.0,
            ENTRIES_AT + number * ENTRY_BYTES + 12,
            &sectors.to_le_bytes(),
        );
        // The end as cylinder, head, sector can't be expressed beyond 8 GB; this is how the
        // table says so, and everyone reads the sector numbers.
        put(
            &mut self.0,
            ENTRIES_AT + number * ENTRY_BYTES + 5,
            &[0xfe, 0xff, 0xff],
        );
    }

    fn write(&self, device: &dyn BlockDevice) -> Result<(), PartitionError> {
        device.write_at(0, &self.0).map_err(PartitionError::write)
    }
}

impl Entry {
    fn is_used(&self) -> bool {
        self.kind != 0 && self.sectors != 0
    }

    fn is_extended(&self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }

    fn partition(&self, index: u32, start: u64) -> Partition {
        Partition {
            index,
            start_bytes: start * SECTOR_BYTES,
            size_bytes: self.sectors * SECTOR_BYTES,
            kind: PartitionKind::Mbr(self.kind),
            guid: None,
            name: None,
        }
    }
}

/// The partitions of the disk that begins with `sector`.
pub(super) fn layout(
    device: &dyn BlockDevice,
    sector: &BootSector,
) -> Result<Layout, PartitionError> {
    let mut partitions = Vec::new();
    let mut extended = None;
    for (number, entry) in (1..)
        .zip(sector.entries())
        .filter(|(_, entry)| entry.is_used())
    {
        if entry.start == 0 {
            let what = "begins in the partition table itself";
            return Err(PartitionError::Misplaced {
                index: number,
                what,
            });
        }
        if !entry.is_extended() {
            partitions.push(entry.partition(number, entry.start));
        } else if extended.replace((number, entry)).is_some() {
            return Err(PartitionError::Absurd("it has two extended partitions"));
        }
    }
    if let Some((number, extended)) = extended {
        check_extended(number, &extended, &partitions, device)?;
        partitions.extend(logical(device, &extended)?);
    }
    let table = Table::Mbr {
        signature: sector.signature(),
    };
    Ok(Layout {
        table,
        sector_bytes: SECTOR_BYTES,
        partitions,
    })
}

/// Refuses an extended partition that overlaps a primary one or the end of the disk.
fn check_extended(
    number: u32,
    extended: &Entry,
    primary: &[Partition],
    device: &dyn BlockDevice,
) -> Result<(), PartitionError> {
    let mut all = primary.to_vec();
    all.push(extended.partition(number, extended.start));
    let table = Table::Mbr { signature: 0 };
    let with = Layout {
        table,
        sector_bytes: SECTOR_BYTES,
        partitions: all,
    };
    super::check_places(&with, device.size_bytes())
}

/// The logical partitions inside `extended`.
fn logical(device: &dyn BlockDevice, extended: &Entry) -> Result<Vec<Partition>, PartitionError> {
    let end = extended.start + extended.sectors;
    let mut found: Vec<Partition> = Vec::new();
    let mut at = extended.start;
    for _ in 0..=MAX_LOGICAL {
        let Some(record) = BootSector::read_at(device, at)? else {
            return if found.is_empty() {
                Ok(found)
            } else {
                Err(broken_chain())
            };
        };
        let [data, link, ..] = record.entries();
        if data.is_used() && !data.is_extended() {
            let index = 5 + found.len() as u32;
            let start = at + data.start;
            if data.start == 0 || start + data.sectors > end {
                let what = "is not inside the extended partition";
                return Err(PartitionError::Misplaced { index, what });
            }
            found.push(data.partition(index, start));
        }
        if !(link.is_used() && link.is_extended()) {
            return Ok(found);
        }
        at = extended.start + link.start;
        if link.start == 0 || at >= end {
            return Err(broken_chain());
        }
    }
    Err(PartitionError::Absurd(
        "its chain of logical partitions does not end",
    ))
}

fn broken_chain() -> PartitionError {
    PartitionError::Absurd("its chain of logical partitions leads nowhere")
}

/// Grows the primary partition `last` to the end of the disk, or to what 32 bits can say.
pub(super) fn grow(device: &dyn BlockDevice, last: &Partition) -> Result<(), PartitionError> {
    if last.index > 4 {
        return Err(PartitionError::CannotGrow(
            "it is a logical partition of an MBR",
        ));
    }
    let Some(mut sector) = BootSector::read(device)? else {
        return Err(PartitionError::NoTable("MBR"));
    };
    let start = last.start_bytes / SECTOR_BYTES;
    let beyond = |e: &Entry| e.is_used() && e.is_extended() && e.start > start;
    if sector.entries().iter().any(beyond) {
        return Err(PartitionError::CannotGrow(
            "an extended partition lies behind it",
        ));
    }
    // The sector behind the last addressable one must be a 32-bit number, too.
    let end = (device.size_bytes() / GROW_ALIGN_BYTES * GROW_ALIGN_BYTES / SECTOR_BYTES)
        .min(u64::from(u32::MAX));
    let sectors = end.saturating_sub(start);
    if sectors > last.size_bytes / SECTOR_BYTES {
        sector.set_sectors(last.index as usize - 1, sectors as u32);
        sector.write(device)?;
    }
    Ok(())
}

/// Writes `signature` into the boot sector.
pub(super) fn replace_signature(
    device: &dyn BlockDevice,
    signature: u32,
    replace: Replace,
) -> Result<(), PartitionError> {
    let Some(mut sector) = BootSector::read(device)? else {
        return Err(PartitionError::NoTable("MBR"));
    };
    if sector.signature() != 0 || replace == Replace::Always {
        put(&mut sector.0, SIGNATURE_AT, &signature.to_le_bytes());
        sector.write(device)?;
    }
    Ok(())
}

/// Makes the entry that protects a GPT as long as the disk, or as 32 bits can say.
///
/// A hybrid MBR, which has other entries too, is left as it is.
pub(super) fn stretch_protection(
    device: &dyn BlockDevice,
    sector_bytes: u64,
) -> Result<(), PartitionError> {
    let Some(mut sector) = BootSector::read(device)? else {
        return Ok(());
    };
    let entries = sector.entries();
    let used = entries.iter().filter(|e| e.is_used()).count();
    if let (1, Some(number)) = (used, entries.iter().position(|e| e.kind == PROTECTIVE)) {
        let sectors = device.size_bytes() / sector_bytes - 1;
        sector.set_sectors(number, u32::try_from(sectors).unwrap_or(u32::MAX));
        sector.write(device)?;
    }
    Ok(())
}
