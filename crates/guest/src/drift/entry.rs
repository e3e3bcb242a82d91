//! One entry: what it is, and what is different between two.

use crate::fs::{FileKind, GuestRead, Metadata};
use crate::inspect::look::clip;
use crate::inspect::walk::explain;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Largest file that is read, in bytes. Sizes are compared first, so what is read of a guest is as
/// large as in its version.
const MAX_READ_BYTES: u64 = 1 << 30;

/// What is different about an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Difference {
    Kind(&'static str, &'static str),
    Content,
    Target(String, String),
    Mode(u32, u32),
    Owner((u32, u32), (u32, u32)),
    /// Extended attributes; whether rights of a program are among them.
    Attributes {
        capability: bool,
    },
    /// A device, FIFO or socket that is another one: which, is not looked at.
    Special,
    /// Its times say that nothing was written.
    Forged,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Kind(old, new) => write!(f, "was a {old}, is a {new}"),
            Difference::Content => f.write_str("content"),
            Difference::Target(old, new) => write!(f, "points to {new}, not to {old}"),
            Difference::Mode(old, new) => write!(f, "mode {old:04o} → {new:04o}"),
            Difference::Owner(old, new) => {
                write!(f, "owner {}:{} → {}:{}", old.0, old.1, new.0, new.1)
            }
            Difference::Attributes { capability: true } => f.write_str("rights of a program"),
            Difference::Attributes { capability: false } => f.write_str("extended attributes"),
            Difference::Special => f.write_str("another special file"),
            Difference::Forged => f.write_str("its times say that it was not written"),
        }
    }
}

fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "link",
        FileKind::Special => "special file",
    }
}

/// The attribute in which Linux keeps what a program may do beyond its user's rights.
const CAPABILITY: &str = "security.capability";

/// What a new entry brings that matters besides its path.
pub(super) fn of_new(
    fs: &dyn GuestRead,
    path: &str,
    metadata: &Metadata,
) -> Result<Vec<Difference>, String> {
    if metadata.kind != FileKind::File {
        return Ok(Vec::new());
    }
    let attributes = fs.xattrs(path).map_err(|error| explain(&error))?;
    let capability = attributes.contains_key(CAPABILITY);
    Ok(Vec::from_iter(
        capability.then_some(Difference::Attributes { capability }),
    ))
}

/// What is different between an entry of a version and the guest's. Nothing where only times are.
pub(super) fn differences(
    version: &dyn GuestRead,
    guest: &dyn GuestRead,
    path: &str,
    old: &Metadata,
    new: &Metadata,
) -> Result<Vec<Difference>, String> {
    if old.kind != new.kind {
        return Ok(vec![Difference::Kind(kind(old.kind), kind(new.kind))]);
    }
    let mut found = rights(old, new);
    let failed = |error: crate::fs::FsError| explain(&error);
    match new.kind {
        FileKind::File => {
            if !has_same_content(version, guest, path, old, new)? {
                found.push(Difference::Content);
            }
            let before = version.xattrs(path).map_err(failed)?;
            let after = guest.xattrs(path).map_err(failed)?;
            if before != after {
                let capability = before.get(CAPABILITY) != after.get(CAPABILITY);
                found.push(Difference::Attributes { capability });
            }
        }
        FileKind::Symlink => {
            let read = |fs: &dyn GuestRead| fs.read_link(path).map_err(failed);
            let (before, after) = (read(version)?, read(guest)?);
            if before != after {
                let text = |bytes: &[u8]| clip(&String::from_utf8_lossy(bytes));
                found.push(Difference::Target(text(&before), text(&after)));
            }
        }
        FileKind::Special if old.inode != new.inode => found.push(Difference::Special),
        FileKind::Special | FileKind::Directory => {}
    }
    Ok(found)
}

