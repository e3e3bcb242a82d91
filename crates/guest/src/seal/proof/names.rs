//! Under which names a file of the guest is known: home directories, and directories that are
//! reached through a link.
//!
//! A check looks for `/var/lib/docker/engine-id`. When `/var/lib/docker` is a link to
//! `/srv/docker`, a walk that follows no links sees only `/srv/docker/engine-id`; [`Aliases`]
//! gives it its other name back, so that nothing hides behind a link.

use super::glob::{Index, names};
use crate::fs::{FileKind, FsError, GuestRead, MAX_LINKS};
use crate::inspect::walk::{Gap, Step, explain, walk};
use std::collections::VecDeque;

/// Most links to directories that matter; more are gaps.
const MAX_ALIASES: usize = 1000;
/// Most links that follow each other in one name.
const MAX_CHAIN: usize = 4;
/// Where home directories are even when no account names them.
const HOMES: &[&str] = &["/root", "/home/*", "/var/home/*"];
/// Home directories of accounts that own nothing there.
const NO_HOMES: &[&str] = &[
    "/",
    "/nonexistent",
    "/dev/null",
    "/bin",
    "/sbin",
    "/usr/bin",
    "/usr/sbin",
    "/dev",
    "/proc",
    "/var/empty",
    "/run",
    "/etc",
    "/usr",
    "/var",
];

/// The patterns of all home directories, from passwd(5) and by custom.
pub fn homes(passwd: &str) -> Vec<String> {
    let mut homes: Vec<String> = HOMES.iter().map(|home| (*home).to_owned()).collect();
    for line in passwd.lines().take(20_000) {
        let Some(home) = line
            .split(':')
            .nth(5)
            .map(|home| home.trim_end_matches('/'))
        else {
            continue;
        };
        let is_odd = home.contains(['*', '~']) || !home.starts_with('/') || home.len() > 4096;
        let is_covered = home == "/root"
            || home
                .strip_prefix("/home/")
                .is_some_and(|user| !user.contains('/'));
        if !is_odd
            && !is_covered
            && !NO_HOMES.contains(&home)
            && !homes.iter().any(|known| known == home)
        {
            homes.push(home.to_owned());
        }
    }
    homes
}

/// `pattern` for every home directory, or just itself when it has no leading `~`.
pub fn expand(pattern: &str, homes: &[String]) -> Vec<String> {
    match pattern.strip_prefix('~') {
        Some(rest) => homes.iter().map(|home| format!("{home}{rest}")).collect(),
        None => vec![pattern.to_owned()],
    }
}

/// Real directories that have another name through a link.
#[derive(Debug, Default)]
pub struct Aliases {
    /// `(real directory, the link's path)`.
    pairs: Vec<(String, String)>,
}

impl Aliases {
    /// Finds the links to directories through which one of `patterns` could pass, also where the
    /// link itself is reached through another one.
    pub fn find(fs: &dyn GuestRead, patterns: &Index) -> (Self, Vec<Gap>) {
        let mut links = Vec::new();
        let mut gaps = walk(fs, "/", &mut |found| {
            if found.metadata.kind == FileKind::Symlink {
                links.push(found.path.to_owned());
            }
            Step::Into
        });
        let mut aliases = Aliases::default();
        for _ in 0..MAX_CHAIN {
            let before = aliases.pairs.len();
            for link in &links {
                if let Err(why) = aliases.learn(fs, link, patterns) {
                    gaps.push(Gap {
                        path: link.clone(),
                        why,
                    });
                }
            }
            if aliases.pairs.len() == before {
                break;
            }
        }
        (aliases, gaps)
    }

    /// Adds the names that the target of `link` gets by it.
    fn learn(&mut self, fs: &dyn GuestRead, link: &str, patterns: &Index) -> Result<(), String> {
        let mut other_names = self.of(link);
        other_names.push(link.to_owned());
        other_names.retain(|name| {
            patterns.passes_through(&names(name).collect::<Vec<_>>())
                && !self.pairs.iter().any(|(_, known)| known == name)
        });
        if other_names.is_empty() {
            return Ok(());
        }
        let Some(real) = real_directory(fs, link).map_err(|error| explain(&error))? else {
            return Ok(());
        };
        for name in other_names {
            if self.pairs.len() >= MAX_ALIASES {
                return Err("there are too many links to directories".into());
            }
            self.pairs.push((real.clone(), name));
        }
        Ok(())
    }

    /// The other names of `path`.
    pub fn of(&self, path: &str) -> Vec<String> {
        let other = |(real, link): &(String, String)| {
            let below = path.strip_prefix(real.as_str())?;
            below.starts_with('/').then(|| format!("{link}{below}"))
        };
        self.pairs.iter().filter_map(other).collect()
    }
}

/// The directory that `path` leads to, without any link in its name; `None` when it leads
/// nowhere or to something else.
fn real_directory(fs: &dyn GuestRead, path: &str) -> Result<Option<String>, FsError> {
    let mut rest: VecDeque<String> = names(path).map(str::to_owned).collect();
    let mut real: Vec<String> = Vec::new();
    let mut links = 0;
    let mut kind = FileKind::Directory;
    while let Some(name) = rest.pop_front() {
        if name == "." {
            continue;
        }
        if name == ".." {
            real.pop();
            continue;
        }
        let here = format!(
            "/{}{}{name}",
            real.join("/"),
            if real.is_empty() { "" } else { "/" }
        );
        kind = match fs.metadata(&here) {
            Ok(metadata) => metadata.kind,
            Err(FsError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if kind != FileKind::Symlink {
            real.push(name);
            continue;
        }
        links += 1;
        let Ok(target) = String::from_utf8(fs.read_link(&here)?) else {
            return Ok(None);
        };
        if links > MAX_LINKS || target.len() > 4096 {
            return Ok(None);
        }
        if target.starts_with('/') {
            real.clear();
        }
        for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
            rest.push_front(name.to_owned());
        }
        kind = FileKind::Directory;
    }
    let is_directory = kind == FileKind::Directory && !real.is_empty();
    Ok(is_directory.then(|| format!("/{}", real.join("/"))))
}
