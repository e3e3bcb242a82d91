//! What the intake tests share: one call that takes bytes in, and the builder of images.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "every test program uses another part"
)]

pub mod evil;
pub mod image;

use stampo_image::intake::{DeclaredFormat, IntakeError, IntakeRequest, Limits, Taken, take_in};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The smallest program that can be an intake child.
pub const CHILD: &str = env!("CARGO_BIN_EXE_stampo-intake-child");

/// Limits under which every hostile image must be refused: 256 MiB and 5 s.
pub const TIGHT: Limits = Limits {
    max_virtual_bytes: 64 << 30,
    max_file_bytes: 1 << 30,
    cpu_s: 5,
    memory_bytes: 256 << 20,
    wall_s: 5,
};

/// An unnamed file with these bytes.
pub fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).expect("space for a temporary file");
    file
}

/// Takes a file in with the tests' child; the destination comes back for a look.
pub fn take(
    source: File,
    declared: DeclaredFormat,
    limits: Limits,
) -> (Result<Taken, IntakeError>, File) {
    take_with(Path::new(CHILD), source, declared, limits, &|_, _| true)
}

/// The same with another program as the child and a say in the progress.
pub fn take_with(
    program: &Path,
    source: File,
    declared: DeclaredFormat,
    limits: Limits,
    progress: &dyn Fn(u64, u64) -> bool,
) -> (Result<Taken, IntakeError>, File) {
    let destination = tempfile::tempfile().expect("a temporary file");
    let request = IntakeRequest {
        source,
        declared,
        destination: destination.try_clone().expect("a copy of a descriptor"),
        limits,
        program: Some(PathBuf::from(program)),
        progress,
    };
    (take_in(&request), destination)
}

/// The kind of an expected refusal.
pub fn refused_kind(result: Result<Taken, IntakeError>) -> &'static str {
    result.map_or_else(|error| error.kind(), |_| "taken")
}
