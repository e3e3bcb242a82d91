//! The outside of a guest's disk: its partitions and what kind of filesystem each holds.
//!
//! The tables and magic numbers are read by `stampo_image`; here they become what an inspection
//! says. Only the root filesystem is looked into ([`super::inspect`]); what is on the others is
//! said to be unknown.

use crate::fs::FsError;
use serde::{Deserialize, Serialize};
use stampo_image::device::{BlockDevice, Window};
use stampo_image::filesystem::{FilesystemKind, identify};
use stampo_image::partition::{Layout, Partition as Entry, PartitionError, PartitionKind, Table};
use std::sync::Arc;

/// A guest's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The partition table.
    pub table: PartitionTable,
    /// The disk's own id in its table.
    pub id: Option<String>,
    /// The partitions by number; a bare filesystem is one of number 0.
    pub partitions: Vec<Partition>,
}

/// A kind of partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionTable {
    /// GUID partition table.
    Gpt,
    /// PC partition table.
    Mbr,
    /// None: a filesystem on the bare disk.
    None,
}

/// A partition with its filesystem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its number as Linux counts.
    pub number: u32,
    /// Where it begins on the disk, in bytes.
    pub start_bytes: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its type: a GUID, or two hexadecimal digits of an MBR.
    pub kind: String,
    /// Its own GUID.
    pub guid: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// The filesystem in it, as `blkid` names it; `unknown` when it is none that is known.
    pub filesystem: String,
    /// The filesystem's label.
    pub label: Option<String>,
    /// The filesystem's id.
    pub uuid: Option<String>,
    /// Whether the filesystem was not unmounted: its journal holds changes.
    pub needs_recovery: bool,
}

/// The GPT type of a partition that only holds GRUB's core image.
const BIOS_BOOT: &str = "21686148-6449-6e6f-744e-656564454649";

impl Disk {
    /// A line for every partition with content that is not the root and was not read. Swap space
    /// and GRUB's own partition hold no files.
    pub fn not_looked_into(&self, root: Option<u32>) -> Vec<String> {
        let root = root.unwrap_or(0);
        let holds_files = |partition: &&Partition| {
            partition.number != root
                && partition.filesystem != "swap"
                && partition.kind != BIOS_BOOT
        };
        let line = |partition: &Partition| {
            let (number, filesystem) = (partition.number, &partition.filesystem);
            format!("partition {number}: its files ({filesystem}) were not looked into")
        };
        self.partitions
            .iter()
            .filter(holds_files)
            .map(line)
            .collect()
    }
}

/// Reads the table and looks at every partition; also what could not be told.
pub fn read(disk: &Arc<dyn BlockDevice>) -> Result<(Disk, Vec<String>), FsError> {
    let layout = Layout::read(disk.as_ref()).map_err(|error| match error {
        PartitionError::Io { source, .. } => FsError::Device(source),
        other => FsError::Partitions(other),
    })?;
    let mut unknowns = Vec::new();
    let (table, id) = match layout.table {
        Table::Gpt { disk_guid } => (PartitionTable::Gpt, Some(disk_guid.to_string())),
        Table::Mbr { signature } => (PartitionTable::Mbr, Some(format!("{signature:08x}"))),
        Table::None => (PartitionTable::None, None),
    };
    let mut partitions = Vec::new();
    for entry in &layout.partitions {
        let window = Window::new(disk.clone(), entry.start_bytes, entry.size_bytes)?;
        partitions.push(partition(entry, &window, &mut unknowns));
    }
    if table == PartitionTable::None {
        let whole = Entry {
            index: 0,
            start_bytes: 0,
            size_bytes: disk.size_bytes(),
            kind: PartitionKind::Mbr(0),
            guid: None,
            name: None,
        };
        partitions.push(partition(&whole, disk.as_ref(), &mut unknowns));
    }
    Ok((
        Disk {
            size_bytes: disk.size_bytes(),
            table,
            id,
            partitions,
        },
        unknowns,
    ))
}

fn partition(entry: &Entry, device: &dyn BlockDevice, unknowns: &mut Vec<String>) -> Partition {
    let found = identify(device);
    if let Err(error) = &found {
        unknowns.push(format!(
            "partition {}: failed to read it: {error}",
            entry.index
        ));
    }
    let found = found.ok();
    let kind = found
        .as_ref()
        .map_or(FilesystemKind::Unknown, |found| found.kind);
    Partition {
        number: entry.index,
        start_bytes: entry.start_bytes,
        size_bytes: entry.size_bytes,
        kind: match entry.kind {
            PartitionKind::Gpt(guid) => guid.to_string(),
            PartitionKind::Mbr(byte) => format!("{byte:02x}"),
        },
        guid: entry.guid.map(|guid| guid.to_string()),
        name: entry.name.clone(),
        filesystem: kind.name().to_owned(),
        label: found.as_ref().and_then(|found| found.label.clone()),
        uuid: found.and_then(|found| found.uuid),
        needs_recovery: matches!(kind, FilesystemKind::Ext(features) if features.needs_recovery()),
    }
}
