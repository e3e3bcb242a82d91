//! How a guest sets up its network: one reader for each kind of configuration file.
//!
//! What is kept is how each interface gets its addresses and whether it is tied to one hardware
//! address, because that is what a clone has to change. Keys and passwords in these files are
//! never kept. What a running system made of the files is not known here.

pub mod ifupdown;
pub mod keyfile;
pub mod netplan;

use super::look::{Look, clip};
use serde::{Deserialize, Serialize};

/// Most interfaces of one file that are kept.
pub(crate) const MAX_INTERFACES: usize = 1000;
/// Most values of one kind that are kept for one interface.
const MAX_VALUES: usize = 64;

/// The kind of a network configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkKind {
    /// interfaces(5) of ifupdown.
    Ifupdown,
    /// netplan(5).
    Netplan,
    /// systemd.network(5) and systemd.link(5).
    Networkd,
    /// NetworkManager's keyfiles, nm-settings-keyfile(5).
    NetworkManager,
    /// `ifcfg-*` of Red Hat's initscripts.
    Ifcfg,
}

/// How an interface gets its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Addressing {
    /// From a DHCP server.
    Dhcp,
    /// Written into the file.
    Static,
    /// From router advertisements only.
    Auto,
    /// None, or by something else.
    Other,
}

/// One interface as one file describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name or the pattern that it is matched by.
    pub name: String,
    /// How it gets its addresses, without repetition.
    pub addressing: Vec<Addressing>,
    /// The addresses written in the file.
    pub addresses: Vec<String>,
    /// The hardware addresses that it is tied to or is given.
    pub macs: Vec<String>,
}

impl Interface {
    /// An interface of which only the name is known.
    pub fn named(name: &str) -> Self {
        Interface {
            name: clip(name),
            ..Interface::default()
        }
    }

    /// Adds a way of getting addresses.
    pub fn gets(&mut self, addressing: Addressing) {
        if !self.addressing.contains(&addressing) {
            self.addressing.push(addressing);
        }
    }

    /// Adds an address of its own.
    pub fn has_address(&mut self, address: &str) {
        self.gets(Addressing::Static);
        if self.addresses.len() < MAX_VALUES {
            self.addresses.push(clip(address));
        }
    }

    /// Adds the hardware address in `text`, if there is one.
    pub fn is_tied_to(&mut self, text: &str) {
        if let Some(mac) = mac_in(text)
            && self.macs.len() < MAX_VALUES
            && !self.macs.contains(&mac)
        {
            self.macs.push(mac);
        }
    }
}

/// One configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkFile {
    /// Its path.
    pub path: String,
    /// Its kind.
    pub kind: NetworkKind,
    /// The interfaces that it describes, `lo` left out.
    pub interfaces: Vec<Interface>,
}

/// Reads the configuration files of every kind that the guest has.
pub fn read(look: &mut Look<'_>) -> Vec<NetworkFile> {
    let mut files = Vec::new();
    let mut paths = vec!["/etc/network/interfaces".to_owned()];
    paths.extend(look.files_with_suffix("/etc/network/interfaces.d", ""));
    add(look, &mut files, NetworkKind::Ifupdown, paths, |text| {
        Ok(ifupdown::parse(text))
    });
    let paths = look.files_with_suffix("/etc/netplan", ".yaml");
    add(
        look,
        &mut files,
        NetworkKind::Netplan,
        paths,
        netplan::parse,
    );
    let mut paths = look.files_with_suffix("/etc/systemd/network", ".network");
    paths.extend(look.files_with_suffix("/etc/systemd/network", ".link"));
    add(look, &mut files, NetworkKind::Networkd, paths, |text| {
        Ok(keyfile::networkd(text))
    });
    let paths = look.files_with_suffix("/etc/NetworkManager/system-connections", "");
    let connection = |text: &str| Ok(keyfile::network_manager(text));
    add(
        look,
        &mut files,
        NetworkKind::NetworkManager,
        paths,
        connection,
    );
    let mut paths = look.files_with_suffix("/etc/sysconfig/network-scripts", "");
    paths.retain(|path| path.contains("/ifcfg-") && !path.ends_with("-lo"));
    add(look, &mut files, NetworkKind::Ifcfg, paths, |text| {
        Ok(keyfile::ifcfg(text))
    });
    files
}

fn add(
    look: &mut Look<'_>,
    files: &mut Vec<NetworkFile>,
    kind: NetworkKind,
    paths: Vec<String>,
    parse: impl Fn(&str) -> Result<Vec<Interface>, String>,
) {
    for path in paths {
        let Some(text) = look.text(&path) else {
            continue;
        };
        match parse(&text) {
            Ok(mut interfaces) => {
                interfaces.retain(|interface| interface.name != "lo");
                interfaces.truncate(MAX_INTERFACES);
                files.push(NetworkFile {
                    path,
                    kind,
                    interfaces,
                });
            }
            Err(why) => look.unknown(format!("{path}: {why}")),
        }
    }
}

/// The first hardware address in `text`, in lower case with colons.
pub fn mac_in(text: &str) -> Option<String> {
    let is_part = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '-';
    text.split(|c| !is_part(c)).find_map(|word| {
        let separator = if word.contains(':') { ':' } else { '-' };
        let parts: Vec<&str> = word.split(separator).collect();
        let is_byte =
            |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_mac = parts.len() == 6 && parts.iter().all(is_byte);
        is_mac.then(|| parts.join(":").to_ascii_lowercase())
    })
}
