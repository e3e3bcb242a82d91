//! Closing what a careless ancestor left open. The only unsafe call of this room.
#![expect(unsafe_code, reason = "close_range(2) has no safe wrapper")]

use rustix::io::Errno;

/// Closes every descriptor from 3 on.
///
/// Kernels before 5.9 lack the call; there the descriptors stay, and the system-call filter makes
/// them useless: it allows reading 0, writing 1 and 2, and no other.
pub fn close_inherited() -> Result<(), Errno> {
    // SAFETY: no memory is passed. The caller is a process that has just started, before it opened
    // anything, so no live object of Rust owns a descriptor from 3 on.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) };
    match std::io::Error::last_os_error().raw_os_error() {
        _ if result == 0 => Ok(()),
        Some(libc::ENOSYS) => Ok(()),
        other => Err(Errno::from_raw_os_error(other.unwrap_or(libc::EIO))),
    }
}
