//! A guest's filesystem in memory: the maintained fixture for tests of everything that reads or
//! writes a guest.
//!
//! It follows the contract of [`GuestRead`] and [`GuestFs`] on links, `..`, kinds and limits, and
//! can pretend that a path is damaged. It is apart from the real filesystems so that tests need
//! no disk. It does not keep anything across processes and is not meant to be fast.

use super::{Entry, FileKind, FsError, GuestFs, GuestRead, MAX_DEPTH, MAX_LINKS, Metadata, Owner};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use uuid::Uuid;

/// The inode of the root directory, as on ext4.
const ROOT_INODE: u64 = 2;
/// The first inode that is given away, as on ext4.
const FIRST_INODE: u64 = 11;
/// The time that new entries get, in seconds since 1970.
const MADE_AT_S: i64 = 1_700_000_000;

/// A tree of files in memory.
#[derive(Debug, Clone)]
pub struct TreeFixture {
    nodes: BTreeMap<u64, Node>,
    next_inode: u64,
    uuid: Uuid,
    damaged: BTreeSet<u64>,
}

#[derive(Debug, Clone)]
struct Node {
    content: Content,
    owner: Owner,
    mtime_s: i64,
    links: u32,
    xattrs: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug, Clone)]
enum Content {
    File(Vec<u8>),
    Directory(BTreeMap<Vec<u8>, u64>),
    Symlink(Vec<u8>),
    Special,
}

impl Default for TreeFixture {
    fn default() -> Self {
        TreeFixture::new()
    }
}

/// Building a tree in one expression. A builder makes missing parents (root:root 0755) and panics
/// on a path that cannot be, because that is a mistake of the test.
impl TreeFixture {
    /// A filesystem with nothing but its root directory.
    pub fn new() -> Self {
        let mut root = Node::new(Content::Directory(BTreeMap::new()), Owner::root(0o755));
        root.links = 2;
        TreeFixture {
            nodes: BTreeMap::from([(ROOT_INODE, root)]),
            next_inode: FIRST_INODE,
            uuid: Uuid::from_u128(0x5eed_0000_0000_4000_8000_0000_0000_0001),
            damaged: BTreeSet::new(),
        }
    }

    /// Adds a file, root:root 0644.
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.file_as(path, content, Owner::root(0o644))
    }

    /// Gives a file another name.
    pub fn hard_link(&mut self, path: &str, name: &str) {
        let inode = self.entry(path).expect("a file");
        let (parent, last) = split(name).expect("a name");
        let parent = self.directory(&parent).expect("a directory");
        let entries = self.entries_mut(parent).expect("a directory");
        entries.insert(last, inode);
        self.nodes.get_mut(&inode).expect("a file").links += 1;
    }

    /// Adds a file with this owner and mode.
    pub fn file_as(mut self, path: &str, content: impl AsRef<[u8]>, owner: Owner) -> Self {
        self.put(path, Content::File(content.as_ref().to_vec()), owner);
        self
    }

    /// Adds a directory, root:root 0755.
    pub fn dir(self, path: &str) -> Self {
        self.dir_as(path, Owner::root(0o755))
    }

    /// Adds a directory with this owner and mode.
    pub fn dir_as(mut self, path: &str, owner: Owner) -> Self {
        self.create_dir_all(path, owner)
            .expect("the test's directory fits into its tree");
        self
    }

    /// Adds a symbolic link. The target may be anything, also nothing that exists.
    pub fn link(mut self, path: &str, target: impl AsRef<[u8]>) -> Self {
        self.put(
            path,
            Content::Symlink(target.as_ref().to_vec()),
            Owner::root(0o777),
        );
        self
    }

    /// Adds a FIFO, socket or device.
    pub fn special(mut self, path: &str) -> Self {
        self.put(path, Content::Special, Owner::root(0o600));
        self
    }

    /// Adds a file whose name is not text; `directory` must exist.
    pub fn file_named(mut self, directory: &str, name: &[u8], content: impl AsRef<[u8]>) -> Self {
        let parent = self
            .directory(directory)
            .expect("the test's directory exists");
        let node = Node::new(Content::File(content.as_ref().to_vec()), Owner::root(0o644));
        self.attach(parent, name.to_vec(), node)
            .expect("the test's name is free");
        self
    }

    /// Sets an extended attribute of what is at `path`.
    pub fn xattr(mut self, path: &str, name: &str, value: &[u8]) -> Self {
        let inode = self.entry(path).expect("the test's path exists");
        if let Some(node) = self.nodes.get_mut(&inode) {
            node.xattrs.insert(name.to_owned(), value.to_vec());
        }
        self
    }

    /// Every access to what is at `path` now fails with [`FsError::Damaged`].
    pub fn damaged(mut self, path: &str) -> Self {
        let inode = self.entry(path).expect("the test's path exists");
        self.damaged.insert(inode);
        self
    }

    fn put(&mut self, path: &str, content: Content, owner: Owner) {
        let (parent, _) = split(path).expect("the test's path has a name");
        self.create_dir_all(&parent, Owner::root(0o755))
            .expect("the test's parents are dirs");
        self.replace(path, Node::new(content, owner))
            .expect("the test's path is usable");
    }
}

