//! What a careless ancestor left open. The only unsafe call of this room.
#![expect(unsafe_code, reason = "close_range(2) has no safe wrapper")]

use rustix::io::Errno;

/// Closes every descriptor from 3 on, for a process that has just started and has opened nothing.
///
/// Kernels before 5.9 lack the call; there the descriptors stay, and the system-call filter makes
/// them useless: it allows reading 0, writing 1 and 2, and no other.
pub(crate) fn close_inherited() -> Result<(), Errno> {
    on_inherited(0)
}

/// Keeps every descriptor from 3 on from the programs that this one starts: guests, and what tends
/// them, live on, and would hold a lock or a pipe for as long that somebody opened for one command.
///
/// Kernels before 5.11 lack it; there they are passed on.
pub fn keep_from_children() -> Result<(), Errno> {
    on_inherited(libc::CLOSE_RANGE_CLOEXEC)
}

fn on_inherited(flags: libc::c_uint) -> Result<(), Errno> {
    // SAFETY: no memory is passed. Descriptors are closed only in a process that has just started,
    // before it opened anything, so no live object of Rust owns one from 3 on.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, flags) };
    match std::io::Error::last_os_error().raw_os_error() {
        _ if result == 0 => Ok(()),
        Some(libc::ENOSYS) => Ok(()),
        Some(libc::EINVAL) if flags != 0 => Ok(()),
        other => Err(Errno::from_raw_os_error(other.unwrap_or(libc::EIO))),
    }
}
