//! A guest that is as it should be, from which tests take something away or add something.

use stampo_guest::fs::Owner;
use stampo_guest::fs::tree::TreeFixture;
use stampo_policy::report::{Outcome, Report};
use stampo_policy::{Pack, Subject, evaluate, gather_tree};

/// A day after the newest package of the fixture, and long before Debian 13 ends.
pub const NOW_S: i64 = 1_700_086_400;
/// Two years later.
pub const LATER_S: i64 = 1_764_000_000;

pub const SSHD: &str = "PasswordAuthentication no\nPermitRootLogin no\n";
const GRUB: &str = "menuentry x {\n linux /boot/vmlinuz-6.12 root=UUID=1-2 console=ttyS0\n}\n";
const STATUS: &str = "Package: qemu-guest-agent\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n\n\
                      Package: cloud-init\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\n\
                      Package: unattended-upgrades\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n";
const SOURCES: &str = "deb http://deb.example/debian trixie main\n\
                       deb http://deb.example/security trixie-security main\n";

/// A sealed Debian with everything that the checks ask for.
pub fn good() -> TreeFixture {
    let unit = |name: &str| format!("/etc/systemd/system/multi-user.target.wants/{name}");
    let drivers = "kernel/a/virtio_blk.ko\nkernel/a/virtio_net.ko\nkernel/a/virtio_pci.ko\n";
    TreeFixture::new()
        .file("/etc/os-release", "ID=debian\nVERSION_ID=\"13\"\n")
        .file(
            "/etc/passwd",
            "root:x:0:0::/root:/bin/bash\nnobody:x:65534:65534::/:/usr/sbin/nologin\n",
        )
        .file("/etc/group", "root:x:0:\nshadow:x:42:\nnogroup:x:65534:\n")
        .file_as(
            "/etc/shadow",
            "root:*:1::::::\nnobody:*:1::::::\n",
            Owner {
                uid: 0,
                gid: 42,
                mode: 0o640,
            },
        )
        .file("/etc/login.defs", "PASS_MAX_DAYS\t365\n")
        .file("/etc/hostname", "localhost\n")
        .file("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
        .file("/etc/machine-id", "")
        .file("/etc/fstab", "UUID=1-2 / ext4 defaults 0 1\n")
        .file("/etc/ssh/sshd_config", SSHD)
        .file("/etc/sudoers", "root ALL=(ALL:ALL) ALL\n")
        .file("/etc/crontab", "\n")
        .file("/etc/apt/sources.list", SOURCES)
        .file(
            "/etc/apt/apt.conf.d/20auto",
            "APT::Periodic::Unattended-Upgrade \"1\";\n",
        )
        .file("/etc/cloud/cloud.cfg", "datasource_list: [NoCloud, None]\n")
        .file("/usr/bin/cloud-init", "")
        .file("/usr/sbin/qemu-ga", "")
        .file("/usr/sbin/sshd", "")
        .file("/usr/lib/udev/rules.d/60-qemu-guest-agent.rules", "")
        .file("/var/lib/dpkg/status", STATUS)
        .file("/var/lib/dpkg/info/base-files.list", "/.\n")
        .file("/boot/vmlinuz-6.12", "k")
        .file("/boot/initrd.img-6.12", "i")
        .file("/boot/grub/grub.cfg", GRUB)
        .file("/lib/modules/6.12/modules.builtin", drivers)
        .link(
            &unit("systemd-timesyncd.service"),
            "/usr/lib/systemd/system/a.service",
        )
        .link(
            &unit("nftables.service"),
            "/usr/lib/systemd/system/b.service",
        )
        .dir("/tmp")
        .dir("/var/tmp")
        .dir_as("/root", Owner::root(0o700))
}

/// The report of a tree by the built-in pack.
pub fn report(tree: &TreeFixture) -> Report {
    report_by(tree, &Pack::built_in(), NOW_S)
}

/// The report of a tree by another pack, on another day.
pub fn report_by(tree: &TreeFixture, pack: &Pack, at_s: i64) -> Report {
    let subject = Subject::new("web@3", "an-image", &[]);
    evaluate(&gather_tree(tree), pack, &subject, at_s)
}

/// What a report says about one check.
pub fn of<'r>(report: &'r Report, id: &str) -> &'r Outcome {
    report
        .outcomes
        .iter()
        .find(|outcome| outcome.check == id)
        .expect(id)
}
