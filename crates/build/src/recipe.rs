//! What a template is made of: the recipe as a user writes it, and as a build carries it out.
//!
//! [`RecipeFile`] is the TOML file: almost everything may be left out. [`Recipe`] is complete and
//! self-contained: defaults are filled in, files to copy are read, the package lock is read. A
//! recipe is therefore what a version records, and what a child recipe (`from`) starts with.
//!
//! Only types live here. Defaults are in `defaults.rs`, checks in `validate.rs`, reading in
//! `load.rs`.

use crate::lock::PackageLock;
use serde::{Deserialize, Serialize};
use stampo_core::hardware::Hardware;
use stampo_core::names::VersionRef;
use stampo_core::personalisation::{File, User};
use stampo_core::size::ByteSize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A recipe as written. Every key may be left out; unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct RecipeFile {
    /// One line for people. Default: empty.
    pub description: String,
    /// Free `key = "value"` pairs, kept with the version. Default: none.
    pub labels: BTreeMap<String, String>,
    /// A published version that was built from a recipe: this one only adds to it. Default: none.
    pub from: Option<VersionRef>,
    /// The Debian release, by code name. Default: `bookworm`.
    pub release: Option<String>,
    /// Archive components. Default: `["main"]`.
    pub components: Option<Vec<String>>,
    /// The address of a Debian archive; with `snapshot`, that of the snapshot service, up to
    /// before `/archive`. Default: the archive that this host uses itself.
    pub mirror: Option<String>,
    /// Whole lines of a `sources.list`. They replace everything that would be derived.
    pub sources: Vec<String>,
    /// A moment of Debian's snapshot service, as in `20260101T000000Z`: packages as they were then.
    pub snapshot: Option<String>,
    /// Seconds since 1970: the newest time that a file of the image may have. Default: the lock's,
    /// the snapshot's, or the last midnight (UTC).
    pub source_date_epoch: Option<u64>,
    /// A package lock from an earlier build, relative to the recipe: exactly these versions are
    /// installed, or the build fails. Default: none.
    pub lock: Option<PathBuf>,
    /// Packages to install beside what makes the guest start. Default: none.
    pub packages: BTreeSet<String>,
    /// Also install what packages recommend. Default: no.
    pub recommends: Option<bool>,
    /// Leave out documentation (copyrights stay), manual pages and translations. Default: yes.
    pub slim: Option<bool>,
    /// `cloud` (small, for virtual machines), `generic` (all drivers) or the name of a kernel
    /// package. Default: `cloud`.
    pub kernel: Option<String>,
    /// Added to the kernel command line, after the consoles. Default: `quiet`.
    pub kernel_command_line: Option<String>,
    /// Install cloud-init. Doubles the time to start; stampo does not need it. Default: no.
    pub cloud_init: Option<bool>,
    /// Install the QEMU guest agent. Default: yes.
    pub guest_agent: Option<bool>,
    /// Install the OpenSSH server. Default: yes.
    pub ssh_server: Option<bool>,
    /// The system's locale, as in `it_IT.UTF-8`. Default: `C.UTF-8`.
    pub locale: Option<String>,
    /// An IANA time zone. Default: `Etc/UTC`.
    pub time_zone: Option<String>,
    /// The disk. Default: see [`Disk`].
    pub disk: Option<Disk>,
    /// The hardware that clones get unless they ask for other. Default: see [`Hardware`].
    pub hardware: Option<Hardware>,
    /// Units to enable, disable or mask. Default: what the packages chose.
    pub services: Services,
    /// Kernel parameters, as in `"net.ipv4.ip_forward" = 1`. Default: none.
    pub sysctl: BTreeMap<String, SysctlValue>,
    /// Files to put into the image, over those of packages. Default: none.
    pub files: Vec<FileSource>,
    /// Users to make. Default: none (root alone, its password locked).
    pub users: Vec<User>,
}

/// A value of a kernel parameter: a number or a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SysctlValue {
    /// As in `1`.
    Number(i64),
    /// As in `"4096 87380 6291456"`.
    Text(String),
}

/// The disk of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Disk {
    /// The size that a guest sees; the file is sparse. Default: 3 GiB.
    pub size: ByteSize,
    /// The root filesystem. Default: ext4.
    pub filesystem: Filesystem,
    /// The partition table. Default: gpt.
    pub layout: PartitionTable,
    /// What the disk starts from. Default: both.
    pub boot: BTreeSet<BootMethod>,
}

/// The filesystems that a template can be built on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Filesystem {
    /// ext4.
    #[default]
    Ext4,
}

/// The partition tables that a template can be built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum PartitionTable {
    /// GUID partition table: 1 root (last on the disk, so that it can grow), 2 BIOS boot, 3 EFI
    /// system.
    #[default]
    Gpt,
}

/// A firmware that can start the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BootMethod {
    /// GRUB in a BIOS boot partition.
    Bios,
    /// shim and GRUB as Debian signed them, in an EFI system partition: Secure Boot works.
    Uefi,
}

/// What becomes of systemd units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Services {
    /// Started at boot.
    pub enable: BTreeSet<String>,
    /// Not started at boot, but other units may start them.
    pub disable: BTreeSet<String>,
    /// Never started.
    pub mask: BTreeSet<String>,
}

/// A file to put into the image: from the host, or written in the recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct FileSource {
    /// The absolute path in the guest.
    pub path: String,
    /// A file or a directory of the host, relative to the recipe and inside its directory.
    pub source: Option<PathBuf>,
    /// The content itself, instead of `source`.
    pub content: Option<String>,
    /// Permission bits in octal, as in `"0640"`. Default: 0644, or 0755 where the source is
    /// executable.
    pub mode: Option<String>,
    /// The owner, by name. Default: root.
    pub owner: Option<String>,
    /// The group, by name. Default: root.
    pub group: Option<String>,
}

/// A recipe with nothing left open. It is stored with the version that is built from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// One line for people.
    pub description: String,
    /// Free pairs, kept with the version.
    pub labels: BTreeMap<String, String>,
    /// The version whose recipe this one adds to, if any; already merged into the other fields.
    pub from: Option<VersionRef>,
    /// The Debian release, by code name.
    pub release: String,
    /// Archive components.
    pub components: Vec<String>,
    /// The archive's address, where one was asked for.
    pub mirror: Option<String>,
    /// Whole source lines, where they were given.
    pub sources: Vec<String>,
    /// A moment of the snapshot service that `mirror` names.
    pub snapshot: Option<String>,
    /// Seconds since 1970, where it was asked for.
    pub source_date_epoch: Option<u64>,
    /// The versions that must be installed.
    pub lock: Option<PackageLock>,
    /// Packages that were asked for.
    pub packages: BTreeSet<String>,
    /// Install recommended packages too.
    pub recommends: bool,
    /// Leave out documentation and translations.
    pub slim: bool,
    /// `cloud`, `generic` or a package name.
    pub kernel: String,
    /// Added to the kernel command line.
    pub kernel_command_line: String,
    /// Install cloud-init.
    pub cloud_init: bool,
    /// Install the QEMU guest agent.
    pub guest_agent: bool,
    /// Install the OpenSSH server.
    pub ssh_server: bool,
    /// The system's locale.
    pub locale: String,
    /// The time zone.
    pub time_zone: String,
    /// The disk.
    pub disk: Disk,
    /// The hardware of clones.
    pub hardware: Hardware,
    /// Units to enable, disable or mask.
    pub services: Services,
    /// Kernel parameters.
    pub sysctl: BTreeMap<String, String>,
    /// Files, their content included.
    pub files: Vec<File>,
    /// Users.
    pub users: Vec<User>,
}
