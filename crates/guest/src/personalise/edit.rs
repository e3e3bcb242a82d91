//! The one way by which personalisation writes: a guest's filesystem with a list of what changed.
//!
//! Every edit replaces the name it edits and never writes through a link that the guest left
//! there; parents are made when they are missing. It decides nothing about content.

use super::error::PersonaliseError;
use crate::fs::{FileKind, FsError, GuestFs, GuestRead, Metadata, Owner};

/// The most that a file which we edit may hold. The largest on real systems are a few hundred KiB.
pub(super) const TEXT_LIMIT_BYTES: u64 = 4 << 20;

/// A guest that is being edited.
pub(super) struct Editor<'a> {
    fs: &'a mut dyn GuestFs,
    written: Vec<String>,
    notes: Vec<String>,
}

impl<'a> Editor<'a> {
    pub(super) fn new(fs: &'a mut dyn GuestFs) -> Self {
        Editor {
            fs,
            written: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Paths that were written or removed, and remarks for the user.
    pub(super) fn into_parts(self) -> (Vec<String>, Vec<String>) {
        (self.written, self.notes)
    }

    /// Something that the user should know and that is not an error.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    pub(super) fn reader(&self) -> &dyn GuestRead {
        &*self.fs
    }

    pub(super) fn exists(&self, path: &str) -> Result<bool, FsError> {
        exists(&*self.fs, path)
    }

    pub(super) fn metadata(&self, path: &str) -> Result<Option<Metadata>, FsError> {
        optional(self.fs.metadata(path))
    }

    pub(super) fn bytes(&self, path: &str) -> Result<Option<Vec<u8>>, FsError> {
        read_bytes(&*self.fs, path)
    }

    pub(super) fn text(&self, path: &str) -> Result<Option<String>, PersonaliseError> {
        read_text(&*self.fs, path)
    }

    /// Writes a file; missing parents become root:root 0755.
    pub(super) fn put(
        &mut self,
        path: &str,
        content: impl AsRef<[u8]>,
        owner: Owner,
    ) -> Result<(), FsError> {
        if let Some((parent, _)) = path.rsplit_once('/')
            && !parent.is_empty()
        {
            self.fs.create_dir_all(parent, Owner::root(0o755))?;
        }
        self.fs.write(path, content.as_ref(), owner)?;
        self.written.push(path.to_owned());
        Ok(())
    }

    /// Writes a file that keeps owner and mode where a regular file was, and else gets `owner`.
    pub(super) fn put_keeping(
        &mut self,
        path: &str,
        content: impl AsRef<[u8]>,
        owner: Owner,
    ) -> Result<(), FsError> {
        let kept = match self.metadata(path)? {
            Some(found) if found.kind == FileKind::File => Owner {
                uid: found.uid,
                gid: found.gid,
                mode: found.mode,
            },
            _ => owner,
        };
        self.put(path, content, kept)
    }

    pub(super) fn dir(&mut self, path: &str, owner: Owner) -> Result<(), FsError> {
        self.fs.create_dir_all(path, owner)
    }

    pub(super) fn set_owner(&mut self, path: &str, owner: Owner) -> Result<(), FsError> {
        self.fs.set_owner(path, owner)
    }

    pub(super) fn set_uuid(&mut self, uuid: uuid::Uuid) -> Result<bool, FsError> {
        self.fs.set_uuid(uuid)
    }

    pub(super) fn link(&mut self, path: &str, target: &str) -> Result<(), FsError> {
        if let Some((parent, _)) = path.rsplit_once('/')
            && !parent.is_empty()
        {
            self.fs.create_dir_all(parent, Owner::root(0o755))?;
        }
        self.fs.symlink(path, target)?;
        self.written.push(path.to_owned());
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &str) -> Result<(), FsError> {
        if self.fs.remove(path)? {
            self.written.push(path.to_owned());
        }
        Ok(())
    }

    pub(super) fn remove_all(&mut self, path: &str) -> Result<(), FsError> {
        if self.fs.remove_all(path)? {
            self.written.push(path.to_owned());
        }
        Ok(())
    }

    /// Files of `directory` whose names are text and satisfy `wanted`. Empty without a directory.
    pub(super) fn names(
        &self,
        directory: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, FsError> {
        names(&*self.fs, directory, wanted)
    }

    /// Enables a unit of ours, as `systemctl enable` would do: a file and a link to it.
    pub(super) fn enable_unit(
        &mut self,
        name: &str,
        wanted_by: &str,
        content: &str,
    ) -> Result<(), FsError> {
        let path = format!("/etc/systemd/system/{name}");
        self.put(&path, content, Owner::root(0o644))?;
        self.link(
            &format!("/etc/systemd/system/{wanted_by}.wants/{name}"),
            &path,
        )
    }
}

/// `None` where nothing is.
pub(super) fn optional<T>(result: Result<T, FsError>) -> Result<Option<T>, FsError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(FsError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether there is an entry, links of the last component not followed.
pub(super) fn exists(fs: &dyn GuestRead, path: &str) -> Result<bool, FsError> {
    fs.exists(path)
}

/// Whether one of `paths` exists.
pub(super) fn any_exists(fs: &dyn GuestRead, paths: &[&str]) -> Result<bool, FsError> {
    for path in paths {
        if fs.exists(path)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A whole file, or `None` where nothing is or a link leads nowhere.
pub(super) fn read_bytes(fs: &dyn GuestRead, path: &str) -> Result<Option<Vec<u8>>, FsError> {
    optional(fs.read(path, TEXT_LIMIT_BYTES))
}

/// A whole file as text.
pub(super) fn read_text(
    fs: &dyn GuestRead,
    path: &str,
) -> Result<Option<String>, PersonaliseError> {
    let bytes = read_bytes(fs, path)?;
    let text = bytes.map(String::from_utf8).transpose();
    text.map_err(|_| PersonaliseError::NotText {
        path: path.to_owned(),
    })
}

/// Names in `directory` that are text and satisfy `wanted`. Empty without a directory.
pub(super) fn names(
    fs: &dyn GuestRead,
    directory: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<String>, FsError> {
    let entries = optional(fs.read_dir(directory))?.unwrap_or_default();
    let text = entries
        .into_iter()
        .filter_map(|entry| String::from_utf8(entry.name).ok());
    Ok(text.filter(|name| wanted(name)).collect())
}
