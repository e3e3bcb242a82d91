//! How a guest boots: the boot loader and the kernel command lines that it would use.
//!
//! grub.cfg is a script; only its `linux` lines are read, nothing is evaluated. Loader entries
//! follow the Boot Loader Specification (UAPI.1).

use super::look::{Look, clip, config_lines};
use super::os::assignments;
use serde::{Deserialize, Serialize};

/// Most entries that are kept.
const MAX_ENTRIES: usize = 500;
/// Where GRUB's generated configuration may be.
const GRUB_CONFIGS: &[&str] = &[
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/boot/efi/EFI/debian/grub.cfg",
];
/// Where loader entries may be.
const ENTRY_DIRECTORIES: &[&str] = &[
    "/boot/loader/entries",
    "/efi/loader/entries",
    "/boot/efi/loader/entries",
];
/// Where syslinux and extlinux keep theirs.
const EXTLINUX_CONFIGS: &[&str] = &[
    "/boot/extlinux/extlinux.conf",
    "/boot/extlinux.conf",
    "/boot/syslinux/syslinux.cfg",
    "/extlinux.conf",
];

/// How a guest boots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// The loaders whose configuration was found: `grub`, `systemd-boot`, `extlinux`.
    pub loaders: Vec<String>,
    /// What would be started, in the order of the files.
    pub entries: Vec<BootEntry>,
    /// What new entries get: `GRUB_CMDLINE_LINUX*` or `/etc/kernel/cmdline`.
    pub default_arguments: Option<String>,
}

/// One kernel with its command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootEntry {
    /// The file that says so.
    pub source: String,
    /// The kernel's path as the loader sees it.
    pub kernel: String,
    /// The kernel command line.
    pub arguments: String,
}

/// Reads the configuration of every loader that is there.
pub fn read(look: &mut Look<'_>) -> Boot {
    let mut boot = Boot::default();
    for path in GRUB_CONFIGS {
        add(look, &mut boot, "grub", path, parse_grub);
    }
    for directory in ENTRY_DIRECTORIES {
        for path in look.files_with_suffix(directory, ".conf") {
            add(look, &mut boot, "systemd-boot", &path, parse_entry);
        }
    }
    for path in EXTLINUX_CONFIGS {
        add(look, &mut boot, "extlinux", path, parse_extlinux);
    }
    boot.entries.truncate(MAX_ENTRIES);
    boot.default_arguments = default_arguments(look);
    boot
}

type Lines = Vec<(String, String)>;

fn add(look: &mut Look<'_>, boot: &mut Boot, loader: &str, path: &str, parse: fn(&str) -> Lines) {
    let Some(text) = look.text(path) else { return };
    if !boot.loaders.iter().any(|known| known == loader) {
        boot.loaders.push(loader.into());
    }
    for (kernel, arguments) in parse(&text).into_iter().take(MAX_ENTRIES) {
        let entry = BootEntry {
            source: path.into(),
            kernel,
            arguments,
        };
        // GRUB lists each kernel again in its submenu.
        if boot.entries.len() < MAX_ENTRIES && !boot.entries.contains(&entry) {
            boot.entries.push(entry);
        }
    }
}

/// The `linux` lines of a grub.cfg.
pub fn parse_grub(text: &str) -> Lines {
    let line = |line: &str| {
        let (keyword, rest) = line.split_once(char::is_whitespace)?;
        let is_linux = matches!(keyword, "linux" | "linux16" | "linuxefi");
        is_linux.then(|| first_and_rest(rest))
    };
    config_lines(text).filter_map(line).collect()
}

/// One entry file of the Boot Loader Specification; several `options` lines are joined.
pub fn parse_entry(text: &str) -> Lines {
    let mut kernel = None;
    let mut options: Vec<&str> = Vec::new();
    for line in config_lines(text) {
        match line.split_once(char::is_whitespace) {
            Some(("linux" | "efi" | "uki", value)) => kernel = Some(clip(value)),
            Some(("options", value)) => options.push(value.trim()),
            _ => {}
        }
    }
    kernel
        .map(|kernel| (kernel, clip(&options.join(" "))))
        .into_iter()
        .collect()
}

/// The `LINUX`/`KERNEL` and `APPEND` lines of a syslinux configuration.
pub fn parse_extlinux(text: &str) -> Lines {
    let mut entries: Lines = Vec::new();
    for line in config_lines(text) {
        let Some((keyword, value)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        match keyword.to_ascii_lowercase().as_str() {
            "linux" | "kernel" => entries.push((clip(value), String::new())),
            "append" => {
                if let Some((_, arguments)) = entries.last_mut() {
                    *arguments = clip(value);
                }
            }
            _ => {}
        }
    }
    entries
}

fn first_and_rest(text: &str) -> (String, String) {
    let text = text.trim();
    let (kernel, arguments) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (clip(kernel), clip(arguments))
}

fn default_arguments(look: &mut Look<'_>) -> Option<String> {
    if let Some(text) = look.text("/etc/kernel/cmdline") {
        return Some(clip(&text));
    }
    let mut text = look.text("/etc/default/grub")?;
    for path in look.files_with_suffix("/etc/default/grub.d", ".cfg") {
        text.push('\n');
        text.push_str(&look.text(&path).unwrap_or_default());
    }
    let mut values = assignments(&text);
    let mut of = |key| values.remove(key).filter(|value| !value.is_empty());
    let parts = [of("GRUB_CMDLINE_LINUX"), of("GRUB_CMDLINE_LINUX_DEFAULT")];
    Some(parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
}
