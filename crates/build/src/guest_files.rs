//! The configuration files that every built template gets, before the recipe's own files.
//!
//! Each is here with the reason why it is as it is. What is done by commands of the guest (users,
//! services, the locale) is in `customise.rs`.

use crate::apt_errors::SETTING_MARK;
use crate::defaults::CONSOLES;
use crate::disk::ROOT_LABEL;
use crate::recipe::{BootMethod, Recipe};
use stampo_core::personalisation::File;

/// A file of root that everybody may read.
pub fn root_file(path: &str, content: String) -> File {
    File {
        path: path.to_owned(),
        content: content.into_bytes(),
        mode: 0o644,
        owner: "root".to_owned(),
        group: "root".to_owned(),
    }
}

/// Drivers in the initrd. Debian's default (`MODULES=most`) makes it five times as large, and the
/// firmware reads it before anything else can run; `dep` would look at the build machine. The
/// list covers every bus that stampo's hardware has, and the other hypervisors that an exported
/// template may meet. A name that a kernel does not have is skipped.
const INITRD_MODULES: &str = "virtio_pci virtio_mmio virtio_blk virtio_scsi virtio_net sd_mod sr_mod ahci ata_piix \
    nvme vmw_pvscsi mptspi hv_vmbus hv_storvsc xen-blkfront ext4 crc32c";

/// Files that must be there before the kernel is installed, because its initrd is made of them.
pub fn early() -> Vec<File> {
    vec![
        root_file(
            "/etc/initramfs-tools/conf.d/stampo",
            "MODULES=list\n".to_owned(),
        ),
        File {
            mode: 0o755,
            ..root_file("/etc/initramfs-tools/hooks/stampo", initrd_hook())
        },
    ]
}

/// Copies the drivers into the initrd, where udev loads those that the machine needs. A list in
/// `modules.d` would have all of them loaded, one after the other, at every start
/// (initramfs-tools(7), "Hook scripts" and `manual_add_modules`).
fn initrd_hook() -> String {
    format!(
        "#!/bin/sh\n# Made with the template: drivers for the disks of virtual machines.\n\
         if [ \"$1\" = prereqs ]; then exit 0; fi\n\
         . /usr/share/initramfs-tools/hook-functions\nmanual_add_modules {INITRD_MODULES}\n"
    )
}

/// Files that are written when all packages are installed.
pub fn late(recipe: &Recipe, guest_sources: &[String]) -> Vec<File> {
    let mut files = vec![
        root_file("/etc/fstab", fstab(recipe)),
        root_file("/etc/hosts", HOSTS.to_owned()),
        root_file("/etc/hostname", "localhost\n".to_owned()),
        root_file("/etc/apt/sources.list", guest_sources.join("\n") + "\n"),
        root_file("/etc/default/grub.d/stampo.cfg", grub_defaults(recipe)),
        root_file("/boot/grub/grub.cfg", grub_config(recipe)),
    ];
    if recipe.uses_networkd() {
        files.push(root_file(
            "/etc/systemd/network/99-dhcp.network",
            DHCP.to_owned(),
        ));
    }
    if !recipe.sysctl.is_empty() {
        let lines = recipe
            .sysctl
            .iter()
            .map(|(key, value)| format!("{key} = {value}\n"));
        files.push(root_file("/etc/sysctl.d/90-template.conf", lines.collect()));
    }
    files
}

/// No address of the host's own name: `hostname` is resolved by nss-myhostname or the resolver.
const HOSTS: &str = "127.0.0.1 localhost\n127.0.1.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n\
    ff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n";

/// Every Ethernet interface by DHCP, whatever it is called. `99-` so that any other file wins.
const DHCP: &str = "# Made with the template: the fallback for every Ethernet interface.\n\
    [Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n";

