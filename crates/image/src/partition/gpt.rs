//! The GUID partition table: a header and an array of entries, twice.
//!
//! Form: UEFI 2.10, section 5.3 (header: table 5.5, entry: table 5.6). The main copy begins in
//! sector 1, the backup's header is the disk's last sector.

use super::{
    GROW_ALIGN_BYTES, Layout, MAX_GPT_ENTRIES, Partition, PartitionError, PartitionKind, Table,
    le_u32, le_u64, mbr, put,
};
use crate::device::BlockDevice;
use uuid::Uuid;

/// Bytes of the header that are defined; the rest of its sector is zeros.
const HEADER_BYTES: usize = 92;
/// Fields of the header.
const HEADER_CRC_AT: usize = 16;
const MY_LBA_AT: usize = 24;
const OTHER_LBA_AT: usize = 32;
const FIRST_USABLE_AT: usize = 40;
const LAST_USABLE_AT: usize = 48;
const DISK_GUID_AT: usize = 56;
const ENTRIES_LBA_AT: usize = 72;
const COUNT_AT: usize = 80;
const ENTRY_SIZE_AT: usize = 84;
const ENTRIES_CRC_AT: usize = 88;
/// Fields of an entry.
const GUID_AT: usize = 16;
const FIRST_LBA_AT: usize = 32;
const LAST_LBA_AT: usize = 40;
const NAME_AT: usize = 56;
const NAME_BYTES: usize = 72;

/// A table in memory, as one of its two copies has it.
pub(super) struct Gpt {
    sector_bytes: u64,
    header: Vec<u8>,
    entries: Vec<u8>,
}

impl Gpt {
    /// Reads the main copy of the table of `device`, or its backup when the main one is damaged.
    pub fn read(device: &dyn BlockDevice) -> Result<Gpt, PartitionError> {
        let mut why = "no header was found";
        for sector_bytes in [512, 4096] {
            let sectors = device.size_bytes() / sector_bytes;
            if sectors < 3 {
                continue;
            }
            for lba in [1, sectors - 1] {
                match Self::read_copy(device, sector_bytes, lba)? {
                    Ok(table) => return Ok(table),
                    Err(NO_HEADER) => {}
                    Err(damage) => why = damage,
                }
            }
        }
        Err(PartitionError::GptDamaged(why))
    }

