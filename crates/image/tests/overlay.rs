//! An overlay behaves like a plain array of bytes, and QEMU agrees with everything it says.

mod support;

use proptest::prelude::*;
use stampo_image::device::BlockDevice;
use stampo_image::flatten::{FlattenError, flatten};
use stampo_image::identity::{leaf_index, leaf_index_of_device};
use stampo_image::lock::{LockError, is_in_use};
use stampo_image::overlay::{Overlay, OverlayError, OwnRange, create_overlay};
use stampo_image::progress::Unwatched;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use support::{must, text, tool};
use tempfile::TempDir;

/// A directory with a base of these bytes.
fn with_base(bytes: &[u8]) -> (TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().expect("make a directory");
    let (base, overlay) = (
        dir.path().join("base.raw"),
        dir.path().join("overlay.qcow2"),
    );
    std::fs::write(&base, bytes).expect("write");
    (dir, base, overlay)
}

/// Bytes that differ from place to place, with runs of zeros between.
fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| {
            if at / 50_000 % 3 == 2 {
                0
            } else {
                (at / 7 % 251) as u8
            }
        })
        .collect()
}

#[derive(Debug, Clone)]
enum Step {
    Write(u64, usize, u8),
    Discard(u64, u64),
    Read(u64, usize),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![1..2000_usize, 1..200_000_usize];
    prop_oneof![
        4 => (any::<u64>(), length.clone(), 0..4_u8).prop_map(|(a, l, b)| Step::Write(a, l, b)),
        2 => (any::<u64>(), 1..300_000_u64).prop_map(|(at, length)| Step::Discard(at, length)),
        3 => (any::<u64>(), length).prop_map(|(at, length)| Step::Read(at, length)),
        1 => Just(Step::Reopen),
    ]
}

/// Does the steps on the overlay and on the model, comparing what is read.
fn run(base: &Path, path: &Path, size: u64, steps: &[Step], model: &mut [u8]) {
    let mut overlay = Overlay::create(path, base, size).expect("create");
    let inside = |at: u64, length: u64| (at % size, length.min(size - at % size));
    for step in steps {
        match *step {
            Step::Write(at, length, byte) => {
                let (at, length) = inside(at, length as u64);
                overlay
                    .write_at(at, &vec![byte; length as usize])
                    .expect("write");
                model[at as usize..(at + length) as usize].fill(byte);
            }
            Step::Discard(at, length) => {
                let (at, length) = inside(at, length);
                overlay.discard(at, length).expect("discard");
                model[at as usize..(at + length) as usize].fill(0);
            }
            Step::Read(at, length) => {
                let (at, length) = inside(at, length as u64);
                let mut buf = vec![0xee; length as usize];
                overlay.read_at(at, &mut buf).expect("read");
                assert!(
                    buf == model[at as usize..(at + length) as usize],
                    "read at {at}"
                );
            }
            Step::Reopen => {
                overlay.flush().expect("flush");
                drop(overlay);
                overlay = Overlay::open_writable(path, base).expect("open");
            }
        }
    }
    overlay.flush().expect("flush");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_overlay_is_an_array_of_bytes(
        base_sectors in 0_usize..3000,
        more_sectors in 0_usize..2000,
        steps in prop::collection::vec(step(), 1..25),
    ) {
        let base_bytes = pattern(base_sectors * 512);
        let (dir, base, path) = with_base(&base_bytes);
        let size = ((base_sectors + more_sectors).max(1) * 512) as u64;
        let mut model = base_bytes.clone();
        model.resize(size as usize, 0);
        run(&base, &path, size, &steps, &mut model);

        let expected = dir.path().join("model.raw");
        std::fs::write(&expected, &model).expect("write");
        must("qemu-img", &["check", "-q", "-f", "qcow2", text(&path)]);
        must("qemu-img", &["compare", "-q", "-f", "qcow2", "-F", "raw", text(&path), text(&expected)]);
        prop_assert!(std::fs::read(&base).expect("read") == base_bytes, "the base never changes");

        let flat = dir.path().join("flat.raw");
        flatten(&path, &base, &flat, &Unwatched).expect("flatten");
        prop_assert!(std::fs::read(&flat).expect("read") == model, "flattened");
        let overlay = Overlay::open_read_only(&path, &base).expect("open");
        prop_assert_eq!(
            leaf_index_of_device(&overlay, &Unwatched).expect("hash"),
            leaf_index(&flat, &Unwatched).expect("hash")
        );
    }
}

