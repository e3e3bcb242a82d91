//! Which package an entry belongs to, and which packages are not as they were.
//!
//! dpkg keeps a list of paths for each package, apk all in its database. What the database of a guest
//! says is the guest's own word: an entry is explained by it only where the package's version has
//! changed too, and never where access to the guest is decided.

use super::PackageChange;
use crate::fs::GuestRead;
use crate::inspect::look::{Look, MAX_DATABASE_BYTES};
use crate::inspect::packages::{self, PackageManager, Packages};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Where dpkg keeps its lists.
const DPKG_LISTS: &str = "/var/lib/dpkg/info";
/// Where apk keeps everything.
const APK_DATABASE: &str = "/lib/apk/db/installed";
/// Most paths that are kept.
const MAX_PATHS: usize = 2_000_000;
/// Directories that are links into `/usr` where that is merged; lists have the old names.
const MERGED: [&str; 6] = ["/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/", "/libx32/"];

/// The packages of one side, and what belongs to them.
pub(super) struct Owners {
    packages: Packages,
    paths: HashMap<String, String>,
    /// Whether it is known what belongs to whom.
    pub(super) is_known: bool,
}

impl Owners {
    /// Reads the database; what could not be read is added to `unknowns`.
    pub(super) fn read(fs: &dyn GuestRead, unknowns: &mut Vec<String>) -> Owners {
        let mut look = Look::new(fs);
        let packages = packages::read(&mut look);
        let paths = match packages.manager {
            Some(PackageManager::Dpkg) => Some(dpkg(&mut look)),
            Some(PackageManager::Apk) => Some(apk(&mut look)),
            Some(PackageManager::Rpm) => {
                look.unknown("packages: which files belong to RPM's packages is not read".into());
                None
            }
            // That there are no packages is said already.
            None => None,
        };
        unknowns.extend(look.into_unknowns());
        Owners {
            packages,
            is_known: paths.is_some(),
            paths: paths.unwrap_or_default(),
        }
    }

    /// The package that a path belongs to.
    pub(super) fn of(&self, path: &str) -> Option<&str> {
        self.paths.get(path).map(String::as_str)
    }
}

/// Every package that is not as it was, and the names of those.
pub(super) fn changes(before: &Owners, after: &Owners) -> (Vec<PackageChange>, BTreeSet<String>) {
    let versions = |owners: &Owners| {
        let of = |one: &packages::Package| {
            let problem = one.problem.as_ref().map(|of| format!(" ({of})"));
            let key = (one.name.clone(), one.architecture.clone());
            (key, one.version.clone() + &problem.unwrap_or_default())
        };
        let all = owners.packages.installed.iter().map(of);
        all.collect::<BTreeMap<_, _>>()
    };
    let (old, new) = (versions(before), versions(after));
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let differ = names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name));
    let mut changed = BTreeSet::new();
    let changes = differ
        .map(|name| {
            changed.insert(name.0.clone());
            PackageChange {
                name: format!("{}:{}", name.0, name.1),
                before: old.get(name).cloned(),
                after: new.get(name).cloned(),
            }
        })
        .collect();
    (changes, changed)
}

/// Every path of dpkg's lists (`NAME.list`, `NAME:ARCH.list`), with its package's name.
fn dpkg(look: &mut Look<'_>) -> HashMap<String, String> {
    let mut paths = HashMap::new();
    let is_merged = look.link("/bin").is_some();
    for file in look.files_with_suffix(DPKG_LISTS, ".list") {
        let name = file.rsplit('/').next().unwrap_or_default();
        let name = name.trim_end_matches(".list");
        let name = name.split(':').next().unwrap_or(name).to_owned();
        let Some(text) = look.text_up_to(&file, MAX_DATABASE_BYTES) else {
            continue;
        };
        for line in text.lines().filter(|line| line.starts_with('/')) {
            if paths.len() >= MAX_PATHS {
                look.unknown(format!(
                    "packages: only the first {MAX_PATHS} paths were read"
                ));
                return paths;
            }
            let in_usr = is_merged && MERGED.iter().any(|start| line.starts_with(start));
            let path = match in_usr {
                true => format!("/usr{line}"),
                false => line.to_owned(),
            };
            paths.insert(path, name.clone());
        }
    }
    paths
}

/// Every path of apk's database: `P:` a package, `F:` a directory, `R:` a file in it.
fn apk(look: &mut Look<'_>) -> HashMap<String, String> {
    let text = look.text_up_to(APK_DATABASE, MAX_DATABASE_BYTES);
    apk_paths(&text.unwrap_or_default())
}

fn apk_paths(text: &str) -> HashMap<String, String> {
    let mut paths = HashMap::new();
    let (mut package, mut directory) = (String::new(), String::new());
    for line in text.lines() {
        match line.split_once(':') {
            Some(("P", name)) => {
                package = name.to_owned();
                directory.clear();
            }
            Some(("F", name)) => directory = format!("/{name}"),
            Some(("R", name)) if paths.len() < MAX_PATHS => {
                let at = directory.trim_end_matches('/');
                paths.insert(format!("{at}/{name}"), package.clone());
            }
            _ => {}
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::tree::TreeFixture;

    #[test]
    fn apk_says_what_belongs_to_whom() {
        let paths = apk_paths("P:musl\nV:1\nF:lib\nR:ld.so\na:0:0:755\n\nP:base\nF:\nR:motd\n");
        assert_eq!(paths["/lib/ld.so"], "musl");
        assert_eq!(paths["/motd"], "base");
        assert_eq!(paths.len(), 2);
    }

    #[test]
    fn dpkg_lists_name_files_where_they_are_on_a_merged_system() {
        let tree = TreeFixture::new()
            .dir("/usr/bin")
            .link("/bin", "usr/bin")
            .file("/var/lib/dpkg/status", "Package: dash\nVersion: 1\n\n")
            .file("/var/lib/dpkg/info/dash.list", "/.\n/bin\n/bin/dash\n")
            .file("/var/lib/dpkg/info/libc6:amd64.list", "/lib/x/libc.so.6\n");
        let mut unknowns = Vec::new();
        let owners = Owners::read(&tree, &mut unknowns);
        assert_eq!(unknowns, Vec::<String>::new());
        assert_eq!(owners.of("/usr/bin/dash"), Some("dash"));
        assert_eq!(owners.of("/usr/lib/x/libc.so.6"), Some("libc6"));
        assert_eq!(owners.of("/bin/dash"), None);
    }
}
