//! What evil images cost under the limits of every day, which are wider than those of the other
//! tests: no reader lives for more than 5 s or takes more than 256 MiB, and nor does its parent.
//!
//! Why they are refused is shown by `intake_evil`; here stand also bombs, which may be taken.

mod intake_support;

use intake_support::image::{Image, shared_cluster_bomb, zstd_bomb};
use intake_support::{evil, file_of, refused_kind, take};
use nix::sys::resource::{UsageWho, getrusage};
use stampo_image::intake::{DeclaredFormat, Limits};
use std::fs::File;
use std::process::Command;
use std::time::{Duration, Instant};

const MAX_PEAK_KIB: i64 = 256 << 10;
const MAX_LIFE: Duration = Duration::from_secs(5);

/// What the largest of all processes so far took; the kernel tells no smaller number later.
fn peaks_kib() -> (i64, i64) {
    let peak = |who| getrusage(who).expect("usage").max_rss();
    (peak(UsageWho::RUSAGE_SELF), peak(UsageWho::RUSAGE_CHILDREN))
}

/// How many processes wanted each processor in the last minute, at least one: 5 s are meant on a
/// machine that does nothing else.
fn crowding() -> f64 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().and_then(|text| text.parse().ok());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (load.unwrap_or(1.0) / processors as f64).max(1.0)
}

/// Takes an image in and says what was too much.
fn cost(name: &str, file: File, declared: DeclaredFormat) -> (&'static str, Option<String>) {
    let start = Instant::now();
    let (result, _) = take(file, declared, Limits::default());
    let (life, kind) = (start.elapsed(), refused_kind(result));
    let (own, child) = peaks_kib();
    let good = life < MAX_LIFE.mul_f64(crowding()) && own.max(child) < MAX_PEAK_KIB;
    let complaint = format!("{name} ({kind}): {life:?}, {own} KiB here, {child} KiB there");
    (kind, (!good).then_some(complaint))
}

/// An image of this many bytes of disk in clusters of 2 MiB, with nothing mapped.
fn empty(size_bytes: u64, l1_entries: u32) -> Image {
    let cluster = 2 << 20;
    let mut image = Image {
        bytes: vec![0; 4 * cluster as usize],
    };
    image = image.put(0, &Image::valid().bytes[..104]);
    image
        .u32(20, 21)
        .u64(24, size_bytes)
        .u32(36, l1_entries)
        .u64(40, 3 * cluster)
        .u64(48, cluster)
        .u64(cluster, 2 * cluster)
}

/// Images that are small and want much; some are what they say and are taken.
fn bombs() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    vec![
        ("one cluster for 32 GiB", shared_cluster_bomb(), "overlap"),
        ("512 MiB out of 2 MB", zstd_bomb(256), "taken"),
        ("2 TiB of nothing", empty(2 << 40, 4).bytes, "taken"),
        (
            "one byte over 2 TiB",
            empty((2 << 40) + 512, 5).bytes,
            "virtual_size",
        ),
        (
            "2^64 bytes",
            Image::valid().u64(24, u64::MAX - 511).bytes,
            "virtual_size",
        ),
        (
            "2^63 bytes",
            Image::valid().u64(24, 1 << 63).bytes,
            "virtual_size",
        ),
        (
            "a map of 32 GiB",
            Image::valid().u32(36, u32::MAX).bytes,
            "l1_table",
        ),
        (
            "refcounts of 16 TiB",
            Image::valid().u32(56, u32::MAX).bytes,
            "refcount_table",
        ),
    ]
}

#[test]
fn no_evil_image_costs_much() {
    let mut wrong = Vec::new();
    for case in evil::all() {
        let (_, complaint) = cost(&case.name, file_of(&case.bytes), case.declared);
        wrong.extend(complaint);
    }
    for (name, bytes, expected) in bombs() {
        let (kind, complaint) = cost(name, file_of(&bytes), DeclaredFormat::Qcow2);
        wrong.extend(complaint);
        wrong.extend((kind != expected).then(|| format!("{name}: {kind}, not {expected}")));
    }
    let holes = tempfile::tempfile().expect("a temporary file");
    for (size_bytes, expected) in [(1 << 34, "taken"), (8 << 40, "file_too_large")] {
        holes.set_len(size_bytes).expect("a sparse file");
        let file = holes.try_clone().expect("a copy of a descriptor");
        let (kind, complaint) = cost("raw of holes", file, DeclaredFormat::Raw);
        wrong.extend(complaint);
        wrong.extend((kind != expected).then(|| format!("{size_bytes} of holes: {kind}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    eprintln!("largest processes: {:?} KiB (parent, child)", peaks_kib());
    what_is_too_much_is_seen();
}

/// The measure is one: a process that takes too much is seen. At the end, as the kernel never forgets.
fn what_is_too_much_is_seen() {
    let status = Command::new("sh")
        .args([
            "-c",
            "head -c 300000000 /dev/zero | tail -c 300000000 > /dev/null",
        ])
        .status();
    assert!(status.expect("a shell").success());
    let (_, complaint) = cost("anything", file_of(b""), DeclaredFormat::Raw);
    assert!(complaint.is_some_and(|text| text.contains("anything")));
}