#[test]
fn qemu_sees_the_base_by_its_absolute_path_and_stated_format() {
    let (_dir, base, path) = with_base(&pattern(1 << 20));
    create_overlay(&path, &base, 8 << 20).expect("create");
    let info = must(
        "qemu-img",
        &["info", "--output=json", "-f", "qcow2", text(&path)],
    );
    let info: serde_json::Value = serde_json::from_str(&info).expect("JSON");
    assert_eq!(info["backing-filename"], text(&base));
    assert_eq!(info["backing-filename-format"], "raw");
    assert_eq!(info["virtual-size"], 8 << 20);
}

#[test]
fn a_new_overlay_holds_nothing_itself_and_costs_little() {
    let (_dir, base, path) = with_base(&pattern(1 << 20));
    create_overlay(&path, &base, 1 << 40).expect("create");
    let overlay = Overlay::open_writable(&path, &base).expect("open");
    assert_eq!(overlay.own_ranges().expect("list"), []);
    assert!(overlay.is_untouched().expect("look"));
    overlay.write_at(0, &[1; 10]).expect("write");
    overlay.discard(512 << 10, 65_536).expect("discard");
    assert!(!overlay.is_untouched().expect("look"));
    let own = overlay.own_ranges().expect("list");
    assert_eq!(
        own,
        [
            OwnRange::Data(0..16_384),
            OwnRange::Zeros(512 << 10..(512 << 10) + 65_536)
        ]
    );
    let used = stampo_image::pool::allocated_bytes(&path).expect("measure");
    assert!(used < 1 << 20, "{used} bytes");
}

#[test]
fn impossible_overlays_are_refused_and_leave_nothing() {
    let (dir, base, path) = with_base(&pattern(1 << 20));
    let size = 1 << 20;
    for wanted in [0, size - 512, size + 1] {
        let error = create_overlay(&path, &base, wanted).expect_err("must be refused");
        assert!(
            matches!(error, OverlayError::Size { .. }),
            "{wanted}: {error}"
        );
    }
    let relative = create_overlay(&path, Path::new("base.raw"), size);
    assert!(matches!(relative, Err(OverlayError::BasePath(_))));
    let long = PathBuf::from(format!("/{}", "x/".repeat(600)));
    assert!(matches!(
        create_overlay(&path, &long, size),
        Err(OverlayError::BasePath(_))
    ));
    let missing = create_overlay(&path, &dir.path().join("none"), size);
    assert!(matches!(missing, Err(OverlayError::Base { .. })));
    assert_eq!(std::fs::read_dir(dir.path()).expect("list").count(), 1);
    create_overlay(&path, &base, size).expect("create");
    assert!(matches!(
        create_overlay(&path, &base, size),
        Err(OverlayError::Exists(_))
    ));
}

#[test]
fn an_overlay_of_another_base_is_not_opened() {
    let (dir, base, path) = with_base(&pattern(1 << 20));
    let other = dir.path().join("other.raw");
    std::fs::copy(&base, &other).expect("copy");
    create_overlay(&path, &base, 1 << 20).expect("create");
    let error = Overlay::open_writable(&path, &other).expect_err("must be refused");
    assert!(matches!(error, OverlayError::OtherBase { .. }), "{error}");
    for options in [["-F", "qcow2"], ["-F", "raw"]] {
        // The same name, but not the format that we state; then not our base at all.
        let made = dir.path().join(format!("qemu-{}.qcow2", options[1]));
        let name = if options[1] == "raw" {
            text(&other)
        } else {
            text(&base)
        };
        must(
            "qemu-img",
            &[
                "create",
                "-q",
                "-u",
                "-f",
                "qcow2",
                options[0],
                options[1],
                "-b",
                name,
                text(&made),
                "1M",
            ],
        );
        let error = Overlay::open_writable(&made, &base).expect_err("must be refused");
        assert!(matches!(error, OverlayError::OtherBase { .. }), "{error}");
    }
    let error = Overlay::open_read_only(&base, &base).expect_err("not a qcow2");
    assert!(
        matches!(error, OverlayError::Overlay { act: "open", .. }),
        "{error}"
    );
}

