//! From a tiny tar to a whole disk: the same bytes twice, nothing lost, nothing let out.

use stampo_build::{
    Assembly, CORE_IMAGE, Disk, Layout, ROOT_LABEL, Silent, Tree, assemble, patch_boot_sector,
    patch_core_image,
};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;
use tar::{EntryType, Header};

const EPOCH: u64 = 1_760_000_000;

/// A tar under construction; names are written as they are, so that evil ones are possible.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(
        mut self,
        kind: EntryType,
        name: &[u8],
        mode: u32,
        uid: u64,
        content: &[u8],
        link: &[u8],
    ) -> Self {
        let mut header = Header::new_gnu();
        let place = &mut header.as_gnu_mut().expect("a GNU header").name;
        place[..name.len()].copy_from_slice(name);
        header.as_gnu_mut().expect("a GNU header").linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(uid + 1);
        header.set_mtime(EPOCH - 1000);
        header.set_size(content.len() as u64);
        header.set_device_major(1).expect("a GNU header");
        header.set_device_minor(7).expect("a GNU header");
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, mode: u32, uid: u64, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, name.as_bytes(), mode, uid, content, b"")
    }

    fn xattr(self, name: &str, value: &[u8]) -> Self {
        let key = format!("SCHILY.xattr.{name}=");
        let rest = 1 + key.len() + value.len() + 1;
        let length = (rest..)
            .find(|n| n.to_string().len() + rest == *n)
            .expect("a length");
        let record = [
            length.to_string().as_bytes(),
            b" ",
            key.as_bytes(),
            value,
            b"\n",
        ]
        .concat();
        self.entry(EntryType::XHeader, b"pax", 0o644, 0, &record, b"")
    }

    fn unpack(self, root: &Path) -> Result<Tree, String> {
        let bytes = [self.0, vec![0; 1024]].concat();
        Tree::unpack(Cursor::new(bytes), root, EPOCH, &|| false).map_err(|error| error.to_string())
    }
}

/// A core.img of `sectors` sectors as grub-mkimage leaves it.
fn core_image(sectors: u16) -> Vec<u8> {
    let mut image = vec![0xc3; usize::from(sectors) * 512 - 100];
    image[500..508].copy_from_slice(&2_u64.to_le_bytes());
    image[508..510].copy_from_slice(&(sectors - 1).to_le_bytes());
    image
}

fn boot_image() -> Vec<u8> {
    let mut image = vec![0xb0; 512];
    image[510..].copy_from_slice(&[0x55, 0xaa]);
    image
}

/// A system of a few files that has everything a disk is assembled from.
fn small_system() -> Tar {
    let mut tar = Tar::default()
        .entry(EntryType::Directory, b"./", 0o755, 0, b"", b"")
        .entry(EntryType::Directory, b"./tmp/", 0o1777, 0, b"", b"")
        .file("./usr/bin/su", 0o4755, 0, b"#!/bin/sh\n")
        .entry(
            EntryType::Link,
            b"./usr/bin/sudo",
            0o4755,
            0,
            b"",
            b"./usr/bin/su",
        )
        .entry(EntryType::Symlink, b"./bin", 0o777, 0, b"", b"usr/bin")
        .entry(
            EntryType::Symlink,
            b"./etc-link",
            0o777,
            0,
            b"",
            b"/etc/hostname",
        )
        .entry(EntryType::Fifo, b"./srv/pipe", 0o622, 5, b"", b"")
        .entry(EntryType::Char, b"./srv/full", 0o666, 0, b"", b"")
        .entry(EntryType::Char, b"./dev/null", 0o666, 0, b"", b"")
        .file(
            "./etc/machine-id",
            0o444,
            0,
            b"0123456789abcdef0123456789abcdef\n",
        )
        .file("./etc/passwd-", 0o600, 0, b"backup")
        .file("./home/a \"b\" \\c", 0o600, 100_000, b"odd name")
        .xattr(
            "security.capability",
            b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        )
        .file("./usr/bin/ping", 0o755, 0, b"ping")
        .file("./usr/lib/shim/shimx64.efi.signed", 0o644, 0, &[1; 9000])
        .file(
            "./usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
            0o644,
            0,
            &[2; 70_000],
        )
        .file("./boot/grub/i386-pc/boot.img", 0o644, 0, &boot_image())
        .file("./boot/grub/i386-pc/core.img", 0o644, 0, &core_image(9));
    for number in 0..300 {
        tar = tar.file(&format!("./usr/share/{number}"), 0o644, 0, &[3; 5000]);
    }
    tar
}