    /// Reads the copy whose header is in sector `lba`; the inner error is what is wrong with it.
    fn read_copy(
        device: &dyn BlockDevice,
        sector_bytes: u64,
        lba: u64,
    ) -> Result<Result<Gpt, &'static str>, PartitionError> {
        let mut header = vec![0; sector_bytes as usize];
        device
            .read_at(lba * sector_bytes, &mut header)
            .map_err(PartitionError::read)?;
        let size = match check_header(&header, lba) {
            Ok(size) => size,
            Err(damage) => return Ok(Err(damage)),
        };
        header.truncate(size);
        if le_u64(&header, LAST_USABLE_AT) >= device.size_bytes() / sector_bytes {
            return Ok(Err("it allows more sectors than the disk has"));
        }
        let (count, entry_size) = (le_u32(&header, COUNT_AT), le_u32(&header, ENTRY_SIZE_AT));
        let mut entries = vec![0; count as usize * entry_size as usize];
        let start = le_u64(&header, ENTRIES_LBA_AT).checked_mul(sector_bytes);
        let end = start.and_then(|start| start.checked_add(entries.len() as u64));
        let (Some(start), Some(_)) = (start, end.filter(|end| *end <= device.size_bytes())) else {
            return Ok(Err("its entries lie past the end of the disk"));
        };
        device
            .read_at(start, &mut entries)
            .map_err(PartitionError::read)?;
        if crc32fast::hash(&entries) != le_u32(&header, ENTRIES_CRC_AT) {
            return Ok(Err("the checksum of its entries does not match"));
        }
        Ok(Ok(Gpt {
            sector_bytes,
            header,
            entries,
        }))
    }

    fn entry_size(&self) -> usize {
        le_u32(&self.header, ENTRY_SIZE_AT) as usize
    }

    /// Sectors that one copy of the entries needs.
    fn entries_sectors(&self) -> u64 {
        (self.entries.len() as u64).div_ceil(self.sector_bytes)
    }

    /// The partitions; each is checked to lie in the usable part of the disk.
    pub fn layout(&self) -> Result<Layout, PartitionError> {
        let usable = le_u64(&self.header, FIRST_USABLE_AT)..=le_u64(&self.header, LAST_USABLE_AT);
        let mut partitions = Vec::new();
        for (index, entry) in (1..).zip(self.entries.chunks_exact(self.entry_size())) {
            if entry[..16].iter().all(|byte| *byte == 0) {
                continue;
            }
            let (first, last) = (le_u64(entry, FIRST_LBA_AT), le_u64(entry, LAST_LBA_AT));
            let misplaced = |what| PartitionError::Misplaced { index, what };
            if first > last {
                return Err(misplaced("ends before it begins"));
            }
            if !usable.contains(&first) || !usable.contains(&last) {
                return Err(misplaced(
                    "is not in the part of the disk that the table allows",
                ));
            }
            let bytes = |sectors: u64| sectors.checked_mul(self.sector_bytes);
            let place = bytes(first).zip(bytes(last - first + 1));
            let (start_bytes, size_bytes) =
                place.ok_or(misplaced("reaches past the end of the disk"))?;
            partitions.push(Partition {
                index,
                start_bytes,
                size_bytes,
                kind: PartitionKind::Gpt(guid_at(entry, 0)),
                guid: Some(guid_at(entry, GUID_AT)),
                name: Some(name_of(&entry[NAME_AT..NAME_AT + NAME_BYTES])),
            });
        }
        let table = Table::Gpt {
            disk_guid: guid_at(&self.header, DISK_GUID_AT),
        };
        Ok(Layout {
            table,
            sector_bytes: self.sector_bytes,
            partitions,
        })
    }

    pub fn set_disk_guid(&mut self, guid: Uuid) {
        put(&mut self.header, DISK_GUID_AT, &guid.to_bytes_le());
    }

    /// Gives the partition `index` (from 1) of this table a GUID.
    pub fn set_partition_guid(&mut self, index: u32, guid: Uuid) {
        let at = (index as usize - 1) * self.entry_size();
        put(&mut self.entries, at + GUID_AT, &guid.to_bytes_le());
    }

    /// Moves the backup to the end of the disk, and lets `last` reach up to it.
    pub fn grow(
        &mut self,
        device: &dyn BlockDevice,
        last: &Partition,
    ) -> Result<(), PartitionError> {
        let sectors = device.size_bytes() / self.sector_bytes;
        let room = sectors.checked_sub(2 + self.entries_sectors());
        let room = room.ok_or(PartitionError::CannotGrow(
            "the disk has no room for its table",
        ))?;
        let old_last_usable = le_u64(&self.header, LAST_USABLE_AT);
        let last_usable = room.max(old_last_usable);
        put(&mut self.header, LAST_USABLE_AT, &last_usable.to_le_bytes());
        let align = GROW_ALIGN_BYTES / self.sector_bytes;
        let end = (last_usable + 1) / align * align;
        let old_end = (last.start_bytes + last.size_bytes) / self.sector_bytes;
        if end > old_end {
            let at = (last.index as usize - 1) * self.entry_size();
            put(
                &mut self.entries,
                at + LAST_LBA_AT,
                &(end - 1).to_le_bytes(),
            );
        } else if last_usable == old_last_usable {
            return Ok(());
        }
        // Read before the tables move: the old backup lies behind the old usable part.
        let old_backup_end = self.old_backup_end(device)?;
        self.write(device)?;
        self.erase_old_backup(device, old_last_usable + 1, old_backup_end)?;
        mbr::stretch_protection(device, self.sector_bytes)
    }

    /// The sector behind the backup that the table names, if a valid header is there.
    fn old_backup_end(&self, device: &dyn BlockDevice) -> Result<Option<u64>, PartitionError> {
        let my_lba = le_u64(&self.header, MY_LBA_AT);
        let backup = le_u64(&self.header, OTHER_LBA_AT).max(my_lba);
        if backup.saturating_add(1) >= device.size_bytes() / self.sector_bytes {
            return Ok(None);
        }
        let copy = Self::read_copy(device, self.sector_bytes, backup)?;
        Ok(copy.is_ok().then_some(backup + 1))
    }

    /// Zeros what is left of the old backup, so that no tool finds a table in a partition.
    fn erase_old_backup(
        &self,
        device: &dyn BlockDevice,
        from: u64,
        to: Option<u64>,
    ) -> Result<(), PartitionError> {
        let own = device.size_bytes() / self.sector_bytes - 1 - self.entries_sectors();
        let Some(to) = to.map(|to| to.min(own)).filter(|to| *to > from) else {
            return Ok(());
        };
        if to - from > self.entries_sectors() + 1 {
            // There is more between than a backup: it is not known whose.
            return Ok(());
        }
        let zeros = vec![0; ((to - from) * self.sector_bytes) as usize];
        device
            .write_at(from * self.sector_bytes, &zeros)
            .map_err(PartitionError::write)
    }

    /// Writes both copies, the backup first, so that one of them is always whole.
    pub fn write(&self, device: &dyn BlockDevice) -> Result<(), PartitionError> {
        let end = device.size_bytes() / self.sector_bytes - 1;
        let main_entries = match le_u64(&self.header, MY_LBA_AT) {
            1 => le_u64(&self.header, ENTRIES_LBA_AT),
            _ => 2,
        };
        // Neither copy may lie on a partition, whatever the table claims.
        let first_usable = le_u64(&self.header, FIRST_USABLE_AT);
        let main_fits = main_entries >= 2 && main_entries + self.entries_sectors() <= first_usable;
        let backup_entries = end
            .checked_sub(self.entries_sectors())
            .filter(|at| main_fits && *at > le_u64(&self.header, LAST_USABLE_AT));
        let Some(backup_entries) = backup_entries else {
            return Err(PartitionError::Absurd(
                "it leaves no room for itself on the disk",
            ));
        };
        self.write_copy(device, end, 1, backup_entries)?;
        self.write_copy(device, 1, end, main_entries)
    }

    /// Writes the copy with its header in sector `my` and its entries from sector `entries_at`.
    fn write_copy(
        &self,
        device: &dyn BlockDevice,
        my: u64,
        other: u64,
        entries_at: u64,
    ) -> Result<(), PartitionError> {
        let mut header = self.header.clone();
        put(&mut header, MY_LBA_AT, &my.to_le_bytes());
        put(&mut header, OTHER_LBA_AT, &other.to_le_bytes());
        put(&mut header, ENTRIES_LBA_AT, &entries_at.to_le_bytes());
        put(
            &mut header,
            ENTRIES_CRC_AT,
            &crc32fast::hash(&self.entries).to_le_bytes(),
        );
        put(&mut header, HEADER_CRC_AT, &[0; 4]);
        let crc = crc32fast::hash(&header);
        put(&mut header, HEADER_CRC_AT, &crc.to_le_bytes());
        header.resize(self.sector_bytes as usize, 0);
        device
            .write_at(entries_at * self.sector_bytes, &self.entries)
            .and_then(|()| device.write_at(my * self.sector_bytes, &header))
            .map_err(PartitionError::write)
    }
}

