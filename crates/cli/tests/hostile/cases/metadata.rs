//! Filesystems whose structures are odd, unusual, or lies.

use super::{Case, End, disk, refused, tree};
use crate::chain::Step;
use std::fs::File;
use std::os::unix::fs::FileExt;

pub fn cases() -> Vec<Case> {
    let mut cases = flags();
    cases.extend(features());
    cases.extend(lies());
    cases.extend(superblocks());
    cases
}

/// Flags and attributes of inodes.
fn flags() -> Vec<Case> {
    vec![
        tree("immutable files", End::Cloned, |t| {
            for path in [
                "/etc/machine-id",
                "/etc/hostname",
                "/etc/passwd",
                "/var/log/syslog",
            ] {
                t.ask(&format!("set_inode_field {path} flags 0x80010"));
            }
        }),
        tree("append-only directories", End::Cloned, |t| {
            for path in ["/etc", "/var/log", "/root"] {
                t.ask(&format!("set_inode_field {path} flags 0x80020"));
            }
        }),
        tree(
            "an encrypted directory",
            refused(Step::Plan, "names of an encrypted directory"),
            |t| {
                t.ask("feature encrypt");
                t.ask("set_inode_field /home/ann flags 0x80800");
            },
        ),
        tree("setuid and sticky", End::Cloned, |t| {
            t.mode("/etc/hostname", 0o7777);
            t.mode("/etc/ssh/ssh_host_ed25519_key", 0o4755);
            t.mode("/etc/shadow", 0o666);
        }),
        tree("attributes of every kind", End::Cloned, |t| {
            for (name, value) in [
                ("user.x", "y"),
                ("security.capability", "not a capability"),
                ("trusted.overlay.opaque", "y"),
                ("security.selinux", "x"),
            ] {
                for path in ["/etc/hostname", "/etc/ssh", "/etc/passwd"] {
                    t.ask(&format!("ea_set {path} {name} \"{value}\""));
                }
            }
        }),
        tree(
            "a verity file",
            refused(Step::Seal, "feature verity"),
            |t| {
                t.ask("feature verity");
                t.ask("set_inode_field /etc/hostname flags 0x180000");
            },
        ),
    ]
}

/// Features of ext4 that few guests have.
fn features() -> Vec<Case> {
    vec![
        tree("inline data", End::Cloned, |t| {
            t.option(&["-O", "inline_data"])
        }),
        tree("no journal", End::Cloned, |t| {
            t.option(&["-O", "^has_journal"])
        }),
        tree("no checksums", End::Cloned, |t| {
            t.option(&["-O", "^metadata_csum"])
        }),
        tree("block maps", End::Cloned, |t| {
            t.option(&["-O", "^extents,^64bit,^metadata_csum"])
        }),
        tree("bigalloc", refused(Step::Seal, "feature bigalloc"), |t| {
            t.option(&["-O", "bigalloc"])
        }),
        tree("casefold", refused(Step::Seal, "feature casefold"), |t| {
            t.option(&["-O", "casefold"])
        }),
        tree(
            "quota and project",
            refused(Step::Seal, "feature quota, project"),
            |t| t.option(&["-O", "quota,project", "-I", "256"]),
        ),
        tree("mmp", refused(Step::Seal, "feature mmp"), |t| {
            t.option(&["-O", "mmp"])
        }),
        tree("meta_bg", refused(Step::Seal, "meta_bg"), |t| {
            t.option(&["-O", "meta_bg,^resize_inode"])
        }),
        tree("ea_inode and large_dir", End::Cloned, |t| {
            t.option(&["-O", "ea_inode,large_dir"])
        }),
        tree("blocks of 1 KiB", End::Cloned, |t| {
            t.option(&["-b", "1024"])
        }),
        tree("blocks of 64 KiB", End::Cloned, |t| {
            t.megabytes = 256;
            t.option(&["-b", "65536"]);
        }),
        tree("inodes of 128 bytes", End::Cloned, |t| {
            t.option(&["-I", "128"])
        }),
        tree("inodes of 4 KiB", End::Cloned, |t| {
            t.option(&["-I", "4096", "-N", "512"])
        }),
    ]
}

