//! Whether cloud-init is there, where it would look for its data, and whether it ran.

use super::look::Look;
use super::packages::Package;
use super::yaml::Yaml;
use serde::{Deserialize, Serialize};

/// Where its program and its modules are.
const PROGRAMS: &[&str] = &["/usr/bin/cloud-init", "/usr/local/bin/cloud-init"];

/// cloud-init in a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudInit {
    /// Whether it is installed.
    pub present: bool,
    /// Its package's version.
    pub version: Option<String>,
    /// Whether it is switched off by `/etc/cloud/cloud-init.disabled`.
    pub disabled: bool,
    /// `datasource_list` of the last file that has one; empty for the built-in list.
    pub datasources: Vec<String>,
    /// Whether it has state of a machine: it ran here.
    pub ran: bool,
}

/// Reads its configuration and looks for its state.
pub fn read(look: &mut Look<'_>, packages: &[Package]) -> CloudInit {
    let package = packages.iter().find(|package| package.name == "cloud-init");
    let present = look.first_of(PROGRAMS).is_some() || package.is_some();
    let mut paths = vec!["/etc/cloud/cloud.cfg".to_owned()];
    paths.extend(look.files_with_suffix("/etc/cloud/cloud.cfg.d", ".cfg"));
    let mut datasources = Vec::new();
    for path in paths {
        let Some(text) = look.text(&path) else {
            continue;
        };
        match datasource_list(&text) {
            Ok(Some(found)) => datasources = found,
            Ok(None) => {}
            Err(why) => look.unknown(format!("{path}: {why}")),
        }
    }
    CloudInit {
        present,
        version: package.map(|package| package.version.clone()),
        disabled: look.exists("/etc/cloud/cloud-init.disabled"),
        datasources,
        ran: look.exists("/var/lib/cloud/instance")
            || !look.names("/var/lib/cloud/instances").is_empty(),
    }
}

/// The `datasource_list` of one file, if it has one.
pub fn datasource_list(text: &str) -> Result<Option<Vec<String>>, String> {
    let document = Yaml::parse(text)?;
    let list = document.get("datasource_list");
    let names = |list: &Yaml| {
        list.items()
            .iter()
            .filter_map(|item| item.text().map(str::to_owned))
            .collect()
    };
    Ok(list.map(names))
}
