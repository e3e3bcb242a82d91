//! Header fields, feature bits and extensions that are wrong or not supported.

use super::super::image::Image;
use super::{Case, qcow2};

pub fn cases() -> Vec<Case> {
    let rows = [fields(), sizes(), features(), extensions()];
    rows.into_iter()
        .flatten()
        .map(|(name, kind, image)| qcow2(name, kind, image))
        .collect()
}

type Row = (&'static str, &'static str, Image);

fn fields() -> Vec<Row> {
    let valid = Image::valid;
    vec![
        ("version 0", "version", valid().u32(4, 0)),
        ("version 1", "version", valid().u32(4, 1)),
        ("version 4", "version", valid().u32(4, 4)),
        ("version 2^32-1", "version", valid().u32(4, u32::MAX)),
        ("header of 0 bytes", "header_length", valid().u32(100, 0)),
        (
            "header of 103 bytes",
            "header_length",
            valid().u32(100, 103),
        ),
        (
            "header of 109 bytes",
            "header_length",
            valid().u32(100, 109),
        ),
        (
            "header over its cluster",
            "header_length",
            valid().u32(100, 8192),
        ),
        (
            "header of 4 GiB",
            "header_length",
            valid().u32(100, 0xffff_fff8),
        ),
        (
            "additional field",
            "reserved_bits",
            valid().u32(100, 128).put(120, &[1]),
        ),
        (
            "padding of the compression type",
            "reserved_bits",
            valid().u32(100, 112).put(105, &[1]),
        ),
        ("clusters of 1 byte", "cluster_bits", valid().u32(20, 0)),
        ("clusters of 256 bytes", "cluster_bits", valid().u32(20, 8)),
        ("clusters of 4 MiB", "cluster_bits", valid().u32(20, 22)),
        (
            "clusters of 2^64 bytes",
            "cluster_bits",
            valid().u32(20, 64),
        ),
        (
            "clusters of 2^(2^32)",
            "cluster_bits",
            valid().u32(20, u32::MAX),
        ),
        (
            "refcounts of 128 bits",
            "refcount_order",
            valid().u32(96, 7),
        ),
        (
            "refcounts of 2^(2^32)",
            "refcount_order",
            valid().u32(96, u32::MAX),
        ),
        ("encrypted, AES", "encrypted", valid().u32(32, 1)),
        ("encrypted, LUKS", "encrypted", valid().u32(32, 2)),
        ("encrypted, unknown", "encrypted", valid().u32(32, 77)),
        (
            "a snapshot",
            "internal_snapshots",
            valid().u32(60, 1).u64(64, 4096),
        ),
        (
            "2^32-1 snapshots",
            "internal_snapshots",
            valid().u32(60, u32::MAX),
        ),
    ]
}

fn sizes() -> Vec<Row> {
    let valid = Image::valid;
    vec![
        ("60 TiB", "virtual_size", valid().u64(24, 60 << 40)),
        (
            "2^64-512 bytes",
            "virtual_size",
            valid().u64(24, u64::MAX - 511),
        ),
        (
            "an odd size",
            "unaligned_size",
            valid().u64(24, (1 << 20) + 1),
        ),
        ("no L1 entries", "l1_table", valid().u32(36, 0)),
        ("too few L1 entries", "l1_table", valid().u64(24, 5 << 20)),
        ("2^32-1 L1 entries", "l1_table", valid().u32(36, u32::MAX)),
        ("no refcount table", "refcount_table", valid().u32(56, 0)),
        (
            "a refcount table of 16 TiB",
            "refcount_table",
            valid().u32(56, u32::MAX),
        ),
    ]
}

fn features() -> Vec<Row> {
    let valid = Image::valid;
    vec![
        ("dirty", "dirty", valid().u64(72, 1)),
        (
            "dirty, lazy refcounts",
            "dirty",
            valid().u64(72, 1).u64(80, 1),
        ),
        ("corrupt", "corrupt", valid().u64(72, 2)),
        ("extended L2", "extended_l2", valid().u64(72, 16)),
        (
            "unknown incompatible bit 5",
            "unknown_feature",
            valid().u64(72, 32),
        ),
        (
            "unknown incompatible bit 63",
            "unknown_feature",
            valid().u64(72, 1 << 63),
        ),
        (
            "compression bit without a field",
            "compression_type",
            valid().u64(72, 8),
        ),
        (
            "compression bit for zlib",
            "compression_type",
            valid().zstd().put(104, &[0]),
        ),
        (
            "compression 2",
            "compression_type",
            valid().zstd().put(104, &[2]),
        ),
        (
            "compression 255",
            "compression_type",
            valid().zstd().put(104, &[255]),
        ),
        (
            "zstd without its bit",
            "compression_type",
            valid().zstd().u64(72, 0),
        ),
        ("autoclear: bitmaps", "bitmaps", valid().u64(88, 1)),
        ("autoclear: raw data file", "autoclear", valid().u64(88, 2)),
        ("autoclear: unknown", "autoclear", valid().u64(88, 1 << 40)),
    ]
}

fn extensions() -> Vec<Row> {
    let with = |id, data: &[u8]| Image::valid().extension(104, id, data);
    let names = 0x6803_f857;
    vec![
        ("bitmaps", "bitmaps", with(0x2385_2875, &[0; 24])),
        ("LUKS header", "encrypted", with(0x0537_be77, &[0; 16])),
        (
            "unknown extension",
            "unknown_extension",
            with(0xdead_beef, &[0; 8]),
        ),
        (
            "extension of 4 GiB",
            "bad_extension",
            with(names, &[]).u32(108, u32::MAX),
        ),
        (
            "extension over its cluster",
            "bad_extension",
            with(names, &[]).u32(108, 4096),
        ),
        (
            "extension twice",
            "bad_extension",
            with(names, &[]).extension(112, names, &[]),
        ),
        (
            "bad one behind a good one",
            "bitmaps",
            with(names, &[0; 5]).u32(120, 0x2385_2875),
        ),
    ]
}
