//! From options and a spec file to one clone spec. Options win over the file.
//!
//! The file's form is the user's, not the wire's: paths of the host are read here, and text stays
//! text. Every path in it starts from the file's own directory.

use crate::args::CloneArgs;
use serde::Deserialize;
use stampo_api::{Kind, Problem, Reply};
use stampo_core::goal::{CloneKind, Goal};
use stampo_core::instant::Instant;
use stampo_core::network::AddressRange;
use stampo_core::personalisation::{File, Personalisation, User};
use stampo_core::plan::CloneSpec;
use stampo_core::size::ByteSize;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// A spec file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SpecFile {
    count: Option<u32>,
    kind: Option<CloneKind>,
    instant: Option<Instant>,
    goal: Option<Goal>,
    cpus: Option<u32>,
    memory: Option<ByteSize>,
    disk_size: Option<ByteSize>,
    extra_disks: Vec<ByteSize>,
    start: Option<bool>,
    domain: Option<String>,
    time_zone: Option<String>,
    ssh_keys: Vec<String>,
    users: Vec<SpecUser>,
    root_password_hash: Option<String>,
    network: SpecNetwork,
    files: Vec<SpecFileEntry>,
    first_boot_script: Option<PathBuf>,
    user_data: Option<PathBuf>,
}

/// A user in a spec file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SpecUser {
    name: String,
    password_hash: Option<String>,
    ssh_keys: Vec<String>,
    groups: Vec<String>,
    sudo: bool,
    shell: Option<String>,
    uid: Option<u32>,
}

/// The network in a spec file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SpecNetwork {
    address: Option<AddressRange>,
    gateway: Option<IpAddr>,
    dns: Vec<IpAddr>,
    bridge: Option<String>,
}

/// A file in a spec file: its text, or a file of the host.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpecFileEntry {
    path: String,
    text: Option<String>,
    source: Option<PathBuf>,
    mode: Option<String>,
    owner: Option<String>,
    group: Option<String>,
}

/// The largest file of the host that is read for a guest.
const FILE_LIMIT_BYTES: u64 = 256 << 20;

fn usage(message: impl Into<String>) -> Problem {
    Problem::new(Kind::Usage, message)
}

