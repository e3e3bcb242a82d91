//! Extended attributes of an ext4 inode: inside the inode, in a block, in inodes of their own.
//!
//! Values are given as they are on the disk; for POSIX ACLs that is ext4's packed form and not
//! what getxattr(2) returns.
//!
//! Source: Linux `Documentation/filesystems/ext4/attributes.rst`.

use super::FsError;
use super::layout::{crc, damaged, le16, le32};
use super::volume::{Inode, Volume, inode_flags};
use std::collections::BTreeMap;

const MAGIC: u32 = 0xEA02_0000;
/// Bytes of an entry before its name.
const ENTRY: usize = 16;
/// Largest value that the kernel accepts (`XATTR_SIZE_MAX`).
const MAX_VALUE: u64 = 64 << 10;
/// Index and name of the attribute that holds the rest of an inline file.
const INLINE: (u8, &[u8]) = (7, b"data");

/// One attribute with its name still in two parts.
struct Attribute {
    index: u8,
    name: Vec<u8>,
    value: Vec<u8>,
}

fn prefix(index: u8) -> Option<&'static str> {
    Some(match index {
        1 => "user.",
        2 => "system.posix_acl_access",
        3 => "system.posix_acl_default",
        4 => "trusted.",
        6 => "security.",
        7 => "system.",
        8 => "system.richacl",
        _ => return None,
    })
}

impl Volume {
    /// All attributes by full name, without the rest of an inline file.
    pub(crate) fn attributes(&self, inode: &Inode) -> Result<BTreeMap<String, Vec<u8>>, FsError> {
        let mut all = BTreeMap::new();
        for attribute in self.raw_attributes(inode)? {
            let is_content = (attribute.index, attribute.name.as_slice()) == INLINE;
            if let Some(prefix) = prefix(attribute.index).filter(|_| !is_content) {
                let name = String::from_utf8_lossy(&attribute.name);
                all.insert(format!("{prefix}{name}"), attribute.value);
            }
        }
        Ok(all)
    }

    /// The content of a file or directory that is kept in its inode.
    pub(crate) fn inline_content(&self, inode: &Inode) -> Result<Vec<u8>, FsError> {
        let mut content = inode.block_area().to_vec();
        let inside = self.inside_inode(inode)?;
        let rest = inside
            .into_iter()
            .find(|a| (a.index, a.name.as_slice()) == INLINE);
        content.extend(rest.map(|attribute| attribute.value).unwrap_or_default());
        Ok(content)
    }

    fn raw_attributes(&self, inode: &Inode) -> Result<Vec<Attribute>, FsError> {
        let mut all = self.inside_inode(inode)?;
        let number = inode.attribute_block();
        if number != 0 {
            let block = self.block(number)?;
            if le32(&block, 0) != MAGIC {
                return Err(damaged(format!("inode {} has no attributes", inode.number)));
            }
            if self.superblock.has_checksums() && le32(&block, 0x10) != self.sum(number, &block) {
                return Err(damaged("the checksum of a block of attributes is wrong"));
            }
            all.extend(self.parse(inode, &block, 32, 0)?);
        }
        Ok(all)
    }

    /// The checksum of a block of attributes covers its number first.
    fn sum(&self, number: u64, block: &[u8]) -> u32 {
        let sum = crc(self.superblock.seed, &number.to_le_bytes());
        let sum = crc(sum, &block[..0x10]);
        crc(crc(sum, &[0; 4]), &block[0x14..])
    }

    fn inside_inode(&self, inode: &Inode) -> Result<Vec<Attribute>, FsError> {
        let start = inode.used_bytes();
        if inode.raw.len() < start + 8 || le32(&inode.raw, start) != MAGIC {
            return Ok(Vec::new());
        }
        let first = start + 4;
        self.parse(inode, &inode.raw, first, first)
    }

    /// Parses entries from `at` on, whose values lie relative to `base`.
    fn parse(
        &self,
        inode: &Inode,
        bytes: &[u8],
        mut at: usize,
        base: usize,
    ) -> Result<Vec<Attribute>, FsError> {
        let wrong = || {
            damaged(format!(
                "an attribute of inode {} does not fit",
                inode.number
            ))
        };
        let mut found = Vec::new();
        // Four zero bytes, or the end, close the list.
        while at + 4 <= bytes.len() && le32(bytes, at) != 0 {
            let name_length = usize::from(bytes[at]);
            let name_end = at + ENTRY + name_length;
            let name = bytes.get(at + ENTRY..name_end).ok_or_else(wrong)?.to_vec();
            let index = bytes[at + 1];
            let (offset, size) = (usize::from(le16(bytes, at + 2)), le32(bytes, at + 8));
            let value = match le32(bytes, at + 4) {
                0 => {
                    let start = base + offset;
                    let end = start.checked_add(size as usize).ok_or_else(wrong)?;
                    bytes.get(start..end).ok_or_else(wrong)?.to_vec()
                }
                number => self.value_inode(number, size.into())?,
            };
            found.push(Attribute { index, name, value });
            at = name_end.next_multiple_of(4);
        }
        Ok(found)
    }

    fn value_inode(&self, number: u32, size: u64) -> Result<Vec<u8>, FsError> {
        let inode = self.inode(number)?;
        if inode.size != size || size > MAX_VALUE || inode.has_flag(inode_flags::INLINE_DATA) {
            return Err(damaged(format!(
                "inode {number} is no value of an attribute"
            )));
        }
        self.content(&inode)
    }
}
