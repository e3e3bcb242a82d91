//! Tables that lie in each other, point outside, or expand without reason.

use super::super::image::{
    CLUSTER, COPIED, DATA, END, Image, L1, L2, REFCOUNT_BLOCK, REFCOUNT_TABLE, compressed_entry,
    deflate, shared_cluster_bomb, zstd_bomb, zstd_frame,
};
use super::{Case, qcow2};

pub fn cases() -> Vec<Case> {
    let rows = [refcounts(), l1(), l2(), compressed(), bombs()];
    rows.into_iter()
        .flatten()
        .map(|(name, kind, image)| qcow2(name, kind, image))
        .collect()
}

type Row = (&'static str, &'static str, Image);

/// Behind the end of the file, on a cluster boundary.
const FAR: u64 = 1 << 40;
/// The largest offset that an entry can hold.
const FARTHEST: u64 = 0x00ff_ffff_ffff_f000;

fn refcounts() -> Vec<Row> {
    let table = |offset| Image::valid().u64(48, offset);
    let block = |entry| Image::valid().u64(REFCOUNT_TABLE, entry);
    let second = |entry| Image::valid().u64(REFCOUNT_TABLE + 8, entry);
    vec![
        (
            "refcount table at no boundary",
            "unaligned",
            table(REFCOUNT_TABLE + 8),
        ),
        ("refcount table after the end", "past_end", table(FAR)),
        (
            "refcount table at 2^64",
            "past_end",
            table(u64::MAX - CLUSTER + 1),
        ),
        ("refcount table over the header", "overlap", table(0)),
        (
            "refcount table of two clusters",
            "overlap",
            Image::valid().u32(56, 2),
        ),
        (
            "refcount block at no boundary",
            "unaligned",
            block(REFCOUNT_BLOCK + 512),
        ),
        (
            "refcount block with a reserved bit",
            "reserved_bits",
            block(REFCOUNT_BLOCK | 1),
        ),
        ("refcount block after the end", "past_end", block(FAR)),
        (
            "refcount block on the table",
            "overlap",
            block(REFCOUNT_TABLE),
        ),
        ("refcount block twice", "overlap", second(REFCOUNT_BLOCK)),
        ("refcount block on data", "overlap", second(DATA)),
    ]
}

fn l1() -> Vec<Row> {
    let table = |offset| Image::valid().u64(40, offset);
    let entry = |value| Image::valid().l1(0, value);
    // A disk that needs two L2 tables, for the entry behind the first.
    let two = |value| Image::valid().u64(24, 4 << 20).u32(36, 2).l1(1, value);
    vec![
        ("L1 at no boundary", "unaligned", table(L1 + 8)),
        ("L1 after the end", "past_end", table(FAR)),
        ("L1 at 2^64", "past_end", table(u64::MAX - CLUSTER + 1)),
        ("L1 over the header", "overlap", table(0)),
        ("L1 over the refcounts", "overlap", table(REFCOUNT_BLOCK)),
        (
            "L1 that runs into its L2",
            "overlap",
            Image::valid().u32(36, 513),
        ),
        (
            "L1 that runs out of the file",
            "past_end",
            Image::valid().u64(40, END).u32(36, 1),
        ),
        (
            "L1 entry with a reserved bit",
            "reserved_bits",
            entry(L2 | COPIED | 2),
        ),
        (
            "L1 entry with a high reserved bit",
            "reserved_bits",
            entry(L2 | 1 << 60),
        ),
        (
            "L1 entry of a copied nothing",
            "reserved_bits",
            entry(COPIED),
        ),
        ("L1 entry at no boundary", "unaligned", entry(L2 + 512)),
        ("L1 entry after the end", "past_end", entry(FAR | COPIED)),
        ("L1 entry at the farthest", "past_end", entry(FARTHEST)),
        ("L2 in the L1", "overlap", entry(L1 | COPIED)),
        (
            "L2 in the refcounts",
            "overlap",
            entry(REFCOUNT_BLOCK | COPIED),
        ),
        ("L2 twice", "overlap", two(L2 | COPIED)),
        ("L2 in data", "overlap", two(DATA | COPIED)),
        (
            "L2 after the end of the disk",
            "mapped_past_size",
            Image::valid().u32(36, 2).l1(1, END),
        ),
    ]
}

