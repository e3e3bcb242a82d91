//! What is taken in equals, byte for byte, what `qemu-img convert` makes of the same image.
//!
//! The images are made by `qemu-img` and written to by `qemu-io`, over the options that real
//! images differ in; the content is random.

mod intake_support;

use intake_support::{take, take_with};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use stampo_image::intake::{DeclaredFormat, FormatDetails, Limits, Taken};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

const NEEDED: &str = "qemu-img and qemu-io must be installed for this test (package qemu-utils)";

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().expect(NEEDED);
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
}

/// Places of files of one test.
struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Bench {
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name)
            .to_str()
            .expect("a temporary path is text")
            .to_owned()
    }

    /// Takes `image` in and compares it with what `qemu-img` makes of it.
    fn assert_taken_alike(&self, image: &str) -> Taken {
        let file = File::open(self.path(image)).expect("the image");
        let (taken, ours) = take(file, DeclaredFormat::Qcow2, Limits::default());
        let taken = taken.unwrap_or_else(|error| panic!("{image}: {error}"));
        run(
            "qemu-img",
            &[
                "convert",
                "-f",
                "qcow2",
                "-O",
                "raw",
                &self.text(image),
                &self.text("raw"),
            ],
        );
        let theirs = File::open(self.path("raw")).expect("what qemu-img made");
        assert_same(&ours, &theirs);
        // No more than qemu-img keeps, but for the last block of the file system.
        let (ours, theirs) = (
            ours.metadata().expect("ours"),
            theirs.metadata().expect("theirs"),
        );
        assert!(
            ours.blocks() <= theirs.blocks() + 8,
            "{} > {}",
            ours.blocks(),
            theirs.blocks()
        );
        assert_eq!(taken.virtual_size_bytes, ours.len());
        taken
    }
}

fn assert_same(ours: &File, theirs: &File) {
    let length = theirs.metadata().expect("metadata").len();
    assert_eq!(ours.metadata().expect("metadata").len(), length);
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for at in (0..length).step_by(1 << 20) {
        let count = (length - at).min(1 << 20) as usize;
        ours.read_exact_at(&mut a[..count], at).expect("ours");
        theirs.read_exact_at(&mut b[..count], at).expect("theirs");
        assert!(a[..count] == b[..count], "they differ after byte {at}");
    }
}

/// A disk with random stretches, some of which compress well.
fn random_disk(path: &Path, size: u64, seed: u64) {
    let file = File::create(path).expect("a new file");
    file.set_len(size).expect("a sparse file");
    let mut state = seed | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..24 {
        let length = (next() % 200_000 + 1).min(size);
        let at = next() % (size - length + 1);
        let spread = if round % 2 == 0 { 256 } else { 3 };
        let piece: Vec<u8> = (0..length).map(|_| (next() % spread) as u8).collect();
        file.write_all_at(&piece, at).expect("space");
    }
}

/// `-o` options of images that are converted from a raw disk, and whether they are compressed.
const CONVERTED: [(&str, bool); 15] = [
    ("compat=0.10", false),
    ("compat=0.10", true),
    ("compat=1.1", false),
    ("compat=1.1", true),
    ("compat=1.1,lazy_refcounts=on", false),
    ("cluster_size=512", false),
    ("cluster_size=512", true),
    ("cluster_size=4k", true),
    ("cluster_size=2M", false),
    ("cluster_size=2M", true),
    ("compression_type=zstd", true),
    ("compression_type=zstd,cluster_size=4k", true),
    ("compression_type=zstd,cluster_size=2M", true),
    ("compression_type=zstd", false),
    ("refcount_bits=1", false),
];

