//! Which bit is flipped, and flipping it. The same seed and number give the same bit of the same
//! kind of place; the ids in a store are new each time, so that the bytes around it are not.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What a bit belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    DiskData,
    DiskHole,
    Leaves,
    VersionSidecar,
    GuestSidecar,
    Catalog,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::DiskData => "data of a disk",
            Place::DiskHole => "hole of a disk",
            Place::Leaves => "leaf index",
            Place::VersionSidecar => "sidecar of a version",
            Place::GuestSidecar => "sidecar of a guest",
            Place::Catalog => "catalog",
        })
    }
}

/// The places, as often as they are chosen out of 100. By size nearly all would be in holes.
const SHARES: [(Place, u32); 6] = [
    (Place::DiskData, 20),
    (Place::DiskHole, 10),
    (Place::Leaves, 10),
    (Place::VersionSidecar, 15),
    (Place::GuestSidecar, 10),
    (Place::Catalog, 35),
];

/// What a file system gives space for.
const BLOCK: usize = 4096;

/// One bit of a file.
#[derive(Debug)]
pub struct Flip {
    pub place: Place,
    pub path: PathBuf,
    pub offset: u64,
    bit: u8,
}

impl fmt::Display for Flip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "bit {} of byte {} of {path}", self.bit, self.offset)
    }
}

impl Flip {
    /// The bit with this number.
    pub fn choose(home: &Path, seed: u64, number: u64) -> Flip {
        let mut rng = StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let place = choose_place(rng.random_range(0..100));
        let files = files_of(home, place);
        let path = files[rng.random_range(0..files.len())].clone();
        let size = std::fs::metadata(&path).expect("a file").len();
        let is_disk = matches!(place, Place::DiskData | Place::DiskHole);
        let bytes = match is_disk {
            true => std::fs::read(&path).expect("readable"),
            false => Vec::new(),
        };
        let fits = |offset: u64| {
            if !is_disk {
                return true;
            }
            // The disks of this store are whole blocks long.
            let block = offset as usize / BLOCK * BLOCK;
            let is_zero = bytes[block..block + BLOCK] == [0; BLOCK];
            match place {
                Place::DiskData => !is_zero,
                _ => is_zero,
            }
        };
        let offset = std::iter::repeat_with(|| rng.random_range(0..size))
            .find(|offset| fits(*offset))
            .expect("an endless choice");
        Flip {
            place,
            path,
            offset,
            bit: rng.random_range(0..8),
        }
    }

    /// Flips it. A second time flips it back.
    pub fn apply(&self) {
        let file = File::open(&self.path).expect("opened");
        let mode = file.metadata().expect("metadata").permissions();
        file.set_permissions(Permissions::from_mode(0o600))
            .expect("writable");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.path)
            .expect("opened");
        let mut byte = [0];
        file.read_exact_at(&mut byte, self.offset).expect("read");
        byte[0] ^= 1 << self.bit;
        file.write_all_at(&byte, self.offset).expect("written");
        file.set_permissions(mode).expect("as before");
    }
}

fn choose_place(mut number: u32) -> Place {
    for (place, share) in SHARES {
        if number < share {
            return place;
        }
        number -= share;
    }
    unreachable!("the shares add up to 100")
}

/// The files of a place, in an order that does not depend on ids.
fn files_of(home: &Path, place: Place) -> Vec<PathBuf> {
    let below = |dir: &str| -> Vec<PathBuf> {
        let dirs = entries(&home.join(dir));
        let dirs = dirs.iter().filter(|path| path.is_dir());
        dirs.flat_map(|dir| entries(dir)).collect()
    };
    let named = |files: Vec<PathBuf>, start: &str| -> Vec<PathBuf> {
        let is_named = |path: &PathBuf| {
            let name = path.file_name().expect("a name").to_string_lossy();
            name.starts_with(start)
        };
        files.into_iter().filter(is_named).collect()
    };
    let mut files = match place {
        Place::DiskData | Place::DiskHole => named(below("images"), "disk.raw"),
        Place::Leaves => named(below("images"), "leaves.bin"),
        Place::VersionSidecar => named(below("images"), "version-"),
        Place::GuestSidecar => named(below("guests"), "guest.json"),
        Place::Catalog => vec![home.join("catalog.db")],
    };
    files.sort_by_key(|path| {
        let meta = std::fs::metadata(path).expect("a file");
        (meta.len(), meta.modified().expect("a time"))
    });
    files
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a directory");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}
