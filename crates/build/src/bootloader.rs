//! GRUB for BIOS, put in place without running anything: what grub-install's last step does.
//!
//! Source: GRUB 2.06 and 2.12, `util/setup.c` (`SETUP`, the embedding part),
//! `include/grub/i386/pc/boot.h` and `include/grub/offsets.h`.
//!
//! ```text
//! sector 0        boot.img (440 bytes of it): loads one sector, whose number is at 0x5c
//! core.img  + 0   diskboot.img: loads the rest by a block list at its end
//!           + 512 the kernel of GRUB and its modules, compressed
//! ```

/// Where the customising script leaves the image, and where a later grub-install would.
pub const CORE_IMAGE: &str = "/boot/grub/i386-pc/core.img";
/// The boot sector that belongs to it.
pub const BOOT_IMAGE: &str = "/boot/grub/i386-pc/boot.img";

/// Bytes of sector 0 before the disk signature and the partition table.
const BOOT_CODE_BYTES: usize = 440;
/// `GRUB_BOOT_MACHINE_KERNEL_SECTOR`: the number of core.img's first sector, 64 bits.
const KERNEL_SECTOR: usize = 0x5c;
/// `GRUB_BOOT_MACHINE_BOOT_DRIVE`: 0xff means the drive that the BIOS named.
const BOOT_DRIVE: usize = 0x64;
/// `GRUB_BOOT_MACHINE_DRIVE_CHECK`: a jump that two `nop` replace on hard disks, for BIOSes that
/// name the wrong drive.
const DRIVE_CHECK: usize = 0x66;
/// The last block list of diskboot.img: first sector (64 bits), sectors (16), segment (16).
const BLOCK_LIST: usize = 512 - 12;

/// Why GRUB's images can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BootloaderError {
    /// boot.img is not one sector that ends in 55 aa.
    #[error("use GRUB's boot.img: it is not a boot sector")]
    BootImage,
    /// core.img's block list does not fit its size.
    #[error("use GRUB's core.img: its block list is not that of one run of sectors")]
    CoreImage,
    /// core.img is larger than its partition.
    #[error("use GRUB's core.img: {size_bytes} bytes don't fit into its partition")]
    TooLarge {
        /// The image's size.
        size_bytes: usize,
    },
}

/// The boot code for sector 0: `boot_image`, told that core.img begins at `core_sector`.
pub fn patch_boot_sector(
    boot_image: &[u8],
    core_sector: u64,
) -> Result<[u8; BOOT_CODE_BYTES], BootloaderError> {
    if boot_image.len() != 512 || boot_image[510..] != [0x55, 0xaa] {
        return Err(BootloaderError::BootImage);
    }
    let mut code = [0; BOOT_CODE_BYTES];
    code.copy_from_slice(&boot_image[..BOOT_CODE_BYTES]);
    code[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&core_sector.to_le_bytes());
    code[BOOT_DRIVE] = 0xff;
    code[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]);
    Ok(code)
}

/// `core_image`, told that it lies in one run of sectors from `core_sector` on, in a partition of
/// `room_bytes`.
pub fn patch_core_image(
    mut core_image: Vec<u8>,
    core_sector: u64,
    room_bytes: u64,
) -> Result<Vec<u8>, BootloaderError> {
    if core_image.len() as u64 > room_bytes {
        return Err(BootloaderError::TooLarge {
            size_bytes: core_image.len(),
        });
    }
    let sectors = core_image.len().div_ceil(512).saturating_sub(1);
    let list = core_image
        .get(BLOCK_LIST..512)
        .ok_or(BootloaderError::CoreImage)?;
    // grub-mkimage has already written how many sectors follow the first.
    if usize::from(u16::from_le_bytes([list[8], list[9]])) != sectors {
        return Err(BootloaderError::CoreImage);
    }
    core_image[BLOCK_LIST..BLOCK_LIST + 8].copy_from_slice(&(core_sector + 1).to_le_bytes());
    Ok(core_image)
}
