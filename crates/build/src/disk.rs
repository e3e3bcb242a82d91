//! The whole disk from a tree: partitions, boot loaders, root filesystem; no mount, no root.
//!
//! ```text
//! LBA 0     protective MBR with GRUB's boot code
//! 1 MiB     2 BIOS boot    1 MiB   GRUB's core.img
//! 2 MiB     3 EFI system  32 MiB   shim, GRUB            (only with UEFI; else the root is here)
//! 34 MiB    1 root         the rest but 1 MiB             last, so that it can grow
//! end       backup partition table
//! ```
//! Every id is derived from a seed that the caller computes from the content: the same content
//! has the same ids, other content has others.

use crate::bootloader::{self, BootloaderError};
use crate::esp::{self, EspError};
use crate::ext4::{Ext4, FilesystemError};
use crate::progress::{BuildProgress, Phase};
use crate::recipe::{BootMethod, Disk};
use crate::tree::{Tree, TreeError};
use gpt::mbr::ProtectiveMBR;
use gpt::partition::Partition;
use gpt::partition_types::{self, Type};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The label of every root filesystem that is built, which is how it is found at boot.
pub const ROOT_LABEL: &str = "stampo-root";
const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;

/// Why no disk was made.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The disk file.
    #[error("write the disk {path:?}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The partition table.
    #[error("write the partition table: {0}")]
    Table(String),
    /// GRUB's images.
    #[error(transparent)]
    Bootloader(#[from] BootloaderError),
    /// A file that the tree lacks.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The EFI partition.
    #[error("prepare the disk for UEFI")]
    Esp(#[from] EspError),
    /// The root filesystem.
    #[error(transparent)]
    Filesystem(#[from] FilesystemError),
}

/// A partition's place, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionPlace {
    /// Its number in the table.
    pub number: u32,
    /// Where it begins.
    pub start_bytes: u64,
    /// How large it is.
    pub size_bytes: u64,
}

/// Where everything is on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The whole disk.
    pub size_bytes: u64,
    /// For GRUB's core.img.
    pub bios: PartitionPlace,
    /// For UEFI.
    pub esp: Option<PartitionPlace>,
    /// The root filesystem.
    pub root: PartitionPlace,
}

impl Layout {
    /// The layout of a disk of `size_bytes`, a whole number of MiB of at least 64.
    pub fn new(size_bytes: u64, boot: &BTreeSet<BootMethod>) -> Self {
        let place = |number, start_mib: u64, end_bytes: u64| PartitionPlace {
            number,
            start_bytes: start_mib * MIB,
            size_bytes: end_bytes - start_mib * MIB,
        };
        let esp = boot
            .contains(&BootMethod::Uefi)
            .then(|| place(3, 2, 34 * MIB));
        let root_mib = if esp.is_some() { 34 } else { 2 };
        Layout {
            size_bytes,
            bios: place(2, 1, 2 * MIB),
            esp,
            root: place(1, root_mib, size_bytes - MIB),
        }
    }
}

/// What a disk is made of.
pub struct Assembly<'a> {
    /// The recipe's disk.
    pub disk: &'a Disk,
    /// The system.
    pub tree: &'a Tree,
    /// Every id is derived from this.
    pub seed: [u8; 32],
    /// The time in the filesystem's own structures, in seconds since 1970.
    pub epoch: u64,
    /// A directory for short-lived files.
    pub scratch: &'a Path,
}

