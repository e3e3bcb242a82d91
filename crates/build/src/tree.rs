//! The finished system's tree, unpacked from a tar without any right.
//!
//! Contents go to plain files that belong to whoever builds; owners, permission bits, times,
//! extended attributes and special files stay in memory and are put on by `ext4.rs`. So no
//! set-uid file of a guest ever exists on the host, and everything can be removed again.
//!
//! Nothing is ever written through a symbolic link: links are made after all files, and a hard
//! link only to a file that was unpacked here before.

use crate::normalise::{Treatment, treatment};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use tar::EntryType;

/// Why a tree can't be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The stream is no tar, or it ended early.
    #[error("read the new system's files")]
    Read(#[source] io::Error),
    /// A file could not be made on the host.
    #[error("unpack {path:?} in the build's directory")]
    Write {
        /// The path in the guest.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An entry that a system's tar never has.
    #[error("unpack {path:?}: {why}")]
    Entry {
        /// The path in the tar.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// A file that the next step needs is missing.
    #[error("find {0} in the new system")]
    Missing(String),
    /// The build was cancelled.
    #[error("unpack the new system: cancelled")]
    Cancelled,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A regular file of this many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link to this text.
    Symlink(Vec<u8>),
    /// Another name of the file at this path.
    HardLink(Vec<u8>),
    /// A character device: major, minor.
    Character(u32, u32),
    /// A block device: major, minor.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// One entry, apart from a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: u64,
    /// Extended attributes, by full name.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

/// An unpacked tree.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    nodes: BTreeMap<Vec<u8>, Node>,
    hasher: blake3::Hasher,
}

impl Tree {
    /// Unpacks a tar into the new directory `root`. No time is later than `epoch`.
    ///
    /// # Errors
    /// See [`TreeError`]; what was unpacked until then stays in `root`.
    pub fn unpack(
        tar: impl Read,
        root: &Path,
        epoch: u64,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Self, TreeError> {
        fs::create_dir(root).map_err(|source| TreeError::Write {
            path: "/".into(),
            source,
        })?;
        let mut tree = Tree {
            root: root.to_owned(),
            nodes: BTreeMap::new(),
            hasher: blake3::Hasher::new(),
        };
        tree.nodes.insert(b"/".to_vec(), default_directory(epoch));
        let mut archive = tar::Archive::new(tar);
        for entry in archive.entries().map_err(TreeError::Read)? {
            if cancelled() {
                return Err(TreeError::Cancelled);
            }
            tree.take(&mut entry.map_err(TreeError::Read)?, epoch)?;
        }
        tree.make_links()?;
        Ok(tree)
    }

    /// The directory on the host that holds the contents.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All entries by absolute path, sorted by bytes.
    pub fn nodes(&self) -> impl Iterator<Item = (&[u8], &Node)> {
        self.nodes
            .iter()
            .map(|(path, node)| (path.as_slice(), node))
    }

    /// The content of the regular file at `path`.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, TreeError> {
        match self.nodes.get(path.as_bytes()).map(|node| &node.kind) {
            Some(NodeKind::File(_)) => {
                fs::read(self.place(path.as_bytes())).map_err(|source| TreeError::Write {
                    path: path.into(),
                    source,
                })
            }
            _ => Err(TreeError::Missing(path.to_owned())),
        }
    }

    /// Bytes that the tree needs in a filesystem of 4 KiB blocks, directories included.
    pub fn size_bytes(&self) -> u64 {
        let size = |node: &Node| match node.kind {
            NodeKind::File(bytes) => bytes.next_multiple_of(4096),
            NodeKind::Directory => 4096,
            _ => 0,
        };
        self.nodes.values().map(size).sum()
    }

    /// BLAKE3 of all entries and their contents, in the order of the tar, after normalising.
    pub fn digest(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }

    fn place(&self, path: &[u8]) -> PathBuf {
        self.root
            .join(OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(path)))
    }

    fn take(&mut self, entry: &mut tar::Entry<'_, impl Read>, epoch: u64) -> Result<(), TreeError> {
        let name = entry.path_bytes().into_owned();
        let path = absolute(&name)?;
        let rule = treatment(&path);
        if rule == Some(Treatment::Drop) {
            return Ok(());
        }
        let node = node(entry, &path, epoch, rule)?;
        if path == b"/" {
            self.nodes.insert(path, node);
            return Ok(());
        }
        self.ensure_parents(&path, epoch)?;
        let place = self.place(&path);
        let write = |source| TreeError::Write {
            path: OsStr::from_bytes(&path).into(),
            source,
        };
        match &node.kind {
            NodeKind::Directory => match fs::create_dir(&place) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && place.is_dir() => {}
                other => other.map_err(write)?,
            },
            NodeKind::File(size) => {
                let mut file = File::create_new(&place).map_err(write)?;
                if *size > 0 {
                    let mut hashed = Hashed {
                        inner: entry,
                        hasher: &mut self.hasher,
                    };
                    let copied = io::copy(&mut hashed, &mut file).map_err(write)?;
                    if copied != *size {
                        return Err(TreeError::Read(io::ErrorKind::UnexpectedEof.into()));
                    }
                }
            }
            _ => {}
        }
        self.hasher
            .update(&path)
            .update(format!("{node:?}").as_bytes());
        self.nodes.insert(path, node);
        Ok(())
    }

    /// Directories above `path` that the tar has not named: root's, 0755.
    fn ensure_parents(&mut self, path: &[u8], epoch: u64) -> Result<(), TreeError> {
        let ends = path
            .iter()
            .enumerate()
            .skip(1)
            .filter(|(_, byte)| **byte == b'/');
        for end in ends.map(|(end, _)| end).collect::<Vec<_>>() {
            let parent = path[..end].to_vec();
            match self.nodes.get(&parent).map(|node| &node.kind) {
                Some(NodeKind::Directory) => {}
                Some(_) => return Err(unusual(path, "a part of its path is not a directory")),
                None => {
                    let write = |source| TreeError::Write {
                        path: OsStr::from_bytes(&parent).into(),
                        source,
                    };
                    fs::create_dir(self.place(&parent)).map_err(write)?;
                    self.nodes.insert(parent, default_directory(epoch));
                }
            }
        }
        Ok(())
    }

    /// Makes symbolic links, then hard links, now that nothing is written any more.
    fn make_links(&self) -> Result<(), TreeError> {
        for (path, node) in &self.nodes {
            if let NodeKind::Symlink(target) = &node.kind {
                std::os::unix::fs::symlink(OsStr::from_bytes(target), self.place(path)).map_err(
                    |source| TreeError::Write {
                        path: OsStr::from_bytes(path).into(),
                        source,
                    },
                )?;
            }
        }
        for (path, node) in &self.nodes {
            let NodeKind::HardLink(target) = &node.kind else {
                continue;
            };
            if !matches!(
                self.nodes.get(target).map(|node| &node.kind),
                Some(NodeKind::File(_))
            ) {
                return Err(unusual(
                    path,
                    "it is a hard link to something that is not a file of the tree",
                ));
            }
            fs::hard_link(self.place(target), self.place(path)).map_err(|source| {
                TreeError::Write {
                    path: OsStr::from_bytes(path).into(),
                    source,
                }
            })?;
        }
        Ok(())
    }
}

