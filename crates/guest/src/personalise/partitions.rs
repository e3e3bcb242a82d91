//! Whether a guest finds its partitions by the ids in its partition table.
//!
//! Where a file of the guest names a partition by its id (`PARTUUID=…`), the ids stay the
//! template's: rewriting them would also need the kernel's command line in boot loaders that we do
//! not see. Everywhere else a clone gets ids of its own.

use super::error::PersonaliseError;
use crate::fs::{FsError, GuestRead};

/// Files that may name partitions.
const FILES: [&str; 8] = [
    "/etc/fstab",
    "/etc/crypttab",
    "/etc/default/grub",
    "/etc/kernel/cmdline",
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/boot/extlinux/extlinux.conf",
    "/boot/syslinux/syslinux.cfg",
];
/// Directories of such files.
const DIRECTORIES: [&str; 2] = ["/boot/loader/entries", "/etc/default/grub.d"];
/// The largest that is read; a larger one keeps the ids as they are.
const LIMIT_BYTES: u64 = 1 << 20;
/// How partitions are named by id.
const MARKS: [&str; 2] = ["PARTUUID", "by-partuuid"];

/// The reason why the ids in the partition table must stay, if there is one.
pub fn partition_ids_in_use(fs: &dyn GuestRead) -> Result<Option<String>, PersonaliseError> {
    let mut paths: Vec<String> = FILES.iter().map(|path| (*path).to_owned()).collect();
    for directory in DIRECTORIES {
        match fs.read_dir(directory) {
            Ok(entries) => paths.extend(entries.into_iter().filter_map(|entry| {
                let name = String::from_utf8(entry.name).ok()?;
                Some(format!("{directory}/{name}"))
            })),
            Err(FsError::NotFound { .. } | FsError::Unsuitable { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    for path in paths {
        match fs.read(&path, LIMIT_BYTES) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                if MARKS.iter().any(|mark| text.contains(mark)) {
                    return Ok(Some(format!("{path} names a partition by it")));
                }
            }
            Err(FsError::NotFound { .. }) => {}
            Err(FsError::Unsuitable { .. }) => {
                return Ok(Some(format!(
                    "{path} can't be read, and may name a partition by it"
                )));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::tree::TreeFixture;

    #[test]
    fn a_named_partition_keeps_its_id() {
        let plain = TreeFixture::new().file("/etc/fstab", "LABEL=root / ext4 defaults 0 1\n");
        assert_eq!(partition_ids_in_use(&plain).expect("readable"), None);
        let named = TreeFixture::new().file("/etc/fstab", "PARTUUID=12-34 / ext4 defaults 0 1\n");
        assert!(partition_ids_in_use(&named).expect("readable").is_some());
        let entry =
            TreeFixture::new().file("/boot/loader/entries/a.conf", "options root=PARTUUID=1\n");
        assert!(partition_ids_in_use(&entry).expect("readable").is_some());
    }
}
