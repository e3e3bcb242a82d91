//! Finding UEFI firmware on the host.
//!
//! First the descriptors that distributions ship (QEMU `docs/interop/firmware.json`), in the order
//! of their file names with `/etc` before `/usr`; then the paths where OVMF is known to lie.
//! Firmware that demands secure boot or SMM is not taken: a guest with its own empty variable
//! store would not start its unsigned loader with it.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where descriptors are, the first first.
const DESCRIPTOR_DIRS: [&str; 2] = ["/etc/qemu/firmware", "/usr/share/qemu/firmware"];

/// Code and empty variables, where descriptors are missing: Debian, Fedora, Arch, openSUSE.
const KNOWN: [(&str, &str); 5] = [
    (
        "/usr/share/OVMF/OVMF_CODE_4M.fd",
        "/usr/share/OVMF/OVMF_VARS_4M.fd",
    ),
    (
        "/usr/share/OVMF/OVMF_CODE.fd",
        "/usr/share/OVMF/OVMF_VARS.fd",
    ),
    (
        "/usr/share/edk2/ovmf/OVMF_CODE.fd",
        "/usr/share/edk2/ovmf/OVMF_VARS.fd",
    ),
    (
        "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
        "/usr/share/edk2/x64/OVMF_VARS.4m.fd",
    ),
    (
        "/usr/share/qemu/ovmf-x86_64-code.bin",
        "/usr/share/qemu/ovmf-x86_64-vars.bin",
    ),
];

/// Firmware for x86-64 UEFI guests; both files are raw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UefiFirmware {
    /// The code, shared by all guests and opened read-only.
    pub code: PathBuf,
    /// An empty variable store; each guest gets a copy.
    pub vars_template: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Descriptor {
    interface_types: Vec<String>,
    mapping: Mapping,
    targets: Vec<Target>,
    features: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mapping {
    device: String,
    executable: Option<Blob>,
    nvram_template: Option<Blob>,
}

#[derive(Deserialize)]
struct Blob {
    filename: PathBuf,
    format: String,
}

#[derive(Deserialize)]
struct Target {
    architecture: String,
    machines: Vec<String>,
}

/// The firmware of this host, if any.
pub fn find() -> Option<UefiFirmware> {
    let known = || {
        KNOWN.iter().map(|(code, vars)| UefiFirmware {
            code: code.into(),
            vars_template: vars.into(),
        })
    };
    from_descriptors(&DESCRIPTOR_DIRS.map(Path::new)).or_else(|| known().find(exists))
}

fn exists(firmware: &UefiFirmware) -> bool {
    firmware.code.is_file() && firmware.vars_template.is_file()
}

/// The first usable firmware of these directories. A file in an earlier directory hides one of the
/// same name in a later one; an empty file hides it without replacing it.
fn from_descriptors(dirs: &[&Path]) -> Option<UefiFirmware> {
    let mut descriptors = BTreeMap::new();
    for entry in dirs
        .iter()
        .flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten())
    {
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "json") {
            descriptors.entry(entry.file_name()).or_insert(path);
        }
    }
    descriptors
        .into_values()
        .find_map(|path| usable(&fs::read(path).ok()?))
}

fn usable(descriptor: &[u8]) -> Option<UefiFirmware> {
    let descriptor: Descriptor = serde_json::from_slice(descriptor).ok()?;
    let uefi = descriptor.interface_types.iter().any(|t| t == "uefi");
    let target = descriptor.targets.iter().any(|target| {
        target.architecture == "x86_64"
            && target
                .machines
                .iter()
                .any(|m| m.starts_with("pc-q35") || m == "q35")
    });
    let demanding = ["requires-smm", "enrolled-keys"];
    let demands = descriptor
        .features
        .iter()
        .any(|f| demanding.contains(&f.as_str()));
    if !uefi || !target || demands || descriptor.mapping.device != "flash" {
        return None;
    }
    let raw = |blob: Option<Blob>| {
        blob.filter(|blob| blob.format == "raw")
            .map(|blob| blob.filename)
    };
    let code = raw(descriptor.mapping.executable)?;
    let vars_template = raw(descriptor.mapping.nvram_template)?;
    Some(UefiFirmware {
        code,
        vars_template,
    })
    .filter(exists)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn descriptor(dir: &Path, features: &[&str]) -> serde_json::Value {
        json!({
            "description": "UEFI", "interface-types": ["uefi"], "tags": [],
            "mapping": {
                "device": "flash",
                "executable": {"filename": dir.join("CODE.fd"), "format": "raw"},
                "nvram-template": {"filename": dir.join("VARS.fd"), "format": "raw"},
            },
            "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
            "features": features,
        })
    }

    #[test]
    fn the_first_firmware_without_secure_boot_is_taken() {
        let home = tempfile::tempdir().expect("a directory");
        let dir = home.path();
        let write = |name: &str, value: &serde_json::Value| {
            fs::write(dir.join(name), value.to_string()).expect("written")
        };
        write(
            "40-secure.json",
            &descriptor(dir, &["secure-boot", "requires-smm", "enrolled-keys"]),
        );
        write("30-broken.json", &json!({"interface-types": 7}));
        write("60-plain.json", &descriptor(dir, &["acpi-s3"]));
        assert_eq!(
            from_descriptors(&[dir]),
            None,
            "the files that it names are missing"
        );
        for name in ["CODE.fd", "VARS.fd"] {
            fs::write(dir.join(name), b"x").expect("written");
        }
        let expected = UefiFirmware {
            code: dir.join("CODE.fd"),
            vars_template: dir.join("VARS.fd"),
        };
        assert_eq!(from_descriptors(&[dir]), Some(expected));
    }

    #[test]
    fn an_empty_file_of_the_administrator_hides_a_descriptor() {
        let home = tempfile::tempdir().expect("a directory");
        let (etc, usr) = (home.path().join("etc"), home.path().join("usr"));
        for dir in [&etc, &usr] {
            fs::create_dir(dir).expect("made");
        }
        for name in ["CODE.fd", "VARS.fd"] {
            fs::write(usr.join(name), b"x").expect("written");
        }
        fs::write(usr.join("60.json"), descriptor(&usr, &[]).to_string()).expect("written");
        assert!(from_descriptors(&[&etc, &usr]).is_some());
        fs::write(etc.join("60.json"), b"").expect("written");
        assert_eq!(from_descriptors(&[&etc, &usr]), None);
    }
}