/// A reader that adds what goes through it to a digest.
struct Hashed<'a, R> {
    inner: &'a mut R,
    hasher: &'a mut blake3::Hasher,
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buf)?;
        self.hasher.update(&buf[..length]);
        Ok(length)
    }
}

fn unusual(path: &[u8], why: &'static str) -> TreeError {
    TreeError::Entry {
        path: OsStr::from_bytes(path).into(),
        why,
    }
}

fn default_directory(epoch: u64) -> Node {
    Node {
        kind: NodeKind::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: epoch,
        xattrs: Vec::new(),
    }
}

/// `./a/b/` → `/a/b`; anything that leaves the tree is an error.
fn absolute(name: &[u8]) -> Result<Vec<u8>, TreeError> {
    let mut path = Vec::with_capacity(name.len() + 1);
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(unusual(name, "it leaves the tree")),
            part if part.len() > 255 => {
                return Err(unusual(name, "a name is longer than 255 bytes"));
            }
            part => {
                path.push(b'/');
                path.extend_from_slice(part);
            }
        }
    }
    Ok(if path.is_empty() { b"/".to_vec() } else { path })
}

fn node(
    entry: &mut tar::Entry<'_, impl Read>,
    path: &[u8],
    epoch: u64,
    rule: Option<Treatment>,
) -> Result<Node, TreeError> {
    let xattrs = xattrs(entry)?;
    let size = entry.size();
    let target = || {
        let target = entry.link_name_bytes().map(|name| name.into_owned());
        target
            .filter(|target| !target.is_empty())
            .ok_or_else(|| unusual(path, "a link without a target"))
    };
    let header = entry.header();
    let device = || -> Result<(u32, u32), TreeError> {
        let part = |number: io::Result<Option<u32>>| {
            number
                .map_err(TreeError::Read)
                .map(Option::unwrap_or_default)
        };
        Ok((part(header.device_major())?, part(header.device_minor())?))
    };
    let kind = match header.entry_type() {
        EntryType::Regular | EntryType::Continuous if rule.is_some() => NodeKind::File(0),
        EntryType::Regular | EntryType::Continuous => NodeKind::File(size),
        EntryType::Directory => NodeKind::Directory,
        EntryType::Symlink => NodeKind::Symlink(target()?),
        EntryType::Link => NodeKind::HardLink(absolute(&target()?)?),
        EntryType::Char => device().map(|(major, minor)| NodeKind::Character(major, minor))?,
        EntryType::Block => device().map(|(major, minor)| NodeKind::Block(major, minor))?,
        EntryType::Fifo => NodeKind::Fifo,
        _ => return Err(unusual(path, "it is of a kind that no system has")),
    };
    let id = |id: io::Result<u64>| {
        let id = id.map_err(TreeError::Read)?;
        u32::try_from(id).map_err(|_| unusual(path, "its owner is larger than 32 bits"))
    };
    Ok(Node {
        kind,
        mode: header.mode().map_err(TreeError::Read)? & 0o7777,
        uid: id(header.uid())?,
        gid: id(header.gid())?,
        mtime: header.mtime().map_err(TreeError::Read)?.min(epoch),
        xattrs,
    })
}

/// Extended attributes, which GNU tar keeps as pax records `SCHILY.xattr.NAME`.
fn xattrs(entry: &mut tar::Entry<'_, impl Read>) -> Result<Vec<(String, Vec<u8>)>, TreeError> {
    let mut found = Vec::new();
    if let Some(records) = entry.pax_extensions().map_err(TreeError::Read)? {
        for record in records {
            let record = record.map_err(TreeError::Read)?;
            let name = record
                .key()
                .ok()
                .and_then(|key| key.strip_prefix("SCHILY.xattr."));
            if let Some(name) = name {
                found.push((name.to_owned(), record.value_bytes().to_vec()));
            }
        }
    }
    found.sort();
    Ok(found)
}
