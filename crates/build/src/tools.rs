//! The programs of the host that a build runs, where they are found and how to get them.
//!
//! `stampo doctor` shows this table. Nothing is run here.

use std::path::PathBuf;

/// A program of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub name: &'static str,
    /// The Debian package that holds it.
    pub package: &'static str,
    /// Whether only an ordinary user needs it.
    pub unprivileged_only: bool,
}

const fn tool(name: &'static str, package: &'static str) -> Tool {
    Tool {
        name,
        package,
        unprivileged_only: false,
    }
}

/// Every program that a build may run.
pub const TOOLS: [Tool; 7] = [
    tool("mmdebstrap", "mmdebstrap"),
    tool("apt-get", "apt"),
    tool("unshare", "util-linux"),
    tool("mke2fs", "e2fsprogs"),
    tool("debugfs", "e2fsprogs"),
    tool("e2fsck", "e2fsprogs"),
    Tool {
        name: "newuidmap",
        package: "uidmap",
        unprivileged_only: true,
    },
];

/// A program that is not installed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("find the program {name}: install it with 'sudo apt-get install {package}'")]
pub struct MissingTool {
    /// Its name.
    pub name: &'static str,
    /// The Debian package that holds it.
    pub package: &'static str,
}

/// Where a program of [`TOOLS`] is: in `PATH`, or in the directories for administrators, which
/// Debian leaves out of an ordinary user's `PATH`.
pub fn require(name: &'static str) -> Result<PathBuf, MissingTool> {
    let package = TOOLS
        .iter()
        .find(|tool| tool.name == name)
        .map_or(name, |tool| tool.package);
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|place| place.is_file())
        .ok_or(MissingTool { name, package })
}
