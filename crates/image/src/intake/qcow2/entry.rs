//! Entries of the L1, L2 and refcount tables, decoded strictly: a reserved bit is a refusal.
//!
//! Source: qcow2.txt, sections "Host cluster management" and "Cluster mapping". What this file
//! does *not* do: check offsets against the file; that is [`super::occupancy`].

use super::super::refusal::Refusal;
use super::header::Header;

/// Bits 9–55: a host offset.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// Bit 63: refcount is exactly one.
const COPIED: u64 = 1 << 63;
/// Bit 62 of an L2 entry: a compressed cluster.
const COMPRESSED: u64 = 1 << 62;
/// Bit 0 of an L2 entry of version 3: reads as zeros.
const ZERO: u64 = 1;

/// Where a guest cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// Nowhere: it reads as zeros.
    Hole,
    /// It reads as zeros, though a host cluster is set aside for it.
    ZeroAt(u64),
    /// A plain host cluster at this offset.
    Plain(u64),
    /// Compressed bytes.
    Compressed(Compressed),
}

/// A compressed cluster ("Compressed Clusters Descriptor").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compressed {
    /// The first byte, with no alignment.
    pub offset: u64,
    /// The first byte that can't belong to it: it ends on a sector boundary at the latest.
    pub end: u64,
}

/// The L2 table of an L1 entry; `None` when there is none.
pub fn l1(entry: u64, header: &Header) -> Result<Option<u64>, Refusal> {
    table_entry("an L1 entry", entry & !COPIED, entry, header)
}

/// The refcount block of a refcount table entry; `None` when there is none.
pub fn refcount(entry: u64, header: &Header) -> Result<Option<u64>, Refusal> {
    table_entry("a refcount table entry", entry, entry, header)
}

fn table_entry(
    what: &str,
    offset: u64,
    entry: u64,
    header: &Header,
) -> Result<Option<u64>, Refusal> {
    if offset & !OFFSET != 0 || (offset == 0 && entry != 0) {
        return Err(Refusal::ReservedBits {
            what: what.to_owned(),
            value: entry,
        });
    }
    aligned(what, offset, header)?;
    Ok((offset != 0).then_some(offset))
}

/// The mapping of an L2 entry.
pub fn l2(entry: u64, header: &Header) -> Result<Mapping, Refusal> {
    const WHAT: &str = "an L2 entry";
    let reserved = || Refusal::ReservedBits {
        what: WHAT.to_owned(),
        value: entry,
    };
    if entry & COMPRESSED != 0 {
        // "Copied" is defined as zero for compressed clusters.
        return if entry & COPIED == 0 {
            Ok(compressed(entry, header))
        } else {
            Err(reserved())
        };
    }
    let is_zero = entry & ZERO != 0;
    let offset = entry & OFFSET;
    if entry & !(COPIED | OFFSET | ZERO) != 0 || (is_zero && header.version < 3) {
        return Err(reserved());
    }
    // Offset 0 is only real with an external data file, which is refused.
    if offset == 0 && entry & COPIED != 0 {
        return Err(reserved());
    }
    aligned(WHAT, offset, header)?;
    Ok(match (offset, is_zero) {
        (0, _) => Mapping::Hole,
        (_, true) => Mapping::ZeroAt(offset),
        (_, false) => Mapping::Plain(offset),
    })
}

/// The offset has `62 - (cluster_bits - 8)` bits; the rest counts additional sectors.
fn compressed(entry: u64, header: &Header) -> Mapping {
    let offset_bits = 62 - (header.cluster_bits - 8);
    let offset = entry & ((1 << offset_bits) - 1);
    let sectors = (entry & (COMPRESSED - 1)) >> offset_bits;
    // At most 2^62 + 2^14 * 512: no overflow.
    let end = (offset & !511) + (sectors + 1) * 512;
    Mapping::Compressed(Compressed { offset, end })
}

/// Refuses an offset that is not on a cluster boundary.
pub fn aligned(what: &str, offset: u64, header: &Header) -> Result<(), Refusal> {
    if offset.is_multiple_of(header.cluster_size()) {
        return Ok(());
    }
    Err(Refusal::Unaligned {
        what: what.to_owned(),
        offset,
    })
}
