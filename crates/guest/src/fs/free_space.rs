//! Which blocks of an ext4 filesystem hold nothing.
//!
//! Taken from the block bitmaps. A group whose bitmap was never written is free except for its
//! own structures; structures of any group are never free, whatever a bitmap says, because a
//! hostile bitmap must not make us destroy the filesystem.
//!
//! Source: Linux `Documentation/filesystems/ext4/{bitmaps,blockgroup}.rst`.

use super::FsError;
use super::features::unsupported;
use super::layout::{group_flags, incompat, inode_table_blocks, ro_compat};
use super::volume::Volume;
use std::ops::Range;

impl Volume {
    /// The free blocks as ranges in ascending order.
    pub(crate) fn free_blocks(&self) -> Result<Vec<Range<u64>>, FsError> {
        if self.superblock.has_ro_compat(ro_compat::BIGALLOC)
            || self.superblock.has_incompat(incompat::META_BG)
        {
            return Err(unsupported(
                "the free space of a filesystem with bigalloc or meta_bg can't be listed yet"
                    .into(),
            ));
        }
        let structures = self.structures();
        let mut free = Vec::new();
        for number in 0..self.superblock.group_count() {
            self.free_of_group(number, &structures, &mut free)?;
        }
        Ok(free)
    }

    /// Every block that holds a structure of the filesystem itself, as merged ranges.
    fn structures(&self) -> Vec<Range<u64>> {
        let table = inode_table_blocks(&self.superblock);
        let mut all = Vec::new();
        for (number, group) in self.groups.iter().enumerate() {
            let start = self.superblock.group_blocks(number as u64).start;
            if self.superblock.group_has_superblock(number as u64) {
                all.push(start..start + 1 + self.superblock.descriptor_blocks());
            }
            all.push(group.block_bitmap..group.block_bitmap + 1);
            all.push(group.inode_bitmap..group.inode_bitmap + 1);
            all.push(group.inode_table..group.inode_table + table);
        }
        all.sort_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::new();
        for range in all {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        merged
    }

    fn free_of_group(
        &self,
        number: u64,
        structures: &[Range<u64>],
        free: &mut Vec<Range<u64>>,
    ) -> Result<(), FsError> {
        let blocks = self.superblock.group_blocks(number);
        let group = self.groups[number as usize];
        if group.flags & group_flags::BLOCK_UNINIT != 0 {
            add_outside(blocks, structures, free);
            return Ok(());
        }
        let bitmap = self.block(group.block_bitmap)?;
        for unset in clear_bits(&bitmap, blocks.end - blocks.start) {
            let range = blocks.start + unset.start..blocks.start + unset.end;
            add_outside(range, structures, free);
        }
        Ok(())
    }
}

/// The runs of clear bits among the first `count` bits.
pub(crate) fn clear_bits(bitmap: &[u8], count: u64) -> Vec<Range<u64>> {
    let mut runs = Vec::new();
    let mut start = None;
    for bit in 0..count {
        let byte = bitmap.get((bit / 8) as usize).copied().unwrap_or(0xff);
        let clear = byte & (1 << (bit % 8)) == 0;
        match (clear, start) {
            (true, None) => start = Some(bit),
            (false, Some(first)) => {
                runs.push(first..bit);
                start = None;
            }
            _ => {}
        }
    }
    runs.extend(start.map(|first| first..count));
    runs
}

/// Adds the parts of `range` that are in none of the sorted `structures`, joining neighbours.
fn add_outside(range: Range<u64>, structures: &[Range<u64>], free: &mut Vec<Range<u64>>) {
    let mut add = |part: Range<u64>| {
        if part.is_empty() {
            return;
        }
        match free.last_mut() {
            Some(last) if last.end == part.start => last.end = part.end,
            _ => free.push(part),
        }
    };
    let mut start = range.start;
    let first = structures.partition_point(|structure| structure.end <= range.start);
    for structure in structures[first..]
        .iter()
        .take_while(|s| s.start < range.end)
    {
        add(start..structure.start.max(start));
        start = start.max(structure.end);
    }
    add(start..range.end.max(start));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_bits_are_found_at_both_ends() {
        assert_eq!(clear_bits(&[0b1111_0000, 0b0111_1111], 16), [0..4, 15..16]);
        assert_eq!(clear_bits(&[0xff, 0xff], 16), []);
        assert_eq!(clear_bits(&[0, 0], 11), vec![0..11]);
        // Bits that the bitmap has no room for are not free.
        assert_eq!(clear_bits(&[0], 12), vec![0..8]);
    }

    #[test]
    fn structures_are_never_free() {
        let mut free = Vec::new();
        add_outside(0..10, &[0..2, 5..6, 9..12], &mut free);
        add_outside(10..20, &[0..2, 5..6, 9..12], &mut free);
        add_outside(20..22, &[0..2, 5..6, 9..12], &mut free);
        assert_eq!(free, [2..5, 6..9, 12..22]);
    }
}
