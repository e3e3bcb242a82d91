//! A file system in memory: inodes, directories, the bytes of files in 4 KiB blocks.
//!
//! Two of them are compared in a power loss: what the processes saw, and what the medium has. The
//! rules of what reaches the medium are not here, see `legal.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

/// The unit that a medium writes whole or not at all.
pub const SECTOR_BYTES: u64 = 512;
const BLOCK_BYTES: u64 = 4096;

type Block = [u8; BLOCK_BYTES as usize];

/// The number of an inode.
pub type Inode = usize;

/// The directory above the home.
pub const ROOT: Inode = 0;

/// The bytes of a file. Blocks that are not there are zeros.
#[derive(Clone, Default, PartialEq)]
pub struct Content {
    pub size: u64,
    blocks: BTreeMap<u64, Arc<Block>>,
}

/// A file or a directory.
#[derive(Clone)]
pub enum Node {
    File {
        content: Content,
        mode: u32,
    },
    Directory {
        entries: BTreeMap<String, Inode>,
        mode: u32,
    },
}

/// All inodes, those without a name included.
#[derive(Clone)]
pub struct Disk {
    pub nodes: Vec<Node>,
}

impl Content {
    pub fn read(&self, at: u64, length: u64) -> Vec<u8> {
        let end = (at + length).min(self.size).max(at);
        let mut bytes = vec![0; (end - at) as usize];
        for (&number, block) in self
            .blocks
            .range(at / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES))
        {
            let start = number * BLOCK_BYTES;
            let (from, to) = (start.max(at), (start + BLOCK_BYTES).min(end));
            bytes[(from - at) as usize..(to - at) as usize]
                .copy_from_slice(&block[(from - start) as usize..(to - start) as usize]);
        }
        bytes
    }

    pub fn write(&mut self, at: u64, bytes: &[u8]) {
        let end = at + bytes.len() as u64;
        let mut done = at;
        while done < end {
            let number = done / BLOCK_BYTES;
            let start = number * BLOCK_BYTES;
            let to = (start + BLOCK_BYTES).min(end);
            let block = self
                .blocks
                .entry(number)
                .or_insert_with(|| Arc::new([0; BLOCK_BYTES as usize]));
            Arc::make_mut(block)[(done - start) as usize..(to - start) as usize]
                .copy_from_slice(&bytes[(done - at) as usize..(to - at) as usize]);
            done = to;
        }
        self.size = self.size.max(end);
    }

    /// Makes the range zeros, within the size.
    pub fn zero(&mut self, at: u64, length: u64) {
        let end = (at + length).min(self.size);
        if end <= at {
            return;
        }
        let whole = at.div_ceil(BLOCK_BYTES)..end / BLOCK_BYTES;
        let size = self.size;
        if whole.start >= whole.end {
            self.write(at, &vec![0; (end - at) as usize]);
        } else {
            self.write(at, &vec![0; (whole.start * BLOCK_BYTES - at) as usize]);
            let tail = whole.end * BLOCK_BYTES;
            self.write(tail, &vec![0; (end - tail) as usize]);
            let numbers: Vec<u64> = self
                .blocks
                .range(whole)
                .map(|(number, _)| *number)
                .collect();
            for number in numbers {
                self.blocks.remove(&number);
            }
        }
        self.size = size;
    }

    pub fn truncate(&mut self, size: u64) {
        if size < self.size {
            self.zero(size, self.size - size);
            drop(self.blocks.split_off(&size.div_ceil(BLOCK_BYTES)));
        }
        self.size = size;
    }

    /// The ranges of blocks that are there.
    pub fn data(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.blocks.iter().map(|(number, block)| {
            let at = number * BLOCK_BYTES;
            let length = BLOCK_BYTES.min(self.size.saturating_sub(at));
            (at, &block[..length as usize])
        })
    }

    fn load(path: &Path) -> Content {
        let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut content = Content::default();
        for (number, block) in bytes.chunks(BLOCK_BYTES as usize).enumerate() {
            if block != &[0; BLOCK_BYTES as usize][..block.len()] {
                content.write(number as u64 * BLOCK_BYTES, block);
            }
        }
        content.size = bytes.len() as u64;
        content
    }

    /// Without blocks of zeros, to be compared.
    fn packed(&self) -> Content {
        let mut packed = self.clone();
        packed
            .blocks
            .retain(|_, block| **block != [0; BLOCK_BYTES as usize]);
        packed
    }
}

impl Disk {
    /// What is in a directory now.
    pub fn load(dir: &Path) -> Disk {
        let mut disk = Disk { nodes: Vec::new() };
        disk.load_node(dir);
        disk
    }

