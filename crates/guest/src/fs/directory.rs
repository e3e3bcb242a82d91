//! The entries of an ext4 directory.
//!
//! Always read front to back: the hash index of large directories is another way to the same
//! entries, and a hidden entry must not be able to hide from us. Sorting and looking up happen on
//! the whole list.
//!
//! Source: Linux `Documentation/filesystems/ext4/directory.rst` and `inlinedata.rst`.

use super::FsError;
use super::layout::{crc, damaged, le16, le32};
use super::volume::{Inode, Volume, inode_flags};

/// Most entries of one directory.
const MAX_ENTRIES: usize = 5_000_000;
/// Bytes of an entry before its name.
const HEADER: usize = 8;
/// Bytes of the entry that holds a block's checksum, and its file type.
const TAIL: usize = 12;
const TAIL_TYPE: u8 = 0xde;

/// One entry with the inode that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawEntry {
    pub(crate) name: Vec<u8>,
    pub(crate) inode: u32,
}

/// What a block of a directory is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockUse {
    /// Entries.
    Entries,
    /// The root of the hash index; its hash table begins at this byte.
    IndexRoot(usize),
    /// Another block of the hash index; its hash table begins at this byte.
    IndexNode(usize),
}

impl Volume {
    /// All entries but `.` and `..`, sorted by name; of two with the same name, the first on the
    /// disk is first.
    pub(crate) fn directory(&self, inode: &Inode) -> Result<Vec<RawEntry>, FsError> {
        if inode.has_flag(inode_flags::ENCRYPT) {
            return Err(super::features::unsupported(
                "the names of an encrypted directory can't be read".into(),
            ));
        }
        let mut entries = Vec::new();
        if inode.has_flag(inode_flags::INLINE_DATA) {
            let content = self.inline_content(inode)?;
            // The first four bytes are the parent's inode. The two areas hold entries of their own.
            let first = content.len().min(60);
            self.entries_of(
                inode,
                content.get(4..first).unwrap_or_default(),
                &mut entries,
            )?;
            self.entries_of(inode, &content[first..], &mut entries)?;
        } else {
            for (logical, _, block) in self.directory_blocks(inode)? {
                if self.check_block(inode, logical, &block)? == BlockUse::Entries {
                    self.entries_of(inode, &block, &mut entries)?;
                }
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// The blocks of a directory: place in the directory, place on the disk, content.
    pub(crate) fn directory_blocks(
        &self,
        inode: &Inode,
    ) -> Result<Vec<(u64, u64, Vec<u8>)>, FsError> {
        let end = inode.size.div_ceil(self.superblock.block_size);
        let mut blocks = Vec::new();
        for run in self.runs(inode)?.into_iter().filter(|run| run.written) {
            for index in 0..run.count.min(end.saturating_sub(run.logical)) {
                let physical = run.physical + index;
                blocks.push((run.logical + index, physical, self.block(physical)?));
            }
        }
        Ok(blocks)
    }

    /// What a block is used for; its checksum is checked.
    pub(crate) fn check_block(
        &self,
        inode: &Inode,
        logical: u64,
        block: &[u8],
    ) -> Result<BlockUse, FsError> {
        let usage = block_use(inode, logical, block);
        if usage == BlockUse::Entries && self.superblock.has_checksums() {
            let end = block.len() - TAIL;
            if block[end + 7] != TAIL_TYPE || le32(block, end + 8) != crc(inode.seed, &block[..end])
            {
                return Err(damaged(format!(
                    "the checksum of a block of directory {} is wrong",
                    inode.number
                )));
            }
        }
        Ok(usage)
    }

    fn entries_of(
        &self,
        inode: &Inode,
        bytes: &[u8],
        entries: &mut Vec<RawEntry>,
    ) -> Result<(), FsError> {
        let wrong = |what: &str| damaged(format!("directory {} has {what}", inode.number));
        for entry in Entries::new(bytes) {
            let (at, length) = entry.map_err(|()| wrong("an entry that does not fit"))?;
            let name_length = usize::from(bytes[at + 6]);
            let (target, name) = (le32(bytes, at), &bytes[at + HEADER..][..name_length]);
            if target == 0 || name == b"." || name == b".." {
                continue;
            }
            if name.is_empty() || name.contains(&b'/') || name.contains(&0) || length < HEADER {
                return Err(wrong("an impossible name"));
            }
            if entries.len() >= MAX_ENTRIES {
                return Err(wrong("too many entries"));
            }
            entries.push(RawEntry {
                name: name.to_vec(),
                inode: target,
            });
        }
        Ok(())
    }
}

/// What a block of a directory is used for, by its place and its form.
pub(crate) fn block_use(inode: &Inode, logical: u64, block: &[u8]) -> BlockUse {
    if !inode.has_flag(inode_flags::INDEX) {
        return BlockUse::Entries;
    }
    if logical == 0 {
        // `.` and `..` with 12 bytes each, then the root's own header, then the hash table.
        return BlockUse::IndexRoot(0x18 + usize::from(block[0x1d]));
    }
    let empty_over_all = le32(block, 0) == 0 && record_length(block, 0) == block.len();
    if empty_over_all {
        BlockUse::IndexNode(HEADER)
    } else {
        BlockUse::Entries
    }
}

/// The length of the entry at `at`: 64 KiB do not fit into its two bytes.
fn record_length(bytes: &[u8], at: usize) -> usize {
    match le16(bytes, at + 4) {
        0 | 0xffff if bytes.len() >= 0x1_0000 => 0x1_0000,
        length => usize::from(length),
    }
}

/// The places and lengths of the entries in a block, deleted ones and the checksum included.
pub(crate) struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Entries<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Entries { bytes, at: 0 }
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<(usize, usize), ()>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        if at + HEADER > self.bytes.len() {
            return None;
        }
        let length = record_length(self.bytes, at);
        let fits = length >= HEADER
            && length.is_multiple_of(4)
            && at + length <= self.bytes.len()
            && HEADER + usize::from(self.bytes[at + 6]) <= length;
        self.at = if fits { at + length } else { self.bytes.len() };
        Some(if fits { Ok((at, length)) } else { Err(()) })
    }
}
