//! What a partition holds, by its magic numbers.
//!
//! A look, not a proof: it reads at most a few sectors and believes nothing in them beyond names.
//! Nothing is mounted or replayed. The places of the magic numbers are those of each format's own
//! description, named beside each check.

use crate::device::BlockDevice;
use std::io;
use uuid::Uuid;

/// What is on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filesystem {
    /// The kind.
    pub kind: FilesystemKind,
    /// Its label, if it has one; control characters are replaced.
    pub label: Option<String>,
    /// Its id as `blkid` prints it, if it has one.
    pub uuid: Option<String>,
}

/// A kind of filesystem or of container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilesystemKind {
    /// ext2, ext3 or ext4.
    Ext(ExtFeatures),
    /// XFS.
    Xfs,
    /// Btrfs.
    Btrfs,
    /// FAT12, FAT16 or FAT32.
    Vfat,
    /// NTFS.
    Ntfs,
    /// Linux swap space.
    Swap,
    /// A physical volume of LVM 2.
    Lvm,
    /// A LUKS container, version 1 or 2.
    Luks,
    /// A member of a Linux software RAID.
    MdRaid,
    /// ISO 9660.
    Iso9660,
    /// SquashFS.
    Squashfs,
    /// None of these.
    Unknown,
}

/// The feature words of an ext superblock (Linux, Documentation/filesystems/ext4/super.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtFeatures {
    /// Features that an old kernel may ignore.
    pub compat: u32,
    /// Features that an old kernel must not mount with.
    pub incompat: u32,
    /// Features that an old kernel must not write with.
    pub ro_compat: u32,
}

impl ExtFeatures {
    /// Whether the journal holds changes that are not in the filesystem yet.
    pub fn needs_recovery(self) -> bool {
        self.incompat & 0x4 != 0
    }

    /// `ext2`, `ext3` or `ext4`, as `blkid` would say.
    pub fn name(self) -> &'static str {
        const EXT3_INCOMPAT: u32 = 0x2 | 0x4 | 0x10;
        const EXT3_RO_COMPAT: u32 = 0x1 | 0x2 | 0x4;
        if self.incompat & !EXT3_INCOMPAT != 0 || self.ro_compat & !EXT3_RO_COMPAT != 0 {
            "ext4"
        } else if self.compat & 0x4 != 0 {
            "ext3"
        } else {
            "ext2"
        }
    }
}

impl FilesystemKind {
    /// The name that `blkid` and `/etc/fstab` use.
    pub fn name(self) -> &'static str {
        match self {
            FilesystemKind::Ext(features) => features.name(),
            FilesystemKind::Xfs => "xfs",
            FilesystemKind::Btrfs => "btrfs",
            FilesystemKind::Vfat => "vfat",
            FilesystemKind::Ntfs => "ntfs",
            FilesystemKind::Swap => "swap",
            FilesystemKind::Lvm => "LVM2_member",
            FilesystemKind::Luks => "crypto_LUKS",
            FilesystemKind::MdRaid => "linux_raid_member",
            FilesystemKind::Iso9660 => "iso9660",
            FilesystemKind::Squashfs => "squashfs",
            FilesystemKind::Unknown => "unknown",
        }
    }
}

/// Looks at `device`.
///
/// Containers come first: a mirrored RAID member, for example, also looks like the filesystem in
/// it, and must never be written as one.
pub fn identify<'a>(device: &'a dyn BlockDevice) -> io::Result<Filesystem> {
    let look = Look { device };
    let checks: [fn(&Look<'a>) -> Found; 11] = [
        Look::luks,
        Look::raid,
        Look::lvm,
        Look::ext,
        Look::xfs,
        Look::btrfs,
        Look::ntfs,
        Look::vfat,
        Look::swap,
        Look::squashfs,
        Look::iso9660,
    ];
    for check in checks {
        if let Some(found) = check(&look)? {
            return Ok(found);
        }
    }
    Ok(Filesystem {
        kind: FilesystemKind::Unknown,
        label: None,
        uuid: None,
    })
}

/// What one check found.
type Found = io::Result<Option<Filesystem>>;

/// One device, read in small pieces.
struct Look<'a> {
    device: &'a dyn BlockDevice,
}