    fn load_node(&mut self, path: &Path) -> Inode {
        let meta = fs::symlink_metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mode = meta.permissions().mode() & 0o7777;
        let inode = self.nodes.len();
        if !meta.is_dir() {
            assert!(meta.is_file(), "{} is neither", path.display());
            let content = Content::load(path);
            self.nodes.push(Node::File { content, mode });
            return inode;
        }
        self.nodes.push(Node::Directory {
            entries: BTreeMap::new(),
            mode,
        });
        for entry in fs::read_dir(path).expect("a readable directory") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("UTF-8");
            let child = self.load_node(&entry.path());
            self.entries_mut(inode).insert(name, child);
        }
        inode
    }

    /// Writes everything that has a name into the empty directory `dir`.
    pub fn save(&self, dir: &Path) {
        self.save_directory(ROOT, dir, &mut BTreeMap::new());
    }

    fn save_directory(
        &self,
        inode: Inode,
        dir: &Path,
        saved: &mut BTreeMap<Inode, std::path::PathBuf>,
    ) {
        for (name, &child) in self.entries(inode) {
            let path = dir.join(name);
            match &self.nodes[child] {
                // Not durable state: SQLite builds it anew from the log.
                Node::File { .. } if name.ends_with("-shm") => {}
                Node::File { content, mode } => {
                    if let Some(first) = saved.get(&child) {
                        fs::hard_link(first, &path).expect("a second name");
                        continue;
                    }
                    save_file(&path, content, *mode);
                    saved.insert(child, path);
                }
                Node::Directory { mode, .. } => {
                    fs::create_dir(&path).expect("a new directory");
                    self.save_directory(child, &path, saved);
                    fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).expect("a mode");
                }
            }
        }
    }

    pub fn entries(&self, inode: Inode) -> &BTreeMap<String, Inode> {
        match &self.nodes[inode] {
            Node::Directory { entries, .. } => entries,
            Node::File { .. } => panic!("a file has no entries"),
        }
    }

    pub fn entries_mut(&mut self, inode: Inode) -> &mut BTreeMap<String, Inode> {
        match &mut self.nodes[inode] {
            Node::Directory { entries, .. } => entries,
            Node::File { .. } => panic!("a file has no entries"),
        }
    }

    pub fn content(&self, inode: Inode) -> &Content {
        match &self.nodes[inode] {
            Node::File { content, .. } => content,
            Node::Directory { .. } => panic!("a directory has no bytes"),
        }
    }

    pub fn content_mut(&mut self, inode: Inode) -> &mut Content {
        match &mut self.nodes[inode] {
            Node::File { content, .. } => content,
            Node::Directory { .. } => panic!("a directory has no bytes"),
        }
    }

    /// The inode at a path below the root.
    pub fn find(&self, path: &str) -> Option<Inode> {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        parts.try_fold(ROOT, |inode, part| match &self.nodes[inode] {
            Node::Directory { entries, .. } => entries.get(part).copied(),
            Node::File { .. } => None,
        })
    }

    /// The first path in which this differs from another: by name, kind, size or bytes.
    pub fn difference(&self, other: &Disk) -> Option<String> {
        self.difference_below(ROOT, other, ROOT, "")
    }

    fn difference_below(
        &self,
        mine: Inode,
        other: &Disk,
        its: Inode,
        path: &str,
    ) -> Option<String> {
        match (&self.nodes[mine], &other.nodes[its]) {
            (Node::Directory { entries: a, .. }, Node::Directory { entries: b, .. }) => {
                if !a.keys().eq(b.keys()) {
                    let (a, b): (Vec<_>, Vec<_>) = (a.keys().collect(), b.keys().collect());
                    return Some(format!("{path}: {a:?} and {b:?}"));
                }
                let mut pairs = a.iter().zip(b.values());
                pairs.find_map(|((name, mine), its)| {
                    self.difference_below(*mine, other, *its, &format!("{path}/{name}"))
                })
            }
            (Node::File { content: a, .. }, Node::File { content: b, .. }) => {
                // The index of the log is written through a mapping.
                let differs = !path.ends_with("-shm") && a.packed() != b.packed();
                differs.then(|| format!("{path}: {} and {} bytes", a.size, b.size))
            }
            _ => Some(format!("{path}: a file and a directory")),
        }
    }
}

fn save_file(path: &Path, content: &Content, mode: u32) {
    let file = fs::File::create_new(path).expect("a new file");
    file.set_len(content.size).expect("a size");
    for (at, bytes) in content.data() {
        file.write_all_at(bytes, at).expect("written");
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
        .expect("a mode");
}
