//! Where the bytes of a file lie: extent trees, and the block maps of ext2 and ext3.
//!
//! Source: Linux `Documentation/filesystems/ext4/ifork.rst` and `dynamic.rst`.

use super::FsError;
use super::layout::{crc, damaged, le16, le32};
use super::volume::{Inode, Volume, inode_flags};

const EXTENT_MAGIC: u16 = 0xF30A;
/// Deepest extent tree of the format.
const MAX_TREE_DEPTH: u16 = 5;
/// Extents longer than this are allocated but not written.
const MAX_WRITTEN: u16 = 32768;
/// Most blocks of pointers that one file may have (about 40 million extents).
const MAX_NODES: usize = 120_000;
/// Most pieces that one file may consist of.
const MAX_RUNS: usize = 2_000_000;

/// Neighbouring blocks of a file that are neighbours on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// First block within the file.
    pub(crate) logical: u64,
    /// First block on the disk.
    pub(crate) physical: u64,
    /// How many.
    pub(crate) count: u64,
    /// `false` for space that is allocated but reads as zeros.
    pub(crate) written: bool,
}

/// What the walk over one file's tree has found so far.
struct Search<'a> {
    volume: &'a Volume,
    inode: &'a Inode,
    runs: Vec<Run>,
    blocks: u64,
    nodes: usize,
}

impl Volume {
    /// The pieces of a file in the order of the file. Inline data has none.
    pub(crate) fn runs(&self, inode: &Inode) -> Result<Vec<Run>, FsError> {
        let mut search = Search {
            volume: self,
            inode,
            runs: Vec::new(),
            blocks: 0,
            nodes: 0,
        };
        if inode.has_flag(inode_flags::INLINE_DATA) {
            // No blocks at all.
        } else if inode.has_flag(inode_flags::EXTENTS) {
            search.extents()?;
        } else {
            search.block_map()?;
        }
        search.runs.sort_by_key(|run| run.logical);
        if search
            .runs
            .windows(2)
            .any(|pair| pair[0].logical + pair[0].count > pair[1].logical)
        {
            return Err(damaged(format!(
                "inode {} has overlapping blocks",
                inode.number
            )));
        }
        Ok(search.runs)
    }
}

impl Search<'_> {
    fn wrong(&self, what: &str) -> FsError {
        damaged(format!("inode {}: {what}", self.inode.number))
    }

    fn add(&mut self, run: Run) -> Result<(), FsError> {
        self.volume.check_blocks(run.physical, run.count)?;
        self.blocks += run.count;
        if self.blocks > self.volume.superblock.blocks || self.runs.len() >= MAX_RUNS {
            return Err(self.wrong("it has more blocks than there are"));
        }
        match self.runs.last_mut() {
            Some(last)
                if last.written == run.written
                    && last.logical + last.count == run.logical
                    && last.physical + last.count == run.physical =>
            {
                last.count += run.count;
            }
            _ => self.runs.push(run),
        }
        Ok(())
    }

    /// Reads a block of pointers.
    fn node(&mut self, block: u64) -> Result<Vec<u8>, FsError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self.wrong("its tree of blocks has no end"));
        }
        self.volume.block(block)
    }

    fn extents(&mut self) -> Result<(), FsError> {
        let root = self.inode.block_area().to_vec();
        let depth = le16(&root, 6);
        if depth > MAX_TREE_DEPTH {
            return Err(self.wrong("its extent tree is too deep"));
        }
        let mut rest = vec![(root, depth)];
        while let Some((node, depth)) = rest.pop() {
            let entries = usize::from(le16(&node, 2));
            let room = (node.len() - 12) / 12;
            if le16(&node, 0) != EXTENT_MAGIC || le16(&node, 6) != depth || entries > room {
                return Err(self.wrong("its extent tree makes no sense"));
            }
            for entry in node[12..].chunks_exact(12).take(entries) {
                if depth == 0 {
                    self.extent(entry)?;
                } else {
                    let block = u64::from(le16(entry, 8)) << 32 | u64::from(le32(entry, 4));
                    let child = self.node(block)?;
                    self.check_node(&child)?;
                    rest.push((child, depth - 1));
                }
            }
        }
        Ok(())
    }

    fn extent(&mut self, entry: &[u8]) -> Result<(), FsError> {
        let length = le16(entry, 4);
        let written = length <= MAX_WRITTEN;
        let count = u64::from(if written {
            length
        } else {
            length - MAX_WRITTEN
        });
        let physical = u64::from(le16(entry, 6)) << 32 | u64::from(le32(entry, 8));
        if count == 0 {
            return Err(self.wrong("it has an empty extent"));
        }
        self.add(Run {
            logical: le32(entry, 0).into(),
            physical,
            count,
            written,
        })
    }

    fn check_node(&self, node: &[u8]) -> Result<(), FsError> {
        if !self.volume.superblock.has_checksums() {
            return Ok(());
        }
        let end = 12 + 12 * usize::from(le16(node, 4));
        if end + 4 > node.len() || le32(node, end) != crc(self.inode.seed, &node[..end]) {
            return Err(self.wrong("the checksum of its extent tree is wrong"));
        }
        Ok(())
    }

    /// Twelve direct pointers, then trees of one, two and three levels.
    fn block_map(&mut self) -> Result<(), FsError> {
        let kind_has_blocks = matches!(
            self.inode.kind(),
            super::FileKind::File | super::FileKind::Directory
        ) || (self.inode.kind() == super::FileKind::Symlink
            && self.inode.size >= 60);
        if !kind_has_blocks {
            return Ok(());
        }
        let block_size = self.volume.superblock.block_size;
        let end = self.inode.size.div_ceil(block_size);
        let fan = block_size / 4;
        let mut logical = 0;
        for (index, pointer) in self.inode.block_area().to_vec().chunks_exact(4).enumerate() {
            let level = index.saturating_sub(11) as u32;
            self.pointer(u64::from(le32(pointer, 0)), level, logical, end)?;
            logical += fan.pow(level);
        }
        Ok(())
    }

    /// One pointer of a block map that stands for `fan^level` blocks from `logical` on.
    fn pointer(&mut self, block: u64, level: u32, logical: u64, end: u64) -> Result<(), FsError> {
        if block == 0 || logical >= end {
            return Ok(());
        }
        if level == 0 {
            return self.add(Run {
                logical,
                physical: block,
                count: 1,
                written: true,
            });
        }
        let span = (self.volume.superblock.block_size / 4).pow(level - 1);
        for (index, pointer) in self.node(block)?.chunks_exact(4).enumerate() {
            let below = logical + index as u64 * span;
            self.pointer(u64::from(le32(pointer, 0)), level - 1, below, end)?;
        }
        Ok(())
    }
}
