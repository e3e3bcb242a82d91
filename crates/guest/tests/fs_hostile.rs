//! Guest content that wants to lead us out of the image, or round in circles.

use crate::fs_support::{FileDisk, Image, second_opinion};
use stampo_guest::fs::{Ext4Writer, FileKind, FsError, GuestFs, Owner};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

/// Set for the process that strace watches: the image to work on.
const WATCHED: &str = "STAMPO_TEST_WATCHED_IMAGE";

fn link(target: &str, at: &Path) {
    std::os::unix::fs::symlink(target, at).expect("symlink");
}

/// A system whose every path of interest is a trap.
fn hostile() -> Image {
    let tree = tempfile::tempdir().expect("make a directory");
    let root = tree.path();
    let etc = root.join("etc");
    std::fs::create_dir(&etc).expect("mkdir");
    std::fs::write(etc.join("passwd"), "guest").expect("write");
    link("../../../../../../etc/passwd", &etc.join("hostname"));
    link("/etc/passwd", &etc.join("absolute"));
    link("loop-b", &etc.join("loop-a"));
    link("loop-a", &etc.join("loop-b"));
    link("/etc/nothing/there", &etc.join("dangling"));
    link("/etc", &root.join("cfg"));
    link("../../../..", &root.join("up"));
    std::fs::write(etc.join("one-name"), "shared").expect("write");
    std::fs::hard_link(etc.join("one-name"), etc.join("other-name")).expect("link");
    rustix::fs::mkfifoat(rustix::fs::CWD, etc.join("fifo"), 0o600.into()).expect("mkfifo");
    std::fs::create_dir(etc.join("machine-id")).expect("mkdir");
    std::fs::create_dir_all(root.join("deep/".to_owned() + &"n/".repeat(100))).expect("mkdir");
    std::fs::write(
        root.join("deep/".to_owned() + &"n/".repeat(100) + "leaf"),
        "end",
    )
    .expect("write");
    let odd = root.join("odd");
    std::fs::create_dir(&odd).expect("mkdir");
    for name in [&b"new\nline"[..], b"\xff\xfe", b" ", b"-rf", &[b'n'; 255]] {
        std::fs::write(odd.join(std::ffi::OsStr::from_bytes(name)), "odd").expect("write");
    }
    std::fs::create_dir_all(root.join("ring/below")).expect("mkdir");
    let image = Image::make(&["-t", "ext4"], 32, Some(root));
    image.debugfs(&[
        "cd /etc".into(),
        "mknod sda b 8 0".into(),
        "mknod null c 1 3".into(),
    ]);
    image
}

fn write(fs: &mut dyn GuestFs, path: &str) -> Result<(), FsError> {
    fs.write(path, b"ours", Owner::root(0o644))
}

fn unsuitable<T: std::fmt::Debug>(result: Result<T, FsError>) -> bool {
    matches!(result, Err(FsError::Unsuitable { .. }))
}

fn missing<T: std::fmt::Debug>(result: Result<T, FsError>) -> bool {
    matches!(result, Err(FsError::NotFound { .. }))
}

/// Every edit that a trap could catch.
fn edit(image: &Path) {
    let mut fs = Ext4Writer::open(FileDisk::writable(image)).expect("open");
    let fs = fs.as_mut();
    assert_eq!(fs.read("/etc/hostname", 100).expect("inside"), b"guest");
    assert_eq!(
        fs.read("/up/up/etc/absolute", 100).expect("inside"),
        b"guest"
    );
    for path in [
        "/etc/hostname",
        "/etc/fifo",
        "/etc/sda",
        "/etc/null",
        "/etc/dangling",
    ] {
        write(fs, path).expect(path);
        assert_eq!(
            fs.metadata(path).expect(path).kind,
            FileKind::File,
            "{path}"
        );
    }
    assert_eq!(fs.read("/etc/passwd", 100).expect("untouched"), b"guest");
    write(fs, "/cfg/one-name").expect("through a link to a directory");
    assert_eq!(fs.read("/etc/one-name", 100).expect("written"), b"ours");
    assert_eq!(
        fs.read("/etc/other-name", 100).expect("the other name"),
        b"shared"
    );
    write(fs, "/up/up/../etc/new").expect("clamped at the root");
    assert_eq!(fs.read("/etc/new", 100).expect("inside"), b"ours");
    write(fs, "/etc/loop-a").expect("the link itself is replaced");
}

