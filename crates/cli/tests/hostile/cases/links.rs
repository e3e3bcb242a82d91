//! Links that lead out, round, or to another file of the guest.

use super::{Case, End, refused, tree};
use crate::chain::Step;

pub fn cases() -> Vec<Case> {
    let mut cases = leading_out();
    cases.extend(through_directories());
    cases.extend(inside());
    cases
}

const NO_SYSTEM: End = refused(Step::Inspect, "no partition has an os-release file");

/// Files that are read or written, as links to a file of the host.
fn leading_out() -> Vec<Case> {
    vec![
        tree("hostname leads out", End::Cloned, |t| {
            t.link_out("/etc/hostname")
        }),
        tree("hostname climbs out", End::Cloned, |t| {
            t.climb_out("/etc/hostname")
        }),
        tree("machine-id leads out", End::Cloned, |t| {
            t.link_out("/etc/machine-id")
        }),
        tree(
            "passwd leads out",
            refused(Step::Clone, "the guest has no /etc/passwd"),
            |t| t.link_out("/etc/passwd"),
        ),
        tree(
            "shadow climbs out",
            refused(Step::Clone, "the guest has no /etc/shadow"),
            |t| t.climb_out("/etc/shadow"),
        ),
        tree("hosts leads out", End::Cloned, |t| t.link_out("/etc/hosts")),
        tree("fstab leads out", End::Cloned, |t| t.link_out("/etc/fstab")),
        tree("package database climbs out", End::Cloned, |t| {
            t.climb_out("/var/lib/dpkg/status")
        }),
        tree("host key leads out", End::Cloned, |t| {
            t.link_out("/etc/ssh/ssh_host_rsa_key")
        }),
        tree("netplan file leads out", End::Cloned, |t| {
            t.link_out("/etc/netplan/01.yaml")
        }),
        tree("unit leads out", End::Cloned, |t| {
            t.link_out("/etc/systemd/system/evil.service")
        }),
        tree("time zone climbs out", End::Cloned, |t| {
            t.climb_out("/etc/localtime")
        }),
        tree("os-release leads out", End::Cloned, |t| {
            t.link_out("/etc/os-release")
        }),
        tree("history leads out", End::Cloned, |t| {
            t.link_out("/root/.bash_history")
        }),
        tree("motd leads out", End::Cloned, |t| t.climb_out("/etc/motd")),
    ]
}

/// Directories on the way, as links to a directory of the host.
fn through_directories() -> Vec<Case> {
    vec![
        tree("etc leads out", NO_SYSTEM, |t| t.link_dir_out("/etc")),
        tree(
            "ssh directory leads out",
            refused(Step::Clone, "a link to nothing is in the way"),
            |t| t.link_dir_out("/etc/ssh"),
        ),
        tree(
            "network directory leads out",
            refused(Step::Clone, "a link to nothing is in the way"),
            |t| t.link_dir_out("/etc/network"),
        ),
        tree(
            "units lead out",
            refused(Step::Clone, "a link to nothing is in the way"),
            |t| t.link_dir_out("/etc/systemd/system"),
        ),
        tree(
            "root's home leads out",
            refused(Step::Clone, "a link to nothing is in the way"),
            |t| t.link_dir_out("/root"),
        ),
        tree(
            "root's keys lead out",
            refused(Step::Clone, "a link to nothing is in the way"),
            |t| t.link_dir_out("/root/.ssh"),
        ),
        tree(
            "homes lead out",
            refused(Step::Clone, "a link to nothing is in the way"),
            |t| t.link_dir_out("/home"),
        ),
        tree(
            "var leads out",
            refused(Step::Clone, "a link to nothing is in the way"),
            |t| t.link_dir_out("/var"),
        ),
        tree(
            "own directory leads out",
            refused(Step::Clone, "a link to nothing is in the way"),
            |t| t.link_dir_out("/var/lib/stampo"),
        ),
    ]
}

/// Links inside of the guest that are meant for somebody else's rewriting or removing.
fn inside() -> Vec<Case> {
    vec![
        tree("logs are etc", refused(Step::Publish, "log.any"), |t| {
            t.link("/var/log", "/etc")
        }),
        tree("tmp is usr", refused(Step::Publish, "tmp.files"), |t| {
            t.link("/tmp", "usr")
        }),
        tree("a home is the root", End::Cloned, |t| {
            t.link("/home/ann", "/")
        })
        .holds(&[("/etc/os-release", "ID=debian")]),
        tree("history is passwd", End::Cloned, |t| {
            t.link("/root/.bash_history", "/etc/passwd")
        })
        .holds(&[("/etc/passwd", "root:")]),
        tree("a ring of links", End::Cloned, |t| {
            t.link("/etc/hostname", "ring");
            t.link("/etc/ring", "hostname");
        }),
        tree(
            "a directory that is itself",
            refused(Step::Clone, "too many links"),
            |t| t.link("/etc/ssh", "ssh"),
        ),
        tree("forty-one links", End::Cloned, |t| {
            t.link("/etc/os-release", "l1");
            for n in 1..41 {
                t.link(&format!("/etc/l{n}"), &format!("l{}", n + 1));
            }
            t.file("/etc/l41", "ID=debian\n");
        }),
        tree("a target with an escape sequence", End::Cloned, |t| {
            t.link("/etc/hostname", "\u{1b}]0;owned\u{7}\n\u{9b}2J");
        }),
        tree("a target of 4,000 bytes", End::Cloned, |t| {
            t.link("/etc/machine-id", &"x/".repeat(2000));
        }),
        tree(
            "the machine-id has another name",
            refused(Step::Seal, "still on the disk"),
            |t| {
                t.hard_link("/etc/machine-id", "/srv/other");
            },
        ),
        tree("passwd has another name", End::Cloned, |t| {
            t.hard_link("/etc/passwd", "/srv/passwd");
        })
        .holds(&[("/srv/passwd", "ann:x:1000"), ("/etc/passwd", "app:")]),
        tree(
            "a host key has another name",
            refused(Step::Seal, "still on the disk"),
            |t| {
                t.hard_link("/etc/ssh/ssh_host_ed25519_key", "/srv/key");
            },
        ),
    ]
}