#[test]
fn a_read_only_overlay_refuses_changes() {
    let (_dir, base, path) = with_base(&pattern(1 << 20));
    create_overlay(&path, &base, 1 << 20).expect("create");
    let overlay = Overlay::open_read_only(&path, &base).expect("open");
    for refused in [overlay.write_at(0, b"x"), overlay.discard(0, 512)] {
        let error = refused.expect_err("must be refused");
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    }
    let past = overlay
        .read_at((1 << 20) - 1, &mut [0; 2])
        .expect_err("must be refused");
    assert_eq!(past.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[test]
fn qemu_is_refused_while_we_write() {
    let (_dir, base, path) = with_base(&pattern(1 << 20));
    let overlay = Overlay::create(&path, &base, 1 << 20).expect("create");
    let read = ["-f", "qcow2", "-c", "read 0 512", text(&path)];
    let refused = |args: &[&str]| {
        let output = tool("qemu-io", args);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && stderr.contains("lock"),
            "{stderr}"
        );
    };
    refused(&read);
    refused(&[&["-r"], &read[..]].concat());
    let base_write = ["-f", "raw", "-c", "write 0 512", text(&base)];
    refused(&base_write);
    drop(overlay);
    must("qemu-io", &read);
    let reader = Overlay::open_read_only(&path, &base).expect("open");
    must("qemu-io", &[&["-r"], &read[..]].concat());
    refused(&["-f", "qcow2", "-c", "write 0 512", text(&path)]);
    drop(reader);
}

/// A qemu-io that has `path` open until it is told to quit.
struct OpenInQemu(Child);

impl OpenInQemu {
    fn start(path: &Path, base: &Path, options: &[&str]) -> Self {
        let child = Command::new("qemu-io")
            .args(options)
            .args(["-f", "qcow2", text(path)])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("this test needs the tool qemu-io (run ./test, which installs it)");
        let open = OpenInQemu(child);
        let files = [path, base].map(|path| std::fs::File::open(path).expect("open"));
        let deadline = Instant::now() + Duration::from_secs(60);
        while !files.iter().all(|file| is_in_use(file).expect("ask")) {
            assert!(
                Instant::now() < deadline,
                "qemu-io never opened the overlay"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        open
    }

    fn quit(mut self) {
        self.0
            .stdin
            .take()
            .expect("a pipe")
            .write_all(b"quit\n")
            .expect("write");
        assert!(self.0.wait().expect("wait").success());
    }
}

#[test]
fn we_are_refused_while_qemu_writes() {
    let (dir, base, path) = with_base(&pattern(1 << 20));
    create_overlay(&path, &base, 1 << 20).expect("create");
    let qemu = OpenInQemu::start(&path, &base, &[]);
    for refused in [
        Overlay::open_writable(&path, &base),
        Overlay::open_read_only(&path, &base),
    ] {
        let error = refused.expect_err("must be refused");
        let OverlayError::Lock {
            source: LockError::InUse,
            ..
        } = error
        else {
            panic!("{error}")
        };
    }
    let flat = flatten(&path, &base, &dir.path().join("flat.raw"), &Unwatched);
    assert!(matches!(flat, Err(FlattenError::Overlay(_))));
    qemu.quit();
    let qemu = OpenInQemu::start(&path, &base, &["-r"]);
    drop(Overlay::open_read_only(&path, &base).expect("two readers"));
    assert!(Overlay::open_writable(&path, &base).is_err());
    qemu.quit();
    drop(Overlay::open_writable(&path, &base).expect("open"));
}

#[test]
fn a_flattened_disk_is_sparse_and_a_cancelled_one_leaves_nothing() {
    let (dir, base, path) = with_base(&pattern(1 << 20));
    let overlay = Overlay::create(&path, &base, 256 << 20).expect("create");
    overlay
        .write_at(200 << 20, &[0; 65_536])
        .expect("write zeros");
    overlay.write_at(100 << 20, &[3; 5000]).expect("write");
    overlay.flush().expect("flush");
    drop(overlay);
    let flat = dir.path().join("flat.raw");
    let stop = AtomicBool::new(true);
    assert!(matches!(
        flatten(&path, &base, &flat, &stop),
        Err(FlattenError::Cancelled(_))
    ));
    assert_eq!(std::fs::read_dir(dir.path()).expect("list").count(), 2);
    let flattened = flatten(&path, &base, &flat, &Unwatched).expect("flatten");
    assert_eq!(flattened.size_bytes, 256 << 20);
    let used = stampo_image::pool::allocated_bytes(&flat).expect("measure");
    assert!(used <= (1 << 20) + 65_536, "{used} bytes");
    assert!(matches!(
        flatten(&path, &base, &flat, &Unwatched),
        Err(FlattenError::Exists(_))
    ));
}