impl Node {
    fn new(content: Content, owner: Owner) -> Self {
        let links = if matches!(content, Content::Directory(_)) {
            2
        } else {
            1
        };
        Node {
            content,
            owner,
            mtime_s: MADE_AT_S,
            links,
            xattrs: BTreeMap::new(),
        }
    }

    fn kind(&self) -> FileKind {
        match self.content {
            Content::File(_) => FileKind::File,
            Content::Directory(_) => FileKind::Directory,
            Content::Symlink(_) => FileKind::Symlink,
            Content::Special => FileKind::Special,
        }
    }

    fn size_bytes(&self) -> u64 {
        match &self.content {
            Content::File(bytes) | Content::Symlink(bytes) => bytes.len() as u64,
            Content::Directory(_) => 4096,
            Content::Special => 0,
        }
    }
}

/// Finding things: the one walk that every operation goes through.
impl TreeFixture {
    fn node(&self, inode: u64, path: &str) -> Result<&Node, FsError> {
        if self.damaged.contains(&inode) {
            return Err(FsError::Damaged {
                path: path.to_owned(),
                why: "as the test asked".into(),
            });
        }
        self.nodes.get(&inode).ok_or_else(|| not_found(path))
    }

    /// The inode at `path`; a link in the last component is followed when `follow` says so.
    fn resolve(&self, path: &str, follow: bool) -> Result<u64, FsError> {
        let mut rest: VecDeque<Vec<u8>> = components(path.as_bytes()).collect();
        let mut above = vec![ROOT_INODE];
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if rest.len() + above.len() > MAX_DEPTH {
                return Err(unsuitable(path, "it has too many components"));
            }
            let here = *above.last().unwrap_or(&ROOT_INODE);
            if name == b".." {
                if above.len() > 1 {
                    above.pop();
                }
                continue;
            }
            // What is below a file does not exist, as for a missing directory.
            let Content::Directory(entries) = &self.node(here, path)?.content else {
                return Err(not_found(path));
            };
            let inode = *entries.get(&name).ok_or_else(|| not_found(path))?;
            match &self
                .nodes
                .get(&inode)
                .ok_or_else(|| not_found(path))?
                .content
            {
                Content::Symlink(target) if follow || !rest.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(unsuitable(path, "it goes through too many links"));
                    }
                    if target.first() == Some(&b'/') {
                        above.truncate(1);
                    }
                    for part in components(target).collect::<Vec<_>>().into_iter().rev() {
                        rest.push_front(part);
                    }
                }
                _ => above.push(inode),
            }
        }
        Ok(*above.last().unwrap_or(&ROOT_INODE))
    }

    fn entry(&self, path: &str) -> Result<u64, FsError> {
        self.resolve(path, false)
    }

    fn directory(&self, path: &str) -> Result<u64, FsError> {
        let inode = self.resolve(path, true)?;
        match self.node(inode, path)?.kind() {
            FileKind::Directory => Ok(inode),
            _ => Err(unsuitable(path, "it is not a directory")),
        }
    }

    fn entries_mut(&mut self, inode: u64) -> Option<&mut BTreeMap<Vec<u8>, u64>> {
        match self.nodes.get_mut(&inode).map(|node| &mut node.content) {
            Some(Content::Directory(entries)) => Some(entries),
            _ => None,
        }
    }

    fn attach(&mut self, parent: u64, name: Vec<u8>, node: Node) -> Result<u64, FsError> {
        let shown = String::from_utf8_lossy(&name).into_owned();
        let inode = self.next_inode;
        let is_directory = node.kind() == FileKind::Directory;
        let entries = self.entries_mut(parent).ok_or_else(|| not_found(&shown))?;
        if entries.contains_key(&name) {
            return Err(unsuitable(&shown, "it is in the way"));
        }
        entries.insert(name, inode);
        self.nodes.insert(inode, node);
        self.next_inode += 1;
        if is_directory && let Some(parent) = self.nodes.get_mut(&parent) {
            parent.links += 1;
        }
        Ok(inode)
    }

    /// Puts `node` at `path`, in place of a file, link or special file but not of a directory.
    fn replace(&mut self, path: &str, node: Node) -> Result<(), FsError> {
        let (parent, name) = split(path)?;
        let parent = self.directory(&parent)?;
        self.remove(path)?;
        self.attach(parent, name, node).map(|_| ())
    }

    fn forget(&mut self, inode: u64) {
        let Some(node) = self.nodes.remove(&inode) else {
            return;
        };
        self.damaged.remove(&inode);
        if let Content::Directory(entries) = node.content {
            for child in entries.into_values() {
                self.forget(child);
            }
        }
    }
}

