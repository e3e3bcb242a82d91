//! A Linux that boots in seconds: the host's cloud kernel and busybox, nothing on its disk.
//!
//! The kernel comes by QEMU's `-kernel`, which the driver has no use for; a wrapper around QEMU
//! adds it. Once it is up the guest says every fifth of a second on its console how often it has
//! said so, whether its cable is plugged in, and whether 16 MiB of its memory are as they were.
//! Needs the packages linux-image-cloud-amd64 and busybox-static.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in MODULES; do insmod /$module.ko; done
ip link set eth0 up
dd if=/dev/urandom of=/memory bs=1M count=16 2>/dev/null
md5sum /memory > /sum
n=0
while :; do
  n=$((n + 1))
  md5sum -c /sum > /dev/null 2>&1 && sum=good || sum=bad
  echo "tick $n carrier $(cat /sys/class/net/eth0/carrier) memory $sum end"
  usleep 200000
done
"#;

/// In the order in which they need each other.
const MODULES: [&str; 8] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
];

/// A wrapper around QEMU that boots it, made in this directory.
pub fn wrapper(dir: &Path) -> PathBuf {
    let kernel = newest_kernel();
    let release = kernel
        .file_name()
        .and_then(|name| name.to_str())
        .expect("UTF-8");
    let release = release.trim_start_matches("vmlinuz-").to_owned();
    let initrd = dir.join("initrd");
    fs::write(&initrd, archive(&Path::new("/lib/modules").join(release))).expect("written");
    let script = format!(
        "#!/bin/sh\nexec qemu-system-x86_64 \"$@\" -kernel '{}' -initrd '{}' -append 'console=ttyS0 quiet panic=-1'\n",
        kernel.display(),
        initrd.display()
    );
    program(dir, "linux", &script)
}

/// A wrapper around QEMU that gives itself out for QEMU 7.2.
pub fn old_qemu(dir: &Path) -> PathBuf {
    let script = "#!/bin/sh\n\
        [ \"$1\" = --version ] && { echo 'QEMU emulator version 7.2.0'; exit; }\n\
        exec qemu-system-x86_64 \"$@\"\n";
    program(dir, "old", script)
}

fn program(dir: &Path, name: &str, script: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, script).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("made executable");
    path
}

fn newest_kernel() -> PathBuf {
    let entries = fs::read_dir("/boot")
        .expect("/boot can be listed")
        .flatten();
    let kernels = entries.map(|entry| entry.path()).filter(|path| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        name.starts_with("vmlinuz-") && name.ends_with("-cloud-amd64")
    });
    kernels
        .max()
        .expect("this test needs the package linux-image-cloud-amd64")
}

fn archive(modules: &Path) -> Vec<u8> {
    let mut archive = Vec::new();
    entry(&mut archive, "bin", 0o040_755, &[]);
    let busybox = fs::read("/bin/busybox").expect("this test needs the package busybox-static");
    entry(&mut archive, "bin/busybox", 0o100_755, &busybox);
    for module in MODULES {
        let path = find(modules, &format!("{module}.ko"))
            .unwrap_or_else(|| panic!("no module {module} below {}", modules.display()));
        let bytes = fs::read(path).expect("readable");
        entry(&mut archive, &format!("{module}.ko"), 0o100_644, &bytes);
    }
    let init = INIT.replace("MODULES", &MODULES.join(" "));
    entry(&mut archive, "init", 0o100_755, init.as_bytes());
    entry(&mut archive, "TRAILER!!!", 0, &[]);
    archive
}

fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    for entry in fs::read_dir(dir).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            if let Some(found) = find(&path, name) {
                return Some(found);
            }
        } else if entry.file_name() == name {
            return Some(path);
        }
    }
    None
}

/// One entry of a cpio archive, format `newc` (Linux `initramfs/buffer-format.rst`).
fn entry(archive: &mut Vec<u8>, name: &str, mode: u32, bytes: &[u8]) {
    let number = archive.len();
    let fields = [
        number,
        mode as usize,
        0,
        0,
        1,
        0,
        bytes.len(),
        0,
        0,
        0,
        0,
        name.len() + 1,
        0,
    ];
    archive.extend(b"070701");
    for field in fields {
        archive.extend(format!("{field:08x}").bytes());
    }
    archive.extend(name.bytes());
    archive.push(0);
    align(archive);
    archive.extend(bytes);
    align(archive);
}

fn align(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}
