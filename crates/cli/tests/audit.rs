//! The audit through the program: what is refused is in it, it is checked, and given to others.

use std::path::Path;
use std::process::{Command, Output};

fn stampo(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stampo"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("STAMPO_HOME", dir.join("home"))
        .current_dir(dir)
        .args(args)
        .output()
        .expect("the program starts")
}

fn json(dir: &Path, args: &[&str]) -> serde_json::Value {
    let output = stampo(dir, args);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Every verb that changes or reaches something: what it is called in the audit, and how it is asked.
const REFUSED: [(&str, &[&str]); 32] = [
    ("build", &["template", "build", "web", "-f", "recipe.toml"]),
    (
        "import",
        &["template", "import", "web", "missing", "--format", "raw"],
    ),
    ("seal", &["template", "seal", "web"]),
    ("verify", &["template", "verify", "web"]),
    ("freeze", &["template", "freeze", "web"]),
    (
        "accept",
        &["template", "accept", "web", "x", "--reason", "y"],
    ),
    ("submit", &["template", "submit", "web"]),
    ("approve", &["template", "approve", "web"]),
    ("reject", &["template", "reject", "web", "--reason", "y"]),
    (
        "break-glass",
        &["template", "break-glass", "web", "--reason", "y"],
    ),
    ("publish", &["template", "publish", "web"]),
    ("deprecate", &["template", "deprecate", "web"]),
    ("obsolete", &["template", "obsolete", "web"]),
    (
        "reinstate",
        &["template", "reinstate", "web", "--reason", "y"],
    ),
    ("revoke", &["template", "revoke", "web", "--reason", "y"]),
    ("retire", &["template", "retire", "web"]),
    ("restore", &["template", "restore", "web"]),
    ("purge", &["template", "purge", "web"]),
    ("hold", &["template", "hold", "web", "--reason", "y"]),
    ("release", &["template", "release", "web"]),
    (
        "end-of-life",
        &["template", "end-of-life", "web", "--never"],
    ),
    ("clone", &["clone", "web", "a"]),
    ("start", &["start", "a"]),
    ("stop", &["stop", "a"]),
    ("rename", &["rename", "a", "b"]),
    ("resize", &["resize", "a", "--cpus", "2"]),
    ("exec", &["exec", "a", "--", "true"]),
    ("remove", &["rm", "a"]),
    ("restore", &["undelete", "a"]),
    ("approval set", &["approval", "set", "--preset", "team"]),
    ("retention set", &["retention", "set", "recipe.toml"]),
    ("policy check", &["policy", "check", "web"]),
];

#[test]
fn whatever_is_refused_is_recorded_with_its_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("recipe.toml"), "from = \"none\"\n").expect("written");
    for (action, args) in REFUSED {
        let output = stampo(dir.path(), args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{args:?}");
        let last = json(dir.path(), &["audit", "-n", "1", "-o", "json"]);
        let last = last
            .get(0)
            .unwrap_or_else(|| panic!("{args:?} is in no record: {said}"));
        assert_eq!(last["action"], action, "{args:?}: {said}");
        let outcome = last["outcome"].as_str().expect("an outcome");
        assert!(matches!(outcome, "refused" | "failed"), "{args:?}: {last}");
        assert!(
            !last["detail"].as_str().expect("a reason").is_empty(),
            "{args:?}"
        );
    }
    let refused = json(
        dir.path(),
        &["audit", "list", "--action", "clone", "-o", "json"],
    );
    assert_eq!(refused.as_array().expect("records").len(), 1);
}

#[test]
fn the_audit_is_checked_signed_and_exported() {
    let dir = tempfile::tempdir().expect("a directory");
    for at in ["a", "b", "c"] {
        stampo(dir.path(), &["start", at]);
    }
    let made = stampo(dir.path(), &["audit", "checkpoint"]);
    std::fs::write(dir.path().join("kept.json"), &made.stdout).expect("written");
    let kept = ["audit", "verify", "--checkpoint", "kept.json"];
    let good = stampo(dir.path(), &kept);
    let said = String::from_utf8_lossy(&good.stdout).into_owned();
    assert!(good.status.success(), "{said}");
    assert!(
        said.contains("3 records, all as they were written; 1 checkpoints"),
        "{said}"
    );

    let lines = |form: &str| {
        let output = stampo(dir.path(), &["audit", "export", "--format", form]);
        let text = String::from_utf8(output.stdout).expect("a text");
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        lines
    };
    let plain = lines("jsonl");
    let places: Vec<u64> = plain
        .iter()
        .filter_map(|one| one["sequence"].as_u64())
        .collect();
    assert_eq!(places, [1, 2, 3]);
    let ocsf = lines("ocsf");
    assert_eq!((ocsf.len(), &ocsf[0]["class_uid"]), (3, &6003.into()));
    assert_eq!(ocsf[0]["type_uid"], 600_399);
    assert_eq!(ocsf[0]["metadata"]["uid"], plain[0]["link"]);

    // Whoever removes the catalog removes its audit: the checkpoint that was kept tells.
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = std::fs::remove_file(dir.path().join("home").join(name));
    }
    stampo(dir.path(), &["start", "a"]);
    assert!(
        stampo(dir.path(), &["audit", "verify"]).status.success(),
        "it can't know"
    );
    let bad = stampo(dir.path(), &kept);
    assert_eq!(bad.status.code(), Some(4));
}
