//! Thousands of edits of every kind on every kind of ext4 that we accept, then e2fsck and a
//! comparison of every file, touched or not, through a reader that shares no code with the writer.

use crate::fs_support::{
    Dice, FileDisk, Image, Seen, Tree, assert_same, comb, debugfs_opinion, first_opinion,
    second_opinion,
};
use stampo_guest::fs::{Ext4Writer, FileKind, GuestFs, Owner};
use std::path::Path;

/// The clock of all edits, in seconds since 1970.
const NOW: i64 = 1_900_000_000;
/// Edits per filesystem.
const EDITS: usize = 2000;

/// A tree with what real systems have: many names in one place, fragmented files, links of all
/// kinds, a FIFO, files of all sizes.
fn populate(root: &Path) {
    let many = root.join("many");
    std::fs::create_dir(&many).expect("mkdir");
    for index in 0..3000 {
        std::fs::write(
            many.join(format!("entry-with-a-longer-name-{index}")),
            index.to_string(),
        )
        .expect("write");
    }
    comb(&root.join("comb-a"), 1500, 4096);
    comb(&root.join("comb-b"), 1500, 4096);
    for depth in 0..20 {
        let directory = root.join("deep").join("d/".repeat(depth));
        std::fs::create_dir_all(&directory).expect("mkdir");
        std::fs::write(directory.join("leaf"), vec![depth as u8; depth * 777]).expect("write");
    }
    std::os::unix::fs::symlink(
        "../many/entry-with-a-longer-name-7",
        root.join("deep/short"),
    )
    .expect("symlink");
    std::os::unix::fs::symlink(
        format!("/deep/{}", "d/".repeat(150)),
        root.join("deep/long"),
    )
    .expect("symlink");
    std::fs::write(root.join("one"), "shared").expect("write");
    std::fs::hard_link(root.join("one"), root.join("two")).expect("link");
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("fifo"), 0o600.into()).expect("mkfifo");
    std::fs::create_dir(root.join("work")).expect("mkdir");
}

/// The filesystem under test and what should be in it.
struct Run {
    fs: Box<dyn GuestFs>,
    model: Tree,
    dice: Dice,
    /// Files that the run made, by path.
    files: Vec<String>,
    /// Directories that it made.
    directories: Vec<String>,
    largest: usize,
}

impl Run {
    fn seen(kind: FileKind, owner: Owner, bytes: Vec<u8>) -> Seen {
        let mtime_s = if kind == FileKind::Directory { 0 } else { NOW };
        Seen {
            kind,
            mode: owner.mode,
            uid: owner.uid,
            gid: owner.gid,
            mtime_s,
            bytes,
        }
    }

    fn owner(&mut self) -> Owner {
        let ids = [0, 1, 1000, 65_534, 100_000, 4_000_000_000];
        let modes = [0o644, 0o600, 0o755, 0o4755, 0o1777, 0o000];
        Owner {
            uid: ids[self.dice.below(ids.len())],
            gid: ids[self.dice.below(ids.len())],
            mode: modes[self.dice.below(modes.len())],
        }
    }

    /// A path in a directory of the run, or in the large directory of the image.
    fn fresh(&mut self, index: usize) -> String {
        let extra = "n".repeat(self.dice.below(40));
        match self.dice.below(5) {
            0 => format!("/many/new-{index}-{extra}"),
            1 => format!("/work/new-{index}-{extra}"),
            _ => {
                let parent = self.directories[self.dice.below(self.directories.len())].clone();
                format!("{parent}/new-{index}-{extra}")
            }
        }
    }

    fn write(&mut self, path: String) {
        let length = match self.dice.below(20) {
            0 => self.dice.below(self.largest),
            1..6 => self.dice.below(30_000),
            _ => self.dice.below(200),
        };
        let (owner, content) = (self.owner(), self.dice.bytes(length));
        self.fs.write(&path, &content, owner).expect(&path);
        let seen = Self::seen(FileKind::File, owner, content);
        if self.model.insert(path.clone().into_bytes(), seen).is_none() {
            self.files.push(path);
        }
    }

    fn forget(&mut self, path: &str) {
        let below = format!("{path}/");
        self.model
            .retain(|name, _| name != path.as_bytes() && !name.starts_with(below.as_bytes()));
        self.files
            .retain(|name| name != path && !name.starts_with(&below));
        self.directories
            .retain(|name| name != path && !name.starts_with(&below));
    }

