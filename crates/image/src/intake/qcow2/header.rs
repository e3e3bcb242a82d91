//! The fixed header (qcow2.txt, section "Header"): bounds and feature bits, before anything else.
//!
//! What this file does *not* do: follow an offset. Tables are checked by [`super::prove`].

use super::super::convert::check_virtual_size;
use super::super::error::Stop;
use super::super::protocol::{Compression, Limits};
use super::super::refusal::{Refusal, printable};
use super::super::source::Source;
use super::extensions;

/// Bytes of a version 2 header, and of the part of version 3 that is always there.
const V2_LENGTH: u32 = 72;
const V3_LENGTH: u32 = 104;

/// The largest L1 table: QEMU's `QCOW_MAX_L1_SIZE`, 32 MiB.
const MAX_L1_ENTRIES: u64 = (32 << 20) / 8;

/// The largest refcount table: QEMU's `QCOW_MAX_REFTABLE_SIZE`, 8 MiB.
const MAX_REFCOUNT_TABLE_BYTES: u64 = 8 << 20;

/// Incompatible feature bits, "Header", bytes 72–79.
const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;
const COMPRESSION_TYPE: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;

/// Autoclear feature bits, bytes 88–95.
const AUTOCLEAR_BITMAPS: u64 = 1;

/// The fields that the rest needs, all within bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// 9 to 21.
    pub cluster_bits: u32,
    /// A multiple of 512 under the cap.
    pub virtual_size: u64,
    /// Entries of the L1 table: enough for the size.
    pub l1_entries: u32,
    /// Where the L1 table is; not yet checked against the file.
    pub l1_offset: u64,
    /// Where the refcount table is; not yet checked against the file.
    pub refcount_table_offset: u64,
    /// Its size.
    pub refcount_table_clusters: u32,
    /// How compressed clusters are compressed.
    pub compression: Compression,
}

impl Header {
    /// Bytes per cluster.
    pub const fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Entries of one L2 table: eight bytes each, one cluster ("Cluster mapping").
    pub const fn l2_entries(&self) -> u64 {
        self.cluster_size() / 8
    }

    /// Bytes of the disk that one L2 table maps: at most 2^39.
    pub const fn l2_covers(&self) -> u64 {
        self.cluster_size() * self.l2_entries()
    }
}

/// Reads and checks the header and its extensions.
pub fn read(source: &Source<'_>, limits: &Limits) -> Result<Header, Stop> {
    let mut raw = Raw { bytes: [0; 112] };
    source.read("the header", 0, &mut raw.bytes[..V2_LENGTH as usize])?;
    let version = raw.u32(4);
    let length = match version {
        2 => V2_LENGTH,
        3 => read_v3_part(source, &mut raw)?,
        _ => return Err(Refusal::Version { version }.into()),
    };
    let cluster_bits = raw.u32(20);
    if !(9..=21).contains(&cluster_bits) {
        return Err(Refusal::ClusterBits { bits: cluster_bits }.into());
    }
    if u64::from(length) > 1 << cluster_bits {
        return Err(Refusal::HeaderLength { bytes: length }.into());
    }
    check_unknown_fields(source, length)?;
    refuse_other_files(source, &raw, cluster_bits)?;
    check_features(source, &raw, length, cluster_bits)?;
    let header = Header {
        version,
        cluster_bits,
        virtual_size: raw.u64(24),
        l1_entries: raw.u32(36),
        l1_offset: raw.u64(40),
        refcount_table_offset: raw.u64(48),
        refcount_table_clusters: raw.u32(56),
        compression: compression(&raw, length)?,
    };
    check_bounds(&header, limits)?;
    Ok(header)
}

/// Reads the version 3 fields, clearing what the header length says is not there.
fn read_v3_part(source: &Source<'_>, raw: &mut Raw) -> Result<u32, Stop> {
    source.read("the header", 0, &mut raw.bytes[..V3_LENGTH as usize])?;
    let length = raw.u32(100);
    // "header_length": at least 104 and a multiple of 8; the cluster bounds it later.
    if length < V3_LENGTH || !length.is_multiple_of(8) || length > 1 << 21 {
        return Err(Refusal::HeaderLength { bytes: length }.into());
    }
    if length > V3_LENGTH {
        source.read("the header", 0, &mut raw.bytes)?;
    }
    let order = raw.u32(96);
    if order > 6 {
        return Err(Refusal::RefcountOrder { order }.into());
    }
    Ok(length)
}

/// Fields behind those we know must be zero ("Header": padding, and additional fields).
fn check_unknown_fields(source: &Source<'_>, length: u32) -> Result<(), Stop> {
    const KNOWN: u32 = 105;
    let Some(unknown) = length.checked_sub(KNOWN) else {
        return Ok(());
    };
    let mut rest = vec![0; unknown as usize];
    source.read("the header", u64::from(KNOWN), &mut rest)?;
    match rest.iter().find(|byte| **byte != 0) {
        None => Ok(()),
        Some(byte) => Err(Refusal::ReservedBits {
            what: "the additional header fields".to_owned(),
            value: u64::from(*byte),
        }
        .into()),
    }
}

