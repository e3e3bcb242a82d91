//! What a guest's files were when it was handed over: its version's, but for what is listed here.
//!
//! The list is made by looking on while personalisation writes ([`Recorder`]), before the guest has
//! run for the first time: nothing that happens in a guest can get into it. It costs no walk over the
//! disk. Later a person can accept what a guest has become; then that is added to the list.

use super::Finding;
use super::entry::State;
use crate::fs::{Entry, FileKind, FsError, GuestFs, GuestRead, Listed, MAX_LINKS, Metadata, Owner};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Entries that are not as in the version, on purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// What an entry is to be; nothing for one that is to be gone, with all that was below it.
    entries: BTreeMap<String, Option<State>>,
}

impl Baseline {
    /// Whether it lists none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What an entry is to be, where that is not what it is in the version.
    pub(super) fn get(&self, path: &str) -> Option<&Option<State>> {
        if self.entries.is_empty() {
            return None;
        }
        if let Some(found) = self.entries.get(path) {
            return Some(found);
        }
        let mut above = path;
        while let Some((parent, _)) = above.rsplit_once('/') {
            if let Some(found @ None) = self.entries.get(parent) {
                return Some(found);
            }
            above = parent;
        }
        None
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Option<State>)> {
        self.entries.iter()
    }

    /// Takes what a comparison found for what is to be, as it is in the guest now.
    ///
    /// # Errors
    /// Why an entry can't be read.
    pub fn accept(
        &mut self,
        guest: &dyn GuestRead,
        findings: &[Finding],
    ) -> Result<(), (String, String)> {
        for finding in findings {
            let path = finding.path.as_str();
            let state = state_of(guest, path).map_err(|why| (path.to_owned(), why))?;
            self.entries.insert(path.to_owned(), state);
        }
        Ok(())
    }
}

/// What is at a path now; nothing where nothing is.
fn state_of(fs: &dyn GuestRead, path: &str) -> Result<Option<State>, String> {
    match fs.metadata(path) {
        Ok(metadata) => State::read(fs, path, &metadata).map(Some),
        Err(FsError::NotFound { .. }) => Ok(None),
        Err(error) => Err(crate::inspect::walk::explain(&error)),
    }
}

/// A filesystem that is edited, with a list of what was.
pub struct Recorder {
    fs: Box<dyn GuestFs>,
    touched: BTreeSet<String>,
}

impl Recorder {
    /// Nothing has been edited yet.
    pub fn new(fs: Box<dyn GuestFs>) -> Self {
        Recorder {
            fs,
            touched: BTreeSet::new(),
        }
    }

    /// Everything that was edited until now, as it is now.
    ///
    /// # Errors
    /// When an entry that was just written can't be read.
    pub fn baseline(&self) -> Result<Baseline, FsError> {
        let mut baseline = Baseline::default();
        for path in &self.touched {
            let path = true_path(self.fs.as_ref(), path)?;
            // Directories on the way may be new.
            for at in path.match_indices('/').map(|(at, _)| at).skip(1) {
                self.add(&mut baseline, &path[..at])?;
            }
            self.add(&mut baseline, &path)?;
        }
        Ok(baseline)
    }

    fn add(&self, baseline: &mut Baseline, path: &str) -> Result<(), FsError> {
        if baseline.entries.contains_key(path) {
            return Ok(());
        }
        let state = state_of(self.fs.as_ref(), path).map_err(|why| FsError::Damaged {
            path: path.to_owned(),
            why,
        })?;
        baseline.entries.insert(path.to_owned(), state);
        Ok(())
    }

    fn touch(&mut self, path: &str) {
        self.touched.insert(path.to_owned());
    }
}

/// The path without links on the way, as a walk over the tree sees it.
fn true_path(fs: &dyn GuestRead, path: &str) -> Result<String, FsError> {
    let mut left: Vec<String> = parts(path);
    let mut done: Vec<String> = Vec::new();
    let mut links = 0;
    while let Some(part) = left.pop() {
        match part.as_str() {
            "." => continue,
            ".." => {
                done.pop();
                continue;
            }
            _ => done.push(part),
        }
        let here = format!("/{}", done.join("/"));
        let is_link = match fs.metadata(&here) {
            Ok(metadata) => metadata.kind == FileKind::Symlink,
            Err(FsError::NotFound { .. }) => false,
            Err(error) => return Err(error),
        };
        if is_link && !left.is_empty() && links < MAX_LINKS {
            links += 1;
            let target = String::from_utf8_lossy(&fs.read_link(&here)?).into_owned();
            match target.starts_with('/') {
                true => done.clear(),
                false => drop(done.pop()),
            }
            left.extend(parts(&target));
        }
    }
    Ok(format!("/{}", done.join("/")))
}

/// The names of a path, the last one first.
fn parts(path: &str) -> Vec<String> {
    let names = path.rsplit('/').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

impl GuestRead for Recorder {
    fn metadata(&self, path: &str) -> Result<Metadata, FsError> {
        self.fs.metadata(path)
    }

    fn read(&self, path: &str, limit_bytes: u64) -> Result<Vec<u8>, FsError> {
        self.fs.read(path, limit_bytes)
    }

    fn read_dir(&self, path: &str) -> Result<Vec<Entry>, FsError> {
        self.fs.read_dir(path)
    }

    fn read_dir_with_metadata(&self, path: &str) -> Result<Vec<Listed>, FsError> {
        self.fs.read_dir_with_metadata(path)
    }

    fn read_link(&self, path: &str) -> Result<Vec<u8>, FsError> {
        self.fs.read_link(path)
    }

    fn uuid(&self) -> Result<uuid::Uuid, FsError> {
        self.fs.uuid()
    }

    fn xattrs(&self, path: &str) -> Result<BTreeMap<String, Vec<u8>>, FsError> {
        self.fs.xattrs(path)
    }

    fn places(&self, path: &str) -> Result<Option<Vec<Range<u64>>>, FsError> {
        self.fs.places(path)
    }
}

impl GuestFs for Recorder {
    fn write(&mut self, path: &str, content: &[u8], owner: Owner) -> Result<(), FsError> {
        self.touch(path);
        self.fs.write(path, content, owner)
    }

    fn create_dir_all(&mut self, path: &str, owner: Owner) -> Result<(), FsError> {
        self.touch(path);
        self.fs.create_dir_all(path, owner)
    }

    fn symlink(&mut self, path: &str, target: &str) -> Result<(), FsError> {
        self.touch(path);
        self.fs.symlink(path, target)
    }

    fn remove(&mut self, path: &str) -> Result<bool, FsError> {
        self.touch(path);
        self.fs.remove(path)
    }

    fn remove_all(&mut self, path: &str) -> Result<bool, FsError> {
        self.touch(path);
        self.fs.remove_all(path)
    }

    fn set_owner(&mut self, path: &str, owner: Owner) -> Result<(), FsError> {
        self.touch(path);
        self.fs.set_owner(path, owner)
    }

    fn set_uuid(&mut self, uuid: uuid::Uuid) -> Result<bool, FsError> {
        self.fs.set_uuid(uuid)
    }

    fn finish(self: Box<Self>) -> Result<(), FsError> {
        self.fs.finish()
    }
}
