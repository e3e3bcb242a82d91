//! Small real ext filesystems, which the ext4 targets damage.
//!
//! They are made by mke2fs and debugfs when first needed (a tenth of a second), with fixed ids and
//! times, so that an input of the corpus means nearly the same on every machine. Each one has what
//! the others lack. What is done to them is not known here.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};

/// A filesystem and where its bytes of meaning are.
pub struct Seed {
    /// The whole filesystem.
    pub bytes: Arc<[u8]>,
    /// Offsets of the pieces of [`PIECE`] bytes that are not all zero and no file's content.
    pub pieces: Vec<u64>,
}

/// Bytes of a piece.
pub const PIECE: usize = 16;
/// What the files are filled with, so that their content is told from everything else.
const FILLING: u8 = b'x';

/// Features and sizes by seed. No two checksummed ones: an input that gets past a checksum is rare.
const SEEDS: [&[&str]; 5] = [
    &[
        "-t",
        "ext4",
        "-b",
        "1024",
        "-O",
        "^metadata_csum,^resize_inode",
        "-J",
        "size=1",
    ],
    &[
        "-t",
        "ext4",
        "-b",
        "4096",
        "-O",
        "^metadata_csum,64bit,^resize_inode,^has_journal",
    ],
    &[
        "-t",
        "ext4",
        "-b",
        "1024",
        "-O",
        "metadata_csum,^resize_inode,^has_journal",
    ],
    &["-t", "ext2", "-b", "1024", "-O", "^resize_inode"],
    &[
        "-t",
        "ext4",
        "-b",
        "1024",
        "-O",
        "^metadata_csum,inline_data,^resize_inode,^has_journal",
    ],
];

/// All seeds.
pub fn seeds() -> &'static [Seed] {
    static SEEDS_MADE: OnceLock<Vec<Seed>> = OnceLock::new();
    SEEDS_MADE.get_or_init(|| SEEDS.iter().map(|args| make(args)).collect())
}

/// Makes what a target needs before its first run, so that no run is blamed for it.
pub fn prepare(target: &str) {
    if target.starts_with("ext4_") {
        seeds();
    }
}

fn make(args: &[&str]) -> Seed {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (tree, image) = (dir.path().join("tree"), dir.path().join("fs.raw"));
    fill(&tree);
    let megabytes = if args.contains(&"-J") { "4M" } else { "2M" };
    let mut all = vec![
        "-q",
        "-F",
        "-N",
        "64",
        "-U",
        "5eed0000-0000-4000-8000-000000000001",
    ];
    all.extend([
        "-E",
        "hash_seed=5eed0000-0000-4000-8000-000000000002,root_owner=0:0",
    ]);
    all.extend(args);
    let (tree, path) = (text(&tree), text(&image));
    all.extend(["-d", tree, path, megabytes]);
    tool("mke2fs", &all);
    for request in [
        "ea_set /etc/hostname user.note something",
        "ea_set /etc security.selinux system_u:object_r:etc_t:s0",
        "sif /etc/passwd links_count 1",
    ] {
        tool("debugfs", &["-w", "-R", request, path]);
    }
    if args.contains(&"size=1") {
        // A transaction that was not carried out: the filesystem must be recovered first.
        let block = dir.path().join("block");
        std::fs::write(&block, [b'j'; 1024]).expect("space");
        let script = dir.path().join("script");
        let write = format!("jo\njw -b 1500 {}\njc\n", text(&block));
        std::fs::write(&script, write).expect("space");
        tool("debugfs", &["-w", "-f", text(&script), path]);
    }
    let bytes: Arc<[u8]> = std::fs::read(&image).expect("the image").into();
    let pieces = meaningful(&bytes);
    Seed { bytes, pieces }
}

/// A system in small: links, a long link, a directory of several blocks, a file with holes.
fn fill(tree: &Path) {
    let put = |path: &str, content: &[u8]| {
        let path = tree.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
        std::fs::write(path, content).expect("write");
    };
    put("etc/os-release", b"ID=debian\nVERSION_ID=\"12\"\n");
    put("etc/hostname", b"template\n");
    put("etc/passwd", b"root:x:0:0:root:/root:/bin/bash\n");
    put("usr/bin/tool", &[FILLING; 20_000]);
    put("usr/empty", b"");
    let mut holes = vec![0; 60_000];
    holes[50_000..].fill(FILLING);
    put("usr/holes", &holes);
    for number in 0..24 {
        put(&format!("var/a-name-that-takes-some-room-{number:02}"), b"");
    }
    let link = |target: &str, path: &str| {
        std::os::unix::fs::symlink(target, tree.join(path)).expect("symlink");
    };
    link("usr/bin", "bin");
    link(&"a/long/target/".repeat(8), "etc/long");
    std::fs::hard_link(tree.join("etc/passwd"), tree.join("etc/passwd-")).expect("link");
}

fn meaningful(bytes: &[u8]) -> Vec<u64> {
    let plain = |piece: &[u8]| piece.iter().all(|byte| *byte == 0 || *byte == FILLING);
    let pieces = bytes.chunks(PIECE).enumerate();
    pieces
        .filter(|(_, piece)| !plain(piece))
        .map(|(index, _)| (index * PIECE) as u64)
        .collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

fn tool(name: &str, args: &[&str]) {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(name)
        .args(args)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .env("LC_ALL", "C")
        .env("E2FSPROGS_FAKE_TIME", "1700000000")
        .env("MKE2FS_SKIP_PROGRESS", "1")
        .output()
        .unwrap_or_else(|e| panic!("{name} is needed (package e2fsprogs): {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {args:?}: {errors}");
}
