//! Real ext4 on a disk: its space, what is left in it, and how long a whole disk takes.

use crate::guests::{NOW_S, good, of};
use stampo_guest::inspect::partitions::{Disk, Partition, PartitionTable};
use stampo_image::raw::RawFile;
use stampo_policy::report::Report;
use stampo_policy::{Pack, Subject, Verdict, evaluate, gather, gather_tree};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const MIB: u64 = 1 << 20;

/// Runs a tool of e2fsprogs, which live in `sbin`.
fn tool(name: &str, args: &[&str]) {
    let path = format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    );
    let output = Command::new(name).args(args).env("PATH", path).output();
    let output = output.unwrap_or_else(|e| panic!("{name} is needed (package e2fsprogs): {e}"));
    assert!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A filesystem with an os-release and a file of this size.
fn image(megabytes: u64, filled: u64) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let tree = dir.path().join("tree");
    std::fs::create_dir_all(tree.join("etc")).expect("made");
    std::fs::write(tree.join("etc/os-release"), "ID=debian\nVERSION_ID=13\n").expect("written");
    std::fs::write(tree.join("data"), vec![7; (filled * MIB) as usize]).expect("written");
    let path = dir.path().join("disk.raw");
    let (tree, name) = (tree.display().to_string(), path.display().to_string());
    let size = format!("{megabytes}M");
    tool(
        "mke2fs",
        &[
            "-q", "-F", "-t", "ext4", "-b", "4096", "-d", &tree, &name, &size,
        ],
    );
    (dir, path)
}

fn judge(path: &Path) -> Report {
    let disk = RawFile::open_read_only(path).expect("open");
    let evidence = gather(Arc::new(disk)).expect("a system");
    let subject = Subject::new("web@3", "i", &[]);
    evaluate(&evidence, &Pack::built_in(), &subject, NOW_S)
}

#[test]
fn a_real_disk_tells_of_its_space() {
    let (_dir, path) = image(64, 4);
    let report = judge(&path);
    for id in ["residue.free-space", "disk.free", "disk.clean"] {
        assert_eq!(
            of(&report, id).verdict,
            Verdict::Pass,
            "{:?}",
            of(&report, id)
        );
    }
    assert_eq!(
        of(&report, "boot.secure-boot").verdict,
        Verdict::NotApplicable
    );
}

#[test]
fn one_byte_left_in_free_space_is_found() {
    let (_dir, path) = image(64, 4);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("open");
    file.write_all_at(b"x", 64 * MIB - 5).expect("write");
    let report = judge(&path);
    let outcome = of(&report, "residue.free-space");
    assert_eq!(outcome.verdict, Verdict::Fail);
    assert!(outcome.findings[0].what.starts_with("4 KiB"), "{outcome:?}");
}

#[test]
fn a_full_disk_and_one_left_in_disorder_are_found() {
    let (_dir, path) = image(64, 52);
    let name = path.display().to_string();
    assert_eq!(of(&judge(&path), "disk.free").verdict, Verdict::Fail);
    tool("debugfs", &["-w", "-R", "ssv state 2", &name]);
    let report = judge(&path);
    assert_eq!(of(&report, "disk.clean").verdict, Verdict::Fail);
    tool("debugfs", &["-w", "-R", "feature needs_recovery", &name]);
    let report = judge(&path);
    // The bitmaps are not those that count: what is free is not known.
    assert_eq!(of(&report, "residue.free-space").verdict, Verdict::Unknown);
}

#[test]
fn when_a_loader_is_asked_for() {
    let mut evidence = gather_tree(&good());
    evidence.inspection.disk = Some(Disk {
        size_bytes: MIB,
        table: PartitionTable::Gpt,
        id: None,
        partitions: vec![Partition {
            number: 15,
            start_bytes: 0,
            size_bytes: MIB,
            kind: "C12A7328-F81F-11D2-BA4B-00A0C93EC93B".into(),
            guid: None,
            name: None,
            filesystem: "vfat".into(),
            label: None,
            uuid: None,
            needs_recovery: false,
        }],
    });
    let subject = Subject::new("web@3", "i", &[]);
    let report = evaluate(&evidence, &Pack::built_in(), &subject, NOW_S);
    assert_eq!(of(&report, "boot.secure-boot").verdict, Verdict::Fail);
}

/// Prints how long a disk takes: `STAMPO_DISK=disk.raw cargo test … -- --ignored --nocapture`.
#[test]
#[ignore = "it measures a raw disk that STAMPO_DISK names"]
fn how_long_a_disk_takes() {
    let path = std::env::var("STAMPO_DISK").expect("STAMPO_DISK names a raw disk");
    let pack = Pack::built_in();
    let subject = Subject::new("web@3", "i", &[]);
    for _ in 0..5 {
        let start = std::time::Instant::now();
        let disk = RawFile::open_read_only(Path::new(&path)).expect("open");
        let evidence = gather(Arc::new(disk)).expect("a system");
        let gathered = start.elapsed();
        let start = std::time::Instant::now();
        let report = evaluate(&evidence, &pack, &subject, NOW_S);
        let judged = start.elapsed();
        let text = serde_json::to_string(&evidence).expect("JSON");
        let start = std::time::Instant::now();
        let again = serde_json::from_str(&text).expect("the same");
        evaluate(&again, &pack, &subject, NOW_S);
        let decided = start.elapsed();
        println!(
            "gathered {gathered:?}, {} checks {judged:?}, decided from {} bytes {decided:?}; {} files; {:?}",
            report.outcomes.len(),
            text.len(),
            evidence.inspection.contents.files,
            report.counts
        );
    }
}
