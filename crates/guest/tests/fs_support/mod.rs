//! What the filesystem tests share: images made without root, a file as a disk, a second reader.
//!
//! Images are made by mke2fs from a directory and changed by debugfs, so nothing is ever mounted.
//! The second reader is the library `ext4-view`, which shares no code with what is tested.

use stampo_guest::fs::{Ext4Reader, FileKind, FsError, GuestRead};
use stampo_image::device::BlockDevice;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

/// A file as a disk.
pub struct FileDisk {
    file: File,
    size: u64,
    writable: bool,
}

impl FileDisk {
    pub fn read_only(path: &Path) -> Arc<dyn BlockDevice> {
        Self::open(path, false)
    }

    pub fn writable(path: &Path) -> Arc<dyn BlockDevice> {
        Self::open(path, true)
    }

    fn open(path: &Path, writable: bool) -> Arc<dyn BlockDevice> {
        let file = OpenOptions::new()
            .read(true)
            .write(writable)
            .open(path)
            .expect("open image");
        let size = file.metadata().expect("image size").len();
        Arc::new(FileDisk {
            file,
            size,
            writable,
        })
    }
}

impl BlockDevice for FileDisk {
    fn size_bytes(&self) -> u64 {
        self.size
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        if offset + buf.len() as u64 > self.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.write_all_at(buf, offset)
    }
    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(fallocate(&self.file, punch, offset, length)?)
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
    fn is_writable(&self) -> bool {
        self.writable
    }
}

/// Runs a tool of e2fsprogs, which live in `sbin`, and gives its output whatever it says.
pub fn tool(name: &str, args: &[&str]) -> Output {
    let path = format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    );
    Command::new(name)
        .args(args)
        .env("PATH", path)
        .env("LC_ALL", "C")
        .output()
        .unwrap_or_else(|e| panic!("{name} is needed for this test (package e2fsprogs): {e}"))
}

/// [`tool`], which has to succeed.
pub fn run(name: &str, args: &[&str]) -> String {
    let output = tool(name, args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {args:?}: {text}{errors}");
    text
}

/// A filesystem in a file of its own.
pub struct Image {
    pub dir: tempfile::TempDir,
    pub path: PathBuf,
}

impl Image {
    /// Makes a filesystem of `megabytes` with these arguments of mke2fs, filled from `tree`.
    pub fn make(args: &[&str], megabytes: u32, tree: Option<&Path>) -> Image {
        let dir = tempfile::tempdir().expect("make a directory");
        let path = dir.path().join("fs.raw");
        let mut all = vec!["-q", "-F", "-E", "root_owner=0:0"];
        all.extend(args);
        // The default for small filesystems is 1 KiB, which is not what real systems have.
        if !args.contains(&"-b") {
            all.extend(["-b", "4096"]);
        }
        let tree = tree.map(|tree| tree.to_str().expect("text").to_owned());
        if let Some(tree) = &tree {
            all.extend(["-d", tree]);
        }
        let size = format!("{megabytes}M");
        all.extend([path.to_str().expect("text"), &size]);
        run("mke2fs", &all);
        Image { dir, path }
    }

    pub fn name(&self) -> &str {
        self.path.to_str().expect("text")
    }

    /// Runs requests of debugfs(8) that change the filesystem.
    pub fn debugfs(&self, requests: &[String]) -> String {
        let script = self.dir.path().join("requests");
        std::fs::write(&script, requests.join("\n")).expect("write requests");
        let script = script.to_str().expect("text");
        let output = tool("debugfs", &["-w", "-f", script, self.name()]);
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    }

    pub fn reader(&self) -> Box<dyn GuestRead> {
        Ext4Reader::open(FileDisk::read_only(&self.path)).expect("open for reading")
    }

    /// Panics with e2fsck's complaints unless the filesystem is in order.
    pub fn assert_clean(&self, what: &str) {
        let output = tool("e2fsck", &["-fn", self.name()]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{what}: e2fsck finds\n{text}");
        assert!(
            !text.contains("WRONG") && !text.contains("wrong"),
            "{what}: {text}"
        );
    }

    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).expect("read image")
    }
}