    /// One of the files that were in the image from the start, or of the run.
    fn existing(&mut self) -> Option<String> {
        if self.dice.below(2) == 0 || self.files.is_empty() {
            let path = format!("/many/entry-with-a-longer-name-{}", self.dice.below(3000));
            return self.model.contains_key(path.as_bytes()).then_some(path);
        }
        Some(self.files[self.dice.below(self.files.len())].clone())
    }

    fn edit(&mut self, index: usize) {
        match self.dice.below(100) {
            0..40 => {
                let path = self.fresh(index);
                self.write(path);
            }
            40..55 => {
                if let Some(path) = self.existing() {
                    self.write(path);
                }
            }
            55..78 => {
                if let Some(path) = self.existing() {
                    assert!(self.fs.remove(&path).expect(&path), "{path} was there");
                    self.forget(&path);
                }
            }
            78..86 => self.make_directory(index),
            86..92 => self.make_link(index),
            92..97 => {
                if let Some(path) = self.existing() {
                    let owner = self.owner();
                    self.fs.set_owner(&path, owner).expect(&path);
                    let seen = self.model.get_mut(path.as_bytes()).expect("known");
                    (seen.uid, seen.gid, seen.mode) = (owner.uid, owner.gid, owner.mode);
                }
            }
            _ => self.remove_directory(),
        }
    }

    fn make_directory(&mut self, index: usize) {
        let path = self.fresh(index);
        let owner = self.owner();
        let nested = format!("{path}/below");
        self.fs.create_dir_all(&nested, owner).expect(&nested);
        let above = Self::seen(FileKind::Directory, Owner::root(0o755), Vec::new());
        self.model.insert(path.clone().into_bytes(), above);
        let below = Self::seen(FileKind::Directory, owner, Vec::new());
        self.model.insert(nested.clone().into_bytes(), below);
        self.directories.push(path);
        self.directories.push(nested);
    }

    fn make_link(&mut self, index: usize) {
        let path = self.fresh(index);
        let target = format!("../{}", "t".repeat(self.dice.below(200)));
        self.fs.symlink(&path, &target).expect(&path);
        let seen = Self::seen(FileKind::Symlink, Owner::root(0o777), target.into_bytes());
        self.model.insert(path.into_bytes(), seen);
    }

    fn remove_directory(&mut self) {
        if self.directories.len() > 1 {
            let path = self.directories[1 + self.dice.below(self.directories.len() - 1)].clone();
            assert!(self.fs.remove_all(&path).expect(&path), "{path} was there");
            self.forget(&path);
        }
    }

    /// The edits that only make sense once.
    fn special_edits(&mut self) {
        for path in ["/comb-a", "/fifo", "/deep/long", "/deep/short"] {
            assert!(self.fs.remove(path).expect(path), "{path} was there");
            self.forget(path);
        }
        assert!(!self.fs.remove("/fifo").expect("again"), "it is gone");
        self.write("/comb-b".into());
        self.write("/one".into());
        assert!(
            self.fs.remove_all("/deep/d/d").expect("tree"),
            "it was there"
        );
        self.forget("/deep/d/d");
        let two = self
            .fs
            .read("/two", 100)
            .expect("the other name of a written file");
        assert_eq!(two, b"shared", "a write went through a hard link");
    }
}

/// Who checks the result. Both share no code with us.
#[derive(Clone, Copy)]
enum Second {
    Ext4View,
    /// For the features that `ext4-view` 1.0 does not know.
    Debugfs,
}

/// Torture of one feature set; `largest` is the size of its largest new file.
fn torture(what: &str, args: &[&str], largest: usize) {
    torture_by(Second::Ext4View, what, args, largest);
}

fn torture_by(reader: Second, what: &str, args: &[&str], largest: usize) {
    let source = tempfile::tempdir().expect("make a directory");
    populate(source.path());
    let image = Image::make(args, 300, Some(source.path()));
    drop(source);
    image.debugfs(&[
        "ea_set /one user.note kept".into(),
        format!("ea_set /two user.long {}", "v".repeat(300)),
        "cd /work".into(),
        "mknod device c 1 3".into(),
        "mknod disk b 8 1".into(),
    ]);
    image.assert_clean(&format!("{what}, before"));
    let opinion = |names: &Tree| match reader {
        Second::Ext4View => second_opinion(&image.path),
        Second::Debugfs => debugfs_opinion(&image, names),
    };
    let before = opinion(&first_opinion(image.reader().as_ref()));
    assert!(before.len() > 3000, "{what}: the tree is in the image");
    assert_same(
        &before,
        &first_opinion(image.reader().as_ref()),
        &format!("{what}, before"),
    );

    let fs = Ext4Writer::with_clock(FileDisk::writable(&image.path), NOW).expect("open");
    assert_same(
        &before,
        &first_opinion(fs.as_ref()),
        &format!("{what}, the writer's view"),
    );
    let mut run = Run {
        fs,
        model: before,
        dice: Dice(0x5eed),
        files: vec![],
        directories: vec!["/work".into()],
        largest,
    };
    for index in 0..EDITS {
        run.edit(index);
    }
    run.special_edits();
    let Run { fs, model, .. } = run;
    assert_same(
        &model,
        &first_opinion(fs.as_ref()),
        &format!("{what}, the writer's view after"),
    );
    fs.finish().expect("finish");
    image.assert_clean(what);
    assert_same(&model, &opinion(&model), &format!("{what}, second reader"));
    assert_same(
        &model,
        &first_opinion(image.reader().as_ref()),
        &format!("{what}, our reader"),
    );
}

