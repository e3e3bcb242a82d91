//! What a check asks of a file's text. Each function returns what it saw, one entry for each
//! finding, and never the value of a secret.
//!
//! Which function is asked of which file is in the table.

use crate::inspect::look::{clip, config_lines};
use crate::inspect::network::{Interface, ifupdown, keyfile, netplan};
use crate::inspect::users::{Password, password};

/// Most findings of one file.
const MAX_DETAILS: usize = 50;
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

/// shadow(5), gshadow(5) and passwd(5): who has a password, locked ones included.
pub fn password_hashes(text: &str) -> Vec<String> {
    let has_one = |line: &str| {
        let mut fields = line.split(':');
        let (user, field) = (fields.next()?, fields.next()?);
        match password(field) {
            Password::Hash(algorithm) => Some(format!("{} has one ({algorithm})", clip(user))),
            Password::LockedHash(algorithm) => {
                Some(format!("{} has a locked one ({algorithm})", clip(user)))
            }
            _ => None,
        }
    };
    text.lines().filter_map(has_one).take(MAX_DETAILS).collect()
}

/// shadow(5) and passwd(5): who is let in without a password.
pub fn empty_passwords(text: &str) -> Vec<String> {
    let is_open = |line: &str| {
        let mut fields = line.split(':');
        let user = fields.next().filter(|user| !user.is_empty())?;
        (password(fields.next()?) == Password::Empty).then(|| format!("of {}", clip(user)))
    };
    text.lines().filter_map(is_open).take(MAX_DETAILS).collect()
}

/// sshd(8) authorized_keys: how many keys there are.
pub fn authorized_keys(text: &str) -> Vec<String> {
    match config_lines(text).count() {
        0 => Vec::new(),
        1 => vec!["1 key".into()],
        count => vec![format!("{count} keys")],
    }
}

/// Hardware addresses in interfaces(5).
pub fn ifupdown_macs(text: &str) -> Vec<String> {
    macs(&ifupdown::parse(text))
}

/// Fixed addresses in interfaces(5).
pub fn ifupdown_static(text: &str) -> Vec<String> {
    addresses(&ifupdown::parse(text))
}

/// Hardware addresses in netplan(5).
pub fn netplan_macs(text: &str) -> Vec<String> {
    netplan::parse(text).map_or_else(unreadable, |found| macs(&found))
}

/// Fixed addresses in netplan(5).
pub fn netplan_static(text: &str) -> Vec<String> {
    netplan::parse(text).map_or_else(unreadable, |found| addresses(&found))
}

/// Hardware addresses in systemd-networkd's files.
pub fn networkd_macs(text: &str) -> Vec<String> {
    macs(&keyfile::networkd(text))
}

/// Fixed addresses in systemd-networkd's files.
pub fn networkd_static(text: &str) -> Vec<String> {
    addresses(&keyfile::networkd(text))
}

/// Hardware addresses in NetworkManager's connections.
pub fn connection_macs(text: &str) -> Vec<String> {
    macs(&keyfile::network_manager(text))
}

/// Fixed addresses in NetworkManager's connections.
pub fn connection_static(text: &str) -> Vec<String> {
    addresses(&keyfile::network_manager(text))
}

/// Hardware addresses in ifcfg files.
pub fn ifcfg_macs(text: &str) -> Vec<String> {
    macs(&keyfile::ifcfg(text))
}

/// Fixed addresses in ifcfg files.
pub fn ifcfg_static(text: &str) -> Vec<String> {
    addresses(&keyfile::ifcfg(text))
}

fn macs(interfaces: &[Interface]) -> Vec<String> {
    let of = |interface: &Interface| interface.macs.clone();
    interfaces.iter().flat_map(of).take(MAX_DETAILS).collect()
}

fn addresses(interfaces: &[Interface]) -> Vec<String> {
    let is_own = |interface: &&Interface| interface.name != "lo";
    let of = |interface: &Interface| interface.addresses.clone();
    interfaces
        .iter()
        .filter(is_own)
        .flat_map(of)
        .take(MAX_DETAILS)
        .collect()
}

/// A file that its own program could not read either can't be called clean.
fn unreadable(why: String) -> Vec<String> {
    vec![why]
}

/// resolv.conf(5): servers that are not on the machine itself.
pub fn name_servers(text: &str) -> Vec<String> {
    let server = |line: &str| {
        let address = line.strip_prefix("nameserver")?.trim();
        let is_own = address.starts_with("127.") || address == "::1";
        (!is_own).then(|| clip(address))
    };
    config_lines(text)
        .filter_map(server)
        .take(MAX_DETAILS)
        .collect()
}

/// Names of settings that hold a value which must be secret.
fn secret_settings(text: &str, keys: &[&str]) -> Vec<String> {
    let holds = |line: &str| {
        let (key, value) = line.split_once(['=', ':'])?;
        let key = key.trim().trim_matches(['"', '\'']);
        let value = value.trim().trim_matches(['"', '\'', ',']);
        let is_secret = keys.iter().any(|known| known.eq_ignore_ascii_case(key));
        (is_secret && !value.is_empty() && value != "null").then(|| format!("{} is set", clip(key)))
    };
    config_lines(text)
        .filter_map(holds)
        .take(MAX_DETAILS)
        .collect()
}

