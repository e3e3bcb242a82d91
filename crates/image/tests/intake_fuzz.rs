//! Flipped bytes: the parser, in this process, never panics, hangs, or writes beyond its limits.

mod intake_support;

use intake_support::image::{END, Image, deflate, zstd_frame};
use intake_support::{TIGHT, file_of};
use stampo_image::intake::{Crew, DeclaredFormat, Limits, convert_without_sandbox};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// Numbers that are the same in every run; a failure names its round.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What one image did: taken or the kind of its refusal.
fn outcome(bytes: &[u8]) -> &'static str {
    let limits = Limits {
        max_virtual_bytes: 8 << 20,
        ..TIGHT
    };
    let (source, destination) = (file_of(bytes), file_of(b""));
    let start = Instant::now();
    let (fd, to) = (source.as_fd(), destination.as_fd());
    let (declared, crew) = (DeclaredFormat::Qcow2, Crew::default());
    let result = convert_without_sandbox(declared, &limits, fd, to, &crew, &mut |_, _| ());
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "it took {:?}",
        start.elapsed()
    );
    let written = destination.metadata().expect("metadata");
    assert!(written.len() <= limits.max_virtual_bytes && written.blocks() * 512 <= 9 << 20);
    match result {
        Ok(report) => {
            assert_eq!(report.virtual_size_bytes, written.len());
            "taken"
        }
        Err(stampo_image::intake::Stop::Refused(refusal)) => refusal.kind(),
        Err(stampo_image::intake::Stop::Fault(fault)) => panic!("{fault}"),
    }
}

/// Flips one to four bytes, mostly where the metadata is.
fn flip(image: &Image, numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = image.bytes.clone();
    for _ in 0..=numbers.below(4) {
        let areas = [112, 4096, END, bytes.len() as u64];
        let area = areas[numbers.below(4) as usize];
        // The used part of the tables is at their start.
        let cluster = if numbers.below(2) == 0 {
            0
        } else {
            numbers.below(7) * 4096
        };
        let at = (cluster + numbers.below(area)).min(bytes.len() as u64 - 1) as usize;
        bytes[at] ^= 1 + numbers.below(255) as u8;
    }
    bytes
}

#[test]
fn two_thousand_images_with_flipped_bytes() {
    let text = b"words that repeat ".repeat(228);
    let images = [
        Image::valid(),
        Image::valid_v2(),
        Image::with_compressed(&deflate(&text[..4096])),
        Image::with_compressed(&zstd_frame(&text[..4096])).zstd(),
    ];
    let mut numbers = Numbers(20_261_122);
    let mut outcomes = std::collections::BTreeMap::new();
    for round in 0..2000 {
        let bytes = flip(&images[round % images.len()], &mut numbers);
        *outcomes.entry(outcome(&bytes)).or_insert(0u32) += 1;
    }
    // The flips must reach deep, or this proves nothing.
    assert!(outcomes.len() >= 15, "{outcomes:?}");
    assert!(
        outcomes["taken"] > 100 && outcomes["taken"] < 1600,
        "{outcomes:?}"
    );
}

#[test]
fn every_byte_of_the_metadata_set_to_every_extreme() {
    let image = Image::valid();
    let tables = [
        0..112,
        4096..4112,
        8192..8208,
        12_288..12_304,
        16_384..16_424,
    ];
    for at in tables.into_iter().flatten() {
        for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut bytes = image.bytes.clone();
            bytes[at] = value;
            outcome(&bytes);
        }
    }
}
