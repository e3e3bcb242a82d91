//! Another UUID for an ext4 filesystem: the superblock and all its copies.
//!
//! Every metadata checksum starts from the UUID unless the filesystem keeps a seed of its own, so
//! this is done only where no other structure has to change. It does not convert a filesystem to
//! `metadata_csum_seed`: the boot loaders of some systems that stampo serves (GRUB before 2.12)
//! can't read such a filesystem.
//!
//! Source: Linux `Documentation/filesystems/ext4/checksums.rst` and `super.rst`.

use super::FsError;
use super::layout::{SUPERBLOCK_BYTES, SUPERBLOCK_OFFSET, Superblock, incompat, ro_compat};
use stampo_image::device::BlockDevice;
use uuid::Uuid;

/// Where `s_uuid` is in a superblock.
const UUID_AT: usize = 0x68;

/// Whether nothing but the superblocks depends on this filesystem's UUID.
pub(crate) fn is_possible(superblock: &Superblock) -> bool {
    let seeded = superblock.has_incompat(incompat::CSUM_SEED);
    let unsummed = !superblock.has_ro_compat(ro_compat::METADATA_CSUM | ro_compat::GDT_CSUM);
    // Values in inodes of their own carry a checksum of the UUID, and MMP blocks do as well.
    let free = !superblock.has_incompat(incompat::MMP);
    free && (unsummed || (superblock.has_checksums() && seeded))
}

/// Writes `uuid` into the superblock and its copies. Call it only where [`is_possible`].
pub(crate) fn write(device: &dyn BlockDevice, uuid: Uuid) -> Result<(), FsError> {
    let superblock = Superblock::read(device)?;
    put(device, SUPERBLOCK_OFFSET, uuid)?;
    for group in 1..superblock.group_count() {
        if superblock.group_has_superblock(group) {
            let offset = superblock.group_blocks(group).start * superblock.block_size;
            put(device, offset, uuid)?;
        }
    }
    Ok(())
}

fn put(device: &dyn BlockDevice, offset: u64, uuid: Uuid) -> Result<(), FsError> {
    let mut raw = vec![0; SUPERBLOCK_BYTES];
    device.read_at(offset, &mut raw)?;
    raw[UUID_AT..UUID_AT + 16].copy_from_slice(uuid.as_bytes());
    Superblock::stamp(&mut raw);
    Ok(device.write_at(offset, &raw)?)
}
