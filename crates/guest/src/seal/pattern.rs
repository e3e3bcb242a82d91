//! Finding what the table's path patterns match in a guest.
//!
//! Each directory is listed once, however many patterns look into it. A link is never followed:
//! neither as the last component nor on the way, so that a hostile tree cannot point a row at
//! something else. A link on the way is told instead.
//!
//! This does not expand `~`; the planner does, with the guest's list of homes.

use crate::fs::{FileKind, FsError, GuestRead, MAX_DEPTH};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Most paths that one pattern may match; a guest with more is refused rather than half sealed.
const MAX_HITS: usize = 1 << 20;

/// Something that a pattern met.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hit {
    /// An entry of the guest, links not followed.
    Entry(String, Kind),
    /// A link stands where the pattern needs a directory.
    LinkOnTheWay {
        /// The link's path.
        link: String,
        /// The rest of the pattern, without a leading `/`.
        rest: String,
    },
    /// An entry of this directory has a name that is not UTF-8, which no pattern can name.
    Unnamed(String),
}

/// [`FileKind`] with an order, so that hits can be sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    Special,
}

impl From<FileKind> for Kind {
    fn from(kind: FileKind) -> Self {
        match kind {
            FileKind::File => Kind::File,
            FileKind::Directory => Kind::Directory,
            FileKind::Symlink => Kind::Symlink,
            FileKind::Special => Kind::Special,
        }
    }
}

/// The named entries of a directory, and whether there are others.
struct Listing {
    entries: HashMap<String, Kind>,
    unnamed: bool,
}

/// A guest's tree with a memory of its directories.
pub(super) struct Tree<'a> {
    reader: &'a dyn GuestRead,
    listings: RefCell<HashMap<String, Rc<Listing>>>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(reader: &'a dyn GuestRead) -> Self {
        Tree {
            reader,
            listings: RefCell::new(HashMap::new()),
        }
    }

    /// The reader below, for what needs no pattern.
    pub(super) fn reader(&self) -> &'a dyn GuestRead {
        self.reader
    }

    /// What is at this very path, with no link on the way.
    pub(super) fn at(&self, path: &str) -> Result<Option<Kind>, FsError> {
        Ok(self.find(path)?.into_iter().find_map(|hit| match hit {
            Hit::Entry(_, kind) => Some(kind),
            _ => None,
        }))
    }

    /// Everything that `pattern` matches, sorted by path, so that a directory comes before what
    /// is in it.
    pub(super) fn find(&self, pattern: &str) -> Result<Vec<Hit>, FsError> {
        let components: Vec<&str> = pattern.split('/').filter(|c| !c.is_empty()).collect();
        let mut hits = Vec::new();
        let mut open = vec![(String::new(), 0)];
        while let Some((directory, at)) = open.pop() {
            self.step(&directory, &components, at, &mut open, &mut hits)?;
            if hits.len() > MAX_HITS {
                return Err(FsError::Unsuitable {
                    path: pattern.to_owned(),
                    why: "it has more entries than a guest of any use",
                });
            }
        }
        hits.sort();
        hits.dedup();
        Ok(hits)
    }

    /// Matches one component in one directory.
    fn step(
        &self,
        directory: &str,
        components: &[&str],
        at: usize,
        open: &mut Vec<(String, usize)>,
        hits: &mut Vec<Hit>,
    ) -> Result<(), FsError> {
        let (component, last) = (components[at], at + 1 == components.len());
        let listing = self.listing(directory)?;
        let wild = component.contains(['*', '?', '[']);
        if wild && listing.unnamed {
            hits.push(Hit::Unnamed(if directory.is_empty() {
                "/".into()
            } else {
                directory.into()
            }));
        }
        let mut visit = |name: &str, kind: Kind| {
            let path = format!("{directory}/{name}");
            if component == "**" {
                if last {
                    hits.push(Hit::Entry(path.clone(), kind));
                }
                if kind == Kind::Directory && path.matches('/').count() < MAX_DEPTH {
                    open.push((path, at));
                }
            } else if last {
                hits.push(Hit::Entry(path, kind));
            } else if kind == Kind::Directory {
                open.push((path, at + 1));
            } else if kind == Kind::Symlink && !wild {
                hits.push(Hit::LinkOnTheWay {
                    link: path,
                    rest: components[at + 1..].join("/"),
                });
            }
        };
        if !wild {
            if let Some(kind) = listing.entries.get(component) {
                visit(component, *kind);
            }
            return Ok(());
        }
        for (name, kind) in &listing.entries {
            if component == "**" || matches(component.as_bytes(), name.as_bytes()) {
                visit(name, *kind);
            }
        }
        if component == "**" && !last {
            open.push((directory.to_owned(), at + 1));
        }
        Ok(())
    }

    /// The entries of a directory whose parents are all directories.
    fn listing(&self, directory: &str) -> Result<Rc<Listing>, FsError> {
        if let Some(known) = self.listings.borrow().get(directory) {
            return Ok(Rc::clone(known));
        }
        let path = if directory.is_empty() { "/" } else { directory };
        let mut listing = Listing {
            entries: HashMap::new(),
            unnamed: false,
        };
        for entry in self.reader.read_dir(path)? {
            match String::from_utf8(entry.name) {
                Ok(name) => {
                    listing.entries.insert(name, entry.kind.into());
                }
                Err(_) => listing.unnamed = true,
            }
        }
        let listing = Rc::new(listing);
        self.listings
            .borrow_mut()
            .insert(directory.to_owned(), Rc::clone(&listing));
        Ok(listing)
    }
}

