//! Which kernels a guest could start: images in `/boot` and module directories.
//!
//! Which of them *is* started is the boot loader's matter ([`super::boot`]).

use super::look::Look;
use crate::fs::FileKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A kernel, known by its release, for example `6.1.0-41-amd64`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// What `uname -r` would say.
    pub release: String,
    /// Its image; `None` when only modules are left.
    pub image: Option<String>,
    /// Whether an initial ramdisk is there.
    pub has_initrd: bool,
    /// Whether its modules are there.
    pub has_modules: bool,
}

/// Every kernel of the guest, by release.
pub fn read(look: &mut Look<'_>) -> Vec<Kernel> {
    let mut kernels: BTreeMap<String, Kernel> = BTreeMap::new();
    for (name, _) in look.names("/boot") {
        for prefix in ["vmlinuz-", "vmlinux-", "Image-"] {
            if let Some(release) = name.strip_prefix(prefix) {
                entry(&mut kernels, release).image = Some(format!("/boot/{name}"));
            }
        }
        if let Some(release) = initrd_release(&name) {
            entry(&mut kernels, release).has_initrd = true;
        }
    }
    for (release, kind) in look.names("/lib/modules") {
        if kind != FileKind::Directory {
            continue;
        }
        let image = format!("/usr/lib/modules/{release}/vmlinuz");
        let has_image = look.exists(&image);
        let kernel = entry(&mut kernels, &release);
        kernel.has_modules = true;
        if has_image && kernel.image.is_none() {
            kernel.image = Some(image);
        }
    }
    kernels.retain(|_, kernel| kernel.image.is_some() || kernel.has_modules);
    kernels.into_values().collect()
}

/// The release in the name of an initial ramdisk, in the styles of Debian, Red Hat and Arch.
fn initrd_release(name: &str) -> Option<&str> {
    if let Some(release) = name.strip_prefix("initrd.img-") {
        return Some(release);
    }
    let rest = name
        .strip_prefix("initramfs-")
        .or_else(|| name.strip_prefix("initrd-"))?;
    Some(rest.strip_suffix(".img").unwrap_or(rest))
}

fn entry<'k>(kernels: &'k mut BTreeMap<String, Kernel>, release: &str) -> &'k mut Kernel {
    let kernel = kernels.entry(release.to_owned()).or_default();
    kernel.release = release.to_owned();
    kernel
}