#[test]
fn converted_images_of_every_kind() {
    for (index, (options, compressed)) in CONVERTED.iter().enumerate() {
        let bench = Bench::new();
        random_disk(
            &bench.path("disk"),
            9 * (1 << 20) + 512 * 7,
            99 + index as u64,
        );
        let (disk, image) = (bench.text("disk"), bench.text("image"));
        let mut args = vec!["convert", "-f", "raw", "-O", "qcow2", "-o", options];
        args.extend(compressed.then_some("-c"));
        args.extend([disk.as_str(), image.as_str()]);
        run("qemu-img", &args);
        let taken = bench.assert_taken_alike("image");
        let FormatDetails::Qcow2 {
            compressed_clusters,
            ..
        } = taken.details
        else {
            panic!("{options}: {taken:?}");
        };
        assert_eq!(compressed_clusters > 0, *compressed, "{options}");
    }
}

/// Threads that hand each other work on a busy machine: a call that only contention makes must be
/// allowed too, and no batch may be lost.
#[test]
fn compressed_images_side_by_side() {
    let bench = Bench::new();
    let numbered = (0..8u32 << 20)
        .flat_map(u32::to_le_bytes)
        .collect::<Vec<u8>>();
    std::fs::write(bench.path("disk"), numbered).expect("space");
    let (disk, image) = (bench.text("disk"), bench.text("image"));
    let options = "compression_type=zstd,cluster_size=4k";
    let made = [
        "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", options, &disk, &image,
    ];
    run("qemu-img", &made);
    let one = || {
        let file = File::open(&image).expect("the image");
        let (taken, ours) = take(file, DeclaredFormat::Qcow2, Limits::default());
        taken.expect("an image of qemu-img");
        assert_same(&ours, &File::open(&disk).expect("the disk"));
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..8).for_each(|_| one()));
        }
    });
}

#[test]
fn created_images_of_every_preallocation_and_size() {
    let sizes = ["0", "512", "1000", "65536", "65537", "3M", "40000k"];
    for options in [
        "preallocation=off",
        "preallocation=metadata",
        "preallocation=falloc",
        "preallocation=full",
    ] {
        for size in sizes {
            let bench = Bench::new();
            run(
                "qemu-img",
                &[
                    "create",
                    "-f",
                    "qcow2",
                    "-o",
                    options,
                    &bench.text("image"),
                    size,
                ],
            );
            let taken = bench.assert_taken_alike("image");
            assert_eq!(taken.data_bytes, 0, "{options} {size}");
        }
    }
}

#[test]
fn an_empty_disk_of_a_terabyte_takes_no_time_and_no_space() {
    let bench = Bench::new();
    run(
        "qemu-img",
        &["create", "-f", "qcow2", &bench.text("image"), "1T"],
    );
    let file = File::open(bench.path("image")).expect("the image");
    let (taken, ours) = take(file, DeclaredFormat::Qcow2, intake_support::TIGHT);
    assert_eq!(taken.expect_err("the cap is lower").kind(), "virtual_size");
    assert_eq!(ours.metadata().expect("metadata").len(), 0);
    let file = File::open(bench.path("image")).expect("the image");
    let limits = Limits {
        max_virtual_bytes: 1 << 40,
        ..intake_support::TIGHT
    };
    let (taken, ours) = take(file, DeclaredFormat::Qcow2, limits);
    assert_eq!(taken.expect("under the cap").data_bytes, 0);
    assert!(ours.metadata().expect("metadata").blocks() <= 8);
}

#[test]
fn images_that_qemu_makes_and_we_refuse_have_their_reason() {
    let rows = [
        ("extended_l2=on,cluster_size=64k", "extended_l2"),
        ("data_file=DATA", "data_file"),
    ];
    for (options, kind) in rows {
        let bench = Bench::new();
        let options = options.replace("DATA", &bench.text("data"));
        run(
            "qemu-img",
            &[
                "create",
                "-f",
                "qcow2",
                "-o",
                &options,
                &bench.text("image"),
                "1M",
            ],
        );
        assert_eq!(refusal_of(&bench, "image"), kind);
    }
    let bench = Bench::new();
    run(
        "qemu-img",
        &["create", "-f", "qcow2", &bench.text("base"), "1M"],
    );
    run(
        "qemu-img",
        &[
            "create",
            "-f",
            "qcow2",
            "-b",
            &bench.text("base"),
            "-F",
            "qcow2",
            &bench.text("image"),
        ],
    );
    assert_eq!(refusal_of(&bench, "image"), "backing_file");
    run("qemu-img", &["snapshot", "-c", "one", &bench.text("base")]);
    assert_eq!(refusal_of(&bench, "base"), "internal_snapshots");
    // After the snapshot is gone, the image is plain again.
    run("qemu-img", &["snapshot", "-d", "one", &bench.text("base")]);
    bench.assert_taken_alike("base");
    run(
        "qemu-img",
        &["bitmap", "--add", &bench.text("base"), "changes"],
    );
    assert_eq!(refusal_of(&bench, "base"), "bitmaps");
    run(
        "qemu-img",
        &["bitmap", "--remove", &bench.text("base"), "changes"],
    );
    bench.assert_taken_alike("base");
}