fn l2() -> Vec<Row> {
    let entry = |value| Image::valid().l2(1, value);
    vec![
        ("data with a reserved bit", "reserved_bits", entry(END | 2)),
        (
            "data with a high reserved bit",
            "reserved_bits",
            entry(DATA | 1 << 57),
        ),
        ("a copied nothing", "reserved_bits", entry(COPIED)),
        (
            "a copied zero at nowhere",
            "reserved_bits",
            entry(COPIED | 1),
        ),
        (
            "a zero flag in version 2",
            "reserved_bits",
            Image::valid_v2().l2(1, 1),
        ),
        ("data at no boundary", "unaligned", entry(DATA + 512)),
        ("data after the end", "past_end", entry(END | COPIED)),
        ("data far after the end", "past_end", entry(FAR)),
        ("data at the farthest", "past_end", entry(FARTHEST)),
        ("data twice", "overlap", entry(DATA | COPIED)),
        ("data in its own L2", "overlap", entry(L2 | COPIED)),
        ("data in the L1", "overlap", entry(L1)),
        (
            "data in the refcount table",
            "overlap",
            entry(REFCOUNT_TABLE),
        ),
        (
            "data in the refcount block",
            "overlap",
            entry(REFCOUNT_BLOCK),
        ),
        (
            "a zero cluster set aside on data",
            "overlap",
            entry(DATA | 1),
        ),
        ("a zero cluster after the end", "past_end", entry(FAR | 1)),
        (
            "data after the end of the disk",
            "mapped_past_size",
            Image::valid().l2(256, DATA),
        ),
        (
            "zeros after the end of the disk",
            "mapped_past_size",
            Image::valid().l2(511, END | 1),
        ),
    ]
}

fn compressed() -> Vec<Row> {
    let text = b"one cluster of text. ".repeat(196);
    let good = deflate(&text[..CLUSTER as usize]);
    let image = || Image::with_compressed(&good);
    let also = |entry| image().l2(8, entry);
    let noise: Vec<u8> = (0..4000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let half = &good[..good.len() / 2];
    let plain_zstd = zstd_frame(&text[..CLUSTER as usize]);
    let broken = "compressed_cluster";
    vec![
        (
            "compressed and copied",
            "reserved_bits",
            also(compressed_entry(END, 0) | COPIED),
        ),
        (
            "compressed after the end",
            "past_end",
            also(compressed_entry(FAR, 0)),
        ),
        (
            "compressed at the farthest",
            "past_end",
            also(compressed_entry((1 << 58) - 1, 15)),
        ),
        (
            "compressed twice",
            "overlap",
            also(compressed_entry(END, 0)),
        ),
        (
            "compressed in the sector before",
            "overlap",
            also(compressed_entry(END - 512, 1)),
        ),
        (
            "compressed on data",
            "overlap",
            also(compressed_entry(DATA, 0)),
        ),
        (
            "compressed in the header",
            "overlap",
            also(compressed_entry(0, 0)),
        ),
        (
            "compressed over data and more",
            "overlap",
            also(compressed_entry(END - 1, 1)),
        ),
        ("data on compressed", "overlap", image().l2(8, END)),
        (
            "compressed from the next byte on",
            broken,
            also(compressed_entry(END + 1, 0)),
        ),
        ("noise", broken, Image::with_compressed(&noise)),
        ("half a stream", broken, Image::with_compressed(half)),
        (
            "a stream of 100 bytes",
            broken,
            Image::with_compressed(&deflate(&[1; 100])),
        ),
        (
            "a stream of zeros",
            broken,
            Image::with_compressed(&[0; 512]),
        ),
        (
            "deflate declared zstd",
            broken,
            Image::with_compressed(&good).zstd(),
        ),
        (
            "zstd declared deflate",
            broken,
            Image::with_compressed(&plain_zstd),
        ),
        (
            "zstd of 100 bytes",
            broken,
            Image::with_compressed(&zstd_frame(&[1; 100])).zstd(),
        ),
        (
            "zstd of noise",
            broken,
            Image::with_compressed(&noise).zstd(),
        ),
    ]
}

fn bombs() -> Vec<Row> {
    let image = |bytes| Image { bytes };
    let empty_60_tib = Image::valid()
        .u64(24, 60 << 40)
        .u32(36, 1 << 22)
        .u32(20, 16);
    vec![
        (
            "384 KiB that claim 32 GiB",
            "overlap",
            image(shared_cluster_bomb()),
        ),
        (
            "11 MB of zstd that make 4 GiB",
            "bomb",
            image(zstd_bomb(2000)),
        ),
        ("an empty disk of 60 TiB", "virtual_size", empty_60_tib),
    ]
}
