//! The root filesystem's UUID: changed where nothing outside our sight finds the filesystem by it.
//!
//! The rule: every file that tells a boot where its root is must be one that we read as text and
//! may rewrite. A boot loader that carries the UUID in its own image, on the EFI system partition
//! or in an initramfs hook's configuration, would be left looking for a filesystem that is gone;
//! then the UUID is kept and the reason reported. Two clones with one UUID do no harm until both
//! disks meet in one machine.

use super::edit::{Editor, optional};
use super::error::PersonaliseError;
use crate::fs::{FsError, GuestRead, Owner};
use aho_corasick::AhoCorasick;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What is known of the disk outside the root filesystem: boot sectors, an EFI system partition, a
/// separate /boot. A boot loader there may find the root by its UUID.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Elsewhere {
    /// Nobody looked; where a boot loader may be, the UUID stays.
    #[default]
    NotSearched,
    /// Every byte was looked at and none names the UUID.
    Free,
    /// The UUID stays, for this reason.
    Named(String),
}

/// What became of the filesystem's UUID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilesystemUuid {
    /// It is this one now.
    Changed(Uuid),
    /// It is the template's; the text says why.
    Kept(String),
}

/// Text files that may name the root filesystem and that we may rewrite.
const REWRITABLE: [&str; 9] = [
    "/etc/fstab",
    "/etc/default/grub",
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/etc/kernel/cmdline",
    "/boot/extlinux/extlinux.conf",
    "/boot/syslinux/syslinux.cfg",
    "/etc/default/u-boot",
    "/etc/crypttab",
];
/// Directories of such files, with the end of their names.
const REWRITABLE_IN: [(&str, &str); 2] = [
    ("/boot/loader/entries", ".conf"),
    ("/etc/default/grub.d", ".cfg"),
];
/// Where a UUID is built into something that we do not rewrite.
const BUILT_IN: [&str; 4] = [
    "/boot/grub/i386-pc/core.img",
    "/boot/grub/i386-pc/load.cfg",
    "/boot/grub/x86_64-efi/load.cfg",
    "/etc/initramfs-tools/conf.d/resume",
];
/// GRUB for UEFI finds its configuration by the UUID that stands on the EFI system partition.
const EFI_LOADERS: [&str; 3] = [
    "/boot/grub/x86_64-efi",
    "/boot/grub/arm64-efi",
    "/boot/grub2/x86_64-efi",
];
/// Mount points of file systems that we do not see and that may hold a boot loader's entries.
const BOOT_MOUNTS: [&str; 3] = ["/boot", "/boot/efi", "/efi"];
/// The largest core.img or grub.cfg that is looked at.
const LIMIT_BYTES: u64 = 16 << 20;

pub(super) fn renew_filesystem_uuid(
    edit: &mut Editor<'_>,
    new: Uuid,
    elsewhere: &Elsewhere,
) -> Result<FilesystemUuid, PersonaliseError> {
    let old = edit.reader().uuid()?;
    let reason = match elsewhere {
        Elsewhere::Named(why) => Some(why.clone()),
        Elsewhere::Free => built_in(edit.reader(), old)?,
        Elsewhere::NotSearched => match boot_loader_elsewhere(edit.reader())? {
            Some(why) => Some(why),
            None => built_in(edit.reader(), old)?,
        },
    };
    if let Some(why) = reason {
        return Ok(FilesystemUuid::Kept(why));
    }
    if !edit.set_uuid(new)? {
        let why = "the checksums of the filesystem are made with it (no metadata_csum_seed)";
        return Ok(FilesystemUuid::Kept(why.to_owned()));
    }
    for path in rewritable(edit)? {
        rewrite(edit, &path, old, new)?;
    }
    Ok(FilesystemUuid::Changed(new))
}

/// A boot loader that we do not see and that may find the root by its UUID.
fn boot_loader_elsewhere(fs: &dyn GuestRead) -> Result<Option<String>, FsError> {
    for path in EFI_LOADERS {
        if fs.exists(path)? {
            let why = format!(
                "GRUB on the EFI system partition may find the root filesystem by it ({path})"
            );
            return Ok(Some(why));
        }
    }
    let fstab = read_text_lossy(fs, "/etc/fstab")?;
    let mount = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    let lines = fstab
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    for point in lines.filter_map(mount) {
        if BOOT_MOUNTS.contains(&point.as_str()) {
            return Ok(Some(format!(
                "a boot loader on {point}, another filesystem, may find the root by it"
            )));
        }
    }
    Ok(None)
}

/// A file of the guest that holds the UUID and that we do not rewrite.
fn built_in(fs: &dyn GuestRead, old: Uuid) -> Result<Option<String>, FsError> {
    // GRUB's image is tens of kilobytes, and each clone is asked.
    let finder = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build([old.to_string()])
        .expect("a UUID is a short pattern");
    for path in BUILT_IN {
        let content = match fs.read(path, LIMIT_BYTES) {
            Err(FsError::Unsuitable { .. }) => {
                return Ok(Some(format!("{path} could not be read")));
            }
            other => optional(other)?.unwrap_or_default(),
        };
        if finder.is_match(&content) {
            return Ok(Some(format!("{path} holds it")));
        }
    }
    Ok(None)
}

fn read_text_lossy(fs: &dyn GuestRead, path: &str) -> Result<String, FsError> {
    let bytes = optional(fs.read(path, LIMIT_BYTES))?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn rewritable(edit: &Editor<'_>) -> Result<Vec<String>, FsError> {
    let mut paths: Vec<String> = REWRITABLE.iter().map(ToString::to_string).collect();
    for (directory, end) in REWRITABLE_IN {
        let names = edit.names(directory, |name| name.ends_with(end))?;
        paths.extend(names.iter().map(|name| format!("{directory}/{name}")));
    }
    Ok(paths)
}

fn rewrite(
    edit: &mut Editor<'_>,
    path: &str,
    old: Uuid,
    new: Uuid,
) -> Result<(), PersonaliseError> {
    let Some(text) = edit.text(path)? else {
        return Ok(());
    };
    let (old, new) = (old.to_string(), new.to_string());
    let changed = text.replace(&old, &new).replace(&old.to_uppercase(), &new);
    if changed != text {
        edit.put_keeping(path, changed, Owner::root(0o644))?;
    }
    Ok(())
}
