//! The reader and the writer of guests' filesystems, on real ones with some bytes changed.
//!
//! The input: which seed, which edits (for the writer), then patches. A patch is the number of a
//! piece of the seed that means something (3 bytes), a place in it and a length (1 byte), and that
//! many bytes. So a few bytes of input reach any field of any structure, and a checksum stands in
//! the way in one seed of five only.

use crate::bytes::Bytes;
use crate::disk::MemoryDisk;
use crate::ext4_seeds::{PIECE, Seed, seeds};
use stampo_guest::fs::{
    Ext4Reader, Ext4Writer, FileKind, FsError, GuestFs, GuestRead, Owner, discard_free,
};
use stampo_image::device::BlockDevice;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most entries that are looked at, and most bytes of one file.
const MOST_ENTRIES: usize = 400;
const MOST_BYTES: u64 = 1 << 20;

/// The seed that the first byte chooses.
fn seed(bytes: &mut Bytes<'_>) -> &'static Seed {
    let seeds = seeds();
    &seeds[usize::from(bytes.u8()) % seeds.len()]
}

/// The seed's disk with the patches in it.
fn damaged(seed: &Seed, bytes: &mut Bytes<'_>) -> MemoryDisk {
    let disk = MemoryDisk::new(Arc::clone(&seed.bytes), seed.bytes.len() as u64);
    while !bytes.is_empty() {
        let piece = seed.pieces[bytes.u24() % seed.pieces.len()];
        let shape = usize::from(bytes.u8());
        let (place, length) = (shape % PIECE, 1 + shape / PIECE);
        disk.patch(piece + place as u64, bytes.take(length));
    }
    disk
}

/// What one file is to a reader.
type Files = BTreeMap<Vec<u8>, Vec<u8>>;

/// Reads everything; the content of each file that can be read.
fn walk(fs: &dyn GuestRead) -> Files {
    let mut files = Files::new();
    let mut rest = vec![String::new()];
    let mut entries = 0;
    while let Some(directory) = rest.pop() {
        let Ok(listed) = fs.read_dir_with_metadata(&format!("{directory}/")) else {
            continue;
        };
        for (entry, metadata) in listed {
            entries += 1;
            let Ok(name) = String::from_utf8(entry.name) else {
                continue;
            };
            assert!(!name.contains('/') && !name.contains('\0') && name != "..");
            let path = format!("{directory}/{name}");
            let _ = fs.xattrs(&path);
            match metadata.map(|metadata| metadata.kind) {
                Ok(FileKind::Directory) if entries < MOST_ENTRIES => rest.push(path),
                Ok(FileKind::File) => {
                    if let Ok(content) = fs.read(&path, MOST_BYTES) {
                        assert!(content.len() as u64 <= MOST_BYTES);
                        files.insert(path.into_bytes(), content);
                    }
                }
                Ok(FileKind::Symlink) => drop(fs.read_link(&path)),
                _ => {}
            }
        }
        if entries >= MOST_ENTRIES {
            break;
        }
    }
    files
}

/// Opens, walks and reads, with the journal replayed in memory; then compares with `ext4-view`,
/// which shares no code with it.
pub fn read(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let disk = damaged(seed(&mut bytes), &mut bytes).read_only();
    let disk = Arc::new(disk);
    let _ = stampo_guest::fs::find_root(disk.clone());
    let Ok(fs) = Ext4Reader::open(disk.clone()) else {
        return;
    };
    let _ = fs.uuid();
    let files = walk(fs.as_ref());
    compare(&files, &disk);
}

/// A file that both readers give has the same content, wherever ext4-view checks what it reads:
/// without checksums a damaged filesystem has no one meaning.
fn compare(files: &Files, disk: &MemoryDisk) {
    const READ_ONLY_FEATURES_AT: u64 = 1024 + 0x64;
    const HAS_CHECKSUMS: u8 = 0x4;
    let mut features = [0; 4];
    let read = disk.read_at(READ_ONLY_FEATURES_AT, &mut features);
    if read.is_err() || features[1] & HAS_CHECKSUMS == 0 {
        return;
    }
    let Ok(other) = ext4_view::Ext4::load(Box::new(disk.content())) else {
        return;
    };
    for (path, content) in files {
        let Ok(path) = ext4_view::Path::try_from(path.as_slice()) else {
            continue;
        };
        if let Ok(theirs) = other.read(path) {
            assert!(&theirs == content, "{path:?} differs between the readers");
        }
    }
}

/// Opens for writing, edits, writes everything, reads it again.
pub fn write(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let seed = seed(&mut bytes);
    let edits = bytes.u8();
    let disk = Arc::new(damaged(seed, &mut bytes));
    match Ext4Writer::with_clock(disk.clone(), 1_767_225_600) {
        Err(_) => assert!(!disk.is_changed(), "a refused filesystem was changed"),
        Ok(fs) => {
            if edit(fs, edits).is_ok()
                && let Ok(fs) = Ext4Reader::open(disk.clone())
            {
                walk(fs.as_ref());
            }
        }
    }
    let _ = discard_free(disk);
}

/// What cloning and sealing do to a guest, in pieces that `which` chooses.
fn edit(mut fs: Box<dyn GuestFs>, which: u8) -> Result<(), FsError> {
    let chosen = |bit: u8| which & 1 << bit != 0;
    if chosen(0) {
        fs.write("/etc/hostname", b"clone\n", Owner::root(0o644))?;
        let content = fs.read("/etc/hostname", 100)?;
        assert_eq!(content, b"clone\n", "what was written is not what is read");
    }
    if chosen(1) {
        fs.write("/usr/bin/tool", &[7; 9000], Owner::root(0o755))?;
    }
    if chosen(2) {
        fs.remove("/usr/holes")?;
    }
    if chosen(3) {
        fs.remove_all("/var")?;
    }
    if chosen(4) {
        fs.create_dir_all("/srv/a/b", Owner::root(0o755))?;
        fs.symlink("/srv/a/link", "elsewhere")?;
    }
    if chosen(5) {
        fs.set_owner("/etc/passwd", Owner::root(0o600))?;
    }
    if chosen(6) {
        fs.set_uuid(uuid::Uuid::from_u128(7))?;
    }
    if chosen(7) {
        for number in 0..40 {
            fs.write(&format!("/etc/more-{number}"), b"more", Owner::root(0o644))?;
        }
    }
    fs.finish()
}
