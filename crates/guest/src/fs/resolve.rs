//! Finding a path inside an image: the one walk that every ext4 reader and writer of ours uses.
//!
//! It goes from directory to directory by inode number, so that no library ever resolves a path
//! for us. `..` stops at the root, an absolute link starts again at the root of the image, and a
//! parent that is a link is followed inside the image only. It reads names; it opens nothing.

use super::{FileKind, FsError, MAX_DEPTH, MAX_LINKS};

/// The inode of the root directory on every ext4 filesystem.
pub(crate) const ROOT_INODE: u32 = 2;
/// Longest name of one entry, in bytes (`EXT4_NAME_LEN`).
pub(crate) const MAX_NAME: usize = 255;

/// What the walk has to ask a filesystem for.
pub(crate) trait Nodes {
    /// The inode that `name` has in directory `directory`.
    fn lookup(&self, directory: u32, name: &[u8]) -> Result<Option<u32>, FsError>;
    /// What the inode is.
    fn kind(&self, inode: u32) -> Result<FileKind, FsError>;
    /// Where a symbolic link points to.
    fn link_target(&self, inode: u32) -> Result<Vec<u8>, FsError>;
}

/// Where a path ends. The directories above it all exist and are real directories.
#[derive(Debug)]
pub(crate) struct Place {
    /// The real directories from below the root down to the one that holds the entry.
    pub(crate) above: Vec<(u32, Vec<u8>)>,
    /// The entry's name; `None` when the path is the root or ends in `..`.
    pub(crate) name: Option<Vec<u8>>,
    /// Its inode, if there is such an entry.
    pub(crate) inode: Option<u32>,
}

impl Place {
    /// The directory that holds, or would hold, the entry.
    pub(crate) fn directory(&self) -> u32 {
        self.above.last().map_or(ROOT_INODE, |(inode, _)| *inode)
    }

    /// The path without any link in it, if all of it is text.
    pub(crate) fn real_path(&self) -> Option<String> {
        let mut path = String::new();
        for name in self
            .above
            .iter()
            .map(|(_, name)| name)
            .chain(self.name.as_ref())
        {
            path.push('/');
            path.push_str(std::str::from_utf8(name).ok()?);
        }
        Some(path)
    }
}

/// The names of a path, without empty ones and `.`.
fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
}

/// Refuses what can't be a path at all, so that a mistake of a caller is told apart from absence.
pub(crate) fn check_path(path: &str) -> Result<(), FsError> {
    let why = if !path.starts_with('/') {
        "it does not begin with a slash"
    } else if path.contains('\0') {
        "it contains a NUL byte"
    } else if path.split('/').any(|name| name.len() > MAX_NAME) {
        "a name in it is longer than 255 bytes"
    } else {
        return Ok(());
    };
    Err(unsuitable(path, why))
}

/// Walks to `path`. A link in the last component is followed only with `follow_last`.
///
/// # Errors
/// [`FsError::NotFound`] when a directory on the way is missing or is no directory;
/// [`FsError::Unsuitable`] for too many links or components.
pub(crate) fn resolve(nodes: &impl Nodes, path: &str, follow_last: bool) -> Result<Place, FsError> {
    check_path(path)?;
    // The names still to walk, last first, so that a link's target can be pushed in front.
    let mut rest: Vec<Vec<u8>> = components(path.as_bytes())
        .rev()
        .map(<[u8]>::to_vec)
        .collect();
    let mut above: Vec<(u32, Vec<u8>)> = Vec::new();
    let mut links = 0;
    while let Some(name) = rest.pop() {
        if rest.len() + above.len() >= MAX_DEPTH {
            return Err(unsuitable(path, "it has too many components"));
        }
        if name == b".." {
            above.pop();
            continue;
        }
        let directory = above.last().map_or(ROOT_INODE, |(inode, _)| *inode);
        let last = rest.is_empty();
        let Some(inode) = nodes.lookup(directory, &name)? else {
            return if last {
                Ok(Place {
                    above,
                    name: Some(name),
                    inode: None,
                })
            } else {
                Err(not_found(path))
            };
        };
        let kind = nodes.kind(inode)?;
        if kind == FileKind::Symlink && (follow_last || !last) {
            links += 1;
            if links > MAX_LINKS {
                return Err(unsuitable(path, "it goes through too many links"));
            }
            let target = nodes.link_target(inode)?;
            if target.first() == Some(&b'/') {
                above.clear();
            }
            rest.extend(components(&target).rev().map(<[u8]>::to_vec));
        } else if last {
            return Ok(Place {
                above,
                name: Some(name),
                inode: Some(inode),
            });
        } else if kind == FileKind::Directory {
            above.push((inode, name));
        } else {
            return Err(not_found(path));
        }
    }
    let inode = above.last().map_or(ROOT_INODE, |(inode, _)| *inode);
    above.pop();
    Ok(Place {
        above,
        name: None,
        inode: Some(inode),
    })
}