/// What a reader says about one entry. Size and times of directories are left out: they follow
/// from their entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub kind: FileKind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime_s: i64,
    /// Content of a file, target of a link.
    pub bytes: Vec<u8>,
}

pub type Tree = BTreeMap<Vec<u8>, Seen>;

/// Everything in the filesystem by the library `ext4-view`.
pub fn second_opinion(path: &Path) -> Tree {
    use ext4_view::{Ext4, FileType, PathBuf as ViewPathBuf};
    let fs = Ext4::load_from_path(path).expect("ext4-view opens the image");
    let mut tree = Tree::new();
    let mut rest = vec![ViewPathBuf::new("/")];
    while let Some(directory) = rest.pop() {
        for entry in fs
            .read_dir(&directory)
            .expect("ext4-view lists a directory")
        {
            let entry = entry.expect("ext4-view reads an entry");
            let name = entry.file_name().as_ref().to_vec();
            if name == b"." || name == b".." {
                continue;
            }
            let path = entry.path();
            let bare = path.as_path();
            let metadata = entry.metadata().expect("ext4-view reads an inode");
            let (kind, bytes) = match metadata.file_type() {
                FileType::Regular => (
                    FileKind::File,
                    fs.read(bare).expect("ext4-view reads a file"),
                ),
                FileType::Symlink => {
                    let target = fs.read_link(bare).expect("ext4-view reads a link");
                    (FileKind::Symlink, target.as_ref().to_vec())
                }
                FileType::Directory => {
                    rest.push(path.clone());
                    (FileKind::Directory, Vec::new())
                }
                _ => (FileKind::Special, Vec::new()),
            };
            let is_directory = kind == FileKind::Directory;
            let seen = Seen {
                kind,
                mode: metadata.mode().into(),
                uid: metadata.uid(),
                gid: metadata.gid(),
                mtime_s: if is_directory {
                    0
                } else {
                    metadata.modified().seconds()
                },
                bytes,
            };
            tree.insert(path.as_ref().to_vec(), seen);
        }
    }
    tree
}

/// Everything in the filesystem by debugfs, for the features that `ext4-view` does not know.
pub fn debugfs_opinion(image: &Image, names: &Tree) -> Tree {
    let dump = tempfile::tempdir().expect("make a directory");
    let target = dump.path().to_str().expect("text");
    // Without root it can't give files to their owners, says so, and goes on.
    tool(
        "debugfs",
        &["-R", &format!("rdump / {target}"), image.name()],
    );
    run("chmod", &["-R", "u+rwX", target]);
    let listed: Vec<&Vec<u8>> = names.keys().collect();
    let shown = |name: &[u8]| String::from_utf8(name.to_vec()).expect("text");
    let requests: Vec<String> = listed
        .iter()
        .map(|name| format!("stat \"{}\"", shown(name)))
        .collect();
    let said = image.debugfs(&requests);
    let stats: Vec<&str> = said.split("debugfs: stat ").skip(1).collect();
    assert_eq!(stats.len(), listed.len(), "{said}");
    let mut tree = Tree::new();
    for (name, stat) in listed.into_iter().zip(stats) {
        if let Some(seen) = from_stat(stat, &dump.path().join(&shown(name)[1..])) {
            tree.insert(name.clone(), seen);
        }
    }
    tree
}