/// Backing file, encryption and snapshots: all that points away from one plain disk.
fn refuse_other_files(source: &Source<'_>, raw: &Raw, cluster_bits: u32) -> Result<(), Refusal> {
    let (offset, length) = (raw.u64(8), raw.u32(16));
    if offset != 0 || length != 0 {
        // At most 1023 bytes inside the first cluster; else there is only the fact itself.
        let inside = offset.saturating_add(u64::from(length)) <= 1 << cluster_bits;
        let mut name = vec![0; if inside { length.min(1023) as usize } else { 0 }];
        if source
            .read("the backing file name", offset, &mut name)
            .is_err()
        {
            name.clear();
        }
        return Err(extensions::named_file(&name, |name| Refusal::BackingFile {
            name,
        }));
    }
    if raw.u32(32) != 0 {
        return Err(Refusal::Encrypted {
            method: raw.u32(32),
        });
    }
    if raw.u32(60) != 0 {
        return Err(Refusal::InternalSnapshots { count: raw.u32(60) });
    }
    Ok(())
}

/// The allow-list of feature bits, then the extensions.
fn check_features(
    source: &Source<'_>,
    raw: &Raw,
    length: u32,
    cluster_bits: u32,
) -> Result<(), Stop> {
    let (incompatible, autoclear) = if raw.u32(4) == 3 {
        (raw.u64(72), raw.u64(88))
    } else {
        (0, 0)
    };
    let unknown = incompatible & !(DIRTY | CORRUPT | DATA_FILE | COMPRESSION_TYPE | EXTENDED_L2);
    if unknown != 0 {
        return Err(Refusal::UnknownFeature { bits: unknown }.into());
    }
    // The extensions say it with the name of the file; the bit alone is enough, though.
    extensions::check(source, u64::from(length), 1 << cluster_bits)?;
    let refusal = match incompatible {
        bits if bits & DATA_FILE != 0 => Refusal::DataFile {
            name: printable(b""),
        },
        bits if bits & CORRUPT != 0 => Refusal::Corrupt,
        bits if bits & DIRTY != 0 => Refusal::Dirty,
        bits if bits & EXTENDED_L2 != 0 => Refusal::ExtendedL2,
        _ if autoclear & AUTOCLEAR_BITMAPS != 0 => Refusal::Bitmaps,
        _ if autoclear != 0 => Refusal::Autoclear { bits: autoclear },
        _ => return Ok(()),
    };
    Err(refusal.into())
}

/// "compression_type": non-zero exactly when the incompatible bit 3 is set.
fn compression(raw: &Raw, length: u32) -> Result<Compression, Refusal> {
    let value = if length > V3_LENGTH {
        raw.bytes[104]
    } else {
        0
    };
    let declared = raw.u32(4) == 3 && raw.u64(72) & COMPRESSION_TYPE != 0;
    match (value, declared) {
        (0, false) => Ok(Compression::Zlib),
        (1, true) => Ok(Compression::Zstd),
        _ => Err(Refusal::CompressionType { value }),
    }
}

/// Sizes of the disk and of the two tables.
fn check_bounds(header: &Header, limits: &Limits) -> Result<(), Refusal> {
    check_virtual_size(header.virtual_size, limits)?;
    let needed = header.virtual_size.div_ceil(header.l2_covers());
    let entries = u64::from(header.l1_entries);
    if entries < needed || entries > MAX_L1_ENTRIES {
        return Err(Refusal::L1Table {
            entries: header.l1_entries,
            needed,
        });
    }
    let clusters = header.refcount_table_clusters;
    let table_bytes = u64::from(clusters) << header.cluster_bits;
    if clusters == 0 || table_bytes > MAX_REFCOUNT_TABLE_BYTES {
        return Err(Refusal::RefcountTable { clusters });
    }
    Ok(())
}

/// The bytes of a header; all numbers are big-endian.
struct Raw {
    bytes: [u8; 112],
}

impl Raw {
    fn u32(&self, at: usize) -> u32 {
        be_u32(&self.bytes[at..])
    }

    fn u64(&self, at: usize) -> u64 {
        be_u64(&self.bytes[at..])
    }
}

/// The first four bytes as a number; missing bytes count as zero.
pub(super) fn be_u32(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .copied()
        .chain(std::iter::repeat(0))
        .take(4)
        .fold(0, |n, b| n << 8 | u32::from(b))
}

/// The first eight bytes as a number; missing bytes count as zero.
pub(super) fn be_u64(bytes: &[u8]) -> u64 {
    u64::from(be_u32(bytes)) << 32 | u64::from(be_u32(bytes.get(4..).unwrap_or(&[])))
}