/// The root by label: a clone may have a filesystem UUID of its own, and the label stays.
fn fstab(recipe: &Recipe) -> String {
    let root = format!("LABEL={ROOT_LABEL} / ext4 errors=remount-ro,x-systemd.growfs 0 1\n");
    if recipe.disk.boot.contains(&BootMethod::Uefi) {
        // Only needed when the boot loader itself is replaced, so boots don't wait for it.
        root + "LABEL=EFI /boot/efi vfat umask=0077,noauto 0 0\n"
    } else {
        root
    }
}

/// For the guest's own `update-grub`, which runs when a kernel is installed: the label instead of
/// a UUID (grub-mkconfig takes `GRUB_DEVICE` from here), and both consoles.
fn grub_defaults(recipe: &Recipe) -> String {
    format!(
        "GRUB_TIMEOUT=0\nGRUB_DEVICE=LABEL={ROOT_LABEL}\nGRUB_DISABLE_LINUX_UUID=true\n\
         GRUB_CMDLINE_LINUX=\"{CONSOLES}\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"{}\"\n\
         GRUB_TERMINAL=console\nGRUB_DISABLE_OS_PROBER=true\n",
        recipe.kernel_command_line
    )
}

/// The menu that the build writes: one entry through the links that Debian's kernel packages keep.
/// `update-grub` in the guest replaces it.
///
/// From BIOS the kernel is started by its 16-bit entry (Linux `Documentation/arch/x86/boot.rst`).
/// For the 32-bit one, GRUB 2.06 to 2.12 puts the kernel at 1 MiB and moves all the room that it
/// may need, 50 MB, to 16 MiB byte by byte: seconds of an emulated guest's start.
fn grub_config(recipe: &Recipe) -> String {
    let entry = |suffix: &str| {
        let options = recipe.whole_command_line();
        format!(
            "    linux{suffix} /vmlinuz root=LABEL={ROOT_LABEL} ro {options}\n    \
             initrd{suffix} /initrd.img\n"
        )
    };
    format!(
        "# Made with the template; update-grub replaces it.\nset timeout=0\nset default=0\n\
         menuentry 'Debian GNU/Linux' {{\n  if [ \"$grub_platform\" = pc ]; then\n{}  else\n{}  fi\n}}\n",
        entry("16"),
        entry("")
    )
}

/// The menu on the EFI partition: find the root filesystem, go on with its menu.
pub fn efi_grub_config() -> String {
    format!(
        "search --no-floppy --label --set=root {ROOT_LABEL} --hint hd0,gpt1\n\
         set prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n"
    )
}

/// A shell function for the customising script: run a command, and name the setting if it fails.
pub fn setting_function() -> String {
    format!(
        "setting() {{ what=$1; shift; \"$@\" </dev/null || {{ echo \"{SETTING_MARK}$what\" >&2; exit 1; }}; }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_bios_the_kernel_is_started_by_its_16_bit_entry() {
        let menu = grub_config(&Recipe::default());
        let (pc, other) = menu.split_once("  else\n").expect("two ways");
        assert!(pc.contains("= pc ]; then\n    linux16 /vmlinuz root=LABEL=stampo-root ro "));
        assert!(pc.ends_with("    initrd16 /initrd.img\n"));
        assert!(other.starts_with("    linux /vmlinuz root=LABEL=stampo-root ro "));
        assert!(other.ends_with("    initrd /initrd.img\n  fi\n}\n"));
    }

    #[test]
    fn drivers_are_copied_by_a_hook_that_can_be_run_and_none_is_listed_to_be_loaded() {
        let files = early();
        let hook = files
            .iter()
            .find(|file| file.path.contains("/hooks/"))
            .expect("a hook");
        assert_eq!(hook.mode, 0o755);
        assert!(!files.iter().any(|file| file.path.contains("modules")));
        let tar = crate::customise::plain_archive(&files).expect("a tar");
        let mut tar = tar::Archive::new(&tar[..]);
        let mut modes = tar.entries().expect("entries").map(|entry| {
            let entry = entry.expect("an entry");
            entry.header().mode().expect("a mode")
        });
        assert!(modes.any(|mode| mode == 0o755), "the tar keeps the mode");
    }
}
