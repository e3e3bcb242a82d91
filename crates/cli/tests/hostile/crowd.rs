//! A directory of a hundred thousand names, which no tool makes in useful time.
//!
//! Its blocks are written as a file (ext4/directory.rst, "Linear Directories"), the file is declared
//! a directory, and e2fsck counts the names.

use crate::tree::tool;
use std::path::Path;

/// The names: links to a few files, as one inode may have 65,000 at most.
pub struct Crowd {
    /// The directory, which does not exist yet.
    pub path: &'static str,
    /// What each name begins with.
    pub start: &'static str,
    pub count: usize,
}

/// Names for one inode.
const LINKS: usize = 50_000;
const BLOCK: usize = 4096;

impl Crowd {
    /// Adds the directory to a filesystem without checksums.
    pub fn settle(&self, disk: &Path) {
        let scratch = tempfile::tempdir().expect("a directory");
        let local = scratch.path().join("blocks");
        let targets = self.count.div_ceil(LINKS);
        std::fs::write(scratch.path().join("one"), "x").expect("written");
        for number in 0..targets {
            debugfs(
                disk,
                &format!(
                    "write {} /srv/crowd{number}",
                    scratch.path().join("one").display()
                ),
            );
        }
        let inodes: Vec<u32> = (0..targets)
            .map(|n| inode(disk, &format!("/srv/crowd{n}")))
            .collect();
        std::fs::write(&local, self.blocks(&inodes)).expect("written");
        debugfs(disk, &format!("write {} {}", local.display(), self.path));
        debugfs(disk, &format!("set_inode_field {} mode 040755", self.path));
        let checked = tool("e2fsck")
            .arg("-fy")
            .arg(disk)
            .output()
            .expect("e2fsck");
        assert!(
            checked.status.code().is_some_and(|code| code <= 1),
            "{checked:?}"
        );
    }

    fn blocks(&self, inodes: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut block: Vec<(u32, String)> = vec![(2, ".".into()), (2, "..".into())];
        let mut used = 24;
        for number in 0..self.count {
            let name = format!("{}{number}", self.start);
            let length = (8 + name.len()).next_multiple_of(4);
            if used + length > BLOCK {
                bytes.extend(one_block(&block));
                block.clear();
                used = 0;
            }
            used += length;
            block.push((inodes[number / LINKS], name));
        }
        bytes.extend(one_block(&block));
        bytes
    }
}

/// One block; its last entry reaches to its end.
fn one_block(entries: &[(u32, String)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BLOCK);
    for (index, (inode, name)) in entries.iter().enumerate() {
        let end = (bytes.len() + 8 + name.len()).next_multiple_of(4);
        let end = if index + 1 == entries.len() {
            BLOCK
        } else {
            end
        };
        let kind = if *inode == 2 { 2 } else { 1 };
        bytes.extend(inode.to_le_bytes());
        bytes.extend(
            u16::try_from(end - bytes.len() + 4)
                .expect("a block")
                .to_le_bytes(),
        );
        bytes.extend([u8::try_from(name.len()).expect("a short name"), kind]);
        bytes.extend(name.as_bytes());
        bytes.resize(end, 0);
    }
    bytes
}

fn debugfs(disk: &Path, request: &str) -> String {
    let output = tool("debugfs")
        .args(["-w", "-R", request])
        .arg(disk)
        .output();
    let output = output.expect("debugfs is needed for this test (package e2fsprogs)");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn inode(disk: &Path, path: &str) -> u32 {
    let said = debugfs(disk, &format!("stat {path}"));
    let after = said
        .split("Inode: ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    after
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{path}: {said}"))
}
