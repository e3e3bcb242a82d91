//! Which format the first and last bytes of a file belong to.
//!
//! Only used to contradict what was declared (CVE-2008-2004, CVE-2013-1922: a guest can write any
//! header to the start of a raw disk). It never chooses a format. Marks: QEMU's `block/*.c` probe
//! functions, and file(1)'s magic for archives. What this file does *not* do: parse.

use super::error::Stop;
use super::source::Source;

/// The first four bytes of qcow, all versions.
pub const QCOW_MAGIC: &[u8] = b"QFI\xfb";

/// Where, which bytes, what it is.
const MARKS: &[(usize, &[u8], &str)] = &[
    (0, QCOW_MAGIC, "qcow2"),
    (0, b"QED\0", "qed"),
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"# Disk DescriptorFile", "a vmdk descriptor"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vhd"),
    (0x40, b"\x7f\x10\xda\xbe", "vdi"),
    (0, b"WithoutFreeSpace", "parallels"),
    (0, b"WithouFreSpacExt", "parallels"),
    (0, b"Bochs Virtual HD Image", "bochs"),
    (0, b"#!/bin/sh\n#V2.0 Format", "cloop"),
    (0, b"LUKS\xba\xbe", "LUKS"),
    (0, b"\x1f\x8b\x08", "a gzip file"),
    (0, b"\xfd7zXZ\0", "an xz file"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file"),
    (0, b"BZh", "a bzip2 file"),
    (0, b"PK\x03\x04", "a zip file"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z file"),
    (257, b"ustar", "a tar or OVA archive"),
    (0, b"\x7fELF", "an ELF program"),
    (0, b"<?xml", "an XML text"),
    (0, b"<!DOCTYPE", "a web page"),
    (0, b"<!doctype", "a web page"),
    (0, b"<html", "a web page"),
    (0, b"json:", "a block-layer description"),
];

/// Marks in the last 512 bytes.
const FOOTERS: &[(&[u8], &str)] = &[(b"conectix", "vhd"), (b"koly", "dmg")];

/// What the file looks like; `None` for a plain disk or anything unknown.
pub fn sniff(source: &Source<'_>) -> Result<Option<&'static str>, Stop> {
    let mut head = [0u8; 512];
    let length = source.size_bytes().min(512) as usize;
    source.read("the first sector", 0, &mut head[..length])?;
    for (offset, mark, name) in MARKS {
        if head[..length]
            .get(*offset..)
            .is_some_and(|rest| rest.starts_with(mark))
        {
            return Ok(Some(name));
        }
    }
    if let Some(last) = source.size_bytes().checked_sub(512) {
        source.read("the last sector", last, &mut head)?;
        for (mark, name) in FOOTERS {
            if head.starts_with(mark) {
                return Ok(Some(name));
            }
        }
    }
    Ok(None)
}
