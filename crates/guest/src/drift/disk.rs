//! The parts of a disk that hold no tree which is compared: boot code, and the other partitions.
//!
//! Their bytes are compared as such. What is different there is told; what it means inside a
//! filesystem that is not read is not known.

use super::tree::overlaps;
use stampo_image::device::BlockDevice;
use stampo_image::device::Window;
use stampo_image::filesystem::identify;
use stampo_image::partition::{Layout, Partition, Table};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Largest part that is read to be compared, in bytes.
const MAX_COMPARED_BYTES: u64 = 512 << 20;
/// How much is compared at once.
const STEP_BYTES: u64 = 1 << 20;
/// The boot code of the first sector; a disk signature and the table follow it.
const BOOT_CODE_BYTES: u64 = 440;
/// Where the copy of a GPT's header and entries ends on every usual disk.
const AFTER_GPT_BYTES: u64 = 34 * 512;
/// Where what lies between an MBR and its first partition begins.
const AFTER_MBR_BYTES: u64 = 512;

/// One part of a disk that is not the compared tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherPart {
    /// What it is, in words.
    pub name: String,
    /// The filesystem in it, where it is a partition.
    pub filesystem: Option<String>,
    /// Whether its bytes are the version's; `None` where that is not known.
    pub is_same: Option<bool>,
    /// Whether firmware or a boot loader runs what is in it.
    pub is_boot: bool,
}

/// Compares everything of a guest's disk but the partition of its root. `touched`: see
/// [`super::Options`], of the whole disk.
///
/// # Errors
/// When one of the disks can't be read, or its partition table makes no sense.
pub fn compare_rest(
    version: &Arc<dyn BlockDevice>,
    guest: &Arc<dyn BlockDevice>,
    root: Option<u32>,
    touched: Option<&[Range<u64>]>,
) -> Result<Vec<OtherPart>, String> {
    let layout = |disk: &Arc<dyn BlockDevice>| {
        Layout::read(disk.as_ref()).map_err(|error| format!("failed to {error}"))
    };
    let (before, after) = (layout(version)?, layout(guest)?);
    if after.table == Table::None {
        return Ok(Vec::new());
    }
    let compare = |range: Range<u64>| is_same(version, guest, range, touched);
    let mut parts = Vec::new();
    for (name, range) in boot_code(&after) {
        parts.push(OtherPart {
            name,
            filesystem: None,
            is_same: compare(range),
            is_boot: true,
        });
    }
    for partition in after
        .partitions
        .iter()
        .filter(|one| Some(one.index) != root)
    {
        let twin = before
            .partitions
            .iter()
            .find(|one| one.index == partition.index);
        let place = partition.start_bytes..partition.start_bytes + partition.size_bytes;
        let filesystem = filesystem(guest, partition);
        let is_same = match twin {
            Some(twin) if is_same_place(twin, partition) => compare(place),
            _ => Some(false),
        };
        parts.push(OtherPart {
            name: format!("partition {}", partition.index),
            is_boot: filesystem == "vfat" || filesystem == "unknown",
            filesystem: Some(filesystem),
            is_same,
        });
    }
    let gone = before.partitions.iter().filter(|one| {
        !after
            .partitions
            .iter()
            .any(|other| other.index == one.index)
    });
    parts.extend(gone.map(|one| OtherPart {
        name: format!("partition {}, which is gone", one.index),
        filesystem: None,
        is_same: Some(false),
        is_boot: true,
    }));
    Ok(parts)
}

fn is_same_place(one: &Partition, other: &Partition) -> bool {
    (one.start_bytes, one.size_bytes) == (other.start_bytes, other.size_bytes)
}

/// The parts that firmware or a boot loader runs without a filesystem.
fn boot_code(layout: &Layout) -> Vec<(String, Range<u64>)> {
    let mut code = vec![("the boot code".to_owned(), 0..BOOT_CODE_BYTES)];
    let first = layout.partitions.iter().map(|one| one.start_bytes).min();
    let from = match layout.table {
        Table::Gpt { .. } => AFTER_GPT_BYTES,
        Table::Mbr { .. } | Table::None => AFTER_MBR_BYTES,
    };
    if let Some(first) = first.filter(|first| *first > from) {
        code.push((
            "what lies before the first partition".to_owned(),
            from..first,
        ));
    }
    code
}

fn filesystem(disk: &Arc<dyn BlockDevice>, partition: &Partition) -> String {
    let window = Window::new(
        Arc::clone(disk),
        partition.start_bytes,
        partition.size_bytes,
    );
    let kind = window.and_then(|window| identify(&window));
    kind.map_or_else(
        |_| "unknown".to_owned(),
        |found| found.kind.name().to_owned(),
    )
}

/// Whether the bytes of a range are the same; `None` where that can't be found out.
fn is_same(
    version: &Arc<dyn BlockDevice>,
    guest: &Arc<dyn BlockDevice>,
    range: Range<u64>,
    touched: Option<&[Range<u64>]>,
) -> Option<bool> {
    if touched.is_some_and(|touched| !overlaps(touched, &range)) {
        return Some(true);
    }
    if range.end > version.size_bytes() || range.end > guest.size_bytes() {
        return Some(false);
    }
    if range.end - range.start > MAX_COMPARED_BYTES {
        return None;
    }
    compare(version.as_ref(), guest.as_ref(), range).ok()
}

fn compare(
    version: &dyn BlockDevice,
    guest: &dyn BlockDevice,
    range: Range<u64>,
) -> io::Result<bool> {
    let mut at = range.start;
    let mut buffers = [vec![0; STEP_BYTES as usize], vec![0; STEP_BYTES as usize]];
    while at < range.end {
        let length = STEP_BYTES.min(range.end - at) as usize;
        let [before, after] = &mut buffers;
        version.read_at(at, &mut before[..length])?;
        guest.read_at(at, &mut after[..length])?;
        if before[..length] != after[..length] {
            return Ok(false);
        }
        at += length as u64;
    }
    Ok(true)
}
