//! Whether a clone starts, on this machine and on another.

use super::row;
use crate::check::Severity::{High, Low, Medium};
use crate::check::Test::Ask;
use crate::check::{Check, When};
use crate::inquiry::{Answer, Found, Inquiry};
use stampo_guest::inspect::kernels::Kernel;
use stampo_guest::inspect::packages::PackageManager;

const BASELINE: &[&str] = &["NIST CM-2", "NIST CP-10"];

pub(super) const CHECKS: &[Check] = &[
    row(
        "boot.modules",
        "every kernel has its modules",
        High,
        When::Kernel,
        Ask(modules),
    )
    .why("a kernel without them finds no network and few disks")
    .mend("guest# apt-get install --reinstall linux-image-RELEASE")
    .maps(BASELINE)
    .reads(&["/boot", "/lib/modules"]),
    row(
        "boot.initrd",
        "every kernel has an initial ramdisk",
        High,
        When::Kernel,
        Ask(initrd),
    )
    .why("without it most kernels do not find their root filesystem")
    .mend("guest# update-initramfs -c -k RELEASE")
    .maps(BASELINE)
    .reads(&["/boot"]),
    row(
        "boot.virtio",
        "every kernel has the drivers of KVM",
        High,
        When::Kernel,
        Ask(virtio),
    )
    .why("without them a clone finds neither its disk nor its network")
    .mend("guest# apt-get install linux-image-amd64")
    .maps(BASELINE)
    .reads(&["/lib/modules"]),
    row(
        "boot.fstab",
        "filesystems are mounted by id or label",
        Medium,
        When::Always,
        Ask(fstab),
    )
    .why("the name of a disk depends on the machine and on what else is plugged in")
    .mend("guest# sed -i 's|^/dev/NAME|UUID=ID|' /etc/fstab")
    .maps(BASELINE)
    .reads(&["/etc/fstab"]),
    row(
        "boot.root-device",
        "the kernel finds its root by id or label",
        Medium,
        When::Grub,
        Ask(root_device),
    )
    .why("the name of a disk depends on the machine and on what else is plugged in")
    .mend("guest# update-grub")
    .maps(BASELINE)
    .reads(&["/boot"]),
    row(
        "boot.serial-console",
        "the kernel writes to the serial console",
        Low,
        When::Grub,
        Ask(serial_console),
    )
    .why("a guest that does not start can be read there, and nowhere else")
    .mend(
        "guest# sed -i 's/^GRUB_CMDLINE_LINUX=\"/&console=tty0 console=ttyS0 /' /etc/default/grub",
    )
    .maps(BASELINE)
    .reads(&["/boot"]),
    row(
        "boot.grub-password",
        "a password of GRUB is readable by root only",
        Medium,
        When::Grub,
        Ask(grub_password),
    )
    .why("whoever reads its hash can guess it")
    .mend("guest# chmod 0600 /boot/grub/grub.cfg")
    .maps(&["NIST AC-3"])
    .reads(&["/boot/grub", "/boot/grub2"]),
    row(
        "boot.secure-boot",
        "the guest has a signed first loader",
        Low,
        When::Efi,
        Ask(secure_boot),
    )
    .why("firmware that asks for signatures does not start the guest without it")
    .mend("guest# apt-get install shim-signed grub-efi-amd64-signed")
    .maps(&["NIST SI-7(9)"])
    .reads(&["packages"]),
];

/// One finding for each kernel that can be started and of which `what` has something to say.
fn each(inquiry: &Inquiry<'_>, what: impl Fn(&Kernel) -> Option<String>) -> Answer {
    let found = inquiry
        .evidence
        .inspection
        .kernels
        .iter()
        .filter_map(|kernel| {
            let image = kernel.image.as_ref()?;
            Some(Found::fail(image, what(kernel)?))
        });
    Answer::Looked(found.collect())
}