impl GuestRead for TreeFixture {
    fn metadata(&self, path: &str) -> Result<Metadata, FsError> {
        let inode = self.entry(path)?;
        let node = self.node(inode, path)?;
        Ok(Metadata {
            kind: node.kind(),
            inode,
            mode: node.owner.mode & 0o7777,
            uid: node.owner.uid,
            gid: node.owner.gid,
            size_bytes: node.size_bytes(),
            mtime_s: node.mtime_s,
            ctime_s: node.mtime_s,
            ctime_ns: 0,
            links: node.links,
        })
    }

    fn read(&self, path: &str, limit_bytes: u64) -> Result<Vec<u8>, FsError> {
        let inode = self.resolve(path, true)?;
        match &self.node(inode, path)?.content {
            Content::File(bytes) if bytes.len() as u64 > limit_bytes => {
                Err(unsuitable(path, "it is larger than expected"))
            }
            Content::File(bytes) => Ok(bytes.clone()),
            _ => Err(unsuitable(path, "it is not a regular file")),
        }
    }

    fn read_dir(&self, path: &str) -> Result<Vec<Entry>, FsError> {
        let inode = self.directory(path)?;
        let Content::Directory(entries) = &self.node(inode, path)?.content else {
            return Err(unsuitable(path, "it is not a directory"));
        };
        let known = |(name, inode): (&Vec<u8>, &u64)| {
            let kind = self.nodes.get(inode)?.kind();
            Some(Entry {
                name: name.clone(),
                kind,
            })
        };
        Ok(entries.iter().filter_map(known).collect())
    }

    fn read_link(&self, path: &str) -> Result<Vec<u8>, FsError> {
        let inode = self.entry(path)?;
        match &self.node(inode, path)?.content {
            Content::Symlink(target) => Ok(target.clone()),
            _ => Err(unsuitable(path, "it is not a symbolic link")),
        }
    }

