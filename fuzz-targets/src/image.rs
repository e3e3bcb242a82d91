//! The outside of a disk: the intake's parser without its sandbox, magic numbers, leaf indexes.
//!
//! The input of each target is the file itself.

use crate::disk::MemoryDisk;
use rustix::fs::{MemfdFlags, memfd_create};
use stampo_image::filesystem::identify;
use stampo_image::identity::LeafIndex;
use stampo_image::intake::{Crew, DeclaredFormat, Limits, Stop, convert_without_sandbox};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

/// What an image may be here.
const LIMITS: Limits = Limits {
    max_virtual_bytes: 4 << 20,
    max_file_bytes: 1 << 20,
    cpu_s: 5,
    memory_bytes: 256 << 20,
    wall_s: 5,
};

/// A file that exists in memory only.
pub fn memory_file(bytes: &[u8]) -> File {
    let fd = memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("the system has memory files");
    let mut file = File::from(fd);
    file.write_all(bytes).expect("memory");
    file
}

/// The disk in an image that is accepted.
fn taken(declared: DeclaredFormat, bytes: &[u8]) -> Option<Vec<u8>> {
    let (source, mut destination) = (memory_file(bytes), memory_file(&[]));
    let mut told = 0;
    let result = convert_without_sandbox(
        declared,
        &LIMITS,
        source.as_fd(),
        destination.as_fd(),
        &Crew::default(),
        &mut |done, total| {
            assert!(done <= total, "{done} of {total} bytes are done");
            told = done;
        },
    );
    let meta = destination.metadata().expect("metadata");
    assert!(meta.len() <= LIMITS.max_virtual_bytes);
    assert!(meta.blocks() * 512 <= LIMITS.max_virtual_bytes + (64 << 10));
    match result {
        Ok(report) => {
            assert_eq!(report.virtual_size_bytes, meta.len());
            assert!(report.data_bytes <= report.virtual_size_bytes);
            assert!(told <= report.virtual_size_bytes);
            let mut disk = Vec::new();
            destination.seek(SeekFrom::Start(0)).expect("seekable");
            destination.read_to_end(&mut disk).expect("memory");
            Some(disk)
        }
        Err(Stop::Refused(_)) => None,
        Err(Stop::Fault(fault)) => panic!("a fault of the machine: {fault}"),
    }
}

/// The disk in a qcow2 image that is accepted, for comparing it with what another program reads.
pub fn raw_of_qcow2(bytes: &[u8]) -> Option<Vec<u8>> {
    taken(DeclaredFormat::Qcow2, bytes)
}

/// Header, extensions, refcounts, L1 and L2 tables, compressed clusters.
pub fn qcow2(bytes: &[u8]) {
    let first = raw_of_qcow2(bytes);
    // A decision about the same bytes is the same decision.
    assert!(first.is_none() || first == raw_of_qcow2(bytes));
}

/// Marks of other formats, sizes, sparse copying.
pub fn raw(bytes: &[u8]) {
    if let Some(disk) = taken(DeclaredFormat::Raw, bytes) {
        assert!(disk == bytes, "a raw disk was changed");
    }
}

/// Magic numbers and labels of filesystems and containers.
pub fn filesystem_kind(bytes: &[u8]) {
    let disk = MemoryDisk::new(Arc::from(bytes), bytes.len() as u64).read_only();
    let found = identify(&disk).expect("a disk in memory can be read");
    for text in [found.label, found.uuid].into_iter().flatten() {
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}

/// The file of leaf hashes. Its checksum is made right, so that what is behind it is reached.
pub fn leaves(bytes: &[u8]) {
    assert!(LeafIndex::decode(bytes).is_err() || bytes.len() >= 64);
    let mut whole = bytes.to_vec();
    whole.extend_from_slice(blake3::hash(bytes).as_bytes());
    if let Ok(index) = LeafIndex::decode(&whole) {
        assert!(index.encode() == whole, "an index is read in one way only");
        assert_eq!(index.first_difference(&index), None);
        index.image_id();
    }
}
