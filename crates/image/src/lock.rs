//! Locks on image files that QEMU understands.
//!
//! QEMU guards an image with open file description locks on single bytes (block/file-posix.c,
//! `RAW_LOCK_PERM_BASE` and `RAW_LOCK_SHARED_BASE`; the permissions are those of
//! include/block/block-common.h). A process that uses permission *p* holds a shared lock on byte
//! 100 + *p*; one that does not let others use it holds a shared lock on byte 200 + *p*. Each
//! then asks whether a lock of another contradicts its own.
//!
//! So that an editor and a running virtual machine never have one overlay open together, we hold
//! locks on the same bytes. At the latest a lock ends with the process; nothing has to be cleaned
//! up. A `locking=off` QEMU and a reader that asks for nothing (`qemu-img info -U`) are not seen
//! and not stopped.

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::File;
use std::io;

/// First byte of the permissions that a process uses.
const PERM_BASE: i64 = 100;
/// First byte of the permissions that a process keeps from others.
const UNSHARED_BASE: i64 = 200;
/// Bytes of each group that QEMU may use; it knows four or five permissions, by version.
const GROUP_BYTES: i64 = 64;
/// `BLK_PERM_CONSISTENT_READ`: the content makes sense while it is read.
const CONSISTENT_READ: i64 = 0;
/// `BLK_PERM_WRITE`.
const WRITE: i64 = 1;
/// `BLK_PERM_RESIZE`.
const RESIZE: i64 = 3;

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has the image open.
    #[error("lock an image: another process has it open, for example a running virtual machine")]
    InUse,
    /// The kernel or the file system has no such locks.
    #[error("lock an image: its file system refuses the lock")]
    Refused(#[source] io::Error),
}

/// A lock that is held until this is dropped.
///
/// The lock is given back in so many words, not by closing the file: a process that another
/// thread is just starting has copies of all descriptors until it runs its program, and would
/// keep the lock alive for that long.
#[derive(Debug)]
#[must_use = "the lock ends when this is dropped"]
pub struct ImageLock {
    file: File,
}

impl ImageLock {
    /// A lock through the open file of `file`, not taken yet.
    fn of(file: &File) -> Result<Self, LockError> {
        Ok(ImageLock {
            file: file.try_clone().map_err(LockError::Refused)?,
        })
    }
}

impl Drop for ImageLock {
    fn drop(&mut self) {
        for base in [PERM_BASE, UNSHARED_BASE] {
            if let Err(error) = set(&self.file, libc::F_UNLCK, base, GROUP_BYTES) {
                tracing::warn!(%error, "an image stays locked until its file is closed");
            }
        }
    }
}

/// Keeps every other user of stampo and QEMU away from `file`, which is open for writing.
pub fn lock_exclusive(file: &File) -> Result<ImageLock, LockError> {
    let lock = ImageLock::of(file)?;
    // Exclusive locks on both groups contradict whatever another one holds or asks for. They are
    // taken one after the other; two who meet between them may both fail, never both succeed.
    for base in [PERM_BASE, UNSHARED_BASE] {
        set(file, libc::F_WRLCK, base, GROUP_BYTES)?;
    }
    Ok(lock)
}

/// Keeps writers away from `file`; other readers may come.
pub fn lock_shared(file: &File) -> Result<ImageLock, LockError> {
    let lock = ImageLock::of(file)?;
    set(file, libc::F_RDLCK, PERM_BASE + CONSISTENT_READ, 1)?;
    for permission in [WRITE, RESIZE] {
        set(file, libc::F_RDLCK, UNSHARED_BASE + permission, 1)?;
    }
    // Only then ask, so that of two who come together at least one sees the other.
    let refused = [
        PERM_BASE + WRITE,
        PERM_BASE + RESIZE,
        UNSHARED_BASE + CONSISTENT_READ,
    ];
    for byte in refused {
        if has_lock(file, byte, 1)? {
            return Err(LockError::InUse);
        }
    }
    Ok(lock)
}

/// Whether another open of the file holds any lock that QEMU or this file takes.
pub fn is_in_use(file: &File) -> Result<bool, LockError> {
    Ok(has_lock(file, PERM_BASE, GROUP_BYTES)? || has_lock(file, UNSHARED_BASE, GROUP_BYTES)?)
}

/// Whether another open of the file, or another process, holds a lock on any byte of it. SQLite
/// keeps one for as long as it has a catalog open (wal.c and os_unix.c: `SHARED_LOCK` on the file).
pub fn is_locked(file: &File) -> Result<bool, LockError> {
    has_lock(file, 0, 0)
}

/// A lock description; its remaining fields are zero, as fcntl_locking(2) demands.
fn description(kind: i32, start: i64, length: i64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: length,
        l_pid: 0,
    }
}

/// Takes a lock without waiting.
fn set(file: &File, kind: i32, start: i64, length: i64) -> Result<(), LockError> {
    let lock = description(kind, start, length);
    match fcntl(file, FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => Ok(()),
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Err(LockError::InUse),
        Err(e) => Err(LockError::Refused(e.into())),
    }
}

/// Whether another open of the file holds a lock in the range; one of length 0 has no end.
fn has_lock(file: &File, start: i64, length: i64) -> Result<bool, LockError> {
    let mut lock = description(libc::F_WRLCK, start, length);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)).map_err(|e| LockError::Refused(e.into()))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opens(count: usize) -> (tempfile::TempDir, Vec<File>) {
        let dir = tempfile::tempdir().expect("make a directory");
        let path = dir.path().join("disk");
        std::fs::write(&path, b"x").expect("write");
        let open = || {
            File::options()
                .read(true)
                .write(true)
                .open(&path)
                .expect("open")
        };
        (dir, (0..count).map(|_| open()).collect())
    }

    #[test]
    fn an_exclusive_lock_keeps_everyone_out_until_it_is_dropped() {
        let (_dir, files) = opens(3);
        let lock = lock_exclusive(&files[0]).expect("lock");
        assert!(matches!(lock_exclusive(&files[1]), Err(LockError::InUse)));
        assert!(matches!(lock_shared(&files[2]), Err(LockError::InUse)));
        assert!(is_in_use(&files[1]).expect("ask"));
        assert!(
            !is_in_use(&files[0]).expect("ask"),
            "one's own lock is no other user"
        );
        drop(lock);
        assert!(!is_in_use(&files[1]).expect("ask"));
        drop(lock_exclusive(&files[1]).expect("lock"));
    }

    #[test]
    fn a_lock_anywhere_in_the_file_is_seen() {
        let (_dir, files) = opens(2);
        assert!(!is_locked(&files[0]).expect("ask"));
        set(&files[1], libc::F_RDLCK, 0x4000_0002, 510).expect("lock");
        assert!(is_locked(&files[0]).expect("ask"));
    }

    #[test]
    fn readers_share_and_keep_a_writer_out() {
        let (_dir, files) = opens(3);
        let locks = [0, 1].map(|at: usize| lock_shared(&files[at]).expect("lock"));
        assert!(matches!(lock_exclusive(&files[2]), Err(LockError::InUse)));
        assert!(is_in_use(&files[2]).expect("ask"));
        drop(locks);
        drop(lock_exclusive(&files[2]).expect("lock"));
    }

    #[test]
    fn a_copy_of_the_descriptor_does_not_keep_a_dropped_lock_alive() {
        let (_dir, files) = opens(2);
        let lock = lock_exclusive(&files[0]).expect("lock");
        let copy = files[0].try_clone().expect("copy");
        drop(lock);
        drop(lock_exclusive(&files[1]).expect("lock"));
        drop(copy);
    }
}
