//! Taking an image in costs at most half as much again as `qemu-img convert`, in real time.
//!
//! Run it on a quiet machine, in release:
//! `cargo test --release -p stampo-image --test intake_speed -- --ignored --nocapture`.
//! `STAMPO_TEST_DISK` names a raw disk to use in place of 600 MB of made-up content.

mod intake_support;

use intake_support::{CHILD, take_with};
use stampo_image::intake::{DeclaredFormat, Limits};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs of each; the fastest counts, as it is the least disturbed.
const RUNS: usize = 3;

const NEEDED: &str = "qemu-img must be installed for this test (package qemu-utils)";

fn qemu_img(args: &[&str]) {
    let status = Command::new("qemu-img").args(args).status().expect(NEEDED);
    assert!(status.success(), "{args:?}");
}

/// A disk of 2 GiB with 600 MB of content: a third noise, a third text-like, a third repeating.
fn made_up_disk(path: &Path) {
    let mut file = File::create(path).expect("a new file");
    let mut state = 88_172_645_463_325_252u64;
    for piece in 0..600u64 {
        let spread = [256, 20, 2][(piece % 3) as usize];
        let bytes: Vec<u8> = (0..1_000_000)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state % spread) as u8
            })
            .collect();
        file.write_all(&bytes).expect("space");
    }
    file.set_len(2 << 30).expect("a sparse file");
}

fn fastest(mut once: impl FnMut()) -> Duration {
    let time = |once: &mut dyn FnMut()| {
        let start = Instant::now();
        once();
        start.elapsed()
    };
    (0..RUNS).map(|_| time(&mut once)).min().unwrap_or_default()
}

fn ours(image: &Path) {
    let source = File::open(image).expect("the image");
    let child = Path::new(CHILD);
    let (taken, destination) = take_with(
        child,
        source,
        DeclaredFormat::Qcow2,
        Limits::default(),
        &|_, _| true,
    );
    taken.expect("an image of qemu-img");
    drop(destination);
}

#[test]
#[ignore = "measures real time; run it in release on a quiet machine"]
fn as_fast_as_qemu_img() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let place = |name: &str| directory.path().join(name);
    let disk = std::env::var_os("STAMPO_TEST_DISK").map_or_else(|| place("disk"), PathBuf::from);
    if !disk.exists() {
        made_up_disk(&disk);
    }
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let kinds: [(&str, &[&str]); 3] = [
        ("plain", &[]),
        ("zlib", &["-c"]),
        ("zstd", &["-c", "-o", "compression_type=zstd"]),
    ];
    let mut slow = Vec::new();
    for (name, options) in kinds {
        let (image, raw) = (place(name), place("raw"));
        let (image_text, raw_text) = (text(&image), text(&raw));
        let disk = text(&disk);
        let made = ["convert", "-f", "raw", "-O", "qcow2"]
            .iter()
            .chain(options);
        qemu_img(
            &made
                .copied()
                .chain([disk.as_str(), image_text.as_str()])
                .collect::<Vec<_>>(),
        );
        // qemu-img does not make its output durable; we do, so it is asked to.
        let theirs = fastest(|| {
            qemu_img(&[
                "convert",
                "-f",
                "qcow2",
                "-O",
                "raw",
                &image_text,
                &raw_text,
            ]);
            File::open(&raw)
                .and_then(|raw| raw.sync_all())
                .expect("a sync");
            std::fs::remove_file(&raw).expect("our own file");
        });
        let ours = fastest(|| ours(&image));
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        println!("{name}: ours {ours:?}, qemu-img {theirs:?}, ratio {ratio:.2}");
        if ratio > 1.5 {
            slow.push(format!("{name} {ratio:.2}"));
        }
    }
    assert!(slow.is_empty(), "too slow: {slow:?}");
}
