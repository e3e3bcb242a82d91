//! What is put into guests: small, static, and the same wherever it is built.

use stampo_agent_image::AGENT;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Promised in the documentation of the agent.
const MOST_BYTES: usize = 1_500_000;

/// A little-endian number of `bytes` bytes (System V ABI, ELF header).
fn number(at: usize, bytes: usize) -> usize {
    let slice = &AGENT[at..at + bytes];
    slice
        .iter()
        .rev()
        .fold(0, |all, byte| all << 8 | usize::from(*byte))
}

#[test]
fn it_is_small() {
    assert!(AGENT.len() <= MOST_BYTES, "{} bytes", AGENT.len());
}

#[test]
fn it_is_static() {
    assert_eq!(&AGENT[..6], b"\x7fELF\x02\x01", "64 bits, little-endian");
    assert_eq!(number(18, 2), 62, "x86-64");
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let kinds: Vec<usize> = (0..count).map(|n| number(table + n * size, 4)).collect();
    // 1: PT_LOAD; 2: PT_DYNAMIC; 3: PT_INTERP, the loader that a dynamic program asks for.
    assert!(kinds.contains(&1), "{kinds:?}");
    assert!(!kinds.contains(&2) && !kinds.contains(&3), "{kinds:?}");
}

#[test]
fn it_names_no_path_of_the_machine_that_built_it() {
    let text = String::from_utf8_lossy(AGENT);
    for path in [env!("CARGO_MANIFEST_DIR"), "/.cargo/", "/home/", "/root/"] {
        assert!(!text.contains(path), "{path}");
    }
    assert!(text.contains("dev.stampo.agent.0"), "it is the agent");
}

#[test]
fn it_runs() {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = dir.join("stampo-agent");
    std::fs::write(&path, AGENT).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let ran = Command::new(&path)
        .arg("--help")
        .env_clear()
        .output()
        .expect("starts");
    assert_eq!(ran.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("usage: stampo-agent"));
}
