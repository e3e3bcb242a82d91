//! The proof before the copy: all metadata is walked and every host cluster has one user.
//!
//! What this file does *not* do: read guest data, or trust refcounts (a reader needs none; the
//! blocks are only checked to lie where nothing else does).

use super::super::error::Stop;
use super::super::refusal::Refusal;
use super::super::source::Source;
use super::entry::{self, Mapping};
use super::header::{Header, be_u64};
use super::occupancy::Occupancy;

/// An image may map this many times the bytes of its file, above [`BOMB_FLOOR_BYTES`]. Real ones
/// stay under 20; the densest zlib stream makes 1,030, the densest zstd frames over 10,000.
const BOMB_RATIO: u64 = 200;
/// Below this an expansion does no harm.
const BOMB_FLOOR_BYTES: u64 = 1 << 30;

/// Table entries read at once, in bytes.
const TABLE_PIECE: u64 = 1 << 16;

/// What the walk found.
pub struct Proof {
    /// How many clusters are compressed.
    pub compressed_clusters: u64,
}

/// Walks header, refcount table, L1 table and all L2 tables.
pub fn prove(source: &Source<'_>, header: &Header) -> Result<Proof, Stop> {
    let mut occupancy = Occupancy::new(source.size_bytes(), header.cluster_bits)?;
    occupancy.claim("the header", 0, header.cluster_size())?;
    claim_refcounts(source, header, &mut occupancy)?;
    let mapped = claim_mappings(source, header, &mut occupancy)?;
    occupancy.check_compressed()?;
    let mapped_bytes = mapped.saturating_mul(header.cluster_size());
    let file_bytes = source.size_bytes();
    if mapped_bytes > BOMB_FLOOR_BYTES && mapped_bytes / BOMB_RATIO > file_bytes {
        return Err(Refusal::Bomb {
            file_bytes,
            mapped_bytes,
        }
        .into());
    }
    Ok(Proof {
        compressed_clusters: occupancy.compressed_clusters(),
    })
}

fn claim_refcounts(
    source: &Source<'_>,
    header: &Header,
    occupancy: &mut Occupancy,
) -> Result<(), Stop> {
    let offset = header.refcount_table_offset;
    let length = u64::from(header.refcount_table_clusters) << header.cluster_bits;
    entry::aligned("the refcount table", offset, header)?;
    occupancy.claim("the refcount table", offset, length)?;
    for_each_entry(
        source,
        "the refcount table",
        offset,
        length / 8,
        |_, raw| {
            if let Some(block) = entry::refcount(raw, header)? {
                occupancy.claim("a refcount block", block, header.cluster_size())?;
            }
            Ok(())
        },
    )
}

/// Claims the L1 table, every L2 table and every data cluster; the number of mapped clusters.
fn claim_mappings(
    source: &Source<'_>,
    header: &Header,
    occupancy: &mut Occupancy,
) -> Result<u64, Stop> {
    let entries = u64::from(header.l1_entries);
    entry::aligned("the L1 table", header.l1_offset, header)?;
    occupancy.claim("the L1 table", header.l1_offset, entries * 8)?;
    let mut mapped = 0;
    for_each_l2_table(source, header, |table, guest_offset| {
        if guest_offset >= header.virtual_size {
            return Err(Refusal::MappedPastSize { guest_offset }.into());
        }
        occupancy.claim("an L2 table", table, header.cluster_size())?;
        mapped += claim_l2(source, header, occupancy, table, guest_offset)?;
        Ok(())
    })?;
    Ok(mapped)
}

/// Claims what one L2 table maps; the number of mapped clusters.
fn claim_l2(
    source: &Source<'_>,
    header: &Header,
    occupancy: &mut Occupancy,
    table: u64,
    first_guest_offset: u64,
) -> Result<u64, Stop> {
    let mut mapped = 0;
    for_each_entry(
        source,
        "an L2 table",
        table,
        header.l2_entries(),
        |index, raw| {
            let mapping = entry::l2(raw, header)?;
            let guest_offset = first_guest_offset + index * header.cluster_size();
            if mapping != Mapping::Hole && guest_offset >= header.virtual_size {
                return Err(Refusal::MappedPastSize { guest_offset }.into());
            }
            match mapping {
                Mapping::Hole => return Ok(()),
                Mapping::ZeroAt(offset) => {
                    occupancy.claim("a zero cluster", offset, header.cluster_size())?;
                    return Ok(());
                }
                Mapping::Plain(offset) => {
                    occupancy.claim("a data cluster", offset, header.cluster_size())?;
                    let length = header
                        .cluster_size()
                        .min(header.virtual_size - guest_offset);
                    check_inside(source, offset, length)?;
                }
                Mapping::Compressed(cluster) => occupancy.claim_compressed(cluster)?,
            }
            mapped += 1;
            Ok(())
        },
    )?;
    Ok(mapped)
}

/// A data cluster must be there as far as the disk needs it.
fn check_inside(source: &Source<'_>, offset: u64, length: u64) -> Result<(), Refusal> {
    let (needed_bytes, file_bytes) = (offset.saturating_add(length), source.size_bytes());
    if needed_bytes <= file_bytes {
        return Ok(());
    }
    Err(Refusal::Truncated {
        what: "a data cluster".to_owned(),
        needed_bytes,
        file_bytes,
    })
}

/// Calls `visit` with the place of every L2 table and the guest offset from which it maps.
pub(super) fn for_each_l2_table(
    source: &Source<'_>,
    header: &Header,
    mut visit: impl FnMut(u64, u64) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let entries = u64::from(header.l1_entries);
    let at = header.l1_offset;
    for_each_entry(
        source,
        "the L1 table",
        at,
        entries,
        |index, raw| match entry::l1(raw, header)? {
            Some(table) => visit(table, index * header.l2_covers()),
            None => Ok(()),
        },
    )
}

/// Calls `visit` with index and value of every entry of a table that is not zero.
pub(super) fn for_each_entry(
    source: &Source<'_>,
    what: &str,
    offset: u64,
    entries: u64,
    mut visit: impl FnMut(u64, u64) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut piece = vec![0; (entries * 8).min(TABLE_PIECE) as usize];
    let mut done = 0;
    while done < entries {
        let count = (entries - done).min(TABLE_PIECE / 8);
        let piece = &mut piece[..count as usize * 8];
        source.read(what, offset.saturating_add(done * 8), piece)?;
        for (index, raw) in (done..).zip(piece.as_chunks::<8>().0) {
            let raw = be_u64(raw);
            if raw != 0 {
                visit(index, raw)?;
            }
        }
        done += count;
    }
    Ok(())
}