/// Room for a file that a small journal could not take in one transaction.
const LARGE: usize = 12 << 20;

#[test]
fn the_defaults_of_mke2fs() {
    torture("default", &["-t", "ext4"], LARGE);
}

#[test]
fn checksums_with_a_seed_and_an_orphan_file() {
    torture(
        "seed",
        &["-t", "ext4", "-O", "orphan_file,metadata_csum_seed"],
        LARGE,
    );
}

#[test]
fn no_checksums() {
    torture(
        "^metadata_csum",
        &["-t", "ext4", "-O", "^metadata_csum"],
        LARGE,
    );
}

#[test]
fn old_group_checksums() {
    torture(
        "uninit_bg",
        &["-t", "ext4", "-O", "^metadata_csum,uninit_bg,^64bit"],
        LARGE,
    );
}

#[test]
fn thirty_two_bits() {
    torture("^64bit", &["-t", "ext4", "-O", "^64bit"], LARGE);
}

#[test]
fn inline_data() {
    torture_by(
        Second::Debugfs,
        "inline_data",
        &["-t", "ext4", "-O", "inline_data"],
        LARGE,
    );
}

#[test]
fn blocks_of_1k() {
    torture("1k", &["-t", "ext4", "-b", "1024"], LARGE);
}

#[test]
fn blocks_of_2k_and_small_inodes() {
    torture(
        "2k",
        &[
            "-t",
            "ext4",
            "-b",
            "2048",
            "-I",
            "128",
            "-O",
            "^metadata_csum",
        ],
        LARGE,
    );
}

#[test]
fn ext3() {
    torture("ext3", &["-t", "ext3"], 1 << 20);
}

#[test]
fn ext2() {
    torture("ext2", &["-t", "ext2"], 1 << 20);
}

#[test]
fn large_directories_and_values_in_inodes() {
    torture_by(
        Second::Debugfs,
        "ea_inode",
        &["-t", "ext4", "-O", "ea_inode,large_dir"],
        LARGE,
    );
}

#[test]
fn fast_commit() {
    torture("fast_commit", &["-t", "ext4", "-O", "fast_commit"], LARGE);
}

#[test]
fn no_journal() {
    torture("no journal", &["-t", "ext4", "-O", "^has_journal"], LARGE);
}

#[test]
fn no_flexible_groups_and_a_tiny_journal() {
    torture(
        "^flex_bg",
        &["-t", "ext4", "-O", "^flex_bg,^resize_inode", "-J", "size=4"],
        LARGE,
    );
}

/// What we can't keep correct is refused by name, and not one byte changes.
#[test]
fn other_features_are_refused_untouched() {
    let cases: [(&[&str], &str); 7] = [
        (&["-O", "bigalloc"], "bigalloc"),
        (&["-O", "quota"], "quota"),
        (&["-O", "quota,project"], "project"),
        (&["-O", "casefold", "-E", "encoding=utf8"], "casefold"),
        (&["-O", "encrypt"], "encrypt"),
        (&["-O", "verity"], "verity"),
        (&["-O", "mmp"], "mmp"),
    ];
    for (args, feature) in cases {
        let image = Image::make(&[&["-t", "ext4"], args].concat(), 64, None);
        let before = image.bytes();
        let refusal = Ext4Writer::open(FileDisk::writable(&image.path))
            .err()
            .expect(feature);
        assert!(
            crate::fs_support::is_refusal(&refusal),
            "{feature}: {refusal:?}"
        );
        assert!(refusal.to_string().contains(feature), "{refusal}");
        assert!(image.bytes() == before, "{feature}: the image changed");
        image.assert_clean(feature);
    }
}