/// Smaller than a recipe may ask for, so that the tests are quick.
fn small_disk() -> Disk {
    Disk {
        size: "160M".parse().expect("a size"),
        ..Disk::default()
    }
}

fn make(dir: &Path) -> (PathBuf, Layout) {
    std::fs::create_dir(dir).expect("a directory");
    let tree = small_system().unpack(&dir.join("tree")).expect("a tree");
    let disk = small_disk();
    let assembly = Assembly {
        disk: &disk,
        tree: &tree,
        seed: tree.digest(),
        epoch: EPOCH,
        scratch: dir,
    };
    let path = dir.join("disk.raw");
    let layout = assemble(&assembly, &path, &Silent).expect("a disk: e2fsprogs is needed");
    (path, layout)
}

fn tool(name: &str) -> Command {
    let mut command = Command::new(
        stampo_build::require_tools(match name {
            "debugfs" => "debugfs",
            _ => "e2fsck",
        })
        .expect("e2fsprogs is needed"),
    );
    command.env("LC_ALL", "C");
    command
}

fn debugfs(disk: &Path, layout: &Layout, request: &str) -> String {
    let place = format!("{}?offset={}", disk.display(), layout.root.start_bytes);
    let output = tool("debugfs")
        .args(["-R", request, &place])
        .output()
        .expect("debugfs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn two_disks_of_one_tree_are_the_same_and_clean() {
    let dir = tempfile::tempdir().expect("a directory");
    let (one, layout) = make(&dir.path().join("one"));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let (two, _) = make(&dir.path().join("two"));
    let read = |path: &Path| std::fs::read(path).expect("a disk");
    assert!(read(&one) == read(&two), "the disks differ");
    let place = format!("{}?offset={}", one.display(), layout.root.start_bytes);
    let check = tool("e2fsck")
        .args(["-fn", &place])
        .output()
        .expect("e2fsck");
    assert!(
        check.status.success(),
        "{}",
        String::from_utf8_lossy(&check.stdout)
    );
}

#[test]
fn owners_modes_times_attributes_and_special_files_arrive() {
    let dir = tempfile::tempdir().expect("a directory");
    let (disk, layout) = make(&dir.path().join("one"));
    let stat = |path: &str| debugfs(&disk, &layout, &format!("stat \"{path}\""));
    for (path, parts) in [
        (
            "/usr/bin/su",
            &[
                "Mode:  04755",
                "User:     0",
                "Group:     1",
                "Links: 2",
                "0x68e77418",
            ][..],
        ),
        ("/usr/bin/sudo", &["Links: 2"]),
        ("/tmp", &["Mode:  01777", "Type: directory"]),
        ("/etc-link", &["Type: symlink", "\"/etc/hostname\""]),
        ("/srv/pipe", &["Type: FIFO", "Mode:  0622", "User:     5"]),
        ("/srv/full", &["Type: character special", "01:07"]),
        (
            "/home/a \"\"b\"\" \\c",
            &["User: 100000", "Group: 100001", "Mode:  0600"],
        ),
        ("/etc/machine-id", &["Size: 0", "Mode:  0444"]),
    ] {
        let text = stat(path);
        for part in parts {
            assert!(text.contains(part), "{path} lacks {part:?}:\n{text}");
        }
    }
    assert!(!stat("/etc/passwd-").contains("Inode:"), "a backup stayed");
    assert!(
        !stat("/dev/null").contains("Inode:"),
        "a device node of the build stayed"
    );
    let capability = debugfs(
        &disk,
        &layout,
        "ea_get -V /usr/bin/ping security.capability",
    );
    assert!(
        capability.starts_with("\u{1}\0\0\u{2}\0 "),
        "{capability:?}"
    );
    assert_eq!(
        debugfs(&disk, &layout, "cat \"/home/a \"\"b\"\" \\c\""),
        "odd name"
    );
    let header = debugfs(&disk, &layout, "stats");
    for part in [
        ROOT_LABEL,
        "metadata_csum_seed",
        "has_journal",
        "resize_inode",
    ] {
        assert!(header.contains(part), "{part}");
    }
    assert!(
        !header.contains("orphan_file"),
        "older kernels and GRUB can't read it"
    );
}

#[test]
fn partitions_and_boot_code_are_where_firmware_looks() {
    let dir = tempfile::tempdir().expect("a directory");
    let (disk, layout) = make(&dir.path().join("one"));
    let bytes = std::fs::read(&disk).expect("a disk");
    assert_eq!(
        bytes[0x5c..0x64],
        2048_u64.to_le_bytes(),
        "where core.img is"
    );
    assert_eq!(bytes[0x64], 0xff);
    assert_eq!(bytes[0x66..0x68], [0x90, 0x90]);
    assert_eq!(
        (bytes[450], &bytes[510..512]),
        (0xee, &[0x55, 0xaa][..]),
        "a protective MBR"
    );
    let core = 1 << 20;
    assert_eq!(
        bytes[core + 500..core + 508],
        2049_u64.to_le_bytes(),
        "the rest of core.img"
    );
    let table = gpt::GptConfig::new()
        .open(&disk)
        .expect("a partition table");
    assert_eq!(
        table.partitions().keys().copied().collect::<Vec<_>>(),
        [1, 2, 3]
    );
    let root = &table.partitions()[&1];
    assert_eq!(root.first_lba * 512, layout.root.start_bytes);
    assert!(table.backup_header().is_ok(), "the backup table");
    let others = table
        .partitions()
        .values()
        .filter(|other| other.last_lba > root.last_lba);
    assert_eq!(others.count(), 0, "the root is last, so that it can grow");
    let esp = layout.esp.expect("an EFI partition");
    let range = esp.start_bytes as usize..(esp.start_bytes + esp.size_bytes) as usize;
    let fat = fatfs::FileSystem::new(Cursor::new(bytes[range].to_vec()), fatfs::FsOptions::new())
        .expect("FAT");
    let mut shim = Vec::new();
    let mut file = fat
        .root_dir()
        .open_file("EFI/BOOT/BOOTX64.EFI")
        .expect("shim");
    std::io::Read::read_to_end(&mut file, &mut shim).expect("shim");
    assert_eq!(shim, [1; 9000]);
    assert!(fat.root_dir().open_file("EFI/debian/grub.cfg").is_ok());
}

#[test]
fn images_that_are_not_grubs_are_refused() {
    assert!(patch_boot_sector(&[0; 512], 2048).is_err());
    assert!(patch_boot_sector(&boot_image()[..511], 2048).is_err());
    assert!(
        patch_core_image(core_image(9), 2048, 4096).is_err(),
        "larger than its partition"
    );
    assert!(
        patch_core_image(vec![0; 5000], 2048, 1 << 20).is_err(),
        "without a block list"
    );
    assert!(patch_core_image(vec![0; 100], 2048, 1 << 20).is_err());
    assert_eq!(CORE_IMAGE, "/boot/grub/i386-pc/core.img");
}

#[test]
fn nothing_of_a_tree_reaches_the_host() {
    let dir = tempfile::tempdir().expect("a directory");
    let outside = dir.path().join("outside");
    std::fs::create_dir(&outside).expect("a directory");
    let link = outside.to_str().expect("UTF-8").as_bytes().to_vec();
    let start = Tar::default;
    let cases: [(&str, Tar); 6] = [
        ("up", start().file("../outside/x", 0o644, 0, b"x")),
        (
            "absolute-up",
            start().file("/a/../../outside/x", 0o644, 0, b"x"),
        ),
        (
            "through-a-link",
            start()
                .entry(EntryType::Symlink, b"a", 0o777, 0, b"", &link)
                .file("a/x", 0o644, 0, b"x"),
        ),
        (
            "link-after-file",
            start().file("a/x", 0o644, 0, b"x").entry(
                EntryType::Symlink,
                b"a",
                0o777,
                0,
                b"",
                &link,
            ),
        ),
        (
            "hard-link",
            start().entry(EntryType::Link, b"a", 0o644, 0, b"", b"/etc/passwd"),
        ),
        (
            "twice",
            start().file("a", 0o644, 0, b"x").file("a", 0o644, 0, b"y"),
        ),
    ];
    for (name, tar) in cases {
        assert!(
            tar.unpack(&dir.path().join(name)).is_err(),
            "{name} must be refused"
        );
    }
    assert_eq!(std::fs::read_dir(&outside).expect("a directory").count(), 0);
}

#[test]
fn a_tree_that_is_too_large_is_refused_before_writing() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut tar = small_system();
    for number in 0..10 {
        tar = tar.file(&format!("./srv/{number}"), 0o644, 0, &vec![1; 12 << 20]);
    }
    let tree = tar.unpack(&dir.path().join("tree")).expect("a tree");
    let disk = small_disk();
    let assembly = Assembly {
        disk: &disk,
        tree: &tree,
        seed: [0; 32],
        epoch: EPOCH,
        scratch: dir.path(),
    };
    let error = assemble(&assembly, &dir.path().join("disk.raw"), &Silent).expect_err("too large");
    assert!(error.to_string().contains("enlarge disk.size"), "{error}");
}