impl Assembly<'_> {
    /// An id for one purpose.
    fn id(&self, purpose: &str) -> Uuid {
        let hash = blake3::keyed_hash(&self.seed, purpose.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_bytes()[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// Makes the disk file at `path`, which must not exist, and gives its layout. It is durable when
/// this returns.
pub fn assemble(
    assembly: &Assembly<'_>,
    path: &Path,
    progress: &dyn BuildProgress,
) -> Result<Layout, DiskError> {
    let io_error = |source| DiskError::Io {
        path: path.to_owned(),
        source,
    };
    let layout = Layout::new(assembly.disk.size.bytes(), &assembly.disk.boot);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(io_error)?;
    file.set_len(layout.size_bytes).map_err(io_error)?;
    progress.phase(Phase::Filesystem);
    write_root(assembly, &layout, path)?;
    progress.phase(Phase::Bootloader);
    let mut boot_code = [0; 440];
    if assembly.disk.boot.contains(&BootMethod::Bios) {
        let sector = layout.bios.start_bytes / SECTOR;
        let core = assembly.tree.read(bootloader::CORE_IMAGE)?;
        let core = bootloader::patch_core_image(core, sector, layout.bios.size_bytes)?;
        boot_code =
            bootloader::patch_boot_sector(&assembly.tree.read(bootloader::BOOT_IMAGE)?, sector)?;
        file.write_all_at(&core, layout.bios.start_bytes)
            .map_err(io_error)?;
    }
    if let Some(place) = layout.esp {
        let id = assembly.id("EFI volume").as_u128();
        let bytes = esp::make(assembly.tree, place.size_bytes as usize, (id >> 96) as u32)?;
        write_sparse(&file, &bytes, place.start_bytes).map_err(io_error)?;
    }
    write_table(assembly, &layout, &file, boot_code)?;
    file.sync_all().map_err(io_error)?;
    Ok(layout)
}

fn write_root(assembly: &Assembly<'_>, layout: &Layout, path: &Path) -> Result<(), DiskError> {
    let ext4 = Ext4 {
        disk: path,
        offset_bytes: layout.root.start_bytes,
        size_bytes: layout.root.size_bytes,
        label: ROOT_LABEL,
        uuid: assembly.id("root filesystem"),
        hash_seed: assembly.id("directory hashes"),
        epoch: assembly.epoch,
        scratch: assembly.scratch,
    };
    Ok(ext4.write(assembly.tree)?)
}

/// Writes only blocks that hold something, so that the file stays sparse.
fn write_sparse(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    const BLOCK: usize = 4096;
    for (index, block) in bytes.chunks(BLOCK).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, offset + (index * BLOCK) as u64)?;
        }
    }
    Ok(())
}

/// Both tables (UEFI 2.10, section 5.3) and the protective MBR with the boot code.
fn write_table(
    assembly: &Assembly<'_>,
    layout: &Layout,
    file: &File,
    boot_code: [u8; 440],
) -> Result<(), DiskError> {
    let table_error = |error: &dyn std::fmt::Display| DiskError::Table(error.to_string());
    let mut device = file.try_clone().map_err(|error| table_error(&error))?;
    let last = u32::try_from(layout.size_bytes / SECTOR - 1).unwrap_or(u32::MAX);
    let mut mbr = ProtectiveMBR::with_lb_size(last);
    mbr.set_bootcode(boot_code);
    mbr.overwrite_lba0(&mut device)
        .map_err(|error| table_error(&error))?;
    let entry = |place: PartitionPlace, kind: Type, name: &str| {
        let partition = Partition {
            part_type_guid: kind,
            part_guid: assembly.id(name),
            first_lba: place.start_bytes / SECTOR,
            last_lba: (place.start_bytes + place.size_bytes) / SECTOR - 1,
            flags: 0,
            name: name.to_owned(),
        };
        (place.number, partition)
    };
    let mut partitions = BTreeMap::from([
        entry(layout.root, partition_types::LINUX_FS, "root"),
        entry(layout.bios, partition_types::BIOS, "BIOS boot"),
    ]);
    partitions.extend(
        layout
            .esp
            .map(|place| entry(place, partition_types::EFI, "EFI system")),
    );
    let mut table = gpt::GptConfig::new()
        .writable(true)
        .logical_block_size(gpt::disk::LogicalBlockSize::Lb512)
        .create_from_device(device, Some(assembly.id("disk")))
        .map_err(|error| table_error(&error))?;
    table
        .update_partitions(partitions)
        .map_err(|error| table_error(&error))?;
    table.write().map_err(|error| table_error(&error))?;
    Ok(())
}