fn rights(old: &Metadata, new: &Metadata) -> Vec<Difference> {
    let mut found = Vec::new();
    // Every link has all rights, and they mean nothing.
    if old.mode != new.mode && new.kind != FileKind::Symlink {
        found.push(Difference::Mode(old.mode, new.mode));
    }
    let owners = ((old.uid, old.gid), (new.uid, new.gid));
    if owners.0 != owners.1 {
        found.push(Difference::Owner(owners.0, owners.1));
    }
    found
}

fn has_same_content(
    version: &dyn GuestRead,
    guest: &dyn GuestRead,
    path: &str,
    old: &Metadata,
    new: &Metadata,
) -> Result<bool, String> {
    if old.size_bytes != new.size_bytes {
        return Ok(false);
    }
    if new.size_bytes > MAX_READ_BYTES {
        return Err("it is too large to be compared".to_owned());
    }
    let read = |fs: &dyn GuestRead| {
        fs.read(path, MAX_READ_BYTES)
            .map_err(|error| explain(&error))
    };
    Ok(read(version)? == read(guest)?)
}

/// What an entry is, to be kept and compared later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    kind: Kind,
    mode: u32,
    uid: u32,
    gid: u32,
    /// BLAKE3 of a file's content or of where a link points.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    /// BLAKE3 of what a program may do beyond its user's rights.
    #[serde(skip_serializing_if = "Option::is_none")]
    capability: Option<String>,
    /// BLAKE3 of a file's other extended attributes, where it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<String>,
}

/// [`FileKind`], as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    File,
    Directory,
    Link,
    Special,
}

impl Kind {
    const fn known(self) -> FileKind {
        match self {
            Kind::File => FileKind::File,
            Kind::Directory => FileKind::Directory,
            Kind::Link => FileKind::Symlink,
            Kind::Special => FileKind::Special,
        }
    }
}

impl State {
    /// Reads an entry whole.
    pub(super) fn read(
        fs: &dyn GuestRead,
        path: &str,
        metadata: &Metadata,
    ) -> Result<State, String> {
        let failed = |error: crate::fs::FsError| explain(&error);
        let (kind, content) = match metadata.kind {
            FileKind::File => (
                Kind::File,
                Some(fs.read(path, MAX_READ_BYTES).map_err(failed)?),
            ),
            FileKind::Symlink => (Kind::Link, Some(fs.read_link(path).map_err(failed)?)),
            FileKind::Directory => (Kind::Directory, None),
            FileKind::Special => (Kind::Special, None),
        };
        let mut attributes = match metadata.kind {
            FileKind::File => fs.xattrs(path).map_err(failed)?,
            _ => Default::default(),
        };
        let capability = attributes.remove(CAPABILITY);
        Ok(State {
            kind,
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            content: content.map(|bytes| blake3::hash(&bytes).to_hex().to_string()),
            capability: capability.map(|value| blake3::hash(&value).to_hex().to_string()),
            attributes: (!attributes.is_empty()).then(|| {
                let mut hasher = blake3::Hasher::new();
                for (name, value) in &attributes {
                    for part in [name.as_bytes(), value] {
                        hasher.update(&(part.len() as u64).to_le_bytes());
                        hasher.update(part);
                    }
                }
                hasher.finalize().to_hex().to_string()
            }),
        })
    }

    /// What is different from this about the entry as it is now.
    pub(super) fn differences(&self, now: &State) -> Vec<Difference> {
        if self.kind != now.kind {
            return vec![Difference::Kind(
                kind(self.kind.known()),
                kind(now.kind.known()),
            )];
        }
        let mut found = Vec::new();
        if self.mode != now.mode && self.kind != Kind::Link {
            found.push(Difference::Mode(self.mode, now.mode));
        }
        let owners = ((self.uid, self.gid), (now.uid, now.gid));
        if owners.0 != owners.1 {
            found.push(Difference::Owner(owners.0, owners.1));
        }
        if self.content != now.content {
            found.push(Difference::Content);
        }
        let capability = self.capability != now.capability;
        if capability || self.attributes != now.attributes {
            found.push(Difference::Attributes { capability });
        }
        found
    }
}
