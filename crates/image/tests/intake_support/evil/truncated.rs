//! A valid image that was cut at every boundary that matters.

use super::super::image::{CLUSTER, DATA, END, Image, L1, L2, REFCOUNT_BLOCK, REFCOUNT_TABLE};
use super::{Case, qcow2};

/// Where it is cut, and what is then missing first.
const CUTS: [(u64, &str); 22] = [
    (0, "empty_file"),
    (1, "not_qcow2"),
    (3, "not_qcow2"),
    (4, "truncated"),
    (8, "truncated"),
    (71, "truncated"),
    (72, "truncated"),
    (103, "truncated"),
    (104, "past_end"),
    (CLUSTER - 1, "past_end"),
    (REFCOUNT_TABLE, "past_end"),
    (REFCOUNT_TABLE + 8, "truncated"),
    (REFCOUNT_BLOCK - 1, "truncated"),
    (REFCOUNT_BLOCK, "past_end"),
    (L1, "past_end"),
    (L1 + 7, "truncated"),
    (L1 + 8, "past_end"),
    (L2, "past_end"),
    (L2 + 8, "truncated"),
    (DATA, "past_end"),
    (DATA + CLUSTER - 1, "truncated"),
    (END - 1, "truncated"),
];

pub fn cases() -> Vec<Case> {
    let cut = |(at, kind): &(u64, &'static str)| {
        qcow2(
            format!("cut at byte {at}"),
            kind,
            Image::valid().truncate(*at),
        )
    };
    CUTS.iter().map(cut).collect()
}