#[test]
fn nothing_leads_out_of_the_image() {
    let image = hostile();
    let path = image.path.clone();
    let mut fs = Ext4Writer::open(FileDisk::writable(&path)).expect("open");
    for result in [
        write(fs.as_mut(), "/etc/machine-id"),
        write(fs.as_mut(), "/etc/loop-a/x"),
        write(fs.as_mut(), "/"),
        write(fs.as_mut(), "/etc/.."),
        write(fs.as_mut(), "relative"),
        write(fs.as_mut(), "/a\0b"),
        write(fs.as_mut(), &format!("/etc/{}", "n".repeat(256))),
        write(fs.as_mut(), &"/up".repeat(300)),
        fs.create_dir_all("/etc/passwd/below", Owner::root(0o755)),
        fs.create_dir_all("/etc/dangling/below", Owner::root(0o755)),
        fs.read("/etc/fifo", 100).map(drop),
        fs.read("/etc/sda", 100).map(drop),
        fs.read("/etc/machine-id", 100).map(drop),
        fs.read("/etc/loop-a", 100).map(drop),
        fs.read("/etc/passwd", 4).map(drop),
        fs.read_dir("/etc/passwd").map(drop),
        fs.read_link("/etc/passwd").map(drop),
        fs.remove("/etc").map(drop),
        fs.remove_all("/").map(drop),
        fs.remove_all("/..").map(drop),
    ] {
        assert!(unsuitable(result));
    }
    for result in [
        write(fs.as_mut(), "/etc/passwd/below"),
        write(fs.as_mut(), "/nowhere/x"),
        fs.read("/etc/dangling", 100).map(drop),
        fs.set_owner("/nowhere", Owner::root(0o600)),
    ] {
        assert!(missing(result));
    }
    assert!(!fs.remove("/nowhere/x").expect("nothing"));
    assert!(!fs.remove_all("/etc/nowhere").expect("nothing"));
    drop(fs);
    image.assert_clean("after refusals");
}

#[test]
fn odd_names_are_kept_listed_and_removed() {
    let image = hostile();
    let reader = image.reader();
    let names: Vec<Vec<u8>> = reader
        .read_dir("/odd")
        .expect("list")
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    let expected = [&b" "[..], b"-rf", b"new\nline", &[b'n'; 255], b"\xff\xfe"];
    assert_eq!(names, expected);
    assert_eq!(reader.read("/odd/new\nline", 9).expect("read"), b"odd");
    let mut fs = Ext4Writer::open(FileDisk::writable(&image.path)).expect("open");
    assert!(fs.remove_all("/odd").expect("remove"));
    assert!(fs.remove_all("/deep").expect("remove"));
    assert!(fs.remove_all("/etc").expect("remove"));
    fs.finish().expect("finish");
    image.assert_clean("after removals");
    let left: Vec<Vec<u8>> = second_opinion(&image.path).into_keys().collect();
    let expected: [&[u8]; 5] = [b"/cfg", b"/lost+found", b"/ring", b"/ring/below", b"/up"];
    assert_eq!(left, expected);
}

#[test]
fn a_directory_inside_itself_is_damage_and_not_a_trap() {
    let image = hostile();
    image.debugfs(&["ln /ring /ring/below/again".into()]);
    let mut fs = Ext4Writer::open(FileDisk::writable(&image.path)).expect("open");
    assert!(matches!(
        fs.remove_all("/ring"),
        Err(FsError::Damaged { .. })
    ));
    drop(fs);
    let deep = format!("/ring{}", "/below/again".repeat(300));
    assert!(unsuitable(image.reader().metadata(&deep)));
}

/// A path of 100 levels is fine, both ways; the limit is on components and not on luck.
#[test]
fn a_hundred_levels_are_walked() {
    let image = hostile();
    let path = format!("/deep{}/leaf", "/n".repeat(100));
    assert_eq!(image.reader().read(&path, 9).expect("read"), b"end");
    let mut fs = Ext4Writer::open(FileDisk::writable(&image.path)).expect("open");
    write(fs.as_mut(), &path).expect("write");
    fs.finish().expect("finish");
    assert_eq!(image.reader().read(&path, 9).expect("read"), b"ours");
    image.assert_clean("deep");
}

/// Does nothing by itself: [`strace_sees_no_other_file`] runs it under strace.
#[test]
fn watched() {
    if let Some(image) = std::env::var_os(WATCHED) {
        edit(Path::new(&image));
        let reader = stampo_guest::fs::Ext4Reader::open(FileDisk::read_only(Path::new(&image)));
        let reader = reader.expect("open");
        assert_eq!(reader.read("/etc/hostname", 100).expect("inside"), b"guest");
        assert!(unsuitable(reader.read("/etc/fifo", 100)));
    }
}

#[test]
fn strace_sees_no_other_file() {
    let image = hostile();
    let log = image.dir.path().join("strace.log");
    let output = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=%file", "-o"])
        .arg(&log)
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", "fs_hostile::watched", "--test-threads=1"])
        .env(WATCHED, &image.path)
        .output()
        .expect("strace is needed for this test (package strace)");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let log = std::fs::read_to_string(&log).expect("strace's log");
    let opened_image = log
        .lines()
        .filter(|line| line.contains(image.name()))
        .count();
    assert!(opened_image >= 2, "strace saw the image:\n{log}");
    let after = log.find(image.name()).expect("the image is opened");
    for line in log[after..]
        .lines()
        .skip(1)
        .filter(|line| !line.contains(image.name()))
    {
        // The Rust runtime looks at its own thread and at nothing else.
        let harmless = [
            "exited",
            "/proc/self/",
            "/proc/sys/vm/overcommit_memory",
            "/sys/fs/cgroup",
            "SIGCHLD",
            "AT_EMPTY_PATH",
        ];
        assert!(
            harmless.iter().any(|part| line.contains(part)),
            "outside of the image: {line}"
        );
    }
}
