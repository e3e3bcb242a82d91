//! A libvirtd of the benchmark's own, for virt-clone.
//!
//! It has its own sockets, log and process id file, and is ended with the benchmark. As root it is
//! the system daemon (and keeps its machines under /etc/libvirt/qemu like any other), else the
//! user's session daemon.

use super::lab::Lab;
use super::program::{command, output, wait_for};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A machine's name begins like this, so that what a killed run left can be told.
const PREFIX: &str = "stampo-bench-";

/// The daemon.
pub struct Libvirt {
    daemon: Child,
    connection: String,
    _dir: tempfile::TempDir,
}

impl Libvirt {
    /// Starts it and waits until it answers.
    pub fn start() -> Result<Libvirt> {
        // A short path: a socket's name has at most 108 bytes.
        let dir = tempfile::Builder::new().prefix("stampo-bench").tempdir()?;
        let config = dir.path().join("libvirtd.conf");
        let place = dir.path().display();
        let text = format!(
            "unix_sock_dir = \"{place}\"\nauth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\n\
             log_outputs = \"3:file:{place}/log\"\n"
        );
        fs::write(&config, text)?;
        let daemon = Command::new("libvirtd")
            .arg("--config")
            .arg(&config)
            .arg("--pid-file")
            .arg(dir.path().join("pid"))
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start libvirtd")?;
        let kind = if is_root() { "system" } else { "session" };
        let connection = format!("qemu:///{kind}?socket={place}/libvirt-sock");
        let libvirt = Libvirt {
            daemon,
            connection,
            _dir: dir,
        };
        wait_for("libvirtd", 60, || libvirt.virsh(&["version"]).is_ok())?;
        for name in libvirt.virsh(&["list", "--all", "--name"])?.lines() {
            if name.starts_with(PREFIX) {
                libvirt.undefine(name)?;
            }
        }
        Ok(libvirt)
    }

    fn virsh(&self, args: &[&str]) -> Result<String> {
        output(command(&["virsh", "-c", &self.connection]).args(args))
    }

    /// Forgets a machine; its disk stays.
    pub fn undefine(&self, name: &str) -> Result<()> {
        self.virsh(&["undefine", name]).map(drop)
    }

    /// Defines a machine with this disk, as virt-clone's source; its name.
    pub fn define(&self, lab: &Lab, name: &str, disk: &Path, format: &str) -> Result<String> {
        let name = format!("{PREFIX}{name}");
        let xml = lab.path(&format!("{name}.xml"));
        let text = format!(
            "<domain type='qemu'><name>{name}</name><memory unit='MiB'>1024</memory><vcpu>2</vcpu>\
             <os><type arch='x86_64' machine='q35'>hvm</type></os><devices>\
             <emulator>/usr/bin/qemu-system-x86_64</emulator>\
             <disk type='file' device='disk'><driver name='qemu' type='{format}'/>\
             <source file='{}'/><target dev='vda' bus='virtio'/></disk>\
             <interface type='user'><model type='virtio'/></interface></devices></domain>",
            disk.display()
        );
        fs::write(&xml, text)?;
        self.virsh(&["define", &xml.display().to_string()])?;
        Ok(name)
    }

    /// `virt-clone` of a machine; the new name belongs to the benchmark too.
    pub fn virt_clone(
        &self,
        source: &str,
        round: usize,
        file: &Path,
        more: &[&str],
    ) -> (Command, String) {
        let name = format!("{PREFIX}{round}");
        let mut clone = command(&["virt-clone", "--quiet", "--connect", &self.connection]);
        clone.args(["--original", source, "--name", &name, "--file"]);
        clone.arg(file).args(more);
        (clone, name)
    }
}

impl Drop for Libvirt {
    fn drop(&mut self) {
        let pid = self.daemon.id().to_string();
        let _ = output(&mut command(&["kill", &pid]));
        let _ = self.daemon.wait();
    }
}

/// Whether this process is root's.
pub fn is_root() -> bool {
    output(&mut command(&["id", "-u"])).is_ok_and(|id| id.trim() == "0")
}
