//! The machine's own ids, names and seeds. Sources: machine-id(5) "First Boot Semantics",
//! hostname(5), systemd-random-seed.service(8), systemd.timer(5) `Persistent=`.

use super::Action::{Empty, Ensure, Keep, Link, Notice, Remove, Rewrite};
use super::{SealItem, row};
use crate::seal::rewrite::{lines, names};

const SYSTEMD: &[&str] = &[
    "/etc/machine-id",
    "/usr/lib/systemd/systemd",
    "/lib/systemd/systemd",
];

pub(super) const ITEMS: &[SealItem] = &[
    row(
        "machine-id",
        "the machine's id",
        &["/etc/machine-id"],
        Ensure {
            content: "",
            mode: 0o444,
        },
        "clones that share it share DHCP leases, journals and agent ids; an empty file makes \
         systemd write a new one at boot, also where the root is read-only at first. Not \
         `uninitialized` or absent: those mean \"first boot\", which resets every unit to its \
         preset and may ask questions on the console",
    )
    .needs(SYSTEMD)
    .secret(),
    row(
        "dbus-machine-id",
        "D-Bus' copy of the machine's id",
        &["/var/lib/dbus/machine-id"],
        Link("/etc/machine-id"),
        "a copy would outlive the new machine-id; a link cannot differ from it",
    )
    .secret(),
    row(
        "hostname",
        "the template's host name",
        &["/etc/hostname"],
        Ensure {
            content: "localhost\n",
            mode: 0o644,
        },
        "each clone has its own; `localhost` is the name that DHCP clients and systemd-hostnamed \
         take for \"not set\"",
    )
    .needs(&["/etc/hostname"]),
    row(
        "hosts",
        "the template's name in the hosts file",
        &["/etc/hosts"],
        Rewrite(names::hosts),
        "a stale name for 127.0.1.1 makes each clone answer to the template's name",
    ),
    row(
        "sysconfig-hostname",
        "the host name of older Red Hat systems",
        &["/etc/sysconfig/network"],
        Rewrite(|content, _| lines::drop_keys(content, &["HOSTNAME", "DHCP_HOSTNAME"])),
        "it would override the clone's own name",
    ),
    row(
        "machine-info",
        "the machine's name for people",
        &["/etc/machine-info"],
        Rewrite(|content, _| lines::drop_keys(content, &["PRETTY_HOSTNAME", "LOCATION"])),
        "it describes one machine; its other keys describe the kind of machine and stay",
    ),
    row(
        "random-seed",
        "the seed of the kernel's random numbers",
        &[
            "/var/lib/systemd/random-seed",
            "/var/lib/random-seed",
            "/var/lib/urandom/random-seed",
            "/var/lib/seedrng/*",
            "/boot/loader/random-seed",
            "/boot/efi/loader/random-seed",
            "/efi/loader/random-seed",
        ],
        Remove,
        "clones that start from one seed may make the same keys; systemd makes a new one",
    )
    .secret(),
    row(
        "credential-secret",
        "the key that encrypts systemd credentials",
        &["/var/lib/systemd/credential.secret"],
        Remove,
        "whoever has one clone could read the credentials of all; made again when it is needed",
    )
    .secret(),
    row(
        "credentials",
        "encrypted systemd credentials",
        &[
            "/etc/credstore.encrypted/*",
            "/var/lib/systemd/credstore.encrypted/*",
        ],
        Notice(
            None,
            "encrypt them in each clone: the host key that opens them is sealed away",
        ),
        "they open only with the template's credential.secret",
    ),
    row(
        "homed-key",
        "the key that signs systemd-homed users",
        &["/var/lib/systemd/home/local.private"],
        Notice(None, "do not put systemd-homed users into a template"),
        "without it the template's homed users are refused, with it clones accept each other's",
    ),
    row(
        "boot-entries",
        "boot entries that are named after the machine's id",
        &["/boot/loader/entries/*.conf", "/etc/kernel/entry-token"],
        Notice(
            Some(names::machine_id_in_boot_entry),
            "set `entry-token=os-id` in /etc/kernel/install.conf and reinstall the kernel",
        ),
        "renaming them could leave the guest without a way to boot",
    ),
    row(
        "timer-stamps",
        "when persistent systemd timers ran last",
        &["/var/lib/systemd/timers/stamp-*"],
        Remove,
        "with old stamps every clone runs every missed timer at once, all at the same moment",
    ),
    row(
        "uuid-clock",
        "the clock sequence of time-based UUIDs",
        &[
            "/var/lib/libuuid/clock.txt",
            "/var/lib/libuuid/clock-cont.txt",
        ],
        Remove,
        "two clones with one clock state can make the same UUIDs; made again when it is needed",
    ),
    row(
        "pending-state",
        "saved states of radios and backlights",
        &["/var/lib/systemd/rfkill/*", "/var/lib/systemd/backlight/*"],
        Remove,
        "they belong to hardware that a clone does not have",
    ),
    row(
        "clock-drift",
        "measured errors of the template's clock",
        &[
            "/var/lib/chrony/drift",
            "/var/lib/chrony/chrony.drift",
            "/var/lib/ntp/ntp.drift",
            "/var/lib/ntp/drift",
            "/var/lib/ntpsec/ntp.drift",
        ],
        Remove,
        "it describes another machine's crystal; measured again",
    ),
    row(
        "clone-traces",
        "what stampo wrote when the template was itself a clone",
        &[
            "/var/lib/stampo/*",
            "/usr/lib/stampo/first-boot-user",
            "/etc/systemd/system/stampo-user-script.service",
            "/etc/systemd/system/*.wants/stampo-user-script.service",
        ],
        Remove,
        "a new clone must not take over the marker, the ids and the script of an old one",
    ),
    row(
        "resolv-conf",
        "name servers of the place where the template was made",
        &["/etc/resolv.conf"],
        Empty,
        "they are often reachable only there; DHCP clients and personalisation write it again",
    ),
    row(
        "timesync-clock",
        "the newest time that systemd-timesyncd saw",
        &["/var/lib/systemd/timesync/clock"],
        Keep,
        "a lower bound for the clock that is good for every clone, and no identity",
    ),
    row(
        "adjtime",
        "whether the hardware clock runs in UTC",
        &["/etc/adjtime"],
        Keep,
        "a setting; clones have the same kind of clock",
    ),
];