    fn uuid(&self) -> Result<Uuid, FsError> {
        Ok(self.uuid)
    }

    fn xattrs(&self, path: &str) -> Result<BTreeMap<String, Vec<u8>>, FsError> {
        let inode = self.entry(path)?;
        Ok(self.node(inode, path)?.xattrs.clone())
    }
}

impl GuestFs for TreeFixture {
    /// A replaced file keeps nothing of the old one.
    fn write(&mut self, path: &str, content: &[u8], owner: Owner) -> Result<(), FsError> {
        self.replace(path, Node::new(Content::File(content.to_vec()), owner))
    }

    fn create_dir_all(&mut self, path: &str, owner: Owner) -> Result<(), FsError> {
        let parts: Vec<Vec<u8>> = components(path.as_bytes()).collect();
        let mut so_far = String::new();
        for (index, part) in parts.iter().enumerate() {
            so_far.push('/');
            so_far.push_str(&String::from_utf8_lossy(part));
            match self.directory(&so_far) {
                Ok(_) => continue,
                Err(FsError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
            let (parent, name) = split(&so_far)?;
            let parent = self.directory(&parent)?;
            let owner = if index + 1 == parts.len() {
                owner
            } else {
                Owner::root(0o755)
            };
            self.attach(
                parent,
                name,
                Node::new(Content::Directory(BTreeMap::new()), owner),
            )?;
        }
        Ok(())
    }

    fn symlink(&mut self, path: &str, target: &str) -> Result<(), FsError> {
        let content = Content::Symlink(target.as_bytes().to_vec());
        self.replace(path, Node::new(content, Owner::root(0o777)))
    }

    fn remove(&mut self, path: &str) -> Result<bool, FsError> {
        match self.metadata(path) {
            Err(FsError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
            Ok(found) if found.kind == FileKind::Directory => {
                Err(unsuitable(path, "it is a directory"))
            }
            Ok(_) => self.remove_all(path),
        }
    }

    fn remove_all(&mut self, path: &str) -> Result<bool, FsError> {
        let inode = match self.entry(path) {
            Err(FsError::NotFound { .. }) => return Ok(false),
            found => found?,
        };
        let is_directory = self.node(inode, path)?.kind() == FileKind::Directory;
        let (parent, name) = split(path)?;
        let parent = self.directory(&parent)?;
        if let Some(entries) = self.entries_mut(parent) {
            entries.remove(&name);
        }
        if is_directory && let Some(parent) = self.nodes.get_mut(&parent) {
            parent.links -= 1;
        }
        self.forget(inode);
        Ok(true)
    }

    fn set_owner(&mut self, path: &str, owner: Owner) -> Result<(), FsError> {
        let inode = self.entry(path)?;
        self.node(inode, path)?;
        if let Some(node) = self.nodes.get_mut(&inode) {
            node.owner = owner;
        }
        Ok(())
    }

    fn set_uuid(&mut self, uuid: Uuid) -> Result<bool, FsError> {
        self.uuid = uuid;
        Ok(true)
    }

    fn finish(self: Box<Self>) -> Result<(), FsError> {
        Ok(())
    }
}

/// The names of a path, without empty ones and `.`.
fn components(path: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(<[u8]>::to_vec)
}

/// The parent and the last name of `path`. The root and `..` have no name that could be changed.
fn split(path: &str) -> Result<(String, Vec<u8>), FsError> {
    let trimmed = path.trim_end_matches('/');
    let (parent, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
    if name.is_empty() || name == "." || name == ".." {
        return Err(unsuitable(path, "it has no name of its own"));
    }
    Ok((format!("{parent}/"), name.as_bytes().to_vec()))
}

fn not_found(path: &str) -> FsError {
    FsError::NotFound {
        path: path.to_owned(),
    }
}

fn unsuitable(path: &str, why: &'static str) -> FsError {
    FsError::Unsuitable {
        path: path.to_owned(),
        why,
    }
}
