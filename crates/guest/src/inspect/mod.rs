//! Reading what a guest is, from its disk alone.
//!
//! Nothing of the guest runs and nothing is mounted; everything is untrusted and read with
//! limits. Each kind of information has its own file with a parser that takes text and gives
//! values. What could not be read is said in [`Inspection::unknowns`]: a value that is absent
//! there and here is really absent. Judging what is found is the business of policies, and
//! finding identity or secrets that of the seal proof.

pub mod agents;
pub mod apk;
pub mod boot;
pub mod cloud_init;
pub mod dpkg;
pub mod fstab;
pub mod kernels;
pub mod listening;
pub mod look;
pub mod manifest;
pub mod network;
pub mod os;
pub mod packages;
pub mod partitions;
pub mod rpm;
pub mod services;
pub mod settings;
pub mod sizes;
pub mod sshd;
pub mod sudoers;
pub mod sysctl;
pub mod users;
pub mod walk;
pub mod yaml;

use crate::fs::{Ext4Reader, FsError, GuestRead, find_root};
use look::Look;
use serde::{Deserialize, Serialize};
use stampo_image::device::BlockDevice;
use std::collections::BTreeMap;
use std::sync::Arc;
use walk::Found;

const NO_OS_RELEASE: &str = "os: no os-release was found";

/// Everything that is read from a guest's disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// The disk with its partitions; `None` when only a tree was looked at.
    pub disk: Option<partitions::Disk>,
    /// The operating system; `None` when no os-release was found.
    pub os: Option<os::Os>,
    /// Host name, time zone, locale.
    pub settings: settings::Settings,
    /// The kernels that are installed.
    pub kernels: Vec<kernels::Kernel>,
    /// How the guest boots.
    pub boot: boot::Boot,
    /// The installed packages.
    pub packages: packages::Packages,
    /// The accounts.
    pub users: Vec<users::User>,
    /// The groups.
    pub groups: Vec<users::Group>,
    /// What starts by itself.
    pub services: services::Services,
    /// The network configuration files.
    pub network: Vec<network::NetworkFile>,
    /// The ssh server's settings by lower-case keyword; `None` when there is no ssh server.
    pub sshd: Option<BTreeMap<String, sshd::Setting>>,
    /// Rules of sudo that ask for no password.
    pub sudo_without_password: Vec<sudoers::SudoRule>,
    /// cloud-init.
    pub cloud_init: cloud_init::CloudInit,
    /// The guest agents that are installed.
    pub guest_agents: Vec<agents::GuestAgent>,
    /// What is mounted at boot.
    pub fstab: Vec<fstab::Mount>,
    /// Sizes and counts.
    pub contents: sizes::Contents,
    /// What could not be read, and why. A policy must not take silence for an answer.
    pub unknowns: Vec<String>,
}

/// Reads everything that a disk tells: its partitions, and its Linux system if one can be read.
///
/// # Errors
/// When the disk can't be read, its partition table makes no sense, or no partition holds a Linux
/// system on a filesystem that can be read.
pub fn inspect(disk: Arc<dyn BlockDevice>) -> Result<Inspection, FsError> {
    let root = find_root(Arc::clone(&disk))?;
    let fs = Ext4Reader::open(Arc::clone(&root.device))?;
    let mut inspection = inspect_tree(fs.as_ref());
    inspection.add_disk(&disk, root.number)?;
    Ok(inspection)
}

/// Reads which system a disk holds and its packages, and nothing else: much less than [`inspect`].
///
/// # Errors
/// As [`inspect`].
pub fn inspect_packages(disk: Arc<dyn BlockDevice>) -> Result<Inspection, FsError> {
    let fs = Ext4Reader::open(find_root(disk)?.device)?;
    let mut look = Look::new(fs.as_ref());
    let os = os::read(&mut look);
    if os.is_none() {
        look.unknown(NO_OS_RELEASE.into());
    }
    Ok(Inspection {
        os,
        packages: packages::read(&mut look),
        unknowns: look.into_unknowns(),
        ..Inspection::default()
    })
}

impl Inspection {
    /// Adds what the disk around the tree tells; `root` is the number of the tree's partition.
    ///
    /// # Errors
    /// When the disk can't be read or its partition table makes no sense.
    pub fn add_disk(
        &mut self,
        disk: &Arc<dyn BlockDevice>,
        root: Option<u32>,
    ) -> Result<(), FsError> {
        let (layout, unknowns) = partitions::read(disk)?;
        self.unknowns.extend(layout.not_looked_into(root));
        self.disk = Some(layout);
        self.unknowns.extend(unknowns);
        Ok(())
    }
}

/// Reads everything that a root filesystem tells.
pub fn inspect_tree(fs: &dyn GuestRead) -> Inspection {
    inspect_tree_with(fs, &mut |_| {})
}

/// [`inspect_tree`], which shows every entry of its one walk to `visit`: who wants to know more
/// of each entry does not have to go over the tree again.
pub fn inspect_tree_with(fs: &dyn GuestRead, visit: &mut dyn FnMut(&Found<'_>)) -> Inspection {
    let mut look = Look::new(fs);
    let look_at = &mut look;
    let os = os::read(look_at);
    if os.is_none() {
        look_at.unknown(NO_OS_RELEASE.into());
    }
    let packages = packages::read(look_at);
    let services = services::read(look_at);
    let fstab = look_at.text("/etc/fstab").map(|text| fstab::parse(&text));
    let mut inspection = Inspection {
        disk: None,
        os,
        settings: settings::read(look_at),
        kernels: kernels::read(look_at),
        boot: boot::read(look_at),
        users: users::read_users(look_at),
        groups: users::read_groups(look_at),
        network: network::read(look_at),
        sshd: sshd::read(look_at),
        sudo_without_password: sudoers::read(look_at),
        cloud_init: cloud_init::read(look_at, &packages.installed),
        guest_agents: agents::read(look_at, &services),
        fstab: fstab.unwrap_or_default(),
        contents: sizes::read(look_at, visit),
        packages,
        services,
        unknowns: Vec::new(),
    };
    inspection.unknowns = look.into_unknowns();
    inspection
}