/// What [`check_header`] says when there is no header at all.
const NO_HEADER: &str = "no header was found";

/// Checks the header in `sector`, which was read from sector `lba`; its size in bytes.
fn check_header(sector: &[u8], lba: u64) -> Result<usize, &'static str> {
    if &sector[..8] != b"EFI PART" {
        return Err(NO_HEADER);
    }
    let size = le_u32(sector, 12) as usize;
    if !(HEADER_BYTES..=sector.len()).contains(&size) {
        return Err("its header has an absurd length");
    }
    let mut header = sector[..size].to_vec();
    put(&mut header, HEADER_CRC_AT, &[0; 4]);
    if crc32fast::hash(&header) != le_u32(sector, HEADER_CRC_AT) {
        return Err("the checksum of its header does not match");
    }
    if le_u64(sector, MY_LBA_AT) != lba {
        return Err("its header says that it belongs elsewhere");
    }
    let (count, entry_size) = (le_u32(sector, COUNT_AT), le_u32(sector, ENTRY_SIZE_AT));
    if !(1..=MAX_GPT_ENTRIES).contains(&count) {
        return Err("it has an absurd number of entries");
    }
    if !(128..=1024).contains(&entry_size) || !entry_size.is_power_of_two() {
        return Err("its entries have an absurd length");
    }
    Ok(size)
}

/// A GUID as it is stored: its first three fields are little-endian.
fn guid_at(bytes: &[u8], at: usize) -> Uuid {
    let mut guid = [0; 16];
    guid.copy_from_slice(&bytes[at..at + 16]);
    Uuid::from_bytes_le(guid)
}

/// A partition's name: UTF-16, up to the first zero.
fn name_of(bytes: &[u8]) -> String {
    let units = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    char::decode_utf16(units.take_while(|unit| *unit != 0))
        .map(|c| {
            c.ok()
                .filter(|c| !c.is_control())
                .unwrap_or(char::REPLACEMENT_CHARACTER)
        })
        .collect()
}
