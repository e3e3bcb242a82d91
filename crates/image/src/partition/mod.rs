//! Partition tables: what is on a disk, growing its last partition, giving it ids of its own.
//!
//! A table is edited in place, byte for byte: only the fields that must change do, so partition
//! numbers, attributes, boot code and unknown fields stay. (The crates `gpt` and `mbrman` write
//! tables anew; `gpt` 4.1 also moves used entries together, which would turn the partitions 1, 14
//! and 15 of a cloud image into 1, 2 and 3.)
//!
//! A table that comes from outside is hostile: everything is checked before it is believed, and a
//! table that contradicts itself is an error, never a guess. Filesystems are not looked at here.

mod gpt;
mod mbr;

use crate::device::BlockDevice;
use std::io;
use uuid::Uuid;

/// Most entries of a GPT that are accepted; every tool makes 128.
const MAX_GPT_ENTRIES: u32 = 1024;
/// Most logical partitions of an MBR that are accepted; Linux shows no more.
const MAX_LOGICAL: usize = 60;
/// A grown partition ends on a multiple of this.
const GROW_ALIGN_BYTES: u64 = 4096;

/// The partitions of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The kind of table and the disk's own id in it.
    pub table: Table,
    /// Bytes of a sector as the table counts them: 512, or 4096 for some GPTs.
    pub sector_bytes: u64,
    /// The partitions by number. Extended MBR partitions are left out: they hold no data.
    pub partitions: Vec<Partition>,
}

/// A kind of partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// GUID partition table (UEFI 2.10, section 5.3).
    Gpt {
        /// The disk's GUID.
        disk_guid: Uuid,
    },
    /// PC partition table (UEFI 2.10, section 5.2).
    Mbr {
        /// The disk's signature, bytes 440 to 443.
        signature: u32,
    },
    /// No table: a filesystem on the bare disk, or nothing.
    None,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number as Linux gives it, from 1; logical MBR partitions from 5.
    pub index: u32,
    /// Where it begins.
    pub start_bytes: u64,
    /// How long it is.
    pub size_bytes: u64,
    /// What its table says that it holds.
    pub kind: PartitionKind,
    /// Its own GUID; MBR partitions have none.
    pub guid: Option<Uuid>,
    /// Its name, with control characters replaced; MBR partitions have none.
    pub name: Option<String>,
}

/// The type that a table gives a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionKind {
    /// A GPT type GUID.
    Gpt(Uuid),
    /// An MBR type byte.
    Mbr(u8),
}

