//! Files that only policies ask about, each with a parser that takes text and gives values.
//!
//! Package sources are in [`sources`]. Nothing is executed or expanded, and no password of a file
//! is kept. The text comes through [`Look`], which limits it and remembers what could not be read.

pub mod sources;

use serde::{Deserialize, Serialize};
use sources::Source;
use stampo_guest::inspect::kernels::Kernel;
use stampo_guest::inspect::look::{Look, clip, config_lines};
use stampo_guest::inspect::sshd::{self, Setting};
use stampo_guest::inspect::sysctl;
use std::collections::BTreeMap;

/// Most values of one file that are kept.
const MAX_VALUES: usize = 1000;
/// Most kernels whose drivers are looked for.
const MAX_KERNELS: usize = 20;
/// Largest list of kernel modules that is read, in bytes.
const MAX_MODULES_BYTES: u64 = 16 << 20;
/// What login.defs is asked for.
const LOGIN_KEYS: &[&str] = &["PASS_MAX_DAYS", "ENCRYPT_METHOD", "UMASK"];
/// GRUB's generated configuration.
const GRUB_CONFIGS: &[&str] = &["/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"];
/// Drivers without which a guest finds no disk or no network on KVM.
const DRIVERS: &[&str] = &["virtio_blk", "virtio_net", "virtio_pci"];

/// resolv.conf(5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// Where it links to; `None` for a file.
    pub link: Option<String>,
    /// The name servers in it.
    pub name_servers: Vec<String>,
}

/// One line of hosts(5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostLine {
    /// The address.
    pub address: String,
    /// Its names.
    pub names: Vec<String>,
}

/// One line of crypttab(5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CryptDevice {
    /// The name of the opened device.
    pub name: String,
    /// The file with the key; `None` when a person is asked.
    pub key_file: Option<String>,
}

/// Drivers of a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drivers {
    /// The kernel's release.
    pub release: String,
    /// Drivers for KVM that it has neither built in nor as a module.
    pub missing: Vec<String>,
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// login.defs(5).
    pub login: BTreeMap<String, String>,
    /// resolv.conf(5), if there is one.
    pub resolver: Option<Resolver>,
    /// hosts(5).
    pub hosts: Vec<HostLine>,
    /// Where packages come from.
    pub sources: Vec<Source>,
    /// Settings of the package managers that switch off signatures: `(path, setting)`.
    pub unsigned: Vec<(String, String)>,
    /// `APT::Periodic::…` by the last part of the key.
    pub apt_periodic: BTreeMap<String, String>,
    /// sysctl.d(5): the last value of each key with its file.
    pub sysctl: BTreeMap<String, Setting>,
    /// What `Match` blocks of the ssh server set.
    pub ssh_matches: Vec<(String, Setting)>,
    /// Whether GRUB asks for a password.
    pub grub_password: bool,
    /// crypttab(5).
    pub crypt_devices: Vec<CryptDevice>,
    /// Each kernel with modules, and what it lacks.
    pub drivers: Vec<Drivers>,
    /// Whether a check of the filesystem is asked for at the next start.
    pub force_check: bool,
}

impl Files {
    /// Reads them all.
    pub(crate) fn read(look: &mut Look<'_>, kernels: &[Kernel]) -> Self {
        let text = |look: &mut Look<'_>, path: &str| look.text(path).unwrap_or_default();
        let resolver = look.exists("/etc/resolv.conf").then(|| {
            let link = look.link("/etc/resolv.conf");
            let content = match &link {
                // What a running system makes is not in the template.
                Some(target) if target.contains("run/") => String::new(),
                _ => text(look, "/etc/resolv.conf"),
            };
            Resolver {
                link,
                name_servers: name_servers(&content),
            }
        });
        let grub = GRUB_CONFIGS.iter().map(|path| text(look, path));
        let grub_password = grub.fold(false, |found, text| found | asks_for_password(&text));
        let (sources, unsigned) = sources::read(look);
        Files {
            login: login(&text(look, "/etc/login.defs")),
            resolver,
            hosts: hosts(&text(look, "/etc/hosts")),
            sources,
            unsigned,
            apt_periodic: sources::read_periodic(look),
            sysctl: sysctl::read(look),
            ssh_matches: sshd::read_matches(look),
            grub_password,
            crypt_devices: crypttab(&text(look, "/etc/crypttab")),
            drivers: read_drivers(look, kernels),
            force_check: look.exists("/forcefsck"),
        }
    }
}

/// login.defs(5): `KEY value`.
pub fn login(text: &str) -> BTreeMap<String, String> {
    let known = |line: &str| {
        let (key, value) = line.split_once(char::is_whitespace)?;
        LOGIN_KEYS
            .contains(&key)
            .then(|| (key.to_owned(), clip(value)))
    };
    config_lines(text).filter_map(known).collect()
}

/// resolv.conf(5): the name servers.
pub fn name_servers(text: &str) -> Vec<String> {
    let server = |line: &str| {
        let (key, value) = line.split_once(char::is_whitespace)?;
        (key == "nameserver").then(|| clip(value))
    };
    config_lines(text)
        .filter_map(server)
        .take(MAX_VALUES)
        .collect()
}

/// hosts(5).
pub fn hosts(text: &str) -> Vec<HostLine> {
    let host = |line: &str| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        Some(HostLine {
            address: clip(words.next()?),
            names: words.take(MAX_VALUES).map(clip).collect(),
        })
    };
    config_lines(text)
        .filter_map(host)
        .take(MAX_VALUES)
        .collect()
}

/// crypttab(5): `name device key-file options`.
pub fn crypttab(text: &str) -> Vec<CryptDevice> {
    let device = |line: &str| {
        let mut words = line.split_whitespace();
        let name = clip(words.next()?);
        let key = words
            .nth(1)
            .filter(|key| !matches!(*key, "none" | "-" | ""));
        Some(CryptDevice {
            name,
            key_file: key.map(clip),
        })
    };
    config_lines(text)
        .filter_map(device)
        .take(MAX_VALUES)
        .collect()
}

/// Whether a grub.cfg has a `password` command.
pub fn asks_for_password(text: &str) -> bool {
    config_lines(text)
        .any(|line| line.starts_with("password ") || line.starts_with("password_pbkdf2 "))
}

fn read_drivers(look: &mut Look<'_>, kernels: &[Kernel]) -> Vec<Drivers> {
    let with_modules = kernels.iter().filter(|kernel| kernel.has_modules);
    let mut all = Vec::new();
    for kernel in with_modules.take(MAX_KERNELS) {
        let directory = format!("/lib/modules/{}", kernel.release);
        let mut text = String::new();
        for name in ["modules.builtin", "modules.dep"] {
            let path = format!("{directory}/{name}");
            text.push_str(
                &look
                    .text_up_to(&path, MAX_MODULES_BYTES)
                    .unwrap_or_default(),
            );
            text.push('\n');
        }
        let missing = missing_drivers(&text);
        all.push(Drivers {
            release: kernel.release.clone(),
            missing: missing.into_iter().map(str::to_owned).collect(),
        });
    }
    all
}

/// The drivers that are in neither list of modules (modules.builtin, modules.dep).
pub fn missing_drivers(text: &str) -> Vec<&'static str> {
    let names: std::collections::HashSet<&str> = text
        .lines()
        .filter_map(|line| {
            let path = line.split(':').next()?;
            path.rsplit('/').next()?.split(".ko").next()
        })
        .collect();
    let is_missing = |driver: &&&str| !names.contains(**driver);
    DRIVERS.iter().filter(is_missing).copied().collect()
}
