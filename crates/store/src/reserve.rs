//! Room that is kept beside the catalog for a disk that is full.
//!
//! Every command records what it does, also one that frees room, and SQLite needs some for its log and
//! its index. So a file of zeros holds a little, and is given up when the disk is full. It is made
//! again when there is room. Failing to make it is no reason to refuse anything.

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What it holds, in bytes.
const BYTES: u64 = 512 << 10;
/// With less than this free, in bytes, it is given up.
const SHORT: u64 = 512 << 10;
/// With more than this free it is made again.
const PLENTY: u64 = 16 << 20;

fn path_beside(catalog: &Path) -> PathBuf {
    let mut path = catalog.as_os_str().to_owned();
    path.push("-reserve");
    path.into()
}

/// Gives the room up if the disk is full; whether it is. Called before the catalog is opened.
pub(crate) fn release_if_short(catalog: &Path) -> bool {
    let is_short = free_bytes(catalog).is_some_and(|free| free < SHORT);
    if is_short {
        release(catalog);
    }
    is_short
}

/// Gives the room up; whether there was any.
pub(crate) fn release(catalog: &Path) -> bool {
    fs::remove_file(path_beside(catalog)).is_ok()
}

/// Takes the room again where there is plenty.
pub(crate) fn ensure(catalog: &Path) {
    let path = path_beside(catalog);
    // One that was copied may be a hole.
    let is_kept = fs::metadata(&path).is_ok_and(|meta| meta.blocks() * 512 >= BYTES);
    if is_kept || free_bytes(catalog).is_none_or(|free| free < PLENTY) {
        return;
    }
    let options = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path);
    let Ok(mut file) = options else {
        return;
    };
    // A file system that can't keep room for a file is given bytes.
    let kept = fallocate(&file, FallocateFlags::empty(), 0, BYTES).or_else(|_| {
        file.write_all(&[0; BYTES as usize])
            .map_err(|_| rustix::io::Errno::IO)
    });
    if kept.is_err() {
        release(catalog);
    }
}

fn free_bytes(catalog: &Path) -> Option<u64> {
    let found = statvfs(catalog.parent()?).ok()?;
    Some(found.f_bavail * found.f_frsize)
}