const DAMAGED: End = refused(Step::Seal, "damaged");

/// Structures that contradict each other.
fn lies() -> Vec<Case> {
    vec![
        tree("a directory inside itself", DAMAGED, |t| {
            t.ask("ln /srv /srv/again")
        }),
        tree("etc inside of home", DAMAGED, |t| {
            t.ask("ln /etc /home/ann/etc")
        }),
        tree("two files share blocks", DAMAGED, |t| {
            t.file("/srv/a", [b'a'; 9000]);
            t.ask("set_inode_field /etc/hosts block[0] 0xf30a");
            t.ask("copy_inode /srv/a /etc/hosts");
        }),
        tree("a size of 8 EiB", End::Cloned, |t| {
            t.ask("set_inode_field /etc/hostname size 0x7fffffffffffffff");
        }),
        tree("a wrong count of names", DAMAGED, |t| {
            t.ask("set_inode_field /etc/hostname links_count 65000");
        }),
        tree(
            "an entry of a free inode",
            refused(Step::Plan, "is not in use"),
            |t| t.ask("clri /etc/hosts"),
        ),
        tree("a link of no length", DAMAGED, |t| {
            t.link("/etc/resolv.conf", "x");
            t.ask("set_inode_field /etc/resolv.conf size 0");
        }),
        tree("blocks marked free", DAMAGED, |t| {
            t.file("/srv/a", [b'a'; 90_000]);
            t.ask("freeb 1 1");
            t.ask("freeb 2 300");
        }),
    ]
}

fn word(file: &File, at: u64, value: u32) {
    file.write_all_at(&value.to_le_bytes(), 1024 + at)
        .expect("written");
}

/// Superblocks without checksum, with one wrong number each.
fn superblocks() -> Vec<Case> {
    const REFUSED: End = refused(Step::Inspect, "damaged");
    vec![
        disk("a superblock of another checksum", REFUSED, |f| {
            word(f, 0x4, 77)
        }),
        disk("2^32 blocks", REFUSED, |f| plain(f, 0x4, u32::MAX)),
        disk("no blocks in a group", REFUSED, |f| plain(f, 0x20, 0)),
        disk("2^32 inodes in a group", REFUSED, |f| {
            plain(f, 0x28, u32::MAX)
        }),
        disk("no inodes in a group", REFUSED, |f| plain(f, 0x28, 0)),
        disk("blocks of 2^41 bytes", REFUSED, |f| plain(f, 0x18, 31)),
        disk("inodes of 65,535 bytes", REFUSED, |f| {
            plain(f, 0x58, 0xffff)
        }),
        disk(
            "an unknown feature",
            refused(Step::Inspect, "unknown 0x80000000"),
            |f| plain(f, 0x60, 0x8000_0000 | 0x2c2),
        ),
        disk(
            "a journal on another device",
            refused(Step::Seal, "its journal is on another device"),
            |f| {
                // The journal's inode, and the id of the device to look for.
                f.write_all_at(&[0xab; 16], 1024 + 0xd0).expect("written");
                plain(f, 0xe0, 0);
            },
        ),
        disk("a journal in another file", REFUSED, |f| plain(f, 0xe0, 12)),
        disk("a journal that claims to be unclean", End::Cloned, |f| {
            plain(f, 0x60, 0x2c2 | 0x4)
        }),
        disk("zeros behind the superblock", REFUSED, |f| {
            f.write_all_at(&[0; 8 << 20], 4096).expect("written");
        }),
    ]
}

/// Changes a word of the superblock, and its checksum with it.
fn plain(file: &File, at: u64, value: u32) {
    word(file, at, value);
    let mut superblock = [0; 1020];
    file.read_exact_at(&mut superblock, 1024).expect("read");
    // crc32c with all bits set to begin with, and no complement at the end (ext4/super.rst).
    word(file, 1020, !crc32c::crc32c(&superblock));
}
