//! Who this machine is now, read from the kernel and the disk each time.

use crate::outcome::Failure;
use crate::{clock, files, net, random, ssh_keys, timings};
use sha2::{Digest, Sha256};
use stampo_agent_protocol::{Evidence, Few, Hex32};
use std::path::Path;

/// The evidence for the passport.
pub(crate) fn evidence(nonce: Hex32) -> Result<Evidence, Failure> {
    Ok(Evidence {
        nonce,
        randomness: randomness()?,
        uuid: line("/proc/sys/kernel/random/uuid")?,
        machine_id: line("/etc/machine-id")?,
        hostname: String::from_utf8_lossy(rustix::system::uname().nodename().to_bytes())
            .into_owned(),
        boot_id: line("/proc/sys/kernel/random/boot_id")?,
        interfaces: Few::first(net::interfaces()?),
        host_keys: Few::first(ssh_keys::public_keys()),
        kernel: kernel(),
        has_vmgenid: has_vmgenid(),
        clock_unix_ns: clock::unix_ns(),
        uptime_ms: timings::uptime_ms(),
    })
}

/// A hash, because the bytes themselves may be what another program is about to use.
fn randomness() -> Result<Hex32, Failure> {
    let fresh: [u8; 32] = random::bytes()?;
    let hash = Sha256::new()
        .chain_update(b"stampo randomness 1")
        .chain_update(fresh)
        .finalize();
    Ok(Hex32(hash.into()))
}

fn line(path: &str) -> Result<String, Failure> {
    let text = files::text(path).ok_or_else(|| Failure(format!("{path} can't be read")))?;
    Ok(text.trim().to_owned())
}

/// The kernel's release.
pub(crate) fn kernel() -> String {
    String::from_utf8_lossy(rustix::system::uname().release().to_bytes()).into_owned()
}

/// Whether a driver has taken the generation id of the machine: `QEMUVGID` and `VM_Gen_Counter`
/// are what Linux's drivers/virt/vmgenid.c binds to, and its ACPI driver is named `vmgenid`.
pub(crate) fn has_vmgenid() -> bool {
    [
        "/sys/bus/acpi/drivers/vmgenid",
        "/sys/bus/platform/drivers/vmgenid",
    ]
    .iter()
    .any(|driver| {
        // A driver has files of its own; a device that it has taken is a link.
        files::names(driver)
            .iter()
            .any(|name| Path::new(driver).join(name).is_symlink() && name != "module")
    })
}
