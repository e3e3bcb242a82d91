//! A system of a few files in mmdebstrap's place: what a build does around it takes a second.
//!
//! Everything after the installation is the real thing: the tree, the filesystem, the partitions
//! and the boot loader. A build by mmdebstrap itself is killed in the testbed.

use stampo_build::{BuildError, Installer, LOG, Mmdebstrap, Order, Tree};
use stampo_engine::{Engine, EngineError, Unwatched};
use std::fs;
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// The recipe of every such build.
const RECIPE: &str = "release = \"bookworm\"\n[disk]\nsize = \"768M\"\n";

/// Builds the next version of this template.
pub fn build(engine: &Engine, template: &str) -> Result<(), EngineError> {
    build_from(engine, template, RECIPE)
}

/// Builds the next version of this template from a recipe of its own.
pub fn build_from(engine: &Engine, template: &str, recipe: &str) -> Result<(), EngineError> {
    let template = crate::home::template(template);
    let build = engine.submit_build(&template, recipe, Path::new("/"))?;
    engine.run_build(build, &Unwatched).map(drop)
}

/// Installs the small system.
pub struct SmallSystem;

impl Installer for SmallSystem {
    fn install(&self, order: &Order<'_>) -> Result<Tree, BuildError> {
        // An archive of its own is asked: that build is to fail by itself.
        if order.recipe.mirror.is_some() {
            return Mmdebstrap.install(order);
        }
        let log = order.scratch.join(LOG);
        let tree = order.unpack(small_system().as_slice())?;
        fs::write(&log, "unpacked\n").map_err(|source| BuildError::Io { path: log, source })?;
        Ok(tree)
    }
}

/// Its tar: the least that a disk is assembled from.
fn small_system() -> Vec<u8> {
    // As grub-mkimage leaves it: 9 sectors, whose list of blocks is filled in by the build.
    let mut core = vec![0xc3; 9 * 512 - 100];
    core[500..508].copy_from_slice(&2_u64.to_le_bytes());
    core[508..510].copy_from_slice(&8_u16.to_le_bytes());
    let mut boot = vec![0xb0; 512];
    boot[510..].copy_from_slice(&[0x55, 0xaa]);
    let status =
        b"Package: base-files\nStatus: install ok installed\nArchitecture: amd64\nVersion: 12.4\n";
    let files: [(&str, &[u8]); 8] = [
        ("etc/os-release", b"ID=debian\nVERSION_ID=\"12\"\n"),
        ("etc/passwd", b"root:x:0:0::/root:/bin/sh\n"),
        ("etc/machine-id", b"4a1c8f0e9b7d4d5b8c6e2f3a1b0c9d8e\n"),
        ("var/lib/dpkg/status", status),
        ("boot/grub/i386-pc/boot.img", &boot),
        ("boot/grub/i386-pc/core.img", &core),
        ("usr/lib/shim/shimx64.efi.signed", &[1; 9000]),
        (
            "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
            &[2; 70_000],
        ),
    ];
    let mut tar = Builder::new(Vec::new());
    for dir in ["./", "./tmp/"] {
        let mut header = header(EntryType::Directory, 0o755, 0);
        tar.append_data(&mut header, dir, std::io::empty())
            .expect("memory");
    }
    for (path, bytes) in files {
        let mut header = header(EntryType::Regular, 0o644, bytes.len() as u64);
        tar.append_data(&mut header, path, bytes).expect("memory");
    }
    tar.into_inner().expect("memory")
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_760_000_000);
    header.set_size(size);
    header
}
