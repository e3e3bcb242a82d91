//! Files that are not what was declared, and files that name other files.

use super::super::image::{CLUSTER, Image};
use super::{CANARY, Case, qcow2, raw};
use stampo_image::intake::DeclaredFormat;

pub fn cases() -> Vec<Case> {
    let mut cases = disguised();
    cases.extend(not_qcow2());
    cases.extend(other_files());
    cases
}

/// A disk of 4 KiB with these bytes at this place.
fn disk(at: usize, mark: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    bytes[at..at + mark.len()].copy_from_slice(mark);
    bytes
}

/// Declared raw, but another format: a later reader might probe it.
fn disguised() -> Vec<Case> {
    let descriptor = format!(
        "# Disk DescriptorFile\nversion=1\ncreateType=\"monolithicFlat\"\nRW 8 FLAT \"{CANARY}\" 0\n"
    );
    let marks: [(&str, usize, &[u8]); 18] = [
        ("qcow2", 0, b"QFI\xfb\0\0\0\x03"),
        ("qcow1", 0, b"QFI\xfb\0\0\0\x01"),
        ("qed", 0, b"QED\0"),
        ("vmdk sparse", 0, b"KDMV"),
        ("vmdk esx sparse", 0, b"COWD"),
        ("vmdk flat descriptor", 0, descriptor.as_bytes()),
        ("vhdx", 0, b"vhdxfile"),
        ("vhd dynamic", 0, b"conectix"),
        ("vhd fixed, by its footer", 4096 - 512, b"conectix"),
        ("vdi", 0x40, b"\x7f\x10\xda\xbe"),
        ("parallels", 0, b"WithoutFreeSpace"),
        ("luks", 0, b"LUKS\xba\xbe"),
        ("gzip", 0, b"\x1f\x8b\x08"),
        ("xz", 0, b"\xfd7zXZ\0"),
        ("ova", 257, b"ustar"),
        ("dmg, by its footer", 4096 - 512, b"koly"),
        ("web page", 0, b"<!DOCTYPE html>"),
        ("json", 0, b"json:{\"driver\":\"raw\"}"),
    ];
    let mut cases: Vec<Case> = marks
        .iter()
        .map(|(name, at, mark)| raw(format!("raw is {name}"), "looks_like", disk(*at, mark)))
        .collect();
    cases.push(raw("raw is empty", "empty_file", Vec::new()));
    cases.push(raw("raw of an odd size", "unaligned_size", vec![7; 4097]));
    cases
}

/// Declared qcow2, but it has no such header.
fn not_qcow2() -> Vec<Case> {
    let samples: [(&str, &[u8]); 5] = [
        ("zeros", &[0; 4096]),
        ("a vmdk", b"KDMV\0\0\0\x01"),
        ("an ELF program", b"\x7fELF\x02\x01\x01"),
        ("a magic of another case", b"qfi\xfb\0\0\0\x03"),
        ("json", b"json:{\"file.filename\":\"/etc/passwd\"}"),
    ];
    let declared = DeclaredFormat::Qcow2;
    samples
        .iter()
        .map(|(name, bytes)| {
            let (name, bytes) = (format!("qcow2 is {name}"), bytes.to_vec());
            Case {
                name,
                declared,
                bytes,
                kind: "not_qcow2",
            }
        })
        .collect()
}

/// Names of other files: three of the four that leak host files through qemu-img 10.0.2.
fn other_files() -> Vec<Case> {
    let valid = Image::valid;
    let json = format!("json:{{\"driver\":\"raw\",\"file.filename\":\"{CANARY}\"}}");
    let data_file = |name: &[u8]| valid().u64(72, 4).extension(104, 0x4441_5441, name);
    let rows = [
        (
            "backing file",
            "backing_file",
            valid().backing(CANARY.as_bytes()),
        ),
        (
            "relative backing file",
            "backing_file",
            valid().backing(b"../../../../etc/shadow"),
        ),
        (
            "backing file of a protocol",
            "backing_file",
            valid().backing(b"nbd://127.0.0.1:10809/x"),
        ),
        (
            "backing file, version 2",
            "backing_file",
            Image::valid_v2().backing(CANARY.as_bytes()),
        ),
        (
            "backing file with escapes",
            "backing_file",
            valid().backing(b"\x1b]0;x\x07\n\0\xff"),
        ),
        (
            "backing description",
            "json_name",
            valid().backing(json.as_bytes()),
        ),
        (
            "backing name after the end",
            "backing_file",
            valid().u64(8, u64::MAX).u32(16, 9),
        ),
        (
            "backing name of 4 GiB",
            "backing_file",
            valid().u64(8, 512).u32(16, u32::MAX),
        ),
        (
            "backing name at no place",
            "backing_file",
            valid().u32(16, 12),
        ),
        (
            "backing name of no length",
            "backing_file",
            valid().u64(8, CLUSTER),
        ),
        ("data file", "data_file", data_file(CANARY.as_bytes())),
        (
            "data file by description",
            "json_name",
            data_file(json.as_bytes()),
        ),
        ("data file without a name", "data_file", valid().u64(72, 4)),
        (
            "data file name without the bit",
            "data_file",
            data_file(CANARY.as_bytes()).u64(72, 0),
        ),
        (
            "raw data file",
            "data_file",
            data_file(CANARY.as_bytes()).u64(88, 2),
        ),
    ];
    rows.into_iter()
        .map(|(name, kind, image)| qcow2(name, kind, image))
        .collect()
}
