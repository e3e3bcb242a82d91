//! An inspection and a proof of real ext4 filesystems, on a bare disk and in a partition.

use crate::fs_support::{FileDisk, Image};
use stampo_guest::inspect::inspect;
use stampo_guest::inspect::partitions::PartitionTable;
use stampo_guest::seal::proof::prove;
use std::fs;
use std::io::Write;
use std::path::Path;

/// A small system as a directory of the host.
fn system(root: &Path) {
    let file = |path: &str, content: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("it has a parent")).expect("make the directory");
        fs::write(path, content).expect("write the file");
    };
    file("etc/os-release", "ID=debian\nVERSION_ID=13\n");
    file("etc/hostname", "build\n");
    file("etc/machine-id", "b08dfa6083e7567a1921a715000001fb\n");
    file("usr/lib/x/data", &"x".repeat(100_000));
    file(
        "var/lib/dpkg/status",
        "Package: a\nStatus: install ok installed\nVersion: 1\n\n",
    );
    file("srv/docker/engine-id", "4f3c\n");
    for number in 0..300 {
        file(&format!("usr/share/many/file-{number:03}"), "1234567890");
    }
    fs::create_dir_all(root.join("var/lib")).expect("make the directory");
    std::os::unix::fs::symlink("/srv/docker", root.join("var/lib/docker")).expect("make the link");
}

fn image() -> Image {
    let tree = tempfile::tempdir().expect("make a directory");
    system(tree.path());
    Image::make(&["-t", "ext4"], 32, Some(tree.path()))
}

#[test]
fn a_bare_filesystem_is_inspected() {
    let image = image();
    let seen = inspect(FileDisk::read_only(Path::new(image.name()))).expect("inspect");
    let disk = seen.disk.expect("it has a disk");
    assert_eq!(
        (disk.table, disk.partitions.len()),
        (PartitionTable::None, 1)
    );
    assert_eq!(disk.partitions[0].filesystem, "ext4");
    assert_eq!(seen.settings.hostname.as_deref(), Some("build"));
    assert_eq!(seen.packages.installed.len(), 1);
    let of = |path: &str| {
        seen.contents
            .directory_sizes
            .iter()
            .find(|size| size.path == path)
    };
    assert_eq!(
        of("/usr/share").map(|size| (size.size_bytes, size.files)),
        Some((3000, 300))
    );
    assert_eq!(of("/usr/lib").map(|size| size.size_bytes), Some(100_000));
}

#[test]
fn a_proof_reads_the_real_filesystem() {
    let image = image();
    let proof = prove(image.reader().as_ref(), "ext4");
    let seen: Vec<_> = proof
        .findings
        .iter()
        .map(|finding| (finding.id.as_str(), finding.path.as_str()))
        .collect();
    let expected = [
        ("docker.engine-id", "/srv/docker/engine-id"),
        ("system.hostname", "/etc/hostname"),
        ("system.machine-id", "/etc/machine-id"),
    ];
    assert_eq!(seen, expected);
    assert_eq!(proof.unknown, []);
}

/// One MBR partition at 1 MiB, by hand (UEFI 2.10, section 5.2.1), with `filesystem` in it.
fn in_a_partition(filesystem: &[u8]) -> tempfile::NamedTempFile {
    const START: u32 = 2048;
    let sectors = u32::try_from(filesystem.len() / 512).expect("it is small");
    let mut disk = vec![0; START as usize * 512];
    disk[440..444].copy_from_slice(&0x1234_abcd_u32.to_le_bytes());
    disk[446 + 4] = 0x83;
    disk[446 + 8..446 + 12].copy_from_slice(&START.to_le_bytes());
    disk[446 + 12..446 + 16].copy_from_slice(&sectors.to_le_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk.extend(filesystem);
    let mut file = tempfile::NamedTempFile::new().expect("make a file");
    file.write_all(&disk).expect("write the disk");
    file
}

#[test]
fn a_partition_is_found_and_inspected() {
    let disk = in_a_partition(&image().bytes());
    let seen = inspect(FileDisk::read_only(disk.path())).expect("inspect");
    let layout = seen.disk.expect("it has a disk");
    assert_eq!(
        (layout.table, layout.id.as_deref()),
        (PartitionTable::Mbr, Some("1234abcd"))
    );
    let partition = &layout.partitions[0];
    assert_eq!(
        (
            partition.number,
            partition.start_bytes,
            partition.kind.as_str()
        ),
        (1, 1 << 20, "83")
    );
    assert_eq!(seen.os.map(|os| os.id).as_deref(), Some("debian"));
    assert!(
        !seen
            .unknowns
            .iter()
            .any(|text| text.starts_with("partition"))
    );
}

#[test]
fn a_disk_of_nothing_is_an_error() {
    let file = tempfile::NamedTempFile::new().expect("make a file");
    file.as_file().set_len(1 << 20).expect("size the file");
    assert!(inspect(FileDisk::read_only(file.path())).is_err());
}

#[test]
fn flipped_bytes_never_panic() {
    let good = image().bytes();
    let mut random = crate::fs_support::Dice(7);
    for _ in 0..60 {
        let mut bad = good.clone();
        for _ in 0..40 {
            // Most of the metadata of a small filesystem is at its start.
            let at = random.below(600_000.min(bad.len()));
            bad[at] = random.next() as u8;
        }
        let file = tempfile::NamedTempFile::new().expect("make a file");
        fs::write(file.path(), &bad).expect("write the disk");
        let _ = inspect(FileDisk::read_only(file.path()));
        if let Ok(fs) = stampo_guest::fs::open_read(FileDisk::read_only(file.path())) {
            prove(fs.as_ref(), "ext4");
        }
    }
}
