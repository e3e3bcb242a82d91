//! Where the bytes of identity items come from: a disk, or what a guest agent fetched.

use crate::fs::{FsError, GuestRead};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The largest file that is read for an item. Identity is small; state files that are larger are
/// reported as unknown and not as unique.
pub const LIMIT_BYTES: u64 = 4 << 20;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    Absent,
    /// A file, links followed.
    Bytes(Vec<u8>),
    /// Something that could not be read; the text says why.
    Unreadable(String),
}

/// Something that identity items can be read from.
pub trait FactSource {
    /// What is at an absolute path of the guest.
    fn content(&self, path: &str) -> Content;

    /// Whether anything is at `path`, also a directory or an unreadable file.
    fn exists(&self, path: &str) -> bool;

    /// The names in a directory, in order; empty without one. The text says why it can't be read.
    fn list(&self, directory: &str) -> Result<Vec<String>, String>;

    /// The UUID of the root filesystem; `None` where the source can't know.
    fn filesystem_uuid(&self) -> Option<Result<Uuid, String>>;
}

/// A guest's disk.
pub struct DiskSource<'a>(pub &'a dyn GuestRead);

impl FactSource for DiskSource<'_> {
    fn content(&self, path: &str) -> Content {
        match self.0.read(path, LIMIT_BYTES) {
            Ok(bytes) => Content::Bytes(bytes),
            Err(FsError::NotFound { .. }) => Content::Absent,
            Err(error) => Content::Unreadable(error.to_string()),
        }
    }

    fn exists(&self, path: &str) -> bool {
        !matches!(self.0.metadata(path), Err(FsError::NotFound { .. }))
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, String> {
        match self.0.read_dir(directory) {
            Ok(entries) => {
                let names = entries
                    .into_iter()
                    .map(|entry| String::from_utf8(entry.name));
                Ok(names.filter_map(Result::ok).collect())
            }
            Err(FsError::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn filesystem_uuid(&self) -> Option<Result<Uuid, String>> {
        Some(self.0.uuid().map_err(|error| error.to_string()))
    }
}

/// Files of a running guest by path, as its agent gave them.
#[derive(Debug, Clone, Default)]
pub struct AgentFiles {
    /// What is at each path that was asked for or matched a pattern. A path that is missing here
    /// was not fetched, and its item is unknown.
    pub files: BTreeMap<String, Content>,
    /// The UUID of the root filesystem, if the agent was asked for it.
    pub filesystem_uuid: Option<Uuid>,
}

impl FactSource for AgentFiles {
    fn content(&self, path: &str) -> Content {
        let missing = || Content::Unreadable("the agent was not asked for it".to_owned());
        self.files.get(path).cloned().unwrap_or_else(missing)
    }

    fn exists(&self, path: &str) -> bool {
        self.files
            .get(path)
            .is_some_and(|content| *content != Content::Absent)
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, String> {
        let present = self
            .files
            .iter()
            .filter(|(_, content)| **content != Content::Absent);
        let name = |path: &String| {
            let rest = path.strip_prefix(directory)?.strip_prefix('/')?;
            (!rest.contains('/')).then(|| rest.to_owned())
        };
        Ok(present.filter_map(|(path, _)| name(path)).collect())
    }

    fn filesystem_uuid(&self) -> Option<Result<Uuid, String>> {
        self.filesystem_uuid.map(Ok)
    }
}
