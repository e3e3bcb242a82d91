//! The kept corpus, through every target, without a fuzzer: what fuzzing found stays found.
//!
//! An input that was a finding once is kept as `fuzz/corpus/<target>/finding-*`.

use stampo_fuzz_targets::{TARGETS, Target, prepare, raw_of_qcow2};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Longest time for one input, without optimisation and beside other tests.
const PATIENCE: Duration = Duration::from_secs(20);

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("listed").path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).expect("a file of the corpus");
        (path, bytes)
    };
    paths.into_iter().map(read).collect()
}

/// What went wrong with one input.
fn finding(target: &Target, bytes: &[u8]) -> Option<String> {
    let bytes = &bytes[..bytes.len().min(target.most_bytes)];
    let start = Instant::now();
    let run = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
    if let Err(panic) = run {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        return Some(text.unwrap_or_else(|| "a panic".to_owned()));
    }
    let took = start.elapsed();
    (took > PATIENCE).then(|| format!("it took {took:?}"))
}

#[test]
fn nothing_in_the_corpus_is_a_finding() {
    let mut findings = Vec::new();
    for target in TARGETS {
        prepare(target.name);
        let inputs = corpus(target.name);
        assert!(inputs.len() >= 2, "{} has no corpus", target.name);
        for (path, bytes) in inputs {
            if let Some(why) = finding(target, &bytes) {
                findings.push(format!("{}: {why}", path.display()));
            }
        }
    }
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn qemu_reads_the_same_from_every_image_that_is_taken() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (image, raw) = (dir.path().join("image"), dir.path().join("raw"));
    let mut compared = 0;
    for (path, bytes) in corpus("image_qcow2") {
        let Some(ours) = raw_of_qcow2(&bytes) else {
            continue;
        };
        std::fs::write(&image, &bytes).expect("space");
        let output = Command::new("qemu-img")
            .args(["convert", "-f", "qcow2", "-O", "raw"])
            .args([&image, &raw])
            .output()
            .expect("qemu-img is needed (package qemu-utils)");
        // qemu may refuse what we take, as when a cluster lies behind the end of the file.
        if !output.status.success() {
            continue;
        }
        let theirs = std::fs::read(&raw).expect("qemu's disk");
        assert!(
            ours == theirs,
            "{} differs from qemu's disk",
            path.display()
        );
        compared += 1;
    }
    assert!(compared >= 5, "only {compared} images were compared");
}

#[test]
fn every_target_is_a_fuzzer_and_has_a_name_of_its_own() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("the fuzzers' manifest");
    for target in TARGETS {
        let row = format!("name = \"{}\"", target.name);
        assert_eq!(
            manifest.matches(&row).count(),
            1,
            "{row} in fuzz/Cargo.toml"
        );
        let path = fuzz.join(format!("fuzz_targets/{}.rs", target.name));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            text.contains(&format!("\"{}\"", target.name)),
            "{}",
            path.display()
        );
    }
}
