//! Who owns which setting of a guest: stampo, writing offline, or cloud-init, at the first boot.
//!
//! The table is printed in the guide (docs/guide/personalising.md); a test keeps the two equal.

/// Who writes a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// stampo, into the overlay, before the first boot.
    Stampo,
    /// cloud-init, at the first boot, from the seed.
    CloudInit,
}

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// What it is, as the guide names it.
    pub setting: &'static str,
    /// Who writes it.
    pub writer: Writer,
    /// Where it is written.
    pub place: &'static str,
    /// How the other one is kept away from it, where cloud-init is present.
    pub held_back_by: &'static str,
}

const fn ours(setting: &'static str, place: &'static str, held_back_by: &'static str) -> Ownership {
    Ownership {
        setting,
        writer: Writer::Stampo,
        place,
        held_back_by,
    }
}

/// All settings.
pub const OWNERS: [Ownership; 13] = [
    ours(
        "host name",
        "/etc/hostname, /etc/hosts, /etc/mailname",
        "preserve_hostname, manage_etc_hosts",
    ),
    ours(
        "machine-id",
        "/etc/machine-id",
        "cloud-init has no module for it",
    ),
    ours(
        "ssh host keys",
        "/etc/ssh/ssh_host_*_key",
        "ssh_deletekeys, ssh_genkeytypes",
    ),
    ours(
        "ssh login keys",
        "~/.ssh/authorized_keys",
        "users, disable_root",
    ),
    ours(
        "users, passwords, sudo",
        "/etc/passwd and its kin, /etc/sudoers.d",
        "users",
    ),
    ours(
        "addresses and name servers",
        "the guest's own network program",
        "network: {config: disabled}",
    ),
    ours(
        "time zone",
        "/etc/localtime, /etc/timezone",
        "not set in our part",
    ),
    ours("files", "where you say", "not set in our part"),
    ours(
        "first-boot script",
        "stampo-user-script.service",
        "not set in our part",
    ),
    ours(
        "size of the root filesystem",
        "stampo-growfs.service",
        "growpart, resize_rootfs",
    ),
    ours(
        "random seed, iSCSI and NVMe names",
        "/var/lib/systemd/random-seed, /etc/iscsi, /etc/nvme",
        "cloud-init has no module for them",
    ),
    ours(
        "locale, package sources",
        "the template's, unchanged",
        "locale, apt",
    ),
    Ownership {
        setting: "your user-data",
        writer: Writer::CloudInit,
        place: "a MIME part of the seed, after ours",
        held_back_by: "stampo does not look into it",
    },
];

/// The rows of the guide's table.
pub fn markdown_table() -> String {
    let mut text = String::from(
        "| Setting | Written by | Where | The other is held back by |\n|---|---|---|---|\n",
    );
    for row in OWNERS {
        let writer = match row.writer {
            Writer::Stampo => "stampo, offline",
            Writer::CloudInit => "cloud-init",
        };
        text += &format!(
            "| {} | {writer} | {} | {} |\n",
            row.setting, row.place, row.held_back_by
        );
    }
    text
}
