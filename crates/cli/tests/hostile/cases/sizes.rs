//! Too much of something: bytes, entries, levels.

use super::{Case, End, refused, tree};
use crate::chain::Step;

pub fn cases() -> Vec<Case> {
    let mut cases = long_files();
    cases.extend(long_lists());
    cases
}

const HUGE: u64 = 10 << 30;

/// 10 GiB, of which nothing is there, where a few lines are expected.
fn long_files() -> Vec<Case> {
    vec![
        tree("hostname of 10 GiB", End::Cloned, |t| {
            t.sparse("/etc/hostname", HUGE, "a\n")
        }),
        tree("machine-id of 10 GiB", End::Cloned, |t| {
            t.sparse("/etc/machine-id", HUGE, "a\n")
        }),
        tree(
            "passwd of 10 GiB",
            refused(Step::Publish, "/etc/passwd"),
            |t| t.sparse("/etc/passwd", HUGE, "root:x:0:0::/:\n"),
        ),
        tree(
            "os-release of 10 GiB",
            refused(Step::Publish, "/etc/os-release"),
            |t| t.sparse("/etc/os-release", HUGE, "ID=x\n"),
        ),
        tree(
            "fstab of 10 GiB",
            refused(Step::Publish, "/etc/fstab"),
            |t| t.sparse("/etc/fstab", HUGE, "# x\n"),
        ),
        tree(
            "package database of 10 GiB",
            refused(Step::Publish, "/var/lib/dpkg/status"),
            |t| {
                t.sparse("/var/lib/dpkg/status", HUGE, "Package: x\n\n");
            },
        ),
        tree("package database of 60 MB", End::Cloned, |t| {
            t.megabytes = 128;
            let one = "Package: p\nStatus: install ok installed\nVersion: 1\n\n";
            t.file("/var/lib/dpkg/status", one.repeat(60_000_000 / one.len()));
        }),
        tree(
            "netplan file of 10 GiB",
            refused(Step::Publish, "/etc/netplan/01.yaml"),
            |t| t.sparse("/etc/netplan/01.yaml", HUGE, "a"),
        ),
        tree("host key of 10 GiB", End::Cloned, |t| {
            t.sparse(
                "/etc/ssh/ssh_host_rsa_key",
                HUGE,
                "-----BEGIN OPENSSH PRIVATE KEY-----\n",
            );
        }),
        tree("authorized_keys of 10 GiB", End::Cloned, |t| {
            t.sparse("/root/.ssh/authorized_keys", HUGE, "ssh-ed25519 AAAA x\n");
        }),
        tree("a log of 10 GiB", End::Cloned, |t| {
            t.sparse("/var/log/syslog", HUGE, "x")
        }),
        tree(
            "a file of 8 TiB",
            refused(Step::Publish, "/etc/shadow"),
            |t| t.sparse("/etc/shadow", 8 << 40, "root:*:::::::\n"),
        ),
    ]
}

fn long_lists() -> Vec<Case> {
    vec![
        tree("a hundred levels", End::Cloned, |t| {
            t.file(&format!("/etc{}/f", "/d".repeat(100)), "x")
        }),
        tree(
            "a thousand levels",
            refused(Step::Publish, "nested too deeply"),
            |t| t.dir(&format!("/srv{}", "/d".repeat(1000))),
        ),
        tree(
            "100,000 entries beside the host keys",
            refused(Step::Publish, "ssh.host-keys"),
            |t| {
                t.crowd("/etc/ssh", "ssh_host_");
            },
        ),
        tree("100,000 entries among the units", End::Cloned, |t| {
            t.crowd("/etc/systemd/system", "u");
        }),
        tree(
            "100,000 homes",
            refused(Step::Publish, "/etc/passwd"),
            |t| {
                t.megabytes = 64;
                let line = |n: usize| format!("u{n}:x:{n}:{n}::/home/u{n}:/bin/sh\n");
                t.file("/etc/passwd", (0..100_000).map(line).collect::<String>());
            },
        ),
        tree("20,000 homes", End::Cloned, |t| {
            let line = |n: usize| format!("u{n}:x:{n}:{n}::/home/u{n}:/bin/sh\n");
            let all: String = (1000..21_000).map(line).collect();
            t.file("/etc/passwd", format!("root:x:0:0::/root:/bin/sh\n{all}"));
        }),
        tree("a line of 1 MB", End::Cloned, |t| {
            t.file(
                "/etc/os-release",
                format!("PRETTY_NAME=\"{}\"\n", "x".repeat(1_000_000)),
            );
        }),
        tree("sshd_config that includes itself", End::Cloned, |t| {
            t.file(
                "/etc/ssh/sshd_config",
                "Include /etc/ssh/sshd_config\n".repeat(10_000),
            );
        }),
        tree("interfaces that source themselves", End::Cloned, |t| {
            t.file(
                "/etc/network/interfaces",
                "source /etc/network/interfaces\n".repeat(1000),
            );
        }),
    ]
}
