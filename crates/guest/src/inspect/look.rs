//! Reading small things of a guest, with limits, and keeping what could not be read.
//!
//! Every parser of this module takes text and gives values, so that it can be tested and fuzzed
//! without a filesystem. This is the only place where those parsers' text comes from. Absence is
//! an ordinary answer; anything else that stops a read is kept as an "unknown".

use super::walk::explain;
use crate::fs::{FileKind, FsError, GuestRead};

/// Largest configuration file that is read, in bytes.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// Largest package database that is read, in bytes.
pub const MAX_DATABASE_BYTES: u64 = 64 << 20;
/// Most entries of one directory that are looked at.
pub const MAX_NAMES: usize = 20_000;
/// Longest value that is kept, in bytes; more is cut and marked with an ellipsis.
pub const MAX_VALUE_BYTES: usize = 1024;
/// Most unknowns that are told one by one.
const MAX_UNKNOWNS: usize = 200;

/// A guest being looked at.
pub struct Look<'a> {
    fs: &'a dyn GuestRead,
    unknowns: Vec<String>,
}

impl<'a> Look<'a> {
    /// Starts to look at `fs`.
    pub fn new(fs: &'a dyn GuestRead) -> Self {
        Look {
            fs,
            unknowns: Vec::new(),
        }
    }

    /// The filesystem itself.
    pub fn fs(&self) -> &'a dyn GuestRead {
        self.fs
    }

    /// The text of a configuration file; `None` when there is none or it can't be read.
    pub fn text(&mut self, path: &str) -> Option<String> {
        self.text_up_to(path, MAX_CONFIG_BYTES)
    }

    /// The text of a file of at most `limit_bytes`. Bytes that are not UTF-8 are replaced.
    pub fn text_up_to(&mut self, path: &str, limit_bytes: u64) -> Option<String> {
        let bytes = self.bytes(path, limit_bytes)?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The content of a file; `None` when there is none or it can't be read.
    pub fn bytes(&mut self, path: &str, limit_bytes: u64) -> Option<Vec<u8>> {
        let read = self.fs.read(path, limit_bytes);
        self.known(path, read)
    }

    /// The names in a directory with what they are, in order; empty when there is no directory.
    pub fn names(&mut self, path: &str) -> Vec<(String, FileKind)> {
        let read = self.fs.read_dir(path);
        let mut entries = self.known(path, read).unwrap_or_default();
        if entries.len() > MAX_NAMES {
            self.unknown(format!(
                "{path}: only the first {MAX_NAMES} entries were read"
            ));
            entries.truncate(MAX_NAMES);
        }
        let text =
            |entry: crate::fs::Entry| Some((String::from_utf8(entry.name).ok()?, entry.kind));
        entries.into_iter().filter_map(text).collect()
    }

    /// Paths of the entries of a directory whose name ends in `suffix`, directories left out.
    pub fn files_with_suffix(&mut self, directory: &str, suffix: &str) -> Vec<String> {
        self.names(directory)
            .into_iter()
            .filter(|(name, kind)| name.ends_with(suffix) && *kind != FileKind::Directory)
            .map(|(name, _)| format!("{directory}/{name}"))
            .collect()
    }

    /// Where a link points to; `None` when it is no link.
    pub fn link(&mut self, path: &str) -> Option<String> {
        if self.kind(path)? != FileKind::Symlink {
            return None;
        }
        let read = self.fs.read_link(path);
        let target = self.known(path, read)?;
        Some(String::from_utf8_lossy(&target).into_owned())
    }

    /// What is at `path`, links not followed.
    pub fn kind(&mut self, path: &str) -> Option<FileKind> {
        let read = self.fs.metadata(path);
        self.known(path, read).map(|metadata| metadata.kind)
    }

    /// Whether something is at `path`, links not followed.
    pub fn exists(&mut self, path: &str) -> bool {
        self.kind(path).is_some()
    }

    /// The first of `paths` that exists.
    pub fn first_of<'p>(&mut self, paths: &[&'p str]) -> Option<&'p str> {
        paths.iter().copied().find(|path| self.exists(path))
    }

    /// Keeps that something could not be found out.
    pub fn unknown(&mut self, what: String) {
        if self.unknowns.len() < MAX_UNKNOWNS {
            self.unknowns.push(clip(&what));
        } else if self.unknowns.len() == MAX_UNKNOWNS {
            self.unknowns.push("more could not be read".into());
        }
    }

    /// Everything that could not be found out.
    pub fn into_unknowns(self) -> Vec<String> {
        self.unknowns
    }

    fn known<T>(&mut self, path: &str, read: Result<T, FsError>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(FsError::NotFound { .. }) => None,
            Err(error) => {
                self.unknown(format!("{path}: {}", explain(&error)));
                None
            }
        }
    }
}

/// `text` without surrounding space, control characters, and anything above [`MAX_VALUE_BYTES`].
pub fn clip(text: &str) -> String {
    let text = text.trim();
    let mut end = text.len().min(MAX_VALUE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut kept: String = text[..end].chars().filter(|c| !c.is_control()).collect();
    if end < text.len() {
        kept.push('…');
    }
    kept
}

/// The lines of a configuration file that are neither empty nor a `#` comment, trimmed.
pub fn config_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}
