//! What policies want to know of single entries of the tree, noted during the inspection's walk.
//!
//! Only metadata: nothing is opened here. All lists are limited; what is cut is counted.

use serde::{Deserialize, Serialize};
use stampo_guest::fs::FileKind;
use stampo_guest::inspect::walk::Found;
use std::collections::BTreeMap;

/// Most paths of one kind that are kept.
const MAX_PATHS: usize = 1000;
/// Most pairs of owner and group that are kept.
const MAX_OWNERS: usize = 10_000;
/// Single files and directories whose rights are kept.
const WATCHED: &[&str] = &[
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/etc/crontab",
    "/etc/group",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/ssh/sshd_config",
    "/etc/sudoers",
    "/root",
];
/// Trees whose rights are kept.
const WATCHED_TREES: &[&str] = &["/etc/cron.", "/etc/sudoers.d/", "/var/spool/cron/"];
/// Where packages that were downloaded are kept.
const PACKAGE_CACHES: &[&str] = &[
    "/var/cache/apt/archives/",
    "/var/cache/dnf/",
    "/var/cache/libdnf5/",
    "/var/cache/yum/",
    "/var/cache/zypp/",
    "/var/cache/apk/",
    "/var/cache/pacman/pkg/",
];
/// Trees that are made anew at each start, where special files are usual.
const RUNTIME: &[&str] = &["/dev/", "/run/", "/proc/", "/sys/"];

/// Owner and rights of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// An owner that files have, with one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerSeen {
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// One of the files.
    pub path: String,
    /// How many there are.
    pub count: u64,
}

/// What was noted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    /// Content below `/var/log`, in bytes.
    pub log_bytes: u64,
    /// Downloaded packages, in bytes.
    pub package_cache_bytes: u64,
    /// What is in `/tmp` and `/var/tmp`, directories too.
    pub temporary: Vec<String>,
    /// Devices, FIFOs and sockets outside of `/dev`, `/run`, `/proc` and `/sys`.
    pub special: Vec<String>,
    /// Every pair of owner and group.
    pub owners: Vec<OwnerSeen>,
    /// Rights of files that matter, by path.
    pub rights: BTreeMap<String, Rights>,
    /// The newest time of a package's file list, in seconds since 1970: when a package was last
    /// installed or upgraded.
    pub newest_package_s: Option<i64>,
    /// How many entries are not in these lists because there are too many.
    pub cut: u64,
}

/// Collects [`Entries`].
#[derive(Debug, Default)]
pub(crate) struct Notice {
    entries: Entries,
    owners: BTreeMap<(u32, u32), (String, u64)>,
}

impl Notice {
    /// Takes one entry.
    pub(crate) fn entry(&mut self, found: &Found<'_>) {
        let (path, metadata) = (found.path, found.metadata);
        self.owner(found);
        if metadata.kind == FileKind::File {
            self.size(path, metadata.size_bytes);
            self.package(path, metadata.mtime_s);
        }
        if metadata.kind == FileKind::Special && !starts_with(path, RUNTIME) {
            keep(&mut self.entries.special, path, &mut self.entries.cut);
        }
        let below = |directory: &str| {
            let rest = path.strip_prefix(directory);
            rest.is_some_and(|name| !name.is_empty() && !name.contains('/'))
        };
        if below("/tmp/") || below("/var/tmp/") {
            keep(&mut self.entries.temporary, path, &mut self.entries.cut);
        }
        // The kind is told by the inspection; a link's own rights mean nothing.
        let is_watched = WATCHED.contains(&path) || starts_with(path, WATCHED_TREES);
        if is_watched && metadata.kind != FileKind::Symlink {
            if self.entries.rights.len() >= MAX_PATHS {
                self.entries.cut += 1;
                return;
            }
            let rights = Rights {
                mode: metadata.mode,
                uid: metadata.uid,
                gid: metadata.gid,
            };
            self.entries.rights.insert(path.to_owned(), rights);
        }
    }

    /// Everything that was noted.
    pub(crate) fn finish(mut self) -> Entries {
        let owner = |((uid, gid), (path, count))| OwnerSeen {
            uid,
            gid,
            path,
            count,
        };
        self.entries.owners = self.owners.into_iter().map(owner).collect();
        self.entries
    }

    fn owner(&mut self, found: &Found<'_>) {
        let key = (found.metadata.uid, found.metadata.gid);
        if let Some((_, count)) = self.owners.get_mut(&key) {
            *count += 1;
        } else if self.owners.len() < MAX_OWNERS {
            self.owners.insert(key, (found.path.to_owned(), 1));
        } else {
            self.entries.cut += 1;
        }
    }

    fn size(&mut self, path: &str, size_bytes: u64) {
        // A damaged inode may claim any size; a sum must not overflow.
        let sums = [
            (path.starts_with("/var/log/"), &mut self.entries.log_bytes),
            (
                starts_with(path, PACKAGE_CACHES),
                &mut self.entries.package_cache_bytes,
            ),
        ];
        for (counts, sum) in sums {
            if counts {
                *sum = sum.saturating_add(size_bytes);
            }
        }
    }

    fn package(&mut self, path: &str, mtime_s: i64) {
        let is_list = path
            .strip_prefix("/var/lib/dpkg/info/")
            .is_some_and(|name| {
                std::path::Path::new(name)
                    .extension()
                    .is_some_and(|end| end == "list")
            });
        if is_list || path == "/lib/apk/db/installed" {
            let newest = &mut self.entries.newest_package_s;
            *newest = Some(newest.map_or(mtime_s, |known| known.max(mtime_s)));
        }
    }
}

fn starts_with(path: &str, trees: &[&str]) -> bool {
    trees.iter().any(|tree| path.starts_with(tree))
}

fn keep(paths: &mut Vec<String>, path: &str, cut: &mut u64) {
    if paths.len() < MAX_PATHS {
        paths.push(path.to_owned());
    } else {
        *cut += 1;
    }
}
