//! What starts by itself: systemd units by their links, SysV and OpenRC run levels.
//!
//! Only links and names are read (systemd.unit(5) "wants", "requires", masking); no unit file is
//! evaluated, so a generator's work and `Condition…=` are not seen.

use super::look::{Look, clip};
use crate::fs::FileKind;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Where units and their links are, the administrator's first.
const UNIT_DIRECTORIES: &[(&str, Origin)] = &[
    ("/etc/systemd/system", Origin::Administrator),
    ("/usr/lib/systemd/system", Origin::Vendor),
    ("/lib/systemd/system", Origin::Vendor),
];

/// Who arranged that a service starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Enabled in `/etc`: what `systemctl is-enabled` calls enabled.
    Administrator,
    /// Wired by the package itself, in `/usr/lib`.
    Vendor,
    /// A SysV `rcN.d` link.
    Sysv,
    /// An OpenRC run level.
    OpenRc,
}

/// Something that starts by itself, or is kept from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// The unit, for example `ssh.service`, or the script's name.
    pub unit: String,
    /// Who arranged it.
    pub origin: Origin,
    /// The targets or run levels that start it.
    pub wanted_by: Vec<String>,
    /// Whether it is masked: linked to `/dev/null`, it never starts.
    pub masked: bool,
}

/// The services of a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Services {
    /// What `default.target` is, for example `graphical.target`.
    pub default_target: Option<String>,
    /// Every unit that starts or is masked, by name.
    pub units: Vec<Service>,
}

/// Reads the links of systemd, SysV and OpenRC.
pub fn read(look: &mut Look<'_>) -> Services {
    let mut wanted: BTreeMap<(String, Origin), BTreeSet<String>> = BTreeMap::new();
    let mut masked = BTreeSet::new();
    let merged = look.link("/lib").is_some();
    for (directory, origin) in UNIT_DIRECTORIES {
        // On a system with a merged /usr the last two are the same directory.
        if !(merged && *directory == "/lib/systemd/system") {
            read_units(look, directory, *origin, &mut wanted, &mut masked);
        }
    }
    read_run_levels(look, &mut wanted);
    // systemd leaves a script alone when a unit has its name (systemd-sysv-generator(8)).
    wanted.retain(|(script, origin), _| {
        let unit = |directory: &str| format!("{directory}/{script}.service");
        let mut directories = UNIT_DIRECTORIES.iter();
        *origin != Origin::Sysv || !directories.any(|(path, _)| look.exists(&unit(path)))
    });
    let default_target = ["/etc/systemd/system", "/usr/lib/systemd/system"]
        .iter()
        .find_map(|directory| look.link(&format!("{directory}/default.target")))
        .and_then(|target| target.rsplit('/').next().map(clip));
    Services {
        default_target,
        units: collect(wanted, masked),
    }
}

fn collect(
    wanted: BTreeMap<(String, Origin), BTreeSet<String>>,
    mut masked: BTreeSet<String>,
) -> Vec<Service> {
    let service = |((unit, origin), by): ((String, Origin), BTreeSet<String>)| Service {
        masked: masked.remove(&unit),
        unit,
        origin,
        wanted_by: by.into_iter().collect(),
    };
    let mut units: Vec<Service> = wanted.into_iter().map(service).collect();
    units.extend(masked.into_iter().map(|unit| Service {
        unit,
        origin: Origin::Administrator,
        wanted_by: Vec::new(),
        masked: true,
    }));
    units.sort_by(|a, b| (&a.unit, a.origin).cmp(&(&b.unit, b.origin)));
    units
}

fn read_units(
    look: &mut Look<'_>,
    directory: &str,
    origin: Origin,
    wanted: &mut BTreeMap<(String, Origin), BTreeSet<String>>,
    masked: &mut BTreeSet<String>,
) {
    for (name, kind) in look.names(directory) {
        let path = format!("{directory}/{name}");
        let target = name
            .strip_suffix(".wants")
            .or_else(|| name.strip_suffix(".requires"));
        match (kind, target) {
            (FileKind::Directory, Some(target)) => {
                for (unit, _) in look.names(&path) {
                    wanted
                        .entry((unit, origin))
                        .or_default()
                        .insert(target.to_owned());
                }
            }
            (FileKind::Symlink, _)
                if origin == Origin::Administrator
                    && look.link(&path).as_deref() == Some("/dev/null") =>
            {
                masked.insert(name);
            }
            _ => {}
        }
    }
}

fn read_run_levels(look: &mut Look<'_>, wanted: &mut BTreeMap<(String, Origin), BTreeSet<String>>) {
    for level in ["S", "2", "3", "4", "5"] {
        for (name, _) in look.names(&format!("/etc/rc{level}.d")) {
            if let Some(script) = started_script(&name) {
                let by = wanted.entry((script.to_owned(), Origin::Sysv)).or_default();
                by.insert(format!("rc{level}"));
            }
        }
    }
    for (level, kind) in look.names("/etc/runlevels") {
        if kind == FileKind::Directory {
            for (script, _) in look.names(&format!("/etc/runlevels/{level}")) {
                wanted
                    .entry((script, Origin::OpenRc))
                    .or_default()
                    .insert(level.clone());
            }
        }
    }
}

/// The script of a start link such as `S01ssh`; `K01ssh` is a stop link.
fn started_script(name: &str) -> Option<&str> {
    let rest = name.strip_prefix('S')?;
    let digits = rest.get(..2)?;
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| &rest[2..])
        .filter(|s| !s.is_empty())
}
