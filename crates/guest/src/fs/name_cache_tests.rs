//! A filesystem whose names are remembered is the filesystem: after each random edit, every walk
//! through what is kept ends as the same walk without it.

use super::ext4_write::Uncached;
use super::resolve::{Nodes, ROOT_INODE, resolve};
use super::{Ext4Writer, GuestFs, Owner};
use fs_ext4::runtime::SystemRuntime;
use proptest::prelude::*;
use proptest::sample::select;
use stampo_image::raw::RawFile;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

/// Few names, so that one comes back as something else, with the inode of what was there before.
const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Edit {
    Write(String),
    MakeDir(String),
    Link(String, String),
    Remove(String),
    RemoveAll(String),
}

fn path() -> impl Strategy<Value = String> {
    let names = prop::collection::vec(select(NAMES.as_slice()), 1..4);
    names.prop_map(|names| format!("/{}", names.join("/")))
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        path().prop_map(Edit::Write),
        path().prop_map(Edit::MakeDir),
        (path(), path()).prop_map(|(path, target)| Edit::Link(path, target)),
        path().prop_map(Edit::Remove),
        path().prop_map(Edit::RemoveAll),
    ]
}

impl Edit {
    /// Does it, or finds that it can't be done, which is as good.
    fn apply(&self, fs: &mut Ext4Writer) -> bool {
        let owner = Owner::root(0o755);
        match self {
            Edit::Write(path) => fs.write(path, b"content", owner).is_ok(),
            Edit::MakeDir(path) => fs.create_dir_all(path, owner).is_ok(),
            Edit::Link(path, target) => fs.symlink(path, target).is_ok(),
            Edit::Remove(path) => fs.remove(path).is_ok(),
            Edit::RemoveAll(path) => fs.remove_all(path).is_ok(),
        }
    }
}

/// How a walk ends, with what is known of the inode.
fn walk(nodes: &impl Nodes, path: &str, follow: bool) -> String {
    let place = resolve(nodes, path, follow);
    let inode = place.as_ref().ok().and_then(|place| place.inode);
    let kind = inode.map(|inode| nodes.kind(inode));
    let target = inode.map(|inode| nodes.link_target(inode).ok());
    format!("{place:?} {kind:?} {target:?}")
}

/// Every path of up to three of the names.
fn all_paths() -> Vec<String> {
    let mut paths = vec![String::new()];
    let mut last = paths.clone();
    for _ in 0..3 {
        let deeper = |above: &String| NAMES.map(|name| format!("{above}/{name}"));
        last = last.iter().flat_map(deeper).collect();
        paths.extend(last.clone());
    }
    paths.split_off(1)
}

fn run(program: &str, arguments: &[&str], image: &Path) {
    let paths = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(program)
        .args(arguments)
        .arg(image)
        .env("PATH", format!("{paths}:/usr/sbin:/sbin"))
        .output()
        .unwrap_or_else(|e| panic!("{program} is needed (package e2fsprogs): {e}"));
    assert!(output.status.success(), "{program}: {output:?}");
}

/// An image with a hard link across directories and a directory that two names lead to.
fn image() -> (TempDir, Arc<RawFile>) {
    let dir = tempfile::tempdir().expect("make a directory");
    let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
    std::fs::create_dir_all(tree.join("a/b")).expect("make directories");
    std::fs::write(tree.join("a/c"), "one of two names").expect("write");
    std::fs::hard_link(tree.join("a/c"), tree.join("c")).expect("link");
    std::os::unix::fs::symlink("a/b", tree.join("b")).expect("link");
    let disk = std::fs::File::create(&image).expect("create");
    disk.set_len(4 << 20).expect("size");
    let tree = tree.to_str().expect("text").to_owned();
    run("mkfs.ext4", &["-q", "-F", "-d", &tree], &image);
    let device = RawFile::open_writable(&image).expect("open");
    (dir, Arc::new(device))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_walk_ends_as_without_the_cache(edits in prop::collection::vec(edit(), 1..40)) {
        let (_dir, device) = image();
        // Never finished, so the image stays as it is.
        let runtime = Arc::new(SystemRuntime);
        let mut fs = Ext4Writer::open_as(device, runtime).expect("open the image");
        let paths = all_paths();
        for (index, edit) in edits.iter().enumerate() {
            let done = edit.apply(&mut fs);
            for (path, follow) in paths.iter().flat_map(|path| [(path, false), (path, true)]) {
                let truth = walk(&Uncached(&fs), path, follow);
                prop_assert_eq!(walk(&fs, path, follow), truth, "{} after {} ({:?}, {})", path, index, edit, done);
            }
        }
        prop_assert!(fs.kind(ROOT_INODE).is_ok());
    }
}
