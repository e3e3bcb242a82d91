//! The rooms keep their walls: what a crate may use, and who may start a process or mount.

use stampo_testbed::project;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Which crates of ours a crate may depend on.
const ARROWS: [(&str, &[&str]); 18] = [
    ("core", &[]),
    ("agent-protocol", &[]),
    ("host-name", &[]),
    ("agent", &["agent-protocol", "host-name"]),
    ("agent-image", &[]),
    ("image", &["core"]),
    ("guest", &["core", "image", "agent-image", "host-name"]),
    ("inventory", &["guest"]),
    ("policy", &["core", "image", "guest", "inventory"]),
    ("attest", &["core"]),
    ("build", &["core"]),
    ("driver", &["core", "agent-protocol"]),
    ("driver-qemu", &["core", "driver", "agent-protocol"]),
    ("store", &["core"]),
    ("api", &["core"]),
    (
        "engine",
        &[
            "core",
            "agent-protocol",
            "image",
            "guest",
            "inventory",
            "policy",
            "attest",
            "build",
            "driver",
            "store",
        ],
    ),
    (
        "server",
        &[
            "core",
            "api",
            "engine",
            "attest",
            "store",
            "driver",
            "driver-qemu",
            "image",
            "guest",
            "policy",
        ],
    ),
    ("cli", &["core", "api", "server"]),
];

/// Who starts programs of the host.
const STARTERS: [&str; 11] = [
    // In the guest, not on the host.
    "crates/agent/src/connect.rs",
    "crates/agent/src/exec/",
    "crates/agent/src/hooks.rs",
    "crates/build/src/",
    "crates/cli/src/commands/login.rs",
    // ssh-keygen, which signs.
    "crates/cli/src/commands/sign.rs",
    "crates/driver-qemu/src/",
    "crates/guest/src/fs/check.rs",
    "crates/image/src/intake/watch.rs",
    "crates/image/src/resize.rs",
    // This program again, as what tends pools and leases.
    "crates/server/src/tender.rs",
];

/// What runs in the guest and mounts there: the agent's boot id.
const MOUNTS_IN_THE_GUEST: &str = "crates/agent/src/boot_id.rs";

/// Where `unsafe` is, each with its justification beside it.
const UNSAFE: [&str; 5] = [
    "crates/agent/src/exec/rights.rs",
    "crates/agent/src/priority.rs",
    "crates/agent/src/random.rs",
    "crates/driver-qemu/src/probe/payload.rs",
    "crates/image/src/descriptors.rs",
];

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir)
        .expect("a directory of sources")
        .flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push(path);
        }
    }
}

/// Every source file of a crate, relative to the project, with its text.
fn texts(name: &str) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    sources(&project().join("crates").join(name).join("src"), &mut paths);
    let relative = |path: &PathBuf| {
        path.strip_prefix(project())
            .expect("inside")
            .display()
            .to_string()
    };
    paths
        .iter()
        .map(|path| {
            (
                relative(path),
                std::fs::read_to_string(path).expect("readable"),
            )
        })
        .collect()
}

#[test]
fn dependencies_point_down_only() {
    for (name, allowed) in ARROWS {
        let manifest = project().join("crates").join(name).join("Cargo.toml");
        let text = std::fs::read_to_string(manifest).expect("a manifest");
        let normal = text
            .split("[dev-dependencies]")
            .next()
            .expect("a first part");
        let ours = normal
            .lines()
            .filter_map(|line| line.strip_prefix("stampo-"));
        let used: BTreeSet<&str> = ours
            .filter_map(|rest| rest.split(['.', ' ']).next())
            .collect();
        let wrong: Vec<_> = used
            .iter()
            .filter(|crate_name| !allowed.contains(crate_name))
            .collect();
        assert!(wrong.is_empty(), "{name} must not depend on {wrong:?}");
    }
}

#[test]
fn core_has_no_io_no_clock_and_no_threads() {
    let forbidden = [
        "std::fs",
        "std::io",
        "std::process",
        "std::thread",
        "std::env",
        "SystemTime",
        "std::time",
        "TcpStream",
        "UdpSocket",
        "async fn",
        ".await",
        "rand::",
    ];
    for (path, text) in texts("core") {
        for word in forbidden {
            assert!(!text.contains(word), "{path} uses {word}");
        }
    }
}

#[test]
fn only_some_rooms_start_programs_and_none_mounts() {
    for (name, _) in ARROWS {
        for (path, text) in texts(name) {
            let product = text.split("#[cfg(test)]").next().expect("a first part");
            let is_test = path.contains("/tests") || path.ends_with("_tests.rs");
            let starts = product.contains("Command::new(") && !is_test;
            let may = STARTERS.iter().any(|start| path.starts_with(start));
            assert!(!starts || may, "{path} starts a program");
            for word in [
                "mount::",
                "fn mount(",
                "\"mount\"",
                "\"losetup\"",
                "\"qemu-nbd\"",
                "\"guestmount\"",
            ] {
                let may = path == MOUNTS_IN_THE_GUEST;
                assert!(may || !text.contains(word), "{path} has {word}");
            }
        }
    }
}

#[test]
fn unsafe_code_is_in_named_files_only() {
    for (name, _) in ARROWS {
        for (path, text) in texts(name) {
            let uses = text.lines().any(|line| {
                line.trim_start().starts_with("unsafe {") || line.contains("= unsafe {")
            });
            assert!(
                !uses || UNSAFE.contains(&path.as_str()),
                "{path} has unsafe code"
            );
        }
    }
}

/// Their program has a main of its own, which knows its cases from a list: a case with the usual
/// attribute would be compiled away.
#[test]
fn no_case_of_real_guests_is_compiled_away() {
    let mut paths = Vec::new();
    sources(&project().join("testbed/tests/real"), &mut paths);
    assert!(paths.len() >= 10, "only {}", paths.len());
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("readable");
        let lost = text.contains("#[test]");
        assert!(!lost, "{}: list it in real.rs", path.display());
    }
}

/// They are one program, so a file that its root does not name would be no test.
#[test]
fn every_file_of_the_guest_rooms_tests_is_compiled() {
    let tests = project().join("crates/guest/tests");
    let root = std::fs::read_to_string(tests.join("all.rs")).expect("the root");
    let files = std::fs::read_dir(&tests).expect("a directory of tests");
    let names: Vec<String> = files
        .flatten()
        .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()))
        .filter(|name| name != "all")
        .collect();
    assert!(names.len() >= 28, "only {}", names.len());
    for name in names {
        let named = root.lines().any(|line| line == format!("mod {name};"));
        assert!(named, "{name} is missing in crates/guest/tests/all.rs");
    }
}
