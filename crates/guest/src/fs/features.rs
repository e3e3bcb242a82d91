//! Which ext4 features we read, which we write, and what to say about the others.
//!
//! A feature that is not named here is refused before a single byte is written: the bits exist so
//! that software which does not know them keeps its hands off (Linux
//! `Documentation/filesystems/ext4/super.rst`, "feature_incompat" and "feature_ro_compat").

use super::FsError;
use super::layout::{Superblock, incompat, ro_compat};

/// Incompatible features whose files we find and read.
const READABLE: u32 = WRITABLE | incompat::MMP | incompat::ENCRYPT | incompat::CASEFOLD;

/// Incompatible features that stay correct through our edits.
const WRITABLE: u32 = incompat::FILETYPE
    | incompat::RECOVER
    | incompat::META_BG
    | incompat::EXTENTS
    | incompat::BIT64
    | incompat::FLEX_BG
    | incompat::EA_INODE
    | incompat::CSUM_SEED
    | incompat::LARGEDIR
    | incompat::INLINE_DATA;

/// Read-only-compatible features that stay correct through our edits. `0x4` is the never used
/// `btree_dir`.
const MAINTAINED: u32 = ro_compat::SPARSE_SUPER
    | ro_compat::LARGE_FILE
    | 0x4
    | ro_compat::HUGE_FILE
    | ro_compat::GDT_CSUM
    | ro_compat::DIR_NLINK
    | ro_compat::EXTRA_ISIZE
    | ro_compat::METADATA_CSUM;

/// `EXT4_ERROR_FS` of `s_state`.
const STATE_ERRORS: u16 = 0x2;

/// The names that mke2fs and dumpe2fs use.
const INCOMPAT_NAMES: [(u32, &str); 5] = [
    (incompat::COMPRESSION, "compression"),
    (incompat::JOURNAL_DEV, "journal_dev"),
    (incompat::MMP, "mmp"),
    (incompat::DIRDATA, "dirdata"),
    (incompat::ENCRYPT, "encrypt"),
];
const RO_COMPAT_NAMES: [(u32, &str); 6] = [
    (ro_compat::QUOTA, "quota"),
    (ro_compat::BIGALLOC, "bigalloc"),
    (ro_compat::READONLY, "read-only"),
    (ro_compat::PROJECT, "project"),
    (ro_compat::VERITY, "verity"),
    (ro_compat::ORPHAN_PRESENT, "orphan_present"),
];

/// Refuses a filesystem that we can't read.
pub(crate) fn check_readable(superblock: &Superblock) -> Result<(), FsError> {
    refuse(
        superblock.incompat & !READABLE,
        &INCOMPAT_NAMES,
        "can't be read yet",
    )
}

/// Refuses a filesystem that we could read but not change without breaking it.
pub(crate) fn check_writable(superblock: &Superblock) -> Result<(), FsError> {
    if superblock.has_incompat(incompat::CASEFOLD) {
        return Err(unsupported(
            "its feature casefold can't be written yet".into(),
        ));
    }
    refuse(
        superblock.incompat & !WRITABLE,
        &INCOMPAT_NAMES,
        "can't be written yet",
    )?;
    if superblock.has_ro_compat(ro_compat::ORPHAN_PRESENT) {
        return Err(unsupported(
            "it was not unmounted and its orphan file is in use; start the guest once and shut \
             it down, or run e2fsck -f on a copy of the disk"
                .into(),
        ));
    }
    refuse(
        superblock.ro_compat & !MAINTAINED,
        &RO_COMPAT_NAMES,
        "can't be written yet",
    )?;
    if superblock.has_outer_journal() {
        // e2fsck, which judges every edit, would look for it among the devices of the host.
        return Err(unsupported("its journal is on another device".into()));
    }
    if superblock.state & STATE_ERRORS != 0 {
        return Err(super::layout::damaged(
            "it has recorded errors; run e2fsck -f on a copy of the disk first",
        ));
    }
    Ok(())
}

fn refuse(bits: u32, names: &[(u32, &str)], what: &str) -> Result<(), FsError> {
    if bits == 0 {
        return Ok(());
    }
    let known: Vec<&str> = names
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    let named: u32 = names.iter().map(|(bit, _)| bit).sum();
    let unknown = bits & !named;
    let mut list = known.join(", ");
    if unknown != 0 {
        let comma = if list.is_empty() { "" } else { ", " };
        list = format!("{list}{comma}unknown {unknown:#x}");
    }
    Err(unsupported(format!("its feature {list} {what}")))
}

/// A [`FsError::Unsupported`] of an ext4 filesystem.
pub(crate) fn unsupported(why: String) -> FsError {
    FsError::Unsupported {
        filesystem: "ext4".into(),
        why,
    }
}