/// [`resolve`], where the entry has to exist.
pub(crate) fn find(nodes: &impl Nodes, path: &str, follow_last: bool) -> Result<u32, FsError> {
    resolve(nodes, path, follow_last)?
        .inode
        .ok_or_else(|| not_found(path))
}

pub(crate) fn not_found(path: &str) -> FsError {
    FsError::NotFound {
        path: path.to_owned(),
    }
}

pub(crate) fn unsuitable(path: &str, why: &'static str) -> FsError {
    FsError::Unsuitable {
        path: path.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Directory entries by (directory, name), and links by inode; everything above 100 is a file.
    #[derive(Default)]
    struct Toy {
        entries: BTreeMap<(u32, Vec<u8>), u32>,
        links: BTreeMap<u32, Vec<u8>>,
    }

    impl Toy {
        fn with(mut self, directory: u32, name: &str, inode: u32) -> Self {
            self.entries.insert((directory, name.into()), inode);
            self
        }
        fn link(mut self, directory: u32, name: &str, inode: u32, target: &str) -> Self {
            self.links.insert(inode, target.into());
            self.with(directory, name, inode)
        }
    }

    impl Nodes for Toy {
        fn lookup(&self, directory: u32, name: &[u8]) -> Result<Option<u32>, FsError> {
            Ok(self.entries.get(&(directory, name.to_vec())).copied())
        }
        fn kind(&self, inode: u32) -> Result<FileKind, FsError> {
            Ok(match inode {
                _ if self.links.contains_key(&inode) => FileKind::Symlink,
                101.. => FileKind::File,
                _ => FileKind::Directory,
            })
        }
        fn link_target(&self, inode: u32) -> Result<Vec<u8>, FsError> {
            Ok(self.links[&inode].clone())
        }
    }

    fn toy() -> Toy {
        Toy::default()
            .with(2, "etc", 3)
            .with(3, "passwd", 101)
            .link(3, "outside", 20, "../../../../etc/passwd")
            .link(3, "absolute", 21, "/etc/passwd")
            .link(2, "cfg", 22, "etc")
            .link(2, "loop", 23, "loop")
            .link(3, "up", 24, "..")
    }

    #[test]
    fn paths_stay_inside_the_image() {
        for path in [
            "/etc/passwd",
            "//etc/./passwd",
            "/../../etc/passwd",
            "/etc/../../../etc/passwd",
            "/etc/outside",
            "/etc/absolute",
            "/cfg/passwd",
            "/cfg/up/cfg/absolute",
        ] {
            assert_eq!(find(&toy(), path, true).expect(path), 101, "{path}");
        }
    }

    #[test]
    fn the_last_link_is_followed_only_on_request() {
        assert_eq!(find(&toy(), "/etc/outside", false).expect("the link"), 20);
        assert_eq!(find(&toy(), "/cfg/outside", false).expect("the link"), 20);
        assert_eq!(find(&toy(), "/etc/up", true).expect("the root"), ROOT_INODE);
    }

    #[test]
    fn refusals_are_told_apart() {
        let missing = ["/nothing/x", "/etc/passwd/x", "/etc/nothing"];
        for path in missing {
            assert!(
                matches!(find(&toy(), path, true), Err(FsError::NotFound { .. })),
                "{path}"
            );
        }
        let deep = "/etc/up".repeat(MAX_DEPTH);
        for path in [
            "etc",
            "",
            "/a\0b",
            &format!("/{}", "n".repeat(256)),
            "/loop/x",
            &deep,
        ] {
            let found = find(&toy(), path, true);
            assert!(
                matches!(found, Err(FsError::Unsuitable { .. })),
                "{path}: {found:?}"
            );
        }
    }

    #[test]
    fn the_real_path_has_no_links() {
        let place = resolve(&toy(), "/cfg/up/cfg/new", false).expect("resolve");
        assert_eq!(place.real_path().as_deref(), Some("/etc/new"));
        assert_eq!((place.directory(), place.inode), (3, None));
    }
}
