//! Making an overlay larger, by `qemu-img resize` with the format stated.
//!
//! The overlay's header is ours or QEMU's: a guest writes content, never the header, so
//! `qemu-img` may read it. Apart from `overlay.rs` because it starts a process.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why an overlay was not made larger.
#[derive(Debug, thiserror::Error)]
pub enum ResizeError {
    /// The program can't be started.
    #[error("run qemu-img (apt install qemu-utils)")]
    Run(#[source] io::Error),
    /// It refused; its own words.
    #[error("grow {}: {words}", path.display())]
    Refused {
        /// The overlay.
        path: PathBuf,
        /// What it said.
        words: String,
    },
}

/// Makes the virtual size of the qcow2 overlay at `path` `size_bytes`, which is not below its
/// present size. It can be repeated. Refused while a virtual machine has the overlay open.
pub fn grow_overlay(path: &Path, size_bytes: u64) -> Result<(), ResizeError> {
    let output = Command::new("qemu-img")
        .args(["resize", "-q", "-f", "qcow2"])
        .arg(path)
        .arg(size_bytes.to_string())
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(ResizeError::Run)?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words
        .lines()
        .next()
        .unwrap_or("it gave no reason")
        .to_owned();
    Err(ResizeError::Refused {
        path: path.to_owned(),
        words,
    })
}