/// Wi-Fi, 802.1X and VPN secrets of NetworkManager, netplan and wpa_supplicant.
pub fn network_secrets(text: &str) -> Vec<String> {
    const KEYS: &[&str] = &[
        "psk",
        "password",
        "wep-key0",
        "wep-key1",
        "wep-key2",
        "wep-key3",
        "wep_key0",
        "leap-password",
        "private-key-password",
        "client-key-password",
        "private_key_passwd",
        "private-key",
        "preshared-key",
        "pin",
        "Xauth password",
        "IPSec secret",
    ];
    secret_settings(text, KEYS)
}

/// WireGuard's keys, wg(8) and systemd.netdev(5).
pub fn wireguard_keys(text: &str) -> Vec<String> {
    secret_settings(text, &["PrivateKey", "PresharedKey"])
}

/// Tokens in configuration files of runners, package indexes and registries.
pub fn service_tokens(text: &str) -> Vec<String> {
    const KEYS: &[&str] = &[
        "token",
        "auth",
        "identitytoken",
        "registrytoken",
        "oauth_token",
        "password",
        "passwd",
        "secret_key",
        "secret_access_key",
        "aws_secret_access_key",
        "aws_session_token",
        "access_token",
        "refresh_token",
        "private_token",
        "api_key",
        "registration_key",
    ];
    let mut found = secret_settings(text, KEYS);
    // npm: `//registry.example/:_authToken=…`.
    let is_npm = |line: &&str| {
        ["_authToken", "_auth", "_password"]
            .iter()
            .any(|key| line.contains(&format!("{key}=")))
    };
    found.extend(
        config_lines(text)
            .find(is_npm)
            .map(|_| "_auth is set".to_owned()),
    );
    found
}

/// Registries' settings: as [`service_tokens`], and passwords in XML (Maven, NuGet).
pub fn package_tokens(text: &str) -> Vec<String> {
    let has_xml = text.contains("<password>") || text.contains("ClearTextPassword");
    let mut found = service_tokens(text);
    found.extend(has_xml.then(|| "a password is set".to_owned()));
    found
}

/// Settings of database clients: as [`service_tokens`], entries of pgpass, which has no keys, and
/// MySQL's encrypted login file, which is no text.
pub fn database_passwords(text: &str) -> Vec<String> {
    let mut found = service_tokens(text);
    let is_entry = |line: &str| line.split(':').count() == 5 && !line.ends_with(':');
    found.extend(
        config_lines(text)
            .any(is_entry)
            .then(|| "an entry is set".to_owned()),
    );
    found.extend(
        text.contains('\u{fffd}')
            .then(|| "it is encrypted".to_owned()),
    );
    found
}

/// Mail relays' password maps: any line with a colon that is no catch-all.
pub fn relay_passwords(text: &str) -> Vec<String> {
    let is_entry = |line: &str| !line.starts_with('*') && line.contains(':');
    some_entry(config_lines(text).any(is_entry))
}

/// debconf's passwords.dat: values that are set.
pub fn debconf_passwords(text: &str) -> Vec<String> {
    let is_value = |line: &str| {
        line.strip_prefix("Value:")
            .is_some_and(|value| !value.trim().is_empty())
    };
    some_entry(text.lines().any(is_value))
}

fn some_entry(is_set: bool) -> Vec<String> {
    is_set
        .then(|| "an entry is set".to_owned())
        .into_iter()
        .collect()
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

/// netrc(5) and apt_auth.conf(5): entries with a password.
pub fn netrc(text: &str) -> Vec<String> {
    let words = text
        .split_whitespace()
        .filter(|word| *word == "password")
        .count();
    if words == 0 {
        Vec::new()
    } else {
        vec![format!("{words} passwords")]
    }
}

/// Addresses with a password in them, `scheme://user:password@host`.
pub fn url_credentials(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in config_lines(text) {
        for (at, _) in line.match_indices("://") {
            let rest = &line[at + 3..];
            let authority = rest
                .split(['/', ' ', '"', '\'', '?', '#'])
                .next()
                .unwrap_or_default();
            let Some((user, _)) = authority.rsplit_once('@') else {
                continue;
            };
            let has_password = user
                .split_once(':')
                .is_some_and(|(_, p)| !p.is_empty() && !p.starts_with('$'));
            if has_password && found.len() < MAX_DETAILS {
                found.push("an address holds a password".to_owned());
            }
        }
    }
    found.dedup();
    found
}

/// GRUB's menu passwords.
pub fn grub_password(text: &str) -> Vec<String> {
    let is_password = |line: &&str| {
        line.starts_with("password ")
            || line.starts_with("password_pbkdf2 ")
            || line.starts_with("GRUB2_PASSWORD=")
    };
    config_lines(text)
        .find(is_password)
        .map(|_| "a password is set".to_owned())
        .into_iter()
        .collect()
}

/// popularity-contest's id.
pub fn popcon_id(text: &str) -> Vec<String> {
    secret_settings(text, &["MY_HOSTID"])
}

/// libvirt's id of the host.
pub fn libvirt_host(text: &str) -> Vec<String> {
    secret_settings(text, &["host_uuid"])
}

/// The Puppet agent's fixed name.
pub fn puppet_name(text: &str) -> Vec<String> {
    secret_settings(text, &["certname"])
}

/// The Landscape client's account and name.
pub fn landscape(text: &str) -> Vec<String> {
    secret_settings(
        text,
        &["computer_title", "registration_key", "account_name"],
    )
}

/// Fixed names of monitoring agents.
pub fn agent_name(text: &str) -> Vec<String> {
    secret_settings(text, &["hostname", "display_name", "node_name"])
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

/// A name of anything but a public key.
pub fn private_name(name: &str) -> Option<String> {
    (!name.ends_with(".pub")).then(String::new)
}
