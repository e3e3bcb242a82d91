//! The recipe's own settings, as one shell script that runs inside the new system.
//!
//! It runs where the packages' own scripts run: in mmdebstrap's namespace or chroot. So owners
//! are looked up in the guest's own passwd, and a link in the guest's tree can't lead a file out
//! of it. The script and the files travel as one tar that is extracted to [`PLACE`], and leave
//! the tree again at the end.

use crate::guest_files::{late, setting_function};
use crate::quote::shell;
use crate::recipe::{BootMethod, Recipe};
use stampo_core::personalisation::{File, User};
use std::fmt::Write as _;
use std::io;

/// Where the script and its files are during the build.
pub const PLACE: &str = "/.stampo-build";

/// The modules in GRUB's BIOS image: enough to read a menu and a kernel from ext4 on GPT. All
/// others are on the disk and are loaded when a menu asks for them.
const GRUB_MODULES: &str = "biosdisk part_gpt ext2 normal linux linux16 search search_label search_fs_uuid \
    configfile serial terminal echo test minicmd ls cat all_video";

/// Takes out what mmdebstrap was told for the build only. dpkg's filters of a slim system stay,
/// under a name that says what they are.
const CLEAN_UP: &str = "echo 'I: stampo: customise' >&2
rm -f /etc/apt/sources.list.d/0000* /etc/apt/preferences.d/00stampo-lock /etc/apt/apt.conf.d/99mmdebstrap
if grep -q '^path-exclude' /etc/dpkg/dpkg.cfg.d/99mmdebstrap; then
    grep -v '^force-' /etc/dpkg/dpkg.cfg.d/99mmdebstrap > /etc/dpkg/dpkg.cfg.d/slim
fi
rm -f /etc/dpkg/dpkg.cfg.d/99mmdebstrap
";

/// A tar with the customising script and the files that it installs.
pub fn archive(recipe: &Recipe, guest_sources: &[String]) -> io::Result<Vec<u8>> {
    let mut files = late(recipe, guest_sources);
    files.extend(recipe.files.iter().cloned());
    let mut tar = tar::Builder::new(Vec::new());
    let place = PLACE.trim_start_matches('/');
    for (number, file) in files.iter().enumerate() {
        append(
            &mut tar,
            &format!("{place}/files/{number}"),
            0o644,
            &file.content,
        )?;
    }
    let text = script(recipe, &files);
    append(
        &mut tar,
        &format!("{place}/customise"),
        0o644,
        text.as_bytes(),
    )?;
    tar.into_inner()
}

/// A tar of files at their own paths, for hooks that run before anything is installed there.
pub fn plain_archive(files: &[File]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for file in files {
        let path = file.path.trim_start_matches('/');
        append(&mut tar, path, file.mode, &file.content)?;
    }
    tar.into_inner()
}

fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    path: &str,
    mode: u32,
    content: &[u8],
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    tar.append_data(&mut header, path, content)
}

/// The whole script. `files` are at `PLACE/files/0`, `…/1` and so on. The order matters: the
/// network and the consoles first, users before files that they own, units last of the settings.
fn script(recipe: &Recipe, files: &[File]) -> String {
    let mut text = String::from("set -eu\nexport DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8\n");
    text += &setting_function();
    text += CLEAN_UP;
    text += &localise(recipe);
    recipe.users.iter().for_each(|user| text += &add_user(user));
    for (number, file) in files.iter().enumerate() {
        text += &install(file, &format!("{PLACE}/files/{number}"));
    }
    if recipe.uses_networkd() {
        text += "setting 'enable systemd-networkd' systemctl enable systemd-networkd.service\n";
        // Nothing of Debian waits for it but units that ask for network-online.target; those
        // must not hang for two minutes on an interface without a cable.
        text += "mkdir -p /etc/systemd/system/systemd-networkd-wait-online.service.d\n\
            printf '[Service]\\nExecStart=\\nExecStart=/lib/systemd/systemd-networkd-wait-online --any --timeout=30\\n' \
            > /etc/systemd/system/systemd-networkd-wait-online.service.d/any.conf\n";
        text += "if [ -e /lib/systemd/system/systemd-resolved.service ]; then\n\
            systemctl enable systemd-resolved.service\n\
            ln -sfn ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf\nfi\n";
    }
    // Only cleans up after e2scrub on LVM, which a template does not have, at each boot.
    text += "systemctl mask e2scrub_reap.service\n";
    for (verb, units) in [
        ("mask", &recipe.services.mask),
        ("disable", &recipe.services.disable),
        ("enable", &recipe.services.enable),
    ] {
        for unit in units {
            let what = shell(&format!("{verb} the service {unit}"));
            let _ = writeln!(text, "setting {what} systemctl {verb} -- {}", shell(unit));
        }
    }
    text + &kernel_and_grub(recipe)
}

fn localise(recipe: &Recipe) -> String {
    let (zone, locale) = (&recipe.time_zone, &recipe.locale);
    let place = shell(&format!("/usr/share/zoneinfo/{zone}"));
    let what = shell(&format!(
        "set the time zone {zone}: Debian has no such zone"
    ));
    let mut text = format!("setting {what} test -f {place}\nln -sfn {place} /etc/localtime\n");
    let _ = writeln!(
        text,
        "rm -f /etc/timezone; printf '%s\\n' {} > /etc/timezone",
        shell(zone)
    );
    if locale != "C.UTF-8" && locale != "C" {
        let what = shell(&format!(
            "set the locale {locale}: Debian has no such locale"
        ));
        let entry = shell(&format!("{locale} UTF-8"));
        let _ = writeln!(
            text,
            "setting {what} grep -qxF {entry} /usr/share/i18n/SUPPORTED"
        );
        let _ = writeln!(text, "printf '%s\\n' {entry} > /etc/locale.gen");
        let _ = writeln!(text, "setting {what} locale-gen");
    }
    // systemd reads locale.conf, PAM the other; Debian 13 links them this way round already.
    let _ = writeln!(
        text,
        "rm -f /etc/locale.conf; printf 'LANG=%s\\n' {} > /etc/locale.conf",
        shell(locale)
    );
    text + "ln -sfn ../locale.conf /etc/default/locale\n"
}

