//! The root filesystem: a tree becomes an ext4, the same bytes every time, without root.
//!
//! Three programs of e2fsprogs do it, on an offset of the disk file: `mke2fs -d` writes names and
//! contents (in the order of the names), `debugfs` puts on what an unprivileged copy can't have
//! (owners, permission bits, times, special files, extended attributes), `e2fsck -fn` checks.
//! On 14,700 entries and 440 MB they take 2.1 s, 0.3 s and 0.04 s.
//!
//! Why not only one of them: mke2fs 1.47.0 can't read a tar, and takes access and change times
//! from the host's files; writing contents through debugfs would copy each file by a command.
//!
//! Two builds give the same bytes with the same version of e2fsprogs; another version may place
//! blocks otherwise. The host's own mke2fs.conf has no influence.

use crate::process;
use crate::quote;
use crate::tools::{MissingTool, require};
use crate::tree::{Node, NodeKind, Tree};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use uuid::Uuid;

/// Why a filesystem was not written.
#[derive(Debug, thiserror::Error)]
pub enum FilesystemError {
    /// A program is missing.
    #[error(transparent)]
    Tool(#[from] MissingTool),
    /// A program could not be run, or a file for it not be written.
    #[error("run {0}")]
    Run(&'static str, #[source] io::Error),
    /// What the programs wrote could not be made durable.
    #[error("write the root filesystem to {path}", path = path.display())]
    Disk {
        /// The disk.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program refused.
    #[error("write the root filesystem: {tool} said: {said}")]
    Refused {
        /// The program.
        tool: &'static str,
        /// Its last words.
        said: String,
    },
    /// The tree does not fit.
    #[error(
        "write the root filesystem: {needed_mib} MiB of files don't fit into {size_mib} MiB; enlarge disk.size"
    )]
    TooSmall {
        /// What the tree needs.
        needed_mib: u64,
        /// What the partition has.
        size_mib: u64,
    },
    /// A name that debugfs can't be told.
    #[error("write {path:?} into the root filesystem: its name holds a newline")]
    Name {
        /// The path in the guest.
        path: String,
    },
}

/// Features: those of Debian 12, so that every kernel, GRUB and e2fsck from there on reads them;
/// `metadata_csum_seed` so that a clone can get a UUID of its own in one block. No `orphan_file`:
/// GRUB 2.06 and older e2fsck don't know it.
const CONFIG: &str = "[defaults]
 base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
 default_mntopts = acl,user_xattr
 enable_periodic_fsck = 0
 blocksize = 4096
 inode_size = 256
 inode_ratio = 16384
[fs_types]
 ext4 = {
  features = has_journal,extent,huge_file,flex_bg,metadata_csum,metadata_csum_seed,64bit,dir_nlink,extra_isize
 }
";

/// Where and how the filesystem is made.
pub struct Ext4<'a> {
    /// The disk file.
    pub disk: &'a Path,
    /// Where in it the filesystem begins.
    pub offset_bytes: u64,
    /// How large it is.
    pub size_bytes: u64,
    /// Its label.
    pub label: &'a str,
    /// Its UUID.
    pub uuid: Uuid,
    /// The seed of its directory hashes.
    pub hash_seed: Uuid,
    /// Every time in it that does not come from the tree, in seconds since 1970.
    pub epoch: u64,
    /// A directory for short-lived files.
    pub scratch: &'a Path,
}