/// What `stat` of debugfs and the copy that it made say about one entry.
fn from_stat(stat: &str, copy: &Path) -> Option<Seen> {
    let words: Vec<&str> = stat.split_whitespace().collect();
    let after = |word: &str| {
        words
            .iter()
            .position(|w| *w == word)
            .map(|at| words[at + 1])
    };
    let (kind, mut bytes) = match after("Type:")? {
        "regular" => (
            FileKind::File,
            std::fs::read(copy).expect("debugfs copied the file"),
        ),
        "symlink" => {
            use std::os::unix::ffi::OsStringExt;
            let target = std::fs::read_link(copy).expect("debugfs copied the link");
            (FileKind::Symlink, target.into_os_string().into_vec())
        }
        "directory" => (FileKind::Directory, Vec::new()),
        _ => (FileKind::Special, Vec::new()),
    };
    if kind == FileKind::File {
        // debugfs copies the whole area of an inline file, used or not.
        bytes.truncate(
            after("Size:")
                .and_then(|text| text.parse().ok())
                .expect("a size"),
        );
    }
    // Printed as a signed number, and without a space when it is long.
    let number = |word: &str| -> u32 {
        let (_, rest) = stat.split_once(word).expect(word);
        let text = rest.split_whitespace().next().expect(word);
        text.parse::<i64>().expect(word) as u32
    };
    let mtime = after("mtime:")
        .and_then(|text| text.split(':').next())
        .expect("mtime");
    let mtime = i64::from_str_radix(mtime.trim_start_matches("0x"), 16).expect("hex");
    Some(Seen {
        kind,
        mode: u32::from_str_radix(after("Mode:")?, 8).expect("octal") & 0o7777,
        uid: number("User:"),
        gid: number("Group:"),
        mtime_s: if kind == FileKind::Directory {
            0
        } else {
            mtime
        },
        bytes,
    })
}

/// Everything in the filesystem by a reader of ours. Names have to be text.
pub fn first_opinion(fs: &dyn GuestRead) -> Tree {
    let mut tree = Tree::new();
    let mut rest = vec![String::new()];
    while let Some(directory) = rest.pop() {
        let listed = fs
            .read_dir_with_metadata(&format!("{directory}/"))
            .expect("list");
        for (entry, metadata) in listed {
            let metadata = metadata.expect("metadata");
            let name = String::from_utf8(entry.name).expect("the test's names are text");
            let path = format!("{directory}/{name}");
            assert_eq!(entry.kind, metadata.kind);
            let bytes = match metadata.kind {
                FileKind::File => fs.read(&path, u64::MAX).expect("read a file"),
                FileKind::Symlink => fs.read_link(&path).expect("read a link"),
                _ => Vec::new(),
            };
            let is_directory = metadata.kind == FileKind::Directory;
            if is_directory {
                rest.push(path.clone());
            }
            let seen = Seen {
                kind: metadata.kind,
                mode: metadata.mode,
                uid: metadata.uid,
                gid: metadata.gid,
                mtime_s: if is_directory { 0 } else { metadata.mtime_s },
                bytes,
            };
            tree.insert(path.into_bytes(), seen);
        }
    }
    tree
}

/// Panics with the first few differences.
pub fn assert_same(expected: &Tree, found: &Tree, what: &str) {
    let brief = |seen: Option<&Seen>| {
        seen.map(|seen| {
            let start =
                String::from_utf8_lossy(&seen.bytes[..seen.bytes.len().min(40)]).into_owned();
            let Seen {
                kind,
                mode,
                uid,
                gid,
                mtime_s,
                bytes,
            } = seen;
            format!(
                "{kind:?} {mode:o} {uid}:{gid} @{mtime_s} {} bytes {start:?}",
                bytes.len()
            )
        })
    };
    let names: std::collections::BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let wrong: Vec<String> = names
        .into_iter()
        .filter(|name| expected.get(*name) != found.get(*name))
        .map(|name| {
            let shown = String::from_utf8_lossy(name);
            format!(
                "{shown}: {:?} became {:?}",
                brief(expected.get(name)),
                brief(found.get(name))
            )
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{what}: {} of {} differ:\n{}",
        wrong.len(),
        expected.len(),
        wrong[..wrong.len().min(8)].join("\n")
    );
}

/// Whether the error is one of the clean refusals and not a sign of a broken reader.
pub fn is_refusal(error: &FsError) -> bool {
    matches!(error, FsError::Unsupported { .. })
}

/// Random numbers that are the same in every run (xorshift64*).
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// Writes a file that has data in every second block only, so that it takes many extents.
pub fn comb(path: &Path, teeth: u64, block: u64) {
    let file = File::create(path).expect("create");
    for tooth in 0..teeth {
        file.write_all_at(&[tooth as u8 | 1; 600], tooth * 2 * block)
            .expect("write");
    }
}