fn refusal_of(bench: &Bench, image: &str) -> &'static str {
    let file = File::open(bench.path(image)).expect("the image");
    intake_support::refused_kind(take(file, DeclaredFormat::Qcow2, Limits::default()).0)
}

/// One command of a guest's life: where, how long (both in sectors), and what.
fn write_command() -> impl Strategy<Value = String> {
    (0..6000u32, 1..2000u32, 0..4u8, any::<u8>()).prop_map(|(at, length, what, byte)| {
        let (at, length) = (at * 512, length * 512);
        match what {
            0 => format!("write -z {at} {length}"),
            1 => format!("write -z -u {at} {length}"),
            2 => format!("discard {at} {length}"),
            _ => format!("write -P {byte} {at} {length}"),
        }
    })
}

/// Images with a history: written, zeroed, discarded and resized.
#[test]
fn images_with_a_history() {
    let options = prop_oneof![
        Just("compat=0.10"),
        Just("compat=1.1"),
        Just("cluster_size=512"),
        Just("cluster_size=1M,lazy_refcounts=on"),
        Just("preallocation=metadata,cluster_size=8k"),
    ];
    let history = (
        options,
        prop::collection::vec(write_command(), 1..12),
        any::<bool>(),
    );
    let config = Config {
        cases: 24,
        failure_persistence: None,
        ..Config::default()
    };
    let checked = TestRunner::new(config).run(&history, |(options, commands, grown)| {
        let bench = Bench::new();
        let image = bench.text("image");
        run(
            "qemu-img",
            &["create", "-f", "qcow2", "-o", options, &image, "4M"],
        );
        let mut args = vec!["-f", "qcow2", "-d", "unmap"];
        args.extend(commands.iter().flat_map(|command| ["-c", command.as_str()]));
        args.push(&image);
        run("qemu-io", &args);
        if grown {
            run("qemu-img", &["resize", "-f", "qcow2", &image, "7M"]);
            run(
                "qemu-img",
                &["resize", "-f", "qcow2", "--shrink", &image, "2M"],
            );
        }
        bench.assert_taken_alike("image");
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn raw_disks_are_copied_sparsely_and_told_about() {
    let bench = Bench::new();
    let path = bench.path("disk");
    random_disk(&path, 100 << 20, 5);
    let steps = std::cell::Cell::new(0);
    let progress = |done: u64, total: u64| {
        steps.set(steps.get() + 1);
        done <= total
    };
    let source = File::open(&path).expect("the disk");
    let child = Path::new(intake_support::CHILD);
    let (taken, ours) = take_with(
        child,
        source,
        DeclaredFormat::Raw,
        Limits::default(),
        &progress,
    );
    let taken = taken.expect("a plain disk");
    assert_same(&ours, &File::open(&path).expect("the disk"));
    assert_eq!(taken.details, FormatDetails::Raw);
    assert!(taken.data_bytes > 0 && ours.metadata().expect("metadata").blocks() * 512 < 8 << 20);
    let mut nothing = Vec::new();
    (&ours).read_to_end(&mut nothing).expect("readable");
    assert_eq!(
        nothing.len() as u64,
        taken.virtual_size_bytes,
        "the position is at the start"
    );
}