/// A file or pipe of the host, whole. What has no end is refused.
pub fn read(path: &Path) -> Reply<Vec<u8>> {
    let failed = |error: std::io::Error| usage(format!("read {}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > FILE_LIMIT_BYTES {
        let most = ByteSize(FILE_LIMIT_BYTES);
        return Err(usage(format!(
            "read {}: it is larger than {most}",
            path.display()
        )));
    }
    Ok(bytes)
}

pub fn read_text(path: &Path) -> Reply<String> {
    String::from_utf8(read(path)?)
        .map_err(|_| usage(format!("read {}: it is not UTF-8 text", path.display())))
}

/// The spec that the options and their spec file describe, and notes for the user.
pub fn clone_spec(args: &CloneArgs) -> Reply<(CloneSpec, Vec<String>)> {
    match &args.spec {
        None => joined(args, SpecFile::default(), Path::new("")),
        Some(path) => {
            let file = SpecFile::parse(path, &read_text(path)?)?;
            joined(args, file, path.parent().unwrap_or(Path::new("")))
        }
    }
}

/// The spec of these options and the text of a spec file, for fuzzing. `None` when the file names
/// files of the host: none is opened for this.
#[doc(hidden)]
pub fn clone_spec_of_text(args: &CloneArgs, text: &str) -> Reply<Option<CloneSpec>> {
    let file = SpecFile::parse(Path::new("-"), text)?;
    let is_key = |key: &String| key.contains(' ');
    let own = file.ssh_keys.iter().all(is_key)
        && file
            .users
            .iter()
            .flat_map(|user| &user.ssh_keys)
            .all(is_key)
        && file.files.iter().all(|file| file.source.is_none())
        && file.first_boot_script.is_none()
        && file.user_data.is_none();
    if !own {
        return Ok(None);
    }
    joined(args, file, Path::new("")).map(|(spec, _)| Some(spec))
}

impl SpecFile {
    fn parse(path: &Path, text: &str) -> Reply<Self> {
        toml::from_str(text).map_err(|error| usage(format!("read {}: {error}", path.display())))
    }
}

/// Options over a spec file whose paths start from `base`.
fn joined(args: &CloneArgs, file: SpecFile, base: &Path) -> Reply<(CloneSpec, Vec<String>)> {
    let mut notes = Vec::new();
    let goal = args.goal.map(Goal::from);
    let asks_kind = args.full || args.linked || goal.is_some();
    let of_file = file.instant.filter(|_| !asks_kind);
    let instant = args.instant.map(Instant::from).or(of_file);
    let mut personalisation = personalisation(args, &file, base)?;
    if personalisation.ssh_authorized_keys.is_empty() && !args.personal.no_personalisation {
        personalisation.ssh_authorized_keys = default_keys(&mut notes);
    }
    let kind = match (args.full, args.linked) {
        (true, _) => Some(CloneKind::Full),
        (_, true) => Some(CloneKind::Linked),
        _ if args.goal.is_some() || args.instant.is_some() => None,
        _ => file.kind,
    };
    let extra = &args.hardware.extra_disks;
    let spec = CloneSpec {
        count: args.count.or(file.count),
        kind,
        goal: goal.or(file.goal.filter(|_| args.instant.is_none())),
        instant,
        overcommit_memory: args.overcommit_memory,
        cpus: args.hardware.cpus.or(file.cpus),
        memory: args.hardware.memory.or(file.memory),
        disk_size: args.hardware.disk_size.or(file.disk_size),
        extra_disks: if extra.is_empty() {
            file.extra_disks
        } else {
            extra.clone()
        },
        start: if args.no_start {
            Some(false)
        } else {
            file.start
        },
        domain: args.personal.domain.clone().or(file.domain),
        address: args.personal.address.clone().or(file.network.address),
        gateway: args.personal.gateway.or(file.network.gateway),
        dns: if args.personal.dns.is_empty() {
            file.network.dns
        } else {
            args.personal.dns.clone()
        },
        bridge: args.personal.bridge.clone().or(file.network.bridge),
        no_personalisation: args.personal.no_personalisation,
        personalisation,
        no_wait: args.no_wait && instant.is_some(),
    };
    Ok((spec, notes))
}

fn personalisation(args: &CloneArgs, file: &SpecFile, base: &Path) -> Reply<Personalisation> {
    let personal = &args.personal;
    let mut own = Personalisation {
        ssh_authorized_keys: ssh_keys(&personal.ssh_keys, Path::new(""))?,
        time_zone: personal
            .time_zone
            .clone()
            .or_else(|| file.time_zone.clone()),
        root_password_hash: file.root_password_hash.clone(),
        ..Personalisation::default()
    };
    own.ssh_authorized_keys
        .extend(ssh_keys(&file.ssh_keys, base)?);
    if let Some(path) = &personal.root_password_hash_file {
        own.root_password_hash = Some(read_text(path)?.trim().to_owned());
    }
    own.users = users(&personal.users, file, base)?;
    for entry in &file.files {
        own.files.push(spec_file(entry, base)?);
    }
    for text in &personal.files {
        own.files.push(option_file(text)?);
    }
    own.first_boot_script = text_of(&personal.first_boot_script, &file.first_boot_script, base)?;
    own.user_data = text_of(&personal.user_data, &file.user_data, base)?;
    Ok(own)
}

/// The users of the spec file, and those of the options, which replace users of the same name.
fn users(options: &[String], file: &SpecFile, base: &Path) -> Reply<Vec<User>> {
    let in_file = file.users.iter().map(|user| spec_user(user, base));
    let mut users = in_file.collect::<Reply<Vec<User>>>()?;
    for text in options {
        let (name, sudo) = match text.split_once(':') {
            None => (text.as_str(), false),
            Some((name, "sudo")) => (name, true),
            Some(_) => {
                return Err(usage(format!(
                    "make the user {text:?}: write NAME or NAME:sudo"
                )));
            }
        };
        users.retain(|user| user.name != name);
        users.push(User {
            name: name.to_owned(),
            sudo,
            ..User::default()
        });
    }
    Ok(users)
}

/// The content of the file that the option names, else of the one that the spec file names.
fn text_of(
    option: &Option<PathBuf>,
    in_file: &Option<PathBuf>,
    base: &Path,
) -> Reply<Option<String>> {
    let in_file = || in_file.as_ref().map(|path| base.join(path));
    let path = option.clone().or_else(in_file);
    path.map(|path| read_text(&path)).transpose()
}

/// Each text is a public key or a file with public keys, one a line.
fn ssh_keys(texts: &[String], base: &Path) -> Reply<Vec<String>> {
    let mut keys = Vec::new();
    for text in texts {
        if text.contains(' ') {
            keys.push(text.clone());
            continue;
        }
        let content = read_text(&base.join(text))?;
        if content.contains("PRIVATE KEY") {
            let why = format!("use {text} as a public key: it is a private key");
            return Err(usage(why).hint(format!("{text}.pub")));
        }
        let lines = content.lines().map(str::trim);
        keys.extend(
            lines
                .filter(|l| !l.is_empty() && !l.starts_with('#'))
                .map(str::to_owned),
        );
    }
    Ok(keys)
}

/// The user's own public keys, where ssh keeps them.
fn default_keys(notes: &mut Vec<String>) -> Vec<String> {
    let Some(home) = std::env::var_os("HOME") else {
        return Vec::new();
    };
    let names = [
        "id_ed25519.pub",
        "id_ecdsa.pub",
        "id_rsa.pub",
        "id_ed25519_sk.pub",
    ];
    let mut keys = Vec::new();
    for name in names {
        let path = Path::new(&home).join(".ssh").join(name);
        if let Ok(text) = std::fs::read_to_string(&path) {
            keys.extend(
                text.lines()
                    .map(str::trim)
                    .filter(|l| !l.is_empty())
                    .map(str::to_owned),
            );
            notes.push(format!("your key {} may log in", path.display()));
        }
    }
    keys
}

fn spec_user(user: &SpecUser, base: &Path) -> Reply<User> {
    Ok(User {
        name: user.name.clone(),
        password_hash: user.password_hash.clone(),
        ssh_authorized_keys: ssh_keys(&user.ssh_keys, base)?,
        groups: user.groups.clone(),
        sudo: user.sudo,
        shell: user.shell.clone(),
        uid: user.uid,
    })
}

fn spec_file(entry: &SpecFileEntry, base: &Path) -> Reply<File> {
    let content = match (&entry.text, &entry.source) {
        (Some(text), None) => text.clone().into_bytes(),
        (None, Some(source)) => read(&base.join(source))?,
        _ => {
            return Err(usage(format!(
                "copy {}: give either text or source",
                entry.path
            )));
        }
    };
    let mode = match &entry.mode {
        None => 0o644,
        Some(text) => u32::from_str_radix(text, 8).map_err(|_| {
            usage(format!(
                "copy {}: its mode {text:?} is not octal, as in \"0644\"",
                entry.path
            ))
        })?,
    };
    let root = || "root".to_owned();
    Ok(File {
        path: entry.path.clone(),
        content,
        mode,
        owner: entry.owner.clone().unwrap_or_else(root),
        group: entry.group.clone().unwrap_or_else(root),
    })
}

/// `HOST_FILE:/path/in/guest`; the file's permission bits go with it.
fn option_file(text: &str) -> Reply<File> {
    use std::os::unix::fs::PermissionsExt;
    let (source, path) = text
        .split_once(":/")
        .ok_or_else(|| usage(format!("copy {text:?}: write FILE:/path/in/guest")))?;
    let content = read(Path::new(source))?;
    let meta =
        std::fs::metadata(source).map_err(|error| usage(format!("read {source}: {error}")))?;
    Ok(File {
        path: format!("/{path}"),
        content,
        mode: meta.permissions().mode() & 0o777,
        owner: "root".to_owned(),
        group: "root".to_owned(),
    })
}