impl Ext4<'_> {
    /// Writes `tree` and checks the result.
    pub fn write(&self, tree: &Tree) -> Result<(), FilesystemError> {
        self.check_size(tree)?;
        // Neither program looks at whether its fsync succeeded. A write-back that failed is told to
        // every descriptor that was open before (fsync(2)), so this one is asked.
        let disk = fs::File::open(self.disk).map_err(self.disk_error())?;
        self.make(tree)?;
        self.put_attributes(tree)?;
        disk.sync_all().map_err(self.disk_error())?;
        self.check()
    }

    fn disk_error(&self) -> impl FnOnce(io::Error) -> FilesystemError {
        let path = self.disk.to_owned();
        move |source| FilesystemError::Disk { path, source }
    }

    /// Blocks for the tree, the journal, the inode tables and the reserve, roughly; mke2fs would
    /// otherwise only say that it failed somewhere in the middle.
    fn check_size(&self, tree: &Tree) -> Result<(), FilesystemError> {
        let inodes = tree.nodes().count() as u64;
        let overhead = self.size_bytes / 50 + (64 << 20);
        let needed = (tree.size_bytes() + overhead).max(inodes * 16384 * 21 / 20);
        if needed <= self.size_bytes {
            return Ok(());
        }
        Err(FilesystemError::TooSmall {
            needed_mib: needed >> 20,
            size_mib: self.size_bytes >> 20,
        })
    }

    fn make(&self, tree: &Tree) -> Result<(), FilesystemError> {
        let config = self.scratch.join("mke2fs.conf");
        fs::write(&config, CONFIG).map_err(|error| FilesystemError::Run("mke2fs", error))?;
        let extended = format!(
            "hash_seed={},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,offset={}",
            self.hash_seed, self.offset_bytes
        );
        let mut command = Command::new(require("mke2fs")?);
        command
            .args([
                "-q",
                "-F",
                "-t",
                "ext4",
                "-L",
                self.label,
                "-U",
                &self.uuid.to_string(),
            ])
            .args(["-E", &extended, "-d"])
            .arg(tree.root())
            .arg(self.disk)
            .arg(format!("{}k", self.size_bytes >> 10))
            .env("MKE2FS_CONFIG", &config)
            .env("E2FSPROGS_FAKE_TIME", self.epoch.to_string());
        self.run("mke2fs", &mut command).map(drop)
    }

    /// The disk as e2fsprogs is told where in it the filesystem is.
    fn at_offset(&self) -> PathBuf {
        let mut name = self.disk.as_os_str().to_owned();
        name.push(format!("?offset={}", self.offset_bytes));
        name.into()
    }

    fn put_attributes(&self, tree: &Tree) -> Result<(), FilesystemError> {
        let script = self.scratch.join("debugfs.cmd");
        let commands = self.commands(tree)?;
        fs::write(&script, commands).map_err(|error| FilesystemError::Run("debugfs", error))?;
        let mut command = Command::new(require("debugfs")?);
        command
            .args(["-w", "-f"])
            .arg(&script)
            .arg(self.at_offset());
        command
            .env("E2FSPROGS_FAKE_TIME", self.epoch.to_string())
            .env("DEBUGFS_PAGER", "cat");
        let errors = self.run("debugfs", &mut command)?;
        // debugfs goes on after an error and still succeeds; its first line names its version.
        let mut said = errors
            .lines()
            .filter(|line| !line.starts_with("debugfs 1."));
        match said.next() {
            None => Ok(()),
            Some(said) => Err(FilesystemError::Refused {
                tool: "debugfs",
                said: said.to_owned(),
            }),
        }
    }

    /// What mke2fs could not know, as commands of debugfs(8).
    fn commands(&self, tree: &Tree) -> Result<Vec<u8>, FilesystemError> {
        let mut all = Vec::new();
        for (number, (path, node)) in tree.nodes().enumerate() {
            let word = word(path)?;
            if let Some(device) = special(&node.kind) {
                let split = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                let (dir, name) = (&path[..split.max(1)], self::word(&path[split + 1..])?);
                command(&mut all, &[b"cd ", &self::word(dir)?]);
                command(&mut all, &[b"mknod ", &name, device.as_bytes()]);
                command(&mut all, &[b"cd /"]);
            }
            if matches!(node.kind, NodeKind::HardLink(_)) {
                continue;
            }
            for (field, value) in fields(node) {
                command(
                    &mut all,
                    &[
                        b"sif ",
                        &word,
                        b" ",
                        field.as_bytes(),
                        b" ",
                        value.as_bytes(),
                    ],
                );
            }
            for (index, (name, value)) in node.xattrs.iter().enumerate() {
                let file = self.scratch.join(format!("xattr-{number}-{index}"));
                fs::write(&file, value).map_err(|error| FilesystemError::Run("debugfs", error))?;
                let file = self::word(file.as_os_str().as_encoded_bytes())?;
                let name = self::word(name.as_bytes())?;
                command(&mut all, &[b"ea_set -f ", &file, b" ", &word, b" ", &name]);
            }
        }
        command(&mut all, &[b"sif <11> mode 040700"]);
        Ok(all)
    }

    fn check(&self) -> Result<(), FilesystemError> {
        let mut command = Command::new(require("e2fsck")?);
        self.run("e2fsck", command.arg("-fn").arg(self.at_offset()))
            .map(drop)
    }

    /// Runs a program to its end; its messages, or an error with the last of them.
    fn run(&self, tool: &'static str, command: &mut Command) -> Result<String, FilesystemError> {
        let output = process::output(command).map_err(|error| FilesystemError::Run(tool, error))?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            return Ok(errors);
        }
        let said = String::from_utf8_lossy(&output.stdout) + errors.as_str();
        let mut last: Vec<&str> = said
            .lines()
            .filter(|line| !line.is_empty())
            .rev()
            .take(3)
            .collect();
        last.reverse();
        Err(FilesystemError::Refused {
            tool,
            said: last.join("; "),
        })
    }
}

fn word(text: &[u8]) -> Result<Vec<u8>, FilesystemError> {
    quote::debugfs(text).ok_or_else(|| FilesystemError::Name {
        path: String::from_utf8_lossy(text).into_owned(),
    })
}

fn command(all: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        // Writing into memory cannot fail.
        let _ = all.write_all(part);
    }
    all.push(b'\n');
}

/// The end of a `mknod` command for a special file.
fn special(kind: &NodeKind) -> Option<String> {
    match kind {
        NodeKind::Character(major, minor) => Some(format!(" c {major} {minor}")),
        NodeKind::Block(major, minor) => Some(format!(" b {major} {minor}")),
        NodeKind::Fifo => Some(" p".to_owned()),
        _ => None,
    }
}

/// Fields of the inode and their values. The type bits are those of `<linux/stat.h>`.
fn fields(node: &Node) -> Vec<(&'static str, String)> {
    let kind = match node.kind {
        NodeKind::File(_) | NodeKind::HardLink(_) => 0o100_000,
        NodeKind::Directory => 0o040_000,
        NodeKind::Symlink(_) => 0o120_000,
        NodeKind::Character(..) => 0o020_000,
        NodeKind::Block(..) => 0o060_000,
        NodeKind::Fifo => 0o010_000,
    };
    let mut fields = vec![
        ("mode", format!("0{:o}", kind | node.mode)),
        ("uid", node.uid.to_string()),
        ("gid", node.gid.to_string()),
    ];
    for field in ["atime", "ctime", "mtime", "crtime"] {
        fields.push((field, format!("@{}", node.mtime)));
    }
    for field in ["atime_extra", "ctime_extra", "mtime_extra", "crtime_extra"] {
        fields.push((field, "0".to_owned()));
    }
    fields
}