/// Why a partition table was not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// The disk can't be read or written.
    #[error("{act} the partition table")]
    Io {
        /// `read` or `write`.
        act: &'static str,
        /// What went wrong.
        source: io::Error,
    },
    /// The protective MBR promises a GPT, and neither copy of it is good.
    #[error("read the GPT: neither its main nor its backup copy is valid ({0})")]
    GptDamaged(&'static str),
    /// A number in the table is beyond any sense.
    #[error("read the partition table: {0}")]
    Absurd(&'static str),
    /// A partition is not where it may be.
    #[error("read the partition table: partition {index} {what}")]
    Misplaced {
        /// Its number.
        index: u32,
        /// What is wrong with its place.
        what: &'static str,
    },
    /// Two partitions share bytes.
    #[error("read the partition table: partitions {0} and {1} overlap")]
    Overlap(u32, u32),
    /// The disk has no partition table of the kind that the change needs.
    #[error("change the partition table: the disk has no {0}")]
    NoTable(&'static str),
    /// The last partition can't be grown.
    #[error("grow the last partition: {0}")]
    CannotGrow(&'static str),
}

impl PartitionError {
    fn read(source: io::Error) -> Self {
        PartitionError::Io {
            act: "read",
            source,
        }
    }

    fn write(source: io::Error) -> Self {
        PartitionError::Io {
            act: "write",
            source,
        }
    }
}

/// What growing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grown {
    /// There was nothing to gain.
    Unchanged(Partition),
    /// The partition as it is now, and its size before.
    Changed {
        /// The grown partition.
        partition: Partition,
        /// How long it was.
        old_size_bytes: u64,
    },
}

impl Layout {
    /// Reads and checks the table of `device`.
    pub fn read(device: &dyn BlockDevice) -> Result<Layout, PartitionError> {
        let Some(sector) = mbr::BootSector::read(device)? else {
            return Ok(Layout::bare());
        };
        let layout = if sector.is_protective() {
            gpt::Gpt::read(device)?.layout()?
        } else {
            mbr::layout(device, &sector)?
        };
        check_places(&layout, device.size_bytes())?;
        Ok(layout)
    }

    /// A disk without a table.
    fn bare() -> Layout {
        Layout {
            table: Table::None,
            sector_bytes: mbr::SECTOR_BYTES,
            partitions: Vec::new(),
        }
    }

    /// The partition that lies last on the disk.
    pub fn last(&self) -> Option<&Partition> {
        self.partitions.iter().max_by_key(|p| p.start_bytes)
    }
}

/// Refuses partitions that are empty, reach past the end of the disk, or overlap.
fn check_places(layout: &Layout, disk_bytes: u64) -> Result<(), PartitionError> {
    let mut by_start: Vec<&Partition> = layout.partitions.iter().collect();
    by_start.sort_by_key(|p| p.start_bytes);
    let mut before: Option<&Partition> = None;
    for p in by_start {
        let misplaced = |what| PartitionError::Misplaced {
            index: p.index,
            what,
        };
        if p.size_bytes == 0 {
            return Err(misplaced("is empty"));
        }
        match p.start_bytes.checked_add(p.size_bytes) {
            Some(end) if end <= disk_bytes => {}
            _ => return Err(misplaced("reaches past the end of the disk")),
        }
        if let Some(before) = before
            && before.start_bytes + before.size_bytes > p.start_bytes
        {
            return Err(PartitionError::Overlap(before.index, p.index));
        }
        before = Some(p);
    }
    Ok(())
}

/// Grows the partition that lies last on `device` to the device's end, and moves a GPT's backup
/// copy there. Only the table changes; the filesystem is the caller's.
///
/// It can be repeated. The device has its new size already. Nothing is durable before a flush.
pub fn grow_last(device: &dyn BlockDevice) -> Result<Grown, PartitionError> {
    let layout = Layout::read(device)?;
    let last = layout.last().ok_or(PartitionError::NoTable("partition"))?;
    let old_size_bytes = last.size_bytes;
    match layout.table {
        Table::Gpt { .. } => gpt::Gpt::read(device)?.grow(device, last)?,
        Table::Mbr { .. } => mbr::grow(device, last)?,
        Table::None => return Err(PartitionError::NoTable("partition table")),
    }
    let after = Layout::read(device)?;
    let partition = after
        .partitions
        .into_iter()
        .find(|p| p.index == last.index)
        .ok_or(PartitionError::CannotGrow(
            "it was not there any more afterwards",
        ))?;
    if partition.size_bytes == old_size_bytes {
        Ok(Grown::Unchanged(partition))
    } else {
        Ok(Grown::Changed {
            partition,
            old_size_bytes,
        })
    }
}

/// Gives a GPT disk the GUID `disk_guid` and each partition the GUID that `partition_guid` names.
///
/// Also replaces a signature in the protective MBR, if there is one, by bytes of `disk_guid`.
/// References to the old GUIDs (`PARTUUID=` on a kernel command line or in a file) are the
/// caller's. Nothing is durable before a flush.
pub fn renew_guids(
    device: &dyn BlockDevice,
    disk_guid: Uuid,
    partition_guid: &mut dyn FnMut(&Partition) -> Uuid,
) -> Result<(), PartitionError> {
    let layout = Layout::read(device)?;
    let Table::Gpt { .. } = layout.table else {
        return Err(PartitionError::NoTable("GPT"));
    };
    let mut table = gpt::Gpt::read(device)?;
    table.set_disk_guid(disk_guid);
    for partition in &layout.partitions {
        table.set_partition_guid(partition.index, partition_guid(partition));
    }
    table.write(device)?;
    let [a, b, c, d, ..] = *disk_guid.as_bytes();
    mbr::replace_signature(
        device,
        u32::from_le_bytes([a, b, c, d]),
        mbr::Replace::IfSet,
    )
}

/// Gives an MBR disk the signature `signature`. `PARTUUID`s of its partitions follow from it.
///
/// Nothing is durable before a flush.
pub fn renew_signature(device: &dyn BlockDevice, signature: u32) -> Result<(), PartitionError> {
    match Layout::read(device)?.table {
        Table::Mbr { .. } => mbr::replace_signature(device, signature, mbr::Replace::Always),
        _ => Err(PartitionError::NoTable("MBR")),
    }
}

/// Two little-endian fields of a table, and how they are written.
fn le_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn le_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from(le_u32(bytes, at)) | u64::from(le_u32(bytes, at + 4)) << 32
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}
