//! Which operating system this is: os-release(5) and the machine type of its programs.
//!
//! Kernels are in their own file. Nothing is guessed from package names.

use super::look::{Look, clip, config_lines};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Largest program whose header is read, in bytes.
const MAX_PROGRAM_BYTES: u64 = 32 << 20;
/// Programs that every Linux system has one of.
const PROGRAMS: &[&str] = &[
    "/bin/sh",
    "/usr/bin/env",
    "/bin/busybox",
    "/sbin/init",
    "/bin/bash",
];

/// The operating system of a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Os {
    /// `ID`, for example `debian`; `linux` when os-release does not say.
    pub id: String,
    /// `VERSION_ID`, for example `12`.
    pub version_id: Option<String>,
    /// `PRETTY_NAME`.
    pub pretty_name: Option<String>,
    /// `VERSION_CODENAME`, for example `bookworm`.
    pub codename: Option<String>,
    /// The processor's name as the kernel says it, for example `x86_64` or `aarch64`.
    pub arch: Option<String>,
}

/// Reads os-release and the header of a program. `None` when there is no os-release.
pub fn read(look: &mut Look<'_>) -> Option<Os> {
    let text = look
        .text("/etc/os-release")
        .or_else(|| look.text("/usr/lib/os-release"))?;
    let mut os = parse(&text);
    os.arch = arch(look);
    Some(os)
}

/// os-release(5): shell-like assignments.
pub fn parse(text: &str) -> Os {
    let values = assignments(text);
    let value = |key: &str| values.get(key).filter(|value| !value.is_empty()).cloned();
    Os {
        id: value("ID").unwrap_or_else(|| "linux".into()),
        version_id: value("VERSION_ID"),
        pretty_name: value("PRETTY_NAME"),
        codename: value("VERSION_CODENAME"),
        arch: None,
    }
}

/// `KEY=value` lines with optional quotes, as in os-release and `/etc/default/*`. The last
/// assignment of a key wins, as in a shell. Nothing is expanded.
pub fn assignments(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for line in config_lines(text).take(10_000) {
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !key.is_empty() && key.chars().all(is_name) {
            values.insert(key.to_owned(), clip(&unquote(value)));
        }
    }
    values
}

/// One shell word without its quotes; what follows an unquoted space or `#` is left out.
fn unquote(value: &str) -> String {
    let mut out = String::new();
    let mut quote = None;
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => out.extend(chars.next()),
            (None, c) if c.is_whitespace() => break,
            (_, c) => out.push(c),
        }
    }
    out
}

fn arch(look: &mut Look<'_>) -> Option<String> {
    let program = PROGRAMS.iter().find_map(|path| {
        let header = look.bytes(path, MAX_PROGRAM_BYTES)?;
        machine(&header)
    });
    program.map(str::to_owned)
}

/// The machine type of an ELF header (System V ABI, `e_machine` at offset 18).
pub fn machine(header: &[u8]) -> Option<&'static str> {
    let little = match header.get(..6)? {
        [0x7f, b'E', b'L', b'F', _, 1] => true,
        [0x7f, b'E', b'L', b'F', _, 2] => false,
        _ => return None,
    };
    let is_64 = header.get(4) == Some(&2);
    let raw: [u8; 2] = header.get(18..20)?.try_into().ok()?;
    let number = if little {
        u16::from_le_bytes(raw)
    } else {
        u16::from_be_bytes(raw)
    };
    match (number, is_64, little) {
        (62, _, _) => Some("x86_64"),
        (3, _, _) => Some("i686"),
        (183, _, _) => Some("aarch64"),
        (40, _, _) => Some("armv7l"),
        (243, true, _) => Some("riscv64"),
        (21, _, true) => Some("ppc64le"),
        (21, _, false) => Some("ppc64"),
        (22, _, _) => Some("s390x"),
        (258, _, _) => Some("loongarch64"),
        _ => None,
    }
}