impl Look<'_> {
    /// `N` bytes at `offset`; zeros where the device is shorter.
    fn bytes<const N: usize>(&self, offset: u64) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        let there = self
            .device
            .size_bytes()
            .saturating_sub(offset)
            .min(N as u64) as usize;
        if there > 0 {
            self.device.read_at(offset, &mut bytes[..there])?;
        }
        Ok(bytes)
    }

    /// LUKS1 and LUKS2 on-disk format specifications: magic, version, label (LUKS2), UUID.
    fn luks(&self) -> Found {
        let head = self.bytes::<208>(0)?;
        if !head.starts_with(b"LUKS\xba\xbe") {
            return Ok(None);
        }
        let label = if head[7] == 2 {
            text(&head[24..72])
        } else {
            None
        };
        found(FilesystemKind::Luks, label, text(&head[168..208]))
    }

    /// Linux md superblocks (include/uapi/linux/raid/md_p.h): 1.1, 1.2, 1.0 and 0.90.
    fn raid(&self) -> Found {
        const MAGIC: [u8; 4] = 0xa92b_4efc_u32.to_le_bytes();
        let size = self.device.size_bytes();
        let at_end = (size / 512)
            .checked_sub(16)
            .map(|sectors| sectors / 8 * 8 * 512);
        for at in [Some(0), Some(4096), at_end].into_iter().flatten() {
            let head = self.bytes::<64>(at)?;
            if head[..8] == [MAGIC, 1_u32.to_le_bytes()].concat() {
                let uuid = Uuid::from_slice(&head[16..32])
                    .ok()
                    .map(|uuid| uuid.to_string());
                return found(FilesystemKind::MdRaid, text(&head[32..64]), uuid);
            }
        }
        let old = (size / 65_536).checked_sub(1).map(|blocks| blocks * 65_536);
        match old {
            Some(at) if self.bytes::<4>(at)? == MAGIC => found(FilesystemKind::MdRaid, None, None),
            _ => Ok(None),
        }
    }

    /// The LVM2 label (lib/label/label.h) in one of the first four sectors.
    fn lvm(&self) -> Found {
        for sector in 0..4 {
            let head = self.bytes::<64>(sector * 512)?;
            if head.starts_with(b"LABELONE") && &head[24..32] == b"LVM2 001" {
                return found(FilesystemKind::Lvm, None, text(&head[32..64]));
            }
        }
        Ok(None)
    }

    /// The ext superblock at byte 1024 (Documentation/filesystems/ext4/super.rst).
    fn ext(&self) -> Found {
        let head = self.bytes::<136>(1024)?;
        if head[56..58] != [0x53, 0xef] {
            return Ok(None);
        }
        let word =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let features = ExtFeatures {
            compat: word(92),
            incompat: word(96),
            ro_compat: word(100),
        };
        found(
            FilesystemKind::Ext(features),
            text(&head[120..136]),
            uuid(&head[104..120]),
        )
    }

    /// The XFS superblock (XFS algorithms and data structures, "Superblocks").
    fn xfs(&self) -> Found {
        let head = self.bytes::<120>(0)?;
        if !head.starts_with(b"XFSB") {
            return Ok(None);
        }
        found(
            FilesystemKind::Xfs,
            text(&head[108..120]),
            uuid(&head[32..48]),
        )
    }

    /// The Btrfs superblock at 64 KiB (include/uapi/linux/btrfs_tree.h).
    fn btrfs(&self) -> Found {
        let head = self.bytes::<0x22b>(0x10000)?;
        if &head[0x40..0x48] != b"_BHRfS_M" {
            return Ok(None);
        }
        found(
            FilesystemKind::Btrfs,
            text(&head[0x12b..0x22b]),
            uuid(&head[0x20..0x30]),
        )
    }

    /// The NTFS boot sector: "NTFS    " at 3, serial number at 72.
    fn ntfs(&self) -> Found {
        let head = self.bytes::<80>(0)?;
        if &head[3..11] != b"NTFS    " {
            return Ok(None);
        }
        let serial: String = head[72..80]
            .iter()
            .rev()
            .map(|b| format!("{b:02X}"))
            .collect();
        found(FilesystemKind::Ntfs, None, Some(serial))
    }

    /// The FAT boot sector (Microsoft FAT specification, section 3).
    fn vfat(&self) -> Found {
        let head = self.bytes::<512>(0)?;
        if head[510..] != [0x55, 0xaa] {
            return Ok(None);
        }
        let at = match (&head[82..87], &head[54..58]) {
            (b"FAT32", _) => 67,
            (_, b"FAT1") => 39,
            _ => return Ok(None),
        };
        let serial = &head[at..at + 4];
        let id = format!(
            "{:02X}{:02X}-{:02X}{:02X}",
            serial[3], serial[2], serial[1], serial[0]
        );
        let label = text(&head[at + 4..at + 15]).filter(|label| label != "NO NAME");
        found(FilesystemKind::Vfat, label, Some(id))
    }

    /// Swap space (Linux, include/linux/swap.h): the magic ends the first page, of any size.
    fn swap(&self) -> Found {
        for page_bytes in [4096, 16_384, 65_536] {
            if &self.bytes::<10>(page_bytes - 10)? == b"SWAPSPACE2" {
                let head = self.bytes::<44>(1024)?;
                return found(
                    FilesystemKind::Swap,
                    text(&head[28..44]),
                    uuid(&head[12..28]),
                );
            }
        }
        Ok(None)
    }

    /// The SquashFS superblock (Linux, fs/squashfs/squashfs_fs.h).
    fn squashfs(&self) -> Found {
        let squashfs = &self.bytes::<4>(0)? == b"hsqs";
        if squashfs {
            found(FilesystemKind::Squashfs, None, None)
        } else {
            Ok(None)
        }
    }

    /// The primary volume descriptor (ECMA-119, section 8.4) in sector 16.
    fn iso9660(&self) -> Found {
        let head = self.bytes::<72>(32_768)?;
        if &head[1..6] != b"CD001" {
            return Ok(None);
        }
        found(FilesystemKind::Iso9660, text(&head[40..72]), None)
    }
}

/// A finding; only so that each check ends in one line.
fn found(kind: FilesystemKind, label: Option<String>, uuid: Option<String>) -> Found {
    Ok(Some(Filesystem { kind, label, uuid }))
}

/// A padded text field; `None` when it is empty.
fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..end]);
    let text = text.trim_end().replace(char::is_control, "\u{fffd}");
    (!text.is_empty()).then_some(text)
}

/// A UUID field; `None` when it is all zeros.
fn uuid(bytes: &[u8]) -> Option<String> {
    Uuid::from_slice(bytes)
        .ok()
        .filter(|uuid| !uuid.is_nil())
        .map(|uuid| uuid.to_string())
}