fn modules(inquiry: &Inquiry<'_>) -> Answer {
    each(inquiry, |kernel| {
        (!kernel.has_modules).then(|| format!("/lib/modules/{} is missing", kernel.release))
    })
}

fn initrd(inquiry: &Inquiry<'_>) -> Answer {
    each(inquiry, |kernel| {
        (!kernel.has_initrd).then(|| "it has no initial ramdisk".to_owned())
    })
}

fn virtio(inquiry: &Inquiry<'_>) -> Answer {
    let drivers = &inquiry.evidence.files.drivers;
    each(inquiry, |kernel| {
        let mine = drivers
            .iter()
            .find(|drivers| drivers.release == kernel.release)?;
        (!mine.missing.is_empty()).then(|| format!("it lacks {}", mine.missing.join(", ")))
    })
}

/// Names that the kernel gives in the order in which it finds disks.
fn is_device_name(text: &str) -> bool {
    const KINDS: &[&str] = &[
        "/dev/sd",
        "/dev/hd",
        "/dev/vd",
        "/dev/xvd",
        "/dev/nvme",
        "/dev/mmcblk",
    ];
    KINDS.iter().any(|kind| text.starts_with(kind))
}

fn fstab(inquiry: &Inquiry<'_>) -> Answer {
    let mounts = inquiry.evidence.inspection.fstab.iter();
    let found = mounts
        .filter(|mount| is_device_name(&mount.what))
        .map(|mount| {
            Found::fail(
                "/etc/fstab",
                format!("{} is mounted at {}", mount.what, mount.at),
            )
        });
    Answer::Looked(found.collect())
}

fn root_device(inquiry: &Inquiry<'_>) -> Answer {
    let entries = inquiry.evidence.inspection.boot.entries.iter();
    let found = entries.filter_map(|entry| {
        let mut words = entry.arguments.split_whitespace();
        let root = words.find_map(|word| word.strip_prefix("root="))?;
        is_device_name(root).then(|| Found::fail(&entry.source, format!("root={root}")))
    });
    Answer::Looked(found.collect())
}

fn serial_console(inquiry: &Inquiry<'_>) -> Answer {
    let entries = &inquiry.evidence.inspection.boot.entries;
    let says = |arguments: &str| {
        let mut words = arguments.split_whitespace();
        words.any(|word| word.starts_with("console=tty") && !is_virtual_terminal(word))
    };
    if entries.iter().any(|entry| says(&entry.arguments)) {
        return Answer::pass();
    }
    match entries.first() {
        Some(entry) => Answer::fail(&entry.source, "no kernel has console=ttyS0"),
        None => Answer::Unknown("no kernel's command line is known".into()),
    }
}

/// `console=tty0` is the screen; `ttyS0`, `ttyAMA0` and `hvc0` are serial.
fn is_virtual_terminal(word: &str) -> bool {
    let rest = word.trim_start_matches("console=tty");
    rest.bytes().next().is_none_or(|byte| byte.is_ascii_digit())
}

fn grub_password(inquiry: &Inquiry<'_>) -> Answer {
    if !inquiry.evidence.files.grub_password {
        return Answer::NotApplicable("GRUB asks for no password".into());
    }
    let rights = &inquiry.evidence.entries.rights;
    let found = ["/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"]
        .iter()
        .filter_map(|path| {
            let mode = rights.get(*path)?.mode;
            (mode & 0o077 != 0).then(|| Found::fail(*path, format!("mode {mode:04o}")))
        });
    Answer::Looked(found.collect())
}

fn secure_boot(inquiry: &Inquiry<'_>) -> Answer {
    match inquiry.evidence.inspection.packages.manager {
        Some(PackageManager::Dpkg) if inquiry.has_package("shim-signed") => Answer::pass(),
        Some(PackageManager::Dpkg) => Answer::fail("shim-signed", "it is not installed"),
        Some(PackageManager::Apk) => Answer::fail("shim", "the distribution has none"),
        _ => Answer::Unknown("its packages can't be read".into()),
    }
}
