//! What was measured on: the machine, the programs, and their installation.

use super::program::{bash, command, output};
use anyhow::{Context, Result};
use serde::Serialize;
use std::io::Write;
use std::path::Path;

/// What the comparison needs beside `./scripts/prepare`. virt-clone: virtinst and a libvirtd with
/// the QEMU driver. virt-sysprep, virt-inspector: guestfs-tools, and a kernel for its appliance.
const PACKAGES: [&str; 11] = [
    "virtinst",
    "libvirt-clients",
    "libvirt-daemon",
    "libvirt-daemon-driver-qemu",
    "libvirt-daemon-system",
    "guestfs-tools",
    "linux-image-cloud-amd64",
    "xfsprogs",
    "btrfs-progs",
    "genisoimage",
    "time",
];

/// The machine.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// How many of it.
    pub processors: usize,
    /// GiB, rounded.
    pub memory_gib: u64,
    /// The kernel.
    pub kernel: String,
    /// The distribution.
    pub system: String,
    /// The filesystem of the benchmark's directory.
    pub filesystem: String,
    /// The median of small writes with fsync there, milliseconds.
    pub fsync_ms: f64,
    /// The load averages before.
    pub load: String,
    /// The date, UTC.
    pub date: String,
    /// The commit of stampo.
    pub commit: String,
}

impl Machine {
    /// Looks at it. `load` is from before anything was built.
    pub fn look(dir: &Path, load: String) -> Result<Machine> {
        let first = |script: &str| output(&mut bash(script)).map(|text| text.trim().to_owned());
        let kib: u64 = first("awk '/^MemTotal:/ {print $2}' /proc/meminfo")?.parse()?;
        Ok(Machine {
            processor: first("sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -1")?,
            processors: std::thread::available_parallelism()?.get(),
            memory_gib: (kib + (1 << 19)) >> 20,
            kernel: first("uname -r")?,
            system: first(". /etc/os-release && echo \"$PRETTY_NAME\"")?,
            filesystem: first(&format!("findmnt -n -o FSTYPE -T '{}'", dir.display()))?,
            fsync_ms: fsync_ms(dir)?,
            load,
            date: first("date -u +%Y-%m-%d")?,
            commit: first("git describe --always --dirty 2>/dev/null || echo unknown")?,
        })
    }
}

impl Machine {
    /// A remark when something else ran before the benchmark began.
    pub fn busy(&self) -> &'static str {
        let before = self.load.split(' ').next();
        match before.and_then(|load| load.parse::<f64>().ok()) {
            Some(load) if load < 0.7 => "",
            _ => " **Taken while other work ran on the machine.**",
        }
    }
}

/// The load averages now.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    words.join(" ")
}

/// What fsync of a 4 KiB file takes: it is most of what small operations wait for.
fn fsync_ms(dir: &Path) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..31 {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(&[1; 4096])?;
        let start = std::time::Instant::now();
        file.as_file().sync_all()?;
        times.push(super::program::milliseconds(start));
    }
    let summary = super::stats::summary(&times).context("31 values")?;
    Ok(summary.median)
}

/// Installs the programs of the comparison that are missing.
pub fn install() -> Result<()> {
    let installed = |name: &&&str| {
        let mut query = command(&["dpkg-query", "-W", "-f", "${db:Status-Status}", name]);
        output(&mut query).is_ok_and(|state| state == "installed")
    };
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|name| !installed(name))
        .copied()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", missing.join(" "));
    let sudo = if super::libvirt::is_root() {
        ""
    } else {
        "sudo "
    };
    let script = format!(
        "{sudo}apt-get update -q && {sudo}env DEBIAN_FRONTEND=noninteractive \
         apt-get install -y -q --no-install-recommends {}",
        missing.join(" ")
    );
    output(&mut bash(&script)).map(drop)
}

/// The versions of all programs that take part.
pub fn versions() -> Vec<(String, String)> {
    let more = ["qemu-utils", "qemu-system-x86", "e2fsprogs", "coreutils"];
    let all: Vec<&str> = more.iter().chain(PACKAGES.iter()).copied().collect();
    versions_of(&all)
}

/// The versions of these packages.
pub fn versions_of(packages: &[&str]) -> Vec<(String, String)> {
    let version = |name: &&str| {
        let mut query = command(&["dpkg-query", "-W", "-f", "${Version}", name]);
        let found = output(&mut query).unwrap_or_else(|_| "not installed".to_owned());
        ((*name).to_owned(), found)
    };
    packages.iter().map(version).collect()
}
