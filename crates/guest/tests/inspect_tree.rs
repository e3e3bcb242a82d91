//! The in-memory fixture keeps the contract of the filesystem traits: links, `..`, kinds, limits.

use stampo_guest::fs::tree::TreeFixture;
use stampo_guest::fs::{FileKind, FsError, GuestFs, GuestRead, Owner};

#[test]
fn a_link_is_followed_in_the_middle_and_by_read_but_not_by_metadata() {
    let tree = TreeFixture::new()
        .file("/usr/lib/os-release", "ID=debian\n")
        .link("/etc/os-release", "../usr/lib/os-release")
        .link("/lib", "usr/lib");
    assert_eq!(
        tree.read("/etc/os-release", 100).expect("read"),
        b"ID=debian\n"
    );
    assert_eq!(
        tree.read("/lib/os-release", 100).expect("read"),
        b"ID=debian\n"
    );
    assert_eq!(
        tree.metadata("/etc/os-release").expect("metadata").kind,
        FileKind::Symlink
    );
    assert_eq!(tree.read_dir("/lib").expect("list").len(), 1);
}

#[test]
fn dot_dot_and_absolute_links_stay_inside() {
    let tree = TreeFixture::new()
        .file("/etc/passwd", "inside")
        .link("/home/a", "/../../../../etc/passwd")
        .link("/home/b", "../../../../../etc");
    assert_eq!(tree.read("/home/a", 100).expect("read"), b"inside");
    assert_eq!(tree.read("/home/b/passwd", 100).expect("read"), b"inside");
    assert_eq!(
        tree.read("/../../etc/passwd", 100).expect("read"),
        b"inside"
    );
}

#[test]
fn loops_and_deep_paths_are_unsuitable() {
    let tree = TreeFixture::new().link("/a", "b").link("/b", "a");
    assert!(matches!(
        tree.read("/a", 1),
        Err(FsError::Unsuitable { .. })
    ));
    let deep = "/x".repeat(300);
    assert!(matches!(
        tree.metadata(&deep),
        Err(FsError::Unsuitable { .. })
    ));
}

#[test]
fn read_refuses_what_is_too_large_or_not_a_file() {
    let tree = TreeFixture::new()
        .file("/f", "12345")
        .special("/dev/null")
        .dir("/d");
    assert!(tree.read("/f", 5).is_ok());
    assert!(matches!(
        tree.read("/f", 4),
        Err(FsError::Unsuitable { .. })
    ));
    assert!(matches!(
        tree.read("/dev/null", 9),
        Err(FsError::Unsuitable { .. })
    ));
    assert!(matches!(
        tree.read("/d", 9),
        Err(FsError::Unsuitable { .. })
    ));
    assert!(matches!(
        tree.read("/none", 9),
        Err(FsError::NotFound { .. })
    ));
    assert!(!tree.exists("/f/below").expect("asking is fine"));
}

#[test]
fn write_replaces_a_link_and_never_writes_through_it() {
    let mut tree = TreeFixture::new()
        .file("/etc/shadow", "old")
        .link("/tmp/l", "/etc/shadow");
    tree.write("/tmp/l", b"new", Owner::root(0o600))
        .expect("write");
    assert_eq!(tree.read("/etc/shadow", 9).expect("read"), b"old");
    assert_eq!(
        tree.metadata("/tmp/l").expect("metadata").kind,
        FileKind::File
    );
    assert!(matches!(
        tree.write("/no/dir", b"", Owner::root(0)),
        Err(FsError::NotFound { .. })
    ));
    assert!(matches!(
        tree.write("/tmp", b"", Owner::root(0)),
        Err(FsError::Unsuitable { .. })
    ));
}

#[test]
fn remove_all_does_not_leave_the_tree_by_a_link() {
    let mut tree = TreeFixture::new()
        .file("/etc/keep", "k")
        .link("/var/x/l", "/etc")
        .dir("/var/x/d");
    assert!(tree.remove_all("/var/x").expect("remove"));
    assert!(!tree.remove_all("/var/x").expect("nothing there"));
    assert!(tree.exists("/etc/keep").expect("exists"));
    assert!(matches!(
        tree.remove("/etc"),
        Err(FsError::Unsuitable { .. })
    ));
    assert_eq!(tree.metadata("/var").expect("metadata").links, 2);
}

#[test]
fn a_damaged_path_is_an_error_and_not_an_absence() {
    let tree = TreeFixture::new().file("/etc/f", "x").damaged("/etc/f");
    assert!(matches!(
        tree.exists("/etc/f"),
        Err(FsError::Damaged { .. })
    ));
    assert!(matches!(
        tree.read("/etc/f", 9),
        Err(FsError::Damaged { .. })
    ));
}

#[test]
fn create_dir_all_follows_links_and_keeps_what_is_there() {
    let mut tree = TreeFixture::new()
        .dir_as("/run", Owner::root(0o700))
        .link("/var/run", "/run");
    tree.create_dir_all(
        "/var/run/a/b",
        Owner {
            uid: 5,
            gid: 6,
            mode: 0o750,
        },
    )
    .expect("create");
    assert_eq!(tree.metadata("/run").expect("metadata").mode, 0o700);
    assert_eq!(tree.metadata("/run/a").expect("metadata").mode, 0o755);
    assert_eq!(tree.metadata("/run/a/b").expect("metadata").uid, 5);
}
