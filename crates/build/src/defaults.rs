//! What a recipe means where it says nothing, and which packages that implies.
//!
//! Apart from the types so that the defaults can be read on one screen.

use crate::recipe::{BootMethod, Disk, Filesystem, PartitionTable, Recipe};
use stampo_core::hardware::Hardware;
use stampo_core::size::ByteSize;
use std::collections::{BTreeMap, BTreeSet};

/// Consoles that every template has: the screen, and the serial line that `stampo console` shows.
pub const CONSOLES: &str = "console=tty0 console=ttyS0,115200n8";
/// The architecture that templates are built for.
pub const ARCHITECTURE: &str = "amd64";

impl Default for Disk {
    fn default() -> Self {
        Disk {
            size: ByteSize::gib(3),
            filesystem: Filesystem::Ext4,
            layout: PartitionTable::Gpt,
            boot: BTreeSet::from([BootMethod::Bios, BootMethod::Uefi]),
        }
    }
}

impl Default for Recipe {
    fn default() -> Self {
        Recipe {
            description: String::new(),
            labels: BTreeMap::new(),
            from: None,
            release: "bookworm".to_owned(),
            components: vec!["main".to_owned()],
            mirror: None,
            sources: Vec::new(),
            snapshot: None,
            source_date_epoch: None,
            lock: None,
            packages: BTreeSet::new(),
            recommends: false,
            slim: true,
            kernel: "cloud".to_owned(),
            kernel_command_line: "quiet".to_owned(),
            cloud_init: false,
            guest_agent: true,
            ssh_server: true,
            locale: "C.UTF-8".to_owned(),
            time_zone: "Etc/UTC".to_owned(),
            disk: Disk::default(),
            hardware: Hardware::default(),
            services: crate::recipe::Services::default(),
            sysctl: BTreeMap::new(),
            files: Vec::new(),
            users: Vec::new(),
        }
    }
}

/// Packages that bring up the network themselves: with one of them stampo configures nothing.
const NETWORK_PACKAGES: [&str; 5] = [
    "ifupdown",
    "ifupdown-ng",
    "network-manager",
    "netplan.io",
    "connman",
];

impl Recipe {
    /// The package that holds the kernel.
    pub fn kernel_package(&self) -> String {
        match self.kernel.as_str() {
            "cloud" => format!("linux-image-cloud-{ARCHITECTURE}"),
            "generic" => format!("linux-image-{ARCHITECTURE}"),
            package => package.to_owned(),
        }
    }

    /// Whether the recipe leaves the network to systemd-networkd, stampo's default.
    pub fn uses_networkd(&self) -> bool {
        !NETWORK_PACKAGES
            .iter()
            .any(|package| self.packages.contains(*package))
    }

    /// Everything that is asked of apt: what the recipe names and what its settings imply.
    pub fn all_packages(&self) -> BTreeSet<String> {
        let mut all = self.packages.clone();
        let mut add = |wanted: bool, names: &[&str]| {
            if wanted {
                all.extend(names.iter().map(|name| (*name).to_owned()));
            }
        };
        add(
            true,
            &[
                "systemd-sysv",
                "udev",
                "dbus",
                "initramfs-tools",
                "e2fsprogs",
                "tzdata",
            ],
        );
        add(true, &["iproute2", "netbase", "procps", "kmod", "zstd"]);
        add(true, &["grub-common", "grub2-common", "grub-pc-bin"]);
        add(
            self.disk.boot.contains(&BootMethod::Uefi),
            &["grub-efi-amd64-signed", "shim-signed"],
        );
        add(
            self.uses_networkd() && self.release != "bullseye",
            &["systemd-resolved"],
        );
        add(self.guest_agent, &["qemu-guest-agent"]);
        add(self.ssh_server, &["openssh-server"]);
        add(self.cloud_init, &["cloud-init"]);
        add(self.locale != "C.UTF-8" && self.locale != "C", &["locales"]);
        add(self.users.iter().any(|user| user.sudo), &["sudo"]);
        all.insert(self.kernel_package());
        all
    }

    /// The whole kernel command line.
    pub fn whole_command_line(&self) -> String {
        format!("{CONSOLES} {}", self.kernel_command_line)
            .trim_end()
            .to_owned()
    }
}
