//! What the rows need to know of the guest as a whole, read once before planning.
//!
//! Everything in it comes from hostile files: a home that is not a plain absolute path is left
//! out, and a host name that is none counts as absent.

use super::pattern::{Kind, Tree};
use crate::fs::{FsError, GuestRead};
use std::collections::BTreeSet;

/// Most bytes of a file that is read for planning.
pub(super) const READ_LIMIT_BYTES: u64 = 1 << 20;

/// Directories at the root that hold the system and no person's files, though passwd names some
/// of them as homes of system users.
const SYSTEM_ROOTS: &[&str] = &[
    "bin",
    "boot",
    "dev",
    "etc",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "nonexistent",
    "proc",
    "run",
    "sbin",
    "sys",
    "usr",
];

/// A guest as the rows see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guest {
    /// The template's names: the host name as written, and its first label. Empty where it is
    /// unset or generic (`localhost…`).
    pub names: Vec<String>,
    /// Home directories, sorted.
    pub homes: Vec<String>,
    /// Whether systemd is the guest's init.
    pub systemd: bool,
}

impl Guest {
    /// Reads what there is to know.
    pub(super) fn read(tree: &Tree<'_>) -> Result<Self, FsError> {
        let reader = tree.reader();
        let systemd = exists_any(
            reader,
            &["/usr/lib/systemd/systemd", "/lib/systemd/systemd"],
        )?;
        Ok(Guest {
            names: names(&text(reader, "/etc/hostname")?),
            homes: homes(tree)?,
            systemd,
        })
    }
}

/// Whether any of these paths exists.
pub(super) fn exists_any(reader: &dyn GuestRead, paths: &[&str]) -> Result<bool, FsError> {
    for path in paths {
        match reader.exists(path) {
            Ok(true) => return Ok(true),
            // A file where the path needs a directory, or a loop of links: it is not there.
            Ok(false) | Err(FsError::Unsuitable { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// A small text file; empty where it is missing, too large or no file.
fn text(reader: &dyn GuestRead, path: &str) -> Result<String, FsError> {
    match reader.read(path, READ_LIMIT_BYTES) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(FsError::NotFound { .. } | FsError::Unsuitable { .. }) => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// hostname(5): the first line that is not a comment.
fn names(hostname: &str) -> Vec<String> {
    let line = hostname
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'));
    let valid = |name: &str| {
        name.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
    };
    let Some(name) = line.filter(|name| valid(name) && !name.starts_with("localhost")) else {
        return Vec::new();
    };
    let short = name.split('.').next().unwrap_or(name);
    let mut names = vec![name.to_owned()];
    if short != name && !short.is_empty() {
        names.push(short.to_owned());
    }
    names
}

/// root's home, what is in `/home`, and what passwd(5) names.
fn homes(tree: &Tree<'_>) -> Result<Vec<String>, FsError> {
    let mut homes = BTreeSet::from(["/root".to_owned()]);
    for hit in tree.find("/home/*")? {
        if let super::pattern::Hit::Entry(path, Kind::Directory) = hit {
            homes.insert(path);
        }
    }
    let passwd = text(tree.reader(), "/etc/passwd")?;
    let named: BTreeSet<&str> = passwd
        .lines()
        .filter_map(|line| line.split(':').nth(5))
        .filter(|home| is_home(home))
        .collect();
    for home in named {
        // Every row looks into every home: those that passwd only claims would cost minutes.
        if exists_any(tree.reader(), &[home])? {
            homes.insert(home.to_owned());
        }
    }
    Ok(homes.into_iter().collect())
}

/// A plain absolute path outside of the system's own directories.
fn is_home(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    let mut components = rest.split('/');
    let first = components.next().unwrap_or_default();
    let plain = rest
        .split('/')
        .all(|c| !matches!(c, "" | "." | "..") && !c.contains(['*', '?', '[', '~']));
    plain && !SYSTEM_ROOTS.contains(&first) && !rest.starts_with("var/run")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::tree::TreeFixture;

    #[test]
    fn hostile_homes_are_left_out() {
        let passwd = "root:x:0:0::/root:/bin/sh\nw:x:33:33::/var/www:\nb:x:2:2::/bin:\ne:x:9:9::/home/../etc:\n\
                      g:x:9:9::/home/*:\nr:x:9:9::/:\nm:x:9:9::/srv/missing:\nbroken\n";
        let tree = TreeFixture::new()
            .file("/etc/passwd", passwd)
            .dir("/var/www")
            .dir("/home/ann")
            .link("/home/eve", "/etc");
        let guest = Guest::read(&Tree::new(&tree)).expect("readable");
        assert_eq!(guest.homes, ["/home/ann", "/root", "/var/www"]);
    }

    #[test]
    fn names_of_the_template() {
        assert_eq!(names("web.example.org\n"), ["web.example.org", "web"]);
        assert_eq!(names("# comment\n\n vm \n"), ["vm"]);
        for generic in [
            "",
            "localhost\n",
            "localhost.localdomain",
            "a b",
            "# only\n",
        ] {
            assert!(names(generic).is_empty(), "{generic:?}");
        }
    }
}
