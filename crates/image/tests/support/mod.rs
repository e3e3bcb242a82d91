//! Running the tools that judge our work, and disks to judge.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(
    clippy::allow_attributes,
    reason = "an expectation would be unmet in some binaries"
)]

use std::path::Path;
use std::process::{Command, Output};

/// Runs a tool from the usual places, `/sbin` included; fails the test when it is missing.
pub fn tool(name: &str, args: &[&str]) -> Output {
    let path = format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    );
    Command::new(name)
        .args(args)
        .env("PATH", path)
        .env("LC_ALL", "C")
        .output()
        .unwrap_or_else(|e| {
            panic!("this test needs the tool {name} (run ./test, which installs it): {e}")
        })
}

/// Runs a tool that must succeed; what it printed on stdout.
pub fn must(name: &str, args: &[&str]) -> String {
    let output = tool(name, args);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name} {args:?}: {}\n{stdout}\n{stderr}",
        output.status
    );
    stdout
}

/// Feeds a script to sfdisk.
pub fn sfdisk(disk: &Path, script: &str) {
    use std::io::Write;
    let path = format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    );
    let mut child = Command::new("sfdisk")
        .args(["--quiet", "--no-reread", "--no-tell-kernel"])
        .arg(disk)
        .env("PATH", path)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("this test needs the tool sfdisk (run ./test, which installs it)");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin
        .write_all(script.as_bytes())
        .expect("write the script");
    drop(stdin);
    assert!(
        child.wait().expect("wait").success(),
        "sfdisk refused the script"
    );
}

/// A path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
