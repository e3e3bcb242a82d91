//! Checks of a complete recipe, so that nothing is made when one value is wrong.
//!
//! Syntax, unknown keys and files of the host are `load.rs`'s business; whether packages exist is
//! the archive's.

use crate::recipe::{BootMethod, Recipe};
use stampo_core::hardware::{DiskBus, Firmware, HardwareError, NicModel};
use stampo_core::personalisation::{Personalisation, PersonalisationError};
use stampo_core::size::ByteSize;
use std::collections::BTreeSet;

/// A value of a recipe that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// One key's value is wrong.
    #[error("use {key} = {value:?}: {why}")]
    Value {
        /// The key, as the user wrote it.
        key: &'static str,
        /// The value, or the part of it that is wrong.
        value: String,
        /// What would be right.
        why: &'static str,
    },
    /// Two keys don't go together.
    #[error("use {first} together with {second}: {why}")]
    Conflict {
        /// One key.
        first: String,
        /// The other.
        second: String,
        /// What would be right.
        why: &'static str,
    },
    /// A user, key, hash, time zone or file.
    #[error(transparent)]
    Personalisation(#[from] PersonalisationError),
    /// The hardware.
    #[error(transparent)]
    Hardware(#[from] HardwareError),
}

type Checked = Result<(), RecipeError>;

fn refuse(key: &'static str, value: impl ToString, why: &'static str) -> Checked {
    Err(RecipeError::Value {
        key,
        value: value.to_string(),
        why,
    })
}

fn conflict(first: impl ToString, second: impl ToString, why: &'static str) -> Checked {
    Err(RecipeError::Conflict {
        first: first.to_string(),
        second: second.to_string(),
        why,
    })
}

/// Whether every byte is a lower-case letter, a digit or one of `extra`, the first a letter or digit.
fn plain(text: &str, extra: &[u8]) -> bool {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() <= 128
        && text.bytes().next().is_some_and(letter)
        && text.bytes().all(|b| letter(b) || extra.contains(&b))
}

impl Recipe {
    /// Checks every field; the first that can't be used is named.
    pub fn check(&self) -> Checked {
        self.check_archive()?;
        self.check_packages()?;
        self.check_boot()?;
        self.check_services()?;
        self.check_settings()?;
        self.check_files()?;
        let people = Personalisation {
            hostname: "template".to_owned(),
            users: self.users.clone(),
            time_zone: Some(self.time_zone.clone()),
            files: self.files.clone(),
            ..Personalisation::default()
        };
        Ok(people.check()?)
    }

    fn check_archive(&self) -> Checked {
        if !plain(&self.release, b"-") {
            return refuse(
                "release",
                &self.release,
                "write a Debian code name, as in bookworm",
            );
        }
        if self.components.is_empty() {
            return refuse("components", "[]", "name at least one, as in [\"main\"]");
        }
        for component in &self.components {
            if !plain(component, b"-/") {
                return refuse(
                    "components",
                    component,
                    "write names such as main or contrib",
                );
            }
        }
        if let Some(mirror) = &self.mirror {
            let known = ["http://", "https://", "file:///"]
                .iter()
                .any(|s| mirror.starts_with(s));
            if !known || mirror.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return refuse(
                    "mirror",
                    mirror,
                    "write an address with http://, https:// or file:///",
                );
            }
        }
        for line in &self.sources {
            if !line.starts_with("deb ") || line.contains(|c: char| c.is_control()) {
                return refuse(
                    "sources",
                    line,
                    "write one line each, as in 'deb http://… bookworm main'",
                );
            }
        }
        self.check_moment()
    }

    fn check_moment(&self) -> Checked {
        if let Some(snapshot) = &self.snapshot {
            if crate::sources::snapshot_epoch(snapshot).is_none() {
                return refuse(
                    "snapshot",
                    snapshot,
                    "write a moment such as 20260101T000000Z",
                );
            }
            if self.mirror.is_none() {
                return refuse(
                    "snapshot",
                    snapshot,
                    "name the snapshot service in mirror, up to before /archive",
                );
            }
        }
        if self.mirror.is_some() && !self.sources.is_empty() {
            return conflict(
                "mirror",
                "sources",
                "the lines of sources name their own addresses",
            );
        }
        // The plain 32-bit times of ext4, tar and FAT all hold until then.
        if self
            .source_date_epoch
            .is_some_and(|epoch| epoch == 0 || epoch >= 1 << 31)
        {
            return refuse(
                "source_date_epoch",
                self.source_date_epoch.unwrap_or_default(),
                "write seconds since 1970, before the year 2038",
            );
        }
        match &self.lock {
            Some(lock) if lock.release != self.release => conflict(
                format!("release = {:?}", self.release),
                "lock",
                "the lock is of another release",
            ),
            _ => Ok(()),
        }
    }

    fn check_packages(&self) -> Checked {
        for package in &self.packages {
            let name = package.split(':').next().unwrap_or_default();
            let foreign = package.contains(':') && !package.ends_with(":all");
            if name.len() < 2 || !plain(name, b"+-.") || package.ends_with('-') || foreign {
                return refuse(
                    "packages",
                    package,
                    "write names of Debian packages, as in nginx-light",
                );
            }
        }
        if !plain(&self.kernel, b"+-.") {
            return refuse(
                "kernel",
                &self.kernel,
                "write cloud, generic or the name of a kernel package",
            );
        }
        let line = &self.kernel_command_line;
        if line.len() > 1500 || line.contains(|c: char| c.is_control() || "\"'\\$`;{}".contains(c))
        {
            return refuse(
                "kernel_command_line",
                line,
                "write at most 1500 characters on one line, without quotes, '$', ';', '\\' and braces",
            );
        }
        if line
            .split_whitespace()
            .any(|word| word.starts_with("root="))
        {
            return refuse(
                "kernel_command_line",
                line,
                "leave out root=: the template has one of its own",
            );
        }
        Ok(())
    }

    fn check_boot(&self) -> Checked {
        self.hardware.check()?;
        let size = self.disk.size;
        if size < ByteSize::mib(768)
            || size > ByteSize::gib(64 << 10)
            || !size.bytes().is_multiple_of(1 << 20)
        {
            return refuse(
                "disk.size",
                size,
                "choose a whole number of MiB from 768M to 64T",
            );
        }
        if self.disk.boot.is_empty() {
            return refuse("disk.boot", "[]", "name bios, uefi or both");
        }
        let needed = match self.hardware.firmware {
            Firmware::Bios => BootMethod::Bios,
            Firmware::Uefi => BootMethod::Uefi,
        };
        if !self.disk.boot.contains(&needed) {
            return conflict(
                "hardware.firmware",
                "disk.boot",
                "the disk must start from that firmware",
            );
        }
        if self.kernel != "cloud" {
            return Ok(());
        }
        if self.hardware.disk_bus == DiskBus::Sata {
            return conflict(
                "kernel = \"cloud\"",
                "hardware.disk_bus = \"sata\"",
                "it has no AHCI driver: choose generic",
            );
        }
        if self
            .hardware
            .nics
            .iter()
            .any(|nic| nic.model == NicModel::E1000e)
        {
            return conflict(
                "kernel = \"cloud\"",
                "an e1000e interface",
                "it has no driver for it: choose generic",
            );
        }
        Ok(())
    }

    fn check_services(&self) -> Checked {
        let services = &self.services;
        for unit in services
            .enable
            .iter()
            .chain(&services.disable)
            .chain(&services.mask)
        {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b":-_.@\\".contains(&b);
            let valid = (1..=255).contains(&unit.len()) && unit.bytes().all(allowed);
            if !valid || unit.starts_with('-') {
                return refuse(
                    "services",
                    unit,
                    "write names of systemd units, as in nginx or fstrim.timer",
                );
            }
        }
        let off: BTreeSet<&String> = services.disable.union(&services.mask).collect();
        match services.enable.iter().find(|unit| off.contains(unit)) {
            Some(unit) => conflict(
                "services.enable",
                "disable or mask",
                "a unit is named in both",
            )
            .map_err(|error| named(error, unit)),
            None => Ok(()),
        }
    }

    fn check_settings(&self) -> Checked {
        let locale_byte = |b: u8| b.is_ascii_alphanumeric() || b"_.@-".contains(&b);
        let utf8 = self.locale == "C" || self.locale.contains(".UTF-8");
        if self.locale.len() > 64 || !self.locale.bytes().all(locale_byte) || !utf8 {
            return refuse(
                "locale",
                &self.locale,
                "write a UTF-8 locale, as in it_IT.UTF-8",
            );
        }
        for (key, value) in &self.sysctl {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-/*".contains(&b);
            if key.is_empty() || !key.bytes().all(allowed) || key.contains("..") {
                return refuse(
                    "sysctl",
                    key,
                    "write a kernel parameter, as in net.ipv4.ip_forward",
                );
            }
            if value.contains(|c: char| c.is_control() && c != '\t') {
                return refuse("sysctl", key, "write its value on one line");
            }
        }
        for (key, value) in &self.labels {
            if !plain(key, b"-_./") || value.len() > 1024 || value.contains('\0') {
                return refuse(
                    "labels",
                    key,
                    "write short keys of a-z, 0-9, '-', '_', '.' and '/'",
                );
            }
        }
        if self.description.contains(['\n', '\r', '\0']) {
            return refuse("description", &self.description, "write one line");
        }
        Ok(())
    }

    fn check_files(&self) -> Checked {
        const RUNTIME: [&str; 5] = ["/proc", "/sys", "/dev", "/run", "/tmp"];
        let mut seen = BTreeSet::new();
        for file in &self.files {
            let below = |dir: &str| {
                file.path
                    .strip_prefix(dir)
                    .is_some_and(|r| r.starts_with('/'))
            };
            if RUNTIME.iter().any(|dir| below(dir)) {
                return refuse("files", &file.path, "this place is empty at every boot");
            }
            for name in [&file.owner, &file.group] {
                if !plain(name.trim_start_matches('_'), b"-_") {
                    return refuse("files", name, "write owner and group as names of the guest");
                }
            }
            if !seen.insert(&file.path) {
                return refuse("files", &file.path, "it is named twice");
            }
        }
        Ok(())
    }
}

/// The same conflict with the unit's name in it.
fn named(error: RecipeError, unit: &str) -> RecipeError {
    match error {
        RecipeError::Conflict { first, second, why } => RecipeError::Conflict {
            first: format!("{first} of {unit:?}"),
            second,
            why,
        },
        other => other,
    }
}
