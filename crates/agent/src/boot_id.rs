//! A boot id of its own for a machine that never booted.
//!
//! The kernel makes `/proc/sys/kernel/random/boot_id` once and keeps it. Programs get another one
//! by a file that is mounted over it, as Firecracker's documentation of snapshots advises. It is
//! gone after a restart, which makes a real one.

use crate::files;
use crate::outcome::{Doing, Step};
use crate::random;
use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};
use stampo_agent_protocol::Outcome;
use std::path::Path;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const OURS: &str = "/run/stampo/boot_id";

pub(crate) fn renew() -> Step {
    std::fs::create_dir_all("/run/stampo").doing("make /run/stampo")?;
    let id = uuid(random::bytes()?);
    // A fork of a fork has a file there already; one above the other would pile up.
    let mounted = files::text("/proc/self/mountinfo").is_some_and(|all| all.contains(BOOT_ID));
    if mounted {
        unmount(BOOT_ID, UnmountFlags::DETACH).doing("unmount the former boot id")?;
    }
    files::put(Path::new(OURS), format!("{id}\n").as_bytes(), 0o444)?;
    mount_bind(OURS, BOOT_ID).doing("mount a boot id")?;
    let flags = MountFlags::BIND
        | MountFlags::RDONLY
        | MountFlags::NOSUID
        | MountFlags::NODEV
        | MountFlags::NOEXEC;
    mount_remount(BOOT_ID, flags, c"").doing("make the boot id read-only")?;
    Ok(Outcome::Done)
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