/// Whether `name` matches one component with `*`, `?` and sets like `[0-9]`. A leading dot is
/// nothing special: what is hidden is sealed too. No backtracking beyond the last `*`, so the
/// time is bounded by the product of both lengths.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, n));
            p += 1;
        } else if let Some(width) = one(&pattern[p..], name[n]) {
            p += width;
            n += 1;
        } else if let Some((star_p, star_n)) = star {
            star = Some((star_p, star_n + 1));
            p = star_p + 1;
            n = star_n + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// How much of `pattern` matches this one byte.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', from, b'-', to, b']', ..] => (*from..=*to).contains(&byte).then_some(5),
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// Whether a pattern of the table is well formed: absolute or of homes, no empty, `.` or `..`
/// component, `**` only as a whole component, sets only as `[a-z]`.
#[cfg(test)]
pub(super) fn is_valid(pattern: &str) -> bool {
    let Some(rest) = pattern
        .strip_prefix("~/")
        .or_else(|| pattern.strip_prefix('/'))
    else {
        return false;
    };
    let sets = |c: &str| {
        let opened = c.matches('[').count();
        let whole = c
            .match_indices('[')
            .filter(|(at, _)| {
                c.as_bytes().get(at + 2) == Some(&b'-') && c.as_bytes().get(at + 4) == Some(&b']')
            })
            .count();
        opened == whole && c.matches(']').count() == whole
    };
    rest.split('/').all(|c| {
        !matches!(c, "" | "." | "..")
            && (c == "**" || !c.contains("**"))
            && sets(c)
            && !c.contains('~')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::tree::TreeFixture;

    #[test]
    fn components() {
        for (pattern, name, expected) in [
            ("*", "anything", true),
            ("*", ".hidden", true),
            ("ssh_host_*_key", "ssh_host_rsa_key", true),
            ("ssh_host_*_key", "ssh_host_rsa_key.pub", false),
            ("*.[0-9]", "syslog.1", true),
            ("*.[0-9]", "syslog.10", false),
            ("*.[0-9]", "syslog.x", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?", "", false),
            ("", "", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern:?} {name:?}"
            );
        }
    }

    fn paths(tree: &TreeFixture, pattern: &str) -> Vec<String> {
        let hits = Tree::new(tree).find(pattern).expect("the tree is readable");
        hits.into_iter()
            .map(|hit| match hit {
                Hit::Entry(path, _) => path,
                Hit::LinkOnTheWay { link, rest } => format!("link {link} + {rest}"),
                Hit::Unnamed(directory) => format!("unnamed in {directory}"),
            })
            .collect()
    }

    #[test]
    fn trees_in_any_depth_parents_first() {
        let tree = TreeFixture::new()
            .file("/var/log/a", "")
            .file("/var/log/b/c/d.gz", "")
            .file("/var/log/e.gz", "");
        assert_eq!(paths(&tree, "/var/log/**").len(), 5);
        assert_eq!(
            paths(&tree, "/var/log/**/*.gz"),
            ["/var/log/b/c/d.gz", "/var/log/e.gz"]
        );
        assert_eq!(paths(&tree, "/var/log/**")[1], "/var/log/b");
        assert!(paths(&tree, "/var/none/**").is_empty());
    }

    #[test]
    fn links_are_told_and_never_followed() {
        let tree = TreeFixture::new()
            .file("/etc/passwd", "root")
            .link("/var/log", "/etc")
            .link("/tmp/x", "/etc");
        assert_eq!(paths(&tree, "/var/log/**"), ["link /var/log + **"]);
        assert_eq!(paths(&tree, "/tmp/**"), ["/tmp/x"]);
    }

    #[test]
    fn names_that_no_pattern_can_hold_are_told() {
        let tree = TreeFixture::new()
            .dir("/tmp")
            .file_named("/tmp", b"\xff\xfe", "secret");
        assert_eq!(paths(&tree, "/tmp/*"), ["unnamed in /tmp"]);
    }
}
