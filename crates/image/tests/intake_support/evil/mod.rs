//! Hostile and broken images: name, declaration, bytes, and the one reason to refuse each.
//!
//! The rows are grouped as the parser meets them. `CANARY` stands in every name that an image
//! carries; no process may ever open it.

mod features;
mod files;
mod maps;
mod truncated;

use super::image::Image;
use stampo_image::intake::DeclaredFormat;

/// A file that exists while the tests run, and that images name.
pub const CANARY: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/intake-canary/secret");

/// One hostile image.
pub struct Case {
    pub name: String,
    pub declared: DeclaredFormat,
    pub bytes: Vec<u8>,
    pub kind: &'static str,
}

/// All of them.
pub fn all() -> Vec<Case> {
    let groups = [
        files::cases(),
        features::cases(),
        maps::cases(),
        truncated::cases(),
    ];
    groups.into_iter().flatten().collect()
}

fn raw(name: impl Into<String>, kind: &'static str, bytes: Vec<u8>) -> Case {
    Case {
        name: name.into(),
        declared: DeclaredFormat::Raw,
        bytes,
        kind,
    }
}

fn qcow2(name: impl Into<String>, kind: &'static str, image: Image) -> Case {
    let name = name.into();
    Case {
        name,
        declared: DeclaredFormat::Qcow2,
        bytes: image.bytes,
        kind,
    }
}
