//! A boot id of its own for a machine that never booted.
//!
//! The kernel makes `/proc/sys/kernel/random/boot_id` once and keeps it. Programs get another one
//! by a file that is mounted over it, as Firecracker's documentation of snapshots advises. It is
//! gone after a restart, which makes a real one.

use crate::files;
use crate::outcome::{Doing, Failure, Step};
use crate::random;
use rustix::mount::{MountFlags, mount_bind, mount_remount};
use stampo_agent_protocol::Outcome;
use std::sync::atomic::{AtomicBool, Ordering};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const OURS: &str = "/run/stampo/boot_id";

/// Gives the machine another boot id.
pub(crate) fn renew() -> Step {
    mount()?;
    // Into the file that is mounted. The length is always the same, so nobody reads half of it.
    let id = uuid(random::bytes()?);
    files::overwrite(OURS, &id)?;
    Ok(Outcome::Done)
}

/// Mounts a file over the boot id that has the same in it, unless one is there. Each mount makes
/// systemd read the list of all.
pub(crate) fn mount() -> Result<(), Failure> {
    static MOUNTED: AtomicBool = AtomicBool::new(false);
    if MOUNTED.load(Ordering::Relaxed) {
        return Ok(());
    }
    let mounted = files::text("/proc/self/mountinfo").is_some_and(|all| all.contains(BOOT_ID));
    if !mounted {
        let id = files::text(BOOT_ID).unwrap_or_default();
        files::put_in_run(OURS, id.as_bytes(), 0o444)?;
        mount_bind(OURS, BOOT_ID).doing("mount a boot id")?;
        let flags = MountFlags::BIND
            | MountFlags::RDONLY
            | MountFlags::NOSUID
            | MountFlags::NODEV
            | MountFlags::NOEXEC;
        mount_remount(BOOT_ID, flags, c"").doing("make the boot id read-only")?;
    }
    MOUNTED.store(true, Ordering::Relaxed);
    Ok(())
}

/// A version 4 UUID (RFC 9562, section 5.4) as text.
pub(crate) fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
