//! Entries of another kind than belongs there: FIFOs that never end, devices, sockets, directories.

use super::{Case, End, refused, tree};
use crate::chain::Step;

pub fn cases() -> Vec<Case> {
    let mut cases = fifos();
    cases.extend(devices());
    cases.extend(directories_and_files());
    cases
}

/// Whoever opens one for reading waits for ever.
fn fifos() -> Vec<Case> {
    vec![
        tree("machine-id is a FIFO", End::Cloned, |t| {
            t.fifo("/etc/machine-id")
        }),
        tree("os-release is a FIFO", End::Cloned, |t| {
            t.fifo("/etc/os-release")
        }),
        tree("fstab is a FIFO", End::Cloned, |t| t.fifo("/etc/fstab")),
        tree("netplan file is a FIFO", End::Cloned, |t| {
            t.fifo("/etc/netplan/01.yaml")
        }),
        tree("package database is a FIFO", End::Cloned, |t| {
            t.fifo("/var/lib/dpkg/status")
        }),
        tree("cloud configuration is a FIFO", End::Cloned, |t| {
            t.fifo("/etc/cloud/cloud.cfg")
        }),
        tree("host key is a FIFO", End::Cloned, |t| {
            t.fifo("/etc/ssh/ssh_host_ed25519_key")
        }),
        tree(
            "units are a FIFO",
            refused(
                Step::Clone,
                "something that is not a directory is in the way",
            ),
            |t| t.fifo("/etc/systemd/system"),
        ),
    ]
}

fn devices() -> Vec<Case> {
    vec![
        tree("hostname is /dev/zero", End::Cloned, |t| {
            t.device("/etc/hostname", 'c')
        }),
        tree(
            "passwd is a disk",
            refused(Step::Publish, "/etc/passwd"),
            |t| t.device("/etc/passwd", 'b'),
        ),
        tree(
            "sshd_config is /dev/zero",
            refused(Step::Clone, "it is not a regular file"),
            |t| t.device("/etc/ssh/sshd_config", 'c'),
        ),
        tree("a log is a disk", End::Cloned, |t| {
            t.device("/var/log/syslog", 'b')
        }),
        tree(
            "shadow is a socket",
            refused(Step::Clone, "it is not a regular file"),
            |t| t.socket("/etc/shadow"),
        ),
        tree(
            "hosts is a socket",
            refused(Step::Clone, "it is not a regular file"),
            |t| t.socket("/etc/hosts"),
        ),
    ]
}

fn directories_and_files() -> Vec<Case> {
    vec![
        tree(
            "hostname is a directory",
            refused(Step::Clone, "a directory is in the way"),
            |t| t.dir("/etc/hostname"),
        ),
        tree(
            "machine-id is a full directory",
            refused(Step::Clone, "it is not a regular file"),
            |t| {
                t.dir("/etc/machine-id");
                t.file("/etc/machine-id/x/y", "z");
            },
        ),
        tree(
            "shadow is a directory",
            refused(Step::Clone, "it is not a regular file"),
            |t| t.dir("/etc/shadow"),
        ),
        tree("os-release is a directory", End::Cloned, |t| {
            t.dir("/etc/os-release")
        }),
        tree("a host key is a directory", End::Cloned, |t| {
            t.dir("/etc/ssh/ssh_host_ed25519_key");
        }),
        tree(
            "ssh directory is a file",
            refused(Step::Clone, "it is not a directory"),
            |t| t.file("/etc/ssh", "x"),
        ),
        tree(
            "root's home is a file",
            refused(
                Step::Clone,
                "something that is not a directory is in the way",
            ),
            |t| t.file("/root", "x"),
        ),
        tree(
            "var is a file",
            refused(
                Step::Clone,
                "something that is not a directory is in the way",
            ),
            |t| t.file("/var", "x"),
        ),
        tree(
            "homes are a file",
            refused(
                Step::Clone,
                "something that is not a directory is in the way",
            ),
            |t| t.file("/home", "x"),
        ),
    ]
}
