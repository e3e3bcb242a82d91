//! The EFI system partition: a small FAT filesystem with Debian's signed boot loaders.
//!
//! shim is where a firmware without any variables looks (UEFI 2.10, section 3.5.1.1:
//! `\EFI\BOOT\BOOTX64.EFI`), because a clone starts with a variable store of its own. The whole
//! filesystem is made in memory, its ids and times fixed, so the same inputs give the same bytes.

use crate::guest_files::efi_grub_config;
use crate::tree::{Tree, TreeError};
use fatfs::{Date, DateTime, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};
use std::io::{self, Cursor, Write as _};

/// Why no EFI partition was made.
#[derive(Debug, thiserror::Error)]
pub enum EspError {
    /// A boot loader is not in the tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The FAT filesystem.
    #[error("write the EFI partition")]
    Fat(#[from] io::Error),
}

/// The first moment that FAT knows. Boot loaders don't look at times.
#[derive(Debug)]
struct Beginning;

const FIRST_DAY: Date = Date {
    year: 1980,
    month: 1,
    day: 1,
};

impl TimeProvider for Beginning {
    fn get_current_date(&self) -> Date {
        FIRST_DAY
    }
    fn get_current_date_time(&self) -> DateTime {
        DateTime {
            date: FIRST_DAY,
            time: Time {
                hour: 0,
                min: 0,
                sec: 0,
                millis: 0,
            },
        }
    }
}

/// The bytes of the partition: `size_bytes` of them.
pub fn make(tree: &Tree, size_bytes: usize, volume_id: u32) -> Result<Vec<u8>, EspError> {
    let shim = tree.read("/usr/lib/shim/shimx64.efi.signed")?;
    let grub = tree.read("/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed")?;
    let config = efi_grub_config().into_bytes();
    let mut disk = Cursor::new(vec![0_u8; size_bytes]);
    let options = FormatVolumeOptions::new()
        .volume_id(volume_id)
        .volume_label(*b"EFI        ");
    fatfs::format_volume(&mut disk, options)?;
    {
        let options = FsOptions::new()
            .time_provider(&Beginning)
            .update_accessed_date(false);
        let filesystem = FileSystem::new(&mut disk, options)?;
        let root = filesystem.root_dir();
        root.create_dir("EFI")?.create_dir("BOOT")?;
        root.create_dir("EFI/debian")?;
        // Debian's signed GRUB has /EFI/debian built in; the copy beside it is for people.
        for (path, content) in [
            ("EFI/BOOT/BOOTX64.EFI", &shim),
            ("EFI/BOOT/grubx64.efi", &grub),
            ("EFI/BOOT/grub.cfg", &config),
            ("EFI/debian/grub.cfg", &config),
        ] {
            let mut file = root.create_file(path)?;
            file.truncate()?;
            file.write_all(content)?;
        }
    }
    Ok(disk.into_inner())
}
