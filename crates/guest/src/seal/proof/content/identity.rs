//! Names and ids in a file's text.

use super::MAX_DETAILS;
use super::secrets::settings;
use crate::inspect::look::{clip, config_lines};

/// Host names that say nothing about a machine.
const GENERIC_NAMES: &[&str] = &[
    "localhost",
    "localhost.localdomain",
    "localdomain",
    "localhost4",
    "localhost4.localdomain4",
    "localhost6",
    "localhost6.localdomain6",
    "ip6-localhost",
    "ip6-loopback",
    "(none)",
    "unassigned",
    "template",
    "linux",
    "debian",
    "ubuntu",
    "fedora",
    "alpine",
    "rocky",
    "almalinux",
    "centos",
    "opensuse",
    "archlinux",
];

/// machine-id(5): empty or `uninitialized` is fine.
pub fn machine_id(text: &str) -> Vec<String> {
    match text.trim() {
        "" | "uninitialized" => Vec::new(),
        _ => vec!["it holds an id".into()],
    }
}

/// A file that holds one host name.
pub fn host_name(text: &str) -> Vec<String> {
    config_lines(text)
        .take(1)
        .filter(|name| !is_generic(name))
        .map(says)
        .collect()
}

/// hosts(5): names of the machine's own addresses.
pub fn hosts(text: &str) -> Vec<String> {
    let own = |line: &str| {
        let line = line.split('#').next().unwrap_or_default();
        let (address, names) = line.split_once(char::is_whitespace)?;
        let is_own = address.starts_with("127.") || address == "::1";
        let name = names.split_whitespace().find(|name| !is_generic(name))?;
        is_own.then(|| says(name))
    };
    config_lines(text)
        .filter_map(own)
        .take(MAX_DETAILS)
        .collect()
}

/// postconf(5): `myhostname` and literal names in `mydestination`.
pub fn postfix(text: &str) -> Vec<String> {
    let named = |line: &str| {
        let (key, value) = line.split_once('=')?;
        let key = key.trim();
        let is_name =
            |name: &&str| !name.is_empty() && !name.starts_with(['$', '/']) && !is_generic(name);
        let name = value.split([',', ' ', '\t']).map(str::trim).find(is_name)?;
        matches!(key, "myhostname" | "mydestination").then(|| format!("{key} {}", says(name)))
    };
    config_lines(text).filter_map(named).collect()
}

/// `Hostname=` of the Zabbix agent, unless it is the packaged value.
pub fn zabbix_host(text: &str) -> Vec<String> {
    let named = |line: &str| {
        let name = line
            .strip_prefix("Hostname")?
            .trim_start()
            .strip_prefix('=')?
            .trim();
        (name != "Zabbix server" && !is_generic(name)).then(|| says(name))
    };
    config_lines(text).filter_map(named).collect()
}

fn is_generic(name: &str) -> bool {
    GENERIC_NAMES
        .iter()
        .any(|generic| generic.eq_ignore_ascii_case(name.trim()))
}

fn says(name: &str) -> String {
    format!("names {}", clip(name))
}

/// initiatorname.iscsi: a name that is set, and not left to the first start.
pub fn iscsi_name(text: &str) -> Vec<String> {
    let is_name = |line: &str| {
        line.strip_prefix("InitiatorName=")
            .is_some_and(|name| !name.trim().is_empty())
    };
    config_lines(text)
        .any(is_name)
        .then(|| "it names an initiator".to_owned())
        .into_iter()
        .collect()
}

/// popularity-contest's id.
pub fn popcon_id(text: &str) -> Vec<String> {
    settings(text, &["MY_HOSTID"])
}

/// libvirt's id of the host.
pub fn libvirt_host(text: &str) -> Vec<String> {
    settings(text, &["host_uuid"])
}

/// The Puppet agent's fixed name.
pub fn puppet_name(text: &str) -> Vec<String> {
    settings(text, &["certname"])
}

/// The Landscape client's account and name.
pub fn landscape(text: &str) -> Vec<String> {
    settings(
        text,
        &["computer_title", "registration_key", "account_name"],
    )
}

/// Fixed names of monitoring agents.
pub fn agent_name(text: &str) -> Vec<String> {
    settings(text, &["hostname", "display_name", "node_name"])
}

/// multipath's known disks: any line that is not a comment.
pub fn any_line(text: &str) -> Vec<String> {
    let count = config_lines(text).count();
    if count == 0 {
        Vec::new()
    } else {
        vec![format!("{count} lines")]
    }
}

/// A file name that starts with a machine's id, as boot entries have.
pub fn machine_id_name(name: &str) -> Option<String> {
    let id = name.get(..32)?;
    id.bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then(|| "its name is a machine's id".into())
}