/// A user as useradd(8) makes it, with a locked password unless there is a hash.
fn add_user(user: &User) -> String {
    let name = shell(&user.name);
    let what = shell(&format!("make the user {}", user.name));
    let login = shell(user.shell.as_deref().unwrap_or("/bin/bash"));
    let uid = user
        .uid
        .map(|uid| format!("--uid {uid} "))
        .unwrap_or_default();
    let mut text = format!(
        "id -u {name} >/dev/null 2>&1 || setting {what} useradd --create-home {uid}--shell {login} {name}\n"
    );
    for group in &user.groups {
        let what = shell(&format!(
            "put the user {} into the group {group}",
            user.name
        ));
        let _ = writeln!(
            text,
            "setting {what} usermod --append --groups {} {name}",
            shell(group)
        );
    }
    if let Some(hash) = &user.password_hash {
        let _ = writeln!(
            text,
            "printf '%s:%s\\n' {name} {} | chpasswd --encrypted",
            shell(hash)
        );
    }
    if !user.ssh_authorized_keys.is_empty() {
        let keys = shell(&(user.ssh_authorized_keys.join("\n") + "\n"));
        let _ = writeln!(text, "home=$(getent passwd {name} | cut -d: -f6)");
        let _ = writeln!(
            text,
            "install -d -m 0700 -o {name} -g \"$(id -g {name})\" \"$home/.ssh\""
        );
        let _ = writeln!(text, "printf %s {keys} > \"$home/.ssh/authorized_keys\"");
        let _ = writeln!(text, "chmod 0600 \"$home/.ssh/authorized_keys\"");
        let _ = writeln!(
            text,
            "chown {name}:\"$(id -g {name})\" \"$home/.ssh/authorized_keys\""
        );
    }
    if user.sudo {
        let rule = shell(&format!("{} ALL=(ALL:ALL) NOPASSWD: ALL\n", user.name));
        let file = shell(&format!("/etc/sudoers.d/90-{}", user.name));
        let _ = writeln!(text, "printf %s {rule} > {file}; chmod 0440 {file}");
    }
    text
}

fn install(file: &File, from: &str) -> String {
    let what = shell(&format!("write the file {}", file.path));
    let (owner, group, path) = (shell(&file.owner), shell(&file.group), shell(&file.path));
    // `install -T` replaces a link instead of writing through it.
    format!(
        "setting {what} mkdir -p -- \"$(dirname -- {path})\"\n\
         setting {what} install -T -m {:04o} -o {owner} -g {group} -- {from} {path}\n",
        file.mode
    )
}

/// The links that the boot menu goes through, and GRUB's BIOS image from the guest's own modules:
/// image and modules are then always of one version.
fn kernel_and_grub(recipe: &Recipe) -> String {
    let mut text = String::from(
        "kernel=$(ls /boot/vmlinuz-* | sort -V | tail -n 1)\n\
         version=${kernel#/boot/vmlinuz-}\n\
         [ -e \"/boot/initrd.img-$version\" ] || update-initramfs -c -k \"$version\"\n\
         ln -sfn \"boot/vmlinuz-$version\" /vmlinuz\n\
         ln -sfn \"boot/initrd.img-$version\" /initrd.img\n",
    );
    if recipe.disk.boot.contains(&BootMethod::Uefi) {
        text += "mkdir -p /boot/efi\n";
    }
    if recipe.disk.boot.contains(&BootMethod::Bios) {
        text += "mkdir -p /boot/grub/i386-pc\n\
            cp /usr/lib/grub/i386-pc/*.mod /usr/lib/grub/i386-pc/*.lst /usr/lib/grub/i386-pc/boot.img /boot/grub/i386-pc/\n";
        let _ = writeln!(
            text,
            "setting 'make the boot loader' grub-mkimage -O i386-pc -o /boot/grub/i386-pc/core.img \
             -p '(,gpt1)/boot/grub' {GRUB_MODULES}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_valid_shell_whatever_the_recipe_says() {
        let user = User {
            name: "eve".into(),
            password_hash: Some("$6$a'b$c".into()),
            ssh_authorized_keys: vec!["ssh-ed25519 AAAA it's$(me)".into()],
            groups: vec!["adm".into()],
            sudo: true,
            ..User::default()
        };
        let file = File {
            path: "/srv/it's \"$(x)\"".into(),
            ..crate::guest_files::root_file("/x", String::new())
        };
        let mut recipe = Recipe {
            users: vec![user],
            files: vec![file],
            ..Recipe::default()
        };
        recipe.locale = "it_IT.UTF-8".into();
        recipe.services.enable.insert("a@b.service".into());
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("script");
        std::fs::write(&path, script(&recipe, &recipe.files)).expect("a file");
        let run = std::process::Command::new("sh")
            .arg("-n")
            .arg(&path)
            .output()
            .expect("sh");
        assert!(
            run.status.success(),
            "{}",
            String::from_utf8_lossy(&run.stderr)
        );
    }

    #[test]
    fn the_archive_is_the_same_twice() {
        let recipe = Recipe::default();
        let make = || archive(&recipe, &["deb x y z".into()]).expect("a tar");
        assert_eq!(make(), make());
    }
}
